"""Graded tests of lesson 2.4: checkpoints that are whole or not there, by hand and on a real folder.

Judges: hashlib, json, safetensors and torch itself. Checkpoints that are read are laid by hand, so that `write` need
not be right for `newest`; power failures are played by looking at the folder in the middle of a write.
"""

import hashlib
import json
import os
import re
import shutil
import tracemalloc
from dataclasses import dataclass

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from mini_nanochat.train import checkpoint

MANIFEST = "manifest.json"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Nobody waits for the disk here: a real one takes longer than all the rest, and no check could see it."""
    monkeypatch.setattr(os, "fsync", lambda number: None)


@dataclass
class Says:
    """A writer that writes this text."""

    text: str

    def __call__(self, path):
        path.write_bytes(self.text.encode())

    def __repr__(self):  # a card shows it
        return f"says({self.text!r})"


def says(content):
    return Says(content)


def facts(content: bytes) -> dict:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def lay(runs, name, files=None):
    """A whole checkpoint, laid by hand."""
    folder = runs / name
    folder.mkdir(parents=True)
    files = files or {"a.txt": "one", "b.txt": "two", "c.txt": "three"}
    for file, content in files.items():
        (folder / file).write_bytes(content.encode())
    step = int("".join(c for c in name if c.isdecimal()) or 0)
    manifest = {"step": step, "files": {file: facts(text.encode()) for file, text in files.items()}}
    (folder / MANIFEST).write_bytes(json.dumps(manifest).encode())
    os.utime(folder, (step, step))  # no clock: later steps are later
    return folder


def contents(folder) -> dict:
    """File name -> text, but for the manifest."""
    return {path.name: path.read_text() for path in sorted(folder.iterdir()) if path.name != MANIFEST}


def names(folder) -> str:
    """As one line, which is what a card has room for."""
    return ", ".join(sorted(os.listdir(folder))) if folder.is_dir() else "no such folder"


def ending(call) -> str:
    """How a call ends, in a few words. Ctrl-C counts."""
    try:
        call()
    except NotImplementedError:
        raise
    except OSError as error:  # its text holds a path, which is another one each time
        return f"{type(error).__name__}: {error.strerror or error}"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def left(runs, call) -> str:
    """How the call ends, and what lies in the folder then."""
    how = ending(call)
    return f"{how}; {names(runs)}"


def named(path):
    return getattr(path, "name", path)


# --- step_of -----------------------------------------------------------------------------------------


@pytest.mark.exercise("step_of")
def test_the_step_is_read_from_the_name():
    got = [checkpoint.step_of(name) for name in ("step_000250", "step_000000", "step_1234567")]
    assert got == [250, 0, 1234567], "step_000250, step_000000 and step_1234567, as numbers"


@pytest.mark.exercise("step_of")
def test_names_with_something_before_or_behind_are_no_checkpoints():
    foreign = (".step_000250.writing", "step_000250_backup", "step_000250\n", "my_step_000250")
    got = [name for name in foreign if checkpoint.step_of(name) is not None]
    assert got == [], (
        "half-written folders, and copies that somebody made by hand: a run must not go on from these"
    )


@pytest.mark.exercise("step_of")
def test_letters_of_the_prefix_are_not_the_prefix():
    got = [name for name in ("steps_000250", "pets_000250", "000250") if checkpoint.step_of(name) is not None]
    assert got == [], "'step_' is a word, and not a bag of letters: these names are not ours"


@pytest.mark.exercise("step_of")
def test_only_a_name_that_name_of_gives_is_a_checkpoint():
    others = (
        "step_250",
        "step_0000250",
        "step_+00250",
        "step_00_250",
        "step_\u0660\u0660\u0660\u0662\u0665\u0660",
        "step_-00250",
    )
    got = [name for name in others if checkpoint.step_of(name) is not None]
    assert got == [], (
        "int() reads all of these, but step 250 is step_000250: who looks there finds nothing, or another one. And "
        "no step is below 0"
    )


# --- fingerprint -------------------------------------------------------------------------------------


@pytest.mark.exercise("fingerprint")
def test_size_and_sha_256_of_abc_as_printed_in_every_textbook(tmp_path):
    path, nothing = tmp_path / "abc", tmp_path / "empty"
    path.write_bytes(b"abc")
    nothing.write_bytes(b"")
    assert sorted(checkpoint.fingerprint(path)) == ["bytes", "sha256"], "a dict with these two keys"
    assert checkpoint.fingerprint(path)["bytes"] == 3, "the size of a file with the three bytes abc"
    assert str(checkpoint.fingerprint(path)["sha256"])[:12] == "ba7816bf8f01", (
        "the SHA-256 of abc, its first digits"
    )
    assert len(str(checkpoint.fingerprint(path)["sha256"])) == 64, "256 bits are 64 hexadecimal digits"
    assert checkpoint.fingerprint(nothing) == facts(b""), "an empty file has a fingerprint, too"


@pytest.mark.exercise("fingerprint")
def test_every_byte_counts_and_counts_as_it_lies_on_the_disk(tmp_path):
    content = b"a\r\nb\n\xff\x00" * 200_000
    path = tmp_path / "large"
    path.write_bytes(content)
    assert checkpoint.fingerprint(path)["bytes"] == 1_400_000, "the size in bytes"
    assert checkpoint.fingerprint(path)["sha256"][:12] == facts(content)["sha256"][:12], (
        "the SHA-256 of 1.4 MB with line ends of both kinds, and bytes that are no text: damage may sit anywhere"
    )


def megabytes(call) -> int:
    """The most memory that the call takes at a time."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1] >> 20
    finally:
        tracemalloc.stop()


