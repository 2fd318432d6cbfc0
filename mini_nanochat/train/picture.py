"""A run as a picture: the loss of each step, and what the looks at the validation text found. Given with lesson 3.3."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mini_nanochat import records

KEEP = 0.9  # of the smoothed loss, at each step
MOST_COLUMNS = 12  # of looks, with numbers that can be read
NOT_TASKS = ("step", "val_bpb", "mini_core")  # what else a look finds is the share of right answers in a task


def draw(metrics: Path, path: Path) -> str:
    """Draws the metrics of a run into a PNG, and says where; or says what is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return "No picture of the run: matplotlib is missing (pip install matplotlib)"

    rows = records.read(metrics)
    looks = [row for row in rows if "val_bpb" in row]
    tasks = [name for name in looks[-1] if name not in NOT_TASKS] if looks else []
    panels = 3 if tasks else 2
    figure = Figure(figsize=(5.5 * panels, 4), layout="constrained")
    axes = figure.subplots(1, panels)
    _losses(axes[0], [(row["step"] + 1, row["loss"]) for row in rows if row.get("loss") is not None])
    _looks(axes[1], looks)
    if tasks:
        _tasks(axes[2], tasks, looks)
    figure.savefig(path, dpi=120)
    return f"A picture of the run: {path}"


def _losses(axes: Any, points: Sequence[tuple[int, float]]) -> None:
    """Each loss as a dot, and their smoothed course as a line."""
    smoothed, total, weight = [], 0.0, 0.0
    for _, loss in points:
        total, weight = KEEP * total + (1 - KEEP) * loss, KEEP * weight + (1 - KEEP)
        smoothed.append(total / weight)
    steps = [step for step, _ in points]
    axes.plot(steps, [loss for _, loss in points], ".", color="0.7", markersize=3, label="of a step")
    axes.plot(steps, smoothed, color="C0", label="smoothed")
    axes.set(title="Loss on the training text", xlabel="step", ylabel="nats for each token", ylim=(0, None))
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)


def _looks(axes: Any, rows: Sequence[dict[str, Any]]) -> None:
    """Bits per byte, and mini-CORE where it was taken, each with its own axis and name."""
    steps = [row["step"] + 1 for row in rows]
    axes.plot(steps, [row["val_bpb"] for row in rows], "o-", color="C0")
    axes.set(title="On text that it has not seen", xlabel="step", ylim=(0, None))
    axes.set_ylabel("bits per byte (dots, solid)", color="C0")
    axes.grid(alpha=0.3)
    if rows and "mini_core" in rows[-1]:
        other = axes.twinx()
        other.plot(steps, [row.get("mini_core", math.nan) for row in rows], "s--", color="C1")
        other.set_ylabel("mini-CORE (squares, dashed)", color="C1")
        other.set_ylim(-0.05, 1)


def _tasks(axes: Any, tasks: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    """The share of right answers in each task at each look: a row a task, a column a look; numbers, if they fit."""
    shares = [[row.get(name, math.nan) for row in rows] for name in tasks]  # a look may have had no exams
    every = -(-len(rows) // MOST_COLUMNS)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.6, aspect="auto")
    for y, line in enumerate(shares):
        for x, share in enumerate(line if every == 1 else ()):
            axes.text(x, y, f"{share:.2f}", ha="center", va="center", fontsize=8)
    axes.set(title="Which skill came when: share of right answers", xlabel="step")
    axes.set_xticks(range(0, len(rows), every), [str(row["step"] + 1) for row in rows[::every]])
    axes.set_yticks(range(len(tasks)), [name.replace("_", " ") for name in tasks])
