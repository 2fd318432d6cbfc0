"""Lesson 1.2: attention. Each position asks all earlier ones a question, and takes a mean of their answers.

A position's query is compared with the keys of the positions before it; the better a key fits, the more of
that position's value comes in. Several heads ask different questions side by side. Groups of query heads
may share one head of keys and values (GQA), which makes the cache of lesson 5.1 smaller.

    B, T    sequences in a batch, positions;  S   positions that can be looked at (T, or more with a cache)
    H, D    query heads, features of a head;  G   heads of keys and values: H is a multiple of G
    q       (B, H, T, D);  k, v   (B, G, S, D)

Where positions are, attention does not know: `rotate` (lesson 1.3) is passed in, and so is the cache.
Papers: vaswani-2017 (attention), gqa-2023 (shared keys and values), qk-norm-2020, flash-2022 (the fast path).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mini_nanochat.model.layers import Linear, rms_norm

Rotate = Callable[[Tensor], Tensor]


class Cache(Protocol):
    """Keeps the keys and values of earlier positions (lesson 5.1)."""

    def insert(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Adds those of new positions, (B, G, T, D); returns those of all so far, (B, G, S, D)."""
        ...


def causal_mask(n_query: int, n_key: int, device: torch.device | str | None = None) -> Tensor:
    """Which key each query may look at: (n_query, n_key) of bool, True where it may.

    The queries are the last `n_query` of the `n_key` positions. Each sees itself and what is before it.
    Raises ValueError if there are more queries than keys.
    """
    if n_query > n_key:
        raise ValueError(f"{n_query} queries are more than the {n_key} positions there are")
    query = torch.arange(n_key - n_query, n_key, device=device)  # the positions of the queries
    return torch.arange(n_key, device=device) <= query[:, None]  # (n_query, n_key)


def split_heads(x: Tensor, n_head: int) -> Tensor:
    """The features of each position as heads: (B, T, n_head * D) -> (B, n_head, T, D)."""
    b, t, n = x.shape
    return x.view(b, t, n_head, n // n_head).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """The heads of each position side by side again: (B, H, T, D) -> (B, T, H * D)."""
    b, h, t, d = x.shape
    return x.transpose(1, 2).reshape(b, t, h * d)


def repeat_kv(x: Tensor, n_rep: int) -> Tensor:
    """Each head `n_rep` times in a row, for the query heads that share it: (B, G, S, D) -> (B, G * n_rep, S, D)."""
    return x.repeat_interleave(n_rep, dim=1)


def attention_weights(q: Tensor, k: Tensor) -> Tensor:
    """How much of each position every query takes: (B, H, T, D), (B, H, S, D) -> (B, H, T, S).

    softmax(q k^T / sqrt(D)) over the positions that the causal mask allows (Vaswani et al. 2017, equation
    1); each row sums to 1. The softmax is computed in float32; the weights have dtype and device of q.
    """
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (B, H, T, S)
    mask = causal_mask(q.shape[-2], k.shape[-2], q.device)  # (T, S)
    return scores.float().masked_fill(~mask, -math.inf).softmax(-1).to(q.dtype)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The mean of the values, weighted by `attention_weights`: q (B, H, T, D), k and v (B, G, S, D) -> (B, H, T, D).

    This is the version to read. `attend_fast` is the one that runs.
    """
    k, v = (repeat_kv(one, q.shape[1] // k.shape[1]) for one in (k, v))  # (B, H, S, D)
    return attention_weights(q, k) @ v


def attend_fast(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """`attend` by torch's fused kernel, which never stores the (T, S) weights (Dao et al. 2022).

    Its `is_causal` counts queries from the first position, and so is right only if T = S.
    """
    t, s = q.shape[-2], k.shape[-2]
    mask = None if t == s or t == 1 else causal_mask(t, s, q.device)  # a last position sees everything
    shared = q.shape[1] != k.shape[1]
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=t == s > 1, enable_gqa=shared)


class CausalSelfAttention(nn.Module):
    """(B, T, n_embd) -> (B, T, n_embd): queries, keys and values of x, attention, and a matrix that mixes the heads.

    Queries and keys are rotated, then normed (QK-norm): scores then depend on directions, not on sizes.
    Raises ValueError if n_embd is no multiple of n_head, or n_head none of n_kv_head.
    """

    def __init__(self, n_embd: int, n_head: int, n_kv_head: int, layer: int = 0) -> None:
        super().__init__()
        if n_embd % n_head:
            raise ValueError(f"n_embd must be a multiple of n_head, got {n_embd} and {n_head}")
        if n_head % n_kv_head:
            raise ValueError(f"n_head must be a multiple of n_kv_head, got {n_head} and {n_kv_head}")
        head_dim = n_embd // n_head
        self.n_head, self.n_kv_head, self.layer = n_head, n_kv_head, layer
        self.c_q = Linear(n_embd, n_head * head_dim)
        self.c_k = Linear(n_embd, n_kv_head * head_dim)
        self.c_v = Linear(n_embd, n_kv_head * head_dim)
        self.c_proj = Linear(n_embd, n_embd)

    def heads(self, x: Tensor, rotate: Rotate) -> tuple[Tensor, Tensor, Tensor]:
        """q (B, H, T, D), k and v (B, G, T, D) of x; q and k rotated and normed."""
        q = split_heads(self.c_q(x), self.n_head)
        k = split_heads(self.c_k(x), self.n_kv_head)
        v = split_heads(self.c_v(x), self.n_kv_head)
        return rms_norm(rotate(q)), rms_norm(rotate(k)), v

    def forward(self, x: Tensor, rotate: Rotate, cache: Cache | None = None) -> Tensor:
        """What each position of x takes from itself and from all before it, mixed by `c_proj`.

        `attend_fast` does the work: no weight for each pair of positions is stored. With a cache, be it
        empty, the keys and values of x go in, as those of layer `self.layer`, and those of all positions
        so far come out.
        """
        q, k, v = self.heads(x, rotate)
        if cache is not None:
            k, v = cache.insert(self.layer, k, v)  # (B, G, S, D)
        y: Tensor = self.c_proj(merge_heads(attend_fast(q, k, v)))
        return y
