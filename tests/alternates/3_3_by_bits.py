"""Lesson 3.3 solved in another style: bits and logarithms, tables instead of branches, loops that stop early."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

SHORT = 512
WORTH_IT = 1.3
BITS = {torch.float32: (23, -126), torch.bfloat16: (7, -126), torch.float16: (10, -14)}


def spacing(x, dtype):
    bits, lowest = BITS[dtype]
    size = math.fabs(x)
    if math.isnan(size) or size > float(torch.finfo(dtype).max):
        raise ValueError(f"{dtype} has no number there: {x}")
    e = lowest
    while 2.0 ** (e + 1) <= size:
        e += 1
    return math.ldexp(1.0, e - bits)


def survives(weight, step, dtype):
    stored = torch.full((), weight, dtype=torch.float64).to(dtype)
    moved = stored.clone()
    moved += torch.full((), step, dtype=torch.float64).to(dtype)
    return not torch.equal(moved, stored)


def flops(dtype, device, n=512, tries=5):
    a = torch.ones(n, n, dtype=dtype, device=device)
    times = []
    for _ in range(tries + 1):
        start = time.perf_counter()
        (a @ a)[0, 0].item()
        times.append(time.perf_counter() - start)
    return 2 * n**3 / min(times)


def choose_dtype(device, speed=flops):
    if device.type == "cpu":
        fine, coarse = speed(torch.float32, device), speed(torch.bfloat16, device)
        times = coarse / fine
        picked = torch.bfloat16 if times > WORTH_IT else torch.float32
        return picked, f"bfloat16 runs {times:.2f} times as fast as float32 here"
    if device.type == "cuda":
        new = torch.cuda.get_device_capability(device)[0] >= 8
        return (torch.bfloat16 if new else torch.float16), f"this GPU is {'new' if new else 'old'} enough"
    return torch.float32, f"on {device.type} we take no risk"


@contextmanager
def attention_kernel(device, dtype, sequence_len):
    if (device.type, dtype) == ("cpu", torch.bfloat16) and sequence_len <= SHORT:
        before = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)
        try:
            with sdpa_kernel(SDPBackend.MATH):
                yield
        finally:
            torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(before)
    else:
        yield


class LossScaler:
    def __init__(self, scale=2.0**15, patience=1000, most=2.0**24):
        self.scale, self.patience, self.most = scale, patience, most
        self.good = 0

    @torch.no_grad()
    def unscale(self, weights):
        overflow = False
        for weight in weights:
            if weight.grad is None:
                continue
            weight.grad *= 1.0 / self.scale
            if weight.grad.isnan().any() or weight.grad.isinf().any():
                overflow = True
        self.update(not overflow)
        return not overflow

    def update(self, fine):
        if not fine:
            self.good = 0
            if self.scale > 1:
                self.scale = max(self.scale * 0.5, 1.0)
            return
        self.good += 1
        if self.good < self.patience:
            return
        self.good = 0
        if self.scale < self.most:
            self.scale = min(self.scale + self.scale, self.most)
