"""The fused last step: it must say what the plain one says, gradients included, and never hold all logits."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from mini_nanochat.model.head import IGNORE, ROWS, head_loss, plain_loss

C, V, CAP = 24, 70, 15.0
# Sums over 70 ids and 24 features of float32, in another order: a few units of the seventh digit.
CLOSE = 2e-6


def inputs(n: int, seed: int = 0, dtype: torch.dtype = torch.float32, ignored: float = 0.3):
    """x (n, C), weight (V, C), targets (n,) of which some are ignored; x and weight want gradients."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, C, generator=generator).to(dtype).requires_grad_()
    weight = torch.randn(V, C, generator=generator).requires_grad_()
    targets = torch.randint(0, V, (n,), generator=generator)
    targets[torch.rand(n, generator=generator) < ignored] = IGNORE
    targets[0] = 3  # at least one that counts
    return x, weight, targets


def value_and_gradients(loss, x, weight, targets, cap=CAP):
    x, weight = (one.detach().clone().requires_grad_() for one in (x, weight))
    value = loss(x, weight, targets, cap)
    value.backward()
    return value.detach(), x.grad, weight.grad


def largest(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.double() - b.double()).abs().max())


@pytest.mark.parametrize("n", [1, 2, ROWS - 1, ROWS, ROWS + 1, 2 * ROWS, 3 * ROWS + 17])
def test_values_and_gradients_are_those_of_the_plain_version(n):
    given = inputs(n, seed=n)
    for got, wanted in zip(value_and_gradients(head_loss, *given), value_and_gradients(plain_loss, *given)):
        assert got.shape == wanted.shape and got.dtype == wanted.dtype
        assert largest(got, wanted) < CLOSE


@pytest.mark.parametrize("cap", [1.0, 15.0, 30.0])
def test_each_cap_bends_values_and_gradients(cap):
    given = inputs(50)
    for got, wanted in zip(
        value_and_gradients(head_loss, *given, cap), value_and_gradients(plain_loss, *given, cap)
    ):
        assert largest(got, wanted) < CLOSE


def test_logits_at_the_cap_do_not_overflow():
    x, weight, targets = inputs(40)
    x, weight = x.detach() * 100, weight.detach() * 100
    got, dx, dw = value_and_gradients(head_loss, x, weight, targets)
    wanted, *_ = value_and_gradients(plain_loss, x, weight, targets)
    assert largest(got, wanted) < 1e-5, "losses near 30"
    assert bool(dx.isfinite().all()) and bool(dw.isfinite().all())


def test_gradients_are_the_slopes_of_the_value():
    x, weight, targets = (one.double() if one.is_floating_point() else one for one in inputs(5))
    loss = lambda x, w: head_loss(x, w, targets, CAP)  # noqa: E731
    # The value is summed in float32 (1e-7 of 5), so steps of 1e-2 leave slopes sure to 1e-5 and curves of 1e-4.
    step, at = 1e-2, x.detach().clone()
    slope = torch.autograd.grad(loss(x, weight), x)[0]
    for row, column in ((0, 0), (2, 7), (4, C - 1)):
        up, down = at.clone(), at.clone()
        up[row, column] += step
        down[row, column] -= step
        measured = float(loss(up, weight.detach()) - loss(down, weight.detach())) / (2 * step)
        assert abs(measured - float(slope[row, column])) < 3e-4


def test_the_gradient_that_comes_from_above_is_passed_on():
    x, weight, targets = inputs(30)
    (3 * head_loss(x, weight, targets, CAP)).backward()
    _, dx, dw = value_and_gradients(plain_loss, x, weight, targets)
    assert largest(x.grad, 3 * dx) < 3 * CLOSE and largest(weight.grad, 3 * dw) < 3 * CLOSE


def test_ignored_rows_get_no_gradient_and_do_not_count():
    x, weight, targets = inputs(300, ignored=0.5)
    got, dx, _ = value_and_gradients(head_loss, x, weight, targets)
    assert not dx[targets == IGNORE].any()
    counts = targets != IGNORE
    alone = plain_loss(x[counts], weight, targets[counts], CAP)
    assert largest(got, alone.detach()) < CLOSE


def test_without_a_target_the_value_is_nan_as_in_torch():
    x, weight, _ = inputs(10)
    nothing = torch.full((10,), IGNORE)
    assert head_loss(x, weight, nothing, CAP).isnan()
    assert F.cross_entropy(torch.zeros(10, V), nothing, ignore_index=IGNORE).isnan()


def test_bfloat16_features_give_nearly_the_same():
    x, weight, targets = inputs(200, dtype=torch.bfloat16)
    got, dx, dw = value_and_gradients(head_loss, x, weight, targets)
    wanted, dx_wanted, dw_wanted = value_and_gradients(plain_loss, x.detach().float(), weight, targets)
    assert (got.dtype, dx.dtype, dw.dtype) == (torch.float32, torch.bfloat16, torch.float32)
    # bfloat16 keeps 8 bits: each logit, of size 5 here, is off by up to 1/64, and the mean over 140 rows by less.
    assert largest(got, wanted) < 1 / 64
    # Gradients go through bfloat16 as well: products of shares and weights, each off by 2^-8 of its size, and
    # shares off by 1/64 of theirs.
    assert largest(dx, dx_wanted) < 2**-5 * float(dx_wanted.abs().max())
    assert largest(dw, dw_wanted) < 2**-5 * float(dw_wanted.abs().max())


def test_without_gradients_the_value_is_the_same():
    x, weight, targets = inputs(2 * ROWS + 5)
    wanted = head_loss(x, weight, targets, CAP)
    with torch.no_grad():
        got = head_loss(x, weight, targets, CAP)
    assert not got.requires_grad and largest(got, wanted.detach()) == 0
    assert largest(head_loss(x.detach(), weight.detach(), targets, CAP), wanted.detach()) == 0


def test_only_one_of_the_two_may_want_a_gradient():
    x, weight, targets = inputs(20)
    head_loss(x.detach(), weight, targets, CAP).backward()
    head_loss(x, weight.detach(), targets, CAP).backward()
    _, dx, dw = value_and_gradients(plain_loss, x, weight, targets)
    assert largest(x.grad, dx) < CLOSE and largest(weight.grad, dw) < CLOSE


class Sizes(TorchDispatchMode):
    """Remembers the largest tensor that any operation has made."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for one in made if isinstance(made, tuple | list) else (made,):
            if isinstance(one, torch.Tensor):
                self.largest = max(self.largest, one.numel())
        return made


def test_no_tensor_of_all_logits_is_ever_made():
    n = 8 * ROWS
    x, weight, targets = inputs(n)
    limit = max(ROWS * V, n * C, V * C)  # a chunk of logits, the gradient of x, that of the weight
    for loss, fits in ((head_loss, True), (plain_loss, False)):
        with Sizes() as sizes:
            loss(x, weight, targets, CAP).backward()
        assert (sizes.largest <= limit) == fits, f"{loss.__name__}: {sizes.largest} numbers, {n * V} logits"
