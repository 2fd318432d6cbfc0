"""Lesson 1.3: rotary position embeddings (RoPE). A position is an angle, and only differences can be seen.

Attention compares a query with a key by a scalar product, and a scalar product does not know who stands
where. So before the comparison each vector is turned: its features are taken two at a time, as a point in a
plane, and the point at position t is turned by t times a frequency. Turn both, and their product depends on
the difference of their positions alone.

    D      features of a head, even;  pair i is made of features i and i + D/2
    theta  angles, (T, D/2): position times frequency, in radians
    cos, sin  of theta, (T, D/2)

Paper: roformer-2021 (section 3.2). The layout (halves) and the sign (by -theta) are nanochat's.
"""

from __future__ import annotations

import torch
from torch import Tensor

BASE = 10_000.0


def inv_freq(head_dim: int, base: float = BASE, device: torch.device | str | None = None) -> Tensor:
    """How far each pair is turned from one position to the next, in radians: (D/2,), float32.

    base^(-2 i / D) for pair i = 0 .. D/2 - 1: the first pair turns by 1, later ones ever more slowly.
    Raises ValueError for an odd head_dim.
    """
    if head_dim % 2:
        raise ValueError(f"head_dim must be even, because features turn in pairs, got {head_dim}")
    return base ** (-torch.arange(0, head_dim, 2, device=device).float() / head_dim)


def cos_sin(
    n: int, head_dim: int, base: float = BASE, device: torch.device | str | None = None
) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the angles of positions 0 .. n-1: (n, D/2) each, float32."""
    theta = torch.outer(torch.arange(n, device=device).float(), inv_freq(head_dim, base, device))  # (n, D/2)
    return theta.cos(), theta.sin()


def apply_rotary(x: Tensor, cos: Tensor, sin: Tensor, offset: int = 0) -> Tensor:
    """`x` with each pair of features turned by -theta of its position: (B, H, T, D), same dtype.

    x[..., t, :] stands at position offset + t of the tables. With a and b the first and the second half of
    the features, they become a cos + b sin and b cos - a sin. Lengths stay as they are.
    Raises ValueError if the tables have fewer than offset + T rows.
    """
    t = x.shape[-2]
    if offset + t > len(cos):
        raise ValueError(
            f"positions {offset}..{offset + t - 1} were asked for, and the tables hold {len(cos)}"
        )
    cos, sin = (table[offset : offset + t].to(x.dtype) for table in (cos, sin))  # (T, D/2)
    a, b = x.chunk(2, dim=-1)  # (B, H, T, D/2) each
    return torch.cat([a * cos + b * sin, b * cos - a * sin], dim=-1)