@pytest.mark.exercise("fingerprint")
def test_a_file_need_not_fit_into_memory(tmp_path):
    path = tmp_path / "weights"
    with path.open("wb") as file:
        file.truncate(8 << 20)
    assert megabytes(lambda: checkpoint.fingerprint(path)) <= 4, (
        "the memory taken, in MB, for a file of 8 MB: weights of 40 GB would take as much again"
    )


# --- write -------------------------------------------------------------------------------------------

TWO = {"a.txt": says("one"), "b.txt": says("two")}


@pytest.mark.exercise("write")
def test_a_checkpoint_stands_under_its_name_with_all_files(tmp_path):
    runs = tmp_path / "new" / "runs"
    got = checkpoint.write(runs, 250, TWO).relative_to(tmp_path).as_posix()
    assert got == "new/runs/step_000250", "the path that is returned, its end"
    assert contents(runs / "step_000250") == {"a.txt": "one", "b.txt": "two"}, "what the writers have written"
    assert names(runs) == "step_000250", "and nothing else lies beside it"


@pytest.mark.exercise("write")
def test_the_manifest_holds_the_step_and_a_fingerprint_of_each_file(tmp_path):
    checkpoint.write(tmp_path, 7, TWO)
    path = tmp_path / "step_000007" / MANIFEST
    assert path.is_file(), "without manifest.json nobody can tell later whether a file is as it was"
    got = json.loads(path.read_text())
    assert got["step"] == 7, "the step, in the manifest"
    assert sorted(got["files"]) == ["a.txt", "b.txt"], "the files that the manifest knows"
    for name, content in (("a.txt", b"one"), ("b.txt", b"two")):
        assert got["files"][name]["bytes"] == 3, (
            f"the size of {name} in the manifest: was it taken too early?"
        )
        assert got["files"][name]["sha256"][:12] == facts(content)["sha256"][:12], f"the SHA-256 of {name}"


def watched(runs, monkeypatch, write):
    """Writes two checkpoints of two files, and looks in between: what is seen, but not whole?

    It looks when a writer begins, when it is half done, and whenever the disk is waited for.
    """
    found = []

    def look(when):
        for path in sorted(runs.glob("step_*")):
            held = sorted(os.listdir(path))
            whole = held == ["a.txt", "b.txt", MANIFEST] and all(
                (path / name).stat().st_size for name in held
            )
            if not whole:
                found.append(f"{path.name} {when}")

    def slow(path):
        look(f"when {path.name} begins")
        with path.open("w") as file:
            file.write("on")
            file.flush()
            look(f"when {path.name} is half written")
            file.write("e")
        look(f"when {path.name} is written")

    monkeypatch.setattr(os, "fsync", lambda number: look("when the disk is waited for"))
    write(runs, 7, {"a.txt": slow, "b.txt": slow})
    write(runs, 8, {"a.txt": slow, "b.txt": slow})
    return found


@pytest.mark.exercise("write", points=3)
def test_whenever_the_power_fails_a_name_that_is_seen_is_whole(tmp_path, monkeypatch):
    got = watched(tmp_path, monkeypatch, checkpoint.write)[:1]  # one is enough for a card
    assert got == [], (
        "at this moment a name was seen whose files were not all there: two files and a manifest"
    )


