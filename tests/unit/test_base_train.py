"""base-train and base-eval: a run that learns, stops, goes on bit for bit, and refuses what would spoil it."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch

from mini_nanochat import flags, records
from mini_nanochat.data import shards
from mini_nanochat.microworld import write
from mini_nanochat.model.gpt import GPT
from mini_nanochat.scripts import base_eval, base_train
from mini_nanochat.tokenizer.tokenizer import Tokenizer
from mini_nanochat.train import checkpoint

KILLS = int(
    os.environ.get("KILLS", "20")
)  # more on demand: KILLS=500 pytest tests/unit/test_base_train.py -k killed
SMALL = (
    "--depth",
    2,
    "--n-embd",
    32,
    "--sequence-len",
    32,
    "--batch-size",
    4,
    "--batch-tokens",
    128,
    "--dtype",
    "float32",
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A microworld of 60 kB, its tokenizer of 300 ids, and few exams."""
    out = tmp_path_factory.mktemp("runs") / "microworld"
    write.write(out, megabytes=0.06, seed=1, shards=2, row_group=64)
    train, _ = shards.train_and_val(out / "documents")
    Tokenizer.train(shards.documents(train), 300).save(out / "tokenizer")
    exams = out / "exams" / "core.jsonl"
    exams.write_text("".join(exams.read_text("utf-8").splitlines(keepends=True)[::40]), "utf-8")
    return out


def flags_of(world: Path, out: Path, *more):
    return ["--data", world / "documents", "--tokenizer", world / "tokenizer", "--out", out, *SMALL, *more]


def train(world: Path, out: Path, *more) -> int:
    """Runs base-train and returns its exit code."""
    argv = list(map(str, flags_of(world, out, "--eval-tokens", 2048, *more)))
    try:
        return flags.run(base_train.Config, base_train.main, argv, prog="base-train")
    except SystemExit as stop:  # flags refuse in this way
        return int(stop.code or 0)


