"""Train a tokenizer on the training shards of a data set, and measure it on the validation shard.

The merges are learned in Rust where that is built, else in Python: they are the same, and --compare shows
it, beside what each trainer takes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from mini_nanochat import flags
from mini_nanochat.data import shards
from mini_nanochat.flags import flag
from mini_nanochat.tokenizer import bpe, tokenizer
from mini_nanochat.tokenizer.text import SPECIAL_TOKENS

MERGES_OF_0_2 = 20  # more would be a long wait
HELD_OUT_CHARACTERS = 2_000_000


@dataclass(frozen=True)
class Config:
    """Settings of the training. Raises ValueError for sizes that cannot work."""

    data: Path = flag(Path("runs/microworld/documents"), "folder of shards; see `mini-nanochat data`")
    out: Path = flag(Path("runs/microworld/tokenizer"), "folder for the tokenizer")
    vocab_size: int = flag(1024, "ids in all: 256 bytes, the merges and 9 special tokens")
    max_chars: int = flag(2_000_000_000, "characters to learn from at most")
    compare: bool = flag(False, "also train in the ways of lessons 0.2 and 0.3, and compare")

    def __post_init__(self) -> None:
        if self.max_chars < 1:
            raise ValueError(f"max_chars must be at least 1, got {self.max_chars}")


def first(texts: Iterable[str], characters: int) -> Iterator[str]:
    """Texts from the start, so many characters of them together; the last one is cut."""
    for text in texts:
        if characters <= 0:
            return
        yield text[:characters]
        characters -= len(text)


def learn(console: Console, config: Config, train: list[Path]) -> tuple[tokenizer.Tokenizer, float]:
    """The tokenizer and the seconds it took, behind a progress bar."""
    bar = (TextColumn("Merges"), BarColumn(24), MofNCompleteColumn())
    start = perf_counter()
    with Progress(*bar, console=console, transient=True) as progress:
        task = progress.add_task("", total=config.vocab_size - 256 - len(SPECIAL_TOKENS))
        made = tokenizer.Tokenizer.train(
            first(shards.documents(train), config.max_chars),
            config.vocab_size,
            on_merge=lambda pair, count: progress.update(task, advance=1),
        )
    return made, perf_counter() - start


def held_out(made: tokenizer.Tokenizer, val: list[Path]) -> dict[str, str]:
    """How short the tokenizer makes text that it has not seen. Raises ValueError if it changes the text."""
    texts = list(first(shards.documents(val), HELD_OUT_CHARACTERS))
    start = perf_counter()
    ids = made.encode_batch(texts)
    seconds = perf_counter() - start
    for text, some in zip(texts, ids):
        if made.decode(some) != text:
            raise ValueError(f"the tokenizer changes this text: {text[:80]!r}")
    characters, tokens = sum(map(len, texts)), sum(map(len, ids))
    size = sum(len(text.encode()) for text in texts)
    return {
        "characters of the validation shard": f"{characters:,}",
        "characters per token": f"{characters / tokens:.2f}",
        "bytes per token": f"{size / tokens:.2f}",
        "encoding": f"{size / seconds / 1e6:.1f} MB per second",
    }


def compare(config: Config, train: list[Path], made: tokenizer.Tokenizer) -> Table:
    """What each trainer takes for the same text, and whether its merges are those of `made`."""
    texts = list(first(shards.documents(train), config.max_chars))
    vocab_size, wanted = config.vocab_size - len(SPECIAL_TOKENS), list(made.merges)
    shown = Table(title="Three trainers, one text", box=SIMPLE, title_justify="left", title_style="bold")
    for i, column in enumerate(("", "counting, s", "merges", "merging, s", "each, ms", "the same")):
        shown.add_column(column, justify="right" if i else "left")

    def row(name: str, start: float, counted: float, merges: dict[bpe.Pair, int]) -> None:
        seconds = perf_counter() - counted
        same = "yes" if list(merges) == wanted[: len(merges)] else "NO"
        each = f"{1000 * seconds / max(len(merges), 1):.3f}"
        shown.add_row(name, f"{counted - start:.2f}", f"{len(merges):,}", f"{seconds:.2f}", each, same)

    start = perf_counter()
    words = bpe.count_words(texts)
    took = perf_counter() - start
    counted = perf_counter()
    few = min(256 + MERGES_OF_0_2, vocab_size)
    row("0.2 all anew", counted - took, counted, bpe.train(words, few))
    counted = perf_counter()
    row("0.3 heap", counted - took, counted, tokenizer.train(words, vocab_size))
    if tokenizer.RustTrainer is None:
        shown.add_row("0.3 in Rust", "", "not built: make rust", "", "", "")
    else:
        start = perf_counter()
        first_merge: list[float] = []
        merges = tokenizer.train_in_rust(
            texts, vocab_size, SPECIAL_TOKENS, lambda pair, count: first_merge.append(perf_counter())
        )
        row("0.3 in Rust", start, first_merge[0] if first_merge else perf_counter(), merges)
    return shown


def main(config: Config) -> None:
    """Trains, measures, saves. Raises ValueError or OSError for data or sizes that cannot work."""
    console = Console(markup=False, emoji=False, highlight=False)
    train, val = shards.train_and_val(config.data)
    made, seconds = learn(console, config, train)
    made.save(config.out)
    facts = {
        "vocabulary": f"256 bytes + {len(made.merges):,} merges + {len(made.specials)} specials",
        "training": f"{seconds:.2f} s in {'Python' if tokenizer.RustTrainer is None else 'Rust'}",
        "the last token learned": repr(made.tokens[-1]),
        **held_out(made, val),
        "saved in": str(config.out),
        "fingerprint": made.fingerprint[:16],
    }
    shown = Table(title="Tokenizer", box=SIMPLE, title_justify="left", title_style="bold", show_header=False)
    for fact in facts.items():
        shown.add_row(*fact)
    console.print(shown)
    if config.compare:
        console.print(compare(config, train, made))


if __name__ == "__main__":
    sys.exit(flags.run(Config, main, prog="mini-nanochat tok-train", description=__doc__))
