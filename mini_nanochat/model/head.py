"""The last step of the model, fast: matrix, softcap and cross-entropy in one, by chunks of rows.

Written out plainly, as `plain_loss` is, this step keeps the logits several times over: (N, V) numbers each, and V
is the largest size of a small model. Here a chunk of rows goes through at a time, and its gradients are
made at once, so that no (N, V) tensor ever exists. No logit exceeds the cap, so exp cannot overflow (it would
from 88 on), and nothing is subtracted before it.

    N, C, V    rows (positions of all sequences), features, ids
    x (N, C), weight (V, C), targets (N,)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mini_nanochat.model.layers import softcap

IGNORE = -1  # a target that teaches nothing, as in lesson 0.4
ROWS = 128  # in a chunk


def plain_loss(x: Tensor, weight: Tensor, targets: Tensor, cap: float) -> Tensor:
    """The mean cross-entropy, in nats, of the targets that are not IGNORE: the version to read."""
    logits = softcap(x @ weight.to(x.dtype).T, cap)  # (N, V)
    return F.cross_entropy(logits, targets, ignore_index=IGNORE)


class _HeadLoss(torch.autograd.Function):
    """Sum over chunks of the loss, with the gradients of x and weight made on the way."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, targets: Tensor, cap: float) -> Tensor:
        need = any(ctx.needs_input_grad[:2])
        w = weight.to(x.dtype)
        counts = (targets != IGNORE).float()[:, None]  # (N, 1)
        wanted = targets.clamp(min=0)[:, None]  # (N, 1)
        losses = torch.empty_like(counts)
        dx = torch.empty_like(x) if need else None
        dw = torch.zeros_like(weight) if need else None
        for start in range(0, len(x), ROWS):
            rows = slice(start, start + ROWS)
            logits = (x[rows] @ w.T).float()  # (R, V)
            bent = _tanh_(logits.div_(cap))
            exp = (bent * cap).exp_()
            sums = exp.sum(-1, keepdim=True)  # (R, 1)
            losses[rows] = sums.log() - cap * bent.gather(-1, wanted[rows])
            if dx is not None and dw is not None:
                p = exp.mul_(counts[rows] / sums)
                p.scatter_add_(-1, wanted[rows], -counts[rows])  # softmax - one hot
                p = p.mul_(bent.square_().neg_().add_(1)).to(x.dtype)  # through the softcap
                dx[rows] = p @ w
                dw += p.T @ x[rows]
        ctx.save_for_backward(dx, dw, counts.sum())
        return (losses * counts).sum() / counts.sum()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        dx, dw, count = ctx.saved_tensors
        scale = grads[0] / count
        return dx * scale.to(dx.dtype), dw * scale, None, None


def _tanh_(x: Tensor) -> Tensor:
    """tanh(x) = 1 - 2 / (e^(2 x) + 1), in place: by exp, which a CPU computes three times as fast as tanh."""
    return x.mul_(2).exp_().add_(1).reciprocal_().mul_(-2).add_(1)


def head_loss(x: Tensor, weight: Tensor, targets: Tensor, cap: float) -> Tensor:
    """`plain_loss`, without ever holding an (N, V) tensor. NaN where no target counts."""
    loss: Tensor = _HeadLoss.apply(x, weight, targets, cap)
    return loss
