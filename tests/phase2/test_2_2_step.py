"""Graded tests of lesson 2.2: a step by hand, on losses whose gradients one can check on paper.

Judges: arithmetic, torch's own cross_entropy, a clock that only moves when a test moves it,
and json. Most losses here are "weight times the mean of the targets that count": then the gradient is that mean.
"""

import json
import math
import re
import time
import weakref

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mini_nanochat.train import step

IGNORE = -1


def part(*rows):
    """A batch of one or more rows of targets; the inputs are zeros."""
    y = torch.tensor(rows)
    return torch.zeros_like(y), y


def a_weight(value: float = 2.0) -> nn.Parameter:
    return nn.Parameter(torch.tensor(value))


def mean_of(y: torch.Tensor) -> torch.Tensor:
    """The mean of the targets that count, and NaN where none does, as in lesson 2.1."""
    return y[y != IGNORE].float().mean()


def times(weight: nn.Parameter):
    """A loss: weight times the mean of the targets that count."""
    return lambda x, y: weight * mean_of(y)


def rounded(value) -> float:
    """Four digits after the point: what one checks on paper."""
    return round(float(torch.as_tensor(value).detach()), 4)


def raised(call, *args) -> str:
    """The name of the error that a call raises."""
    try:
        call(*args)
    except (ValueError, ArithmeticError) as error:
        return type(error).__name__
    return "no error"


def left(*weights: nn.Parameter) -> str:
    """What is left of the gradients."""
    kept = [rounded(w.grad.abs().max()) for w in weights if w.grad is not None and w.grad.any()]
    return f"up to {max(kept)}" if kept else "nothing"


# Whole batch: (8 + 4 + 4 + 4) / 4 = 5. The mean of the two parts' means is (8 + 4) / 2 = 6.
UNEQUAL = [part([8, IGNORE, IGNORE, IGNORE]), part([4, 4, IGNORE, 4])]


# --- accumulate --------------------------------------------------------------------------------------


@pytest.mark.exercise("accumulate", points=2)
def test_the_gradient_is_that_of_the_whole_batch():
    weight = a_weight()
    step.accumulate(times(weight), UNEQUAL)
    assert rounded(weight.grad) == 5.0, (
        "targets 8 in one part and 4, 4, 4 in the other: all together their mean is 20 / 4. Who takes the mean of "
        "the two means lets the lonely 8 count as much as three others"
    )


@pytest.mark.exercise("accumulate", points=2)
def test_the_loss_is_that_of_the_whole_batch():
    got = step.accumulate(times(a_weight()), UNEQUAL)
    assert rounded(got) == 10.0, "the weight, 2, times the mean of 8, 4, 4 and 4: no part alone has this loss"


@pytest.mark.exercise("accumulate", points=2)
def test_however_a_batch_is_cut_its_gradient_is_the_same():
    draw = torch.Generator().manual_seed(1)
    x = torch.randint(7, (6, 5), generator=draw)
    y = torch.randint(4, (6, 5), generator=draw).masked_fill(torch.rand(6, 5, generator=draw) < 0.5, IGNORE)
    start = torch.randn(7, 4, generator=draw)

    def run(*sizes):
        table = nn.Parameter(start.clone())

        def loss(x, y):
            return F.cross_entropy(table[x].flatten(0, 1), y.flatten(), ignore_index=IGNORE)

        if not sizes:
            loss(x, y).backward()
        else:
            step.accumulate(loss, list(zip(x.split(sizes), y.split(sizes))))
        return table.grad

    for sizes in ((6,), (3, 3), (1, 4, 1), (1,) * 6):
        got = float((run(*sizes) - run()).abs().max())
        assert got <= 1e-6, (
            f"the largest difference from torch's gradient of the whole batch, cut into parts of {sizes} rows; "
            "float32 keeps seven digits, and no number here is larger than 1"
        )


@pytest.mark.exercise("accumulate")
def test_a_part_without_targets_is_passed_over():
    weight = a_weight()
    got = step.accumulate(times(weight), [part([IGNORE, IGNORE]), part([5, 5])])
    assert [rounded(got), rounded(weight.grad)] == [10.0, 5.0], (
        "[loss, gradient]: the first part has nothing to learn from. Its mean is 0 / 0, and zero times NaN is NaN"
    )


