"""Graded tests of lesson 2.3: rates by hand, torch's LambdaLR, and plans that one can check on paper.

Judges: numbers on lines that one can draw, torch.optim's own LambdaLR, arithmetic of whole numbers, and the
published plan of nanochat's d20. All rates are rounded to nine digits before they are compared: arithmetic in
float64 keeps fifteen, and a real mistake moves a rate by a hundredth or more.
"""

import pytest
import torch

from mini_nanochat.train import schedule

D20 = 560_988_160  # parameters of nanochat's d20 of 2025


def nine_digits(numbers) -> list:
    """The numbers, rounded; where computing them divides by zero, the name of the error instead."""
    try:
        return [round(number, 9) for number in numbers]
    except ZeroDivisionError:
        return ["ZeroDivisionError"]


def rate_at_steps(steps, n, **settings) -> list:
    """The multipliers at these steps of a run of n."""
    return nine_digits(schedule.rate_at(step, n, **settings) for step in steps)


def error_or_result(call) -> str:
    """The word ValueError if the call refuses so, else what it gave."""
    try:
        return f"no error, but {call()}"
    except ValueError:
        return "ValueError"


# --- rate_at -----------------------------------------------------------------------------------------


@pytest.mark.exercise("rate_at", points=2)
def test_the_way_down_by_hand():
    got = rate_at_steps(range(5, 10), 10, warmdown=0.4)
    assert got == [1, 1, 0.75, 0.5, 0.25], (
        "steps 5 to 9 of 10: 0.4 of 10 steps are 4, so the line is 1 at step 6 and would be 0 at step 10"
    )


@pytest.mark.exercise("rate_at", points=2)
def test_the_way_up_by_hand():
    got = rate_at_steps(range(6), 10, warmup=4, warmdown=0.2)
    assert got == [0.25, 0.5, 0.75, 1, 1, 1], (
        "steps 0 to 5 with a warm-up of 4: the first step already takes 1/4, the fourth one all"
    )


@pytest.mark.exercise("rate_at")
def test_the_line_ends_at_last():
    got = rate_at_steps(range(5, 10), 10, warmdown=0.5, last=0.1)
    assert got == [1, 0.82, 0.64, 0.46, 0.28], (
        "steps 5 to 9: the line goes from 1 at step 5 to 0.1 at step 10, which is not a step any more; 0.9 in five "
        "equal parts"
    )


@pytest.mark.exercise("rate_at")
def test_a_last_rate_does_not_lift_the_way_up():
    got = rate_at_steps(range(3), 10, warmup=5, warmdown=0.2, last=0.5)
    assert got == [0.2, 0.4, 0.6], "`last` belongs to the end of the run: steps 0 to 2 are on the way up"


@pytest.mark.exercise("rate_at")
def test_between_up_and_down_it_is_one():
    got = rate_at_steps(range(1, 8), 10, warmup=2, warmdown=0.3)
    assert got == [1, 1, 1, 1, 1, 1, 1], (
        "steps 1 to 7 of 10: the warm-up is done at step 1, and the way down begins at 7 with 1"
    )


@pytest.mark.exercise("rate_at")
def test_without_up_and_down_it_is_one():
    got = rate_at_steps(range(4), 4, warmup=0, warmdown=0.0, last=0.1)
    assert got == [1, 1, 1, 1], "no warm-up, no warm-down: nothing to divide by, and no end to go to"


@pytest.mark.exercise("rate_at")
def test_the_whole_run_may_go_down():
    got = rate_at_steps(range(4), 4, warmdown=1.0)
    assert got == [1, 0.75, 0.5, 0.25], "a share of 1.0 are all four steps"


@pytest.mark.exercise("rate_at")
def test_where_up_and_down_overlap_the_smaller_holds():
    got = rate_at_steps(range(3, 8), 10, warmup=8, warmdown=0.8)
    assert got == [0.5, 0.625, 0.625, 0.5, 0.375], (
        "steps 3 to 7: up is (step + 1) / 8, down is (10 - step) / 8, and the smaller one counts; no jump where "
        "they meet"
    )


