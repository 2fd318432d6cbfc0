"""Lesson 1.2 solved in another style: tril, stacks and slices, einsum, and a softmax of one's own."""

from __future__ import annotations

import torch
import torch.nn.functional as nnf
from torch import nn

from mini_nanochat.model import layers


def causal_mask(n_query, n_key, device=None):
    if n_key - n_query < 0:
        raise ValueError("a query must be one of the positions")
    square = torch.tril(torch.ones(n_key, n_key)).bool().to(device or "cpu")
    return square[n_key - n_query :]


def split_heads(x, n_head):
    return torch.stack(torch.chunk(x, n_head, dim=2), dim=1)


def merge_heads(x):
    return torch.cat([x[:, h] for h in range(x.shape[1])], dim=2)


def repeat_kv(x, n_rep):
    copies = []
    for head in range(x.shape[1]):
        copies += [x[:, head]] * n_rep
    return torch.stack(copies, dim=1)


def attention_weights(q, k):
    wide = q if q.dtype == torch.float64 else q.float()
    scores = torch.einsum("bhtd,bhsd->bhts", wide * q.size(3) ** -0.5, k.to(wide.dtype))
    hidden = torch.where(causal_mask(q.size(2), k.size(2), q.device), 0.0, float("-inf"))
    scores = scores + hidden.to(wide.dtype)
    e = torch.exp(scores - scores.amax(dim=3, keepdim=True))
    return (e / e.sum(dim=3, keepdim=True)).to(dtype=q.dtype)


def attend(q, k, v):
    h, g = q.shape[1], k.shape[1]
    out = []
    for group in range(g):  # the heads that share keys and values stand side by side
        mine = q[:, group * h // g : (group + 1) * h // g]
        keys, values = (repeat_kv(one[:, group : group + 1], h // g) for one in (k, v))
        out.append(torch.einsum("bhts,bhsd->bhtd", attention_weights(mine, keys), values))
    return torch.cat(out, dim=1)


def attend_fast(q, k, v):
    n = q.shape[1] // k.shape[1]
    if n > 1:
        k, v = repeat_kv(k, n), repeat_kv(v, n)
    mask = causal_mask(q.shape[2], k.shape[2], q.device)
    return nnf.scaled_dot_product_attention(q, k, v, mask)


class CausalSelfAttention(nn.Module):
    def __init__(self, n_embd, n_head, n_kv_head, layer=0):
        super().__init__()
        self.layer, self.n_head, self.n_kv_head = layer, n_head, n_kv_head
        size = n_embd // n_head
        self.c_q, self.c_k = layers.Linear(n_embd, n_embd), layers.Linear(n_embd, n_kv_head * size)
        self.c_v, self.c_proj = layers.Linear(n_embd, n_kv_head * size), layers.Linear(n_embd, n_embd)

    def heads(self, x, rotate):
        found = []
        for matrix, n in ((self.c_q, self.n_head), (self.c_k, self.n_kv_head), (self.c_v, self.n_kv_head)):
            one = split_heads(matrix(x), n)
            found.append(one if matrix is self.c_v else layers.rms_norm(rotate(one)))
        return tuple(found)

    def forward(self, x, rotate, cache=None):
        q, k, v = self.heads(x, rotate)
        if cache is not None:
            k, v = cache.insert(self.layer, k, v)
        return self.c_proj(merge_heads(attend_fast(q, k, v)))
