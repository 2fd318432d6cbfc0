"""Lesson 1.5: GPT. Ids in, a guess for every next id out; all earlier lessons of this phase in one module.

    ids -> embedding -> norm -> block x n_layer -> norm -> matrix to the vocabulary -> softcap -> logits

    B, T    sequences, positions;  V  ids;  C = n_embd;  offset  positions that a cache holds already

One dial sets the size: depth. Width, heads and everything else follow from it (`GPTConfig.from_depth`).
Papers: gpt2-2019 (the shape), palm-2022 (counting FLOPs, appendix B).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from mini_nanochat.model.attention import Cache
from mini_nanochat.model.block import Block
from mini_nanochat.model.files import load_config, load_weights, save_model
from mini_nanochat.model.head import IGNORE, head_loss
from mini_nanochat.model.layers import Embedding, Linear, rms_norm, softcap
from mini_nanochat.model.rotary import apply_rotary, cos_sin

CAP = 15.0  # no logit is larger


class GrowingCache(Cache, Protocol):
    """A cache that knows how many positions it holds."""

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class GPTConfig:
    """The shape of a model. Raises ValueError for sizes that do not fit together."""

    sequence_len: int = 256
    vocab_size: int = 1024
    n_layer: int = 4
    n_head: int = 2
    n_kv_head: int = 2
    n_embd: int = 128

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if self.n_embd % (2 * self.n_head):
            raise ValueError(
                f"n_embd must be n_head heads of an even size, got {self.n_embd} features and {self.n_head} heads"
            )
        if self.n_head % self.n_kv_head:
            raise ValueError(
                f"n_head must be a multiple of n_kv_head, got {self.n_head} and {self.n_kv_head}"
            )

    @classmethod
    def from_depth(cls, depth: int, vocab_size: int, sequence_len: int, head_dim: int = 128) -> GPTConfig:
        """The shape for a depth: 64 features a layer, in as few heads as possible, none shared.

        A head has at most `head_dim` features, and an even number, because rotary turns them in pairs.
        Raises ValueError for a depth below 1 or a head_dim below 2.
        """
        if depth < 1 or head_dim < 2:
            raise ValueError(f"depth must be at least 1 and head_dim 2, got {depth} and {head_dim}")
        n_head = -(-64 * depth // head_dim)  # rounded up
        while 64 * depth % (2 * n_head):  # rotary turns features in pairs
            n_head += 1
        return cls(sequence_len, vocab_size, depth, n_head, n_head, 64 * depth)


class GPT(nn.Module):
    """A language model. It is built empty: call `init`, or load weights, before use.

    Built under `torch.device("meta")` it takes no memory; then `to_empty(device=...)`, then `init`.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.compute_dtype = torch.float32  # of the activations; weights stay in float32
        c = config
        self.wte = Embedding(c.vocab_size, c.n_embd)
        self.blocks = nn.ModuleList(Block(c.n_embd, c.n_head, c.n_kv_head, i) for i in range(c.n_layer))
        self.lm_head = Linear(c.n_embd, c.vocab_size)
        half = (c.sequence_len, c.n_embd // c.n_head // 2)
        self.register_buffer("cos", torch.empty(half), persistent=False)
        self.register_buffer("sin", torch.empty(half), persistent=False)

    def init(self, seed: int = 0) -> None:
        """Sets every number of the model, whatever it was: weights at random from `seed`, tables, a head of zeros."""
        device = self.wte.weight.device
        generator = torch.Generator(device).manual_seed(seed)
        self.wte.init(generator)
        for block in self.blocks:
            block.init(generator)  # type: ignore[operator]  # a Block
        self.lm_head.init(zero=True)
        head_dim = self.config.n_embd // self.config.n_head
        self.cos, self.sin = cos_sin(self.config.sequence_len, head_dim, device=device)

    def save(self, folder: Path) -> None:
        """Writes `model.json` (the shape) and `model.safetensors` (the weights) into the folder."""
        save_model(folder, self.config, self)

    @classmethod
    def load(cls, folder: Path) -> GPT:
        """The model that `save` wrote. Raises FileNotFoundError where there is none, ValueError for a damaged one."""
        model = cls(load_config(folder, GPTConfig))
        model.init()
        load_weights(folder, model)
        return model

    def features(self, ids: Tensor, cache: GrowingCache | None = None) -> Tensor:
        """What the head reads: (B, T) of int -> (B, T, C), in `compute_dtype`.

        `ids` continue the positions that the cache holds: the first of them is number `len(cache)`.

        Raises ValueError for ids that are no (B, T) of int or none at all, and for more positions than the model
        has; on a CPU also for ids that the model does not know (a GPU would have to be waited for).
        """
        offset = 0 if cache is None else len(cache)
        self._check(ids, offset)
        rotate = partial(apply_rotary, cos=self.cos, sin=self.sin, offset=offset)
        x = rms_norm(self.wte(ids).to(self.compute_dtype))  # (B, T, C)
        for block in self.blocks:
            x = block(x, rotate, cache)
        return rms_norm(x)

    def forward(self, ids: Tensor, cache: GrowingCache | None = None) -> Tensor:
        """Logits of the next id at every position: (B, T) of int -> (B, T, V) in float32."""
        return softcap(self.lm_head(self.features(ids, cache)), CAP)

    def loss(self, ids: Tensor, targets: Tensor) -> Tensor:
        """The mean cross-entropy, in nats, of the targets (B, T) that are not -1; NaN if there are none.

        targets[b, t] is the id that follows ids[b, t]: nothing is shifted here. By `head_loss`, so that (B, T, V)
        logits are never held. Raises ValueError for targets of another shape than ids, or that are no ids.
        """
        if targets.shape != ids.shape:
            raise ValueError(
                f"targets must have the shape of ids, {tuple(ids.shape)}, got {tuple(targets.shape)}"
            )
        self._check(targets, name="targets", lowest=IGNORE)
        x = self.features(ids)
        return head_loss(x.flatten(0, 1), self.lm_head.weight, targets.flatten(), CAP)

    def _check(self, ids: Tensor, offset: int = 0, name: str = "ids", lowest: int = 0) -> None:
        """Raises ValueError, in a sentence, for ids (or targets) that the model cannot take."""
        last, device = self.config.vocab_size - 1, self.wte.weight.device
        if ids.dtype not in (torch.int32, torch.int64) or ids.ndim != 2 or not ids.numel():
            raise ValueError(
                f"{name} must be (B, T) integers, at least one, got {tuple(ids.shape)} of {ids.dtype}"
            )
        if ids.device != device:
            raise ValueError(f"{name} are on {ids.device} and the model on {device}: move one of them")
        if offset + ids.shape[1] > self.config.sequence_len:
            raise ValueError(
                f"the model has {self.config.sequence_len} positions, got {offset + ids.shape[1]}: "
                "cut the text, or build a model with a larger sequence_len"
            )
        if device.type == "cpu" and not lowest <= int(ids.min()) <= int(ids.max()) <= last:
            raise ValueError(
                f"{name} must lie in {lowest}..{last}, got {int(ids.min())}..{int(ids.max())}: "
                "was the text encoded with the model's own tokenizer?"
            )

    @torch.no_grad()
    def generate(
        self,
        ids: list[int],
        max_tokens: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        seed: int = 0,
    ) -> Iterator[int]:
        """Yields `max_tokens` further ids, one at a time, each drawn from the model's guess.

        The simplest way, and slow: everything is computed anew for each id (lesson 5.1 mends that). With
        temperature 0 the likeliest id is taken, with `top_k` only the k likeliest can be drawn. All draws come
        from one generator of its own, begun with `seed`. Beyond sequence_len the oldest ids are forgotten.
        `ids` stays as it is. Raises ValueError for settings that make no sense (a temperature below 0, a top_k
        below 1, max_tokens below 0).
        """
        if temperature < 0 or (top_k is not None and top_k < 1) or max_tokens < 0:
            raise ValueError(
                "temperature and max_tokens must be at least 0 and top_k at least 1, "
                f"got {temperature}, {max_tokens} and {top_k}"
            )
        device = self.wte.weight.device
        generator = torch.Generator(device).manual_seed(seed)
        ids = list(ids)
        for _ in range(max_tokens):
            seen = torch.tensor([ids[-self.config.sequence_len :]], device=device)  # (1, T)
            logits = self(seen)[0, -1]  # (V,)
            ids.append(draw(logits, temperature, top_k, generator))
            yield ids[-1]


def draw(logits: Tensor, temperature: float, top_k: int | None, generator: torch.Generator) -> int:
    """An id, drawn from softmax(logits / temperature) of the `top_k` largest logits: (V,) -> int.

    Exactly `top_k` ids can be drawn: of equal logits at the border any may be kept. `top_k` of None, or beyond V,
    means all. With temperature 0 it is the id of the largest logit, without chance.
    """
    if temperature == 0:
        return int(logits.argmax())
    ids = None
    if top_k is not None:
        logits, ids = logits.topk(min(top_k, len(logits)))  # (K,) and the ids they belong to
    place = torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator)
    return int(place if ids is None else ids[place])


