"""Lesson 1.5, written out: loops instead of formulas, torch's own functions where a part of ours would do."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mini_nanochat.model import block as blocks
from mini_nanochat.model import files, head, layers, rotary

CAP = 15.0


@dataclass(frozen=True)
class GPTConfig:
    sequence_len: int = 256
    vocab_size: int = 1024
    n_layer: int = 4
    n_head: int = 2
    n_kv_head: int = 2
    n_embd: int = 128

    def __post_init__(self) -> None:
        if min(vars(self).values()) < 1:
            raise ValueError("all sizes must be at least 1")
        if self.n_embd % self.n_head or (self.n_embd // self.n_head) % 2 or self.n_head % self.n_kv_head:
            raise ValueError("sizes that do not fit together")

    @classmethod
    def from_depth(cls, depth: int, vocab_size: int, sequence_len: int, head_dim: int = 128) -> GPTConfig:
        if not depth > 0:
            raise ValueError(f"a model of depth {depth}")
        width = depth * 64
        fitting = [n for n in range(1, width + 1) if width % n == 0 and (width // n) % 2 == 0]
        heads = min(n for n in fitting if width // n <= head_dim)
        return cls(
            n_layer=depth,
            n_embd=width,
            n_head=heads,
            n_kv_head=heads,
            vocab_size=vocab_size,
            sequence_len=sequence_len,
        )


class GPT(nn.Module):
    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.compute_dtype = torch.float32
        self.wte = layers.Embedding(config.vocab_size, config.n_embd)
        self.blocks = nn.ModuleList(
            [
                blocks.Block(config.n_embd, config.n_head, config.n_kv_head, number)
                for number in range(config.n_layer)
            ]
        )
        self.lm_head = layers.Linear(config.n_embd, config.vocab_size)
        half = (config.sequence_len, config.n_embd // config.n_head // 2)
        self.register_buffer("cos", torch.empty(half), persistent=False)
        self.register_buffer("sin", torch.empty(half), persistent=False)

    @torch.no_grad()
    def init(self, seed: int = 0) -> None:
        where = next(self.parameters()).device
        dice = torch.Generator(where)
        dice.manual_seed(seed)
        for number in range(self.config.n_layer - 1, -1, -1):
            self.blocks[number].init(dice)
        self.wte.weight.normal_(generator=dice)
        self.lm_head.weight.zero_()
        tables = rotary.cos_sin(self.config.sequence_len, 2 * self.cos.shape[1], device=where)
        self.cos.copy_(tables[0])
        self.sin.copy_(tables[1])

    def save(self, folder: Path) -> None:
        files.save_model(folder, self.config, self)

    @classmethod
    def load(cls, folder: Path) -> GPT:
        model = cls(files.load_config(folder, GPTConfig))
        model.init()
        files.load_weights(folder, model)
        return model

    def features(self, ids: Tensor, cache=None) -> Tensor:
        seen = len(cache) if cache is not None else 0
        self._check(ids, seen)

        def turn(heads: Tensor) -> Tensor:
            return rotary.apply_rotary(heads, self.cos, self.sin, seen)

        stream = layers.rms_norm(self.wte(ids)).to(self.compute_dtype)
        for number in range(len(self.blocks)):
            stream = self.blocks[number](stream, turn, cache)
        return layers.rms_norm(stream)

    def forward(self, ids: Tensor, cache=None) -> Tensor:
        x = self.features(ids, cache)
        raw = F.linear(x, self.lm_head.weight.to(x.dtype)).to(torch.float32)
        return torch.tanh(raw / CAP) * CAP

    def loss(self, ids: Tensor, targets: Tensor) -> Tensor:
        if list(ids.shape) != list(targets.shape):
            raise ValueError("ids and targets of different shapes")
        if targets.dtype not in (torch.int32, torch.int64):
            raise ValueError("targets must be integers")
        if targets.min() < -1 or targets.max() >= self.config.vocab_size:
            raise ValueError("a target that is neither an id nor -1")
        x = self.features(ids).reshape(-1, self.config.n_embd)
        return head.head_loss(x, self.lm_head.weight, targets.reshape(-1), CAP)

    def _check(self, ids: Tensor, offset: int) -> None:
        if ids.is_floating_point() or ids.dim() != 2 or ids.numel() == 0:
            raise ValueError("ids must be (B, T) integers")
        if ids.device != self.wte.weight.device:
            raise ValueError("ids and model are on different devices")
        if offset + ids.shape[1] > self.config.sequence_len:
            raise ValueError("too many positions")
        if ids.min() < 0 or ids.max() >= self.config.vocab_size:
            raise ValueError("an unknown id")

    @torch.no_grad()
    def generate(
        self,
        ids: list[int],
        max_tokens: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        seed: int = 0,
    ) -> Iterator[int]:
        if max_tokens < 0:
            raise ValueError("max_tokens below 0")
        if top_k is not None and top_k <= 0:
            raise ValueError("top_k below 1")
        if temperature < 0:
            raise ValueError("temperature below 0")
        where = self.lm_head.weight.device
        dice = torch.Generator(device=where)
        dice.manual_seed(seed)
        window = torch.tensor(ids, dtype=torch.long, device=where)[None]  # (1, T)
        made = 0
        while made < max_tokens:
            window = window[:, -self.config.sequence_len :]
            chosen = draw(self.forward(window)[0][-1], temperature, top_k, dice)
            window = torch.cat([window, torch.full((1, 1), chosen, device=where)], dim=1)
            made += 1
            yield chosen


def draw(logits: Tensor, temperature: float, top_k: int | None, generator: torch.Generator) -> int:
    """By a point on a line: shares laid side by side, and a number between 0 and 1."""
    values, places = torch.sort(logits.double(), descending=True)
    if temperature == 0:
        return places[0].item()
    if top_k is not None:
        values, places = values[:top_k], places[:top_k]
    shares = torch.exp((values - values[0]) / temperature)
    ends = torch.cumsum(shares, 0) / shares.sum()
    point = torch.rand(1, generator=generator, device=logits.device, dtype=torch.float64)
    return places[min(int((ends < point).sum()), len(places) - 1)].item()


def count_parameters(config: GPTConfig) -> dict[str, int]:
    size = config.n_embd // config.n_head
    count = {"embedding": config.vocab_size * config.n_embd, "attention": 0, "mlp": 0}
    for _ in range(config.n_layer):
        for heads in (config.n_head, config.n_kv_head, config.n_kv_head):
            count["attention"] += config.n_embd * heads * size
        count["attention"] += config.n_embd**2
        count["mlp"] += config.n_embd * (4 * config.n_embd) + (4 * config.n_embd) * config.n_embd
    count["head"] = count["embedding"]
    count["total"] = count["embedding"] + count["attention"] + count["mlp"] + count["head"]
    return count


def flops_per_token(config: GPTConfig) -> int:
    count = count_parameters(config)
    matrices = count["attention"] + count["mlp"] + count["head"]
    forward = 2 * matrices
    for _ in range(config.n_layer):
        forward += 2 * config.n_embd * config.sequence_len  # scores
        forward += 2 * config.n_embd * config.sequence_len  # mean of the values
    return forward + 2 * forward


def training_bytes(config: GPTConfig, batch_size: int) -> dict[str, int]:
    weights = count_parameters(config)["total"] * 4
    wide, keys = config.n_embd, config.n_embd * config.n_kv_head // config.n_head
    block = sum(
        [
            2 * wide,  # stream and its norm, for attention
            2 * wide,  # queries, turned and normed
            2 * keys,
            keys,
            2 * wide,  # what attention gives, and that merged
            2 * wide,  # stream and its norm, for the MLP
            2 * 4 * wide,
        ]
    )
    position = config.n_layer * block + 3 * wide
    made = {"weights": weights, "gradients": weights, "moments": 2 * weights}
    made["activations"] = math.prod([4, batch_size, config.sequence_len, position])
    made["total"] = sum(made.values())
    return made
