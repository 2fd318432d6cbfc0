"""Stream batches from a data set, as training will: how fast, how full, and the first row as a model sees it."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import torch
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from mini_nanochat import flags
from mini_nanochat.data import loader, shards
from mini_nanochat.flags import flag
from mini_nanochat.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class Config:
    """Settings of the stream. Raises ValueError for sizes that cannot work."""

    data: Path = flag(Path("runs/microworld/documents"), "folder of shards; see `mini-nanochat data`")
    tokenizer: Path = flag(Path("runs/microworld/tokenizer"), "folder of a tokenizer; see tok-train")
    batch_size: int = flag(32, "rows in a batch")
    sequence_len: int = flag(256, "positions in a row")
    batches: int = flag(200, "batches to stream")

    def __post_init__(self) -> None:
        if self.batches < 2:
            raise ValueError(f"batches must be at least 2, got {self.batches}")


def row_as_text(tokenizer: Tokenizer, x: torch.Tensor, y: torch.Tensor) -> str:
    """A row's documents, one a line; [] stands around what teaches nothing."""
    text = tokenizer.decode(x[y != loader.IGNORE].tolist()).strip()
    padding = int((y == loader.IGNORE).sum())
    return text.replace("<|bos|>", "\n<|bos|> ").strip() + (
        f"\n[{padding} positions of padding]" * (padding > 0)
    )


def resumes(config: Config, train: list[Path], tokenizer: Tokenizer) -> bool:
    """Whether a loader that was stopped half way and started again gives the batches it would have given."""
    half = config.batches // 2
    whole = loader.Loader(train, tokenizer, config.batch_size, config.sequence_len)
    for _ in range(half):
        next(whole)
    again = loader.Loader(train, tokenizer, config.batch_size, config.sequence_len)
    again.restore(json.loads(json.dumps(whole.state())))
    pairs = (zip(next(whole), next(again)) for _ in range(config.batches - half))
    return all(torch.equal(one, two) for pair in pairs for one, two in pair)


def main(config: Config) -> None:
    """Streams and reports. Raises ValueError or OSError for data, a tokenizer or sizes that cannot work."""
    console = Console(markup=False, emoji=False, highlight=False)
    train, _ = shards.train_and_val(config.data)
    tokenizer = Tokenizer.load(config.tokenizer)
    stream = loader.Loader(train, tokenizer, config.batch_size, config.sequence_len)
    start = perf_counter()
    x, y = next(stream)
    latency = perf_counter() - start
    console.print("The first row, as a model will read it", style="bold")
    console.print(row_as_text(tokenizer, x[0], y[0]) + "\n")
    ignored, start = 0, perf_counter()
    for _ in range(config.batches):
        _, y = next(stream)
        ignored += int((y == loader.IGNORE).sum())
    seconds = perf_counter() - start
    tokens = config.batches * y.numel()
    same = resumes(config, train, tokenizer)
    shown = Table(title="Batches", box=SIMPLE, title_justify="left", title_style="bold", show_header=False)
    place = stream.position
    facts = {
        "streamed": f"{config.batches} batches of {config.batch_size} x {config.sequence_len}: {tokens:,} tokens",
        "speed": f"{tokens / seconds:,.0f} tokens per second",
        "the first batch after": f"{latency:.2f} s",
        "positions that teach nothing": f"{ignored / tokens:.2%}",
        "read so far": f"epoch {place.epoch + 1}, row group {place.group + 1} of {len(stream.groups)}",
        "stopped half way and resumed": "the same batches, bit for bit" if same else "OTHER BATCHES",
    }
    for fact in facts.items():
        shown.add_row(*fact)
    console.print(shown)
    if not same:
        raise ValueError(
            "the loader does not resume exactly: see lesson 0.4, Loader.state and Loader.restore"
        )


if __name__ == "__main__":
    sys.exit(flags.run(Config, main, prog="mini-nanochat batches", description=__doc__))
