"""Graded tests of lesson 3.3: numbers by hand, other people's steppers, invented machines, gradients that overflow.

Judges: powers of two on paper; torch.nextafter for float32, and for the two 16-bit kinds the bits themselves, read as
a whole number and counted up by one. No GPU and no clock is needed: machines are tables of speeds, and torch's
questions to a GPU are answered by the tests.
"""

import math
from types import SimpleNamespace

import pytest
import torch

from mini_nanochat.optim import precision

F32, BF16, F16 = torch.float32, torch.bfloat16, torch.float16
KINDS = (F32, BF16, F16)
CPU, GPU, APPLE = torch.device("cpu"), torch.device("cuda"), torch.device("mps")
INF, NAN = float("inf"), float("nan")


def name(dtype) -> str:
    return str(dtype).removeprefix("torch.")


def power(value: float) -> str:
    """2^-7 rather than 0.0078125, where it is a power of two: what one checks on paper."""
    value = float(value)
    if value > 0 and math.isfinite(value) and math.frexp(value)[0] == 0.5:
        return f"2^{math.frexp(value)[1] - 1}"
    return f"{value:g}"


def next_number(x: float, dtype) -> float:
    """The next larger number of a kind, by torch's own stepper or by the bits."""
    at = torch.tensor(x, dtype=dtype)
    assert at.item() == x and x >= 0, "the judge is asked about numbers of the kind only"
    if dtype == F32:
        return torch.nextafter(at, torch.tensor(INF)).item()
    return (at.view(torch.int16) + 1).view(dtype).item()


def wrong_at(dtype, numbers: list[float]) -> list[str]:
    """The first number for which `spacing` does not say how far the next larger one is."""
    for x in numbers:
        got, wanted = precision.spacing(x, dtype), next_number(x, dtype) - x
        if not math.isclose(
            got, wanted, rel_tol=1e-9
        ):  # both are powers of two: they agree, or differ by half
            return [f"{name(dtype)} at {power(x)}: {power(got)}, not {power(wanted)}"]
    return []


# --- spacing -----------------------------------------------------------------------------------------


@pytest.mark.exercise("spacing")
def test_how_far_it_is_from_1_to_the_next_number():
    got = [power(precision.spacing(1.0, kind)) for kind in KINDS]
    assert got == ["2^-23", "2^-7", "2^-10"], (
        "float32, bfloat16, float16: they have 23, 7 and 10 bits after the first one"
    )


@pytest.mark.exercise("spacing")
def test_numbers_get_sparser_as_they_grow():
    got = [power(precision.spacing(x, BF16)) for x in (1.5, 3.0, 100.0, 1000.0)]
    assert got == ["2^-7", "2^-6", "2^-1", "2^2"], (
        "bfloat16 at 1.5, 3, 100, 1000: 2^0 <= 1.5 < 2^1, 2^1 <= 3 < 2^2, 2^6 <= 100 < 2^7, 2^9 <= 1000 < 2^10, "
        "and the next number is 2^7 = 128 times finer than that power"
    )


@pytest.mark.exercise("spacing")
def test_between_two_powers_of_two_all_steps_are_alike():
    got = [power(precision.spacing(2.0**23 + more, F32)) for more in (0, 1, 2.0**22, 2.0**23 - 1, 2.0**23)]
    assert got == ["2^0", "2^0", "2^0", "2^0", "2^1"], (
        "float32 counts by ones from 2^23 = 8,388,608 on, and by twos from 2^24: there is no 16,777,217. A staircase, "
        "no slope"
    )


@pytest.mark.exercise("spacing", points=2)
def test_a_power_of_two_belongs_to_what_lies_above_it():
    for kind, lowest, highest in ((F32, -126, 127), (BF16, -126, 127), (F16, -14, 15)):
        got = wrong_at(kind, [2.0**e for e in range(lowest, highest + 1)])
        assert got == [], "every power of two that this kind has, and the next larger number after it"


@pytest.mark.exercise("spacing")
def test_just_below_a_power_of_two():
    got = [power(precision.spacing(2 - 2.0**-bits, kind)) for kind, bits in zip(KINDS, (23, 7, 10))]
    assert got == ["2^-23", "2^-7", "2^-10"], (
        "at the last number before 2: it is still one step of those at 1"
    )


@pytest.mark.exercise("spacing")
def test_at_zero_it_is_the_smallest_number_of_all():
    got = [power(precision.spacing(0.0, kind)) for kind in KINDS]
    assert got == ["2^-149", "2^-133", "2^-24"], (
        "the next number after 0: what the spacing is at the smallest normal number (2^-126, 2^-126, 2^-14)"
    )


