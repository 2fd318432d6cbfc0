"""Which norm, and which bend between the matrices? A small model that predicts a byte from the 16 before it.

    python tools/bench/layers.py norms      five norms, three learning rates, three seeds
    python tools/bench/layers.py bends      ReLU, GELU and squared ReLU, three seeds
    python tools/bench/layers.py time       microseconds of each norm

Six blocks of two matrices, no attention: the text is the docstrings of Python's standard library. What is
printed are bits per byte on text that the model has not seen, one number for each seed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mini_nanochat.corpus import stdlib_prose
from mini_nanochat.model.layers import Embedding, Linear, relu_squared, rms_norm, softcap

WIDTH, SEEN, DEPTH, STEPS, BATCH = 128, 16, 6, 400, 128
Part = Callable[[Tensor], Tensor]


class Gain(nn.Module):
    """A norm with something to learn after it."""

    def __init__(self, norm: Part, bias: bool = False) -> None:
        super().__init__()
        self.norm, self.gain = norm, nn.Parameter(torch.ones(WIDTH))
        self.bias = nn.Parameter(torch.zeros(WIDTH)) if bias else 0.0

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x) * self.gain + self.bias


class Plain(nn.Module):
    """A function as a module."""

    def __init__(self, function: Part) -> None:
        super().__init__()
        self.forward = function


def layer_norm(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=1e-6)


NORMS = {
    "none": lambda: Plain(lambda x: x),
    "LayerNorm, gain, bias": lambda: Gain(layer_norm, bias=True),
    "LayerNorm": lambda: Plain(layer_norm),
    "RMSNorm, gain": lambda: Gain(rms_norm),
    "RMSNorm": lambda: Plain(rms_norm),
}
BENDS = {"none": lambda x: x, "ReLU": F.relu, "GELU": F.gelu, "squared ReLU": relu_squared}


class Model(nn.Module):
    """ids (B, SEEN) -> logits (B, 256)."""

    def __init__(self, norm: Callable[[], nn.Module], bend: Part, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.bend = bend
        self.bytes, self.mix, self.head = (
            Embedding(256, WIDTH),
            Linear(SEEN * WIDTH, WIDTH),
            Linear(WIDTH, 256),
        )
        self.up = nn.ModuleList(Linear(WIDTH, 4 * WIDTH) for _ in range(DEPTH))
        self.down = nn.ModuleList(Linear(4 * WIDTH, WIDTH) for _ in range(DEPTH))
        self.norms = nn.ModuleList(norm() for _ in range(DEPTH + 1))
        for part in (self.bytes, self.mix, *self.up):
            part.init(generator)
        for part in (self.head, *self.down):
            part.init(generator, zero=True)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.mix(self.bytes(ids).flatten(1))
        for norm, up, down in zip(self.norms, self.up, self.down):
            x = x + down(self.bend(up(norm(x))))
        return softcap(self.head(self.norms[-1](x)))


def batch(text: Tensor, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    at = torch.randint(len(text) - SEEN - 1, (n,), generator=generator)
    rows = text[at[:, None] + torch.arange(SEEN + 1)]
    return rows[:, :-1], rows[:, -1]


def bits_per_byte(norm: Callable[[], nn.Module], bend: Part, rate: float, seed: int, text: Tensor) -> float:
    """Trains a model on the first million bytes; its loss on the rest."""
    seen, held_out = text[:1_000_000], text[1_000_000:]
    model, generator = Model(norm, bend, seed), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, betas=(0.9, 0.95))
    for _ in range(STEPS):
        ids, following = batch(seen, BATCH, generator)
        optimizer.zero_grad()
        F.cross_entropy(model(ids), following).backward()
        optimizer.step()
    ids, following = batch(held_out, 8192, torch.Generator().manual_seed(9))
    with torch.no_grad():
        return F.cross_entropy(model(ids), following).item() / 0.693147


def row(name: str, norm: Callable[[], nn.Module], bend: Part, rate: float, text: Tensor) -> None:
    bits = [bits_per_byte(norm, bend, rate, seed, text) for seed in (1, 2, 3)]
    mean, span = sum(bits) / 3, max(bits) - min(bits)
    each = " ".join(f"{b:.3f}" for b in bits)
    print(f"rate {rate:<6} {name:22} {each}   mean {mean:.3f}, span {span:.3f}", flush=True)


def times() -> None:
    x = torch.randn(512, 768)
    for name, norm in (
        ("rms_norm (ours)", rms_norm),
        ("F.rms_norm", lambda x: F.rms_norm(x, (768,), eps=1e-6)),
        ("F.layer_norm", layer_norm),
    ):
        best = min(_seconds(norm, x) for _ in range(300))
        print(f"{name:16} {1e6 * best:7.0f} microseconds for (512, 768), float32")


def _seconds(norm: Part, x: Tensor) -> float:
    start = time.perf_counter()
    norm(x)
    return time.perf_counter() - start


def main(arguments: Sequence[str]) -> None:
    torch.set_num_threads(1)
    if arguments[:1] == ["time"]:
        return times()
    text = torch.tensor(list("\n".join(stdlib_prose(1_200_000)).encode()))
    if arguments[:1] == ["bends"]:
        for name, bend in BENDS.items():
            row(name, NORMS["RMSNorm"], bend, 0.004, text)
        return None
    for rate in (0.001, 0.004, 0.016):
        for name, norm in NORMS.items():
            row(name, norm, relu_squared, rate, text)
    return None


if __name__ == "__main__":
    main(sys.argv[1:])
