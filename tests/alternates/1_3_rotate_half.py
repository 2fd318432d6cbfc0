"""Lesson 1.3 solved as many libraries write it: tables twice as wide, x cos plus the other half times sin."""

from __future__ import annotations

import torch

BASE = 10_000.0


def inv_freq(head_dim, base=BASE, device=None):
    if head_dim % 2 == 1:
        raise ValueError(f"{head_dim} features make no pairs")
    steps = torch.arange(head_dim // 2, dtype=torch.float64, device=device) / (head_dim / 2)
    return (1.0 / torch.pow(torch.tensor(base, dtype=torch.float64, device=device), steps)).to(torch.float32)


def cos_sin(n, head_dim, base=BASE, device=None):
    speeds = inv_freq(head_dim, base, device).double()
    theta = torch.einsum("t,i->ti", torch.arange(n, device=device).double(), speeds)
    return theta.cos().float(), theta.sin().float()


def apply_rotary(x, cos, sin, offset=0):
    rows = torch.arange(offset, offset + x.shape[2], device=cos.device)
    if offset + x.shape[2] > cos.shape[0]:
        raise ValueError("no such position")
    cos, sin = cos[rows].repeat(1, 2), sin[rows].repeat(1, 2)
    half = x.shape[-1] // 2
    other = torch.roll(x, -half, dims=-1)  # the partner of each feature
    sign = torch.ones(x.shape[-1], device=x.device)
    sign[half:] = -1.0
    return (
        (x.float() * cos + other.float() * sign * sin).to(x.dtype)
        if x.dtype != torch.float64
        else (x * cos.double() + other * (sign * sin).double())
    )
