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
        count = (targets != IGNORE).sum()
        total = x.new_zeros((), dtype=torch.float32)
        dx = torch.empty_like(x) if need else None
        dw = torch.zeros_like(weight) if need else None
        for rows in range(0, len(x), ROWS):
            part, wanted = x[rows : rows + ROWS], targets[rows : rows + ROWS]
            counts = wanted != IGNORE  # (R,)
            wanted = wanted.clamp(min=0)[:, None]  # (R, 1)
            bent = torch.tanh((part @ w.T).float() / cap)  # (R, V)
            exp = (cap * bent).exp()
            sums = exp.sum(-1, keepdim=True)  # (R, 1)
            losses = sums.log() - cap * bent.gather(-1, wanted)  # (R, 1)
            total += (losses.squeeze(-1) * counts).sum()
            if dx is not None and dw is not None:
                p = exp.div_(sums)
                p.scatter_add_(-1, wanted, p.new_full(wanted.shape, -1.0))  # softmax - one hot
                p.mul_(1 - bent.square_()).mul_(counts[:, None])  # through the softcap
                p = p.to(x.dtype)
                dx[rows : rows + ROWS] = p @ w
                dw += (p.T @ part).to(dw.dtype)
        ctx.save_for_backward(dx, dw, count)
        return total / count

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        dx, dw, count = ctx.saved_tensors
        scale = grads[0] / count
        return dx * scale.to(dx.dtype), dw * scale, None, None


def head_loss(x: Tensor, weight: Tensor, targets: Tensor, cap: float) -> Tensor:
    """`plain_loss`, without ever holding an (N, V) tensor. NaN where no target counts."""
    loss: Tensor = _HeadLoss.apply(x, weight, targets, cap)
    return loss
