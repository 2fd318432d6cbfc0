"""The demo: everything that is built so far, on real text, before your eyes.

Text is gathered, a tenth of it is kept aside, byte-pair encoding learns a vocabulary from the rest, and
the part kept aside shows how good it is. Then a paragraph goes through it, there and back. Last, the
pipeline as far as it goes, on the microworld: its documents, its tokenizer, batches, and a model that learns
its people, prices and stories in two or three minutes.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter

from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from mini_nanochat import __version__, corpus, flags, overlay
from mini_nanochat.flags import flag
from mini_nanochat.tokenizer import bpe, text, tokenizer

SPECIALS = len(text.SPECIAL_TOKENS)
SMALLEST = 256 + SPECIALS
# An umlaut and a second script: where the corpus knows little, tokens are short, down to half a character.
PARAGRAPH = (
    "This function returns a list of the tokens. A word that occurs often is a single token; "
    "a rare one, like zymurgy, is spelled in pieces. Übung hilft. Привет!"
)
TYPED = "<|assistant_start|>"
REFERENCE = "the reference"
MODULES = (
    *("tokenizer.text", "tokenizer.bpe", "tokenizer.tokenizer", "data.loader"),
    *("model.layers", "model.attention", "model.rotary", "model.block", "model.gpt"),
    *("train.objective", "train.step", "train.schedule", "train.checkpoint"),
    *("optim.adamw", "optim.muon", "optim.precision"),
)


@dataclass(frozen=True)
class Config:
    """Settings of the demo. Raises ValueError for sizes that cannot work."""

    corpus: Path | None = flag(None, "text file, or folder of text; none: the sources of Python's library")
    max_chars: int = flag(400_000, "characters to read at most")
    vocab_size: int = flag(2048, "ids: 256 bytes, the merges and 9 special tokens")
    pipeline: bool = flag(True, "go on to the microworld: its tokenizer, and a model that learns it")
    megabytes: float = flag(8.0, "megabytes of the microworld")
    steps: int = flag(250, "steps of training for that model")

    def __post_init__(self) -> None:
        if self.vocab_size < SMALLEST:
            parts = f"256 bytes and {SPECIALS} special tokens"
            raise ValueError(f"vocab_size must be at least {SMALLEST} ({parts}), got {self.vocab_size}")
        if self.max_chars < 10_000:
            raise ValueError(f"max_chars must be at least 10000, got {self.max_chars}")


def gather(config: Config) -> tuple[list[str], str]:
    """The documents to use, and a phrase that says where they come from."""
    if config.corpus is None:
        version = ".".join(map(str, sys.version_info[:3]))
        return corpus.stdlib_documents(config.max_chars), f"the library of Python {version}"
    documents, left = [], config.max_chars
    for document in corpus.read_documents(config.corpus):
        if left > 0:
            documents.append(document[:left])
            left -= len(document)
    cut = ", cut off there (--max-chars)" if left < 0 else ""
    return documents, f"{config.corpus}{cut}"


def show(token: bytes) -> str:
    """A token made visible: a space is a dot; a line break or half a character is an escape."""
    characters = token.decode("utf-8", errors="backslashreplace").replace(" ", "\u00b7")
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in characters)


def origin(module: str) -> str:
    """Whose code the module of this name is."""
    spec = find_spec(module)
    folder, path = overlay.active(), Path(spec.origin or "" if spec else "")
    return f"your workspace, {path}" if folder and path.is_relative_to(folder) else REFERENCE


def learn(console: Console, words: dict[bpe.Word, int], config: Config) -> dict[bpe.Pair, int]:
    """The merges, learned behind a progress bar that shows each new token as text.

    Raises ValueError, in terms of --vocab-size, if the corpus is too small.
    """
    tokens = [bytes([i]) for i in range(256)]
    latest = TextColumn("{task.description}", markup=False)
    bar = (TextColumn("Merges"), BarColumn(16), MofNCompleteColumn(), TimeRemainingColumn(), latest)
    with Progress(*bar, console=console) as progress:
        task = progress.add_task("", total=config.vocab_size - SMALLEST)

        def on_merge(pair: bpe.Pair, count: int) -> None:
            tokens.append(tokens[pair[0]] + tokens[pair[1]])
            progress.update(task, advance=1, description=f"[{show(tokens[-1])[:12]}]")

        try:
            return bpe.train(words, config.vocab_size - SPECIALS, on_merge)
        except ValueError as error:
            if origin(bpe.__name__) != REFERENCE:
                raise
            allowed = f"{SPECIALS + len(tokens)} is the most that this corpus allows"
            raise ValueError(f"vocab_size {config.vocab_size} is too large: {allowed}") from error


def table(title: str, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> Table:
    """A table with its first column to the left and the others to the right."""
    result = Table(
        title=title, box=SIMPLE, title_justify="left", title_style="bold", show_header=any(columns)
    )
    for i, column in enumerate(columns):
        result.add_column(column, justify="right" if i else "left")
    for row in rows:
        result.add_row(*row)
    return result


def compare(merges: dict[bpe.Pair, int], sample: str) -> Table:
    """Both tokenizers on text that neither has seen. Raises ValueError if one of them changes the text."""
    byte, columns = text.ByteTokenizer(), []
    for name, encode, decode in (
        ("bytes (0.1)", byte.encode, byte.decode),
        ("BPE (0.2)", partial(bpe.encode, merges=merges), partial(bpe.decode, merges=merges)),
    ):
        start = perf_counter()
        ids = encode(sample)
        speed = len(sample) / (perf_counter() - start)
        same_again(name, sample, decode(ids))
        columns.append((name, f"{len(ids):,}", f"{len(sample) / len(ids):.2f}", f"{speed:,.0f}"))
    labels = ("", "tokens", "characters per token", "characters encoded per second")
    header, *rows = zip(labels, *columns)
    return table(f"On the {len(sample):,} characters kept aside", header, rows)


def same_again(name: str, before: str, after: str) -> None:
    """Raises ValueError, saying where, unless the text came back as it was."""
    if before != after:
        at = next((i for i, (a, b) in enumerate(zip(before, after)) if a != b), min(len(before), len(after)))
        was, now = before[at : at + 20], after[at : at + 20]
        raise ValueError(f"{name}: the text came back changed at character {at}: {was!r} became {now!r}")


def pieces(ids: list[int], merges: dict[bpe.Pair, int], width: int) -> Text:
    """Tokens side by side: a bar between them, every second one underlined, none cut by the line's end."""
    tokens, line, column = bpe.vocabulary(merges), Text(), 0
    for i, token in enumerate(ids):
        shown = show(tokens[token])
        column += len(shown) + 1
        if column > width:
            line.append("\n")
            column = len(shown) + 1
        line.append(shown, style="underline" if i % 2 else "bold").append("|" if i + 1 < len(ids) else "")
    return line


