"""Graded tests of lesson 1.1: the small parts between and around the matrices.

By hand: numbers that fit on paper. Laws: sizes that must stay, gradients that must flow. Traps: arithmetic
in too few bits, inputs that are changed in passing, weights that lose their small steps. The judges are
torch's own functions, float64, and arithmetic.
"""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mini_nanochat.model import layers


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    """Random numbers, the same ones each time."""
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def plain(got, digits: int = 4) -> list:
    """A tensor as a (nested) list of rounded numbers, which a report card can print."""
    assert isinstance(got, Tensor), "a tensor must come back: is there a return?"

    def rounded(part):
        return (
            [rounded(p) for p in part] if isinstance(part, list) else round(part, digits) + 0.0
        )  # + 0.0: no -0.0

    return rounded(got.detach().double().tolist())


def gap(got, wanted: Tensor) -> float:
    """The largest difference between what came and what was wanted; infinite if the shapes differ."""
    assert isinstance(got, Tensor), "a tensor must come back: is there a return?"
    if got.shape != wanted.shape:
        return math.inf
    return float(f"{(got.detach().double() - wanted.detach().double()).abs().max().item():.1g}")


def percent_off(weight: Tensor, wanted: float) -> float:
    """By how many percent the spread of the entries around 0 differs from what was wanted."""
    spread = weight.detach().double().square().mean().sqrt().item()
    return round(100 * abs(spread / wanted - 1), 1)


def error_of(call) -> str:
    """The kind of error that `call` raises."""
    try:
        call()
    except (ValueError, IndexError) as error:
        return "ValueError" if isinstance(error, ValueError) else "IndexError"
    return "no error"


def gradient(function, x: Tensor, weights: Tensor) -> Tensor:
    """How sum(weights * function(x)) changes with each entry of x."""
    x = x.clone().requires_grad_()
    (function(x) * weights).sum().backward()
    return torch.zeros_like(x) if x.grad is None else x.grad


# --- rms_norm ----------------------------------------------------------------------------------------


@pytest.mark.exercise("rms_norm")
def test_three_and_four_divided_by_the_root_of_their_mean_square():
    got = plain(layers.rms_norm(torch.tensor([3.0, 4.0])))
    assert got == [0.8485, 1.1314], "mean square (9 + 16) / 2 = 12.5, its root 3.5355: divide by that"


@pytest.mark.exercise("rms_norm")
def test_no_mean_is_subtracted():
    got = plain(layers.rms_norm(torch.tensor([5.0, 5.0, 5.0, 5.0])))
    assert got == [1, 1, 1, 1], "equal features have a size, too: taking their mean away would leave nothing"


@pytest.mark.exercise("rms_norm")
def test_every_position_is_measured_by_itself():
    x = torch.tensor([[[1.0, 1.0], [100.0, 100.0]], [[0.01, 0.01], [3.0, -3.0]]])
    got = plain(layers.rms_norm(x), 2)
    wanted = [[[1, 1], [1, 1]], [[1, 1], [1, -1]]]
    assert got == wanted, (
        "the mean is over the features of one position: no position's size touches another's"
    )


@pytest.mark.exercise("rms_norm")
def test_it_agrees_with_torch_on_any_leading_shape():
    for shape in ((7,), (3, 5), (2, 3, 4, 6)):
        x = normal(*shape)
        wanted = F.rms_norm(x, shape[-1:], eps=1e-6)
        # float32 is good for 1e-6 here; what eps does is judged by two checks of its own
        assert gap(layers.rms_norm(x), wanted) <= 2e-5, f"shape {shape}: torch's own rms_norm says otherwise"


@pytest.mark.exercise("rms_norm")
def test_a_position_of_zeros_stays_zero():
    x = torch.zeros(2, 3)
    got = plain(layers.rms_norm(x))
    assert got == [[0, 0, 0], [0, 0, 0]], "0 / 0 is nan, and one nan spoils the whole model: eps prevents it"
    slopes = gradient(layers.rms_norm, x, torch.ones(2, 3))
    got = plain(slopes, 0)
    wanted = [[1000, 1000, 1000], [1000, 1000, 1000]]
    assert got == wanted, "the gradient at zero is 1 / sqrt(eps), a number: the root of eps + 0, not of 0"


