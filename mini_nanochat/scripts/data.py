"""A data set to pretrain on: fetches shards of a published one, or writes shards of your own texts.

Either way you get a folder of parquet shards of which the last is the validation set; docs/data.md says more.
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from mini_nanochat import flags
from mini_nanochat.data import download, shards
from mini_nanochat.flags import flag


@dataclass(frozen=True)
class Config:
    """Settings of a data set. Raises ValueError for those that cannot work."""

    name: str | None = flag(None, f"published data set to fetch: {', '.join(download.DATASETS)}")
    own: Path | None = flag(None, f"file or folder of your own texts: {', '.join(shards.OWN_SUFFIXES)}")
    out: Path | None = flag(None, "folder to write; none: runs/data/NAME, or runs/data/own")
    shards: int = flag(4, "training shards to fetch; the validation shard comes on top")
    workers: int = flag(4, "shards to fetch at the same time")
    base_url: str | None = flag(None, "mirror to fetch from, with the same file names")
    val_share: float = flag(0.05, "share of your own documents that is for validation")

    def __post_init__(self) -> None:
        if (self.name is None) == (self.own is None):
            raise ValueError("exactly one of --name and --own must be given")
        if self.name is not None and self.name not in download.DATASETS:
            raise ValueError(f"name must be one of {', '.join(download.DATASETS)}, got {self.name!r}")
        for name in ("shards", "workers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.val_share < 1:
            raise ValueError(f"val_share must be between 0 and 1, got {self.val_share}")

    @property
    def folder(self) -> Path:
        """Where the data set goes."""
        return self.out or Path("runs/data") / (self.name or "own")


class Bar:
    """One bar over the bytes of all shards. Lengths that are not known yet are taken for the average."""

    def __init__(self, files: int, size: int) -> None:
        self.files, self.size = files, size
        self.held: dict[str, int] = {}
        self.totals: dict[str, int] = {}
        self.bar: Any = tqdm(total=files * size, unit="B", unit_scale=True, disable=None)

    def progress(self, shard: str, held: int, total: int | None) -> None:
        """Takes note of how far a shard is, in bytes."""
        self.held[shard] = held
        if total is not None:
            self.totals[shard] = total
            self.size = sum(self.totals.values()) // len(self.totals)
        self.bar.total = sum(self.totals.values()) + self.size * (self.files - len(self.totals))
        self.bar.update(sum(self.held.values()) - self.bar.n)

    def retry(self, sentence: str) -> None:
        """Shows why a shard is tried again."""
        self.bar.write(sentence, file=sys.stderr)


def fetch(config: Config, console: Console) -> None:
    """Fetches the published data set."""
    assert config.name is not None
    dataset = download.DATASETS[config.name]
    size = (config.shards + 1) * dataset.megabytes / 1000
    console.print(f"{config.shards} training shards and the validation shard, about {size:.1f} GB in all")
    bar = Bar(config.shards + 1, dataset.megabytes * 1_000_000)
    with bar.bar:
        download.download(
            dataset,
            config.shards,
            config.folder,
            workers=config.workers,
            base_url=config.base_url,
            on_progress=bar.progress,
            on_retry=bar.retry,
        )


def write(config: Config, console: Console) -> None:
    """Writes the data set of one's own texts."""
    assert config.own is not None
    texts = tqdm(shards.read_own([config.own]), unit=" documents", disable=None)
    counts = shards.write_shards(texts, config.folder, val_share=config.val_share)
    if counts.empty:
        console.print(f"Empty documents left out: {counts.empty:,}")


def show(console: Console, folder: Path) -> None:
    """Reads every shard of the folder once through, and shows what is in it."""
    table = Table(box=SIMPLE)
    for i, column in enumerate(("", "shards", "documents", "characters", "row groups")):
        table.add_column(column, justify="right" if i else "left")
    for side, paths in zip(("train", "val"), shards.train_and_val(folder)):
        groups = shards.row_groups(paths)
        reading = tqdm(groups, desc=f"reading {side}", unit=" row groups", leave=False, disable=None)
        characters = sum(sum(map(len, shards.read_group(group))) for group in reading)
        numbers = (len(paths), sum(group.rows for group in groups), characters, len(groups))
        table.add_row(side, *(f"{number:,}" for number in numbers))
    console.print(table)


def main(config: Config) -> None:
    """Makes the data set, reads it once and shows its size. Raises what fetching, writing and reading raise."""
    console = Console(markup=False, emoji=False, highlight=False)
    (write if config.own else fetch)(config, console)
    show(console, config.folder)
    console.print(
        f"{config.folder} is ready: every shard was read once through.", style="bold", soft_wrap=True
    )
    if config.name:
        console.print("With more --shards, the same command adds to it; the validation set stays.")
    data, out = (shlex.quote(str(path)) for path in (config.folder, config.folder / "tokenizer"))
    console.print(
        f"Next, a tokenizer that fits it: mini-nanochat tok-train --data {data} --out {out}", soft_wrap=True
    )


if __name__ == "__main__":
    sys.exit(flags.run(Config, main, prog="mini-nanochat data", description=__doc__))
