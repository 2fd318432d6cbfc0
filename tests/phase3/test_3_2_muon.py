"""Graded tests of lesson 3.2: Newton-Schulz, momentum, the step of a matrix, and who steps which weight.

Judges: numbers that one can check on paper; the singular value decomposition, in float64, with the polynomial on
its singular values; and torch.optim.Muon (torch 2.9 or later). Shapes differ from one another: rows for columns
does not pass unnoticed.
"""

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from mini_nanochat.model.gpt import GPT, GPTConfig
from mini_nanochat.optim import muon

# The first optimizer of a process makes torch load half of itself: seconds that belong to no check's time limit.
torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)

A, B, C = 3.4445, -4.7750, 2.0315
# float32 keeps seven digits and five steps make an error up to 3.4445^5 = 485 times as large: 3e-5 at most, 2e-6
# was seen. A real mistake moves a number by 5e-3 or more.
CLOSE = 2e-4


def numbers(*shape: int, seed: int = 1) -> torch.Tensor:
    """Normal numbers, the same each time."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def polynomial(s, steps: int = 5):
    """What `steps` steps make of a singular value, or of several."""
    for _ in range(steps):
        s = A * s + B * s**3 + C * s**5
    return s


def by_svd(g: torch.Tensor) -> torch.Tensor:
    """U S' V^T, with S' by the polynomial, in float64: what Newton-Schulz must give, without Newton-Schulz."""
    if not g.any():
        return g.double()
    u, s, vt = torch.linalg.svd(g.double(), full_matrices=False)
    return u @ polynomial(s / s.norm()).diag() @ vt


def by_the_book(w, gradients, lr, momentum=0.95, decay=0.0):
    """The weight, in float64, after a step for each gradient; None is a step in which it had none."""
    w, m = w.detach().double(), torch.zeros_like(w.detach().double())
    scale = max(1.0, w.shape[0] / w.shape[1]) ** 0.5
    for g in gradients:
        if g is not None:
            m = momentum * m + (1 - momentum) * g.double()
            seen = momentum * m + (1 - momentum) * g.double()
            w = w * (1 - lr * decay) - lr * scale * by_svd(seen)
    return w


def difference(got: torch.Tensor, wanted: torch.Tensor) -> float:
    """The largest, with two digits."""
    return float(f"{(got.detach().double() - wanted.double()).abs().max().item():.2g}")


def rounded(x: torch.Tensor) -> list:
    """As nested lists, three digits: what one checks on paper."""
    return (x.detach().double() * 1000).round().div(1000).add(0.0).tolist()


def matrices(*shapes: tuple[int, int]) -> list[nn.Parameter]:
    return [nn.Parameter(numbers(*shape, seed=i + 20)) for i, shape in enumerate(shapes)]


def take(optimizer, weights, gradients) -> None:
    """One step; `gradients` are tensors, or None."""
    for w, g in zip(weights, gradients):
        w.grad = None if g is None else g.clone()
    optimizer.step()


# --- newton_schulz -----------------------------------------------------------------------------------

THREE_FOUR = torch.tensor([[3.0, 0], [0, 4]])


@pytest.mark.exercise("newton_schulz", points=2)
def test_one_step_of_newton_schulz_by_hand():
    got = rounded(muon.newton_schulz(THREE_FOUR, steps=1))
    assert got == [[1.193, 0], [0, 0.976]], (
        "3 and 4, root of the sum of squares 5: X begins with 0.6 and 0.8 (not 0.75 and 1, not 1 and 1), and "
        "3.4445 s - 4.7750 s^3 + 2.0315 s^5 makes 1.193 and 0.976 of them"
    )


@pytest.mark.exercise("newton_schulz")
def test_as_many_steps_as_asked_for_and_five_if_nobody_asks():
    results = [muon.newton_schulz(THREE_FOUR, steps=n) for n in range(4)] + [muon.newton_schulz(THREE_FOUR)]
    got = [round(x[0, 0].item(), 3) for x in results]
    assert got == [0.6, 1.193, 0.912, 0.801, 0.723], (
        "what becomes of the 3 in 0, 1, 2, 3 steps, and without a number: 0 steps leave 3/5"
    )


def with_values(values: list[float], n: int, m: int) -> torch.Tensor:
    """An (n, m) matrix with these singular values, in random directions."""
    u, _ = torch.linalg.qr(numbers(n, len(values), seed=2))
    v, _ = torch.linalg.qr(numbers(m, len(values), seed=3))
    return u @ torch.tensor(values).diag() @ v.T


@pytest.mark.exercise("newton_schulz")
def test_loud_and_quiet_directions_come_out_about_equally_loud():
    values = torch.linalg.svdvals(muon.newton_schulz(with_values([100.0, 30, 10, 3, 1], 5, 8)))
    got = [round(value, 2) for value in values.tolist() if not 0.68 <= value <= 1.21]
    assert got == [], (
        "singular values outside of 0.68 .. 1.21; 100, 30, 10, 3 and 1 went in, and a hundredth is not too quiet"
    )


@pytest.mark.exercise("newton_schulz")
def test_directions_stay_as_they_are():
    g = numbers(4, 6)
    got = difference(muon.newton_schulz(g), by_svd(g))
    assert got <= CLOSE, (
        "the largest difference to the polynomial on singular values, by a decomposition: U and V are those of g, "
        "and only S has changed. Powers are those of the matrix, not of its entries"
    )


@pytest.mark.exercise("newton_schulz")
def test_a_tall_matrix_gives_what_the_wide_one_gives_transposed():
    g = numbers(2, 7)
    out = muon.newton_schulz(g.T)
    assert tuple(out.shape) == (7, 2), "the shape goes in and comes out: whoever transposes must do it twice"
    assert difference(out, by_svd(g).T) <= CLOSE, (
        "the largest difference to the wide one's result, transposed"
    )


class Largest(TorchFunctionMode):
    """Notes how many numbers the largest tensor has that torch makes."""

    numbers = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor):
            self.numbers = max(self.numbers, made.numel())
        return made


@pytest.mark.exercise("newton_schulz")
def test_no_square_is_larger_than_the_matrix():
    got = []
    for shape in ((40, 2), (2, 40)):
        with Largest() as largest:
            muon.newton_schulz(numbers(*shape))
        got.append(largest.numbers)
    assert got == [80, 80], (
        "numbers in the largest tensor on the way, for (40, 2) and (2, 40): the square of the long side has 1600. "
        "The result is the same, and for an MLP's first matrix it costs more than ten times as much"
    )


@pytest.mark.exercise("newton_schulz")
def test_each_matrix_of_a_stack_is_for_itself():
    for shape in ((4, 2, 4), (3, 5, 2)):
        stack = numbers(*shape) * torch.tensor([1.0, 100, 0.1, 3][: shape[0]])[:, None, None]
        wanted = torch.stack([by_svd(g) for g in stack])
        out = muon.newton_schulz(stack)
        assert tuple(out.shape) == shape, "a stack comes out as it went in"
        assert difference(out, wanted) <= CLOSE, (
            f"a stack of shape {shape}, and one matrix is 100 times as large: each has a norm of its own, and no "
            "matrix knows that others lie above it (the largest difference)"
        )


@pytest.mark.exercise("newton_schulz")
def test_how_large_the_gradient_is_does_not_matter():
    g = numbers(3, 5)
    got = max(difference(muon.newton_schulz(g * size), by_svd(g)) for size in (0.001, 1.0, 1000.0))
    assert got <= 0.01, (
        "the largest difference, for g times 0.001, 1 and 1000: only directions count. (EPS may move it a little.)"
    )


@pytest.mark.exercise("newton_schulz")
def test_a_gradient_of_zeros_stays_zeros():
    got = muon.newton_schulz(torch.zeros(2, 3)).tolist()
    assert got == [[0, 0, 0], [0, 0, 0]], (
        "in a new model most gradients are exactly zero; 0/0 is NaN, and a NaN in a weight stays for ever"
    )


@pytest.mark.exercise("newton_schulz")
def test_the_matrix_that_comes_in_is_only_read():
    for shape in ((2, 3), (3, 2)):
        g = numbers(*shape)
        muon.newton_schulz(g)
        assert difference(g, numbers(*shape)) == 0, (
            f"the largest change in g, of shape {shape}: it may be somebody's running mean"
        )


@pytest.mark.exercise("newton_schulz")
def test_the_dtype_that_goes_in_comes_out():
    got = [str(muon.newton_schulz(numbers(3, 4).to(kind)).dtype) for kind in (torch.bfloat16, torch.float64)]
    assert got == ["torch.bfloat16", "torch.float64"], (
        "the caller decides in which numbers it is computed: half as many bits are why one asks for bfloat16"
    )


# --- nesterov ----------------------------------------------------------------------------------------


@pytest.mark.exercise("nesterov", points=2)
def test_momentum_by_hand():
    m, g = torch.tensor([[10.0]]), torch.tensor([[20.0]])
    answer = muon.nesterov(m, g, 0.9)
    assert rounded(answer) == [[11.9]], "m becomes 0.9 * 10 + 0.1 * 20 = 11; returned is 0.9 * 11 + 0.1 * 20"
    assert rounded(m) == [[11.0]], "the caller's m is changed in place: the next step goes on from it"


@pytest.mark.exercise("nesterov")
def test_a_steady_gradient_is_approached_and_never_overshot():
    m, got = torch.zeros(1, 1), []
    for _ in range(3):
        answer = muon.nesterov(m, torch.full((1, 1), 8.0), 0.5)
        got.append([round(answer.item(), 3), round(m.item(), 3)])
    assert got == [[6, 4], [7, 6], [7.5, 7]], (
        "[returned, m] in three steps with the gradient 8 and mu = 0.5: a mean of eights is never more than 8"
    )


@pytest.mark.exercise("nesterov")
def test_mu_of_zero_forgets_and_mu_of_one_never_learns():
    got = []
    for mu in (0.0, 1.0):
        m = torch.tensor([[10.0]])
        answer = muon.nesterov(m, torch.tensor([[20.0]]), mu)
        got.append([answer.item(), m.item()])
    assert got == [[20, 20], [10, 10]], (
        "[returned, m] for mu = 0, then for mu = 1: mu is the share that is kept"
    )


@pytest.mark.exercise("nesterov")
def test_the_gradient_is_only_read():
    m, g = torch.tensor([[10.0]]), torch.tensor([[20.0]])
    muon.nesterov(m, g, 0.9)
    assert g.item() == 20, (
        "g is the weight's .grad: whoever looks at it after the step must find the gradient"
    )


# --- shape_scale -------------------------------------------------------------------------------------


@pytest.mark.exercise("shape_scale")
def test_a_tall_matrix_steps_further():
    shapes = ((16, 1), (3072, 768), (9, 4), (5, 5))
    got = [round(muon.shape_scale(*shape), 4) for shape in shapes]
    assert got == [4, 2, 1.5, 1], (
        "(16, 1), then an MLP's first matrix, (9, 4) and a square: the root of rows by columns"
    )


@pytest.mark.exercise("shape_scale")
def test_a_wide_matrix_steps_as_far_as_a_square():
    got = [muon.shape_scale(768, 3072), muon.shape_scale(1, 100)]
    assert got == [1, 1], "an MLP's second matrix, and one row: never below 1"


# --- Muon.step ---------------------------------------------------------------------------------------


@pytest.mark.exercise("Muon.step", points=2)
def test_the_first_step_by_hand():
    w = nn.Parameter(torch.eye(2))
    take(muon.Muon([w], lr=0.1), [w], [THREE_FOUR])
    assert rounded(w) == [[0.928, 0], [0, 0.888]], (
        "3 and 4 become 0.6 and 0.8, and in five steps 0.723 and 1.119; times 0.1 they are taken off 1. The running "
        "mean only makes the gradient smaller in the first step, and sizes don't matter"
    )


@pytest.mark.exercise("Muon.step")
def test_the_step_of_a_tall_matrix_by_hand():
    w = nn.Parameter(torch.zeros(4, 1))
    take(muon.Muon([w], lr=0.1), [w], [torch.tensor([[0.0], [0], [0], [5]])])
    got = [round(x, 3) + 0.0 for x in w.flatten().tolist()]
    assert got == [0, 0, 0, -0.139], (
        "four rows and one column: 5 becomes 1, in five steps 0.696; times 0.1, times 2 for the shape, and down"
    )


@pytest.mark.exercise("Muon.step")
def test_decay_by_hand():
    w = nn.Parameter(torch.tensor([[1.0], [2], [3], [4]]))
    take(muon.Muon([w], lr=0.1, weight_decay=0.5), [w], [torch.zeros(4, 1)])
    assert rounded(w.T) == [[0.95, 1.9, 2.85, 3.8]], (
        "a gradient of zeros: nothing but decay, by 1 - 0.1 * 0.5, whatever the shape. Decay is no gradient: it "
        "must not go through Newton-Schulz, where all sizes are lost"
    )


@pytest.mark.exercise("Muon.step")
def test_decay_comes_before_the_step():
    w = nn.Parameter(torch.tensor([[2.0]]))
    take(muon.Muon([w], lr=0.5, weight_decay=1.0), [w], [torch.tensor([[5.0]])])
    assert rounded(w) == [[0.652]], (
        "2 decays to 1 (lr 0.5, decay 1). Then 0.5 times 0.696 is taken off: that is what five rounds make of 5"
    )


@pytest.mark.exercise("Muon.step")
def test_every_matrix_has_a_mean_of_its_own():
    weights = matrices((1, 2), (1, 2))
    optimizer = muon.Muon(weights, lr=0.1, momentum=0.9)
    for _ in range(2):
        take(optimizer, weights, [torch.tensor([[10.0, 0]]), torch.tensor([[0.0, 20]])])
    got = [rounded(optimizer.state[w]["m"]) for w in weights]
    assert got == [[[1.9, 0]], [[0, 3.8]]], (
        'state[w]["m"] after two steps with the gradients (10, 0) and (0, 20), momentum 0.9: a tenth, and then '
        "a tenth of what is missing. A checkpoint (lesson 2.4) saves it under this name"
    )


@pytest.mark.exercise("Muon.step", points=2)
def test_four_steps_with_momentum_and_decay():
    (w,) = matrices((3, 5))
    gradients = [numbers(3, 5, seed=i) for i in range(4)]
    wanted = by_the_book(w, gradients, 0.1, 0.8, 2.0)
    optimizer = muon.Muon([w], lr=0.1, momentum=0.8, weight_decay=2.0)
    for g in gradients:
        take(optimizer, [w], [g])
    assert difference(w, wanted) <= CLOSE, (
        "the largest difference to a computation with singular values: the mean goes on from step to step, and the "
        "weight decays before the step is taken off"
    )


@pytest.mark.exercise("Muon.step", points=2)
def test_three_steps_of_torchs_own_muon():
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("torch.optim.Muon came with torch 2.9")
    ours = matrices((4, 6), (6, 4))
    theirs = [nn.Parameter(w.detach().clone()) for w in ours]
    mine = muon.Muon(ours, lr=0.1, momentum=0.9, weight_decay=1.0, dtype=torch.bfloat16)
    judge = torch.optim.Muon(theirs, lr=0.1, momentum=0.9, weight_decay=1.0)
    for step in range(3):
        gradients = [numbers(*w.shape, seed=10 * step + i) for i, w in enumerate(ours)]
        take(mine, ours, gradients)
        take(judge, theirs, gradients)
    got = max(difference(a, b) for a, b in zip(ours, theirs))
    # Torch multiplies and adds in one go, and we in two. bfloat16 keeps two to three digits, and Newton-Schulz makes
    # rounding larger: 0.006 a step was seen at this rate, and without Nesterov's look ahead it is 0.1.
    assert got <= 0.03, "the largest difference to torch.optim.Muon, both in bfloat16, three steps of 0.1"


@pytest.mark.exercise("Muon.step", points=2)
def test_every_matrix_gets_the_update_of_its_own_gradient():
    weights = matrices((2, 3), (3, 2), (2, 3), (3, 3), (2, 3))
    gradients = [numbers(*w.shape, seed=40 + i) for i, w in enumerate(weights)]
    wanted = [by_the_book(w, [g], 0.1) for w, g in zip(weights, gradients)]
    take(muon.Muon(weights, lr=0.1), weights, gradients)
    got = [i for i, (w, right) in enumerate(zip(weights, wanted)) if difference(w, right) > CLOSE]
    assert got == [], (
        "the numbers of the matrices that got another step than they would have got alone; 0, 2 and 4 have one "
        "shape and may go as a stack, but what comes out must find its way back"
    )


@pytest.mark.exercise("Muon.step")
def test_every_group_steps_with_its_own_numbers():
    weights = matrices((2, 3), (2, 3))
    numbers_of = [
        {"lr": 0.1, "momentum": 0.5, "weight_decay": 0.0},
        {"lr": 0.2, "momentum": 0.9, "weight_decay": 2.0},
    ]
    gradients = [[numbers(2, 3, seed=i), numbers(2, 3, seed=i + 9)] for i in range(2)]
    wanted = [
        by_the_book(w, [pair[i] for pair in gradients], n["lr"], n["momentum"], n["weight_decay"])
        for i, (w, n) in enumerate(zip(weights, numbers_of))
    ]
    optimizer = muon.Muon([{"params": [w], **n} for w, n in zip(weights, numbers_of)], lr=9.0)
    for pair in gradients:
        take(optimizer, weights, pair)
    got = max(difference(w, right) for w, right in zip(weights, wanted))
    assert got <= CLOSE, (
        "the largest difference; the groups have another lr, momentum and weight_decay each, and the constructor's "
        "lr is 9"
    )


@pytest.mark.exercise("Muon.step")
def test_a_rate_that_was_changed_between_steps_counts():
    (w,) = matrices((2, 3))
    before, g = w.detach().clone(), numbers(2, 3)
    optimizer = muon.Muon([w], lr=0.1)
    take(optimizer, [w], [g])
    optimizer.param_groups[0]["lr"] = 0.0
    after = by_the_book(before, [g], 0.1)
    take(optimizer, [w], [g])
    assert difference(w, after) <= CLOSE, (
        "the second step has a rate of 0: schedules (lesson 2.3) set it like this"
    )


@pytest.mark.exercise("Muon.step")
def test_a_matrix_without_a_gradient_is_passed_over():
    weights, first, second = matrices((2, 3), (2, 3)), numbers(2, 3, seed=5), numbers(2, 3, seed=6)
    wanted = by_the_book(weights[0], [first, second], 0.1, 0.9, 2.0)
    optimizer = muon.Muon(weights, lr=0.1, momentum=0.9, weight_decay=2.0)
    take(optimizer, weights, [first, first])
    w, m = weights[1].detach().clone(), optimizer.state[weights[1]]["m"].clone()
    take(optimizer, weights, [second, None])
    got = [difference(weights[1], w), difference(optimizer.state[weights[1]]["m"], m)]
    assert got == [0, 0], (
        "the largest change in the second matrix and in its mean, in a step in which it has no gradient: it neither "
        "moves nor decays, and its mean waits"
    )
    assert difference(weights[0], wanted) <= CLOSE, (
        "its neighbour of the same shape steps as ever (difference)"
    )


@pytest.mark.exercise("Muon.step")
def test_gradients_are_still_there_after_the_step():
    weights, g = matrices((2, 3), (3, 2)), numbers(2, 3)
    optimizer = muon.Muon(weights, lr=0.1)
    for _ in range(2):
        take(optimizer, weights, [g, g.T])
    got = max(difference(weights[0].grad, g), difference(weights[1].grad, g.T))
    assert got == 0, "the largest change in .grad: it belongs to whoever called backward"


@pytest.mark.exercise("Muon.step")
def test_newton_schulz_is_computed_in_the_dtype_that_was_asked_for():
    # Whole numbers below 85, and 3/4 of them goes into Newton-Schulz: bfloat16 holds that exactly. Rounding the
    # result alone makes 0.002 at most (half a step of bfloat16 below 1); five rounds in bfloat16 made 0.016 to 0.07.
    g, found = (10 * numbers(4, 6)).round(), []
    for kind in (torch.float32, torch.bfloat16):
        w = nn.Parameter(torch.zeros(4, 6))
        optimizer = muon.Muon([w], lr=1.0, momentum=0.5, dtype=kind)
        take(optimizer, [w], [g])
        found.append(difference(w, -by_svd(g)))
    exact, coarse = found
    assert exact <= CLOSE, "in float32, the largest difference to a singular value decomposition"
    assert coarse >= 25 * CLOSE, (
        "in bfloat16 it must be larger: each product on the way keeps two to three digits, not only what goes in or "
        "comes out (seen: 0.05)"
    )
    assert coarse <= 0.3, "and not much larger: five steps in bfloat16 are good enough to train with"
    got = [str(w.dtype), str(optimizer.state[w]["m"].dtype)]
    assert got == ["torch.float32", "torch.float32"], (
        "weight and mean: a small share of a gradient that goes into a mean in bfloat16 is rounded away"
    )


# --- roles -------------------------------------------------------------------------------------------


class Model(nn.Module):
    """Of two blocks with one matrix each, and what else a test puts in."""

    def __init__(self, **others: nn.Module) -> None:
        super().__init__()
        self.lm_head = nn.Linear(2, 5, bias=False)
        self.blocks = nn.ModuleList(nn.Linear(2, 2, bias=False) for _ in range(2))
        self.wte = nn.Embedding(5, 2)
        for name, other in others.items():
            setattr(self, name, other)


def names(model: nn.Module, weights) -> str:
    known = {id(weight): name for name, weight in model.named_parameters()}
    return ", ".join(known.get(id(w), "a stranger").replace(".weight", "") for w in weights)


@pytest.mark.exercise("roles", points=2)
def test_who_steps_which_weight():
    model = Model()
    got = [names(model, part) for part in muon.roles(model)]
    assert got == ["blocks.0, blocks.1", "wte", "lm_head"], (
        "matrices, embedding and head, in this order. Two axes are not enough: embedding and head have them, too"
    )


@pytest.mark.exercise("roles")
def test_every_weight_of_a_gpt_has_exactly_one_rule():
    model = GPT(GPTConfig(sequence_len=4, vocab_size=9, n_layer=2, n_head=2, n_kv_head=1, n_embd=8))
    found = muon.roles(model)
    got = [len(part) for part in found]
    assert got == [12, 1, 1], "matrices (six in each of two blocks), embedding, head"
    order = [id(w) for w in model.parameters()]
    places = [order.index(id(w)) for w in (*found.embedding, *found.matrices, *found.head)]
    assert places == list(range(14)), "places in the model: each once, matrices in the order of the model"


def answer_to(model: nn.Module) -> str:
    """What `roles` does with it."""
    try:
        found = muon.roles(model)
    except ValueError:
        return "ValueError"
    return f"{sum(map(len, found))} weights"


@pytest.mark.exercise("roles")
def test_a_weight_of_an_unknown_name_is_refused():
    got = answer_to(Model(value_embeds=nn.Embedding(5, 2)))
    assert got == "ValueError", (
        "value_embeds is in no list: a weight that no rule steps never learns, and nobody notices"
    )


@pytest.mark.exercise("roles")
def test_a_gain_in_a_block_is_refused():
    got = [
        answer_to(Model(blocks=nn.ModuleList([part])))
        for part in (nn.LayerNorm(2), nn.Conv1d(2, 2, 3, bias=False))
    ]
    assert got == ["ValueError", "ValueError"], (
        "blocks.0.weight of shape (2,), and of shape (2, 2, 3): no matrices, and no rule for them"
    )


@pytest.mark.exercise("roles")
def test_a_name_that_only_looks_alike_is_refused():
    alike = {
        "blocks_old": nn.Linear(2, 2, bias=False),
        "wte_2": nn.Embedding(5, 2),
        "my_lm_head": nn.Linear(2, 5),
    }
    got = [answer_to(Model(**{name: part})) for name, part in alike.items()]
    assert got == ["ValueError"] * 3, (
        "blocks_old, wte_2 and my_lm_head: names are compared up to the first dot"
    )


# --- optimizers --------------------------------------------------------------------------------------


def groups(model: nn.Module, n_embd: int = 768, **settings) -> dict[str, tuple[str, dict]]:
    """Weight -> the rule that steps it, and its group."""
    found = {}
    for optimizer in muon.optimizers(model, n_embd, **settings):
        for group in optimizer.param_groups:
            for w in group["params"]:
                name = names(model, [w])
                assert name not in found, f"{name} is stepped twice in each step"
                found[name] = (type(optimizer).__name__, group)
    return found


def rates(found: dict[str, tuple[str, dict]]) -> list[float]:
    """Of a matrix, the embedding and the head."""
    return [
        round(found[name][1]["lr"], 6) if name in found else 0.0 for name in ("blocks.1", "wte", "lm_head")
    ]


@pytest.mark.exercise("optimizers")
def test_adamw_comes_first_and_muon_gets_the_matrices():
    model = Model()
    made = muon.optimizers(model, 768)
    got = [type(optimizer).__name__ for optimizer in made]
    assert got == ["AdamW", "Muon"], "in this order: whoever sets Muon's momentum looks there"
    held = [names(model, [w for group in one.param_groups for w in group["params"]]) for one in made]
    assert sorted(held[0].split(", ")) == ["lm_head", "wte"], "what AdamW steps"
    assert held[1] == "blocks.0, blocks.1", "what Muon steps"


@pytest.mark.exercise("optimizers", points=2)
def test_the_rates_of_a_model_of_768_features():
    got = rates(groups(Model()))
    assert got == [0.02, 0.2, 0.004], "matrices, embedding, head: a row of the embedding is seldom seen"


@pytest.mark.exercise("optimizers")
def test_a_quarter_of_the_width_doubles_the_rates_of_adamw_alone():
    got = rates(groups(Model(), 192))
    assert got == [0.02, 0.4, 0.008], (
        "matrices, embedding, head, for 192 features: (192 / 768)^-0.5 = 2; Muon's steps have the same size in "
        "every width"
    )


@pytest.mark.exercise("optimizers")
def test_rates_that_are_given_are_used():
    got = rates(groups(Model(), matrix_lr=0.5, embedding_lr=0.6, head_lr=0.7))
    assert got == [0.5, 0.6, 0.7], "matrix_lr, embedding_lr and head_lr of a model of 768 features"


@pytest.mark.exercise("optimizers")
def test_only_matrices_decay():
    found = groups(Model(), weight_decay=0.25)
    got = [found[name][1]["weight_decay"] for name in ("blocks.1", "wte", "lm_head") if name in found]
    assert got == [0.25, 0, 0], (
        "matrices, embedding, head: the row of an id that does not occur would decay, and learn nothing meanwhile"
    )


@pytest.mark.exercise("optimizers")
def test_the_dtype_reaches_muon():
    made = muon.optimizers(Model(), 768, dtype=torch.bfloat16)
    assert str(getattr(made[-1], "dtype", None)) == "torch.bfloat16", (
        "Muon's dtype: the faster one is half the point"
    )