@pytest.mark.exercise("rms_norm")
def test_eps_is_added_under_the_root():
    got = plain(layers.rms_norm(torch.tensor([1.0, -1.0]), eps=3.0))
    assert got == [0.5, -0.5], "the mean square is 1, plus eps 3 makes 4, and its root is 2"
    got = plain(layers.rms_norm(torch.tensor([0.001, 0.001])))
    assert got == [0.7071, 0.7071], "here the mean square is as large as eps (1e-6): the root of 2e-6"


@pytest.mark.exercise("rms_norm")
def test_the_dtype_of_the_input_comes_back():
    got = [layers.rms_norm(normal(2, 4).to(d)).dtype for d in (torch.float32, torch.bfloat16, torch.float16)]
    wanted = [torch.float32, torch.bfloat16, torch.float16]
    assert got == wanted, "float32 is for inside; what comes next expects what went in"


@pytest.mark.exercise("rms_norm", points=2)
def test_squares_do_not_overflow_in_float16():
    x = torch.tensor([300.0, -300.0, 400.0, 400.0], dtype=torch.float16)
    got = plain(layers.rms_norm(x), 2)
    wanted = [0.85, -0.85, 1.13, 1.13]
    assert got == wanted, (
        "float16 ends at 65504, and 300 squared is 90000: who squares in float16 divides by infinity"
    )


@pytest.mark.exercise("rms_norm", points=2)
def test_bfloat16_is_rounded_once_and_at_the_end():
    x = normal(64, 96, seed=1).bfloat16()
    exact = x.double()
    wanted = (exact / (exact.square().mean(-1, keepdim=True) + 1e-6).sqrt()).bfloat16()
    came = layers.rms_norm(x)
    off = 100 * (came != wanted).double().mean().item()
    # float32 can fall on the other side of a rounding border, but only in about one case of 10,000
    assert off <= 1, "percent of results that are not the nearest bfloat16: something was rounded on the way"


@pytest.mark.exercise("rms_norm")
def test_the_input_is_left_as_it_was():
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.tensor([[3.0, 4.0], [0.5, 2.0]], dtype=dtype)
        layers.rms_norm(x)
        assert plain(x) == [[3, 4], [0.5, 2]], (
            "the residual stream goes on with x: nobody may change it in passing"
        )


@pytest.mark.exercise("rms_norm")
def test_its_gradient_is_that_of_torch():
    x, weights = normal(3, 8), normal(3, 8, seed=1)
    slopes = gradient(layers.rms_norm, x, weights)
    wanted = gradient(lambda x: F.rms_norm(x, (8,), eps=1e-6), x, weights)
    assert gap(slopes, wanted) <= 1e-5, "the size depends on x, too, and the gradient has to know it"


# --- relu_squared ------------------------------------------------------------------------------------


@pytest.mark.exercise("relu_squared")
def test_what_is_negative_becomes_zero_and_the_rest_is_squared():
    got = plain(layers.relu_squared(torch.tensor([-2.0, -0.5, 0.0, 0.5, 1.0, 3.0])))
    assert got == [0, 0, 0, 0.25, 1, 9], "first everything below zero goes, then the square is taken"


@pytest.mark.exercise("relu_squared")
def test_its_slope_grows_from_zero():
    x = torch.tensor([-3.0, -1.0, 0.0, 0.5, 2.0])
    got = plain(gradient(layers.relu_squared, x, torch.ones(5)))
    assert got == [0, 0, 0, 1, 4], (
        "left of zero nothing is learned; right of it the slope is 2x, with no kink at 0"
    )


@pytest.mark.exercise("relu_squared")
def test_shape_and_dtype_stay():
    for dtype in (torch.float32, torch.bfloat16):
        y = layers.relu_squared(normal(2, 3, 4).to(dtype))
        got = (tuple(y.shape), y.dtype)
        assert got == ((2, 3, 4), dtype), "each element by itself, in the dtype that came"


@pytest.mark.exercise("relu_squared")
def test_the_input_keeps_its_negative_numbers():
    x = torch.tensor([-2.0, 3.0])
    layers.relu_squared(x)
    assert plain(x) == [-2, 3], "the result is a new tensor; somebody else may need x"


@pytest.mark.exercise("relu_squared")
def test_one_stays_one_and_all_else_grows_apart():
    got = plain(layers.relu_squared(torch.tensor([0.1, 1.0, 10.0])))
    assert got == [0.01, 1, 100], "below 1 a square is smaller, above 1 it is larger"


# --- softcap -----------------------------------------------------------------------------------------


