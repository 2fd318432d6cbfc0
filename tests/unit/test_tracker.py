"""What wandb and TensorBoard are told: all that the metrics hold, once, at the number of steps done."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from mini_nanochat import records
from mini_nanochat.train import tracker


class Wandb:
    """Remembers what it is told, in the place of the package."""

    def __init__(self):
        self.began, self.told = [], []

    def init(self, **settings):
        self.began.append(settings)
        return SimpleNamespace(log=lambda figures, step: self.told.append((step, figures)))


@pytest.fixture
def wandb(monkeypatch):
    made = Wandb()
    monkeypatch.setitem(sys.modules, "wandb", made)
    return made


def test_every_line_is_told_once_and_what_is_no_number_is_not(tmp_path, wandb):
    metrics = tmp_path / "base" / "metrics.jsonl"
    records.append(metrics, step=-1, val_bpb=3.0)
    records.append(metrics, step=0, loss=6.9, norm=float("nan"))  # stands as null in the file
    shown = tracker.Tracker("wandb", tmp_path / "base", metrics, {"depth": 2})
    shown.send()
    records.append(metrics, step=1, loss=6.5, skipped=False)
    shown.send()
    shown.send()
    assert wandb.told == [(0, {"val_bpb": 3.0}), (1, {"loss": 6.9}), (2, {"loss": 6.5, "skipped": False})]
    assert [(one["name"], one["config"]) for one in wandb.began] == [("base", {"depth": 2})]


def test_a_process_that_goes_on_tells_it_all_again(tmp_path, wandb):
    metrics = tmp_path / "metrics.jsonl"
    records.append(metrics, step=0, loss=6.9)
    for _ in range(2):
        tracker.Tracker("wandb", tmp_path, metrics, {}).send()
    assert len(wandb.began) == 2 and wandb.told == [(1, {"loss": 6.9})] * 2


def test_tensorboard_writes_beside_the_metrics(tmp_path, monkeypatch):
    written = []

    class Writer:
        def __init__(self, folder, purge_step):
            self.folder = (folder, purge_step)

        def add_scalar(self, name, value, step):
            written.append((*self.folder, name, value, step))

        def flush(self):
            written.append("flush")

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Writer))
    metrics = tmp_path / "metrics.jsonl"
    records.append(metrics, step=0, loss=6.9, norm=1.5)
    tracker.Tracker("tensorboard", tmp_path, metrics, {}).send()
    folder = str(tmp_path / "tensorboard")
    assert written == [(folder, 0, "loss", 6.9, 1), (folder, 0, "norm", 1.5, 1), "flush"]