def seen_by_two(write):
    """Where two writers work, and whether a manifest lies there already."""
    seen = []

    def note(path):
        seen.append(path.parent.name[:1] + (" with a manifest" if (path.parent / MANIFEST).exists() else ""))
        path.write_text("x")

    write({"a.txt": note, "b.txt": note})
    return seen


@pytest.mark.exercise("write")
def test_the_manifest_comes_last(tmp_path):
    got = seen_by_two(lambda writers: checkpoint.write(tmp_path, 7, writers))
    assert got == [".", "."], (
        "where the two writers worked: in a folder that begins with a dot, and no manifest lies in it yet. It "
        "vouches for files; who writes it first vouches for what is not there"
    )


def unsynced(runs, monkeypatch, until, write):
    """The files for which, as they are now, the disk was not waited for until this was seen."""
    waited = set()

    def sync(number):
        if not list(runs.glob(until)):
            waited.add((os.fstat(number).st_ino, os.fstat(number).st_size))

    monkeypatch.setattr(os, "fsync", sync)
    write()
    files = {path.name: path.stat() for path in (runs / "step_000007").iterdir()}
    return sorted(name for name, file in files.items() if (file.st_ino, file.st_size) not in waited)


@pytest.mark.exercise("write")
def test_every_file_is_on_the_disk_before_the_manifest_and_the_name_are(tmp_path, monkeypatch):
    runs = tmp_path / "runs"
    got = unsynced(runs, monkeypatch, "step_*", lambda: checkpoint.write(runs, 7, TWO))
    assert got == [], (
        "files that were not waited for (`sync`) once they were written and before the rename: the disk may rename "
        "first, and then the power fails"
    )
    shutil.rmtree(runs)
    got = unsynced(runs, monkeypatch, f"**/{MANIFEST}", lambda: checkpoint.write(runs, 7, TWO))
    assert got == [MANIFEST], (
        "files that were not waited for (`sync`) before the manifest was begun (it alone may be among them): it "
        "vouches for what the disk has"
    )


@pytest.mark.exercise("write")
@pytest.mark.parametrize(
    "error", [OSError("the disk is full"), KeyboardInterrupt("Ctrl-C")], ids=["full", "ctrl_c"]
)
def test_a_write_that_fails_leaves_no_trace_and_says_so(tmp_path, error):
    def fail(path):
        path.write_text("hal")
        raise error

    lay(tmp_path, "step_000010")
    got = left(tmp_path, lambda: checkpoint.write(tmp_path, 20, {"a.txt": says("one"), "b.txt": fail}))
    assert got == f"{type(error).__name__}: {error}; step_000010", (
        "how it ends, and what lies in the folder then. Who is not told goes on without a checkpoint; and beside the "
        "older one nothing half done may stay"
    )


@pytest.mark.exercise("write")
def test_the_old_checkpoint_stays_until_the_new_one_is_whole(tmp_path, monkeypatch):
    for step in ("step_000007", "step_000003"):
        lay(tmp_path, step, {"a.txt": "old", "gone.txt": "old"})

    def full(path):
        raise OSError("the disk is full")

    def full_at_last(number):
        if list(tmp_path.glob(f".*/{MANIFEST}")):
            raise OSError("the disk is full")

    got = left(tmp_path, lambda: checkpoint.write(tmp_path, 7, {"a.txt": says("new"), "b.txt": full}))
    assert got == "OSError: the disk is full; step_000003, step_000007", (
        "the second writer fails while step 7 is written once more: how that ends, and what lies in the folder then"
    )
    assert contents(tmp_path / "step_000007") == {"a.txt": "old", "gone.txt": "old"}, (
        "it failed, so the old one"
    )
    monkeypatch.setattr(os, "fsync", full_at_last)
    got = left(tmp_path, lambda: checkpoint.write(tmp_path, 7, {"a.txt": says("new")})).split("; ")[1]
    assert got == "step_000003, step_000007", (
        "step 7 is written once more, and the disk is full when the manifest should reach it: what lies in the "
        "folder then. The new one is not whole yet, so the old one must be there"
    )
    monkeypatch.setattr(os, "fsync", lambda number: None)
    checkpoint.write(tmp_path, 7, {"a.txt": says("new")})
    assert contents(tmp_path / "step_000007") == {"a.txt": "new"}, "it succeeded: only what is new"
    assert contents(tmp_path / "step_000003")["a.txt"] == "old", "another step's checkpoint is not touched"


