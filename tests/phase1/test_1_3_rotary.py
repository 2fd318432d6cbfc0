"""Graded tests of lesson 1.3: rotary positions, by hand, by math.cos, and by complex numbers.

Judges: numbers that one can check on paper, Python's math in double precision, and complex numbers, for
which turning by an angle is a multiplication. Sizes differ from one another (B = 2, H = 3, T = 5, D = 8), so
that axes can't be mistaken for each other unnoticed.
"""

import math
from functools import partial

import pytest
import torch

from mini_nanochat.model import rotary

B, H, T, D = 2, 3, 5, 8
# float32 keeps seven digits; our numbers are near 1 and go through two products and a sum.
CLOSE = 1e-5
# Far out: an angle of 4,000 in float32 is off by up to 1.2e-4, and by as much again for its frequency.
CLOSE_FAR_OUT = 1e-3


def numbers(*shape: int, seed: int = 1) -> torch.Tensor:
    """Normal numbers, the same each time."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def angle(position: int, pair: int, head_dim: int, base: float = 10_000.0) -> float:
    """In radians, by Python's own arithmetic."""
    return position * base ** (-2 * pair / head_dim)


def tables(n: int, head_dim: int, base: float = 10_000.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines of positions 0 .. n-1: (n, D/2) each, by math."""
    theta = [[angle(t, i, head_dim, base) for i in range(head_dim // 2)] for t in range(n)]
    cos, sin = ([[f(a) for a in row] for row in theta] for f in (math.cos, math.sin))
    return torch.tensor(cos), torch.tensor(sin)


def turned(x: torch.Tensor, offset: int = 0, base: float = 10_000.0) -> torch.Tensor:
    """What apply_rotary must give, by complex numbers in double precision: a + ib times e to the -i theta."""
    t, d = x.shape[-2:]
    pairs = torch.complex(x[..., : d // 2].double(), x[..., d // 2 :].double())
    theta = [[angle(offset + p, i, d, base) for i in range(d // 2)] for p in range(t)]
    theta = torch.tensor(theta, dtype=torch.float64)
    pairs = pairs * torch.polar(torch.ones_like(theta), theta).conj()
    return torch.cat([pairs.real, pairs.imag], dim=-1)


def apart(got: torch.Tensor, wanted: torch.Tensor) -> float:
    """The largest difference, in two digits."""
    return float(f"{(got.detach().double() - wanted.detach().double()).abs().max().item():.2g}")


def assert_same(got: torch.Tensor, wanted: torch.Tensor, why: str, within: float = CLOSE) -> None:
    difference = apart(got, wanted)
    assert difference <= within, f"{why} (the largest difference is compared)"


def rounded(x: torch.Tensor, digits: int = 3) -> list:
    """As nested lists: what one checks on paper."""
    return (x.detach().double() * 10**digits).round().div(10**digits).add(0.0).tolist()


def error_of(call) -> str:
    """The kind of error that `call` raises."""
    try:
        call()
    except NotImplementedError:
        raise
    except Exception as error:
        return type(error).__name__
    return "no error"


@pytest.fixture
def bfloat16_by_default():
    """While a test runs, numbers with a point are bfloat16 unless somebody asks for something else."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


# --- inv_freq ----------------------------------------------------------------------------------------


@pytest.mark.exercise("inv_freq")
def test_two_pairs_by_hand():
    got = rounded(rotary.inv_freq(4), 6)
    assert got == [1.0, 0.01], "D = 4: 10000 to the power 0 and to the power -2/4, which is 1 / 100"


@pytest.mark.exercise("inv_freq", points=2)
def test_each_pair_turns_more_slowly_by_the_same_factor():
    got = rounded(rotary.inv_freq(8, base=16.0), 6)
    assert got == [1.0, 0.5, 0.25, 0.125], "D = 8, base 16: the factor is 16 to the power -2/8, which is 1/2"


@pytest.mark.exercise("inv_freq")
def test_the_first_pair_turns_by_one_radian_whatever_the_base():
    got = [rounded(rotary.inv_freq(d, base=base))[0] for d, base in ((2, 7.0), (6, 500.0), (64, 1e6))]
    assert got == [1.0, 1.0, 1.0], "any base to the power 0 is 1: neighbours differ by a whole radian"


@pytest.mark.exercise("inv_freq")
def test_there_is_one_frequency_for_each_pair():
    got = [tuple(rotary.inv_freq(d).shape) for d in (2, 6, 64)]
    assert got == [(1,), (3,), (32,)], "D features make D / 2 pairs"


@pytest.mark.exercise("inv_freq")
def test_the_frequencies_are_those_of_double_precision():
    for d, base in ((6, 10_000.0), (64, 10_000.0), (128, 500_000.0)):
        wanted = torch.tensor([angle(1, i, d, base) for i in range(d // 2)], dtype=torch.float64)
        got = apart(rotary.inv_freq(d, base).double() / wanted, torch.ones_like(wanted))
        assert got <= 1e-5, (
            f"D = {d}, base {base:,.0f}: largest share by which one is off; float32 allows 1e-6, bfloat16 4e-3"
        )


@pytest.mark.exercise("inv_freq")
def test_frequencies_are_float32():
    got = str(rotary.inv_freq(8).dtype)
    assert got == "torch.float32", "positions are multiplied by them: a small error grows with the position"


@pytest.mark.exercise("inv_freq")
def test_frequencies_are_float32_whatever_the_default_of_torch_is(bfloat16_by_default):
    got = str(rotary.inv_freq(8).dtype)
    assert got == "torch.float32", (
        "torch.set_default_dtype(torch.bfloat16) came before: float32 was not asked for"
    )


@pytest.mark.exercise("inv_freq")
def test_an_odd_number_of_features_is_refused():
    for d in (1, 7):
        got = error_of(lambda d=d: rotary.inv_freq(d))
        assert got == "ValueError", f"{d} features: features turn in pairs, and one would be left over"


@pytest.mark.exercise("inv_freq")
def test_frequencies_lie_on_the_device_that_was_asked_for(elsewhere):
    got = rotary.inv_freq(8, device=elsewhere).device.type
    assert got == "meta", "a model on a GPU asks for them there; meta is a device that every torch has"


# --- cos_sin -----------------------------------------------------------------------------------------


@pytest.mark.exercise("cos_sin", points=2)
def test_a_single_pair_turns_by_one_radian_a_position():
    cos, sin = rotary.cos_sin(4, 2)
    got = (rounded(cos[:, 0]), rounded(sin[:, 0]))
    assert got == ([1.0, 0.54, -0.416, -0.99], [0.0, 0.841, 0.909, 0.141]), (
        "cosines first, then sines, of 0, 1, 2 and 3 radians (a full turn has 6.28)"
    )


@pytest.mark.exercise("cos_sin")
def test_an_angle_is_position_times_frequency():
    cos, sin = rotary.cos_sin(3, 8, base=16.0)
    got = rounded(torch.atan2(sin, cos))
    assert got == [[0.0] * 4, [1.0, 0.5, 0.25, 0.125], [2.0, 1.0, 0.5, 0.25]], (
        "angles of positions 0, 1 and 2, read back from the tables; D = 8, base 16: frequencies 1, 1/2, 1/4, 1/8"
    )


@pytest.mark.exercise("cos_sin")
def test_a_row_for_each_position_and_a_column_for_each_pair():
    got = [tuple(tuple(table.shape) for table in rotary.cos_sin(n, d)) for n, d in ((7, 6), (1, 2), (0, 4))]
    assert got == [((7, 3), (7, 3)), ((1, 1), (1, 1)), ((0, 2), (0, 2))], (
        "(n, D/2), twice: both features of a pair turn by the same angle"
    )


@pytest.mark.exercise("cos_sin")
def test_position_0_has_the_angle_0():
    cos, sin = rotary.cos_sin(6, 6)
    got = (rounded(cos[0]), rounded(sin[0]))
    assert got == ([1.0] * 3, [0.0] * 3), "the first position is not turned: cosine 1, sine 0"


@pytest.mark.exercise("cos_sin")
def test_longer_tables_begin_like_shorter_ones():
    short, long = rotary.cos_sin(5, 6), rotary.cos_sin(50, 6)
    got = [apart(a, b[:5]) for a, b in zip(short, long)]
    assert max(got) <= CLOSE, (
        "cos and sin of positions 0 to 4: an angle depends on the position, not on how long the text is"
    )


@pytest.mark.exercise("cos_sin")
def test_tables_are_those_of_double_precision_up_to_position_4000():
    cos, sin = rotary.cos_sin(4001, 16)
    for t in (4000, 1000, 257, 100):
        theta = torch.tensor([angle(t, i, 16) for i in range(8)], dtype=torch.float64)
        got = max(apart(cos[t], theta.cos()), apart(sin[t], theta.sin()))
        assert got <= CLOSE_FAR_OUT, (
            f"position {t}, largest difference: float32 stays below 0.001; an angle of 4000 in bfloat16 has steps of 16"
        )


@pytest.mark.exercise("cos_sin")
def test_far_out_neighbours_still_differ_by_one_radian():
    cos, sin = rotary.cos_sin(3004, 4)
    theta = torch.atan2(sin[3000:, 0], cos[3000:, 0])
    got = rounded(torch.diff(theta).remainder(2 * math.pi), 1)
    assert got == [1.0, 1.0, 1.0], (
        "steps of the first pair from 3000 to 3003; in bfloat16 there is no number between 2992 and 3008"
    )


@pytest.mark.exercise("cos_sin")
def test_tables_are_float32():
    got = [str(table.dtype) for table in rotary.cos_sin(3, 4)]
    assert got == ["torch.float32"] * 2, "made once and kept: whoever needs fewer digits rounds at the end"


@pytest.mark.exercise("cos_sin")
def test_positions_are_exact_whatever_the_default_of_torch_is(bfloat16_by_default):
    cos, sin = rotary.cos_sin(302, 2)
    got = (str(cos.dtype), str(sin.dtype), rounded(cos[301]), rounded(sin[301]))
    assert got == ("torch.float32", "torch.float32", [0.829], [-0.559]), (
        "position 301 after torch.set_default_dtype(torch.bfloat16), which has 300 and 302 and nothing between"
    )


@pytest.mark.exercise("cos_sin")
def test_tables_lie_on_the_device_that_was_asked_for(elsewhere):
    got = [table.device.type for table in rotary.cos_sin(3, 4, device=elsewhere)]
    assert got == ["meta", "meta"], "positions and frequencies must meet on the same device"


# --- apply_rotary ------------------------------------------------------------------------------------


def quarter(n: int = 1, pairs: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Tables in which position t is turned by t + 1 quarters: first cos 0, sin 1."""
    steps = torch.arange(1, n + 1)[:, None].expand(n, pairs)
    return torch.tensor([1.0, 0, -1, 0])[steps % 4], torch.tensor([0.0, 1, 0, -1])[steps % 4]


@pytest.mark.exercise("apply_rotary", points=2)
def test_a_quarter_turn_by_hand():
    x = torch.tensor([[[[1.0, 2, 3, 4]]]])
    got = rounded(rotary.apply_rotary(x, *quarter(pairs=2)))
    assert got == [[[[3, 4, -1, -2]]]], (
        "cos 0, sin 1: the pairs are (1, 3) and (2, 4), and (a, b) becomes (a cos + b sin, b cos - a sin) = (b, -a)"
    )


@pytest.mark.exercise("apply_rotary", points=2)
def test_each_position_has_its_own_angle():
    x = torch.tensor([[[[1.0, 0], [1, 0], [1, 0]]]])
    got = rounded(rotary.apply_rotary(x, *tables(3, 2)))
    assert got == [[[[1, 0], [0.54, -0.841], [-0.416, -0.909]]]], (
        "the point (1, 0) at positions 0, 1 and 2: (cos t, -sin t), by t radians clockwise"
    )


@pytest.mark.exercise("apply_rotary")
def test_the_first_position_is_not_turned():
    x = numbers(B, H, 1, D)
    assert_same(
        rotary.apply_rotary(x.clone(), *tables(4, D)), x, "position 0, angle 0: x comes out as it went in"
    )


def arrives(i: int) -> list[int]:
    """Where something is that is not 0, after a vector with nothing but feature i was turned at position 1."""
    x = torch.zeros(1, 1, 2, 6)
    x[..., i] = 1.0
    y = rotary.apply_rotary(x, *tables(2, 6, base=16.0))[0, 0, 1]
    return [j for j in range(6) if abs(y[j].item()) > CLOSE]


@pytest.mark.exercise("apply_rotary")
def test_feature_i_is_paired_with_feature_i_plus_half():
    got = [arrives(i) for i in range(6)]
    assert got == [[0, 3], [1, 4], [2, 5]] * 2, (
        "only feature i is not 0, at position 1: where something arrives. Six features: halves, not neighbours"
    )


@pytest.mark.exercise("apply_rotary")
def test_each_pair_turns_at_its_own_speed():
    x = torch.tensor([[[[1.0, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0]]]])
    y = rotary.apply_rotary(x, *tables(2, 6, base=8.0))[0, 0, 1]
    got = rounded(torch.atan2(-y[3:], y[:3]))
    assert got == [1.0, 0.5, 0.25], "position 1, D = 6, base 8: pairs 0, 1 and 2 are turned by 1, 1/2 and 1/4"


@pytest.mark.exercise("apply_rotary", points=2)
def test_turning_is_a_product_of_complex_numbers():
    for b, h, t, d in ((B, H, T, D), (1, 1, 1, 2), (1, 7, 4, 6)):
        x = numbers(b, t, h, d).transpose(1, 2)  # as split_heads of lesson 1.2 gives it
        y = rotary.apply_rotary(x.clone(), *tables(t + 2, d))
        assert tuple(y.shape) == (b, h, t, d), "the shape of x"
        assert_same(
            y, turned(x), f"{b} sequences, {h} heads, {t} positions, {d} features: (a + ib) e^(-i theta)"
        )


@pytest.mark.exercise("apply_rotary")
def test_lengths_stay_as_they_are():
    x = numbers(B, H, T, D)
    assert_same(
        rotary.apply_rotary(x.clone(), *tables(T, D)).norm(dim=-1),
        x.norm(dim=-1),
        "a rotation moves a point on its circle: no vector gets longer or shorter",
    )


@pytest.mark.exercise("apply_rotary", points=2)
def test_a_score_depends_on_the_distance_alone():
    q, k = numbers(D).repeat(1, 1, 12, 1), numbers(D, seed=2).repeat(1, 1, 12, 1)
    q, k = (rotary.apply_rotary(x, *tables(12, D))[0, 0] for x in (q, k))
    scores = q @ k.T
    got = max(apart(scores.diagonal(-n), scores.diagonal(-n)[:1]) for n in range(12))
    assert got <= CLOSE, (
        "one query and one key at all pairs of places: the most that scores at equal distance differ"
    )
    spread = [scores[n, 0].item() for n in range(12)]
    got = round(max(spread) - min(spread), 1)
    assert got >= 1.0, "largest minus smallest score over distances 0 to 11: distance must matter"


@pytest.mark.exercise("apply_rotary", points=2)
def test_with_an_offset_positions_go_on_where_they_were():
    x = torch.tensor([[[[1.0, 0], [1, 0]]]])
    got = rounded(rotary.apply_rotary(x, *tables(1002, 2), offset=1000))
    assert got == [[[[0.562, -0.827], [-0.392, -0.92]]]], (
        "(1, 0) at positions 1000 and 1001, after 1000 positions in a cache: (cos 1000, -sin 1000), and so on"
    )


def off_in_pieces(*sizes: int) -> float:
    """The largest difference, when pieces of these sizes are turned one after the other."""
    x, (cos, sin) = numbers(B, H, 7, D), tables(9, D)
    pieces, first = [], 0
    for n in sizes:
        pieces.append(rotary.apply_rotary(x[:, :, first : first + n].clone(), cos, sin, first))
        first += n
    return apart(torch.cat(pieces, 2), turned(x))


@pytest.mark.exercise("apply_rotary")
def test_in_pieces_it_says_the_same_as_at_once():
    for sizes in ((7,), (3, 4), (4, 2, 1), (1,) * 7):
        got = off_in_pieces(*sizes)
        assert got <= CLOSE, f"largest difference, pieces of {sizes} positions, offset = how many came before"


@pytest.mark.exercise("apply_rotary")
def test_two_calls_of_equal_length_do_not_share_their_offset():
    rotate = partial(rotary.apply_rotary, cos=tables(40, D)[0], sin=tables(40, D)[1])
    x = numbers(B, H, 2, D)
    got = [apart(rotate(x.clone(), offset=offset), turned(x, offset)) for offset in (0, 30, 7)]
    assert max(got) <= CLOSE, "largest difference at offsets 0, 30 and 7: what was remembered must still fit"


@pytest.mark.exercise("apply_rotary")
def test_queries_and_keys_turn_in_the_same_direction():
    q, k = numbers(D).repeat(1, 1, 9, 1), numbers(D, seed=2).repeat(1, 1, 9, 1)
    cos, sin = tables(9, D)
    keys = rotary.apply_rotary(k.clone(), cos, sin)[0, 0]
    query = rotary.apply_rotary(q[:, :, :1].clone(), cos, sin, offset=8)[0, 0, 0]
    assert_same(
        keys @ query,
        turned(k)[0, 0] @ turned(q)[0, 0, 8],
        "a single new query at position 8 meets 9 keys, which went through another call",
    )


@pytest.mark.exercise("apply_rotary")
def test_tables_may_be_longer_than_the_text_and_exactly_as_long():
    x = numbers(B, H, T, D)
    wanted = turned(x, 2)
    got = [apart(rotary.apply_rotary(x.clone(), *tables(2 + T + n, D), offset=2), wanted) for n in (0, 9)]
    assert max(got) <= CLOSE, (
        "positions 2 to 6, tables for 7 and for 16 positions: the last row is a row, too"
    )


def error_with(t: int, offset: int, rows: int) -> str:
    """What t positions from offset on, and tables of so many rows, lead to."""
    x, (cos, sin) = numbers(1, 1, t, D), tables(rows, D)
    return error_of(lambda: rotary.apply_rotary(x, cos, sin, offset=offset))


@pytest.mark.exercise("apply_rotary", points=2)
def test_positions_beyond_the_tables_are_refused():
    for t, offset, rows in ((3, 4, 5), (5, 0, 4), (1, 4, 4), (2, 3, 4), (1, 90, 4)):
        got = error_with(t, offset, rows)
        assert got == "ValueError", (
            f"{t} positions from {offset} on, tables for {rows}: a single row that is left, torch spreads over all"
        )


@pytest.mark.exercise("apply_rotary")
def test_the_dtype_of_x_is_kept():
    kinds = [torch.bfloat16, torch.float16, torch.float32, torch.float64]
    got = [str(rotary.apply_rotary(numbers(B, H, T, D).to(kind), *tables(T, D)).dtype) for kind in kinds]
    assert got == ["torch.bfloat16", "torch.float16", "torch.float32", "torch.float64"], (
        "these four go in; float32 tables must not decide what comes out"
    )


@pytest.mark.exercise("apply_rotary")
def test_in_bfloat16_position_4000_is_still_position_4000():
    x = numbers(B, H, 8, D).clamp(-1, 1).bfloat16()
    assert_same(
        rotary.apply_rotary(x.clone(), *tables(4008, D), offset=4000),
        turned(x, 4000),
        "numbers up to 1 in bfloat16 keep 2 to 3 digits, and no more may be lost: one place off makes 1",
        0.02,
    )


@pytest.mark.exercise("apply_rotary")
def test_x_itself_is_left_alone():
    x = numbers(B, H, T, D)
    before = x.clone()
    rotary.apply_rotary(x, *tables(T, D))
    assert apart(x, before) == 0.0, "the largest change of x: whoever passed it in may still need it"


@pytest.mark.exercise("apply_rotary")
def test_gradients_are_turned_back():
    x, weight = numbers(B, H, T, D).requires_grad_(), numbers(B, H, T, D, seed=3)
    other = x.detach().clone().requires_grad_()
    y = rotary.apply_rotary(x.clone(), *tables(T, D), offset=0)
    if y.requires_grad:
        (y * weight).sum().backward()
    (turned(other) * weight).sum().backward()
    assert_same(
        torch.zeros_like(other) if x.grad is None else x.grad,
        other.grad,
        "what x learns: queries and keys are trained through the turn",
    )
