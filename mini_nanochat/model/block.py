"""Lesson 1.4: a block. Attention carries between positions, the MLP works at each; both only add to the stream.

The residual stream runs through the whole model unchanged, but for what blocks add to it. A new block adds
nothing yet.

    x  the residual stream, (B, T, n_embd)

Papers: preln-2020 (norm before, not after), primer-2021 (squared ReLU), vaswani-2017 (the block).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mini_nanochat.model.attention import Cache, CausalSelfAttention, Rotate
from mini_nanochat.model.layers import Linear, relu_squared, rms_norm


class MLP(nn.Module):
    """(..., n_embd) -> (..., n_embd): four times as many features, squared ReLU, and back."""

    def __init__(self, n_embd: int) -> None:
        super().__init__()
        self.c_fc = Linear(n_embd, 4 * n_embd)
        self.c_proj = Linear(4 * n_embd, n_embd)

    def init(self, generator: torch.Generator | None = None) -> None:
        """Sets both matrices: the first at random, by `generator`; the one that writes into the stream to zero.

        None means torch's global generator. The nn.Parameter objects stay the same ones, with new numbers in them.
        """
        self.c_fc.init(generator)
        self.c_proj.init(zero=True)

    def forward(self, x: Tensor) -> Tensor:
        """What is written for x: four times as many features, squared ReLU, and back. Same shape, same dtype.

        Nothing is normed here, and nothing is added: that is the block's business.
        """
        y: Tensor = self.c_proj(relu_squared(self.c_fc(x)))
        return y


class Block(nn.Module):
    """x + attention(norm(x)), then the same with the MLP: (B, T, n_embd) -> (B, T, n_embd)."""

    def __init__(self, n_embd: int, n_head: int, n_kv_head: int, layer: int = 0) -> None:
        super().__init__()
        self.attn = CausalSelfAttention(n_embd, n_head, n_kv_head, layer)
        self.mlp = MLP(n_embd)

    def init(self, generator: torch.Generator | None = None) -> None:
        """Sets every weight: queries, keys and values at random, what writes into the stream to zero.

        A block begins as one that adds nothing. `mlp` sets its own weights: its `init` is called, once. All
        random numbers come from `generator`, one after the other; None means torch's global generator. The
        nn.Parameter objects stay the same ones.
        """
        for matrix in (self.attn.c_q, self.attn.c_k, self.attn.c_v):
            matrix.init(generator)
        self.attn.c_proj.init(zero=True)
        self.mlp.init(generator)

    def forward(self, x: Tensor, rotate: Rotate, cache: Cache | None = None) -> Tensor:
        """x, plus what attention makes of it, plus what the MLP makes of that; each reads its input normed.

        Calls self.attn(..., rotate, cache) and self.mlp(...), each once. Nothing is overwritten: the caller's
        x stays as it was, and the backward pass finds what it needs. What comes out has the dtype of x.
        """
        x = x + self.attn(rms_norm(x), rotate, cache)
        y: Tensor = x + self.mlp(rms_norm(x))
        return y
