"""Graded tests of lesson 2.1: surprise by hand, against torch's own cross-entropy, and an evaluation with a stub.

Judges: logarithms that one can check on paper, F.cross_entropy, and plain loops over lists. The stub stands in
the place of a model: it says what each target costs, and refuses what a model would refuse.
"""

import math

import pytest
import torch
from torch.nn import functional as F

from mini_nanochat.train import objective

BIT = math.log(2)  # in nats
INF = math.inf
# float32 keeps seven digits, and our numbers are below 10; a real mistake moves them by 1e-3 or more.
CLOSE = 1e-5


def numbers(*shape: int, seed: int = 1) -> torch.Tensor:
    """Normal numbers, the same each time."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def logits_of(*rows: list[float]) -> torch.Tensor:
    """Logits whose softmax are these probabilities: their logarithms, moved by a constant that cancels."""
    return torch.tensor(rows).log() + 3


def shown(x) -> float:
    """As a number of a card has it: four digits."""
    return round(float(x), 4) + 0.0


def apart(a, b) -> float:
    """How far two numbers lie apart, two digits."""
    return float(f"{abs(float(a) - float(b)):.1e}")


def outcome(call, *args):
    """The number that a call gives, four digits, or the error that it raises instead."""
    try:
        return shown(call(*args))
    except ValueError:
        return "a ValueError"
    except ArithmeticError as error:
        return f"a {type(error).__name__}"


# --- cross_entropy -----------------------------------------------------------------------------------


@pytest.mark.exercise("cross_entropy", points=2)
def test_what_was_given_one_half_costs_the_logarithm_of_two():
    logits = logits_of([0.5, 0.25, 0.25])
    got = [shown(objective.cross_entropy(logits, torch.tensor([target]))) for target in (0, 1, 2)]
    assert got == [0.6931, 1.3863, 1.3863], (
        "the ids have the probabilities 1/2, 1/4 and 1/4; each of them was the target once: ln 2, ln 4, ln 4"
    )


@pytest.mark.exercise("cross_entropy")
def test_the_loss_is_the_mean_over_targets():
    logits = logits_of([0.5, 0.5], [0.75, 0.25], [0.875, 0.125])
    got = shown(objective.cross_entropy(logits, torch.tensor([0, 1, 1])))
    assert got == shown((1 + 2 + 3) / 3 * BIT), (
        "targets that were given 1/2, 1/4, 1/8 cost ln 2, 2 ln 2 and 3 ln 2; their mean"
    )


@pytest.mark.exercise("cross_entropy")
def test_who_knows_nothing_pays_the_logarithm_of_the_vocabulary():
    got = shown(objective.cross_entropy(torch.zeros(3, 7), torch.tensor([0, 3, 6])))
    assert got == shown(math.log(7)), "7 equal logits: each id has the probability 1/7"


@pytest.mark.exercise("cross_entropy")
def test_the_same_added_to_all_logits_changes_nothing():
    logits, targets = numbers(4, 5), torch.tensor([0, 1, 2, 4])
    moved = logits + torch.tensor([[3.0], [-2], [0], [5]])
    got = apart(objective.cross_entropy(moved, targets), objective.cross_entropy(logits, targets))
    assert got <= CLOSE, (
        "how much the loss moves: softmax divides by the sum, so that only differences of logits matter"
    )


@pytest.mark.exercise("cross_entropy", points=2)
def test_ignored_targets_are_in_neither_sum():
    logits = logits_of([0.5, 0.25, 0.25], [0.1, 0.2, 0.7], [0.2, 0.2, 0.6], [0.1, 0.8, 0.1])
    got = shown(objective.cross_entropy(logits, torch.tensor([0, -1, -1, -1])))
    assert got == 0.6931, "one target counts, and it was given 1/2: ln 2. -1 teaches nothing, and is no id"


@pytest.mark.exercise("cross_entropy", points=2)
def test_it_is_the_cross_entropy_of_torch():
    logits, targets = 3 * numbers(2, 3, 5), torch.tensor([[0, 4, -1], [2, -1, 2]])
    wanted = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1)
    got = shown(objective.cross_entropy(logits, targets))
    assert got == shown(wanted), (
        "what F.cross_entropy says: 2 sequences, 3 positions, 5 ids, and two targets are ignored"
    )


@pytest.mark.exercise("cross_entropy")
def test_logits_may_have_any_number_of_axes_before_the_ids():
    got = {}
    for shape in ((), (4,), (2, 3), (2, 1, 3)):
        loss = objective.cross_entropy(torch.zeros(*shape, 6), torch.ones(shape, dtype=torch.int64))
        got[shape] = shown(loss.sum()) if loss.ndim == 0 else f"a loss of shape {tuple(loss.shape)}"
    assert got == dict.fromkeys(got, shown(math.log(6))), (
        "{shape of the targets: loss}, with 6 equal logits for each target: one number without axes, ln 6"
    )


@pytest.mark.exercise("cross_entropy")
def test_id_0_is_a_target_like_any_other():
    logits = logits_of([0.25, 0.75], [0.5, 0.5])
    got = shown(objective.cross_entropy(logits, torch.tensor([0, 1])))
    assert got == shown(1.5 * BIT), "ids 0 and 1 were given 1/4 and 1/2: the mean of 2 ln 2 and ln 2"


@pytest.mark.exercise("cross_entropy")
def test_a_target_weighs_the_same_in_each_sequence():
    logits = logits_of([0.5, 0.5], [0.5, 0.5], [0.5, 0.5], [0.25, 0.75], [0.25, 0.75], [0.25, 0.75])
    got = shown(objective.cross_entropy(logits.view(2, 3, 2), torch.tensor([[0, -1, -1], [0, 0, 0]])))
    assert got == shown((1 + 2 + 2 + 2) / 4 * BIT), (
        "the first sequence has one target that counts (ln 2), the second three (2 ln 2 each): four targets"
    )


@pytest.mark.exercise("cross_entropy")
def test_where_nothing_counts_the_loss_is_nan():
    got = str(float(objective.cross_entropy(torch.zeros(3, 2), torch.tensor([-1, -1, -1]))))
    assert got == "nan", "no target counts: nothing has no mean, and 0 would look like a perfect model"


@pytest.mark.exercise("cross_entropy")
def test_what_stands_at_an_ignored_target_does_not_matter():
    got = [
        shown(objective.cross_entropy(torch.tensor([[0.0, 0], [logit, 1]]), torch.tensor([1, -1])))
        for logit in (math.nan, INF, -INF)
    ]
    assert got == [0.6931, 0.6931, 0.6931], (
        "the ignored target has logits (nan, 1), then (inf, 1), then (-inf, 1): it is left out, whatever they are"
    )


@pytest.mark.exercise("cross_entropy")
def test_nan_at_a_target_that_counts_is_not_hidden():
    logits = torch.tensor([[0.0, 0], [math.nan, 1], [0, 0]])
    got = str(float(objective.cross_entropy(logits, torch.tensor([1, 0, -1]))))
    assert got == "nan", (
        "the second target counts, and its logits are (nan, 1): a model that is broken must not look like one "
        "that works"
    )


@pytest.mark.exercise("cross_entropy", points=2)
def test_large_logits_do_not_overflow():
    got = [shown(objective.cross_entropy(torch.tensor([1000.0, 0]), torch.tensor(i))) for i in (0, 1)]
    assert got == [0.0, 1000.0], (
        "the logits are 1000 and 0. e^1000 is more than float32 can hold, and e^-1000 is less: "
        "neither the sum nor p may be computed as it stands"
    )


@pytest.mark.exercise("cross_entropy")
def test_very_negative_logits_do_not_vanish():
    got = shown(objective.cross_entropy(torch.tensor([[-200.0, -200], [0, 0]]), torch.tensor([0, 1])))
    assert got == 0.6931, (
        "two equal logits are two halves: also (-200, -200), where e^-200 is 0, beside a row of (0, 0)"
    )


@pytest.mark.exercise("cross_entropy")
def test_an_id_that_is_ruled_out_costs_nothing():
    got = shown(objective.cross_entropy(torch.tensor([[0.0, 0, -INF]]), torch.tensor([1])))
    assert got == 0.6931, "logits (0, 0, -inf): the third id has probability 0, the others one half each"


@pytest.mark.exercise("cross_entropy", points=2)
@pytest.mark.parametrize(
    ("dtype", "above"), [(torch.bfloat16, 6.938), (torch.float16, 6.910)], ids=["bfloat16", "float16"]
)
def test_logits_of_few_digits_are_made_float32_first(dtype, above):
    loss = objective.cross_entropy(torch.zeros(1000, dtype=dtype), torch.tensor(7))
    assert apart(loss, math.log(1000)) <= 1e-4, (
        f"the difference to ln 1000 = 6.9078, for 1000 logits of 0 in {dtype}: "
        f"it has no number between 6.906 and {above:.3f}"
    )
    got = str(loss.dtype)
    assert got == "torch.float32", f"the dtype of the loss, for logits in {dtype}: neither less nor more"


@pytest.mark.exercise("cross_entropy", points=2)
def test_the_gradient_is_what_was_said_minus_what_came():
    logits = logits_of([0.5, 0.25, 0.25]).requires_grad_()
    loss = objective.cross_entropy(logits, torch.tensor([0]))
    got = loss.requires_grad
    assert got is True, "whether the loss has a gradient: without one it teaches nothing"
    loss.backward()
    got = [shown(one) for one in logits.grad[0]]
    assert got == [-0.5, 0.25, 0.25], "1/2, 1/4, 1/4 was said, and id 0 came: (1/2 - 1, 1/4, 1/4)"


@pytest.mark.exercise("cross_entropy")
def test_gradients_are_shared_by_the_targets_that_count():
    logits = torch.zeros(3, 2, requires_grad=True)
    loss = objective.cross_entropy(logits, torch.tensor([0, -1, 1]))
    got = loss.requires_grad
    assert got is True, "whether the loss has a gradient: without one it teaches nothing"
    loss.backward()
    got = [[shown(one) for one in row] for row in logits.grad]
    assert got == [[-0.25, 0.25], [0, 0], [0.25, -0.25]], (
        "two of three targets count: half of (-1/2, 1/2) for each of them, and nothing for the ignored one"
    )


@pytest.mark.exercise("cross_entropy")
def test_what_stands_at_an_ignored_target_does_not_reach_the_gradient():
    logits = torch.tensor([[0.0, 0], [math.nan, 1], [INF, 1], [-INF, -INF]], requires_grad=True)
    loss = objective.cross_entropy(logits, torch.tensor([1, -1, -1, -1]))
    got = loss.requires_grad
    assert got is True, "whether the loss has a gradient: without one it teaches nothing"
    loss.backward()
    got = [[shown(one) for one in row] for row in logits.grad]
    assert got == [[0.5, -0.5], [0, 0], [0, 0], [0, 0]], (
        "the gradients; only the first target counts. One nan among them is soon in every weight of a model, and "
        "0 times nan is nan on the way back, too"
    )


@pytest.mark.exercise("cross_entropy")
def test_logits_and_targets_stay_as_they_are():
    logits, targets = torch.tensor([[1.0, 2], [3, 4]]), torch.tensor([1, -1])
    objective.cross_entropy(logits, targets)
    got = [logits.tolist(), targets.tolist()]
    assert got == [[[1, 2], [3, 4]], [1, -1]], "they belong to the caller, who may still need them"


# --- bits_per_byte -----------------------------------------------------------------------------------


@pytest.mark.exercise("bits_per_byte")
def test_twelve_bits_for_four_bytes_are_three_bits_a_byte():
    got = shown(objective.bits_per_byte(12 * BIT, 4))
    assert got == 3.0, "12 ln 2 = 8.3178 nats are 12 bits, and the text has 4 bytes"


@pytest.mark.exercise("bits_per_byte")
def test_who_knows_nothing_about_bytes_needs_eight_bits():
    got = shown(objective.bits_per_byte(10 * math.log(256), 10))
    assert got == 8.0, "each of 10 bytes was given 1/256, which costs ln 256 nats: a byte has 8 bits"


@pytest.mark.exercise("bits_per_byte")
def test_who_knows_it_all_needs_no_bits():
    got = shown(objective.bits_per_byte(0.0, 5))
    assert got == 0.0, "no surprise at all: nothing needs to be stored"


@pytest.mark.exercise("bits_per_byte")
def test_a_text_of_no_bytes_is_refused():
    got = outcome(objective.bits_per_byte, 1.0, 0)
    assert got == "a ValueError", "0 bytes: raise ValueError, because a number would be taken for a result"


# --- evaluate_bpb ------------------------------------------------------------------------------------

# Ids 0 to 4: a byte, two bytes, three bytes, a special token, and a last one that is text of four bytes.
BYTES = torch.tensor([1, 2, 3, 0, 4])
BITS = torch.tensor([2.0, 6.0, 3.0, 50.0, 20.0])  # what the stub says that each of them costs


def stub(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The mean nats of the targets that are not -1, as `GPT.loss` gives it; refuses what that refuses."""
    assert x.shape == y.shape, "loss wants x and y of one shape, (B, T)"
    assert y.dtype == torch.int64, "loss wants ids of int64"
    counts = y != -1
    return BIT * (BITS[y.clamp(min=0)] * counts).sum() / counts.sum()