@pytest.mark.exercise("softcap")
def test_by_hand_at_zero_at_the_cap_and_far_beyond():
    got = plain(layers.softcap(torch.tensor([0.0, 15.0, -15.0, 1000.0, -1000.0])), 3)
    wanted = [0, 11.424, -11.424, 15, -15]
    assert got == wanted, "tanh(1) = 0.7616, times 15 is 11.424; and nothing goes beyond 15"


@pytest.mark.exercise("softcap")
def test_another_cap_can_be_given():
    got = plain(layers.softcap(torch.tensor([30.0, 5000.0]), 30.0), 3)
    assert got == [22.848, 30], "with cap 30 the value at 30 is 30 tanh(1) = 22.848, and the end is 30"


@pytest.mark.exercise("softcap")
def test_the_gradient_never_dies_in_the_range_that_counts():
    x = torch.tensor([0.0, 15.0, -15.0, 30.0])
    got = plain(gradient(layers.softcap, x, torch.ones(4)), 3)
    wanted = [1, 0.42, 0.42, 0.071]
    assert got == wanted, (
        "the slope is 1 - tanh(x / 15)^2: a hard cut would give 0 at 30, and nothing to learn from"
    )


@pytest.mark.exercise("softcap")
def test_capped_logits_are_float32():
    got = [layers.softcap(normal(3).to(d)).dtype for d in (torch.float32, torch.bfloat16, torch.float16)]
    assert got == [torch.float32] * 3, (
        "the loss takes exponentials of these numbers: float32, whatever came in"
    )


@pytest.mark.exercise("softcap", points=2)
def test_different_logits_stay_different_under_the_cap():
    x = torch.arange(32, 64, 0.25).bfloat16()  # 128 logits, each of them a bfloat16
    got = layers.softcap(x).unique().numel()
    assert got == 128, "between 14.5 and 15 a bfloat16 has nine values: in which dtype was tanh computed?"


@pytest.mark.exercise("softcap")
def test_a_cap_must_be_positive():
    got = [error_of(lambda cap=cap: layers.softcap(torch.ones(2), cap)) for cap in (0.0, -15.0, 0.5)]
    assert got == ["ValueError", "ValueError", "no error"], (
        "0 divides by zero, and what would a cap of -15 be?"
    )


# --- matrix_std --------------------------------------------------------------------------------------


@pytest.mark.exercise("matrix_std")
def test_a_square_matrix_begins_with_one_over_the_root_of_its_inputs():
    got = [layers.matrix_std(n, n) for n in (1, 4, 64, 256)]
    assert got == [1.0, 0.5, 0.125, 0.0625], "a sum of n terms has sqrt(n) times the size of one"


@pytest.mark.exercise("matrix_std")
def test_more_outputs_than_inputs_change_nothing():
    got = [layers.matrix_std(64, n_out) for n_out in (64, 256, 6400)]
    assert got == [0.125, 0.125, 0.125], (
        "each output is a sum over the inputs; the other outputs don't change it"
    )


@pytest.mark.exercise("matrix_std")
def test_fewer_outputs_than_inputs_begin_smaller():
    got = [layers.matrix_std(256, 64), layers.matrix_std(64, 16), layers.matrix_std(64, 1)]
    assert got == [0.03125, 0.0625, 0.015625], "1/16 times sqrt(64/256); 1/8 times 1/2; 1/8 times 1/8"


@pytest.mark.exercise("matrix_std", points=2)
def test_a_signal_survives_forty_matrices():
    x = normal(64, seed=3)
    for layer in range(40):
        x = normal(64, 64, seed=100 + layer, scale=layers.matrix_std(64, 64)) @ x
    size = x.square().mean().sqrt().item()
    # one matrix changes the size by about 9 percent at random, forty by a factor of two or so
    assert 0.1 < size < 10, "the size of the signal, 1 at first, after forty matrices"


# --- Linear.init -------------------------------------------------------------------------------------


@pytest.mark.exercise("Linear.init")
def test_the_entries_have_the_size_that_the_shape_asks_for():
    for n_in, n_out, wanted in ((256, 256, 1 / 16), (64, 1024, 1 / 8), (1024, 64, 1 / 128)):
        linear = layers.Linear(n_in, n_out)
        linear.init(seeded(0))
        off = percent_off(linear.weight, wanted)
        # 65,536 numbers: their spread is known to 0.3 percent
        assert off <= 2, f"{n_in} -> {n_out}: percent between the spread of the entries and {wanted}"