def there_and_back(console: Console, merges: dict[bpe.Pair, int]) -> None:
    """A paragraph into ids and back. Raises ValueError if it does not come back."""
    ids = bpe.encode(PARAGRAPH, merges)
    same_again("BPE (0.2)", PARAGRAPH, bpe.decode(ids, merges))
    console.print("A paragraph as tokens (| stands between them, \u00b7 is a space)", style="bold")
    console.print(pieces(ids, merges, console.width))
    console.print(f"\nWhat the model will see of it: {len(ids)} ids", style="bold")
    console.print(*ids)
    console.print(f"\nDecoded again: all {len(PARAGRAPH)} characters came back.")


def typed_by_a_user(console: Console, merges: dict[bpe.Pair, int]) -> None:
    """A special token in a user's text stays text. Raises ValueError if it becomes a command."""
    ids = bpe.encode(TYPED, merges)
    if max(ids) >= 256 + len(merges) or bpe.decode(ids, merges) != TYPED:
        raise ValueError(f"{TYPED}, typed by a user, became something else than text: ids {ids}")
    (command,) = text.ByteTokenizer().encode(TYPED, allow_specials=True)
    console.print(f"\nA user types {TYPED}", style="bold")
    console.print(f"It stays text, {len(ids)} ordinary ids: {ids}")
    console.print(f"Only a program may mean the command, by allow_specials=True: one id, {command}.")