@pytest.mark.exercise("rate_at")
def test_the_steps_down_are_rounded_to_the_nearest():
    got = rate_at_steps(range(4, 7), 7, warmdown=0.4) + rate_at_steps(range(8, 11), 11, warmdown=0.2)
    assert got == [1, 0.666666667, 0.333333333, 1, 1, 0.5], (
        "the last three steps of 7 and of 11: 0.4 of 7 are 2.8 steps, which is about 3; 0.2 of 11 are 2.2, about 2"
    )


@pytest.mark.exercise("rate_at")
def test_a_share_is_a_share_of_any_run():
    got = [rate_at_steps([n * 9 // 10], n, warmdown=0.2)[0] for n in (20, 100, 1000)]
    assert got == [0.5, 0.5, 0.5], (
        "runs of 20, 100 and 1000 steps, each with a tenth to go: half way down the last fifth, in all of them"
    )


@pytest.mark.exercise("rate_at")
def test_no_step_is_wasted():
    got = [
        (n, warmup, share, step)
        for n in range(1, 9)
        for warmup in range(4)
        for share in (0.0, 0.3, 1.0)
        for step in range(n)
        if not 0 < schedule.rate_at(step, n, warmup=warmup, warmdown=share) <= 1
    ]
    first = "none" if not got else "n = {}, warmup = {}, warmdown = {}: step {}".format(*got[0])
    assert first == "none", (
        "the first of many runs in which a rate is not above 0 and at most 1: with 0, a step costs as much as the "
        "others and teaches nothing"
    )


@pytest.mark.exercise("rate_at")
def test_a_step_outside_of_the_run_is_refused():
    got = [
        error_or_result(lambda step=step: schedule.rate_at(step, 10, warmdown=0.5)) for step in (-1, 10, 11)
    ]
    assert got == ["ValueError"] * 3, (
        "steps -1, 10 and 11 of a run of 10, whose steps are 0 to 9: beyond the end the line goes below zero, "
        "and a negative rate climbs"
    )


# --- momentum_at -------------------------------------------------------------------------------------


@pytest.mark.exercise("momentum_at", points=2)
def test_momentum_grows_on_a_line():
    got = nine_digits(schedule.momentum_at(step, 0.5, 0.9, over=4) for step in range(5))
    assert got == [0.5, 0.6, 0.7, 0.8, 0.9], "steps 0 to 4, from 0.5 to 0.9 over 4 steps: 0.1 a step"


@pytest.mark.exercise("momentum_at")
def test_momentum_stays_where_it_has_arrived():
    got = nine_digits(schedule.momentum_at(step, 0.5, 0.9, over=4) for step in (4, 5, 8, 1000))
    assert got == [0.9, 0.9, 0.9, 0.9], (
        "steps 4, 5, 8 and 1000, over 4: a momentum above 1 would make every gradient grow for ever"
    )


@pytest.mark.exercise("momentum_at")
def test_momentum_over_no_steps_is_the_last_one():
    got = nine_digits(schedule.momentum_at(step, 0.5, 0.9, over=0) for step in (0, 1))
    assert got == [0.9, 0.9], "steps 0 and 1, over 0: there is no way to go, and nothing to divide by"


@pytest.mark.exercise("momentum_at")
def test_momentum_may_fall_too():
    got = nine_digits(schedule.momentum_at(step, 0.9, 0.5, over=1000) for step in (0, 1, 500, 1000, 2000))
    assert got == [0.9, 0.8996, 0.7, 0.5, 0.5], (
        "steps 0, 1, 500, 1000 and 2000, from 0.9 down to 0.5 over 1000: a line has two directions, and each step "
        "a value of its own"
    )


# --- set_rates ---------------------------------------------------------------------------------------


class Plain(torch.optim.Optimizer):
    """An optimizer that only holds groups. (torch's own constructor loads its compiler: seconds for nothing.)"""

    def __init__(self, groups: list[dict]) -> None:
        self.param_groups, self.state = groups, {}
        self.defaults = {"lr": 7.0}  # what no group has
        self.began = [{key: value for key, value in group.items() if key != "params"} for group in groups]

    def __repr__(self) -> str:
        """As it was made: a report card shows it after the call."""
        return f"an optimizer made with the groups {self.began}"

    def step(self, closure=None) -> None:
        pass


def made(*rates_of_groups: float, **settings) -> Plain:
    """An optimizer with a group for each rate."""
    return Plain(
        [
            {"params": [torch.zeros(1)], "lr": rate, "weight_decay": 0.0, **settings}
            for rate in rates_of_groups
        ]
    )


def lr_in(*optimizers) -> list[float]:
    return nine_digits(group["lr"] for optimizer in optimizers for group in optimizer.param_groups)


def lr_after_set_rates(share: float, *optimizers) -> list[float]:
    """The rates of all groups after set_rates(optimizers, share)."""
    schedule.set_rates(optimizers, share)
    return lr_in(*optimizers)


@pytest.mark.exercise("set_rates")
def test_each_group_gets_a_share_of_its_own_rate():
    optimizer = made(0.2, 0.004, 0.000_003)
    assert lr_after_set_rates(0.5, optimizer) == [0.1, 0.002, 0.000_001_5], (
        "groups that began with 0.2, 0.004 and 0.000003, share 0.5: each has a rate of its own, even a tiny one"
    )


@pytest.mark.exercise("set_rates", points=2)
def test_shares_do_not_multiply_up():
    optimizer, got = made(0.8), []
    for share in (1.0, 0.5, 0.5, 0.5, 0.25):
        schedule.set_rates([optimizer], share)
        got += lr_in(optimizer)
    assert got == [0.8, 0.4, 0.4, 0.4, 0.2], (
        "shares 1, 0.5, 0.5, 0.5, 0.25 of a rate that began as 0.8: a share is of the first rate, not of the one now"
    )


@pytest.mark.exercise("set_rates")
def test_a_small_share_first_is_not_the_first_rate():
    optimizer = made(0.8)
    schedule.set_rates([optimizer], 0.0)
    assert lr_after_set_rates(1.0, optimizer) == [0.8], (
        "share 0 and then 1: a warm-up begins small and must come up again"
    )


@pytest.mark.exercise("set_rates")
def test_all_optimizers_are_reached():
    first, second = made(0.2, 0.4), made(0.6)
    schedule.set_rates((one for one in (first, second)), 0.5)
    assert lr_in(first, second) == [0.1, 0.2, 0.3], (
        "an AdamW and a Muon run side by side: both slow down (they come from a generator, which can be read once)"
    )


@pytest.mark.exercise("set_rates")
def test_the_first_rate_is_kept_as_initial_lr():
    optimizer = made(0.2, 0.004)
    for share in (0.5, 0.25):
        schedule.set_rates([optimizer], share)
    got = nine_digits(group.get("initial_lr", -1) for group in optimizer.param_groups)
    assert got == [0.2, 0.004], (
        "initial_lr of both groups (-1: there is none): a checkpoint holds the groups, and with them the first rate"
    )


@pytest.mark.exercise("set_rates")
def test_a_resumed_run_does_not_slow_down_twice():
    after = made(0.2, initial_lr=0.8)  # as the optimizer's state was saved
    assert lr_after_set_rates(0.25, after) == [0.2], (
        "a group that comes from a checkpoint with lr 0.2 and initial_lr 0.8, share 0.25: what initial_lr says is "
        "the first rate, although this call is the first one of the new process"
    )


@pytest.mark.exercise("set_rates")
def test_a_group_added_later_begins_with_its_own_rate():
    optimizer, late = made(0.8), made(0.2)
    schedule.set_rates([optimizer], 0.25)
    optimizer.param_groups += late.param_groups
    assert lr_after_set_rates(0.5, optimizer) == [0.4, 0.1], (
        "a group with 0.8, share 0.25; then a second one with 0.2 is added; share 0.5: only the second one has no "
        "initial_lr yet"
    )


@pytest.mark.exercise("set_rates")
def test_rates_are_those_of_torchs_own_scheduler():
    shares = (0.5, 1.0, 0.3, 0.1)
    theirs, ours, wanted, got = made(0.2, 0.01), made(0.2, 0.01), [], []
    for share in shares:
        schedule.set_rates([ours], share)
        got += lr_in(ours)
    scheduler = torch.optim.lr_scheduler.LambdaLR(theirs, lambda step: shares[step])
    for step in range(len(shares)):
        wanted += lr_in(theirs)
        theirs.step()
        if step + 1 < len(shares):
            scheduler.step()
    assert got == wanted, (
        "LambdaLR multiplies the first rate by a share, too; shares 0.5, 1, 0.3, 0.1, two groups"
    )


@pytest.mark.exercise("set_rates")
def test_nothing_but_the_rate_changes():
    optimizer = made(0.8, momentum=0.9, weight_decay=0.1)
    schedule.set_rates([optimizer], 0.5)
    group = optimizer.param_groups[0]
    got = [group["lr"], group["momentum"], group["weight_decay"], float(group["params"][0])]
    assert nine_digits(got) == [0.4, 0.9, 0.1, 0], (
        "lr, momentum, weight_decay and the weight itself, after share 0.5"
    )


# --- tokens_for --------------------------------------------------------------------------------------


@pytest.mark.exercise("tokens_for")
def test_tokens_of_nanochats_d20():
    assert schedule.tokens_for(D20) == 11_219_763_200, "560,988,160 parameters, 20 tokens for each"


@pytest.mark.exercise("tokens_for")
def test_another_ratio():
    got = [schedule.tokens_for(1000, 12), schedule.tokens_for(1000, ratio=0.5)]
    assert got == [12_000, 500], "1000 parameters, 12 tokens for each, and half a one for each"


@pytest.mark.exercise("tokens_for")
def test_tokens_are_a_whole_number_the_nearest():
    got = [repr(schedule.tokens_for(7, ratio)) for ratio in (1.6, 1.7)]
    assert got == ["11", "12"], "7 times 1.6 is 11.2, 7 times 1.7 is 11.9; there are no half tokens"


# --- batch_tokens ------------------------------------------------------------------------------------


@pytest.mark.exercise("batch_tokens", points=2)
def test_two_runs_that_are_known_to_work():
    got = [schedule.batch_tokens(1_000_000), schedule.batch_tokens(20 * D20)]
    assert got == [4096, 524_288], (
        "a million tokens, and the 11.2 billion of d20: 4 sqrt(D) is 4000 and 423,694, then the nearest power of two"
    )


@pytest.mark.exercise("batch_tokens")
def test_four_times_the_tokens_double_the_batch():
    got = [schedule.batch_tokens(4**k) for k in (10, 11, 12, 15)]
    assert got == [4096, 8192, 16_384, 131_072], (
        "4^10, 4^11, 4^12 and 4^15 tokens: their roots are powers of two, and so nothing is rounded"
    )


@pytest.mark.exercise("batch_tokens")
def test_a_batch_is_a_power_of_two():
    got = [repr(schedule.batch_tokens(3 * 10**k)) for k in (6, 7, 8, 9)]
    assert got == ["8192", "16384", "65536", "262144"], (
        "3 times 10^6, 10^7, 10^8 and 10^9 tokens: 2^13, 2^14, 2^16 and 2^18. Rows, ranks and micro-batches are "
        "powers of two, and a batch must be cut up evenly. An int, because tokens are counted: 8192, not 8192.0"
    )


@pytest.mark.exercise("batch_tokens")
def test_nearest_is_meant_as_a_factor():
    # 4 sqrt(D) is 1.3, 1.45 and 1.6 times 8192
    got = [schedule.batch_tokens(tokens) for tokens in (7_088_374, 8_818_524, 10_737_418)]
    assert got == [8192, 16_384, 16_384], (
        "4 sqrt(D) is 8192 times 1.3, 1.45 and 1.6: the border is the root of 2, 1.414"
    )


@pytest.mark.exercise("batch_tokens")
def test_a_batch_has_1024_tokens_at_least():
    got = [schedule.batch_tokens(tokens) for tokens in (1, 100, 10_000, 65_536)]
    assert got == [1024, 1024, 1024, 1024], (
        "1, 100, 10,000 and 65,536 tokens: smaller batches are mostly noise"
    )


# --- parts_of_batch ----------------------------------------------------------------------------------


@pytest.mark.exercise("parts_of_batch", points=2)
def test_parts_of_d20s_batch():
    got = [repr(schedule.parts_of_batch(524_288, 32, 2048, ranks)) for ranks in (8, 2, 1)]
    assert got == ["1", "4", "8"], (
        "524,288 tokens in micro-batches of 32 rows of 2048, on 8 ranks, 2 and 1: all of them share the batch"
    )


@pytest.mark.exercise("parts_of_batch")
def test_one_rank_is_meant_if_none_is_named():
    assert schedule.parts_of_batch(4096, 4, 64) == 16, "4 rows of 64 positions are 256 tokens; 4096 / 256"


@pytest.mark.exercise("parts_of_batch")
def test_a_batch_that_does_not_come_out_even_is_refused():
    got = error_or_result(lambda: schedule.parts_of_batch(1000, 3, 100))
    assert got == "ValueError", (
        "1000 tokens, 300 at once: 3 parts are 900 tokens, 4 are 1200, and neither was planned"
    )


@pytest.mark.exercise("parts_of_batch")
def test_a_batch_that_is_no_whole_number_of_rows_is_refused():
    got = error_or_result(lambda: schedule.parts_of_batch(4100, 4, 64))
    assert got == "ValueError", (
        "4100 tokens are 64 rows of 64 and 4 tokens: 16 parts are 4096, and 4 are lost"
    )


@pytest.mark.exercise("parts_of_batch")
def test_what_comes_out_even_only_for_one_rank_is_refused():
    got = error_or_result(lambda: schedule.parts_of_batch(768, 4, 64, world_size=2))
    assert got == "ValueError", "768 tokens are 3 parts of 256, and two ranks can't share three"


@pytest.mark.exercise("parts_of_batch")
def test_a_batch_smaller_than_one_part_is_refused():
    got = error_or_result(lambda: schedule.parts_of_batch(128, 4, 64))
    assert got == "ValueError", "128 tokens, but 256 go through at once: one part would be twice the batch"


@pytest.mark.exercise("parts_of_batch")
def test_an_empty_batch_is_refused():
    got = error_or_result(lambda: schedule.parts_of_batch(0, 4, 64))
    assert got == "ValueError", "a batch of 0 tokens would be a step of no parts, which learns nothing"


# --- steps_for ---------------------------------------------------------------------------------------


@pytest.mark.exercise("steps_for")
def test_steps_of_nanochats_d20():
    got = [schedule.steps_for(20 * D20 + more, 524_288) for more in (0, 1)]
    assert got == [21_400, 21_401], (
        "11,219,763,200 tokens, 524,288 a step, which comes out even; and one token more"
    )


@pytest.mark.exercise("steps_for")
def test_the_last_step_may_go_beyond():
    got = [repr(schedule.steps_for(tokens, 100)) for tokens in (1001, 1050, 1099, 1100)]
    assert got == ["11", "11", "11", "11"], (
        "1001, 1050, 1099 and 1100 tokens, 100 a step: after 10 steps something is left, unless it came out even"
    )


@pytest.mark.exercise("steps_for")
def test_a_run_has_one_step_at_least():
    got = [schedule.steps_for(tokens, 100) for tokens in (0, 1, 99)]
    assert got == [1, 1, 1], "0, 1 and 99 tokens, 100 a step: a run of no steps has no last one, and no rates"
