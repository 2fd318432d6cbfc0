"""Build a model and look at it before it has learned anything: its budget, its first loss, its first words."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from mini_nanochat import flags
from mini_nanochat.data import loader, shards
from mini_nanochat.flags import flag
from mini_nanochat.model.gpt import GPT, GPTConfig, count_parameters, flops_per_token, training_bytes
from mini_nanochat.tokenizer.tokenizer import Tokenizer

BAR = 24


@dataclass(frozen=True)
class Config:
    """Settings of the model. Raises ValueError for sizes that cannot work."""

    data: Path = flag(Path("runs/microworld/documents"), "folder of shards; see `mini-nanochat data`")
    tokenizer: Path = flag(Path("runs/microworld/tokenizer"), "folder of a tokenizer; see tok-train")
    depth: int = flag(4, "layers; the width and the heads follow from it")
    sequence_len: int = flag(256, "positions in a row")
    batch_size: int = flag(8, "rows in a batch")
    seed: int = flag(0, "of the weights")
    out: Path | None = flag(None, "folder to save the untrained model in; none: it is not saved")

    def __post_init__(self) -> None:
        for name in ("depth", "sequence_len", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


def budget(counts: dict[str, int], title: str) -> Table:
    """Each part with its share of the total, as a bar."""
    shown = Table(title=title, box=SIMPLE, title_justify="left", title_style="bold", show_header=False)
    shown.add_column()
    shown.add_column(justify="right")
    shown.add_column(justify="right")
    shown.add_column()
    for name, count in counts.items():
        share = count / counts["total"]
        shown.add_row(name, f"{count:,}", f"{share:.1%}", "#" * round(BAR * share) if name != "total" else "")
    return shown


def costs(config: GPTConfig, batch_size: int) -> Table:
    """What a step of training takes."""
    sizes = training_bytes(config, batch_size)
    tokens = batch_size * config.sequence_len
    shown = Table(title="What a step of training takes", box=SIMPLE, title_justify="left", title_style="bold")
    shown.show_header = False
    shown.add_row("arithmetic for a token", f"{flops_per_token(config):,} operations")
    shown.add_row(f"... for {tokens:,} tokens", f"{flops_per_token(config) * tokens / 1e9:,.0f} billion")
    for name, size in sizes.items():
        shown.add_row(f"memory: {name}", f"{size / 1e6:,.1f} MB")
    return shown


def main(config: Config) -> None:
    """Builds and shows. Raises ValueError or OSError for data, a tokenizer or sizes that cannot work."""
    console = Console(markup=False, emoji=False, highlight=False)
    tokenizer = Tokenizer.load(config.tokenizer)
    train, _ = shards.train_and_val(config.data)
    shape = GPTConfig.from_depth(config.depth, tokenizer.vocab_size, config.sequence_len)
    console.print(
        f"A GPT of {shape.n_layer} layers, {shape.n_embd} features wide, {shape.n_head} heads, "
        f"{shape.vocab_size:,} ids, {shape.sequence_len} positions"
    )
    model = GPT(shape)
    model.init(config.seed)
    console.print(budget(count_parameters(shape), "Where its parameters are"))
    console.print(costs(shape, config.batch_size))

    x, y = next(loader.Loader(train, tokenizer, config.batch_size, config.sequence_len))
    with torch.no_grad():
        loss = float(model.loss(x, y))
    console.print("Before it has learned anything", style="bold")
    guess = math.log(shape.vocab_size)
    verdict = (
        "it guesses" if abs(loss - guess) < 1e-3 else "a fresh model should guess, see lesson 1.5, section 5"
    )
    console.print(f"  first loss {loss:.4f}; ln({shape.vocab_size:,}) = {guess:.4f}: {verdict}")
    babble = tokenizer.decode(islice(model.generate([tokenizer.bos_id], 20, seed=config.seed), 20))
    console.print(f"  its first words: {' '.join(babble.split())}")
    if config.out:
        model.save(config.out)
        console.print(f"\nSaved, untrained: {config.out}")


if __name__ == "__main__":
    sys.exit(flags.run(Config, main, prog="mini-nanochat model", description=__doc__))