@pytest.mark.exercise("spacing")
def test_below_the_smallest_normal_number_steps_stay_as_they_are():
    got = [power(precision.spacing(2.0**e, F16)) for e in (-13, -14, -15, -20, -24)]
    assert got == ["2^-23", "2^-24", "2^-24", "2^-24", "2^-24"], (
        "float16 at 2^-13, 2^-14 (the smallest normal number), 2^-15, 2^-20, 2^-24: an even grid down to zero"
    )


@pytest.mark.exercise("spacing")
def test_a_negative_number_has_the_spacing_of_its_size():
    got = [power(precision.spacing(x, BF16)) for x in (-1.0, -2.0, -100.0)]
    assert got == ["2^-7", "2^-6", "2^-1"], "at -1, -2 and -100: from |x| to the next larger number"


@pytest.mark.exercise("spacing")
def test_the_largest_number_still_has_a_spacing():
    largest = (2.0**128 - 2.0**104, 2.0**128 - 2.0**120, 65504.0)
    got = [power(precision.spacing(x, kind)) for x, kind in zip(largest, KINDS)]
    assert got == ["2^104", "2^120", "2^5"], (
        "the formula holds for 2^e <= |x| < 2^(e+1), up to the last number"
    )


def refused(x: float, kind) -> str:
    """Whether `spacing` refuses, or what it says."""
    try:
        return power(precision.spacing(x, kind))
    except ValueError:
        return "ValueError"


@pytest.mark.exercise("spacing")
def test_no_spacing_beyond_the_last_number():
    for x, kind in ((65520.0, F16), (-70000.0, F16), (3.4e38, BF16), (1e39, F32)):
        assert refused(x, kind) == "ValueError", (
            f"{x:g} is beyond the last number of {name(kind)}, on either side"
        )


@pytest.mark.exercise("spacing")
def test_no_spacing_at_infinity_and_at_nan():
    got = [refused(x, BF16) for x in (INF, -INF, NAN)]
    assert got == ["ValueError"] * 3, "inf, -inf and nan: no number comes next"


@pytest.mark.exercise("spacing", points=2)
def test_it_is_the_step_to_the_next_number_everywhere():
    generator = torch.Generator().manual_seed(3)
    for kind in KINDS:
        sizes = torch.randint(-160, 127, (60,), generator=generator)
        x = (torch.rand(60, generator=generator).double() + 1) * 2.0 ** sizes.double()
        some = [v for v in x.to(kind).double().tolist() if v < torch.finfo(kind).max / 2]
        got = wrong_at(kind, some)
        assert got == [], "numbers of all sizes, zero and those below the smallest normal one among them"


# --- survives ----------------------------------------------------------------------------------------


@pytest.mark.exercise("survives", points=2)
def test_a_thousandth_of_a_weight():
    got = [precision.survives(1.0, 0.001, kind) for kind in KINDS]
    assert got == [True, False, True], (
        "1 + 1/1000 in float32, bfloat16, float16: around 1, neighbours are 2^-23, 1/128 and 1/1024 apart"
    )


@pytest.mark.exercise("survives")
def test_the_same_step_at_weights_of_other_sizes():
    got = [precision.survives(weight, 0.0078125, BF16) for weight in (0.5, -1.0, 3.0, 100.0)]
    assert got == [True, True, False, False], (
        "1/128 in bfloat16, at 0.5, -1, 3 and 100: what counts is its size beside that of the weight"
    )


@pytest.mark.exercise("survives")
def test_more_than_half_the_way_is_rounded_up():
    got = [precision.survives(100.0, step, BF16) for step in (0.2, 0.3, -0.2, -0.3)]
    assert got == [False, True, False, True], (
        "100 in bfloat16 has neighbours at 99.5 and 100.5: 100.3 is nearer to the second one, 100.2 is not"
    )


@pytest.mark.exercise("survives")
def test_from_1_it_is_half_as_far_down_as_up():
    got = [precision.survives(1.0, step, BF16) for step in (2.0**-8, -(2.0**-8))]
    assert got == [False, True], (
        "up by 1/256 and down by 1/256 from 1: above 1 neighbours are 1/128 apart, and below it 1/256"
    )


@pytest.mark.exercise("survives")
def test_exactly_half_the_way_goes_to_the_even_neighbour():
    got = [precision.survives(1 + k / 128, 2.0**-8, BF16) for k in range(4)]
    assert got == [False, True, False, True], (
        "half a spacing, added to the bfloat16 numbers 1, 1 + 1/128, 1 + 2/128, 1 + 3/128: a tie goes to the "
        "neighbour whose last bit is 0"
    )