@pytest.mark.exercise("write", points=2)
def test_what_a_killed_run_left_is_thrown_away(tmp_path):
    runs, disk = tmp_path / "runs", tmp_path / "disk"

    def killed(path):
        path.write_text("half")
        shutil.copytree(runs, disk)  # what the disk holds at this moment

    checkpoint.write(runs, 7, {"b.txt": says("of the killed run"), "c.txt": killed})
    got = ending(lambda: checkpoint.write(disk, 7, {"a.txt": says("one")}))
    assert got == "no error", "writing again what a killed run had begun, in a new process"
    assert contents(disk / "step_000007") == {"a.txt": "one"}, "the files of the new run, and no others"
    assert names(disk) == "step_000007", "what the killed run left does not stay beside it either"


# --- damage ------------------------------------------------------------------------------------------


@pytest.mark.exercise("damage")
def test_a_whole_checkpoint_has_no_damage(tmp_path):
    folder = lay(tmp_path, "step_000007", {"a.txt": "one", "empty.txt": ""})
    got = checkpoint.damage(folder).replace(str(tmp_path), "")
    assert got == "", "every file is as it was written, an empty one too"


@pytest.mark.exercise("damage")
def test_a_file_that_is_missing_is_named(tmp_path):
    folder = lay(tmp_path, "step_000007")
    (folder / "b.txt").unlink()
    got = [name for name in ("a.txt", "b.txt", "c.txt") if name in checkpoint.damage(folder)]
    assert got == ["b.txt"], "b.txt is gone: the files that the sentence names"


def naming(name, call) -> str:
    """ "named" if the call returns a sentence with this name, else what came instead."""
    found = []
    how = ending(lambda: found.append(call()))
    if how != "no error":
        return how
    return "named" if name in found[0] else "a sentence without the name" if found[0] else "no damage"


@pytest.mark.exercise("damage")
def test_a_file_that_cannot_be_read_is_named(tmp_path):
    for where, what in (("one", "a folder lies in its place"), ("two", "the disk can't read it")):
        folder = lay(tmp_path / where, "step_000007")
        (folder / "b.txt").unlink()
        if where == "one":
            (folder / "b.txt").mkdir()
        else:
            (folder / "b.txt").symlink_to("/proc/self/mem")  # Linux: an input/output error
        got = naming("b.txt", lambda folder=folder: checkpoint.damage(folder))
        assert got == "named", f"b.txt, and {what}: a sentence that names it, and no exception"


def lay_changed(runs, text):
    """A checkpoint whose c.txt held "three", and holds this text now."""
    folder = lay(runs, "step_000007")
    (folder / "c.txt").write_text(text)
    return folder


@pytest.mark.exercise("damage", points=2)
def test_a_file_that_has_changed_is_named(tmp_path):
    folders = {now: lay_changed(tmp_path / str(len(now)), now) for now in ("", "thr", "thrfe", "three, and")}
    got = [now for now, folder in folders.items() if "c.txt" not in checkpoint.damage(folder)]
    assert got == [], "c.txt held 'three', and then one of these: nothing was noticed, or it was not named"


@pytest.mark.exercise("damage")
def test_without_a_manifest_that_can_be_read_nothing_is_vouched_for(tmp_path):
    others = ("", '{"step": 7, "fil', "{}", "[]", '"x"', "3", '{"files": []}')
    for i, text in enumerate(others):
        folder = lay(tmp_path / str(i), "step_000007")
        (folder / MANIFEST).write_text(text)
        if not text:
            (folder / MANIFEST).unlink()
        got = naming(MANIFEST, lambda folder=folder: checkpoint.damage(folder))
        assert got == "named", (
            f"manifest.json {f'holds {text}' if text else 'is missing'}: the answer is a sentence that names it, and "
            "no exception, because `newest` wants to go on"
        )


# --- newest ------------------------------------------------------------------------------------------


def told(newest):
    """The steps in the sentences that `warn` is told in this call."""
    said = []
    newest(said.append)
    steps = [re.findall(r"step_[0-9]+", str(text))[:1] for text in said]
    return [step[0] if step else "no name" for step in steps]


@pytest.mark.exercise("newest")
def test_where_nothing_is_there_is_no_newest(tmp_path):
    for runs in (tmp_path / "never", tmp_path):
        found = []
        got = ending(lambda runs=runs, found=found: found.append(checkpoint.newest(runs)))
        assert got == "no error", "no folder `runs`, or an empty one: a run begins for the first time"
        assert found == [None], "and nothing is found there"


