"""Which way down? A small model on the microworld: the same steps and batches, and the rate goes different ways.

    python tools/bench/schedules.py           the ways down, at three rates: under four minutes on one quiet core
    python tools/bench/schedules.py slow      the same at a smaller rate: about one minute
    python tools/bench/schedules.py batches   batches of 64 to 2048 tokens, equal tokens in all: about four minutes

Two blocks of 64 features, 64 positions, a BPE vocabulary of 512, AdamW, no weight decay, no warm-up. Losses are
nats per token on documents that the model has not seen, after the last step: the mean of three seeds (their span).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from mini_nanochat.microworld.documents import gather, validation
from mini_nanochat.microworld.world import build
from mini_nanochat.model.gpt import GPT, GPTConfig
from mini_nanochat.tokenizer.tokenizer import Tokenizer
from mini_nanochat.train.schedule import rate_at, set_rates

BYTES, VOCAB, SEEN, ROWS, STEPS = 800_000, 512, 64, 4, 300
SEEDS = (1, 2, 3)
RATES = {"main": (0.008, 0.016, 0.032), "slow": (0.004,), "batches": (0.004, 0.008, 0.016)}
Schedule = Callable[[int, int], float]


def cosine(step: int, n: int, last: float = 0.0) -> float:
    """Half a wave from 1 at step 0 down to `last` at step n."""
    return last + (1 - last) * (1 + math.cos(math.pi * step / n)) / 2


SCHEDULES: dict[str, Schedule] = {
    "constant": lambda step, n: 1.0,
    "down over 20 %": partial(rate_at, warmdown=0.2),
    "down over 40 %": partial(rate_at, warmdown=0.4),
    "down over 65 % to 0.05": partial(rate_at, warmdown=0.65, last=0.05),
    "down over 100 %": partial(rate_at, warmdown=1.0),
    "cosine to 0": cosine,
    "cosine to 0.1": partial(cosine, last=0.1),
}


def text() -> tuple[Tensor, Tensor]:
    """Ids of the microworld: to learn from, and to be tested on."""
    world = build(0)
    train = gather(world, "train", BYTES)
    unseen, _ = validation(world, train, BYTES // 10)
    tokenizer = Tokenizer.train([one for _, one in train], VOCAB)

    def ids(documents: list[tuple[str, str]]) -> Tensor:
        rows = tokenizer.encode_batch([one for _, one in documents])
        return torch.tensor([i for row in rows for i in (tokenizer.bos_id, *row)])

    return ids(train), ids(unseen)


def batch(ids: Tensor, rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    at = torch.randint(len(ids) - SEEN - 1, (rows, 1), generator=generator) + torch.arange(SEEN + 1)
    return ids[at][:, :-1], ids[at][:, 1:]


def train(
    data: tuple[Tensor, Tensor],
    schedule: Schedule,
    rate: float,
    seed: int,
    rows: int = ROWS,
    steps: int = STEPS,
) -> float:
    """The loss on unseen documents after the last step; NaN if the run blows up."""
    seen, unseen = data
    model = GPT(GPTConfig(SEEN, VOCAB, 2, 2, 2, 64))
    model.init(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=0.0)
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        set_rates([optimizer], schedule(step, steps))
        optimizer.zero_grad()
        model.loss(*batch(seen, rows, generator)).backward()
        optimizer.step()
    with torch.no_grad():
        return model.loss(*batch(unseen, 512, torch.Generator().manual_seed(9))).item()


def cell(losses: Sequence[float]) -> str:
    return f"{sum(losses) / len(losses):.3f} ({max(losses) - min(losses):.3f})"


def main(arguments: Sequence[str]) -> None:
    torch.set_num_threads(1)
    data = text()
    mode = arguments[0] if arguments else "main"
    print(f"{len(data[0]):,} tokens to learn from, {len(data[1]):,} unseen")
    rates = RATES[mode]
    header = " | ".join(f"rate {rate}" for rate in rates)
    if mode != "batches":
        print(f"| {STEPS} steps of {ROWS * SEEN} tokens | {header} |")
        for name, schedule in SCHEDULES.items():
            cells = [cell([train(data, schedule, rate, seed) for seed in SEEDS]) for rate in rates]
            print(f"| {name} | {' | '.join(cells)} |", flush=True)
    else:
        tokens = STEPS * ROWS * SEEN
        print(f"| batch of {tokens:,} tokens | steps | {header} |")
        for rows in (1, 2, 4, 8, 16, 32):
            steps = tokens // (rows * SEEN)
            down = SCHEDULES["down over 40 %"]
            cells = [cell([train(data, down, rate, seed, rows, steps) for seed in SEEDS]) for rate in rates]
            print(f"| {rows * SEEN} | {steps} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
