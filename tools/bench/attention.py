"""Attention on a CPU: torch's fused kernel, or plain products of matrices? Where SHORT of lesson 3.3 comes from.

    python tools/bench/attention.py

Forward and backward, one thread, 2,048 positions in rows of T, 2 heads of 64 features. Both ways take turns, so that a
busy machine slows both alike. Printed is how many times as fast the plain products are: above 1 they win. The
plain products are the way that `attention_kernel` switches on, but here for every length and dtype.
"""

from __future__ import annotations

import statistics
import time
from contextlib import nullcontext

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from mini_nanochat.model.attention import attend_fast
from mini_nanochat.optim.precision import SHORT

POSITIONS, HEADS, FEATURES, TURNS = 2048, 2, 64, 12
LENGTHS = (64, 256, 512, 1024, 2048)


def seconds(shape: tuple[int, ...], dtype: torch.dtype, plain: bool) -> float:
    """One forward and backward pass."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(shape, generator=generator).to(dtype).requires_grad_() for _ in range(3))
    with sdpa_kernel(SDPBackend.MATH) if plain else nullcontext():
        start = time.perf_counter()
        attend_fast(q, k, v).sum().backward()  # type: ignore[no-untyped-call]
        return time.perf_counter() - start


def ratio(length: int, dtype: torch.dtype) -> float:
    """How many times as fast plain products are, with rows of this length: the median of neighbours in time."""
    shape = (POSITIONS // length, HEADS, length, FEATURES)
    found = []
    for turn in range(TURNS + 2):
        fused, plain = seconds(shape, dtype, False), seconds(shape, dtype, True)
        if turn > 1:  # the first two warm up
            found.append(fused / plain)
    return statistics.median(found)


def main() -> None:
    torch.set_num_threads(1)
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)  # as `attention_kernel` does
    print(f"plain products against the fused kernel, x as fast (SHORT is {SHORT})")
    print("T         " + "".join(f"{length:8}" for length in LENGTHS))
    for dtype in (torch.bfloat16, torch.float32):
        row = [ratio(length, dtype) for length in LENGTHS]
        print(f"{str(dtype).removeprefix('torch.'):10}" + "".join(f"{one:8.2f}" for one in row))


if __name__ == "__main__":
    main()
