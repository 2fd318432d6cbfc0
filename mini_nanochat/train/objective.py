"""Lesson 2.1: the objective. How surprised is the model by what really comes next, and in which unit?

A loss in nats per token depends on the tokenizer: longer tokens are harder to guess, and there are fewer of them.
Bits per byte does not. It is how many bits a byte of text would take if the model were used to compress it.

    V          ids;  B, T   sequences, positions;  N   targets that count
    logits     (..., V);  targets  (...), IGNORE where nothing is taught
    x, y       inputs and targets of a batch, (B, T) each

Papers: shannon-1948 (surprise in bits), pile-2020 (bits per byte, section 3.1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

IGNORE = -1  # a target that teaches nothing, as in lesson 0.4
Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """The mean of -ln p(target), in nats, over the targets that are not IGNORE: (..., V), (...) -> ().

    p is the softmax of the logits over V. It and the loss are float32, whatever the dtype of the logits. Large
    logits do not overflow, and -inf rules an id out. The mean is taken over the targets that count: ignored ones
    are in neither sum, and the gradient of their logits is 0, whatever stands there (NaN, inf). NaN where none
    counts, because nothing has no mean, and where the logits of one that counts are NaN. Both tensors stay as
    they are.
    """
    counts = targets != IGNORE  # (...)
    targets = targets[counts]  # (N,)
    logits = logits[counts].float()  # (N, V)
    right = logits.gather(-1, targets[:, None]).squeeze(-1)  # (N,)
    nats = logits.logsumexp(-1) - right  # (N,)
    return nats.mean()


def bits_per_byte(nats: float, n_bytes: int) -> float:
    """`nats`, the sum over a text of `n_bytes` bytes, as bits for each byte.

    A bit is ln 2 nats. Raises ValueError for a text of no bytes.
    """
    if n_bytes < 1:
        raise ValueError(f"bits per byte need at least one byte of text, got {n_bytes}")
    return nats / math.log(2) / n_bytes


@torch.no_grad()
def evaluate_bpb(loss: Loss, batches: Iterable[tuple[Tensor, Tensor]], token_bytes: Tensor) -> float:
    """Bits per byte of all `batches` together, each (x, y).

    `loss(x, y)` gives the mean nats of the targets in y that are not IGNORE (as `GPT.loss` does). `token_bytes` (V,)
    holds the bytes of each id, and 0 for special tokens. Those are no text: as targets neither their nats nor
    their bytes count. A batch without text is left out; NaN for a batch with text makes the result NaN. Batches
    are taken one at a time, no gradients are computed, and y stays as it is. Raises ValueError if no target is text.
    """
    nats, n_bytes = 0.0, 0
    for x, y in batches:
        sizes = token_bytes[y.clamp(min=0)].where(y != IGNORE, 0)  # (B, T), bytes of each target
        n = int((sizes > 0).sum())
        if n:  # a mean over nothing would be NaN
            nats += float(loss(x, y.where(sizes > 0, IGNORE))) * n
            n_bytes += int(sizes.sum())
    return bits_per_byte(nats, n_bytes)
