"""What lesson 3.3 gives besides the exercises: the way of attention that is chosen, and the probe of speed."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from mini_nanochat.optim import precision

CPU = torch.device("cpu")


def plain() -> tuple[bool, bool]:
    """Whether only plain products may be taken now, and whether they may stay in 16 bits."""
    only = torch.backends.cuda.math_sdp_enabled() and not torch.backends.cuda.flash_sdp_enabled()
    return only, torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()


def heads(dtype, requires_grad=False):
    generator = torch.Generator().manual_seed(1)
    made = (torch.randn(2, 2, 40, 16, generator=generator).to(dtype) for _ in range(3))
    return [one.requires_grad_(requires_grad) for one in made]


@pytest.mark.parametrize("sequence_len", [1, 64, precision.SHORT])
def test_bfloat16_on_a_cpu_goes_by_plain_products_while_it_lasts(sequence_len):
    before = plain()
    with precision.attention_kernel(CPU, torch.bfloat16, sequence_len):
        assert plain() == (True, True)
    assert plain() == before


@pytest.mark.parametrize(
    ("device", "dtype", "sequence_len"),
    [
        (CPU, torch.float32, 64),
        (CPU, torch.float16, 64),
        (CPU, torch.bfloat16, precision.SHORT + 1),
        (torch.device("cuda"), torch.bfloat16, 64),
        (torch.device("mps"), torch.bfloat16, 64),
    ],
)
def test_elsewhere_nothing_happens(device, dtype, sequence_len):
    before = plain()
    with precision.attention_kernel(device, dtype, sequence_len):
        assert plain() == before
    assert plain() == before


@pytest.mark.parametrize("allowed", [False, True])
def test_the_switch_is_put_back_as_it_was_also_after_an_error(allowed):
    begun = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(allowed)
    try:
        before = plain()
        with (
            pytest.raises(KeyError, match="inside"),
            precision.attention_kernel(CPU, torch.bfloat16, 64),
        ):
            raise KeyError("inside")
        assert plain() == before
        assert before[1] is allowed
    finally:
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(begun)


def test_both_ways_attend_alike():
    found = []
    for dtype in (torch.bfloat16, torch.float32):
        q, k, v = heads(dtype, requires_grad=True)
        with precision.attention_kernel(CPU, dtype, 40):
            out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            out.float().square().sum().backward()
        assert out.dtype == q.grad.dtype == dtype
        found.append([one.detach().float() for one in (out, q.grad, k.grad, v.grad)])
    for coarse, fine in zip(*found):
        # bfloat16 has eight bits: each number is within 1/256 of its size, and a few roundings add up
        assert (coarse - fine).abs().max() < 0.03 * fine.abs().max()


def test_speed_is_a_positive_number_in_each_dtype():
    for dtype in (torch.float32, torch.bfloat16):
        assert precision.flops(dtype, CPU, n=16, tries=1) > 0


def test_a_slow_product_is_not_tried_again_and_again(monkeypatch):
    clock = iter(range(100))  # each look at it is a second later
    monkeypatch.setattr(precision.time, "perf_counter", lambda: float(next(clock)))
    assert precision.flops(torch.float32, CPU, n=16, tries=9) == 2 * 16**3
    assert next(clock) == 4, "one to warm up and one more, two looks each"


def test_the_probe_chooses_something_here():
    dtype, why = precision.choose_dtype(CPU, lambda dtype, device: precision.flops(dtype, device, 16, 1))
    assert dtype in (torch.float32, torch.bfloat16)
    assert why.startswith(str(dtype).removeprefix("torch."))
