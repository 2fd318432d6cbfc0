"""A step of training, from ids to new weights: ours against nanochat of mid-2026, or against our own slow twin.

    python tools/bench/training.py
    python tools/bench/training.py --nanochat CHECKOUT --json training.json

4 layers x 256 features, 4096 ids, 8 rows of 256 positions. Each program runs in a process of its own, and they take
turns, step by step, so that a busy machine slows all alike: read the ratios. The slow twin is the same model in
float32 with the readable attention of lesson 1.2, a loss that holds all logits, and Newton-Schulz in float32.
nanochat's optimizer is compiled in any case; its model is compiled by default, and in float32 on a CPU.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from mini_nanochat.model import attention
from mini_nanochat.model.gpt import CAP, GPT, GPTConfig
from mini_nanochat.model.head import plain_loss
from mini_nanochat.optim.muon import optimizers
from mini_nanochat.optim.precision import attention_kernel, choose_dtype
from mini_nanochat.train.step import train_step

SHAPE = GPTConfig(sequence_len=256, vocab_size=4096, n_layer=4, n_head=2, n_kv_head=2, n_embd=256)
ROWS = 8
TOKENS = ROWS * SHAPE.sequence_len
CPU = torch.device("cpu")
Step = Callable[[], tuple[float, float]]  # the loss, and the seconds that the optimizers took


def batch() -> tuple[Tensor, Tensor]:
    """Ids that can be learned: each row counts up by a step of its own."""
    generator = torch.Generator().manual_seed(0)
    pace = torch.randint(1, 9, (ROWS, 1), generator=generator)
    start = torch.randint(0, SHAPE.vocab_size, (ROWS, 1), generator=generator)
    ids = (start + pace * torch.arange(SHAPE.sequence_len + 1)) % SHAPE.vocab_size
    return ids[:, :-1].contiguous(), ids[:, 1:].contiguous()


class Watched:
    """An optimizer whose time is measured."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer, self.param_groups, self.seconds = optimizer, optimizer.param_groups, 0.0
        self.zero_grad = optimizer.zero_grad

    def step(self) -> None:
        start = time.perf_counter()
        self.optimizer.step()
        self.seconds = time.perf_counter() - start


def ours(dtype: torch.dtype, compiled: bool = False) -> Step:
    model = GPT(SHAPE)
    model.init()
    model.compute_dtype = dtype
    loss = torch.compile(model.loss, dynamic=False) if compiled else model.loss
    watched = [Watched(one) for one in optimizers(model, SHAPE.n_embd, dtype=dtype)]
    part = batch()

    def step() -> tuple[float, float]:
        with attention_kernel(CPU, dtype, SHAPE.sequence_len):
            done = train_step(loss, [part], watched)  # type: ignore[arg-type]
        return done.loss, sum(one.seconds for one in watched)

    return step


def slow_twin() -> Step:
    attention.attend_fast = attention.attend
    model = GPT(SHAPE)
    model.init()
    watched = [Watched(one) for one in optimizers(model, SHAPE.n_embd)]
    part = batch()

    def loss(x: Tensor, y: Tensor) -> Tensor:
        return plain_loss(model.features(x).flatten(0, 1), model.lm_head.weight, y.flatten(), CAP)

    def step() -> tuple[float, float]:
        done = train_step(loss, [part], watched)  # type: ignore[arg-type]
        return done.loss, sum(one.seconds for one in watched)

    return step


def nanochat(checkout: Path, compiled: bool) -> Step:
    sys.path.insert(0, str(checkout))
    from nanochat import gpt

    shape = {
        name: getattr(SHAPE, name)
        for name in ("sequence_len", "vocab_size", "n_layer", "n_head", "n_kv_head", "n_embd")
    }
    model = gpt.GPT(gpt.GPTConfig(**shape))
    model.init_weights()
    optimizer = model.setup_optimizer()
    run = torch.compile(model, dynamic=False) if compiled else model
    x, y = batch()

    def step() -> tuple[float, float]:
        loss = run(x, y)
        loss.backward()
        start = time.perf_counter()
        optimizer.step()
        seconds = time.perf_counter() - start
        model.zero_grad(set_to_none=True)
        return loss.item(), seconds

    return step