@pytest.mark.exercise("newest")
def test_the_newest_is_the_one_of_the_highest_step(tmp_path):
    for step in ("step_999999", "step_1000000", "step_000002"):
        lay(tmp_path, step)
    os.utime(tmp_path / "step_999999", (4e9, 4e9))
    got = named(checkpoint.newest(tmp_path))
    assert got == "step_1000000", (
        "steps are numbers: as text, 9 comes after 1. And the time on the folder is changed by every copy"
    )


@pytest.mark.exercise("newest", points=2)
def test_damaged_ones_are_passed_over_and_told_of(tmp_path):
    for step in ("step_000010", "step_000020", "step_000030"):
        lay(tmp_path, step)
    (tmp_path / "step_000030" / "c.txt").write_text("thr")
    (tmp_path / "step_000020" / MANIFEST).unlink()
    got = named(checkpoint.newest(tmp_path))
    assert got == "step_000010", "30 and 20 are damaged: go on from 10, and lose 20 steps instead of all"
    got = told(lambda warn: checkpoint.newest(tmp_path, warn))
    assert got == ["step_000030", "step_000020"], (
        "the names in the sentences that warn was told: a run that goes back in silence hides a broken disk"
    )


@pytest.mark.exercise("newest")
def test_if_all_are_damaged_there_is_none(tmp_path):
    for step in ("step_000010", "step_000020"):
        (lay(tmp_path, step) / "a.txt").write_text("")
    got = named(checkpoint.newest(tmp_path))
    assert got is None, "nothing that is whole: begin anew"
    got = told(lambda warn: checkpoint.newest(tmp_path, warn))
    assert got == ["step_000020", "step_000010"], "the names in the sentences that warn was told"


@pytest.mark.exercise("newest")
def test_what_is_not_in_the_way_is_not_told_of(tmp_path):
    for step in ("step_000010", "step_000020", "step_000030_backup", ".step_000040.writing", "steps_000050"):
        lay(tmp_path, step)
    (tmp_path / "step_000010" / "a.txt").unlink()
    for file in ("notes.txt", "step_000060"):
        (tmp_path / file).write_text("mine")
    got = named(checkpoint.newest(tmp_path))
    assert got == "step_000020", "folders with names that name_of gives are checkpoints, and nothing else"
    got = told(lambda warn: checkpoint.newest(tmp_path, warn))
    assert got == [], (
        "10 is damaged, but 20 is newer and whole: nobody has to know, or to read all of 10. And step_000060 is a "
        "plain file, which is no damaged checkpoint"
    )


# --- keep_newest -------------------------------------------------------------------------------------


@pytest.mark.exercise("keep_newest")
def test_the_highest_steps_stay(tmp_path):
    for step in ("step_000005", "step_1000000", "step_999999", "step_1000001"):
        lay(tmp_path, step)
    os.utime(tmp_path / "step_000005", (4e9, 4e9))
    got = left(tmp_path, lambda: checkpoint.keep_newest(tmp_path))
    assert got == "no error; step_1000000, step_1000001", "two are kept if nobody says how many"


def how_many(runs, call) -> int:
    """How many things lie in the folder after the call."""
    call()
    return len(os.listdir(runs))


@pytest.mark.exercise("keep_newest")
def test_as_many_stay_as_were_asked_for(tmp_path):
    for n, wanted in ((5, 3), (3, 3), (1, 1), (0, 0)):
        runs = tmp_path / str(n)
        for step in ("step_000010", "step_000020", "step_000030"):
            lay(runs, step)
        got = how_many(runs, lambda runs=runs, n=n: checkpoint.keep_newest(runs, n))
        assert got == wanted, f"of three checkpoints, {n} are to be kept: how many are left"


@pytest.mark.exercise("keep_newest")
def test_what_is_no_checkpoint_is_not_removed(tmp_path):
    foreign = ("step_000001_backup", "step_2", "best", "step_000002.old")
    for name in (*foreign, "step_000010", "step_000020"):
        lay(tmp_path, name)
    for file in ("metrics.jsonl", "step_000030"):
        (tmp_path / file).write_text("")
    got = ending(lambda: checkpoint.keep_newest(tmp_path, 1))
    assert got == "no error", "copies, and files and folders of somebody else, lie beside the checkpoints"
    assert names(tmp_path) == ", ".join(sorted((*foreign, "metrics.jsonl", "step_000020", "step_000030"))), (
        "somebody's backup is no business of ours, and step_000030 is a plain file, which is no checkpoint"
    )
    got = ending(lambda: checkpoint.keep_newest(tmp_path / "never"))
    assert got == "no error", "there is no folder: nothing to remove"


