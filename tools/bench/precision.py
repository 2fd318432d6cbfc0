"""Which numbers may be coarse? Losses and speed of a small model of the microworld in several precisions.

    python tools/bench/precision.py              all of it: about four minutes on one quiet core
                                                 (with units for bfloat16; much longer without)
    python tools/bench/precision.py scratch      from the start, in six ways
    python tools/bench/precision.py on           a trained model goes on with small steps
    python tools/bench/precision.py speed        seconds of a step, as ratios

2 layers x 64 features, 512 ids, 8 rows of 64 positions; the same batches in the same order for all. Losses are means of
the last 20 steps, in nats, one for each of three seeds. Speed: 4 layers x 256 features, 4096 ids, 8 rows of 256
positions; the programs take turns, step by step, so that a busy machine slows all alike. One thread.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from mini_nanochat.microworld.documents import gather
from mini_nanochat.microworld.world import build
from mini_nanochat.model.gpt import GPT, GPTConfig
from mini_nanochat.optim.adamw import AdamW
from mini_nanochat.optim.muon import optimizers
from mini_nanochat.optim.precision import LossScaler, attention_kernel, choose_dtype
from mini_nanochat.tokenizer.tokenizer import Tokenizer
from mini_nanochat.train.schedule import rate_at, set_rates
from mini_nanochat.train.step import Batch, train_step

SMALL = GPTConfig(sequence_len=64, vocab_size=512, n_layer=2, n_head=2, n_kv_head=2, n_embd=64)
LARGE = GPTConfig(sequence_len=256, vocab_size=4096, n_layer=4, n_head=2, n_kv_head=2, n_embd=256)
STEPS, ROWS, SEEDS, TURNS = 120, 8, (1, 2, 3), 8
CPU = torch.device("cpu")
F32, BF16, F16 = torch.float32, torch.bfloat16, torch.float16


@dataclass(frozen=True)
class Kind:
    """What is computed in which dtype."""

    name: str
    compute: torch.dtype = F32
    weights: torch.dtype = F32
    autocast: bool = False
    scaled: bool = False

    def around(self) -> AbstractContextManager[object]:
        """What a step stands in."""
        return torch.autocast("cpu", dtype=BF16) if self.autocast else nullcontext()


KINDS = (
    Kind("float32"),
    Kind("bfloat16, casts seen", BF16),
    Kind("bfloat16, autocast", autocast=True),
    Kind("bfloat16 weights, too", BF16, BF16),
    Kind("float16, no scale", F16),
    Kind("float16, LossScaler", F16, scaled=True),
)


def text() -> Tensor:
    """The microworld as one row of ids."""
    texts = [text for _, text in gather(build(0), "train", 300_000)]
    tokenizer = Tokenizer.train(texts, SMALL.vocab_size)
    return torch.tensor([i for ids in tokenizer.encode_batch(texts) for i in (tokenizer.bos_id, *ids)])


def batches(ids: Tensor, shape: GPTConfig, seed: int) -> Iterator[Batch]:
    """Pieces of the text from random places."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        places = torch.randint(0, len(ids) - shape.sequence_len - 1, (ROWS,), generator=generator)
        rows = torch.stack([ids[i : i + shape.sequence_len + 1] for i in places])
        yield rows[:, :-1].contiguous(), rows[:, 1:].contiguous()


def made(kind: Kind, shape: GPTConfig, seed: int) -> GPT:
    """A new model of this kind."""
    model = GPT(shape)
    model.init(seed)
    model.compute_dtype = kind.compute
    return model.to(kind.weights)


def stepper(kind: Kind, model: GPT, steppers: list[torch.optim.Optimizer]) -> Callable[[Batch], float]:
    """What takes one step and returns its loss."""
    scaler = LossScaler() if kind.scaled else None

    def loss(x: Tensor, y: Tensor) -> Tensor:
        with kind.around():
            return model.loss(x, y)

    def step(batch: Batch) -> float:
        with attention_kernel(CPU, kind.compute, model.config.sequence_len):
            return train_step(loss, [batch], steppers, scaler=scaler).loss

    return step