def programs(checkout: Path | None) -> dict[str, Callable[[], Step]]:
    """Name -> what builds it. Ours that runs by default comes first, what it is measured against second."""
    dtype, _ = choose_dtype(CPU)
    coarse = dtype == torch.bfloat16  # where a processor only imitates it, one step would take minutes
    found: dict[str, Callable[[], Step]] = {"ours": partial(ours, dtype)}
    if checkout:
        found["nanochat, default (compiled, float32)"] = partial(nanochat, checkout, True)
        if coarse:
            found["nanochat, compiled, bfloat16"] = partial(nanochat, checkout, True)
    found["slow twin"] = slow_twin
    if coarse:
        found["ours, float32"] = partial(ours, torch.float32)
    found["ours, compiled"] = partial(ours, dtype, True)
    return found


def work(build: Callable[[], Step]) -> None:
    """A process that takes a step for each line on stdin, and answers with a line of JSON."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    with contextlib.redirect_stdout(sys.stderr):
        step = None
        for _ in sys.stdin:
            start = time.perf_counter()
            if step is None:  # to build it is a part of the first step
                torch.manual_seed(0)
                step = build()
            loss, optimizer = step()
            seconds = time.perf_counter() - start
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
                1e6 if sys.platform == "darwin" else 1e3
            )
            record = {"seconds": seconds, "optimizer": optimizer, "loss": loss, "mb": peak}
            print(json.dumps(record), file=answers, flush=True)


class Worker:
    """A program in a process of its own."""

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
        environment["NANOCHAT_DTYPE"] = "bfloat16" if name.endswith("bfloat16") else "float32"
        command = [sys.executable, __file__, "--work", name]
        command += ["--nanochat", str(options.nanochat)] if options.nanochat else []
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def step(self) -> dict[str, float]:
        """One step. The time that this process waits between steps is not counted."""
        assert self.process.stdin and self.process.stdout and self.process.stderr
        self.process.stdin.write("step\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(self.process.stderr.read()[-3000:])
        return dict(json.loads(line))


def measure(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """All programs, a step each in turns; what came out of it, by name."""
    names = list(programs(options.nanochat))
    workers = {name: Worker(name, options) for name in names}
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(options.steps + 2):
        for name, worker in workers.items():
            rows[name].append(worker.step())
    for worker in workers.values():
        worker.process.kill()
    against = rows[names[1]]
    return {name: summary(rows[name], against) for name in names}


def summary(rows: list[dict[str, float]], against: list[dict[str, float]]) -> dict[str, float]:
    """Medians of the steps after the first two; the ratio is that of neighbours in time."""
    steady = rows[2:]
    return {
        "tokens_per_second": TOKENS / statistics.median(row["seconds"] for row in steady),
        "ratio": statistics.median(
            other["seconds"] / row["seconds"] for row, other in zip(steady, against[2:])
        ),
        "optimizer_share": statistics.median(row["optimizer"] / row["seconds"] for row in steady),
        "first_step_seconds": rows[0]["seconds"],
        "peak_mb": rows[-1]["mb"],
        "first_loss": rows[0]["loss"],
        "last_loss": rows[-1]["loss"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nanochat", type=Path, help="a checkout of nanochat at 92d63d4")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.nanochat and not (options.nanochat / "nanochat" / "optim.py").is_file():
        parser.error(
            f"{options.nanochat} is no checkout of nanochat at 92d63d4: nanochat/optim.py is missing"
        )
    if options.work:
        return work(programs(options.nanochat)[options.work])
    found = measure(options)
    second = list(found)[1]
    print(
        f"{options.threads} thread(s), medians of {options.steps} steps of {TOKENS} tokens; {choose_dtype(CPU)[1]}"
    )
    print(f"{'':40}{'tokens/s':>9}  x {second[:20]:20}  optimizer  first step  peak MB  loss")
    for name, row in found.items():
        losses = f"{row['first_loss']:.3f} .. {row['last_loss']:.3f}"
        print(
            f"{name:40}{row['tokens_per_second']:9,.0f}  {row['ratio']:22.2f}  {row['optimizer_share']:9.0%}"
            f"{row['first_step_seconds']:10.1f} s {row['peak_mb']:8,.0f}  {losses}"
        )
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