@pytest.mark.exercise("accumulate")
def test_a_batch_without_targets_is_refused():
    got = raised(step.accumulate, times(a_weight()), [part([IGNORE, IGNORE])] * 2)
    assert got == "ValueError", "the mean of nothing is 0 / 0: an error says so, a loss of 0 would hide it"


@pytest.mark.exercise("accumulate")
def test_a_loss_that_is_not_a_number_is_not_hidden():
    weight = a_weight()
    got = step.accumulate(
        lambda x, y: weight * mean_of(y) * (math.nan if 6 in y else 1),
        [part([5, 5]), part([6, 6]), part([7, 7])],
    )
    assert str(rounded(got)) == "nan", (
        "the second of three parts has targets, and its loss is NaN: something is broken, and somebody must hear of it"
    )


@pytest.mark.exercise("accumulate")
def test_scale_multiplies_the_gradient_and_not_the_loss():
    weight = a_weight()
    got = step.accumulate(times(weight), UNEQUAL, 64.0)
    assert [rounded(got), rounded(weight.grad)] == [10.0, 320.0], (
        "[loss, gradient] with scale 64: the loss is for people to read, the gradient is unscaled later"
    )


@pytest.mark.exercise("accumulate")
def test_each_part_goes_back_before_the_next_one_goes_forward():
    weight, events = a_weight(), []

    def loss(x, y):
        events.append("forward")
        value = weight * mean_of(y)
        value.register_hook(lambda gradient: events.append("back"))
        return value

    step.accumulate(loss, [part([5])] * 3)
    assert " ".join(events) == "forward back forward back forward back", (
        "a part's activations can be freed only after its backward pass: else the memory is that of all parts"
    )


class Mark:
    """Lies in a part's graph, and is gone when the graph is."""


class Through(torch.autograd.Function):
    """Passes a number through, and keeps a mark in the graph."""

    @staticmethod
    def forward(ctx, value, mark):
        ctx.mark = mark
        return value.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient, None


@pytest.mark.exercise("accumulate")
def test_graphs_of_earlier_parts_are_not_kept():
    weight, alive, seen = a_weight(), weakref.WeakSet(), []

    def loss(x, y):
        seen.append(len(alive))
        mark = Mark()
        alive.add(mark)
        return Through.apply(weight * mean_of(y), mark)

    step.accumulate(loss, [part([5])] * 6)
    assert max(seen) <= 2, (
        "how many earlier parts' graphs were still alive when a part began. A sum of losses that can still go "
        "backward holds them all, and memory grows with each part"
    )


@pytest.mark.exercise("accumulate")
def test_the_loss_comes_back_as_a_plain_number():
    got = step.accumulate(times(a_weight()), UNEQUAL)
    assert type(got).__name__ == "float", "a tensor would hold on to the device, and perhaps to the graph"


# --- clip_by_global_norm -----------------------------------------------------------------------------


def with_gradients(*gradients):
    """Weights that have these gradients; None means none."""
    made = []
    for gradient in gradients:
        gradient = None if gradient is None else torch.tensor(gradient)
        made.append(nn.Parameter(torch.zeros(1 if gradient is None else gradient.shape)))
        made[-1].grad = gradient
    return made


def gradients_of(weights) -> list:
    return [[rounded(v) for v in w.grad.flatten()] for w in weights if w.grad is not None]


def clipped(*gradients, **limit) -> list:
    """The gradients after clipping."""
    weights = with_gradients(*gradients)
    step.clip_by_global_norm(weights, **limit)
    return gradients_of(weights)


def norm_told(*gradients, **limit) -> float:
    """What comes back from clipping."""
    return rounded(step.clip_by_global_norm(with_gradients(*gradients), **limit))


