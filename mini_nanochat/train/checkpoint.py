"""Lesson 2.4: a checkpoint. A run that is killed at any moment goes on with the same bits.

A checkpoint is a folder, step_000250. It is written under another name and renamed when it is whole: a name that can
be seen is a checkpoint that is complete. Its manifest, written last, holds size and SHA-256 of every file, so
damage is noticed, and the checkpoint before it is used instead. No pickle is written or read: a pickle can run code.

    runs      the folder that holds the checkpoints of one run
    writers   file name -> a function that writes that file at the path it is given
    state     what must come back: weights, optimizers, random numbers, the loader's place, counters

Paper: checkfreq-2021 (what must be saved, and how often).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch.optim import Optimizer

MANIFEST = "manifest.json"
Writer = Callable[[Path], None]


def name_of(step: int) -> str:
    """The folder's name: step_000250 for 250. At least six digits, so that names sort like numbers."""
    return f"step_{step:06d}"


def step_of(name: str) -> int | None:
    """The step, 0 or more, of a name that `name_of` gives, else None: 250 for step_000250, None for step_250."""
    digits = name.removeprefix("step_")
    return int(digits) if digits.isdecimal() and name == name_of(int(digits)) else None


def fingerprint(path: Path) -> dict[str, int | str]:
    """Size and SHA-256 of a file: {"bytes": 12, "sha256": "9f86..."}. Read in parts: a file may not fit into memory."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return {"bytes": path.stat().st_size, "sha256": digest.hexdigest()}


def write(runs: Path, step: int, writers: Mapping[str, Writer]) -> Path:
    """Writes the checkpoint runs/step_NNNNNN, whole or not at all, and returns its path.

    The writers fill a folder of another name (it begins with a dot); then comes manifest.json,
    {"step": ..., "files": {name: fingerprint}}; then the folder gets its name. Each file is on the disk before the next
    thing happens. If anything fails, what was begun is removed, older checkpoints are as they were, and the
    error goes on. A checkpoint of the same step is replaced, what a killed run left half-written is thrown away.
    """
    aside, final = runs / f".{name_of(step)}.writing", runs / name_of(step)
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir(parents=True)
        for name, writer in writers.items():
            writer(aside / name)
            sync(aside / name)
        files = {name: fingerprint(aside / name) for name in writers}
        (aside / MANIFEST).write_text(
            json.dumps({"step": step, "files": files}, indent=1) + "\n", encoding="utf-8"
        )
        sync(aside / MANIFEST)
        if final.exists():
            shutil.rmtree(final)
        aside.rename(final)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return final


def sync(path: Path) -> None:
    """Waits until the disk has the file: a rename must not overtake what it names."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def damage(folder: Path) -> str:
    """What is wrong with a checkpoint, in a sentence that names the file; empty if every file is as it was written.

    It raises no exception: not for a manifest that holds something else, nor for a file that can't be read.
    """
    try:
        files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"].items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"{folder} has no {MANIFEST} that can be read"
    for name, facts in files:
        try:
            now = fingerprint(folder / name)
        except OSError:
            return f"{folder} lacks {name}, or it can't be read"
        if now != facts:
            return f"{folder / name} is not as it was written"
    return ""


def newest(runs: Path, warn: Callable[[str], None] = print) -> Path | None:
    """The checkpoint of the highest step that has no damage; None if there is none, or no folder `runs`.

    `warn` is told, in a sentence, of each damaged one that is passed over. Files, and folders of other names, are no
    checkpoints: nothing is said of them.
    """
    folders = (path for path in runs.glob("step_*") if path.is_dir())
    steps = [step for path in folders if (step := step_of(path.name)) is not None]
    for step in sorted(steps, reverse=True):
        problem = damage(runs / name_of(step))
        if not problem:
            return runs / name_of(step)
        warn(f"{problem}: this checkpoint is passed over")
    return None


def keep_newest(runs: Path, n: int = 2) -> None:
    """Removes all checkpoints of the run but the `n` of the highest steps: two, because the newest can be damaged.

    Everything else in `runs` stays. If there is no folder `runs`, there is nothing to do.
    """
    folders = (path for path in runs.glob("step_*") if path.is_dir())
    steps = [step for path in folders if (step := step_of(path.name)) is not None]
    for step in sorted(steps, reverse=True)[n:]:
        shutil.rmtree(runs / name_of(step))


def save_optimizer(optimizer: Optimizer, path: Path) -> None:
    """Writes what the optimizer remembers of each weight, as safetensors: "0.m", "0.v", "0.step", "1.m", ...

    The number is the weight's place among all weights of the optimizer. Whole numbers become tensors of int64.
    Rates and other settings are not written: they follow from the step (lesson 2.3).
    """
    rows = optimizer.state_dict()["state"].items()
    tensors = {
        f"{i}.{key}": torch.as_tensor(value).contiguous() for i, row in rows for key, value in row.items()
    }
    save_file(tensors, path)


def load_optimizer(optimizer: Optimizer, path: Path) -> None:
    """Puts back what `save_optimizer` wrote, bit for bit, into an optimizer made over the same weights.

    A 0-dimensional tensor of int64 becomes an int again. Others keep their dtype and go to the device of their
    weight. Settings stay those of `optimizer`. (torch's own load_state_dict would round each tensor to the dtype of
    its weight.)
    """
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    optimizer.state.clear()
    for name, tensor in load_file(path).items():
        number, key = name.split(".")
        weight, whole = weights[int(number)], tensor.dtype == torch.int64 and tensor.ndim == 0
        optimizer.state[weight][key] = int(tensor) if whole else tensor.to(weight.device)


def save_random(path: Path) -> None:
    """Writes the state of torch's random numbers as safetensors: "cpu", and "cuda.0", "cuda.1", ... for the GPUs."""
    states = {"cpu": torch.get_rng_state()}
    states |= {f"cuda.{i}": torch.cuda.get_rng_state(i) for i in range(torch.cuda.device_count())}
    save_file(states, path)


def load_random(path: Path) -> None:
    """Puts back what `save_random` wrote: the same draws follow. States of GPUs that are not here are passed over."""
    states = load_file(path)
    torch.set_rng_state(states["cpu"])
    for i in range(torch.cuda.device_count()):
        if f"cuda.{i}" in states:
            torch.cuda.set_rng_state(states[f"cuda.{i}"], i)
