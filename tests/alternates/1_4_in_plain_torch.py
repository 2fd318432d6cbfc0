"""Lesson 1.4 solved in another style: functions of torch, named steps, keyword arguments, weights set one by one."""

from __future__ import annotations

import torch
import torch.nn.functional as nnf
from torch import nn

from mini_nanochat.model import attention, layers


class MLP(nn.Module):
    def __init__(self, n_embd):
        super().__init__()
        hidden = n_embd * 4
        self.c_fc = layers.Linear(n_embd, hidden)
        self.c_proj = layers.Linear(hidden, n_embd)

    def init(self, generator=None):
        std = layers.matrix_std(*reversed(self.c_fc.weight.shape))
        nn.init.zeros_(self.c_proj.weight)
        nn.init.normal_(self.c_fc.weight, mean=0.0, std=std, generator=generator)

    def forward(self, x):
        features = self.c_fc(x)
        positive = torch.where(features > 0, features, torch.zeros_like(features))
        return self.c_proj(positive * features)


class Block(nn.Module):
    def __init__(self, n_embd, n_head, n_kv_head, layer=0):
        super().__init__()
        self.attn = attention.CausalSelfAttention(n_embd, n_head, n_kv_head, layer)
        self.mlp = MLP(n_embd)

    def init(self, generator=None):
        self.mlp.init(generator=generator)
        for name, matrix in reversed(list(self.attn.named_children())):
            matrix.init(generator, zero=name == "c_proj")

    def forward(self, x, rotate, cache=None):
        def normed(stream):
            wide = stream.float()
            return nnf.rms_norm(wide, wide.shape[-1:], eps=1e-6).to(stream.dtype)

        def turned(heads):
            return rotate(heads)

        brought = self.attn(normed(x), rotate=turned, cache=cache)
        middle = torch.add(x, brought)
        worked_out = self.mlp(normed(middle))
        return middle + worked_out