@pytest.mark.exercise("clip_by_global_norm", points=2)
def test_all_gradients_are_shortened_as_one_vector():
    got = clipped([3.0, 0.0], [[4.0]], most=1.0)
    assert got == [[0.6, 0.0], [0.8]], (
        "(3, 0) and (4) make one vector of length 5. A fifth of it has length 1, and the same direction"
    )


@pytest.mark.exercise("clip_by_global_norm")
def test_it_returns_the_norm_that_there_was():
    got = norm_told([3.0, 0.0], [[4.0]], most=1.0)
    assert got == 5.0, "the root of 9 + 16. After clipping it would be 1 in every step, and tell nothing"


@pytest.mark.exercise("clip_by_global_norm", points=2)
def test_a_short_gradient_stays_as_it_is():
    got = clipped([0.3], [0.4], most=2.0)
    assert got == [[0.3], [0.4]], "its norm is 0.5 and the limit 2: nothing is too long"


@pytest.mark.exercise("clip_by_global_norm")
def test_without_a_limit_it_only_measures():
    got = [norm_told([300.0], [400.0]), clipped([300.0], [400.0])]
    assert got == [500.0, [[300.0], [400.0]]], "[norm, gradients] if no limit is given"


@pytest.mark.exercise("clip_by_global_norm")
def test_weights_without_a_gradient_are_passed_over():
    got = [norm_told([3.0], None, [4.0], most=1.0), clipped([3.0], None, [4.0], most=1.0)]
    assert got == [5.0, [[0.6], [0.8]]], (
        "[norm, gradients]: a weight that this batch did not reach has grad None"
    )


@pytest.mark.exercise("clip_by_global_norm")
def test_no_gradients_at_all_have_norm_zero():
    got = [norm_told(most=1.0), norm_told(None, most=1.0)]
    assert got == [0.0, 0.0], "no weights, and one weight without a gradient: nothing to measure is no error"


@pytest.mark.exercise("clip_by_global_norm")
def test_weights_may_come_from_a_generator():
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    for weight, size in zip(model.parameters(), (3.0, 4.0)):
        weight.grad = torch.full_like(weight, size)
    step.clip_by_global_norm(model.parameters(), 1.0)
    assert gradients_of(model.parameters()) == [[0.6], [0.8]], (
        "model.parameters() can be gone through once only"
    )


@pytest.mark.exercise("clip_by_global_norm")
def test_gradients_are_shortened_in_place():
    (weight,) = with_gradients([3.0, 4.0])
    before = weight.grad
    step.clip_by_global_norm([weight], 1.0)
    assert [rounded(v) for v in before] == [0.6, 0.8], (
        "who holds this gradient already (a bucket of another process, later) must see it shortened"
    )


# --- train_step --------------------------------------------------------------------------------------


class Counting:
    """Plain gradient descent that counts its steps: weight - 0.1 * gradient.

    It has what train_step needs of a torch.optim.Optimizer; making a real one loads half of torch, which takes
    seconds on a slow machine.
    """

    def __init__(self, *groups):
        """A group is a weight, or a tuple of weights."""
        self.param_groups = [
            {"params": list(group) if type(group) is tuple else [group], "lr": 0.1} for group in groups
        ]
        self.steps = 0

    def step(self, closure=None):
        self.steps += 1
        with torch.no_grad():
            for group in self.param_groups:
                for weight in group["params"]:
                    if weight.grad is not None:
                        weight -= group["lr"] * weight.grad

    def zero_grad(self, set_to_none=True):
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    weight.grad = None if set_to_none else weight.grad.zero_()


class Scaler:
    """Scales by 1024. With `fits` False it reports an overflow, and leaves the gradients as NaN."""

    scale = 1024.0

    def __init__(self, fits=True):
        self.fits = fits

    def unscale(self, weights):
        for weight in weights:
            if weight.grad is not None:
                weight.grad.mul_(1 / self.scale if self.fits else math.nan)
        return self.fits


@pytest.mark.exercise("train_step", points=2)
def test_one_step_by_hand():
    weight = a_weight()
    did = step.train_step(times(weight), UNEQUAL, [Counting(weight)])
    assert [rounded(weight), rounded(did.loss), rounded(did.norm)] == [1.5, 10.0, 5.0], (
        "[weight, loss, norm]: the gradient of the batch is 5, the rate 0.1, and the weight was 2; "
        "the loss is the one before the update"
    )
    assert did.skipped is False, "nothing overflowed"


