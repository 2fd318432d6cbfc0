"""What every head of a model looks at: captured while the model reads a text, as numbers and in the terminal.

Pictures and the interactive page are in `visualizer`, which needs matplotlib; this part does not.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from rich.cells import cell_len
from rich.text import Text
from torch import Tensor, nn

from mini_nanochat.model.attention import CausalSelfAttention, attention_weights, repeat_kv

SHADES = " .:-=+*#%@"  # a tenth of the attention each, so that no colour is needed


class TextTokenizer(Protocol):
    """Turns text into ids and back."""

    def encode(self, text: str) -> list[int]: ...
    def decode(self, ids: Sequence[int]) -> str: ...


@dataclass(frozen=True)
class Head:
    """One head in five numbers, means over all positions but the first, which can only look at itself."""

    layer: int
    head: int
    entropy: float  # bits; 0 looks at one position only, log2(n) at n positions alike
    distance: float  # how many positions back, on average
    first: float  # share that goes to the first position
    previous: float  # ... to the position before
    itself: float  # ... to the position itself


@dataclass(frozen=True)
class Attention:
    """How much each position takes from each: `weights` (n_layer, n_head, T, T), rows sum to 1; a label a token."""

    tokens: list[str]
    weights: Tensor

    def of(self, layer: int, head: int) -> Tensor:
        """The weights of a head: (T, T), a row a query. Raises ValueError if there is no such head."""
        n_layer, n_head = self.weights.shape[:2]
        if not (0 <= layer < n_layer and 0 <= head < n_head):
            raise ValueError(
                f"the model has layers 0..{n_layer - 1} and heads 0..{n_head - 1}, got layer {layer}, head {head}"
            )
        return self.weights[layer, head]

    def statistics(self) -> list[Head]:
        """Every head in five numbers, layer by layer."""
        n_layer, n_head = self.weights.shape[:2]
        return [
            Head(layer, head, *_numbers(self.weights[layer, head]))
            for layer in range(n_layer)
            for head in range(n_head)
        ]

    def terminal(self, layer: int, head: int) -> Text:
        """A head as characters: a row a query, a column a key, darker where it takes more."""
        weights = self.of(layer, head)
        width = max(map(cell_len, self.tokens))  # columns of the terminal: some characters take two
        lines = []
        for i, (token, row) in enumerate(zip(self.tokens, weights.tolist())):
            cells = "".join(shade(share) * 2 for share in row)
            best = max(range(len(row)), key=row.__getitem__)
            lines.append(
                f"{i:3} {' ' * (width - cell_len(token))}{token} |{cells}| {row[best]:4.0%} to {best}"
            )
        scale = "  ".join(f"{mark * 2} {10 * i}%" for i, mark in enumerate(SHADES) if i % 3 == 0)
        return Text("\n".join([*lines, f"{'':{width + 5}}{scale}"]), no_wrap=True, overflow="crop")


def shade(share: float) -> str:
    """A character that is the darker, the larger the share (0 to 1)."""
    return SHADES[min(int(share * len(SHADES)), len(SHADES) - 1)]


def _numbers(weights: Tensor) -> tuple[float, float, float, float, float]:
    """Entropy, distance and the three shares of one head, (T, T)."""
    t = len(weights)
    rows = weights[1:] if t > 1 else weights
    query = torch.arange(t)[-len(rows) :]
    back = query[:, None] - torch.arange(t)  # (rows, T): how many positions back a key is
    return (
        float(torch.special.entr(rows).sum(-1).mean()) / math.log(2),
        float((rows * back).sum(-1).mean()),
        float(rows[:, 0].mean()),
        float((rows * (back == 1)).sum(-1).mean()),
        float((rows * (back == 0)).sum(-1).mean()),
    )


def label(tokenizer: TextTokenizer, token: int) -> str:
    """A token, made visible: a space is a dot, half a character is its id."""
    text = tokenizer.decode([token]).replace(" ", "\u00b7")
    if "\ufffd" in text:
        return f"<{token}>"
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text) or f"<{token}>"


def capture(model: nn.Module, ids: Tensor) -> Tensor:
    """The attention of every layer and head while the model reads ids (1, T): (n_layer, n_head, T, T) in float32.

    Nothing in the model changes: what enters each attention is read on the way in, and its weights are computed
    once more, by the readable version. Raises ValueError for a model without attention of our kind.
    """
    found: list[Tensor] = []

    def look(module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        given = inspect.signature(module.forward).bind(*inputs, **named).arguments
        q, k, _ = module.heads(given["x"], given["rotate"])  # type: ignore[operator]
        shared = repeat_kv(k, q.shape[1] // k.shape[1])
        found.append(attention_weights(q, shared)[0].float().cpu())

    hooks = [
        module.register_forward_pre_hook(look, with_kwargs=True)
        for module in model.modules()
        if isinstance(module, CausalSelfAttention)
    ]
    try:
        with torch.no_grad():
            model(ids)
    finally:
        for hook in hooks:
            hook.remove()
    if not found:
        raise ValueError(f"{type(model).__name__} holds no CausalSelfAttention: nothing to look at")
    return torch.stack(found)


def read(model: nn.Module, tokenizer: TextTokenizer, text: str) -> tuple[list[str], Tensor]:
    """The tokens of a text as labels, and the attention over them. Raises ValueError for a text of no tokens."""
    ids = tokenizer.encode(text)
    if not ids:
        raise ValueError("the text holds no token: there is nothing to look at")
    device = next(model.parameters()).device
    return [label(tokenizer, i) for i in ids], capture(model, torch.tensor([ids], device=device))
