"""Lesson 3.3: precision. Which numbers may be coarse, and which must not.

Products of matrices are most of the work, and they bear coarse numbers: bfloat16 has the range of float32 and two to
three digits. Weights must be fine, because a step is a thousandth of a weight and would be rounded away. float16
has one digit more and little range: small gradients become zero, so the loss is multiplied by a large number first.

    scale    what the loss is multiplied by, and the gradients are divided by

Paper: micikevicius-2017 (master weights, loss scaling).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

SHORT = 512  # positions up to which a CPU attends faster by plain products, in bfloat16
WORTH_IT = 1.3  # a coarse number must be this many times as fast, or it is not worth its roundings
LONG = 0.05  # seconds: a product that takes so long needs no more tries
Speed = Callable[[torch.dtype, torch.device], float]


def spacing(x: float, dtype: torch.dtype) -> float:
    """The distance from |x| to the next larger number of `dtype` (float32, bfloat16 or float16).

    With p bits after the first one it is 2^(e - p) for 2^e <= |x| < 2^(e+1). Below the smallest normal number it is
    what it is at that number. Raises ValueError for an x beyond the largest number, or one that is not finite.
    """
    info = torch.finfo(dtype)
    if not abs(x) <= info.max:
        raise ValueError(f"{x} is beyond the largest number of {dtype}, {info.max:g}")
    exponent = math.frexp(max(abs(x), info.tiny))[1] - 1  # 2^exponent <= |x| < 2^(exponent + 1)
    return 2.0**exponent * info.eps


def survives(weight: float, step: float, dtype: torch.dtype) -> bool:
    """Whether a weight of `dtype` changes when the step is added to it, or is rounded back to what it was."""
    before = torch.tensor(weight, dtype=dtype)
    return bool(before + torch.tensor(step, dtype=dtype) != before)


def flops(dtype: torch.dtype, device: torch.device, n: int = 512, tries: int = 5) -> float:
    """Operations a second in a product of two (n, n) matrices, measured here: the best of some tries."""
    a = torch.ones(n, n, dtype=dtype, device=device)
    best = math.inf
    for number in range(tries + 1):  # the first one warms up
        start = time.perf_counter()
        (a @ a)[0, 0].item()  # waits for the device
        best = min(best, time.perf_counter() - start)
        if number and best > LONG:
            break
    return 2 * n**3 / best


def choose_dtype(device: torch.device, speed: Speed = flops) -> tuple[torch.dtype, str]:
    """The dtype of activations on this device, and a sentence that says why.

    A GPU: bfloat16 if it has it in hardware, else float16 (which needs a LossScaler). A CPU: bfloat16 if its products
    are more than WORTH_IT times as fast as those of float32, by `speed(dtype, device)`, else float32. Any other
    device: float32.
    """
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return torch.bfloat16, "bfloat16: this GPU has it"
        return torch.float16, "float16 with loss scaling: this GPU has no bfloat16"
    if device.type != "cpu":
        return torch.float32, f"float32: nothing else was tried on {device.type}"
    ratio = speed(torch.bfloat16, device) / speed(torch.float32, device)
    if ratio > WORTH_IT:
        return (
            torch.bfloat16,
            f"bfloat16: this CPU multiplies matrices of it {ratio:.1f} times as fast as float32",
        )
    return torch.float32, f"float32: bfloat16 is only {ratio:.2g} times as fast on this CPU"


@contextmanager
def attention_kernel(device: torch.device, dtype: torch.dtype, sequence_len: int) -> Iterator[None]:
    """Within it, torch's attention takes the way that is fastest here; what it computes stays the same.

    On a CPU its fused kernel gains nothing from bfloat16. For up to SHORT positions plain products of matrices, which
    hold the (T, T) weights, are faster there (tools/bench/attention.py). Elsewhere torch chooses.
    """
    if device.type != "cpu" or dtype != torch.bfloat16 or sequence_len > SHORT:
        yield
        return
    before = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()  # type: ignore[no-untyped-call]
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)  # holds on a CPU too, in spite of its name
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(before)


class LossScaler:
    """Chooses a scale for float16: as large as gradients bear. Lesson 2.2's `train_step` takes one.

    The scale begins at `scale`. When a gradient overflows, it becomes max(scale / 2, 1); after `patience` steps in a
    row in which none did, min(2 scale, most).
    """

    def __init__(self, scale: float = 2.0**15, patience: int = 1000, most: float = 2.0**24) -> None:
        self.scale, self.patience, self.most = scale, patience, most
        self.good = 0  # steps without overflow since the scale last changed

    def unscale(self, weights: Iterable[Tensor]) -> bool:
        """Divides all gradients by `scale`, in place, then adapts the scale. False if a gradient is not finite.

        To be called once a step, before anything looks at the gradients. Weights without a gradient are passed over.
        """
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        for gradient in gradients:
            gradient.div_(self.scale)
        fine = all(bool(gradient.isfinite().all()) for gradient in gradients)
        self.update(fine)
        return fine

    def update(self, fine: bool) -> None:
        """Adapts the scale after a step: was every gradient finite?"""
        self.good = self.good + 1 if fine else 0
        if not fine:
            self.scale = max(1.0, self.scale / 2)
        elif self.good == self.patience:
            self.scale, self.good = min(self.most, self.scale * 2), 0
