"""A learner made of code: README's commands in a fresh clone, then every lesson from stub to full points."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig

import pytest

from mini_nanochat.course import stubs
from mini_nanochat.course import workspace as workspaces
from mini_nanochat.course.grader import check
from mini_nanochat.course.manifest import ROOT, curriculum
from mini_nanochat.course.workspace import Workspace, reference

LESSONS = curriculum().lessons
each = pytest.mark.parametrize("lesson", LESSONS, ids=[lesson.id for lesson in LESSONS])


def shell_blocks(text):
    """The commands of README's sh blocks, without their comments."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


def clone(folder):
    """A fresh clone with the files as they are now, and an environment that `make` finds ready."""
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    ).stdout.split()
    if not files:
        pytest.skip("not a git checkout")
    for name in files:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / ".venv"], check=True)
    bin_folder = folder / ".venv" / "bin"
    site = next((folder / ".venv" / "lib").glob("python*")) / "site-packages"
    (site / "clone.pth").write_text(f"{folder}\n{sysconfig.get_paths()['purelib']}\n", "utf-8")
    for name, module in (("mini-nanochat", "mini_nanochat"), ("pytest", "pytest")):
        (bin_folder / name).write_text(f'#!/bin/sh\nexec "{bin_folder}/python" -m {module} "$@"\n', "utf-8")
        (bin_folder / name).chmod(0o755)
    for stamp in (".learn", ".dev"):
        (folder / ".venv" / stamp).touch()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt" or not shutil.which("make"), reason="README's commands are for make")
def test_readmes_commands_work_verbatim_in_a_fresh_clone(tmp_path):
    folder = tmp_path / "a clone"  # with a space: people do that
    folder.mkdir()
    clone(folder)
    commands = shell_blocks((folder / "README.md").read_text("utf-8"))
    assert commands[:2] == ["make demo", "make test"], "the two commands come first"
    assert "mini-nanochat start 0.1" in commands
    # What needs a browser, or would run this test again, is only asked whether it could run.
    dry = {"make test": "make -n test", "make lessons": "make -n lessons"}
    dry["make demo"] = "make demo ARGS='--megabytes 0.3 --steps 4'"  # the whole of it takes minutes
    failing = "mini-nanochat check"  # nothing is written yet: the card says so, and the exit code is 1
    script = "\n".join(
        f"{dry.get(line, line)}{' || test $? = 1' if failing in line else ''}" for line in commands
    )
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("MINI_NANOCHAT", "PYTEST", "MAKE"))
    }
    done = subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=folder,
        env=environment | {"COLUMNS": "100"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "Decoded again" in done.stdout, "make demo shows the round trip"
    assert "points 0/" in done.stdout, "the first report card"
    assert (folder / "workspace" / LESSONS[0].module).is_file(), "the stub lies in the clone's workspace"


@pytest.mark.slow
@pytest.mark.parametrize("lesson", LESSONS[:1] + LESSONS[-1:], ids=[LESSONS[0].id, LESSONS[-1].id])
def test_points_climb_function_by_function_to_full(lesson, tmp_path):
    """As a learner sees it, with `check`; for the other lessons their proof shows the same."""
    space = Workspace.create(tmp_path / "workspace")
    space.start(lesson)
    card = check(space, lesson)
    points = [card.points]
    assert points == [0], "a stub earns nothing"
    assert {exercise.status for exercise in card.exercises} == {"not started"}
    for name in lesson.todo:
        body = stubs.extract(reference(lesson), name)
        space.write(lesson, stubs.splice(space.source(lesson), name, body))
        card = check(space, lesson)
        points.append(card.points)
    assert points == sorted(set(points)), f"each function must earn something: {points}"
    assert card.passed, f"{points} of {card.of}"


@pytest.mark.slow
@each
def test_the_lesson_can_be_started_cold_reset_and_undone(lesson, tmp_path):
    space = Workspace.create(tmp_path / "workspace")
    space.start(lesson)
    stub = space.source(lesson)
    mine = stubs.splice(stub, lesson.todo[0], stubs.extract(reference(lesson), lesson.todo[0]))
    space.write(lesson, mine)
    assert space.start(lesson) == [], "starting again makes nothing"
    assert space.source(lesson) == mine, "and changes nothing"
    space.reset(lesson)
    assert space.source(lesson) == stub
    space.undo(lesson)
    assert space.source(lesson) == mine


@each
def test_an_older_stub_is_updated_and_what_was_written_is_kept(lesson, tmp_path, monkeypatch):
    new = reference(lesson)
    first, last = lesson.todo[0], lesson.todo[-1]
    docstring = stubs.extract(new, last).split('"""')[1].splitlines()[0]
    old = new.replace(docstring, "An older sentence.", 1)
    assert old != new
    monkeypatch.setattr(workspaces, "reference", lambda lesson: old)
    space = Workspace.create(tmp_path / "workspace")
    space.start(lesson)
    written = stubs.extract(new, first)
    space.write(lesson, stubs.splice(space.source(lesson), first, written))
    monkeypatch.setattr(workspaces, "reference", lambda lesson: new)
    assert "updated" in space.update(lesson)
    assert docstring in stubs.extract(space.source(lesson), last), "the better sentence came in"
    assert stubs.extract(space.source(lesson), first) == written, "what was written stayed"
    assert space.update(lesson) == "is current"
