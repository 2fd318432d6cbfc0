"""Lesson 2.2: a step. The gradient of a batch, however it is cut up; one update; a loop that tells how it goes.

A batch that does not fit into memory goes through in parts, and their gradients add up. They must add up to the
gradient of the whole batch, so each part counts by how many targets it holds.

    batch   (x, y): inputs and targets, (B, T) each; IGNORE in y teaches nothing
    parts   the batches that make one step together ("micro-batches")
    norm    the length of the gradient of all weights, as if it were one vector

What comes later is passed in: rates are set before the step (lesson 2.3), optimizers may be any (3.1, 3.2), and a
scaler keeps small gradients from vanishing in float16 (3.3).
Papers: mccandlish-2018 (how large a batch is worth its cost), palm-2022 (MFU, appendix B).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer
from tqdm import tqdm

from mini_nanochat import records

IGNORE = -1  # a target that teaches nothing, as in lesson 0.4
Batch = tuple[Tensor, Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]


class Scaler(Protocol):
    """Multiplies the loss, and divides the gradients again (lesson 3.3)."""

    scale: float

    def unscale(self, weights: Iterable[Tensor]) -> bool:
        """Divides the gradients by `scale`, in place. False if they overflowed: the update must be left out."""
        ...


@dataclass(frozen=True)
class Step:
    """What one step did."""

    loss: float  # nats: the mean over all targets of the batch, before the update
    norm: float  # of the gradient, before it was clipped
    tokens: int  # positions of the batch: all parts, whether their targets count or not
    skipped: bool = False  # the gradients overflowed, and nothing was updated


def accumulate(loss: Loss, parts: Sequence[Batch], scale: float = 1.0) -> float:
    """Adds the gradient of the whole batch to the weights' `.grad`, and returns the loss of the whole batch.

    `loss(x, y)` is the mean over the targets of y that are not IGNORE. The loss of the batch is the mean over the
    targets of all parts together: not the mean of the parts' means, because parts differ in how many targets
    count. One backward pass a part, so that memory is that of one part; a part without targets is passed over, and
    no other.
    The gradient is multiplied by `scale`, the returned loss is not.
    Raises ValueError if no target of the batch counts.
    """
    counts = [int((y != IGNORE).sum()) for _, y in parts]
    if not sum(counts):
        raise ValueError("no target of the batch counts: there is nothing to learn from")
    total = torch.zeros(())
    for (x, y), count in zip(parts, counts):
        if count:
            share = loss(x, y) * (count / sum(counts))
            (share * scale).backward()  # type: ignore[no-untyped-call]
            total = total + share.detach()
    return float(total)


def clip_by_global_norm(weights: Iterable[Tensor], most: float = math.inf) -> float:
    """Shortens the gradient of all `weights`, in place, to a norm of at most `most`; returns the norm that it had.

    All gradients are scaled by the same factor, so the direction stays. A norm below `most` is left as it is.
    Weights without a gradient are passed over; the norm of no gradients at all is 0. What to do about a norm that is
    not finite is for the caller to say.
    """
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    if not gradients:
        return 0.0
    norm = float(torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients])))
    if norm > most:
        for gradient in gradients:
            gradient.mul_(most / norm)
    return norm


def train_step(
    loss: Loss,
    parts: Sequence[Batch],
    optimizers: Sequence[Optimizer],
    most: float = math.inf,
    scaler: Scaler | None = None,
) -> Step:
    """One step: the gradient of the batch, clipped to `most`, one `step` of each optimizer, gradients gone.

    The weights are those that the optimizers hold. With a scaler the loss goes through the backward pass multiplied
    by `scaler.scale`, and the gradients are unscaled before anything looks at their norm; where they
    overflowed, no optimizer steps, and the norm is NaN. Gradients are gone afterwards in any case.
    Raises FloatingPointError, before any weight has changed, for a loss (whatever `unscale` would say) or a norm
    that is not finite.
    """
    weights = [w for optimizer in optimizers for group in optimizer.param_groups for w in group["params"]]
    try:
        value = accumulate(loss, parts, scaler.scale if scaler else 1.0)
        if not math.isfinite(value):
            raise FloatingPointError(f"the loss of this batch is {value}")
        tokens = sum(x.numel() for x, _ in parts)
        if scaler and not scaler.unscale(weights):
            return Step(value, math.nan, tokens, skipped=True)
        norm = clip_by_global_norm(weights, most)
        if not math.isfinite(norm):
            raise FloatingPointError(
                f"the gradient of this batch has a norm of {norm} (its loss is {value:.4f})"
            )
        for optimizer in optimizers:
            optimizer.step()
        return Step(value, norm, tokens)
    finally:
        for optimizer in optimizers:
            optimizer.zero_grad()


class Meter:
    """A run's loss and speed, smoothed: means in which each step counts `keep` times as much as the one after it."""

    def __init__(self, keep: float = 0.9) -> None:
        self.keep = keep
        self._weight = self._loss = self._tokens = self._seconds = 0.0

    def add(self, step: Step, seconds: float) -> None:
        """Takes in one more step, and how long it took."""
        for name, value in (
            ("_weight", 1.0),
            ("_loss", step.loss),
            ("_tokens", step.tokens),
            ("_seconds", seconds),
        ):
            setattr(self, name, self.keep * getattr(self, name) + (1 - self.keep) * value)

    @property
    def loss(self) -> float:
        """The weighted mean of the losses so far: after one step that step's loss, not a tenth of it. NaN before."""
        return self._loss / self._weight if self._weight else math.nan

    @property
    def tokens_per_second(self) -> float:
        """Weighted tokens by weighted seconds: slow steps count for as long as they took. 0 before any step."""
        return self._tokens / self._seconds if self._seconds else 0.0


def mfu(tokens_per_second: float, flops_per_token: float, peak: float) -> float:
    """The share of `peak` (operations a second) that the model's own arithmetic takes (PaLM, appendix B).

    Raises ValueError for a peak that is not positive.
    """
    if peak <= 0:
        raise ValueError(f"peak must be positive, got {peak}")
    return tokens_per_second * flops_per_token / peak


def steps(
    one: Callable[[int], Step], numbers: Iterable[int], path: Path | None = None, show: bool = True
) -> Iterator[tuple[int, Step]]:
    """Takes step after step, `one(number)` for each of `numbers`, and yields (number, what it did) after each.

    So what is done between steps (a look at the validation text, a checkpoint) stands in the body of a plain `for`
    loop, and ends with `break`. Only the time inside `one` counts. Each step is a line of JSON in `path`: step,
    loss, norm, tokens, skipped, seconds. If `show`, a bar on stderr says "loss 2.391, 12,345 tokens/s", both
    smoothed by a `Meter` over all steps, skipped ones too; else nothing is printed. The line is there, and the bar's
    text set, when the body runs.
    Raises FloatingPointError as `train_step` does, with the number of the step.
    """
    meter = Meter()
    with tqdm(numbers, disable=not show, unit="step", dynamic_ncols=True) as bar:
        for number in bar:
            start = time.perf_counter()
            try:
                step = one(number)
            except FloatingPointError as error:
                raise FloatingPointError(f"step {number}: {error}") from None
            seconds = time.perf_counter() - start
            meter.add(step, seconds)
            if path:
                records.append(path, step=number, **asdict(step), seconds=seconds)
            bar.set_postfix_str(
                f"loss {meter.loss:.3f}, {meter.tokens_per_second:,.0f} tokens/s", refresh=False
            )
            yield number, step
