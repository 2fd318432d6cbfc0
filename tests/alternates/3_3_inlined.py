"""Lesson 3.3 solved in another style: neighbours counted out by bits, everything about the scale in one place."""

from __future__ import annotations

import math

import torch

SHORT = 512
WORTH_IT = 1.3


def spacing(x, dtype):
    info = torch.finfo(dtype)
    if not math.isfinite(x) or x > info.max or x < info.min:
        raise ValueError(f"no spacing at {x}")
    below = max(abs(x), info.smallest_normal)
    return info.eps * math.pow(2, math.floor(math.log2(below)))


def survives(weight, step, dtype):
    with torch.no_grad():
        w = torch.tensor([weight]).to(dtype)
        old = w.item()
        w.add_(torch.tensor([step]).to(dtype))
        return w.item() != old


def flops(dtype, device, n=512, tries=5):
    raise NotImplementedError("not measured in this solution")


def choose_dtype(device, speed=flops):
    kind = device.type
    if kind == "cuda" and torch.cuda.is_bf16_supported(False):
        return torch.bfloat16, "the GPU has bfloat16 units"
    if kind == "cuda":
        return torch.float16, "no bfloat16 units in here: float16"
    if kind == "cpu" and speed(torch.bfloat16, device) > WORTH_IT * speed(torch.float32, device):
        return torch.bfloat16, "measured: bfloat16 is fast"
    return torch.float32, "measured: bfloat16 is slow" if kind == "cpu" else f"unknown device {kind}"


class LossScaler:
    def __init__(self, scale=2.0**15, patience=1000, most=2.0**24):
        self.scale, self.patience, self.most = scale, patience, most
        self.good = 0

    def _after(self, fine):
        if fine:
            self.good = (self.good + 1) % self.patience
            factor = 1.0 if self.good else 2.0
        else:
            self.good, factor = 0, 0.5
        self.scale = min(max(self.scale * factor, 1.0), self.most)

    def unscale(self, weights):
        fine = True
        with torch.no_grad():
            for weight in weights:
                gradient = weight.grad
                if gradient is not None:
                    fine = bool(torch.isfinite(gradient).all()) and fine
                    gradient.copy_(gradient / self.scale)
        self._after(fine)
        return fine

    def update(self, fine):
        self._after(fine)
