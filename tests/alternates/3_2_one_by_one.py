"""Lesson 3.2 solved in another style: one matrix after the other, no stacks, plain arithmetic, dicts of names."""

from __future__ import annotations

from typing import NamedTuple

import torch

from mini_nanochat.optim import adamw

EPS = 1e-7


def newton_schulz(g, steps=5):
    if g.ndim > 2:
        return torch.stack([newton_schulz(one, steps) for one in g.unbind(0)])
    rows, columns = g.shape
    if rows > columns:
        return newton_schulz(g.T, steps).T
    length = torch.linalg.vector_norm(g)
    x = g.clone() if length == 0 else g / (length + EPS)
    done = 0
    while done < steps:
        square = torch.mm(x, x.T)
        third = torch.mm(square, x)
        fifth = torch.mm(square, third)
        x = torch.add(3.4445 * x, third, alpha=-4.7750) + 2.0315 * fifth
        done += 1
    return x


def nesterov(m, g, mu):
    m.copy_(mu * m + (1 - mu) * g)
    return mu * m + (1 - mu) * g


def shape_scale(n_out, n_in):
    return 1.0 if n_out <= n_in else (n_out / n_in) ** 0.5


class Muon(torch.optim.Optimizer):
    def __init__(self, params, lr, momentum=0.95, weight_decay=0.0, dtype=torch.float32):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.dtype = dtype
        if any(w.ndim != 2 for group in self.param_groups for w in group["params"]):
            raise ValueError("only matrices, please")

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            rate = group["lr"]
            for w in group["params"]:
                if w.grad is None:
                    continue
                mine = self.state[w]
                if "m" not in mine:
                    mine["m"] = torch.zeros(w.shape)
                seen = nesterov(mine["m"], w.grad, group["momentum"])
                turned = newton_schulz(seen.to(self.dtype)).float()
                kept = (1 - rate * group["weight_decay"]) * w
                w.copy_(kept - rate * shape_scale(*w.shape) * turned)


class Roles(NamedTuple):
    matrices: list
    embedding: list
    head: list


def roles(model):
    lists = {"blocks": [], "wte": [], "lm_head": []}
    for name, weight in model.named_parameters():
        first, _, _ = name.partition(".")
        if first not in lists or (first == "blocks" and len(weight.shape) != 2):
            raise ValueError(f"who steps {name}?")
        lists[first].append(weight)
    return Roles(lists["blocks"], lists["wte"], lists["lm_head"])


def optimizers(
    model,
    n_embd,
    matrix_lr=0.02,
    embedding_lr=0.2,
    head_lr=0.004,
    weight_decay=0.0,
    dtype=torch.float32,
):
    parts = roles(model)
    factor = (768 / n_embd) ** 0.5
    slow = adamw.AdamW([{"params": parts.head, "lr": factor * head_lr}], lr=1.0)
    slow.add_param_group({"params": parts.embedding, "lr": factor * embedding_lr})
    fast = Muon(parts.matrices, matrix_lr, weight_decay=weight_decay, dtype=dtype)
    return [slow, fast]
