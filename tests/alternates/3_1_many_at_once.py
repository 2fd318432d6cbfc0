"""Lesson 3.1 solved in another style: all weights of a group at once, with torch's functions over lists."""

from __future__ import annotations

import torch


def update_moments(m, v, g, beta1, beta2):
    torch._foreach_mul_([m], beta1)
    torch._foreach_add_([m], [g], alpha=1 - beta1)
    v.mul_(beta2).addcmul_(g, g, value=1 - beta2)


def direction(m, v, t, beta1, beta2, eps):
    out = m.clone()
    out /= 1.0 - beta1**t
    root = v.clone()
    root /= 1.0 - beta2**t
    root.pow_(0.5)
    root += eps
    return out / root


def decay(w, lr, weight_decay):
    w.data.sub_(w.data, alpha=lr * weight_decay)


class AdamW(torch.optim.Optimizer):
    def __init__(self, params, lr, betas=(0.8, 0.95), eps=1e-10, weight_decay=0.0):
        defaults = {"weight_decay": weight_decay, "eps": eps, "betas": betas, "lr": lr}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self):
        for settings in self.param_groups:
            ws = [w for w in settings["params"] if w.grad is not None]
            if not ws:
                continue
            states = [self.state[w] for w in ws]
            for w, state in zip(ws, states):
                state.setdefault("v", torch.zeros_like(w, memory_format=torch.preserve_format))
                state.setdefault("m", torch.zeros_like(w, memory_format=torch.preserve_format))
                state["step"] = state.get("step", 0) + 1
            gs = [w.grad for w in ws]
            ms, vs = [state["m"] for state in states], [state["v"] for state in states]
            beta1, beta2 = settings["betas"]
            torch._foreach_mul_(ws, 1 - settings["lr"] * settings["weight_decay"])
            torch._foreach_lerp_(ms, gs, 1 - beta1)
            torch._foreach_mul_(vs, beta2)
            torch._foreach_addcmul_(vs, gs, gs, 1 - beta2)
            for w, state in zip(ws, states):
                w -= settings["lr"] * direction(
                    state["m"], state["v"], state["step"], beta1, beta2, settings["eps"]
                )