def run_pipeline(console: Console, megabytes: float, steps: int) -> None:
    """The programs of the pipeline, one after the other, on a small world of our own, in a folder for now.

    Raises ValueError if one of them fails; it has said why.
    """
    with tempfile.TemporaryDirectory() as folder:
        world, vocabulary, base = f"{folder}/microworld", f"{folder}/tokenizer", f"{folder}/base"
        data, made = ("--data", f"{world}/documents"), ("--tokenizer", vocabulary)
        for command in (
            ("microworld", "--megabytes", str(megabytes), "--samples", "0", "--out", world),
            ("tok-train", *data, "--out", vocabulary, "--compare"),
            ("batches", *data, *made),
            ("model", *data, *made),
            ("base-train", *data, *made, "--out", base, "--steps", str(steps)),
            ("base-eval", *data, "--run", base, "--exams", f"{world}/exams/core.jsonl"),
            ("attention", "--checkpoint", f"{base}/step_{steps:06d}", *made),
        ):
            console.rule("mini-nanochat " + " ".join(command).replace(folder, "runs"), align="left")
            sys.stdout.flush()
            if subprocess.run([sys.executable, "-m", "mini_nanochat", *command], check=False).returncode:
                raise ValueError(f"the demo stopped: mini-nanochat {command[0]} failed, see above")
    console.print("All this was in a folder that is gone now. Without folders these commands write to runs/.")


def main(config: Config) -> None:
    """Runs the demo. Raises ValueError or OSError for a corpus or sizes that cannot work."""
    console = Console(markup=False, emoji=False, highlight=False)
    console.print(f"mini_nanochat {__version__}: the pieces built so far, on real text", style="bold")
    documents, source = gather(config)
    kept, held_out = corpus.hold_out(documents)
    console.print(f"{sum(map(len, documents)):,} characters in {len(documents)} file(s) of {source}")
    words = bpe.count_words(kept)
    start = perf_counter()
    merges = learn(console, words, config)
    middle = perf_counter()
    faster = tokenizer.train(words, config.vocab_size - SPECIALS)
    seconds, fast = middle - start, perf_counter() - middle
    if list(faster) != list(merges):
        raise ValueError("the trainers of lessons 0.2 and 0.3 disagree: they must learn the same merges")
    facts = {
        "characters learned from": f"{sum(map(len, kept)):,}",
        "unique chunks in them": f"{len(words):,}",
        "vocabulary": f"256 bytes + {len(merges):,} merges + {SPECIALS} specials",
        "training, as in 0.2": f"{seconds:.1f} s, {len(merges) / seconds:,.0f} merges per second",
        "the same merges, as in 0.3": f"{fast:.2f} s",
    }
    console.print(table("What was learned", ("", ""), facts.items()))
    console.print(compare(merges, "\n".join(held_out)))
    there_and_back(console, merges)
    typed_by_a_user(console, merges)
    if config.pipeline:
        run_pipeline(console, config.megabytes, config.steps)
    console.print("\nWhose code was this?", style="bold")
    for module in MODULES:
        console.print(f"mini_nanochat.{module}: {origin(f'mini_nanochat.{module}')}")
    activate = (
        "" if shutil.which("mini-nanochat") else "source .venv/bin/activate (once in each new terminal)\n"
    )
    console.print("\nNow build it yourself", style="bold")
    console.print(
        f"{activate}mini-nanochat start 0.1   (a file to fill in)\nmake lessons              (the notebooks)"
    )


if __name__ == "__main__":
    sys.exit(flags.run(Config, main, prog="mini-nanochat demo", description=__doc__))