def muon(model: GPT, kind: Kind) -> list[torch.optim.Optimizer]:
    """The optimizers of a training run, with their large rates."""
    dtype = BF16 if kind.compute != F32 or kind.autocast else F32
    return optimizers(model, model.config.n_embd, 0.03, 0.15, dtype=dtype)


def last_loss(kind: Kind, model: GPT, steppers: list[torch.optim.Optimizer], ids: Tensor, seed: int) -> float:
    """Trains; the mean of the last 20 losses. NaN where it blows up."""
    step, some, losses = stepper(kind, model, steppers), batches(ids, SMALL, seed), []
    for number in range(STEPS):
        set_rates(steppers, rate_at(number, STEPS) if len(steppers) > 1 else 1.0)
        try:
            losses.append(step(next(some)))
        except FloatingPointError:
            return float("nan")
    return statistics.mean(losses[-20:])


def table(title: str, rows: dict[str, list[float]]) -> None:
    print(f"\n{title}\n{'':24}{'seeds':^24}    mean")
    for name, row in rows.items():
        print(f"{name:24}" + "".join(f"{one:8.4f}" for one in row) + f"{statistics.mean(row):8.4f}")


def scratch(ids: Tensor) -> None:
    """From random weights, with the optimizers and rates of a real run."""
    rows: dict[str, list[float]] = {}
    for kind in KINDS:
        models = [made(kind, SMALL, seed) for seed in SEEDS]
        rows[kind.name] = [
            last_loss(kind, model, muon(model, kind), ids, seed) for model, seed in zip(models, SEEDS)
        ]
    table(f"Loss after {STEPS} steps from the start, Muon and AdamW, large rates", rows)


def on(ids: Tensor) -> None:
    """A model that was trained in float32 goes on, with AdamW and a small rate."""
    trained = {}
    for seed in SEEDS:
        model = made(KINDS[0], SMALL, seed)
        last_loss(KINDS[0], model, muon(model, KINDS[0]), ids, seed)
        trained[seed] = model.state_dict()
    for rate in (1e-3, 3e-4, 1e-4):
        rows: dict[str, list[float]] = {}
        for kind in (KINDS[0], KINDS[1], KINDS[3]):
            rows[kind.name] = []
            for seed in SEEDS:
                model = made(kind, SMALL, seed)
                model.load_state_dict(trained[seed])
                adamw: list[torch.optim.Optimizer] = [AdamW(model.parameters(), lr=rate)]
                rows[kind.name].append(last_loss(kind, model, adamw, ids, seed + 10))
        table(f"Loss after {STEPS} more steps, AdamW, rate {rate:g}", rows)


def speed() -> None:
    """How many times as fast as float32 a step of a larger model is."""
    ids = torch.randint(0, LARGE.vocab_size, (100_000,), generator=torch.Generator().manual_seed(0))
    kinds = (KINDS[0], KINDS[1], KINDS[2], KINDS[3])
    steps = []
    for kind in kinds:
        model = made(kind, LARGE, 0)
        steps.append(partial(stepper(kind, model, muon(model, kind)), next(batches(ids, LARGE, 0))))
    taken: list[list[float]] = [[] for _ in kinds]
    for turn in range(TURNS + 2):
        for step, seconds in zip(steps, taken):
            start = time.perf_counter()
            step()
            if turn > 1:  # the first two warm up
                seconds.append(time.perf_counter() - start)
    print(f"\nSpeed of a step, against float32 ({choose_dtype(CPU)[1]})")
    for kind, seconds in zip(kinds, taken):
        print(f"{kind.name:24}{statistics.median(a / b for a, b in zip(taken[0], seconds)):8.2f}")


def main() -> None:
    torch.set_num_threads(1)
    wanted, ids = sys.argv[1:], text()
    parts: dict[str, Callable[[], None]] = {
        "scratch": partial(scratch, ids),
        "on": partial(on, ids),
        "speed": speed,
    }
    for name, part in parts.items():
        if not wanted or name in wanted:
            part()


if __name__ == "__main__":
    main()