@pytest.mark.exercise("train_step", points=2)
def test_tokens_are_the_positions_of_all_parts():
    did = step.train_step(times(weight := a_weight()), [part([5, 5, IGNORE, 5])] * 4, [Counting(weight)])
    assert did.tokens == 16, (
        "four parts of four positions. One part's tokens by the whole step's seconds would be a quarter of the "
        "speed; and ignored positions are work, too"
    )


@pytest.mark.exercise("train_step", points=2)
def test_the_update_is_limited_and_the_norm_told_as_it_was():
    weight = a_weight()
    did = step.train_step(times(weight), UNEQUAL, [Counting(weight)], most=1.0)
    assert [rounded(weight), rounded(did.norm)] == [1.9, 5.0], (
        "[weight, norm]: the gradient, 5, is cut to 1 and the rate is 0.1"
    )


@pytest.mark.exercise("train_step")
def test_each_optimizer_steps_once_for_the_whole_batch():
    weight, other = a_weight(), a_weight()
    optimizers = [Counting(weight), Counting(other)]
    step.train_step(lambda x, y: (weight + other) * mean_of(y), UNEQUAL, optimizers)
    assert [optimizer.steps for optimizer in optimizers] == [1, 1], (
        "how often each optimizer stepped: two parts make one batch, and one batch makes one step"
    )


@pytest.mark.exercise("train_step")
def test_the_limit_is_for_the_weights_of_all_optimizers_together():
    weight, other = a_weight(), a_weight()
    did = step.train_step(
        lambda x, y: (3 * weight + 4 * other) * mean_of(y),
        [part([1])],
        [Counting(weight), Counting(other)],
        most=1.0,
    )
    assert [rounded(weight), rounded(other), rounded(did.norm)] == [1.94, 1.92, 5.0], (
        "[one weight, the other, norm]: gradients 3 and 4 are one vector of length 5, whoever holds the weights"
    )


@pytest.mark.exercise("train_step")
def test_an_optimizer_may_hold_several_groups_of_several_weights():
    a, b, c = a_weight(), a_weight(), a_weight()
    did = step.train_step(
        lambda x, y: (2 * a + 3 * b + 6 * c) * mean_of(y), [part([1])], [Counting((a, b), c)], most=3.5
    )
    assert [rounded(a), rounded(b), rounded(c), rounded(did.norm)] == [1.9, 1.85, 1.7, 7.0], (
        "[three weights, norm]: two weights in the first group, one in the second. Gradients 2, 3 and 6 have "
        "norm 7, and the limit halves all three"
    )


@pytest.mark.exercise("train_step", points=2)
def test_a_second_step_has_forgotten_the_first_gradient():
    weight = a_weight()
    optimizer = Counting(weight)
    step.train_step(times(weight), UNEQUAL, [optimizer])
    did = step.train_step(times(weight), UNEQUAL, [optimizer])
    assert [rounded(weight), rounded(did.norm)] == [1.0, 5.0], (
        "[weight, norm] after two steps of 0.1 times 5: torch adds to gradients until somebody clears them"
    )


@pytest.mark.exercise("train_step")
def test_gradients_are_gone_after_a_step():
    weight, other = a_weight(), a_weight()
    step.train_step(lambda x, y: (weight + other) * mean_of(y), UNEQUAL, [Counting(weight), Counting(other)])
    assert left(weight, other) == "nothing", "what is left of the gradients, of both optimizers' weights"


@pytest.mark.exercise("train_step", points=2)
def test_a_loss_that_is_not_a_number_changes_nothing():
    weight = a_weight()
    got = raised(step.train_step, lambda x, y: weight * mean_of(y) + math.nan, UNEQUAL, [Counting(weight)])
    assert got == "FloatingPointError", (
        "the loss is NaN, though the gradient looks fine: something is broken, and the run must stop"
    )
    assert [rounded(weight), left(weight)] == [2.0, "nothing"], (
        "[weight, what is left of its gradient] after a loss of NaN, with a gradient that looks fine"
    )


