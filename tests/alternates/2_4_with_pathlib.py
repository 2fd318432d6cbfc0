"""Lesson 2.4 solved in another style: regular expressions, small helpers, mmap, os.replace, sets of names."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from pathlib import Path

import safetensors
import torch
from safetensors.torch import save_file

MANIFEST = "manifest.json"
PATTERN = re.compile(r"step_(?P<step>0[0-9]{5}|[1-9][0-9]{5,})", re.ASCII)


def name_of(step):
    return "step_" + str(step).rjust(6, "0")


def step_of(name):
    found = PATTERN.fullmatch(name)
    if found is None:
        return None
    return int(found["step"])


def fingerprint(path):
    size, digest = 0, hashlib.new("sha256")
    buffer = bytearray(1 << 16)
    view = memoryview(buffer)
    with open(path, "rb", buffering=0) as file:
        while True:
            n = file.readinto(buffer)
            if not n:
                break
            digest.update(view[:n])
            size += n
    return {"bytes": size, "sha256": digest.hexdigest()}


def sync(path):
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def write(runs, step, writers):
    final = Path(runs, name_of(step))
    hidden = Path(runs, "." + name_of(step))
    old = Path(runs, "." + name_of(step) + ".old")

    def away(folder):
        if folder.exists():
            shutil.rmtree(folder)

    away(hidden)
    away(old)
    done = False
    try:
        os.makedirs(hidden)
        facts = {}
        for name in writers:
            writers[name](hidden / name)
            sync(hidden / name)
            facts[name] = fingerprint(hidden / name)
        manifest = hidden / MANIFEST
        with manifest.open("w", encoding="utf-8") as file:
            json.dump({"files": facts, "step": step}, file)
            file.flush()
            os.fsync(file.fileno())
        if final.exists():
            os.replace(final, old)
        os.replace(hidden, final)
        done = True
    finally:
        if not done:
            away(hidden)
    away(old)
    return final


def damage(folder):
    manifest = folder / MANIFEST
    if not manifest.is_file():
        return f"{manifest} is missing"
    try:
        known = json.loads(manifest.read_bytes())
    except ValueError as error:
        return f"{manifest} can't be read: {error}"
    if not isinstance(known, dict) or not isinstance(known.get("files"), dict):
        return f"{manifest} knows no files"
    for name in sorted(known["files"]):
        path, wanted = folder / name, known["files"][name]
        if not path.is_file():
            return f"{name} is missing in {folder}"
        try:
            if os.path.getsize(path) != wanted["bytes"]:
                return f"{name} in {folder} has another size"
            if fingerprint(path)["sha256"] != wanted["sha256"]:
                return f"{name} in {folder} has changed"
        except OSError as error:
            return f"{name} in {folder} can't be read: {error}"
        except (KeyError, TypeError):
            return f"{manifest} says nothing that makes sense about {name}"
    return ""


def _all(runs):
    if not runs.is_dir():
        return {}
    found = {step_of(path.name): path for path in runs.iterdir() if path.is_dir()}
    found.pop(None, None)
    return dict(sorted(found.items()))


def newest(runs, warn=print):
    found = list(_all(runs).values())
    while found:
        folder = found.pop()
        problem = damage(folder)
        if problem == "":
            return folder
        warn(f"{folder} is not used: {problem}")
    return None


def keep_newest(runs, n=2):
    found = list(_all(runs).values())
    for folder in found[: max(len(found) - n, 0)]:
        shutil.rmtree(folder)


def save_optimizer(optimizer, path):
    out, number = {}, 0
    for group in optimizer.param_groups:
        for weight in group["params"]:
            for key, value in optimizer.state.get(weight, {}).items():
                kept = value.detach().clone() if torch.is_tensor(value) else torch.tensor(value)
                out[".".join((str(number), key))] = kept.contiguous()
            number += 1
    save_file(out, str(path))


def load_optimizer(optimizer, path):
    with safetensors.safe_open(str(path), framework="pt") as file:
        read = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no dict
    number = 0
    for group in optimizer.param_groups:
        for weight in group["params"]:
            prefix = f"{number}."
            mine = {}
            for name, tensor in read.items():
                if name.startswith(prefix):
                    whole = (tensor.dtype, tensor.dim()) == (torch.int64, 0)
                    mine[name[len(prefix) :]] = tensor.item() if whole else tensor.to(device=weight.device)
            if mine:
                optimizer.state[weight] = mine
            number += 1


def save_random(path):
    out = {"cpu": torch.random.get_rng_state()}
    if torch.cuda.is_available():
        for i, state in enumerate(torch.cuda.get_rng_state_all()):
            out["cuda." + str(i)] = state
    save_file(out, str(path))


def load_random(path):
    with safetensors.safe_open(str(path), framework="pt") as file:
        for name in file.keys():  # noqa: SIM118  # no dict
            device, _, number = name.partition(".")
            if device == "cpu":
                torch.random.set_rng_state(file.get_tensor(name))
            elif int(number) < torch.cuda.device_count():
                torch.cuda.set_rng_state(file.get_tensor(name), torch.device("cuda", int(number)))
