"""Lesson 1.3 solved in another style: math.pow in a loop, polar numbers, and a product of complex numbers."""

from __future__ import annotations

import math

import torch

BASE = 10_000.0


def inv_freq(head_dim, base=BASE, device=None):
    pairs, left_over = divmod(head_dim, 2)
    if left_over:
        raise ValueError("features turn in pairs")
    speeds = [math.exp(-math.log(base) * 2 * pair / head_dim) for pair in range(pairs)]
    return torch.tensor(speeds, dtype=torch.float32, device=device)


def cos_sin(n, head_dim, base=BASE, device=None):
    places = torch.arange(0, n, dtype=torch.float32, device=device).unsqueeze(1)
    angles = places * inv_freq(head_dim, base, device).unsqueeze(0)
    return torch.cos(angles), torch.sin(angles)


def apply_rotary(x, cos, sin, offset=0):
    end = offset + x.size(2)
    if cos.size(0) < end:
        raise ValueError("the tables are too short")
    half = x.size(3) // 2
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    points = torch.complex(x[..., :half].to(wide), x[..., half:].to(wide))
    back = torch.complex(cos[offset:end].to(wide), -sin[offset:end].to(wide))
    points = points * back
    return torch.cat((points.real, points.imag), dim=3).to(x.dtype)