@pytest.mark.exercise("Linear.init")
def test_the_entries_are_normal_around_zero():
    linear = layers.Linear(256, 256)
    linear.init(seeded(1))
    z = linear.weight.detach() * 16
    for k, wanted in ((1, 31.7), (2, 4.6)):
        share = 100 * (z.abs() > k).double().mean().item()
        # 65,536 numbers: by chance these shares are off by 0.2 percent points; equal steps (uniform) by 4 and more
        assert abs(round(share - wanted, 1)) <= 1, (
            f"{share:.1f} percent of the entries lie beyond {k} standard deviations, of normal numbers {wanted}: "
            "the difference is compared"
        )
    assert abs(z.mean().item()) < 0.02, "the mean of 65,536 entries (in standard deviations) is near 0"


@pytest.mark.exercise("Linear.init")
def test_with_zero_all_entries_are_zero():
    linear = layers.Linear(3, 2)
    with torch.no_grad():
        linear.weight.fill_(7.0)
    linear.init(seeded(0), zero=True)
    assert plain(linear.weight) == [[0, 0, 0], [0, 0, 0]], "a matrix that adds nothing at first"


@pytest.mark.exercise("Linear.init")
def test_one_generator_decides_all_the_numbers():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    linear, drawn = layers.Linear(4, 4), []
    for seed in (1, 2, 1):
        linear.init(seeded(seed))
        drawn.append(plain(linear.weight))
    got = (drawn[2] == drawn[0], drawn[1] == drawn[0])
    assert got == (True, False), "the same seed gives the same numbers, and another seed gives others"
    untouched = bool((torch.get_rng_state() == before).all())
    assert untouched is True, "torch's own source of numbers stays out of it: other parts of a run rely on it"


@pytest.mark.exercise("Linear.init")
def test_the_parameter_stays_the_same_object():
    linear = layers.Linear(4, 3)
    held = linear.weight  # as an optimizer holds it
    linear.init(seeded(0))
    same = linear.weight is held
    assert same is True, "an optimizer made before holds the old parameter, and would train that"
    got = (held.requires_grad, held.is_leaf, held.dtype, tuple(held.shape))
    assert got == (True, True, torch.float32, (3, 4)), (
        "trained; not computed from anything; float32; (n_out, n_in)"
    )


# --- Linear.forward ----------------------------------------------------------------------------------


def linear_of(rows: list[list[float]]) -> layers.Linear:
    """A Linear with these rows, one for each output."""
    linear = layers.Linear(len(rows[0]), len(rows))
    with torch.no_grad():
        linear.weight.copy_(torch.tensor(rows))
    return linear


@pytest.mark.exercise("Linear.forward")
def test_each_output_is_a_row_times_the_input():
    linear = linear_of([[1.0, 2.0, 3.0], [0.0, -1.0, 0.5]])
    got = plain(linear(torch.tensor([1.0, 10.0, 100.0])))
    assert got == [321, 40], "1 + 20 + 300 and -10 + 50"
    got = tuple(linear(torch.zeros(5, 4, 3)).shape)
    assert got == (5, 4, 2), "any leading shape: each position by itself"
    square = linear_of([[1.0, 2.0], [3.0, 4.0]])
    assert plain(square(torch.tensor([1.0, 0.0]))) == [1, 3], (
        "first input 1, second 0: the first *column* comes out"
    )


@pytest.mark.exercise("Linear.forward", points=2)
def test_it_computes_in_the_dtype_of_its_input():
    linear = linear_of([[1.0, 2.0], [3.0, 4.0]])
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        y = linear(torch.tensor([1.0, 1.0], dtype=dtype))
        got = (plain(y), y.dtype)
        assert got == ([3, 7], dtype), "bfloat16 in, bfloat16 out: fast matrix products need both sides small"


@pytest.mark.exercise("Linear.forward")
def test_the_product_itself_is_computed_in_the_dtype_of_its_input():
    linear = linear_of([[1 + 2**-9, 1.0]])
    y = linear(torch.tensor([1.0, -1.0], dtype=torch.bfloat16))
    assert (plain(y), y.dtype) == ([0], torch.bfloat16), (
        "1 + 1/512 is 1 in bfloat16, and 1 - 1 is 0; who multiplies in float32 gets 0.002, and saves nothing"
    )


@pytest.mark.exercise("Linear.forward")
def test_the_weight_stays_in_float32_and_small_steps_count():
    linear = linear_of([[1.0]])
    for _ in range(4):
        linear(torch.ones(1, dtype=torch.bfloat16))
        with torch.no_grad():
            linear.weight += 2**-9
    got = (linear.weight.item(), linear.weight.dtype)
    assert got == (1 + 4 * 2**-9, torch.float32), "four steps of 1/512: in bfloat16, 1 + 1/512 is 1 again"