# --- save_optimizer ----------------------------------------------------------------------------------


class Memory(torch.optim.Optimizer):
    """An optimizer that only remembers."""

    def __init__(self, groups, lr=0.1, beta=0.9):
        super().__init__(groups, {"lr": lr, "beta": beta})

    def __repr__(self):
        return "<an optimizer>"  # torch's own takes nine lines of a card


def remembering():
    """Four weights in two groups, and what is remembered of three of them."""
    weights = [nn.Parameter(torch.zeros(2, 3)) for _ in range(4)]
    made = Memory([{"params": weights[:2]}, {"params": weights[2:]}])
    made.state[weights[0]] = {"m": torch.full((2, 3), 1 / 3), "step": 5}
    made.state[weights[2]] = {"m": torch.arange(6.0).reshape(3, 2).T, "step": 2**40}
    made.state[weights[3]] = {"m": torch.full((2, 3), 0.1).bfloat16()}
    return made


def written(save, folder):
    """What it writes of that optimizer: name -> tensor."""
    save(remembering(), folder / "o")
    return load_file(folder / "o")


@pytest.mark.exercise("save_optimizer")
def test_each_memory_is_named_after_the_place_of_its_weight(tmp_path):
    got = " ".join(sorted(written(checkpoint.save_optimizer, tmp_path)))
    assert got == "0.m 0.step 2.m 2.step 3.m", (
        "the names in the file: weight 1 has no memory yet and keeps its number, and the second group goes on at 2. "
        "Settings are not written"
    )


@pytest.mark.exercise("save_optimizer")
def test_memories_are_written_bit_for_bit(tmp_path):
    got = [str(written(checkpoint.save_optimizer, tmp_path)[name].dtype) for name in ("0.m", "3.m", "0.step")]
    assert got == ["torch.float32", "torch.bfloat16", "torch.int64"], (
        "dtypes of 0.m, 3.m and the whole number"
    )
    got = float((written(checkpoint.save_optimizer, tmp_path)["0.m"] - 1 / 3).abs().max())
    assert got == 0.0, "0.m was 1/3 in float32, and this is how far it is from that: a copy has no tolerance"
    got = written(checkpoint.save_optimizer, tmp_path)["2.m"].tolist()
    assert got == [[0.0, 2.0, 4.0], [1.0, 3.0, 5.0]], "2.m is a transposed view, and lies so in memory"
    got = int(written(checkpoint.save_optimizer, tmp_path)["2.step"])
    assert got == 2**40, "whole numbers, too, have no tolerance"


def after(save, path):
    """What the first weight's memory is once it is saved: the kind of its step, the sum of its m."""
    optimizer = remembering()
    save(optimizer, path)
    state = optimizer.state[optimizer.param_groups[0]["params"][0]]
    return type(state["step"]).__name__, round(float(state["m"].sum()), 3)


@pytest.mark.exercise("save_optimizer")
def test_saving_changes_nothing(tmp_path):
    assert after(checkpoint.save_optimizer, tmp_path / "o") == ("int", 2.0), (
        "the run goes on after the checkpoint: its whole number is an int, and m, six times 1/3, is what it was"
    )


# --- load_optimizer ----------------------------------------------------------------------------------


def empty(dtype=torch.float32, device="cpu"):
    """The optimizer of a new process, over three weights in two groups."""
    weights = [nn.Parameter(torch.zeros(2, 3, dtype=dtype, device=device)) for _ in range(3)]
    return Memory([{"params": weights[:2]}, {"params": weights[2:]}], lr=0.5), weights


def write_state(path):
    m = torch.full((2, 3), 1 / 3)
    save_file({"0.m": m, "2.m": 2 * m, "2.step": torch.tensor(5), "2.share": torch.tensor(0.5)}, path)


def loaded(load, dtype=torch.float32, device="cpu"):
    """What is remembered of each of the three weights once it is loaded."""
    optimizer, weights = empty(dtype, device)
    load(optimizer)
    return [dict(optimizer.state.get(weight, {})) for weight in weights]


@pytest.mark.exercise("load_optimizer")
def test_each_memory_comes_back_to_its_weight(tmp_path):
    path = tmp_path / "o"
    write_state(path)
    got = [" ".join(sorted(row)) for row in loaded(lambda new: checkpoint.load_optimizer(new, path))]
    assert got == ["m", "", "m share step"], "what is remembered of each of the three weights, by name"
    rows = loaded(lambda new: checkpoint.load_optimizer(new, path))
    got = [round(float(rows[i]["m"][0, 0]), 3) for i in (0, 2)]
    assert got == [0.333, 0.667], (
        "the first number of m of weight 0 and of weight 2, which is in the second group"
    )


