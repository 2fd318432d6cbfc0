"""Does clipping help? A small model on the microworld, with and without a limit for its gradient's norm.

    python tools/bench/clipping.py          three limits, two rates, three seeds: under three minutes of CPU
    python tools/bench/clipping.py bad      the same with one batch of noise in the middle

A GPT of 2 layers and 64 features, 64 positions, BPE with 512 ids, 32 rows a batch in two parts, AdamW without
warm-up, constant rate. What is printed is bits per byte on documents that were not trained on.
"""

from __future__ import annotations

import math
import sys
from functools import cache

import torch
from torch import Tensor

from mini_nanochat.data.loader import Buffer, cut, pack_row, shift
from mini_nanochat.microworld.documents import gather, validation
from mini_nanochat.microworld.world import build
from mini_nanochat.model.gpt import GPT, GPTConfig
from mini_nanochat.tokenizer.tokenizer import Tokenizer
from mini_nanochat.train.objective import evaluate_bpb
from mini_nanochat.train.step import train_step

T, VOCAB, ROWS, STEPS = 64, 512, 32, 150
SEEDS, RATES, LIMITS = (1, 2, 3), (0.003, 0.02), (math.inf, 1.0, 0.25)
BAD = 100  # the step of the batch of noise
Rows = tuple[Tensor, Tensor]


def rows_of(texts: list[str], tokenizer: Tokenizer) -> Rows:
    """All texts, packed into rows: (N, T) inputs and targets."""
    buffer = Buffer()
    for text in texts:
        for piece in cut(tokenizer.encode(text), tokenizer.bos_id, T):
            buffer.add(piece)
    rows = []
    while buffer:
        rows.append(shift(pack_row(buffer, T), T, tokenizer.bos_id))
    x, y = zip(*rows)
    return torch.tensor(x), torch.tensor(y)


@cache
def data() -> tuple[Rows, Rows, Tensor]:
    """Rows to learn from, rows to judge by, and the bytes of each id."""
    world = build(0)
    train = gather(world, "train", 600_000)
    val, _ = validation(world, train, 60_000)
    tokenizer = Tokenizer.train([text for _, text in train], VOCAB)
    sets = ([text for _, text in part] for part in (train, val))
    learn, judge = (rows_of(texts, tokenizer) for texts in sets)
    return learn, judge, torch.tensor(tokenizer.token_bytes())


def run(rate: float, limit: float, seed: int, bad: bool) -> tuple[float, list[float]]:
    """Bits per byte in the end, and the norm of each step."""
    (x, y), (x_val, y_val), token_bytes = data()
    model = GPT(GPTConfig(T, VOCAB, 2, 2, 2, 64))
    model.init(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.8, 0.95), weight_decay=0.0)
    draw, norms = torch.Generator().manual_seed(seed), []
    for step in range(STEPS):
        chosen = torch.randint(len(x), (ROWS,), generator=draw)
        xs, ys = x[chosen], y[chosen]
        if bad and step == BAD:
            xs, ys = (torch.randint(VOCAB, (ROWS, T), generator=draw) for _ in range(2))
        parts = list(zip(xs.split(ROWS // 2), ys.split(ROWS // 2)))
        norms.append(train_step(model.loss, parts, [optimizer], limit).norm)
    return evaluate_bpb(model.loss, [(x_val, y_val)], token_bytes), norms


def main(bad: bool) -> None:
    torch.set_num_threads(1)
    print(
        "rate    limit  bits per byte: mean (span), each seed    norm: step 1, median and largest from step 21 on"
    )
    for rate in RATES:
        for limit in LIMITS:
            results = [run(rate, limit, seed, bad) for seed in SEEDS]
            bits = [result for result, _ in results]
            late = sorted(norm for _, norms in results for norm in norms[20:])
            over = sum(norm > limit for norm in late) / len(late)
            each = " ".join(f"{bit:.3f}" for bit in bits)
            print(
                f"{rate:<7} {limit:<6} {sum(bits) / 3:.3f} ({max(bits) - min(bits):.3f})  {each}    "
                f"{results[0][1][0]:.2f}, {late[len(late) // 2]:.2f}, {late[-1]:.2f}; clipped {over:.0%}",
                flush=True,
            )


if __name__ == "__main__":
    main("bad" in sys.argv[1:])