@pytest.mark.exercise("survives")
def test_the_weight_is_a_number_of_its_kind():
    got = [precision.survives(0.1, step, BF16) for step in (0.0, 1e-6, 0.0003)]
    assert got == [False, False, True], (
        "0.1 is stored in bfloat16 as 0.10009765625. Adding nothing, or a millionth, leaves *that* as it is; 0.0003 "
        "is more than half of the way to its neighbour, which is 0.00049 away"
    )


@pytest.mark.exercise("survives")
def test_a_weight_of_zero_bears_very_small_steps():
    got = [precision.survives(0.0, step, kind) for step in (1e-6, 1e-8, 1e-30) for kind in (BF16, F16)]
    assert got == [True, True, True, False, True, False], (
        "1e-6, 1e-8 and 1e-30, in bfloat16 and float16 each: the smallest number of float16 is 6e-8"
    )


# --- choose_dtype ------------------------------------------------------------------------------------


class Machine:
    """Speeds that a test has made up, and who asked for them."""

    def __init__(self, bfloat16: float, float32: float = 1.0, float16: float = 1.0) -> None:
        self.speeds, self.asked = {BF16: bfloat16, F32: float32, F16: float16}, []

    def __call__(self, dtype, device) -> float:
        self.asked.append((name(dtype), str(device)))
        return self.speeds[dtype]