@pytest.mark.exercise("load_optimizer")
def test_whole_numbers_are_int_again_and_others_stay_tensors(tmp_path):
    path = tmp_path / "o"
    save_file({"0.step": torch.tensor(5), "0.share": torch.tensor(0.5), "0.codes": torch.arange(3)}, path)
    got = {
        key: type(value).__name__
        for key, value in sorted(loaded(lambda new: checkpoint.load_optimizer(new, path))[0].items())
    }
    assert got == {"codes": "Tensor", "share": "Tensor", "step": "int"}, (
        "step was one whole number, written as a tensor. A single float is a tensor still: torch.optim.AdamW counts "
        "its steps in one. And codes are three whole numbers"
    )
    got = loaded(lambda new: checkpoint.load_optimizer(new, path))[0]["step"]
    assert got == 5, "the whole number itself"


@pytest.mark.exercise("load_optimizer", points=2)
def test_a_memory_keeps_its_bits_beside_a_coarser_weight(tmp_path):
    path = tmp_path / "o"
    write_state(path)
    got = str(loaded(lambda new: checkpoint.load_optimizer(new, path), torch.bfloat16)[0]["m"].dtype)
    assert got == "torch.float32", "the weight is bfloat16, and its memory was float32"
    m = loaded(lambda new: checkpoint.load_optimizer(new, path), torch.bfloat16)[0]["m"]
    assert float((m - 1 / 3).abs().max()) == 0.0, "how far m is from what was written: bit for bit means 0"


@pytest.mark.exercise("load_optimizer")
def test_a_memory_lies_where_its_weight_lies(tmp_path):
    path = tmp_path / "o"
    write_state(path)
    got = str(loaded(lambda new: checkpoint.load_optimizer(new, path), device="meta")[2]["m"].device)
    assert got == "meta", "the weights are on another device (here torch's device meta, elsewhere a GPU)"


def settings_after(load):
    """The rate, the first rate, another setting, and how many weights: of the second group, once it is loaded."""
    optimizer, _ = empty()
    optimizer.param_groups[1].update(lr=0.02, initial_lr=0.3)
    load(optimizer)
    group = optimizer.param_groups[1]
    return [group["lr"], group.get("initial_lr"), group["beta"], len(group["params"])]


@pytest.mark.exercise("load_optimizer")
def test_settings_stay_those_of_the_optimizer(tmp_path):
    path = tmp_path / "o"
    write_state(path)
    got = settings_after(lambda new: checkpoint.load_optimizer(new, path))
    assert got == [0.02, 0.3, 0.9, 1], (
        "lr, initial_lr, beta and the number of weights of the second group: rates follow from the schedule"
    )


def apart(path, load):
    """Five steps of torch's AdamW, or three and, once these are loaded, two more: the largest difference."""

    def run(steps, weight, optimizer):
        for step in steps:
            weight.grad = torch.tensor([1.0, -0.3, 0.01]) * (step + 1)
            optimizer.step()

    def fresh(start):
        weight = nn.Parameter(start.detach().clone())
        return weight, torch.optim.AdamW([weight], lr=0.1)

    whole, optimizer = fresh(torch.ones(3))
    run(range(3), whole, optimizer)
    weight, second = fresh(whole)
    rows = optimizer.state_dict()["state"].items()
    save_file({f"{i}.{key}": value.clone() for i, row in rows for key, value in row.items()}, path)
    load(second)
    run(range(3, 5), whole, optimizer)
    run(range(3, 5), weight, second)
    return float((weight - whole).detach().abs().max())


@pytest.mark.exercise("load_optimizer", points=2)
def test_three_steps_and_two_more_are_five_of_torchs_adamw(tmp_path):
    path = tmp_path / "o"
    got = apart(path, lambda new: checkpoint.load_optimizer(new, path))
    assert got == 0.0, (
        "the largest difference of a weight between the run that stopped after 3 steps and the one that did not"
    )


# --- save_random and load_random ---------------------------------------------------------------------


