"""The metrics of a run in wandb or TensorBoard too, for those who have one of them and ask. Given with lesson 3.3.

metrics.jsonl stays the record. What is shown elsewhere is read from it: a run that goes on is shown from its beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mini_nanochat import records

Show = Callable[[int, dict[str, float]], None]


def wandb(folder: Path, settings: Mapping[str, Any]) -> Show:
    """A new run of the project mini_nanochat; returns what takes (steps done, name -> figure)."""
    import wandb

    shown = wandb.init(project="mini_nanochat", name=folder.name, dir=folder, config=dict(settings))
    return lambda step, figures: shown.log(figures, step=step)


def tensorboard(folder: Path, settings: Mapping[str, Any]) -> Show:
    """Event files in the folder tensorboard of the run; returns what takes (steps done, name -> figure)."""
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder / "tensorboard"), purge_step=0)  # an earlier process sent the same

    def show(step: int, figures: dict[str, float]) -> None:
        for name, value in figures.items():
            writer.add_scalar(name, value, step)
        writer.flush()

    return show


TRACKERS = {"wandb": wandb, "tensorboard": tensorboard}


class Tracker:
    """Passes the lines of a run's metrics on."""

    def __init__(self, name: str, folder: Path, metrics: Path, settings: Mapping[str, Any]) -> None:
        self.show, self.metrics, self.sent = TRACKERS[name](folder, settings), metrics, 0

    def send(self) -> None:
        """Passes on all lines that are new since the last call."""
        rows = records.read(self.metrics)
        for row in rows[self.sent :]:
            numbers = {
                key: one for key, one in row.items() if isinstance(one, (int, float)) and key != "step"
            }
            self.show(row["step"] + 1, numbers)
        self.sent = len(rows)
