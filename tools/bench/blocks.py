"""Where does the norm stand, and how does a block begin? Twelve small blocks that read bytes.

    python tools/bench/blocks.py            what the first step finds, then losses: about three minutes
    python tools/bench/blocks.py others     slower rates, zero against random starts, parallel, sandwich
    python tools/bench/blocks.py bends      squared ReLU, GELU and SwiGLU with as many numbers to learn

Width 64, 12 blocks, 4 heads, 32 positions, batch 16, AdamW, no warm-up; the text is the docstrings of Python's
standard library. Losses are bits per byte on text that the model has not seen, one number for each of three seeds.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mini_nanochat.corpus import stdlib_prose
from mini_nanochat.model.attention import CausalSelfAttention
from mini_nanochat.model.layers import Embedding, Linear, relu_squared, rms_norm, softcap
from mini_nanochat.model.rotary import apply_rotary, cos_sin

WIDTH, HEADS, DEPTH, SEEN, BATCH, STEPS = 64, 4, 12, 32, 16, 150
SEEDS, RATES = (1, 2, 3), (0.001, 0.004)
Part = Callable[[Tensor], Tensor]
Arrangement = Callable[[Tensor, Part, Part], Tensor]


def pre_norm(x: Tensor, attn: Part, mlp: Part) -> Tensor:
    x = x + attn(rms_norm(x))
    return x + mlp(rms_norm(x))


def post_norm(x: Tensor, attn: Part, mlp: Part) -> Tensor:
    x = rms_norm(x + attn(x))
    return rms_norm(x + mlp(x))


def no_stream(x: Tensor, attn: Part, mlp: Part) -> Tensor:
    return mlp(rms_norm(attn(rms_norm(x))))


def no_norm(x: Tensor, attn: Part, mlp: Part) -> Tensor:
    x = x + attn(x)
    return x + mlp(x)


def parallel(x: Tensor, attn: Part, mlp: Part) -> Tensor:
    h = rms_norm(x)
    return x + attn(h) + mlp(h)


def sandwich(x: Tensor, attn: Part, mlp: Part) -> Tensor:
    x = x + rms_norm(attn(rms_norm(x)))
    return x + rms_norm(mlp(rms_norm(x)))


MAIN = {
    "pre-norm": pre_norm,
    "post-norm": post_norm,
    "no residual": no_stream,
    "no norm": no_norm,
}


class TwoMatrices(nn.Module):
    """Up, bend, down: 8 n^2 numbers."""

    def __init__(self, bend: Part) -> None:
        super().__init__()
        self.bend, self.c_fc, self.c_proj = bend, Linear(WIDTH, 4 * WIDTH), Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(self.bend(self.c_fc(x)))


class SwiGLU(nn.Module):
    """Three matrices with 8/3 as many features: 8 n^2 numbers, but for rounding (Shazeer 2020)."""

    def __init__(self) -> None:
        super().__init__()
        hidden = round(8 * WIDTH / 3)
        self.c_fc, self.c_gate, self.c_proj = (
            Linear(WIDTH, hidden),
            Linear(WIDTH, hidden),
            Linear(hidden, WIDTH),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(F.silu(self.c_gate(x)) * self.c_fc(x))


BENDS = {
    "squared ReLU": lambda: TwoMatrices(relu_squared),
    "GELU": lambda: TwoMatrices(F.gelu),
    "SwiGLU": SwiGLU,
}


class Model(nn.Module):
    """ids (B, T) -> logits (B, T, 256)."""

    def __init__(
        self,
        arrangement: Arrangement,
        seed: int,
        zero: bool,
        bend: str = "squared ReLU",
        zero_head: bool = True,
    ) -> None:
        super().__init__()
        self.arrangement, generator = arrangement, torch.Generator().manual_seed(seed)
        self.bytes, self.head = Embedding(256, WIDTH), Linear(WIDTH, 256)
        self.attn = nn.ModuleList(CausalSelfAttention(WIDTH, HEADS, HEADS, i) for i in range(DEPTH))
        self.mlp = nn.ModuleList(BENDS[bend]() for _ in range(DEPTH))
        self.bytes.init(generator)
        self.head.init(generator, zero=zero_head)
        for name, part in self.named_modules():
            if isinstance(part, Linear) and part is not self.head:
                part.init(generator, zero=zero and name.endswith("c_proj"))
        self.cos, self.sin = cos_sin(SEEN, WIDTH // HEADS)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.bytes(ids)
        for attn, mlp in zip(self.attn, self.mlp):
            x = self.arrangement(x, lambda h, attn=attn: attn(h, self.rotate), mlp)
        self.last = x.detach()
        return softcap(self.head(rms_norm(x)))

    def rotate(self, heads: Tensor) -> Tensor:
        return apply_rotary(heads, self.cos, self.sin)


def batch(text: Tensor, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    at = torch.randint(len(text) - SEEN - 1, (n,), generator=generator)
    rows = text[at[:, None] + torch.arange(SEEN + 1)]
    return rows[:, :-1], rows[:, 1:]


def loss_of(model: Model, text: Tensor, n: int, generator: torch.Generator) -> Tensor:
    ids, following = batch(text, n, generator)
    return F.cross_entropy(model(ids).flatten(0, 1), following.flatten())


def bits_per_byte(model: Model, rate: float, seed: int, text: Tensor) -> float:
    """Trains the model on the first 300,000 bytes; its loss on the rest. inf if it blows up."""
    seen, held_out = text[:300_000], text[300_000:]
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=0.0)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = loss_of(model, seen, BATCH, generator)
        if not math.isfinite(loss.item()):
            return math.inf
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return loss_of(model, held_out, 256, torch.Generator().manual_seed(9)).item() / math.log(2)


def row(name: str, make: Callable[[int], Model], rate: float, text: Tensor) -> None:
    bits = [bits_per_byte(make(seed), rate, seed, text) for seed in SEEDS]
    mean, each = sum(bits) / len(bits), " ".join(f"{b:.3f}" for b in bits)
    span = f"{max(bits) - min(bits):.3f}" if math.isfinite(mean) else "none"
    print(f"rate {rate:<6} {name:26} {each}   mean {mean:.3f}, span {span}", flush=True)


def alike(x: Tensor) -> float:
    """The mean cosine between two positions of the same row: 1 if all of them say the same."""
    x, t = F.normalize(x, dim=-1), x.shape[1]
    return (((x @ x.transpose(1, 2)).sum((1, 2)) - t) / (t * t - t)).mean().item()


def start(text: Tensor) -> None:
    """Before the first step, all matrices random: gradients, the stream, and how alike positions are."""
    print("mean of three seeds | gradient of c_fc in blocks 1, 6, 12 | size of the stream at the end | alike")
    for name, arrangement in MAIN.items():
        found = torch.zeros(5)
        for seed in SEEDS:
            model, seen = Model(arrangement, seed, zero=False, zero_head=False), []
            model.head.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0]))
            loss_of(model, text, 64, torch.Generator().manual_seed(seed)).backward()
            size = model.last.square().mean().sqrt().item()
            grads = [model.mlp[block].c_fc.weight.grad.norm().item() for block in (0, 5, 11)]
            found += torch.tensor([*grads, size, alike(seen[0])]) / len(SEEDS)
        print(f"    {name:12} {' '.join(f'{x:.2g}' for x in found.tolist())}")


def main(arguments: Sequence[str]) -> None:
    torch.set_num_threads(1)
    text = torch.tensor(list("\n".join(stdlib_prose(400_000)).encode()))
    mode = arguments[0] if arguments else "main"
    if mode == "main":
        start(text)
        for rate in RATES:
            for name, arrangement in MAIN.items():
                # A random start without norms is nan at once, a zero start without a stream is dead.
                zero = arrangement in (pre_norm, no_norm)
                label = f"{name}, {'zero' if zero else 'random'} start"
                row(label, lambda seed, a=arrangement, z=zero: Model(a, seed, z), rate, text)
    if mode == "others":
        slow = (0.0001, 0.0003)
        for name, arrangement, zero, rates in (
            ("pre-norm, zero start", pre_norm, True, slow),
            ("pre-norm, random start", pre_norm, False, RATES),
            ("post-norm, random start", post_norm, False, slow),
            ("post-norm, zero start", post_norm, True, RATES),
            ("no residual, random start", no_stream, False, slow),
            ("no norm, zero start", no_norm, True, slow),
            ("parallel, zero start", parallel, True, RATES),
            ("sandwich, random start", sandwich, False, RATES),
        ):
            for rate in rates:
                row(name, lambda seed, a=arrangement, z=zero: Model(a, seed, z), rate, text)
    if mode == "bends":
        for rate in RATES:
            for bend in BENDS:
                row(bend, lambda seed, b=bend: Model(pre_norm, seed, True, b), rate, text)


if __name__ == "__main__":
    main(sys.argv[1:])
