"""Lesson 2.3: the schedule. How large a step is at which time, how many steps there are, and how large a batch is.

Rates stay at their full size and then fall to zero. Muon's momentum grows at first, when old gradients are soon
wrong. All are functions of the number of the step, 0 .. n - 1, and of nothing else: so a run that stops and goes on
has them for free.

    n        steps of the run;  D   tokens of the run;  N   parameters

Papers: chinchilla-2022 (tokens for each parameter), wsd-2024 (constant, then down), mccandlish-2018 (batch sizes).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch.optim import Optimizer


def rate_at(step: int, n: int, warmup: int = 0, warmdown: float = 0.4, last: float = 0.0) -> float:
    """What rates are multiplied by at `step`, one of 0 .. n - 1: up, then 1, then straight down.

    Up over the first `warmup` steps: 1 / warmup at step 0 (not 0: a step of nothing teaches nothing), 1 at step
    warmup - 1. Down over the last round(warmdown * n) steps, on the line that is 1 where they begin and would be
    `last` at step n: so the last step, n - 1, is still a little above `last`. Where both overlap, the smaller holds.
    Raises ValueError for a step outside of the run.
    """
    if not 0 <= step < n:
        raise ValueError(f"step must lie in 0..{n - 1}, got {step}")
    up = (step + 1) / warmup if warmup else 1.0
    n_down = round(warmdown * n)
    left = (n - step) / n_down if n_down else 1.0  # 1 where the way down begins, 0 at step n
    return min(up, 1.0, last + (1 - last) * left)


def momentum_at(step: int, first: float = 0.85, last: float = 0.95, over: int = 300) -> float:
    """Muon's momentum: from `first` at step 0 on a straight line to `last` at step `over`, and `last` from there on.

    With `over` = 0 it is `last` from step 0 on.
    """
    share = min(step / over, 1.0) if over else 1.0
    return (1 - share) * first + share * last


def set_rates(optimizers: Iterable[Optimizer], share: float) -> None:
    """Sets `lr` of every group to `share` of the rate that the group began with. To be called before each step.

    The first call keeps that rate as `initial_lr` (torch's name for it), so that shares do not multiply up.
    """
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group.setdefault("initial_lr", group["lr"]) * share


def tokens_for(n_parameters: int, ratio: float = 20.0) -> int:
    """D: the tokens to train a model of N parameters on, `ratio` for each (Hoffmann et al. 2022: about 20)."""
    return round(n_parameters * ratio)


def batch_tokens(tokens: int) -> int:
    """Tokens in a batch for a run of D tokens: 4 sqrt(D), to the nearest power of two, at least 1024. An int.

    D is 1 or more.
    Nearest as a factor: 1.4 times 1024 goes down, 1.5 times up to 2048 (the border is the root of 2).
    Noise in the gradient falls with the batch and matters late, when the loss is low: longer runs want larger batches
    (McCandlish et al. 2018). The 4 fits two runs that are known to work: 4096 for the microworld's million tokens,
    524,288 for the 11.2 billion of nanochat's d20.
    """
    return max(1024, 1 << round(math.log2(4 * math.sqrt(tokens))))


def parts_of_batch(tokens: int, batch_size: int, sequence_len: int, world_size: int = 1) -> int:
    """How many micro-batches of `batch_size` rows each rank takes for a batch of so many tokens, on all ranks.

    Raises ValueError if they do not come out even to the last token, or if there are none: nobody would notice a
    batch of another size than the one planned.
    """
    at_once = batch_size * sequence_len * world_size
    if tokens < 1 or tokens % at_once:
        raise ValueError(
            f"a batch of {tokens} tokens is no multiple of the {at_once} that go through at once "
            f"({batch_size} rows x {sequence_len} positions x {world_size} ranks)"
        )
    return tokens // at_once


def steps_for(tokens: int, tokens_per_step: int) -> int:
    """Steps until `tokens` have gone through; the last one may go beyond. At least 1."""
    return max(1, math.ceil(tokens / tokens_per_step))