@pytest.mark.exercise("train_step")
def test_a_loss_that_is_not_a_number_is_no_overflow():
    weight = a_weight()
    got = raised(
        step.train_step,
        lambda x, y: weight * mean_of(y) + math.nan,
        UNEQUAL,
        [Counting(weight)],
        math.inf,
        Scaler(fits=False),
    )
    assert got == "FloatingPointError", (
        "the loss is NaN, and unscale would say False: but no smaller scale mends this loss, so it is no step to skip"
    )


@pytest.mark.exercise("train_step")
def test_a_gradient_that_is_infinite_changes_nothing():
    weight = a_weight()
    got = raised(step.train_step, lambda x, y: (weight - 2).sqrt(), [part([5])], [Counting(weight)], 1.0)
    assert got == "FloatingPointError", (
        "a root at 0 is 0, but its slope is infinite: the loss looks fine, and the norm is infinite"
    )
    assert [rounded(weight), left(weight)] == [2.0, "nothing"], (
        "[weight, what is left of its gradient] after a gradient that is infinite"
    )


@pytest.mark.exercise("train_step")
def test_an_error_in_the_middle_leaves_no_gradients_behind():
    weight, calls = a_weight(), []

    def loss(x, y):
        calls.append(1)
        if len(calls) == 2:
            raise MemoryError("the second part did not fit")
        return weight * mean_of(y)

    with pytest.raises(MemoryError):
        step.train_step(loss, UNEQUAL, [Counting(weight)])
    assert left(weight) == "nothing", (
        "what is left of the first part's gradient: who catches the error and goes on would mix it into another batch"
    )


@pytest.mark.exercise("train_step", points=2)
def test_gradients_are_unscaled_before_they_are_measured_and_limited():
    weight = a_weight()
    did = step.train_step(times(weight), UNEQUAL, [Counting(weight)], 1.0, Scaler())
    assert [rounded(weight), rounded(did.loss), rounded(did.norm)] == [1.9, 10.0, 5.0], (
        "[weight, loss, norm] with a scaler of 1024 and a limit of 1: the same as without a scaler"
    )


@pytest.mark.exercise("train_step", points=2)
def test_after_an_overflow_nothing_is_updated():
    weight = a_weight()
    optimizer = Counting(weight)
    did = step.train_step(times(weight), UNEQUAL, [optimizer], math.inf, Scaler(fits=False))
    assert [optimizer.steps, rounded(weight), left(weight)] == [0, 2.0, "nothing"], (
        "[steps of the optimizer, weight, what is left of its gradient]: unscale has said False"
    )
    assert [did.skipped, rounded(did.loss), str(did.norm)] == [True, 10.0, "nan"], (
        "[skipped, loss, norm]: an overflow of scaled gradients is no reason to stop, and no norm either"
    )


# --- Meter.add ---------------------------------------------------------------------------------------


def measured(keep, *rows):
    """A meter that was told of (loss, tokens, seconds) after (loss, tokens, seconds)."""
    meter = step.Meter(keep)
    for loss, tokens, seconds in rows:
        meter.add(step.Step(loss, 1.0, tokens), seconds)
    return meter


@pytest.mark.exercise("Meter.add")
def test_after_one_step_the_meter_says_its_loss():
    got = rounded(measured(0.9, (8.0, 100, 2.0)).loss)
    assert got == 8.0, "a mean of one number is that number: zero was never measured"


@pytest.mark.exercise("Meter.add", points=2)
def test_an_older_step_counts_keep_times_as_much():
    got = rounded(measured(0.8, (8.0, 1, 1.0), (2.0, 1, 1.0), (1.0, 1, 1.0)).loss)
    assert got == 3.1639, (
        "keep = 0.8: the losses 8, 2 and 1 count 0.64, 0.8 and 1, so (5.12 + 1.6 + 1) / 2.44. "
        "1.3871 comes out where keep and 1 - keep have changed places"
    )


