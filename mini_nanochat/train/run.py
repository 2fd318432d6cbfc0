"""A run in a folder: what it remembers between steps, and how it stops. Given with lesson 3.3.

    run/run.json           the settings that must stay the same when it goes on
    run/tokenizer/         the tokenizer that its ids belong to
    run/metrics.jsonl      a line for each step, and one for each look at the validation text
    run/step_000250/       checkpoints: model, optimizers, loader, random numbers

The same folder serves pretraining and what follows it: only the batches differ.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch.optim import Optimizer

from mini_nanochat import records
from mini_nanochat.data.loader import Loader
from mini_nanochat.model.files import load_weights, save_config, save_weights
from mini_nanochat.model.gpt import GPT
from mini_nanochat.tokenizer.tokenizer import Tokenizer
from mini_nanochat.train import checkpoint
from mini_nanochat.train.objective import evaluate_bpb
from mini_nanochat.train.step import Scaler

SETTINGS, METRICS, STATE = "run.json", "metrics.jsonl", "state.json"


class Stop:
    """Turns Ctrl-C and SIGTERM into a wish, `asked`: the step that runs is finished. A second one stops at once."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> Stop:
        self._before = {
            number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


class Run:
    """A training run that can be killed at any moment and goes on from its newest checkpoint, bit for bit."""

    def __init__(
        self,
        folder: Path,
        model: GPT,
        optimizers: Sequence[Optimizer],
        loader: Loader,
        scaler: Scaler | None = None,
    ) -> None:
        self.folder, self.model, self.optimizers = folder, model, optimizers
        self.loader, self.scaler = loader, scaler

    @property
    def metrics(self) -> Path:
        """The file of JSON lines."""
        return self.folder / METRICS

    def begin(self, settings: Mapping[str, Any], tokenizer: Tokenizer) -> None:
        """Makes the folder of a new run. Raises FileExistsError if there is anything in it; nothing is overwritten."""
        if self.folder.exists() and not (self.folder.is_dir() and not any(self.folder.iterdir())):
            raise FileExistsError(
                f"{self.folder} is in use already: go on with its run (--resume), or give another folder (--out)"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / SETTINGS
        aside = path.with_suffix(".writing")
        aside.write_text(json.dumps(dict(settings), indent=1) + "\n", encoding="utf-8")
        os.replace(aside, path)
        tokenizer.save(self.folder / "tokenizer")

    def save(self, step: int) -> Path:
        """Writes the checkpoint of `step` (so many steps are done), and removes all but the last two."""
        writers: dict[str, checkpoint.Writer] = {
            "model.json": lambda path: save_config(path, self.model.config),
            "model.safetensors": lambda path: save_weights(path, self.model),
            "random.safetensors": checkpoint.save_random,
            STATE: self._save_state,
        }
        for i, optimizer in enumerate(self.optimizers):
            writers[f"optimizer_{i}.safetensors"] = _saver(optimizer)
        path = checkpoint.write(self.folder, step, writers)
        checkpoint.keep_newest(self.folder)
        return path

    def _save_state(self, path: Path) -> None:
        scaler = vars(self.scaler) if self.scaler else None
        path.write_text(
            json.dumps({"loader": self.loader.state(), "scaler": scaler}) + "\n", encoding="utf-8"
        )

    def resume(self, settings: Mapping[str, Any], tokenizer: Tokenizer, warn: Callable[[str], None]) -> int:
        """Puts everything back as the newest whole checkpoint has it, and returns how many steps are done.

        0 for a run that was killed before its first checkpoint. Raises FileNotFoundError if there is no run,
        ValueError if all its checkpoints are damaged, or, naming what differs, if it was begun with other settings,
        other data or another tokenizer. Nothing is written then.
        """
        before = settings_of(self.folder)
        for name, now in settings.items():
            if before.get(name) != now:
                raise ValueError(
                    f"the run in {self.folder} was begun with {name} = {before.get(name)}, now it is {now}: "
                    "go on with what it was begun with, or begin another run (--out)"
                )
        path = checkpoint.newest(self.folder, warn)
        if path is None:
            names = [one.name for one in self.folder.iterdir() if one.is_dir()]
            if any(checkpoint.step_of(name) is not None for name in names):
                raise ValueError(f"all checkpoints in {self.folder} are damaged: begin another run (--out)")
            records.cut_after(self.metrics, -2)
            tokenizer.save(self.folder / "tokenizer")
            return 0
        state = json.loads((path / STATE).read_text(encoding="utf-8"))
        self.loader.restore(state["loader"])
        load_weights(path, self.model)
        for i, optimizer in enumerate(self.optimizers):
            checkpoint.load_optimizer(optimizer, path / f"optimizer_{i}.safetensors")
        if self.scaler:
            vars(self.scaler).update(state["scaler"])
        checkpoint.load_random(path / "random.safetensors")
        step = checkpoint.step_of(path.name)
        assert step is not None
        records.cut_after(self.metrics, step - 1)
        return step


def _saver(optimizer: Optimizer) -> checkpoint.Writer:
    return lambda path: checkpoint.save_optimizer(optimizer, path)


def settings_of(folder: Path) -> dict[str, Any]:
    """What the run in this folder was begun with. Raises FileNotFoundError, ValueError for a damaged file."""
    path = folder / SETTINGS
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no run: {SETTINGS} is missing")
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def model_of(folder: Path, warn: Callable[[str], None]) -> tuple[GPT, Tokenizer, int]:
    """The newest model of a run, its tokenizer, and its steps. Raises FileNotFoundError, ValueError."""
    settings_of(folder)
    path = checkpoint.newest(folder, warn)
    if path is None:
        raise FileNotFoundError(f"{folder} holds no whole checkpoint")
    step = checkpoint.step_of(path.name)
    assert step is not None
    return GPT.load(path), Tokenizer.load(folder / "tokenizer"), step


def val_bpb(
    model: GPT, tokenizer: Tokenizer, val: Sequence[Path], batch_size: int, sequence_len: int, tokens: int
) -> float:
    """Bits per byte of about the first `tokens` tokens of the validation shards: the same ones every time."""
    device = model.wte.weight.device
    batches = Loader(val, tokenizer, batch_size, sequence_len, epochs=1, device=device)
    n = max(1, tokens // (batch_size * sequence_len))
    token_bytes = torch.tensor(tokenizer.token_bytes(), device=device)
    return evaluate_bpb(model.loss, islice(batches, n), token_bytes)


def document(model: GPT, tokenizer: Tokenizer, seed: int, most: int = 60) -> str:
    """What the model writes where a document begins, up to its end or `most` tokens, on one line."""
    ids: list[int] = []
    for id in model.generate([tokenizer.bos_id], most, temperature=0.8, seed=seed):
        if id == tokenizer.bos_id:
            break
        ids.append(id)
    return " ".join(tokenizer.decode(ids).split())