def count_parameters(config: GPTConfig) -> dict[str, int]:
    """How many parameters "embedding", "attention", "mlp" and "head" have, in all layers; "total" is their sum."""
    c = config
    kv = c.n_embd // c.n_head * c.n_kv_head
    parts = {
        "embedding": c.vocab_size * c.n_embd,
        "attention": c.n_layer * (2 * c.n_embd * c.n_embd + 2 * c.n_embd * kv),
        "mlp": c.n_layer * 8 * c.n_embd * c.n_embd,
        "head": c.vocab_size * c.n_embd,
    }
    return {**parts, "total": sum(parts.values())}


def flops_per_token(config: GPTConfig) -> int:
    """Floating-point operations to train on one token: forward and backward (Chowdhery et al. 2022, appendix B).

    Each weight of a matrix takes 6 (a multiplication and an addition, three times), each position that is
    looked at 12 per feature and layer; all `sequence_len` of them, although a mask hides half. An embedding is
    a look-up: it takes none.
    """
    count = count_parameters(config)
    looked_at = 12 * config.n_layer * config.n_embd * config.sequence_len
    return 6 * (count["total"] - count["embedding"]) + looked_at


def training_bytes(config: GPTConfig, batch_size: int) -> dict[str, int]:
    """Bytes that training holds at once, in float32, by what they are for; "total" is their sum.

    "weights", "gradients" (one for each weight), "moments" (AdamW's two for each weight) and "activations": what
    each position of each of `batch_size` full sequences leaves behind for the backward pass. In a block that is
    16 C numbers and 3 times the features of keys; outside of blocks 3 C.
    """
    c = config
    n = count_parameters(config)["total"]
    kv = c.n_embd // c.n_head * c.n_kv_head
    numbers = c.n_layer * (16 * c.n_embd + 3 * kv) + 3 * c.n_embd  # embedding, last norm in, its gradient
    parts = {
        "weights": 4 * n,
        "gradients": 4 * n,
        "moments": 8 * n,
        "activations": 4 * batch_size * c.sequence_len * numbers,
    }
    return {**parts, "total": sum(parts.values())}