@pytest.mark.exercise("Meter.add", points=2)
def test_a_slow_step_counts_for_as_long_as_it_took():
    got = rounded(measured(0.8, (1.0, 100, 1.0), (1.0, 100, 4.0)).tokens_per_second)
    assert got == 37.5, (
        "keep = 0.8: (80 + 100) tokens in (0.8 + 4) seconds. The mean of the speeds, 100 and 25, would let the "
        "quick step count as much as the slow one"
    )


# --- mfu ---------------------------------------------------------------------------------------------


@pytest.mark.exercise("mfu")
def test_a_fifth_of_a_machine_by_hand():
    got = rounded(step.mfu(50_000, 4e9, 1e15))
    assert got == 0.2, "50,000 tokens a second, 4e9 operations each, are 2e14 of 1e15: a share, not percent"


@pytest.mark.exercise("mfu")
def test_an_unknown_peak_is_refused():
    got = [raised(step.mfu, 50_000, 4e9, peak) for peak in (0.0, -1e12)]
    assert got == ["ValueError", "ValueError"], (
        "peaks of 0 and -1e12: a machine whose peak nobody knows has no MFU, and the error should say so"
    )


# --- steps -------------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until a test moves it: clock.now += 2."""

    class Clock:
        now = 1000.0

    made = Clock()
    for name in ("perf_counter", "time", "monotonic", "process_time"):
        monkeypatch.setattr(time, name, lambda: made.now)
        monkeypatch.setattr(time, f"{name}_ns", lambda: int(made.now * 1e9))
        if callable(getattr(step, name, None)):  # imported by name
            monkeypatch.setattr(step, name, lambda: made.now)
    return made


def run(*losses, clock=None, norm=1.0, slow=2, skipped=()):
    """A function `one` that gives these losses, from step 5 on: 100 tokens and two seconds, in the last one `slow`."""
    by_number = dict(enumerate(losses, 5))

    def one(number):
        one.calls.append(number)
        if clock:
            clock.now += slow if number == max(by_number) else 2
        return step.Step(by_number.get(number, math.nan), norm, 100, number in skipped)

    one.calls = []
    return one


def lines(path) -> list:
    """Each line, read as JSON, which knows no NaN."""
    text = path.read_text("utf-8")
    return [json.loads(line, parse_constant=lambda name: f"{name}, no JSON") for line in text.splitlines()]


@pytest.mark.exercise("steps")
def test_steps_are_taken_in_order_and_handed_out():
    one = run(3.0, 2.0, 1.0)
    got = [(number, did.loss) for number, did in step.steps(one, range(5, 8), show=False)]
    assert got == [(5, 3.0), (6, 2.0), (7, 1.0)], "(number, loss): a run that goes on begins where it stopped"


@pytest.mark.exercise("steps")
def test_no_step_is_taken_before_the_body_has_seen_the_one_before():
    one = run(3.0, 2.0, 1.0)
    for number, _ in step.steps(one, range(5, 8), show=False):
        if number == 6:
            break
    assert one.calls == [5, 6], "steps taken until the body said break in number 6"


@pytest.mark.exercise("steps")
def test_numbers_are_asked_for_one_by_one():
    def numbers():
        for number in range(5, 105):
            asked.append(number)
            yield number

    asked = []
    for number, _ in step.steps(run(3.0, 2.0), numbers(), show=False):
        if number == 6:
            break
    assert len(asked) <= 3, (
        "numbers asked for until the body said break at the second one: itertools.count() has no end"
    )


@pytest.mark.exercise("steps", points=2)
def test_each_step_is_a_line_of_json(clock, tmp_path):
    path = tmp_path / "metrics.jsonl"
    list(step.steps(run(3.0, 2.0, clock=clock, norm=math.nan), range(5, 7), path, show=False))
    found = lines(path)
    assert len(found) == 2, "one line a step"
    wanted = {"step": 6, "loss": 2.0, "norm": None, "tokens": 100, "skipped": False, "seconds": 2.0}
    assert found[1] == wanted, (
        "the second line: what is left of a run when it is over. The norm was NaN, which JSON calls null"
    )


