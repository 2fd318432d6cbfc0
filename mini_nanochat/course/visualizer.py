"""See what a model looks at: `show_attention(model, tokenizer, text)`, as a page to play with or as pictures."""

from __future__ import annotations

import base64
import html
import io
import json
from dataclasses import astuple
from importlib.resources import files

import matplotlib
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from torch import Tensor, nn

from mini_nanochat.course.heads import Attention, TextTokenizer, read

FEW = 12  # tokens up to which numbers fit into the cells
MASKED = "0.9"  # grey of what a position may not look at


class AttentionView(Attention):
    """Attention with faces: in a notebook an interactive page; `heatmap` and `grid` are matplotlib figures."""

    def heatmap(self, layer: int, head: int) -> Figure:
        """One head: a row for each token that looks, a column for each that it looks at."""
        weights = self.of(layer, head)
        size = max(4.0, 0.32 * len(self.tokens) + 1.5)
        figure = Figure(figsize=(size + 1.2, size), layout="constrained")
        axes = figure.subplots()
        image = _draw(axes, weights)
        places = range(len(self.tokens))
        axes.set_xticks(places, self.tokens, rotation=90, parse_math=False)
        axes.set_yticks(places, self.tokens, parse_math=False)
        axes.set(xlabel="looked at", ylabel="looking", title=f"Layer {layer}, head {head}")
        figure.colorbar(image, ax=axes, label="share of attention", shrink=0.8)
        if len(self.tokens) <= FEW:
            for row in places:
                for column in range(row + 1):
                    share = float(weights[row, column])
                    colour = "white" if share > 0.5 else "black"
                    axes.text(column, row, f"{share:.2f}", ha="center", va="center", fontsize=7, color=colour)
        return figure

    def grid(self) -> Figure:
        """All heads: a row for each layer, a column for each head."""
        n_layer, n_head, t, _ = self.weights.shape
        figure = Figure(figsize=(1.5 * n_head + 1.6, 1.6 * n_layer + 0.7), layout="constrained")
        panels = figure.subplots(n_layer, n_head, squeeze=False)
        for layer in range(n_layer):
            for head in range(n_head):
                axes = panels[layer, head]
                image = _draw(axes, self.weights[layer, head])
                axes.set_xticks([])
                axes.set_yticks([])
                if layer == 0:
                    axes.set_title(f"head {head}", fontsize=9)
                if head == 0:
                    axes.set_ylabel(f"layer {layer}", fontsize=9)
        figure.colorbar(image, ax=panels.ravel().tolist(), label="share of attention", shrink=0.8)
        figure.suptitle(f"Attention over {t} tokens: rows look, columns are looked at", fontsize=10)
        return figure

    def page(self) -> str:
        """One HTML file that needs nothing else: choose a head, point at a token, see what it takes from where."""
        n_layer, n_head = self.weights.shape[:2]
        levels = (self.weights * 255).round().byte().numpy().tobytes()
        data = {
            "tokens": self.tokens,
            "layers": n_layer,
            "heads": n_head,
            "weights": base64.b64encode(levels).decode("ascii"),
            "statistics": [[round(number, 3) for number in astuple(one)[2:]] for one in self.statistics()],
        }
        template = (files("mini_nanochat.course") / "attention.html").read_text(encoding="utf-8")
        # In a script, `</script>` would end it even inside a string.
        return template.replace("{{data}}", json.dumps(data).replace("<", "\\u003c"))

    def _repr_html_(self) -> str:
        rows = self.weights.shape[0]
        height = 250 + 70 * rows + 26 * min(len(self.tokens), 24)
        page = html.escape(self.page(), quote=True)
        return f'<iframe srcdoc="{page}" style="width:100%;height:{height}px;border:0"></iframe>'

    def _repr_png_(self) -> bytes:
        return picture(self.grid(), "png")


def _draw(axes: Axes, weights: Tensor) -> AxesImage:
    """A head's weights as an image; what may not be looked at is grey."""
    colours = matplotlib.colormaps["Blues"].with_extremes(bad=MASKED)
    hidden = torch.ones_like(weights).triu(1).bool() & (weights == 0)  # a faulty mask must be seen
    shown = weights.masked_fill(hidden, float("nan")).numpy()
    return axes.imshow(shown, cmap=colours, vmin=0, vmax=1, interpolation="nearest")


def picture(figure: Figure, kind: str) -> bytes:
    """The figure as the bytes of a file: `kind` is png or svg."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=150)
    return buffer.getvalue()


def show_attention(model: nn.Module, tokenizer: TextTokenizer, text: str) -> AttentionView:
    """What each head of the model takes from where while it reads the text. Shown by a notebook as a page.

    Raises ValueError for a text that the model cannot read: of no tokens, too long, of another vocabulary.
    """
    return AttentionView(*read(model, tokenizer, text))
