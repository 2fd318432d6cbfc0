"""Lesson 1.1: the small parts that a transformer is made of. Each is a line or two of arithmetic.

A model is a stack of matrices. What stands between them keeps numbers in a range in which training works:
RMSNorm gives every position the same size, squared ReLU bends, softcap keeps logits within bounds, and the
initial sizes of the matrices decide whether a signal survives many layers.

    x       activations, (..., n): any leading shape, n features at each position
    weight  (n_out, n_in) of a linear layer, (n_ids, n) of an embedding
    Weights are kept in float32; the arithmetic is done in the dtype of x.

Papers: rmsnorm-2019 (RMSNorm), primer-2021 (squared ReLU), gemma2-2024 (softcap).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPS = 1e-6  # keeps a position of zeros from a division by zero


def rms_norm(x: Tensor, eps: float = EPS) -> Tensor:
    """`x` divided by its root mean square over the last axis: (..., n) -> (..., n), same dtype.

    y = x / sqrt(mean(x^2) + eps), computed in float32 whatever the dtype of x. No mean is subtracted, and
    there is nothing to learn (Zhang and Sennrich 2019, without their gain).
    """
    wide = x.float()
    return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)).to(x.dtype)


def relu_squared(x: Tensor) -> Tensor:
    """max(x, 0)^2 of each element, same shape and dtype (So et al. 2021)."""
    return F.relu(x).square()


def softcap(logits: Tensor, cap: float = 15.0) -> Tensor:
    """cap * tanh(logits / cap), in float32: small logits stay as they are, none goes beyond +-cap.

    The cast comes first: a bfloat16 near 15 has steps of 1/16 (Gemma 2 report, section 2).
    Raises ValueError for a cap that is not positive.
    """
    if cap <= 0:
        raise ValueError(f"cap must be positive, got {cap}")
    return cap * torch.tanh(logits.float() / cap)


def matrix_std(n_in: int, n_out: int) -> float:
    """The standard deviation that the entries of a matrix begin with: min(1, sqrt(n_out / n_in)) / sqrt(n_in).

    Each output is a sum over n_in inputs, so dividing by sqrt(n_in) keeps its size that of the inputs. A
    matrix that makes fewer features than it takes begins smaller (as in nanochat's init_weights of 2025).
    """
    return min(1.0, math.sqrt(n_out / n_in)) / math.sqrt(n_in)


class Linear(nn.Module):
    """x @ weight.T without a bias: (..., n_in) -> (..., n_out), in the dtype of x.

    The weight stays in float32, where small steps of the optimizer are not lost, and is cast for use.
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_out, n_in))

    def init(self, generator: torch.Generator | None = None, zero: bool = False) -> None:
        """Sets every entry: normal with mean 0 and `matrix_std`, or zero."""
        n_out, n_in = self.weight.shape
        std = 0.0 if zero else matrix_std(n_in, n_out)
        with torch.no_grad():
            self.weight.normal_(0.0, std, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """x @ weight.T: (..., n_in) -> (..., n_out), computed in the dtype of x. The weight itself stays float32."""
        return F.linear(x, self.weight.to(x.dtype))


class Embedding(nn.Module):
    """Row `id` of the weight for each id: (...) of int -> (..., n), in float32."""

    def __init__(self, n_ids: int, n: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_ids, n))

    def init(self, generator: torch.Generator | None = None) -> None:
        """Sets every entry: normal with mean 0 and standard deviation 1."""
        with torch.no_grad():
            self.weight.normal_(0.0, 1.0, generator=generator)

    def forward(self, ids: Tensor) -> Tensor:
        """Row `id` of the weight for each of `ids`: (...) of int -> (..., n). No id is special.

        Raises IndexError for an id beyond the table. (torch does, on a CPU; a GPU stops with a harsher error.)
        """
        return F.embedding(ids, self.weight)
