"""Lesson 3.1: AdamW. Every number gets a step of its own size.

A gradient says which way is down, and not how far to go. Adam keeps, for every number, a mean of its gradients and a
mean of their squares: the step is the one divided by the root of the other, about +-1 where the sign of the
gradient is steady and small where it is noise. The W: weights decay by themselves, not through the gradient.

    w, g     a weight and its gradient;  m, v   running means of g and of g^2;  all of one shape
    t        number of the step, from 1
    beta1, beta2   how much of the old means is kept;  lr   the rate

Papers: adam-2014 (algorithm 1), adamw-2017 (algorithm 2).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


def update_moments(m: Tensor, v: Tensor, g: Tensor, beta1: float, beta2: float) -> None:
    """One more gradient goes into the running means, in place; g stays as it is.

    m <- beta1 m + (1 - beta1) g,    v <- beta2 v + (1 - beta2) g^2
    """
    m.lerp_(g, 1 - beta1)
    v.lerp_(g.square(), 1 - beta2)


def direction(m: Tensor, v: Tensor, t: int, beta1: float, beta2: float, eps: float) -> Tensor:
    """m^ / (sqrt(v^) + eps), where m^ = m / (1 - beta1^t) and v^ = v / (1 - beta2^t). m and v stay as they are.

    Both means begin at 0 and are too small at first, v for longer than m: the hats undo that. After one step the
    direction is the sign of the gradient.
    """
    root = (v / (1 - beta2**t)).sqrt_().add_(eps)
    return m.div(root).div_(1 - beta1**t)


def decay(w: Tensor, lr: float, weight_decay: float) -> None:
    """w <- w - lr weight_decay w, in place: decoupled from the gradient, and as slow or fast as the rate."""
    w.mul_(1 - lr * weight_decay)


class AdamW(torch.optim.Optimizer):
    """AdamW over groups of weights, as torch.optim.AdamW. State of each weight: `step`, `m`, `v`.

    Rates of a group may be changed between steps. A weight whose gradient is None is passed over and keeps
    its state. A gradient of zeros is a gradient.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        betas: tuple[float, float] = (0.8, 0.95),
        eps: float = 1e-10,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """One step for each weight that has a gradient: moments, decay, then w <- w - lr direction.

        State begins with the first gradient: step 0 (an int), m and v zero. A step without a gradient is not counted.
        """
        for group in self.param_groups:
            for w in group["params"]:
                if w.grad is None:
                    continue
                state = self.state[w]
                if not state:
                    state.update(step=0, m=torch.zeros_like(w), v=torch.zeros_like(w))
                state["step"] += 1
                m, v, (beta1, beta2) = state["m"], state["v"], group["betas"]
                update_moments(m, v, w.grad, beta1, beta2)
                decay(w, group["lr"], group["weight_decay"])
                step = direction(m, v, state["step"], beta1, beta2, group["eps"])
                w.sub_(step, alpha=group["lr"])
