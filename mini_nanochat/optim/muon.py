"""Lesson 3.2: Muon. A step for a whole matrix, in which no direction is louder than another.

The gradient of a matrix is often nearly of low rank: a few directions are loud, the rest hardly moves. Muon makes all
singular values of the step about 1 and keeps the directions. No singular value decomposition is needed: five steps of
a polynomial in X X^T (Newton-Schulz) push every singular value towards 1.

    G     gradient of a matrix, (n_out, n_in);   G = U S V^T  becomes about  U V^T
    m     running mean of gradients;  mu   how much of it is kept;  lr   the rate

Embedding and head get AdamW. The embedding is a list of rows: an id that does not occur in a batch has no gradient in
it. The head does turn vectors, and each of its rows has a gradient: that AdamW suits it better was found by experiment.
Papers: muon-2024 (the method), moonlight-2025 (at scale).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mini_nanochat.optim.adamw import AdamW, decay

# Jordan's: steep at 0, and then between about 0.7 and 1.2 rather than exactly 1.
A, B, C = 3.4445, -4.7750, 2.0315
STEPS = 5
EPS = 1e-7  # keeps a gradient of zeros from a division by zero


def newton_schulz(g: Tensor, steps: int = STEPS) -> Tensor:
    """A matrix, or a stack of them, (..., n, m), with all singular values near 1 and the directions of g; dtype of g.

    X = g / (|g| + EPS), with |g| the root of the sum of squares, so that no singular value is above 1. Then, `steps`
    times, X <- A X + (B P + C P^2) X with P = X X^T: each singular value s becomes A s + B s^3 + C s^5. A tall
    matrix (n > m) is transposed first and back afterwards, so that P is the smaller of the two squares.
    """
    x: Tensor = g / (g.norm(dim=(-2, -1), keepdim=True) + EPS)
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT.contiguous()
    for _ in range(steps):
        p = x @ x.mT  # (..., n, n)
        x = A * x + (B * p + C * p @ p) @ x
    return x.mT if tall else x


def nesterov(m: Tensor, g: Tensor, mu: float) -> Tensor:
    """m <- mu m + (1 - mu) g, in place; returns mu m + (1 - mu) g with the new m. g stays as it is.

    What is returned looks one gradient further ahead than m itself.
    """
    m.lerp_(g, 1 - mu)
    return g.lerp(m, mu)


def shape_scale(n_out: int, n_in: int) -> float:
    """sqrt(max(1, n_out / n_in)): a tall matrix steps further, for its outputs to change as much."""
    return math.sqrt(max(1.0, n_out / n_in))


class Muon(torch.optim.Optimizer):
    """Muon over groups of matrices, as torch.optim.Muon. State of each matrix: `m`.

    Newton-Schulz is computed in `dtype`. A matrix without a gradient is passed over and keeps its state.
    Raises ValueError for a weight that is no matrix.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.dtype = dtype
        for group in self.param_groups:
            for w in group["params"]:
                if w.ndim != 2:
                    raise ValueError(
                        f"Muon steps matrices, got a weight of shape {tuple(w.shape)}: give it to AdamW"
                    )

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """One step for each matrix that has a gradient: momentum, decay, then

        w <- w - lr sqrt(max(1, n_out / n_in)) newton_schulz(momentum's answer).
        Newton-Schulz runs in `self.dtype`, and only its result is cast to the dtype of w. Matrices of one shape go
        through it as a stack.
        """
        for group in self.param_groups:
            shapes: dict[tuple[int, ...], list[Tensor]] = {}
            for w in group["params"]:
                if w.grad is not None:
                    shapes.setdefault(tuple(w.shape), []).append(w)
            for (n_out, n_in), ws in shapes.items():
                stack = torch.stack([self._momentum(w, group["momentum"]) for w in ws])  # (n, n_out, n_in)
                size = group["lr"] * shape_scale(n_out, n_in)
                for w, update in zip(ws, newton_schulz(stack)):
                    decay(w, group["lr"], group["weight_decay"])
                    w.sub_(update.to(w.dtype), alpha=size)

    def _momentum(self, w: Tensor, mu: float) -> Tensor:
        assert w.grad is not None
        state = self.state[w]
        if not state:
            state["m"] = torch.zeros_like(w)
        return nesterov(state["m"], w.grad, mu).to(self.dtype)


class Roles(NamedTuple):
    """The weights of a model by the rule that steps them."""

    matrices: list[nn.Parameter]  # Muon
    embedding: list[nn.Parameter]  # AdamW
    head: list[nn.Parameter]  # AdamW, with a smaller rate


def roles(model: nn.Module) -> Roles:
    """Which rule steps which weight, by name: blocks.*, wte.*, lm_head.*; in the order of the model.

    Raises ValueError for any other name, and for a weight of a block that is no matrix: one that no rule steps would
    never learn, and nobody would notice.
    """
    found = Roles([], [], [])
    for name, weight in model.named_parameters():
        place = name.split(".")[0]
        if place == "blocks" and weight.ndim == 2:
            found.matrices.append(weight)
        elif place == "wte":
            found.embedding.append(weight)
        elif place == "lm_head":
            found.head.append(weight)
        else:
            raise ValueError(f"no rule steps the weight {name} of shape {tuple(weight.shape)}")
    return found


def optimizers(
    model: nn.Module,
    n_embd: int,
    matrix_lr: float = 0.02,
    embedding_lr: float = 0.2,
    head_lr: float = 0.004,
    weight_decay: float = 0.0,
    dtype: torch.dtype = torch.float32,
) -> list[torch.optim.Optimizer]:
    """AdamW for embedding and head, and Muon for the matrices (with `weight_decay`), in that order.

    AdamW's rates are for 768 features, and are multiplied by (n_embd / 768)^-0.5 (nanochat's rule). Muon's rate needs
    none: its steps have the same size in every width.
    """
    which = roles(model)
    width = (n_embd / 768) ** -0.5
    groups = [
        {"params": which.embedding, "lr": embedding_lr * width},
        {"params": which.head, "lr": head_lr * width},
    ]
    return [
        AdamW(groups, lr=head_lr * width),
        Muon(which.matrices, lr=matrix_lr, weight_decay=weight_decay, dtype=dtype),
    ]