@pytest.mark.exercise("steps", points=2)
def test_time_in_the_body_does_not_count(clock, tmp_path):
    path = tmp_path / "metrics.jsonl"
    for _ in step.steps(run(3.0, 2.0, 1.0, clock=clock), range(5, 8), path, show=False):
        clock.now += 100
    assert [line["seconds"] for line in lines(path)] == [2.0, 2.0, 2.0], (
        "each step takes 2 seconds and the body 100: an evaluation between two steps is no slow step"
    )


@pytest.mark.exercise("steps")
def test_the_line_is_there_when_the_body_runs(tmp_path):
    path, seen = tmp_path / "metrics.jsonl", []
    for _ in step.steps(run(3.0, 2.0), range(5, 7), path, show=False):
        seen.append(len(lines(path)) if path.is_file() else 0)
    assert seen == [1, 2], "lines in the file, seen from the body: it may break, or be killed"


@pytest.mark.exercise("steps", points=2)
def test_an_error_names_the_step(tmp_path):
    path, good = tmp_path / "metrics.jsonl", run(3.0, 2.0, 1.0)

    def one(number):
        if number == 7:
            raise FloatingPointError("the loss of this batch is nan")
        return good(number)

    with pytest.raises(FloatingPointError) as caught:
        list(step.steps(one, range(5, 9), path, show=False))
    told = [word for word in ("7", "the loss of this batch is nan") if word in str(caught.value)]
    assert told == ["7", "the loss of this batch is nan"], "what the error says: which step, and why"
    assert [line["step"] for line in lines(path)] == [5, 6], "the steps before it stay written"


@pytest.mark.exercise("steps")
def test_another_error_stays_what_it_is():
    def one(number):
        raise MemoryError("out of memory")

    try:
        got = list(step.steps(one, range(5, 6), show=False))
    except (MemoryError, FloatingPointError) as error:
        got = type(error).__name__
    assert got == "MemoryError", "who calls it catches FloatingPointError, to go back to a checkpoint"


@pytest.mark.exercise("steps")
def test_without_show_nothing_is_printed(capsys):
    list(step.steps(run(3.0), range(5, 6), show=False))
    out, err = capsys.readouterr()
    got = "something" if out or err else "nothing"
    assert got == "nothing", (
        "what was printed: a program that shows something of its own switches the bar off"
    )


def bar(capsys) -> str:
    """What the bar says at the end; it goes to stderr, because stdout is for results."""
    out, err = capsys.readouterr()
    assert out == "", "the bar goes to stderr: stdout is for results"
    return (re.findall(r"loss [\d.]+, [\d,]+ tokens/s", err) or ["neither loss nor speed"])[-1]


@pytest.mark.exercise("steps", points=2)
def test_the_bar_tells_smoothed_loss_and_speed(clock, capsys):
    list(step.steps(run(8.0, 0.0, clock=clock, slow=8), range(5, 7)))
    assert bar(capsys) == "loss 3.789, 19 tokens/s", (
        "at the end: losses 8 and 0 with keep = 0.9 make 7.2 / 1.9; 100 tokens took 2 seconds, then 8, so "
        "(90 + 100) tokens in (1.8 + 8) seconds"
    )


@pytest.mark.exercise("steps")
def test_the_bar_counts_skipped_steps(clock, capsys):
    list(step.steps(run(8.0, 0.0, clock=clock, slow=8, skipped=(5,)), range(5, 7)))
    assert bar(capsys) == "loss 3.789, 19 tokens/s", (
        "the first of two steps was skipped. It took its time and had a loss, so the numbers are those of a run "
        "without skipped steps"
    )


@pytest.mark.exercise("steps")
def test_the_bar_knows_the_step_before_the_body_runs(clock, capsys):
    for number, _ in step.steps(run(8.0, 0.0, clock=clock, slow=8), range(5, 105)):
        if number == 6:
            break
    assert bar(capsys) == "loss 3.789, 19 tokens/s", (
        "the body said break in the second step, which had loss 0: a text that is set after the body shows the "
        "first step alone, 8.000"
    )
