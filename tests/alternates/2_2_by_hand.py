"""Lesson 2.2 solved in another style: sums instead of shares, one long vector, a class that is its own iterator."""

from __future__ import annotations

import contextlib
import math
import sys
from dataclasses import dataclass
from time import perf_counter

import torch
from tqdm import tqdm

from mini_nanochat import records

IGNORE = -1


@dataclass(frozen=True)
class Step:
    loss: float
    norm: float
    tokens: int
    skipped: bool = False


def accumulate(loss, parts, scale=1.0):
    with_targets = []
    for x, y in parts:
        n = torch.count_nonzero(y - IGNORE).item()
        if n > 0:
            with_targets.append((x, y, n))
    n_all = sum(n for *_, n in with_targets)
    if n_all == 0:
        raise ValueError("nothing to learn from")
    nats = []
    for x, y, n in with_targets:
        mean = loss(x, y)
        torch.autograd.backward(mean, torch.full_like(mean, scale * n / n_all))
        nats.append(mean.item() * n)
    return math.fsum(nats) / n_all


def clip_by_global_norm(weights, most=math.inf):
    found = [w for w in weights if w.grad is not None]
    squares = 0.0
    for w in found:
        squares += torch.dot(w.grad.flatten(), w.grad.flatten()).item()
    norm = math.sqrt(squares)
    factor = min(1.0, most / norm) if norm else 1.0
    for w in found:
        w.grad *= factor
    return norm


@contextlib.contextmanager
def cleared(optimizers):
    try:
        yield
    finally:
        for one in optimizers:
            one.zero_grad(set_to_none=False)


def train_step(loss, parts, optimizers, most=math.inf, scaler=None):
    weights = []
    for one in optimizers:
        for group in one.param_groups:
            weights.extend(group["params"])
    tokens = 0
    for x, _ in parts:
        rows, columns = x.shape
        tokens += rows * columns
    with cleared(optimizers):
        mean = accumulate(loss, parts, scale=1.0 if scaler is None else scaler.scale)
        if mean != mean or abs(mean) == math.inf:
            raise FloatingPointError(f"loss {mean}")
        if scaler is not None and not scaler.unscale(weights):
            return Step(loss=mean, norm=float("nan"), tokens=tokens, skipped=True)
        norm = clip_by_global_norm(weights, most)
        if norm != norm or norm == math.inf:
            raise FloatingPointError(f"norm {norm}")
        for one in optimizers:
            one.step()
    return Step(loss=mean, norm=norm, tokens=tokens, skipped=False)


class Meter:
    def __init__(self, keep=0.9):
        self.keep, self.history = keep, []

    def add(self, step, seconds):
        self.history.append((step.loss, step.tokens, seconds))

    def _mean(self, place):
        rows = list(enumerate(reversed(self.history)))
        return sum(self.keep**age * row[place] for age, row in rows)

    @property
    def loss(self):
        if not self.history:
            return math.nan
        return self._mean(0) / sum(self.keep**age for age in range(len(self.history)))

    @property
    def tokens_per_second(self):
        return self._mean(1) / self._mean(2) if self.history and self._mean(2) else 0.0


def mfu(tokens_per_second, flops_per_token, peak):
    if not peak > 0:
        raise ValueError("peak must be positive")
    return flops_per_token / peak * tokens_per_second


class Steps:
    def __init__(self, one, numbers, path=None, show=True):
        self.one, self.numbers, self.path = one, iter(numbers), path
        self.bar = tqdm(disable=not show, file=sys.stderr)
        self.meter = Meter()

    def __iter__(self):
        return self

    def __next__(self):
        try:
            number = next(self.numbers)
        except StopIteration:
            self.bar.close()
            raise
        before = perf_counter()
        try:
            did = self.one(number)
        except FloatingPointError as error:
            self.bar.close()
            raise FloatingPointError(f"{error} (in step {number})") from error
        took = perf_counter() - before
        self.meter.add(did, took)
        if self.path is not None:
            fields = {"step": number, "seconds": took, "loss": did.loss, "norm": did.norm}
            records.append(self.path, **fields, tokens=did.tokens, skipped=did.skipped)
        speed = f"{round(self.meter.tokens_per_second):,} tokens/s"
        self.bar.set_postfix_str(f"loss {self.meter.loss:.3f}, {speed}")
        self.bar.update()
        return number, did


def steps(one, numbers, path=None, show=True):
    return Steps(one, numbers, path, show)
