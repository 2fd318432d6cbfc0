"""The microworld: writes Pebbleford, a small invented town, as a data set for every stage of the pipeline.

Documents to pretrain on, conversations to fine-tune on, problems for reinforcement learning and exams,
all from one seed, without a download. docs/microworld.md says what is in it and what is held out.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from mini_nanochat import flags
from mini_nanochat.flags import flag
from mini_nanochat.microworld import write


@dataclass(frozen=True)
class Config:
    """Settings of the microworld. Raises ValueError for sizes that cannot work."""

    out: Path = flag(Path("runs/microworld"), "folder to write; must be empty, new, or this very world")
    megabytes: float = flag(8.0, "megabytes of training documents")
    seed: int = flag(1, "another number, another town")
    shards: int = flag(4, "parquet files of training documents; one more holds the validation documents")
    row_group: int = flag(1024, "documents in a row group of a parquet file")
    samples: int = flag(1, "documents of each kind to show")

    def __post_init__(self) -> None:
        if not 0.05 <= self.megabytes <= 1000:
            raise ValueError(f"megabytes must be between 0.05 and 1000, got {self.megabytes}")
        for name, least in (("shards", 1), ("row_group", 1), ("samples", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")


def table(title: str, *columns: str) -> Table:
    """An empty table, its first column to the left and the others to the right."""
    made = Table(title=title, box=SIMPLE, title_justify="left", title_style="bold")
    for i, column in enumerate(columns):
        made.add_column(column, justify="right" if i else "left")
    return made


def documents_table(made: write.Contents) -> Table:
    """Kinds of documents: how many, their share, their average length."""
    manifest = made.manifest["documents"]
    *train, _ = made.shards.values()
    length: dict[str, int] = {}
    for part in train:
        for kind, text in part:
            length[kind] = length.get(kind, 0) + len(text)
    total = sum(manifest["train"]["kinds"].values())
    shown = table("Documents", "kind", "training", "share", "characters each", "validation")
    for kind, n in manifest["train"]["kinds"].items():
        held = manifest["val"]["kinds"].get(kind, 0)
        shown.add_row(kind, f"{n:,}", f"{n / total:.1%}", f"{length[kind] / n:.0f}", f"{held:,}")
    shown.add_row("all", f"{total:,}", "", "", f"{sum(manifest['val']['kinds'].values()):,}")
    return shown


def conversations_table(counts: dict[str, dict[str, int]]) -> Table:
    """Kinds of conversations, file by file."""
    kinds = sorted({kind for kinds in counts.values() for kind in kinds})
    shown = table("Conversations", "kind", *counts)
    for kind in kinds:
        shown.add_row(kind, *(f"{n:,}" if (n := counts[name].get(kind)) else "" for name in counts))
    shown.add_row("all", *(f"{sum(kinds.values()):,}" for kinds in counts.values()))
    return shown


def exams_table(exams: dict[str, dict[str, Any]]) -> Table:
    """Exams with their baselines."""
    shown = table("Exams", "exam", "items", "chance", "majority")
    for name, row in exams.items():
        shown.add_row(name, str(row["n"]), f"{row['chance']:.2f}", f"{row['majority']:.2f}")
    return shown


def first_of(part: Any, kind: str, n: int) -> list[Any]:
    """The first `n` records of a kind; a record is a (kind, text) or has a "kind"."""
    return [one for one in part if (one[0] if isinstance(one, tuple) else one["kind"]) == kind][:n]


def spoken(content: str | list[dict[str, str]]) -> str:
    """What a message says, a call of the calculator in brackets."""
    if isinstance(content, str):
        return content
    marks = {"text": "{}", "python": "[{}", "python_output": "= {}]"}
    return " ".join(marks[part["type"]].format(part["text"]) for part in content)


def show_samples(console: Console, made: write.Contents, n: int) -> None:
    """The first documents and conversations of each kind."""
    documents = next(iter(made.shards.values()))
    console.print("A few documents", style="bold")
    for kind in made.manifest["documents"]["train"]["kinds"]:
        for _, text in first_of(documents, kind, n):
            console.print(f"  {kind}: {text}")
    console.print("\nA few conversations", style="bold")
    talks = made.lines["conversations/sft_train.jsonl"]
    for kind in made.manifest["conversations"]["sft_train"]:
        for talk in first_of(talks, kind, n):
            console.print(f"  {kind}:")
            for message in talk["messages"]:
                console.print(f"    {message['role']}: {spoken(message['content'])}")


def main(config: Config) -> None:
    """Writes the world and shows what is in it. Raises FileExistsError if the folder is something else."""
    console = Console(markup=False, emoji=False, highlight=False)
    start = perf_counter()
    made, new = write.write(
        config.out,
        megabytes=config.megabytes,
        seed=config.seed,
        shards=config.shards,
        row_group=config.row_group,
    )
    seconds = perf_counter() - start
    size = made.manifest["documents"]["train"]["bytes"]
    verb = "Written to" if new else "Already there, whole and the same:"
    console.print(documents_table(made))
    removed = made.manifest["documents"]["removed_from_val_because_in_train"]
    console.print(f"{removed} validation documents were removed: they occur word for word in training.\n")
    console.print(conversations_table(made.manifest["conversations"]))
    console.print(exams_table(made.manifest["exams"]))
    if config.samples:
        show_samples(console, made, config.samples)
    console.print(f"\n{verb} {config.out}: {size / 1e6:.1f} MB of documents, {seconds:.1f} s", style="bold")
    console.print(f"fingerprint {made.manifest['fingerprint'][:16]}, seed {config.seed}")
    console.print("A teaching instrument with a known truth, not a benchmark: see docs/microworld.md")


if __name__ == "__main__":
    sys.exit(flags.run(Config, main, prog="mini-nanochat microworld", description=__doc__))
