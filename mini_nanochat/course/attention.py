"""What every head of a model looks at while it reads a prompt.

    mini-nanochat attention --prompt "The cat sat on the" --layer 2 --head 0
    mini-nanochat attention --checkpoint MODEL --tokenizer TOKENIZER --out attention.html

The head is drawn in the terminal, with a table of all heads. --out writes a file, too: .png or .svg is a picture
of the head (--grid: of all heads), .html is a page to play with, of all heads. Without a checkpoint a fresh model
is built, with weights at random: what attention looks like before anything is learned.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from mini_nanochat import flags
from mini_nanochat.course.visualizer import AttentionView, picture, show_attention
from mini_nanochat.flags import flag
from mini_nanochat.model.gpt import GPT, GPTConfig
from mini_nanochat.tokenizer.text import ByteTokenizer
from mini_nanochat.tokenizer.tokenizer import Tokenizer

FILES = (".png", ".svg", ".html")


@dataclass(frozen=True)
class Config:
    """Settings of the picture. Raises ValueError for a kind of file that can't be written."""

    checkpoint: Path | None = flag(
        None, "folder of a model (model.json, model.safetensors); none: a fresh one"
    )
    tokenizer: Path | None = flag(None, "folder of its tokenizer; none: the bytes of lesson 0.1")
    prompt: str = flag("The cat sat on the", "what the model reads")
    layer: int = flag(0, "the layer to draw, from 0")
    head: int = flag(0, "the head to draw, from 0")
    depth: int = flag(4, "layers of a fresh model")
    seed: int = flag(0, "of a fresh model")
    grid: bool = flag(False, "a picture of all heads, instead of one")
    out: Path | None = flag(None, "also write this file: .png, .svg or .html")

    def __post_init__(self) -> None:
        if self.out and self.out.suffix not in FILES:
            raise ValueError(f"out must end in {', '.join(FILES)}, got {self.out}")


def build(config: Config, tokenizer: ByteTokenizer | Tokenizer) -> GPT:
    """The model of the checkpoint, or a fresh one. Raises ValueError if its vocabulary is not the tokenizer's."""
    if config.checkpoint is None:
        model = GPT(GPTConfig.from_depth(config.depth, tokenizer.vocab_size, sequence_len=1024))
        model.init(config.seed)
        return model
    model = GPT.load(config.checkpoint)
    if model.config.vocab_size != tokenizer.vocab_size:
        raise ValueError(
            f"the model knows {model.config.vocab_size} ids and the tokenizer {tokenizer.vocab_size}: "
            "give the folder of the model's own with --tokenizer"
        )
    return model


def statistics(view: AttentionView) -> Table:
    """All heads in five numbers each."""
    shown = Table(title="All heads, on average over the positions", box=SIMPLE, title_justify="left")
    for name in ("layer", "head", "entropy, bits", "tokens back", "first", "previous", "itself"):
        shown.add_column(name, justify="right")
    for head in view.statistics():
        layer, number, entropy, distance, *shares = astuple(head)
        shown.add_row(
            f"{layer}", f"{number}", f"{entropy:.2f}", f"{distance:.1f}", *(f"{one:.0%}" for one in shares)
        )
    return shown


def write(view: AttentionView, config: Config, out: Path) -> None:
    """Writes the page or the picture."""
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".html":
        out.write_text(view.page(), encoding="utf-8")
        return
    figure = view.grid() if config.grid else view.heatmap(config.layer, config.head)
    out.write_bytes(picture(figure, out.suffix[1:]))


def show(config: Config) -> None:
    """Draws. Raises ValueError or OSError for a model, a tokenizer or a prompt that does not fit."""
    console = Console(markup=False, emoji=False, highlight=False)
    tokenizer = ByteTokenizer() if config.tokenizer is None else Tokenizer.load(config.tokenizer)
    view = show_attention(build(config, tokenizer), tokenizer, config.prompt)
    drawn = view.terminal(config.layer, config.head)
    console.print(f"Layer {config.layer}, head {config.head}: each row is a token that looks", style="bold")
    console.print(drawn, soft_wrap=True)
    console.print(statistics(view))
    if config.out:
        write(view, config, config.out)
        console.print(f"Written: {config.out}")


def main(arguments: list[str]) -> int:
    return flags.run(Config, show, arguments, prog="mini-nanochat attention", description=__doc__ or "")