def batch(*rows: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """x and y; the inputs, id 2 everywhere, don't matter to the stub."""
    y = torch.tensor(rows)
    return torch.full_like(y, 2), y


@pytest.mark.exercise("evaluate_bpb", points=2)
def test_bits_and_bytes_of_one_batch_by_hand():
    got = shown(objective.evaluate_bpb(stub, [batch([0, 1, 2])], BYTES))
    assert got == shown(11 / 6), "ids 0, 1, 2 cost 2 + 6 + 3 = 11 bits, and have 1 + 2 + 3 = 6 bytes"


@pytest.mark.exercise("evaluate_bpb", points=2)
def test_batches_of_unequal_size_are_one_text():
    got = shown(objective.evaluate_bpb(stub, [batch([0, 0, 0, 0], [0, 0, 0, 0]), batch([4])], BYTES))
    assert got == 3.0, (
        "eight targets of 2 bits and 1 byte, then one of 20 bits and 4 bytes: 36 bits for 12 bytes. "
        "A mean of what the batches give would let the last one weigh as much as eight"
    )


@pytest.mark.exercise("evaluate_bpb")
def test_batches_with_unequal_numbers_of_ignored_targets_are_one_text():
    batches = [batch([0, 0, 0, 0]), batch([4, -1, -1, -1])]
    got = shown(objective.evaluate_bpb(stub, batches, BYTES))
    assert got == 3.5, (
        "four targets of 2 bits and 1 byte, and one of 20 bits and 4 bytes: 28 bits for 8 bytes. "
        "The second batch has four places, and one target"
    )


@pytest.mark.exercise("evaluate_bpb", points=2)
def test_special_targets_cost_no_bits_and_have_no_bytes():
    got = shown(objective.evaluate_bpb(stub, [batch([0, 3, 1, 3])], BYTES))
    assert got == shown(8 / 3), (
        "ids 0 and 1 cost 8 bits and have 3 bytes. Id 3 is a special token (0 bytes): the 50 bits for guessing "
        "it are not in the text, so they don't count"
    )


@pytest.mark.exercise("evaluate_bpb")
def test_the_model_sees_all_inputs_and_no_special_targets():
    seen = []

    def spy(x, y):
        seen.append([x.tolist(), y.tolist()])
        return stub(x, y)

    x, y = torch.tensor([[3, 0, 3, 2]]), torch.tensor([[0, 3, 2, -1]])
    objective.evaluate_bpb(spy, [(x, y)], BYTES)
    got = seen[-1] if seen else "nothing"
    assert got == [[[3, 0, 3, 2]], [[0, -1, 2, -1]]], (
        "what `loss` was given, x and y: special targets have become IGNORE, and inputs are as they were; "
        "a special token is worth knowing, only not worth guessing"
    )


@pytest.mark.exercise("evaluate_bpb")
def test_an_ignored_target_is_not_the_last_id():
    got = shown(objective.evaluate_bpb(stub, [batch([0, -1, -1])], BYTES))
    assert got == 2.0, (
        "one target of 2 bits and 1 byte. -1 as an index would read the last id, which has 4 bytes here; "
        "and id 0 is not what was ignored either"
    )


@pytest.mark.exercise("evaluate_bpb")
def test_bytes_are_those_of_the_targets():
    x, y = torch.tensor([[4, 0]]), torch.tensor([[0, 1]])
    got = shown(objective.evaluate_bpb(stub, [(x, y)], BYTES))
    assert got == shown(8 / 3), (
        "targets 0 and 1: 8 bits and 3 bytes. What was read (ids 4 and 0) is not guessed"
    )


@pytest.mark.exercise("evaluate_bpb")
def test_a_batch_without_text_changes_nothing():
    got = []
    for row in ([-1, -1], [3, 3], [3, -1]):
        got.append(outcome(objective.evaluate_bpb, stub, [batch(row), batch([0, 1]), batch(row)], BYTES))
    assert got == [shown(8 / 3)] * 3, (
        "8 bits and 3 bytes, between two batches of ignored targets; then of special ones; then of both. "
        "A batch without text is left out (its loss is nan), and the next one counts as ever"
    )


@pytest.mark.exercise("evaluate_bpb", points=2)
def test_nan_of_a_batch_with_text_is_not_hidden():
    def broken(x, y):
        return stub(x, y) * (math.nan if 4 in y.tolist()[0] else 1)

    batches = [batch([0, 1]), batch([4, 0]), batch([2])]
    got = str(outcome(objective.evaluate_bpb, broken, batches, BYTES))
    assert got == "nan", (
        "the second of three batches has text, and its loss is nan: the model is broken. Without that batch "
        "it would look better than it is"
    )


@pytest.mark.exercise("evaluate_bpb")
def test_an_evaluation_without_text_is_refused():
    cases = {"no batch": [], "ignored": [batch([-1, -1])], "special": [batch([3, 3])]}
    got = {name: outcome(objective.evaluate_bpb, stub, batches, BYTES) for name, batches in cases.items()}
    assert got == dict.fromkeys(cases, "a ValueError"), (
        "no batch at all; a batch of ignored targets; one of special targets. Each time there is no text: "
        "raise ValueError, because a number would be taken for a result"
    )


@pytest.mark.exercise("evaluate_bpb")
def test_how_the_text_is_cut_into_batches_does_not_matter():
    rows = [[0, 1, 3, 4], [-1, 2, 2, 0], [4, 4, -1, -1], [1, 3, 3, 3], [0, 0, 2, 1], [-1, -1, -1, -1]]
    cuts = [[rows], [rows[:1], rows[1:]], [[row] for row in rows], [[[i]] for row in rows for i in row]]
    got = [shown(objective.evaluate_bpb(stub, [batch(*some) for some in cut], BYTES)) for cut in cuts]
    assert got == [shown(95 / 31)] * 4, (
        "the same 24 targets in 1, 2, 6 and 24 batches: 95 bits for 31 bytes each time"
    )


@pytest.mark.exercise("evaluate_bpb")
def test_x_and_y_stay_as_they_are():
    x, y = torch.tensor([[3, 0, 1]]), torch.tensor([[0, 3, -1]])
    objective.evaluate_bpb(stub, [(x, y)], BYTES)
    got = [x.tolist(), y.tolist()]
    assert got == [[[3, 0, 1]], [[0, 3, -1]]], (
        "batches are often evaluated again: special targets must still be there"
    )


@pytest.mark.exercise("evaluate_bpb")
def test_batches_are_taken_one_at_a_time():
    drawn, found = [], []

    def batches():
        for i in range(3):
            drawn.append(i)
            yield batch([i, i])

    def spy(x, y):
        found.append((int(y[0, 0]), len(drawn)))
        return stub(x, y)

    objective.evaluate_bpb(spy, batches(), BYTES)
    got = dict(reversed(found))
    assert got == {0: 1, 1: 2, 2: 3}, (
        "{batch: how many had been drawn when it was evaluated}. A generator gives each batch once, and all of "
        "them together may not fit into memory"
    )


@pytest.mark.exercise("evaluate_bpb")
def test_no_gradients_are_computed():
    modes = []

    def spy(x, y):
        modes.append(torch.is_grad_enabled())
        return stub(x, y)

    objective.evaluate_bpb(spy, [batch([0, 1])], BYTES)
    got = any(modes)
    assert got is False, "whether torch kept what a backward pass needs: memory for nothing, batch by batch"


@pytest.mark.exercise("evaluate_bpb")
def test_the_result_is_a_number():
    got = type(objective.evaluate_bpb(stub, [batch([0])], BYTES)).__name__
    assert got == "float", "it goes into a log, and JSON holds no tensors"


@pytest.mark.exercise("evaluate_bpb")
def test_two_tokenizers_one_text_the_same_bits():
    def guesses_bytes(x, y):  # as a model that knows nothing: 1/256 for each byte of a token
        counts = y != -1
        return (math.log(256) * BYTES[y.clamp(min=0)] * counts).sum() / counts.sum()

    short, long = batch([0] * 12), batch([4, 4, 4])
    got = [shown(objective.evaluate_bpb(guesses_bytes, [one], BYTES)) for one in (short, long)]
    assert got == [8.0, 8.0], (
        "12 bytes as twelve tokens or as three: nats for each token differ, 5.5 and 22.2; bits for each byte don't"
    )
