"""Muon for the matrices against AdamW for everything: the same small model, the same text, the same number of steps.

    python tools/bench/muon.py           losses after 200 steps on the microworld: rates, three seeds
    python tools/bench/muon.py time      the share of a step that Newton-Schulz takes, float32 and bfloat16

Embedding and head are stepped by AdamW with our rates in all runs, so that only the rule of the matrices differs;
"one rate" is AdamW with a single rate for all weights, as one would begin with. "Momentum" is Muon without
Newton-Schulz: the mean of the gradients, brought to the length of Muon's step. Rates are constant for 60 % of the steps
and then fall to zero (lesson 2.3). Each rule is judged at the best of its rates. Read the ratios of the times, not
the times.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from mini_nanochat.microworld.documents import gather, validation
from mini_nanochat.microworld.world import build
from mini_nanochat.model.gpt import GPT, GPTConfig
from mini_nanochat.optim.adamw import AdamW
from mini_nanochat.optim.muon import Muon, newton_schulz, optimizers, roles
from mini_nanochat.tokenizer.tokenizer import Tokenizer
from mini_nanochat.train.schedule import rate_at, set_rates
from mini_nanochat.train.step import train_step

SHAPE = GPTConfig(sequence_len=64, vocab_size=512, n_layer=2, n_head=2, n_kv_head=2, n_embd=64)
ROWS, STEPS, SEEDS = 16, 200, (0, 1, 2)
RATES = {
    "Muon": (0.02, 0.04, 0.08),
    "AdamW": (0.006, 0.012, 0.024),
    "AdamW, one rate": (0.006, 0.012, 0.024),
    "momentum": (0.01, 0.02, 0.04),
}
FEWER = (120, 140, 160, 180)  # steps after which Muon is looked at, in runs of their own
Rule = Callable[[GPT, float], Sequence[Optimizer]]


def muon(model: GPT, rate: float) -> Sequence[Optimizer]:
    return optimizers(model, SHAPE.n_embd, matrix_lr=rate)


def adamw(model: GPT, rate: float) -> Sequence[Optimizer]:
    """The same two groups for embedding and head, and a third one for the matrices."""
    ends, _ = optimizers(model, SHAPE.n_embd)
    return [ends, AdamW(roles(model).matrices, lr=rate, betas=(0.9, 0.95))]


def one_rate(model: GPT, rate: float) -> Sequence[Optimizer]:
    return [AdamW(model.parameters(), lr=rate, betas=(0.9, 0.95))]


def momentum(model: GPT, rate: float) -> Sequence[Optimizer]:
    ends, _ = optimizers(model, SHAPE.n_embd)
    return [ends, Plain(roles(model).matrices, lr=rate)]


class Plain(Muon):
    """Momentum, each step as long as Muon's would be."""

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for w in group["params"]:
                update = self._momentum(w, group["momentum"])
                length = min(w.shape) ** 0.5 * max(1.0, w.shape[0] / w.shape[1]) ** 0.5
                w.sub_(update, alpha=group["lr"] * length / (float(update.norm()) + 1e-7))


def text() -> tuple[Tensor, Tensor]:
    """Ids of the microworld, documents one after the other: (to learn from, held out)."""
    world = build(0)
    train = gather(world, "train", 500_000)
    held_out, _ = validation(world, train, 50_000)
    tokenizer = Tokenizer.train([words for _, words in train], SHAPE.vocab_size)

    def stream(documents: Sequence[tuple[str, str]]) -> Tensor:
        return torch.tensor(
            [i for _, words in documents for i in (tokenizer.bos_id, *tokenizer.encode(words))]
        )

    return stream(train), stream(held_out)


def batch(ids: Tensor, rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    starts = torch.randint(len(ids) - SHAPE.sequence_len, (rows, 1), generator=generator)
    windows = ids[starts + torch.arange(SHAPE.sequence_len + 1)]
    return windows[:, :-1], windows[:, 1:]


def train(rule: Rule, rate: float, seed: int, ids: Tensor, held_out: Tensor, steps: int = STEPS) -> float:
    """Nats for each token of held-out text after `steps` steps."""
    model = GPT(SHAPE)
    model.init(seed)
    rules, generator = rule(model, rate), torch.Generator().manual_seed(seed)
    for step in range(steps):
        set_rates(rules, rate_at(step, steps))
        train_step(model.loss, [batch(ids, ROWS, generator)], rules)
    with torch.no_grad():
        return float(model.loss(*batch(held_out, 256, torch.Generator().manual_seed(9))))


def losses() -> None:
    ids, held_out = text()
    print(f"{len(ids):,} tokens; nats a token after {STEPS} steps of {ROWS} x {SHAPE.sequence_len}")
    rules = {"Muon": muon, "AdamW": adamw, "AdamW, one rate": one_rate, "momentum": momentum}
    best: dict[str, tuple[float, float]] = {}

    def row(name: str, rate: float, steps: int) -> float:
        each = [train(rules[name], rate, seed, ids, held_out, steps) for seed in SEEDS]
        mean, span = statistics.mean(each), max(each) - min(each)
        shown = " ".join(f"{loss:.3f}" for loss in each)
        print(
            f"{name:16} rate {rate:<6} {steps} steps: {shown}   mean {mean:.3f}, span {span:.3f}", flush=True
        )
        return mean

    for name, rates in RATES.items():
        best[name] = min((row(name, rate, STEPS), rate) for rate in rates)
    print("Muon at its best rate, in fewer steps:")
    for steps in FEWER:
        row("Muon", best["Muon"][1], steps)


def seconds(work: Callable[[], object], repeats: int = 9) -> float:
    work()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def times() -> None:
    """Medians of nine; everything on one thread."""
    larger = GPTConfig(sequence_len=256, vocab_size=4096, n_layer=4, n_head=2, n_kv_head=2, n_embd=256)
    for shape, rows in ((SHAPE, ROWS), (larger, 8)):
        width, length = shape.n_embd, shape.sequence_len
        generator = torch.Generator().manual_seed(0)
        for dtype in (torch.float32, torch.bfloat16):
            model = GPT(shape)
            model.init()
            model.compute_dtype = dtype
            x, y = (torch.randint(shape.vocab_size, (rows, length), generator=generator) for _ in range(2))
            backward = seconds(lambda model=model, x=x, y=y: model.loss(x, y).backward())
            ends, matrices = optimizers(model, width, dtype=dtype)
            shapes: dict[tuple[int, ...], list[Tensor]] = {}
            for w in roles(model).matrices:
                shapes.setdefault(tuple(w.shape), []).append(torch.randn(w.shape).to(dtype))
            stacks = [torch.stack(some) for some in shapes.values()]
            polish = seconds(lambda stacks=stacks: [newton_schulz(stack) for stack in stacks])
            whole = backward + seconds(ends.step) + seconds(matrices.step)
            print(
                f"width {width}, {rows} x {length} tokens, {str(dtype)[6:]}: Newton-Schulz takes "
                f"{100 * polish / whole:.0f} % of a step, {polish / backward:.2f} of forward and backward"
            )


if __name__ == "__main__":
    torch.set_num_threads(1)
    (times if sys.argv[1:] == ["time"] else losses)()