@pytest.mark.exercise("Linear.forward")
def test_weight_and_input_both_get_a_gradient():
    linear = linear_of([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    x = torch.tensor([[1.0, 10.0], [2.0, 20.0]], dtype=torch.bfloat16, requires_grad=True)
    linear(x).sum().backward()
    assert linear.weight.grad is not None, "no gradient reaches the weight: nothing would be learned"
    got = (plain(linear.weight.grad), linear.weight.grad.dtype)
    assert got == ([[3, 30]] * 3, torch.float32), (
        "each output's weight gets the sum of the inputs, in float32"
    )
    assert plain(x.grad) == [[9, 12], [9, 12]], "each input gets the sum of its column"


# --- Embedding.init ----------------------------------------------------------------------------------


@pytest.mark.exercise("Embedding.init")
def test_a_row_begins_with_numbers_of_size_one():
    off = []
    for n_ids, n in ((1024, 64), (64, 1024)):
        table = layers.Embedding(n_ids, n)
        table.init(seeded(0))
        off.append(percent_off(table.weight, 1.0))
    # 65,536 numbers: their spread is known to 0.3 percent
    assert max(off) <= 2, (
        "percent between the spread and 1, of two tables: a row is looked up, not summed, so no root is needed"
    )


@pytest.mark.exercise("Embedding.init")
def test_the_generator_decides_the_rows_too():
    table, drawn = layers.Embedding(3, 4), []
    held = table.weight
    for seed in (1, 2, 1):
        table.init(seeded(seed))
        drawn.append(plain(table.weight))
    got = (drawn[2] == drawn[0], drawn[1] == drawn[0])
    assert got == (True, False), "the same seed gives the same numbers, and another seed gives others"
    got = (table.weight is held, held.requires_grad, held.is_leaf)
    assert got == (True, True, True), "the same parameter as before, and still one that is trained"


# --- Embedding.forward -------------------------------------------------------------------------------


def table_of(rows: list[list[float]]) -> layers.Embedding:
    table = layers.Embedding(len(rows), len(rows[0]))
    with torch.no_grad():
        table.weight.copy_(torch.tensor(rows))
    return table


@pytest.mark.exercise("Embedding.forward")
def test_each_id_becomes_its_row():
    table = table_of([[0.0, 1.0], [10.0, 11.0], [20.0, 21.0]])
    got = plain(table(torch.tensor([[2, 0], [1, 1]])))
    assert got == [[[20, 21], [0, 1]], [[10, 11], [10, 11]]], "(2, 2) ids become (2, 2, 2) numbers"
    got = tuple(table(torch.tensor(2)).shape)
    assert got == (2,), "any shape of ids, one id alone included"


@pytest.mark.exercise("Embedding.forward")
def test_a_look_up_equals_a_one_hot_row_times_the_matrix():
    table = table_of(normal(7, 3).tolist())
    ids = torch.tensor([[6, 0, 3], [3, 5, 5]])
    wanted = F.one_hot(ids, 7).double() @ table.weight.double()
    # ones and zeros: nothing is rounded
    assert gap(table(ids), wanted) == 0.0, "the same numbers, without multiplying by all those zeros"
    assert table(ids).dtype == torch.float32, "the look-up rounds nothing away"


@pytest.mark.exercise("Embedding.forward")
def test_an_id_beyond_the_table_is_refused():
    table = table_of([[1.0, 2.0]] * 4)
    got = [error_of(lambda last=last: table(torch.tensor([0, last]))) for last in (3, 4, 50)]
    assert got == ["no error", "IndexError", "IndexError"], (
        "ids 3, 4 and 50 of a table with 4 rows: who bends an id so that it fits hides a wrong tokenizer"
    )


@pytest.mark.exercise("Embedding.forward", points=2)
def test_only_rows_that_were_read_learn_and_each_as_often_as_it_was_read():
    table = table_of([[1.0, 2.0]] * 4)
    table(torch.tensor([3, 0, 3, 3])).sum().backward()
    assert table.weight.grad is not None, "no gradient reaches the table: no id would learn its meaning"
    got = plain(table.weight.grad)
    assert got == [[1, 1], [0, 0], [0, 0], [3, 3]], (
        "id 3 was read three times, id 0 once: 0 is an id like all others"
    )
