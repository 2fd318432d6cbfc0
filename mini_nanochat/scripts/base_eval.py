"""Measure a pretrained model: bits per byte, mini-CORE beside chance and an untrained model, and what it writes."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from mini_nanochat import flags, runtime
from mini_nanochat.data import shards
from mini_nanochat.flags import flag
from mini_nanochat.microworld import core
from mini_nanochat.model.gpt import GPT
from mini_nanochat.tokenizer.tokenizer import Tokenizer
from mini_nanochat.train import run

ROWS = 16  # of a batch


@dataclass(frozen=True)
class Config:
    """Settings of the evaluation. Raises ValueError for sizes that cannot work."""

    run: Path = flag(Path("runs/base"), "folder of a run; see base-train")
    data: Path = flag(Path("runs/microworld/documents"), "folder of shards; its last shard is looked at")
    exams: Path | None = flag(Path("runs/microworld/exams/core.jsonl"), "items of mini-CORE; none: no exam")
    tokens: int = flag(1_000_000, "tokens of the validation shard to look at, at most")
    samples: int = flag(5, "documents to write")
    device: str | None = flag(None, "cpu, cuda, mps; none: the best one here")

    def __post_init__(self) -> None:
        if self.tokens < 1:
            raise ValueError(f"tokens must be at least 1, got {self.tokens}")


def measure(config: Config, model: GPT, tokenizer: Tokenizer, val: list[Path]) -> dict[str, float]:
    """Name -> figure: bits per byte, and the accuracy of each task."""
    length = model.config.sequence_len
    found = {"bits per byte": run.val_bpb(model, tokenizer, val, ROWS, length, config.tokens)}
    if config.exams:
        device = model.wte.weight.device
        items = core.load_items(config.exams)
        scores = core.mini_core(model, tokenizer, items, length, device)
        found |= {f"{name} ({one.n} items)": one.accuracy for name, one in scores.items()}
        found["mini-CORE (0 guessing, 1 all right)"] = core.average(scores)
    return found


def main(config: Config) -> None:
    """Measures and shows. Raises ValueError or OSError for a run or data that cannot be read."""
    console = Console(markup=False, emoji=False, highlight=False)
    device = runtime.pick_device(config.device)
    model, tokenizer, step = run.model_of(config.run, console.print)
    _, val = shards.train_and_val(config.data)
    untrained = GPT(model.config)
    untrained.init()
    columns = [measure(config, one.to(device), tokenizer, val) for one in (untrained, model)]
    shown = Table(title=f"{config.run}", box=SIMPLE, title_justify="left", title_style="bold")
    for name in ("", "untrained", f"after {step} steps"):
        shown.add_column(name, justify="right" if name else "left")
    for name, before in columns[0].items():
        shown.add_row(name, f"{before:.3f}", f"{columns[1][name]:.3f}")
    console.print(shown)
    console.print("An untrained model finds all options alike: what it gets is chance.")
    for seed in range(config.samples):
        console.print(f"\n{run.document(model, tokenizer, seed, 120)}")


if __name__ == "__main__":
    sys.exit(flags.run(Config, main, prog="mini-nanochat base-eval", description=__doc__))