def contents(folder: Path) -> dict[str, str]:
    """File -> fingerprint, of a checkpoint."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def whole(world):
    """A run of 12 steps that nobody disturbed."""
    out = world.parent / "whole"
    assert train(world, out, "--steps", 12, "--save-every", 4, "--eval-every", 6) == 0
    return out


def test_it_learns_and_leaves_all_that_is_needed(world, whole):
    rows = records.read(whole / "metrics.jsonl")
    looks = [row for row in rows if "val_bpb" in row]
    assert [row["step"] for row in looks] == [-1, 5, 11]
    assert looks[-1]["val_bpb"] < looks[0]["val_bpb"] - 0.2 and looks[0]["mini_core"] == 0
    assert [row["step"] for row in rows if "loss" in row] == list(range(12))
    assert sorted(path.name for path in whole.glob("step_*")) == ["step_000008", "step_000012"]
    assert GPT.load(whole / "step_000012").config.n_embd == 32
    assert Tokenizer.load(whole / "tokenizer").vocab_size == 300
    assert (whole / "run.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_that_goes_on_ends_with_the_same_bits(world, whole, tmp_path):
    assert train(world, tmp_path / "run", "--steps", 12, "--save-every", 4, "--eval-every", 6) == 0
    for name in ("step_000012", "step_000008"):
        assert contents(tmp_path / "run" / name) == contents(whole / name)
    damaged = tmp_path / "run" / "step_000012" / "model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert (
        train(world, tmp_path / "run", "--steps", 12, "--save-every", 4, "--eval-every", 6, "--resume") == 0
    )
    assert contents(tmp_path / "run" / "step_000012") == contents(whole / "step_000012")
    drop = ("seconds",)
    both = [
        [
            {key: value for key, value in row.items() if key not in drop}
            for row in records.read(one / "metrics.jsonl")
        ]
        for one in (whole, tmp_path / "run")
    ]
    assert both[0] == both[1]


def test_parts_of_a_batch_make_nearly_the_same_step_as_the_whole(world, tmp_path):
    assert train(world, tmp_path / "a", "--steps", 3, "--batch-tokens", 256) == 0  # two parts of 4 rows
    assert train(world, tmp_path / "b", "--steps", 3, "--batch-tokens", 256, "--batch-size", 8) == 0
    losses = [
        [row["loss"] for row in records.read(tmp_path / x / "metrics.jsonl") if "loss" in row] for x in "ab"
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)  # rounding, through three updates


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_it_learns_in_coarse_numbers_too(world, whole, tmp_path, dtype):
    more = ("--steps", 12, "--save-every", 4, "--eval-every", 12, "--dtype", dtype)
    assert train(world, tmp_path / "run", *more) == 0
    fine, coarse = (records.read(one / "metrics.jsonl")[-1]["val_bpb"] for one in (whole, tmp_path / "run"))
    assert coarse == pytest.approx(fine, abs=0.02)  # of about 4.2; 12 steps of rounding to three digits
    state = json.loads((tmp_path / "run" / "step_000012" / "state.json").read_text("utf-8"))
    assert state["scaler"] == (
        {"scale": 2.0**15, "patience": 1000, "most": 2.0**24, "good": 12} if dtype == "float16" else None
    )
    assert all(one.dtype == torch.float32 for one in GPT.load(tmp_path / "run" / "step_000012").parameters())


def interrupted(world: Path, out: Path, more: tuple) -> None:
    """Takes three steps, then gets a signal while it takes the fourth."""
    one = base_train.Training.one

    def struck(self, number):
        if number == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return one(self, number)

    base_train.Training.one = struck
    try:
        assert train(world, out, *more) == 130
    finally:
        base_train.Training.one = one


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to send")
def test_sigterm_finishes_the_step_saves_and_says_how_to_go_on(world, whole, tmp_path, capsys):
    more = ("--steps", 12, "--save-every", 4, "--eval-every", 6)
    interrupted(world, tmp_path / "run", more)
    assert "Saved after 4 steps. Go on with the same command and --resume." in capsys.readouterr().out
    assert checkpoint.newest(tmp_path / "run").name == "step_000004"
    assert train(world, tmp_path / "run", *more, "--resume") == 0
    assert contents(tmp_path / "run" / "step_000012") == contents(whole / "step_000012")


# -- killed ----------------------------------------------------------------------------------------


def run_in_child(argv: list[str]) -> None:
    torch.set_num_threads(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    raise SystemExit(flags.run(base_train.Config, base_train.main, argv, prog="base-train"))


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_killed_at_random_moments_it_ends_with_the_same_bits(world, tmp_path):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mini_nanochat.scripts.base_train"])
    more = ("--steps", 2 * KILLS, "--save-every", 1, "--eval-every", 10_000, "--eval-tokens", 200)
    quiet, struck = (list(map(str, flags_of(world, tmp_path / name, *more))) for name in ("quiet", "struck"))

    def start(argv: list[str]):
        child = context.Process(target=run_in_child, args=(argv,))
        child.start()
        return child

    begun = time.monotonic()
    child = start(quiet)
    child.join()
    assert child.exitcode == 0
    each = (time.monotonic() - begun) / KILLS
    wanted = contents(tmp_path / "quiet" / f"step_{2 * KILLS:06d}")

    dice, kills, out = random.Random(0), 0, tmp_path / "struck"
    while kills < KILLS or out.exists():
        resume = ["--resume"] if (out / "run.json").exists() else []
        if not resume and out.exists():
            out.rename(tmp_path / f"begun {kills}")  # killed before there was anything to go on with
        child = start(struck + resume)
        if kills < KILLS:
            time.sleep(dice.uniform(0, 0.3 + 2 * each))
            child.kill()
        child.join()
        assert child.exitcode in (0, -signal.SIGKILL)
        kills += child.exitcode != 0
        if child.exitcode == 0:  # and on to another run, if there were too few kills
            assert contents(out / f"step_{2 * KILLS:06d}") == wanted
            out.rename(tmp_path / f"ended {kills}")


# -- refused ---------------------------------------------------------------------------------------


def refused(capsys, code: int) -> str:
    """The one sentence on stderr, with the whole of it on one line."""
    text = capsys.readouterr().err
    assert code == 2 and "Traceback" not in text
    return " ".join(text.split())


def test_a_folder_in_use_is_not_overwritten(world, whole, capsys):
    before = contents(whole / "step_000012")
    assert "is in use already: go on with its run (--resume)" in refused(
        capsys, train(world, whole, "--steps", 3)
    )
    assert contents(whole / "step_000012") == before


@pytest.mark.parametrize(
    "more, sentence",
    [
        (("--depth", 3), "was begun with depth = 2, now it is 3"),
        (("--steps", 13), "was begun with steps = 12, now it is 13"),
        (("--seed", 1), "was begun with seed = 0, now it is 1"),
        (("--dtype", "bfloat16"), "was begun with dtype = float32, now it is bfloat16"),
    ],
)
def test_other_settings_do_not_go_on_with_a_run(world, whole, capsys, more, sentence):
    before = {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()}
    assert sentence in refused(capsys, train(world, whole, "--steps", 12, *more, "--resume"))
    assert before == {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "name, sentence",
    [
        ("mlflow", "track must be wandb, tensorboard or none, got mlflow"),
        ("wandb", "track wandb needs a package that is not here: pip install wandb"),
    ],
)
def test_a_tracker_that_is_not_here_is_named_before_anything_starts(
    world, tmp_path, capsys, monkeypatch, name, sentence
):
    monkeypatch.setattr(base_train, "find_spec", lambda name: None)
    assert sentence in refused(capsys, train(world, tmp_path / "run", "--steps", 3, "--track", name))
    assert not (tmp_path / "run").exists()


def test_a_tracker_is_told_all_that_the_metrics_hold(world, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(base_train, "find_spec", lambda name: name)
    monkeypatch.setitem(
        base_train.tracker.TRACKERS, "wandb", lambda folder, settings: lambda *one: told.append(one)
    )
    assert train(world, tmp_path / "run", "--steps", 3, "--eval-every", 2, "--track", "wandb") == 0
    rows = records.read(tmp_path / "run" / "metrics.jsonl")
    assert [step for step, _ in told] == [row["step"] + 1 for row in rows] == [0, 1, 2, 2, 3, 3]
    assert told[-1][1]["val_bpb"] == rows[-1]["val_bpb"]


def test_another_tokenizer_does_not_go_on_with_a_run(world, whole, tmp_path, capsys):
    train_shards, _ = shards.train_and_val(world / "documents")
    Tokenizer.train(shards.documents(train_shards), 301).save(tmp_path / "other")
    code = train(world, whole, "--steps", 12, "--resume", "--tokenizer", tmp_path / "other")
    assert "was begun with tokenizer =" in refused(capsys, code)


def test_other_data_do_not_go_on_with_a_run(world, whole, tmp_path, capsys):
    write.write(tmp_path / "other", megabytes=0.07, seed=2, shards=2, row_group=64)
    code = train(world, whole, "--steps", 12, "--resume", "--data", tmp_path / "other" / "documents")
    assert "the state is of another loader: data was" in refused(capsys, code)


def test_there_must_be_a_run_to_go_on_with(world, tmp_path, capsys):
    code = train(world, tmp_path / "none", "--steps", 12, "--resume")
    assert "holds no run: run.json is missing" in refused(capsys, code)
    assert not (tmp_path / "none").exists()


def test_a_loss_that_is_no_number_ends_the_run_and_says_where(world, tmp_path, capsys, monkeypatch):
    loss = GPT.loss
    calls = []

    def broken(self, x, y):
        calls.append(torch.is_grad_enabled())
        return loss(self, x, y) * (float("nan") if sum(calls) > 10 else 1.0)

    monkeypatch.setattr(GPT, "loss", broken)
    code = train(world, tmp_path / "run", "--steps", 40, "--save-every", 4, "--eval-every", 1000)
    said = refused(capsys, code)
    assert "the loss of this batch is nan" in said and "The data stood at Position(" in said
    kept = checkpoint.newest(tmp_path / "run")
    assert kept is not None and kept.name in said
    assert all(one.isfinite().all() for one in GPT.load(kept).parameters())


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(world, tmp_path, capsys):
    tmp_path.chmod(0o500)
    try:
        assert str(tmp_path / "run") in refused(capsys, train(world, tmp_path / "run", "--steps", 3))
    finally:
        tmp_path.chmod(0o700)


def test_a_full_disk_stops_the_run_and_keeps_the_checkpoint_before(world, tmp_path, capsys, monkeypatch):
    sync = checkpoint.sync

    def full(path):
        if "step_000008" in str(path) and path.name == "model.safetensors":
            raise OSError(28, "No space left on device", str(path))
        sync(path)

    monkeypatch.setattr(checkpoint, "sync", full)
    code = train(world, tmp_path / "run", "--steps", 12, "--save-every", 4)
    said = refused(capsys, code)
    assert "No space left on device" in said and checkpoint.newest(tmp_path / "run").name == "step_000004"
    assert [path.name for path in (tmp_path / "run").iterdir() if path.name.startswith(".")] == []


def test_base_eval_shows_the_model_beside_an_untrained_one(world, whole, capsys):
    argv = ["--run", whole, "--data", world / "documents", "--exams", world / "exams" / "core.jsonl"]
    argv += ["--samples", 1, "--tokens", 2048]
    assert flags.run(base_eval.Config, base_eval.main, list(map(str, argv)), prog="base-eval") == 0
    said = " ".join(capsys.readouterr().out.split())
    looks = [row["val_bpb"] for row in records.read(whole / "metrics.jsonl") if "val_bpb" in row]
    assert "untrained" in said and "after 12 steps" in said and "mini-CORE" in said
    assert f"bits per byte {looks[0]:.3f} {looks[-1]:.3f}" in said  # the same rows, in other batches
