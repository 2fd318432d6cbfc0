"""Mini-CORE: does the model find the likelier end of a sentence about Pebbleford?

Each item of exams/core.jsonl is a context with some continuations, one of them true. The model does not answer:
it says how likely it finds each (nats for each token, so that short ones have no advantage), and the likeliest counts
as chosen. A tie counts as a part: an untrained model finds all alike, and gets chance, wherever the true one stands.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

ROWS = 128  # continuations that go through at a time
TIE = 1e-5  # nats: two means that are closer differ by rounding


class Tokenizer(Protocol):
    """What turns text into ids (lesson 0.3)."""

    @property
    def bos_id(self) -> int: ...

    def encode(self, text: str) -> list[int]: ...


class Score(NamedTuple):
    """Of one task: the share of right choices, what guessing gets, and how many items there were."""

    accuracy: float
    chance: float
    n: int

    @property
    def centred(self) -> float:
        """0 for guessing, 1 for all right."""
        return (self.accuracy - self.chance) / (1 - self.chance)


def load_items(path: Path, at_most: int | None = None) -> list[dict[str, Any]]:
    """The items of a file of core exams; of each task the first `at_most`. Raises FileNotFoundError."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there: `mini-nanochat microworld` writes it")
    items = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    seen: dict[str, int] = defaultdict(int)
    kept = []
    for item in items:
        seen[item["task"]] += 1
        if at_most is None or seen[item["task"]] <= at_most:
            kept.append(item)
    return kept


@torch.no_grad()
def surprise(
    forward: Callable[[Tensor], Tensor], rows: Sequence[tuple[list[int], list[int]]], device: torch.device
) -> list[float]:
    """Nats for each id of a continuation after its context, on average: rows of (context, continuation)."""
    found = [0.0] * len(rows)
    order = sorted(range(len(rows)), key=lambda i: sum(map(len, rows[i])))  # rows of a length go together
    for start in range(0, len(order), ROWS):
        some = order[start : start + ROWS]
        longest = sum(map(len, rows[some[-1]])) - 1  # the last id is only a target
        ids, wanted = torch.zeros(len(some), longest, dtype=torch.int64), torch.full((len(some), longest), -1)
        for row, i in enumerate(some):
            context, rest = rows[i]
            end = len(context) + len(rest) - 1
            ids[row, :end] = torch.tensor((context + rest)[:-1])
            wanted[row, len(context) - 1 : end] = torch.tensor(rest)
        logits = forward(ids.to(device))  # (R, T, V); what stands after a row cannot be seen by it
        flat, targets = logits.flatten(0, 1), wanted.flatten().to(device)
        nats = F.cross_entropy(flat, targets, ignore_index=-1, reduction="none").view(wanted.shape)
        for i, total in zip(some, nats.sum(-1).tolist()):
            found[i] = total / len(rows[i][1])
    return found


def mini_core(
    forward: Callable[[Tensor], Tensor],
    tokenizer: Tokenizer,
    items: Iterable[dict[str, Any]],
    positions: int,
    device: torch.device,
) -> dict[str, Score]:
    """Task -> score, in the order of the items. `forward` gives logits (B, T, V) for ids (B, T), T <= `positions`.

    Of a context that is too long the end is kept.
    """
    items = list(items)
    rows = []
    for item in items:
        context = [tokenizer.bos_id, *tokenizer.encode(item["context"])]
        for option in item["options"]:
            rest = tokenizer.encode(option)
            rows.append((context[-(positions + 1 - len(rest)) :], rest))
    nats = iter(surprise(forward, rows, device))
    right: dict[str, list[float]] = defaultdict(list)
    chance: dict[str, list[float]] = defaultdict(list)
    for item in items:
        of_options = [next(nats) for _ in item["options"]]
        best = [i for i, one in enumerate(of_options) if one <= min(of_options) + TIE]
        right[item["task"]].append((item["gold"] in best) / len(best))
        chance[item["task"]].append(1 / len(of_options))
    return {task: Score(mean(each), mean(chance[task]), len(each)) for task, each in right.items()}


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def average(scores: dict[str, Score]) -> float:
    """The mean of the centred scores: 0 for guessing, 1 for all right."""
    return mean([score.centred for score in scores.values()])