class GPUs:
    """So many GPUs, played: the state of each is a tensor that one can write down."""

    def __init__(self, monkeypatch, n):
        self.states = {i: torch.full((4,), 10 + i, dtype=torch.uint8) for i in range(n)}
        for name in ("get_rng_state", "set_rng_state", "get_rng_state_all", "set_rng_state_all"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))
        monkeypatch.setattr(torch.cuda, "device_count", lambda: n)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: n > 0)

    def number(self, device):
        return device if isinstance(device, int) else torch.device(device).index or 0

    def get_rng_state(self, device="cuda"):
        return self.states[self.number(device)].clone()

    def set_rng_state(self, new_state, device="cuda"):
        self.states[self.number(device)] = new_state

    def get_rng_state_all(self):
        return [self.get_rng_state(i) for i in self.states]

    def set_rng_state_all(self, new_states):
        for i, state in enumerate(new_states):
            self.set_rng_state(state, i)

    def after(self, call):
        """The first number of each GPU's state after the call."""
        call()
        return {i: int(state[0]) for i, state in self.states.items()}


@pytest.fixture
def chance():
    """torch's random numbers are afterwards as they were before."""
    before = torch.get_rng_state()
    yield
    torch.set_rng_state(before)


def saved(save, path):
    """The state in the file, and torch's own after saving: that of before, or another one?"""
    torch.manual_seed(5)
    torch.rand(3)
    before = torch.get_rng_state()
    save(path)
    states = {"in the file": load_file(path)["cpu"], "afterwards": torch.get_rng_state()}
    return {where: "that" if torch.equal(state, before) else "another" for where, state in states.items()}


@pytest.mark.exercise("save_random")
def test_the_state_of_the_cpu_is_written_and_stays_as_it_is(tmp_path, chance):
    got = saved(checkpoint.save_random, tmp_path / "r")
    assert got == {"in the file": "that", "afterwards": "that"}, (
        "the state of the moment of saving is wanted, in the file (under the name cpu), and afterwards, too: with "
        "checkpoints and without, a run must draw alike"
    )


def in_file(save, path):
    save(path)
    return load_file(path)


@pytest.mark.exercise("save_random")
def test_every_gpu_has_a_state_of_its_own(tmp_path, chance, monkeypatch):
    GPUs(monkeypatch, 2)
    got = " ".join(sorted(in_file(checkpoint.save_random, tmp_path / "r")))
    assert got == "cpu cuda.0 cuda.1", "the names in the file, on a machine with two GPUs"
    got = [int(in_file(checkpoint.save_random, tmp_path / "r")[f"cuda.{i}"][0]) for i in (0, 1)]
    assert got == [10, 11], "the first number of each GPU's state"


def write_states(path, n):
    states = {f"cuda.{i}": torch.full((4,), 70 + i, dtype=torch.uint8) for i in range(n)}
    save_file({"cpu": torch.get_rng_state(), **states}, path)


def draws(load):
    """Four draws, after the seed 6 and this."""
    torch.manual_seed(6)
    load()
    return [round(x, 3) for x in torch.rand(4).tolist()]


@pytest.mark.exercise("load_random", points=2)
def test_the_same_draws_follow(tmp_path, chance):
    torch.manual_seed(5)
    torch.rand(3)
    write_states(tmp_path / "r", 0)
    wanted = [round(x, 3) for x in torch.rand(4).tolist()]
    got = draws(lambda: checkpoint.load_random(tmp_path / "r"))
    assert got == wanted, "the four draws that follow, and those that followed the first time"


@pytest.mark.exercise("load_random")
def test_every_gpu_gets_its_own_state_back(tmp_path, chance, monkeypatch):
    gpus = GPUs(monkeypatch, 2)
    write_states(tmp_path / "r", 2)
    got = gpus.after(lambda: checkpoint.load_random(tmp_path / "r"))
    assert got == {0: 70, 1: 71}, "two GPUs, and the first number of the state that each was given"


@pytest.mark.exercise("load_random")
def test_another_machine_may_have_other_gpus(tmp_path, chance, monkeypatch):
    for here, in_file in ((0, 2), (1, 3), (2, 1)):
        gpus = GPUs(monkeypatch, here)
        write_states(tmp_path / "r", in_file)
        got = ending(lambda: checkpoint.load_random(tmp_path / "r"))
        assert got == "no error", f"{in_file} GPUs wrote the file, and {here} are here"
        common = min(here, in_file)
        wanted = {i: 70 + i if i < common else 10 + i for i in range(here)}
        got = gpus.after(lambda: checkpoint.load_random(tmp_path / "r"))
        assert got == wanted, "each GPU's state: 70, 71 from the file for those that both machines have"