@pytest.fixture
def names(monkeypatch):
    """Everything that only has a promising name: a processor, and what the module would measure by itself."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(precision, "flops", lambda *_, **__: 1e12)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: True)


@pytest.fixture
def gpu(monkeypatch):
    """gpu(hardware, emulated): what torch says about the GPU from now on."""

    def have(hardware: bool, emulated: bool = False) -> None:
        def supported(including_emulation=True, *_, **__):
            return hardware or (emulated and including_emulation)

        capability, brand = ((9, 0), "NVIDIA H100") if hardware else ((7, 5), "Tesla T4")
        props = SimpleNamespace(major=capability[0], minor=capability[1], name=brand)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: brand)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda *_: props)

    return have


def chosen(device, machine) -> str:
    """The dtype, by name."""
    return name(precision.choose_dtype(device, machine)[0])


@pytest.mark.exercise("choose_dtype", points=2)
def test_a_cpu_gets_what_is_fast_on_it(names):
    got = [chosen(CPU, machine) for machine in (Machine(4.1), Machine(0.3))]
    assert got == ["bfloat16", "float32"], (
        "two CPUs, on which products of bfloat16 are 4.1 and 0.3 times as fast as those of float32, by the `speed` "
        "that was passed in; what they are called is the same"
    )


@pytest.mark.exercise("choose_dtype")
def test_a_little_faster_is_not_worth_it(names):
    got = [
        chosen(CPU, Machine(times * 2.0**36, 2.0**36)) for times in (1.0, 1.2, precision.WORTH_IT, 1.4, 2.0)
    ]
    assert got == ["float32", "float32", "float32", "bfloat16", "bfloat16"], (
        "1, 1.2, WORTH_IT, 1.4 and 2 times as fast (2^36 operations a second in float32): WORTH_IT is 1.3, and "
        "*more* is asked for, because roundings are a price"
    )


@pytest.mark.exercise("choose_dtype")
def test_bfloat16_and_float32_are_measured_on_this_device(names):
    machine = Machine(2.0)
    precision.choose_dtype(CPU, machine)
    got = sorted(set(machine.asked))
    assert got == [("bfloat16", "cpu"), ("float32", "cpu")], (
        "what `speed` was asked for, each time with the device"
    )


@pytest.mark.exercise("choose_dtype")
def test_a_gpu_gets_one_of_the_16_bit_kinds(gpu):
    got = []
    for hardware in (True, False):
        gpu(hardware)
        got.append(chosen(GPU, Machine(0.5)))
    assert got == ["bfloat16", "float16"], (
        "a GPU that has bfloat16 in hardware, and one that has not: it multiplies float16 faster than float32, and a "
        "LossScaler is there for it"
    )


@pytest.mark.exercise("choose_dtype")
def test_a_gpu_that_only_imitates_bfloat16_gets_float16(gpu):
    gpu(hardware=False, emulated=True)
    got = chosen(GPU, Machine(3.0))
    assert got == "float16", (
        "torch can imitate bfloat16 on any GPU, slowly, and then says that it is supported"
    )


@pytest.mark.exercise("choose_dtype")
def test_any_other_device_gets_float32(gpu):
    gpu(hardware=True)
    got = [chosen(torch.device(kind), Machine(4.0)) for kind in ("mps", "xpu")]
    assert got == ["float32", "float32"], (
        "Apple's and Intel's: the contract promises nothing there but float32"
    )


@pytest.mark.exercise("choose_dtype")
def test_each_choice_says_why(gpu):
    told = [precision.choose_dtype(CPU, Machine(times)) for times in (4.0, 1.1)]
    told.append(precision.choose_dtype(APPLE, Machine(4.0)))
    for hardware in (True, False):
        gpu(hardware)
        told.append(precision.choose_dtype(GPU, Machine(4.0)))
    got = [isinstance(why, str) and len(why.split()) > 2 for _, why in told]
    assert got == [True] * 5, (
        "a sentence of three words or more each: a fast CPU, a slow one, Apple's GPU, a GPU with bfloat16, one without"
    )
    assert len({why for _, why in told}) == 5, "how many sentences there are for five cases"


# --- LossScaler.update -------------------------------------------------------------------------------


def scales(scaler, fine: str) -> list[float]:
    """The scale after each step: + for one that was fine, - for an overflow."""
    found = []
    for one in fine:
        scaler.update(one == "+")
        found.append(float(scaler.scale))
    return found


@pytest.mark.exercise("LossScaler.update")
def test_an_overflow_halves_the_scale_at_once():
    got = scales(precision.LossScaler(64.0, patience=100), "--+-")
    assert got == [32, 16, 16, 8], "after overflow, overflow, a fine step, overflow"


@pytest.mark.exercise("LossScaler.update", points=2)
def test_patience_is_rewarded_and_counted_anew():
    got = scales(precision.LossScaler(8.0, patience=3), "++++++++")
    assert got == [8, 8, 16, 16, 16, 32, 32, 32], (
        "patience 3: doubled after three fine steps, and after three more"
    )


@pytest.mark.exercise("LossScaler.update", points=2)
def test_an_overflow_begins_the_count_anew():
    got = scales(precision.LossScaler(8.0, patience=3), "++-+++")
    assert got == [8, 8, 4, 4, 4, 8], "patience 3: the two fine steps before the overflow no longer count"


@pytest.mark.exercise("LossScaler.update")
def test_a_scale_never_falls_below_1():
    got = scales(precision.LossScaler(4.0, patience=2), "----")
    assert got == [2, 1, 1, 1], (
        "a scale below 1 makes small gradients smaller still, and at 0 one divides by it"
    )


@pytest.mark.exercise("LossScaler.update")
def test_a_scale_does_not_grow_without_end():
    got = scales(precision.LossScaler(4.0, patience=1, most=16.0), "++++")
    assert got == [8, 16, 16, 16], (
        "most = 16: where gradients are small, nothing else would stop it before infinity"
    )


@pytest.mark.exercise("LossScaler.update")
def test_a_scale_reaches_its_limits():
    got = scales(precision.LossScaler(6.0, patience=1, most=10.0), "++----")
    assert got == [10, 10, 5, 2.5, 1.25, 1], (
        "begins at 6, patience 1, most = 10: min(2 scale, most) after a fine step, max(scale / 2, 1) after an overflow"
    )


# --- LossScaler.unscale ------------------------------------------------------------------------------


def weight(gradient: list[float] | None) -> torch.Tensor:
    """A weight with this gradient."""
    made = torch.nn.Parameter(torch.zeros(len(gradient or [0.0])))
    made.grad = None if gradient is None else torch.tensor(gradient)
    return made


def scaler_of(scale: float, patience: int = 1000):
    return precision.LossScaler(scale, patience=patience)


def unscaled(scaler, gradients: list[list[float] | None], as_=list) -> list:
    """The gradients after `unscale`, weight by weight, and what it returned."""
    weights = [weight(one) for one in gradients]
    fine = scaler.unscale(as_(weights))
    return [None if one.grad is None else one.grad.tolist() for one in weights] + [fine]


@pytest.mark.exercise("LossScaler.unscale")
def test_gradients_are_divided_by_the_scale():
    got = unscaled(scaler_of(8.0), [[8.0, -16.0], [4.0]])
    assert got == [[1, -2], [0.5], True], (
        "gradients (8, -16) and (4) with scale 8, and whether all are finite"
    )


@pytest.mark.exercise("LossScaler.unscale")
def test_gradients_are_divided_in_place():
    one = weight([8.0, -16.0])
    before = one.grad
    scaler_of(8.0).unscale([one])
    same, held = one.grad is before, before.tolist()
    assert [same, held] == [True, [1, -2]], (
        "gradient (8, -16), scale 8: whether .grad is the same tensor, and what it holds. Others may hold it, too"
    )


@pytest.mark.exercise("LossScaler.unscale", points=2)
def test_inf_and_nan_are_noticed_wherever_they_are():
    for bad in (INF, -INF, NAN):
        rows = ([[1.0, bad], [2.0]], [[1.0, 3.0], [bad]], [[bad], [bad, 1.0]])
        got = [unscaled(scaler_of(8.0), row)[-1] for row in rows]
        assert got == [False] * 3, f"{bad} among the gradients: in the first weight, in the second, in both"


@pytest.mark.exercise("LossScaler.unscale", points=2)
def test_the_scale_is_adapted_after_it_was_used():
    growing, shrinking = scaler_of(8.0, patience=1), scaler_of(8.0)
    got = [*unscaled(growing, [[16.0]]), growing.scale, *unscaled(shrinking, [[16.0, INF]]), shrinking.scale]
    assert got == [[2], True, 16, [2, INF], False, 4], (
        "gradient 16, scale 8: 2, and then the scale is 16 (patience 1). And with an inf beside it: 2, and then 4. "
        "The loss was multiplied by the scale as it was"
    )


@pytest.mark.exercise("LossScaler.unscale")
def test_weights_may_come_one_after_the_other():
    got = unscaled(scaler_of(8.0), [[8.0], [INF], [16.0]], iter)
    assert got == [[1], [INF], [2], False], (
        "gradients 8, inf and 16, scale 8, given by an iterator: model.parameters() is no list, one can go through it "
        "once. Every gradient is divided, also those after an inf"
    )


def tried(gradients: list[list[float] | None]) -> object:
    """What `unscaled` gives with scale 8, or the error."""
    try:
        return unscaled(scaler_of(8.0), gradients)
    except (AttributeError, TypeError) as wrong:
        return f"{type(wrong).__name__}: {wrong}"


@pytest.mark.exercise("LossScaler.unscale")
def test_a_weight_without_a_gradient_is_passed_over():
    got = [tried([None]), tried([None, [8.0]])]
    assert got == [[None, True], [None, [1], True]], (
        "a weight whose .grad is None, because it had no part in the loss: alone, then with one beside it whose "
        "gradient is 8; scale 8"
    )


@pytest.mark.exercise("LossScaler.unscale")
def test_a_large_gradient_is_no_overflow():
    got = [unscaled(scaler_of(1.0), some)[-1] for some in ([[3e38, 3e38], [3e38]], [[1e38]])]
    assert got == [True, True], (
        "3e38, three times, and 1e38: numbers of float32. Their sum or squares would not be"
    )


def scales_after(scaler, gradients: list[float]) -> list[float]:
    """The scale after each step: the gradient of one weight is given, that of a second one is 1."""
    found = []
    for gradient in gradients:
        scaler.unscale([weight([gradient]), weight([1.0])])
        found.append(scaler.scale)
    return found


@pytest.mark.exercise("LossScaler.unscale")
def test_each_call_is_one_step():
    got = scales_after(scaler_of(8.0, patience=2), [1.0, 1.0, INF, INF, 1.0, 1.0])
    assert got == [8, 16, 8, 4, 4, 8], (
        "the scale after each of: fine, fine, overflow, overflow, fine, fine, with patience 2 and two weights"
    )


def steps_taken(scaler, gradients: list[float]) -> list[float]:
    """The weight after each step, with gradients clipped to 1 and a rate of 0.5."""
    one, found = torch.nn.Parameter(torch.zeros(1)), []
    for gradient in gradients:
        one.grad = torch.tensor([gradient]) * float(scaler.scale)  # what the backward pass leaves
        if scaler.unscale([one]):
            norm = one.grad.abs().item()
            with torch.no_grad():
                one -= 0.5 * one.grad / max(1.0, norm)
        found.append(round(one.item(), 4) + 0.0)
    return found


@pytest.mark.exercise("LossScaler.unscale", points=2)
def test_a_small_step_is_clipped_as_without_a_scale():
    got = steps_taken(scaler_of(1024.0), [0.25, -0.5, 4.0])
    assert got == [-0.125, 0.125, -0.375], (
        "gradients 0.25, -0.5 and 4, clipped to length 1, rate 0.5: the scale must be gone before lengths are looked at"
    )


@pytest.mark.exercise("LossScaler.unscale", points=2)
def test_a_step_that_overflows_is_left_out():
    got = steps_taken(scaler_of(8.0), [0.5, INF, 0.5])
    assert got == [-0.25, -0.25, -0.5], (
        "gradients 0.5, inf, 0.5: whoever hears False leaves the weights as they are"
    )
