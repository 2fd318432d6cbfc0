"""Lesson 3.1 solved in another style: formulas as on paper, copies written back, a counter that is a tensor."""

from __future__ import annotations

import math

import torch


def update_moments(m, v, g, beta1, beta2):
    new_m = beta1 * m + (1 - beta1) * g
    new_v = beta2 * v + (1 - beta2) * g * g
    m.copy_(new_m)
    v.copy_(new_v)


def direction(m, v, t, beta1, beta2, eps):
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    return m_hat / (torch.sqrt(v_hat) + eps)


def decay(w, lr, weight_decay):
    w -= lr * weight_decay * w


class AdamW(torch.optim.Optimizer):
    def __init__(self, params, lr, betas=(0.8, 0.95), eps=1e-10, weight_decay=0.0):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def step(self):
        for group in self.param_groups:
            lr, keep = group["lr"], group["weight_decay"]
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                if p.grad is not None:
                    old = p.detach().clone()
                    self._remember(p, beta1, beta2)
                    mine = self.state[p]
                    t = mine["step"].item()
                    # the same fraction with both corrections in one number, and eps where it belongs
                    c1, c2 = 1 - beta1**t, math.sqrt(1 - beta2**t)
                    step = (mine["m"] / c1) / (mine["v"].sqrt() / c2 + group["eps"])
                    p.data[...] = old - lr * keep * old - lr * step

    def _remember(self, p, beta1, beta2):
        mine = self.state[p]
        if "m" not in mine:
            mine["step"] = torch.tensor(0)
            mine["m"] = p.detach() * 0
            mine["v"] = p.detach() * 0
        mine["step"] += 1
        update_moments(mine["m"], mine["v"], p.grad.detach(), beta1, beta2)
