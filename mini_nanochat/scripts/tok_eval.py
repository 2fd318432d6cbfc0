"""Measure a tokenizer on texts of several kinds, beside plain bytes and, where they are at hand, GPT-2's and GPT-4's.

The tokenizers of GPT-2 and GPT-4 come with tiktoken, which downloads them once. Without --peers nothing is downloaded.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from mini_nanochat import corpus, flags
from mini_nanochat.data import shards
from mini_nanochat.flags import flag
from mini_nanochat.tokenizer.tokenizer import Tokenizer

PEERS = {"GPT-2": "gpt2", "GPT-4": "cl100k_base"}
CHARACTERS = 200_000  # of each text, at most
TEXTS = {
    "German": "Am Morgen lag Nebel über dem Fluss, und die Fähre fuhr mit einer Stunde Verspätung ab. "
    "Wer auf der anderen Seite wohnte, nahm das Rad und fuhr über die alte Brücke, obwohl das länger dauerte.",
    "Greek": "Το πρωί υπήρχε ομίχλη πάνω από το ποτάμι και το πλοίο έφυγε με μία ώρα καθυστέρηση.",
    "arithmetic": "12 + 35 = 47. 8 * 9 = 72. 144 / 12 = 12. 1001 - 999 = 2. 3.14159 * 2 = 6.28318.",
    "LaTeX": r"\int_0^1 x^2 \, dx = \frac{1}{3}, \qquad \sum_{k=1}^{n} k = \frac{n(n+1)}{2}, \qquad e^{i\pi} + 1 = 0.",
}


@dataclass(frozen=True)
class Config:
    """Settings of the evaluation."""

    tokenizer: Path = flag(Path("runs/microworld/tokenizer"), "folder of a tokenizer; see tok-train")
    data: Path = flag(Path("runs/microworld/documents"), "folder of shards that it was trained on")
    peers: bool = flag(False, "compare with the tokenizers of GPT-2 and GPT-4 (downloads them once)")


def texts(data: Path) -> dict[str, str]:
    """Name -> text: of the data set's two parts, code, and a few short ones."""
    train, val = shards.train_and_val(data)
    found = {}
    for name, part in (("its training text", train), ("its validation text", val)):
        some = ""
        for document in shards.documents(part):
            some += document + "\n"
            if len(some) > CHARACTERS:
                break
        found[name] = some[:CHARACTERS]
    found["Python code"] = "".join(corpus.stdlib_documents(CHARACTERS))
    return {**found, **TEXTS}


def peer(name: str) -> Callable[[str], list[int]]:
    """The `encode` of a tokenizer of tiktoken's. Raises OSError where it cannot be downloaded."""
    import tiktoken

    try:
        return tiktoken.get_encoding(PEERS[name]).encode_ordinary
    except Exception as error:  # requests has many, and each means the same here
        raise OSError(f"{name}'s tokenizer could not be downloaded: {error}. Leave --peers out") from error


def main(config: Config) -> None:
    """Measures and shows. Raises ValueError or OSError for a tokenizer or data that cannot be read."""
    console = Console(markup=False, emoji=False, highlight=False)
    ours = Tokenizer.load(config.tokenizer)
    ways: dict[str, Callable[[str], list[int]]] = {f"this one ({ours.vocab_size:,} ids)": ours.encode}
    if config.peers:
        ways |= {name: peer(name) for name in PEERS}
    shown = Table(
        title="Bytes per token: how much text a position holds",
        box=SIMPLE,
        title_justify="left",
        title_style="bold",
    )
    for name in ("", "bytes of text", "plain bytes", *ways):
        shown.add_column(name, justify="right" if name else "left")
    for name, text in texts(config.data).items():
        size = len(text.encode())
        if ours.decode(ours.encode(text)) != text:
            raise ValueError(f"the tokenizer changes this text: {text[:80]!r}")
        shown.add_row(
            name, f"{size:,}", "1.00", *(f"{size / len(encode(text)):.2f}" for encode in ways.values())
        )
    console.print(shown)
    console.print("All texts came back as they were.")


if __name__ == "__main__":
    sys.exit(flags.run(Config, main, prog="mini-nanochat tok-eval", description=__doc__))
