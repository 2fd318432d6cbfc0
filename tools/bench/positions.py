"""How should attention learn where things stand? Five ways, on the same small model and the same text.

    python tools/bench/positions.py      220 seconds of processor time, in two processes

Two layers of attention and MLP guess the next byte of English (docstrings of Python's standard library). They
are trained on windows of 64 bytes. Then they guess on text that they have not seen, in bits per byte:

    trained   windows of 64 bytes, as in training
    beyond    windows of 128 bytes, only the guesses at places 64 to 127: the model sees 65 to 128 bytes
    cut       the same guesses again, by a model that is shown the last 64 bytes only

Beyond better than cut: the longer window helps. Worse: the model is lost where it was never trained.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mini_nanochat.corpus import stdlib_prose
from mini_nanochat.model.attention import CausalSelfAttention, causal_mask, merge_heads
from mini_nanochat.model.layers import Embedding, Linear, relu_squared, rms_norm, softcap
from mini_nanochat.model.rotary import apply_rotary, cos_sin

SEEN, WIDTH, HEADS, DEPTH, STEPS, BATCH, RATE = 64, 64, 4, 2, 600, 16, 0.01
SEEDS = (1, 2, 3)
WAYS = ("none", "learned", "sinusoids", "ALiBi", "rotary")
TRIED = 32  # windows of 128 bytes to guess on: 2,048 guesses


def as_is(heads: Tensor) -> Tensor:
    """No rotation."""
    return heads


def sinusoids(n: int) -> Tensor:
    """Vaswani et al. 2017, section 3.5, halves instead of alternating features: (n, WIDTH)."""
    cos, sin = cos_sin(n, WIDTH)
    return torch.cat([sin, cos], dim=-1)


def linear_bias(n: int) -> Tensor:
    """ALiBi's penalty for distance, steep in the first head, gentle in the last: (HEADS, n, n)."""
    slopes = 2.0 ** (-8 / HEADS * torch.arange(1, HEADS + 1))
    back = torch.arange(n)[:, None] - torch.arange(n)
    return -slopes[:, None, None] * back


class Layer(CausalSelfAttention):
    """Attention of lesson 1.2, with something added to the scores."""

    def biased(self, x: Tensor, rotate: Callable[[Tensor], Tensor], bias: Tensor | None) -> Tensor:
        if bias is None:
            y: Tensor = self(x, rotate)
            return y
        q, k, v = self.heads(x, rotate)
        mask = bias.masked_fill(~causal_mask(x.shape[1], x.shape[1]), -torch.inf)
        mixed: Tensor = self.c_proj(merge_heads(F.scaled_dot_product_attention(q, k, v, attn_mask=mask)))
        return mixed


class Model(nn.Module):
    """ids (B, T) -> logits (B, T, 256), with one of the WAYS."""

    def __init__(self, way: str, seed: int) -> None:
        super().__init__()
        self.way = way
        self.bytes, self.head = Embedding(256, WIDTH), Linear(WIDTH, 256)
        self.attn = nn.ModuleList(Layer(WIDTH, HEADS, HEADS, i) for i in range(DEPTH))
        self.up = nn.ModuleList(Linear(WIDTH, 4 * WIDTH) for _ in range(DEPTH))
        self.down = nn.ModuleList(Linear(4 * WIDTH, WIDTH) for _ in range(DEPTH))
        generator = torch.Generator().manual_seed(seed)
        for part in (self.bytes, *self.up):
            part.init(generator)
        for layer in self.attn:
            for matrix in (layer.c_q, layer.c_k, layer.c_v):
                matrix.init(generator)
            layer.c_proj.init(zero=True)
        for part in (self.head, *self.down):
            part.init(generator, zero=True)
        # Places 64 to 127 of "learned" are never trained, and stay what they are here.
        places = 0.02 * torch.randn(2 * SEEN, WIDTH, generator=generator)
        self.places = nn.Parameter(places) if way == "learned" else None

    def forward(self, ids: Tensor) -> Tensor:
        t = ids.shape[1]
        x = self.bytes(ids)
        if self.places is not None:
            x = x + self.places[:t]
        if self.way == "sinusoids":
            x = x + sinusoids(t)
        x = rms_norm(x)
        bias = linear_bias(t) if self.way == "ALiBi" else None
        cos, sin = cos_sin(t, WIDTH // HEADS)
        rotate = partial(apply_rotary, cos=cos, sin=sin) if self.way == "rotary" else as_is
        for attn, up, down in zip(self.attn, self.up, self.down):
            x = x + attn.biased(rms_norm(x), rotate, bias)
            x = x + down(relu_squared(up(rms_norm(x))))
        return softcap(self.head(rms_norm(x)))


def windows(text: Tensor, n: int, length: int, generator: torch.Generator) -> Tensor:
    """n pieces of length + 1 bytes: (n, length + 1)."""
    at = torch.randint(len(text) - length - 1, (n,), generator=generator)
    return text[at[:, None] + torch.arange(length + 1)]


def bits(logits: Tensor, following: Tensor) -> float:
    return F.cross_entropy(logits.flatten(0, -2), following.flatten()).item() / 0.693147


@torch.no_grad()
def exam(model: Model, text: Tensor) -> tuple[float, float, float]:
    """trained, beyond and cut, in bits per byte, on windows that are the same for every model."""
    short = windows(text, 4 * TRIED, SEEN, torch.Generator().manual_seed(8))
    long = windows(text, TRIED, 2 * SEEN, torch.Generator().manual_seed(9))
    trained = bits(model(short[:, :-1]), short[:, 1:])
    wanted = long[:, SEEN + 1 :]  # (TRIED, SEEN): what follows places 64 to 127
    beyond = bits(model(long[:, :-1])[:, SEEN:], wanted)
    last = long[:, 1:-1].unfold(1, SEEN, 1).flatten(0, 1)  # the 64 bytes that end at each of those places
    cut = torch.cat([model(piece)[:, -1] for piece in last.split(512)])
    return trained, beyond, bits(cut, wanted)


def train(way: str, seed: int, text: Tensor) -> Model:
    """Trains on the first million bytes."""
    model, generator = Model(way, seed), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.0)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, 2 * (1 - step / STEPS))  # the second half slows down
        rows = windows(text[:1_000_000], BATCH, SEEN, generator)
        optimizer.zero_grad()
        F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten()).backward()
        optimizer.step()
    return model


@cache
def text() -> Tensor:
    """The bytes to train and to guess on."""
    return torch.tensor(list("\n".join(stdlib_prose(1_200_000)).encode()))


def run(way: str, seed: int) -> tuple[float, float, float]:
    return exam(train(way, seed, text()), text()[1_000_000:])


def main() -> None:
    print(f"bits per byte, mean (largest minus smallest) of {len(SEEDS)} seeds", flush=True)
    with ProcessPoolExecutor(2, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        runs = {way: [pool.submit(run, way, seed) for seed in SEEDS] for way in WAYS}
        for way, three in runs.items():
            marks = torch.tensor([one.result() for one in three])
            columns = zip(("trained", "beyond", "cut"), marks.mean(0), marks.amax(0) - marks.amin(0))
            print(f"{way:10}", "  ".join(f"{name} {m:.2f} ({s:.2f})" for name, m, s in columns), flush=True)


if __name__ == "__main__":
    main()
