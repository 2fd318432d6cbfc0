"""workspace: what a learner wrote is never lost, whatever a command, a full disk or a broken file does."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import time
from pathlib import Path

import pytest

from mini_nanochat import overlay
from mini_nanochat.course import workspace
from mini_nanochat.course.errors import CourseError
from mini_nanochat.course.workspace import Workspace, reference

MINE = "# all of this is mine\n"


def files(folder):
    """Every file below `folder` (git's own excepted) and its bytes."""
    found = [path for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def attic(space):
    """The contents of every copy that was kept."""
    return [
        path.read_bytes() for path in sorted((space.path / ".course/attic").rglob("*.*")) if path.is_file()
    ]


@pytest.fixture
def no_git(monkeypatch, tmp_path):
    """A PATH without git."""
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))


# -- start ----------------------------------------------------------------------------------------


def test_a_start_makes_every_page(space, lesson):
    names = {"mini_nanochat", "lessons", "answers", "tests", "notes", "README.md", ".gitignore", ".course"}
    assert names <= {path.name for path in space.path.iterdir()}
    assert space.source(lesson).count("raise NotImplementedError") == len(lesson.todo)
    compile(space.museum(lesson).read_text("utf-8"), "museum", "exec")
    compile(space.own_tests(lesson).read_text("utf-8"), "tests", "exec")
    assert space.started() == [lesson]


def test_a_second_start_overwrites_nothing(space, lesson):
    for path in (space.file(lesson), space.notebook(lesson), space.answers(lesson), space.own_tests(lesson)):
        path.write_text(MINE)
    before = files(space.path)
    assert Workspace.create(space.path).start(lesson) == []
    assert files(space.path) == before


def test_a_start_brings_back_what_was_deleted_and_only_that(space, lesson):
    space.file(lesson).write_text(MINE)
    space.notebook(lesson).unlink()
    assert space.start(lesson) == [space.notebook(lesson)]
    assert space.file(lesson).read_text() == MINE


def test_only_some_functions(elsewhere, lesson):
    space = Workspace.create(elsewhere / "w")
    space.start(lesson, [lesson.todo[0]])
    assert space.source(lesson).count("raise NotImplementedError") == 1
    assert space.state()["lessons"][lesson.id]["stubbed"] == [lesson.todo[0]]
    with pytest.raises(CourseError, match="no exercise 'nothing'"):
        space.start(lesson, ["nothing"])


# -- reset, undo, step aside ----------------------------------------------------------------------


def test_a_reset_keeps_a_copy_and_undo_goes_back_and_forth(space, lesson):
    stub = space.file(lesson).read_bytes()
    mine = "# \xe9 in Latin-1, with the line ends of Windows\r\n".encode("latin-1")
    space.file(lesson).write_bytes(mine)
    space.reset(lesson)
    assert space.file(lesson).read_bytes() == stub and mine in attic(space)
    for wanted in (mine, stub, mine):
        space.undo(lesson)
        assert space.file(lesson).read_bytes() == wanted


def test_a_reset_of_one_function_leaves_the_others(space, lesson):
    name, other = lesson.todo[:2]
    ours = reference(lesson)
    space.write(lesson, ours)
    space.reset(lesson, name)
    assert space.source(lesson) == workspace.stubs.stub(ours, lesson.id, [name])
    assert other not in space.source(lesson).partition("NotImplementedError")[2].partition("\n")[0]
    space.undo(lesson)
    assert space.source(lesson) == ours


def test_a_reset_of_a_function_in_a_broken_file_changes_nothing(space, lesson):
    space.file(lesson).write_text("def broken(:\n")
    with pytest.raises(CourseError, match="the file has a syntax error"):
        space.reset(lesson, lesson.todo[0])
    assert space.file(lesson).read_text() == "def broken(:\n"


def test_there_may_be_nothing_to_undo(space, lesson):
    with pytest.raises(CourseError, match="no earlier version"):
        space.undo(lesson)


def test_step_aside_and_back(space, lesson):
    space.file(lesson).write_text(MINE)
    copy = space.step_aside(lesson)
    assert copy.read_text() == MINE and not space.file(lesson).exists() and space.started() == []
    with pytest.raises(CourseError, match="is not started"):
        space.source(lesson)
    space.undo(lesson)
    assert space.file(lesson).read_text() == MINE


def test_copies_made_within_one_tick_of_the_clock_are_all_kept(space, lesson, monkeypatch):
    monkeypatch.setattr(time, "time_ns", lambda: 1_700_000_000_999_999_999)
    for i in range(3):
        space.file(lesson).write_text(f"{i}")
        space.keep(space.file(lesson))
    assert sorted(attic(space)) == [b"0", b"1", b"2"]
    space.write(lesson, "3")
    space.undo(lesson)
    assert space.file(lesson).read_text() == "2"


# -- update ---------------------------------------------------------------------------------------


def improve(monkeypatch, lesson, old, new):
    """A newer course, in which the reference says `new` for `old`."""
    text = reference(lesson)
    assert text.count(old) == 1
    monkeypatch.setattr(workspace, "reference", lambda _: text.replace(old, new))


HEAD = '"""Lesson 0.1: text is bytes.'  # in the head of the module, and in a docstring:
DOC = "No piece is empty and, joined, they are `text` again."
BODY = 'raise NotImplementedError("0.1: split_on_specials")'


def test_nothing_new_is_nothing_done(space, lesson):
    before = files(space.path)
    assert space.update(lesson) == "is current" and space.update_notebook(lesson) == "is current"
    assert files(space.path) == before


def test_an_untouched_stub_is_replaced_even_without_git(space, lesson, monkeypatch, no_git):
    improve(monkeypatch, lesson, HEAD, HEAD + " Improved.")
    assert "updated" in space.update(lesson)
    assert "bytes. Improved." in space.source(lesson)
    assert space.update(lesson) == "is current"


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_what_the_learner_wrote_stays_and_an_improved_docstring_comes(space, lesson, monkeypatch, ends):
    mine = space.source(lesson).replace(BODY, "return [text]  # mine")
    space.file(lesson).write_bytes(mine.replace("\n", ends).encode())
    improve(monkeypatch, lesson, DOC, "Improved.")
    assert "what you wrote is kept" in space.update(lesson)
    new = space.source(lesson)
    assert "return [text]  # mine" in new and "Improved." in new and DOC not in new


def test_a_conflict_leaves_the_file_alone(space, lesson, monkeypatch):
    mine = space.source(lesson).replace(DOC, "My own words.")
    space.file(lesson).write_text(mine, "utf-8")
    improve(monkeypatch, lesson, DOC, "Improved.")
    assert "left as it is" in space.update(lesson)
    assert space.source(lesson) == mine
    assert "Improved." in (space.path / ".course/incoming" / lesson.module).read_text("utf-8")


def test_a_merge_without_git_is_refused_and_changes_nothing(space, lesson, monkeypatch, no_git):
    space.file(lesson).write_text(MINE)
    before = files(space.path)
    improve(monkeypatch, lesson, DOC, "Improved.")
    with pytest.raises(CourseError, match="update needs git"):
        space.update(lesson)
    assert files(space.path) == before


def test_an_untouched_notebook_is_replaced(space, lesson, monkeypatch):
    monkeypatch.setattr(workspace, "private_notebook", lambda _: '{"cells": [], "new": 1}\n')
    assert space.update_notebook(lesson) == "updated"
    assert "new" in space.notebook(lesson).read_text()
    assert space.update_notebook(lesson) == "is current"


def test_a_notebook_worked_in_is_kept_and_the_new_one_lies_beside_it(space, lesson, monkeypatch):
    space.notebook(lesson).write_text(MINE)
    beside = space.notebook(lesson).with_suffix(".new.ipynb")
    for text in ("first", "second"):
        monkeypatch.setattr(workspace, "private_notebook", lambda _, text=text: text)
        assert str(beside) in space.update_notebook(lesson)
        assert beside.read_text() == text
        beside.write_text(f"worked in the {text}")
    assert space.notebook(lesson).read_text() == MINE
    assert b"worked in the first" in attic(space)


# -- git ------------------------------------------------------------------------------------------


def git(folder, *arguments):
    done = subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True)
    return done.stdout.strip()


def test_without_git_everything_but_history_works(elsewhere, lesson, no_git):
    space = Workspace.create(elsewhere / "w")
    assert space.start(lesson) and not space.snapshot("nothing")
    space.reset(lesson)
    space.undo(lesson)
    assert not (space.path / ".git").exists()


def test_commits_need_no_name_no_signature_and_no_hook(elsewhere, lesson, monkeypatch):
    hook = elsewhere / "hooks" / "pre-commit"
    hook.parent.mkdir()
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    config = elsewhere / "gitconfig"
    config.write_text(
        f"[core]\nhooksPath = {hook.parent}\nautocrlf = true\nsafecrlf = true\n"
        "[user]\nuseConfigOnly = true\n[commit]\ngpgsign = true\n"
    )
    monkeypatch.setenv("HOME", str(elsewhere))
    (elsewhere / ".gitconfig").write_text(config.read_text())
    monkeypatch.setenv("GIT_DIR", str(elsewhere / "somebody elses"))
    space = Workspace.create(elsewhere / "w")
    space.start(lesson)
    monkeypatch.delenv("GIT_DIR")
    assert git(space.path, "log", "--format=%s").split("\n") == [f"start {lesson.id}", "a new workspace"]


def test_a_repository_around_the_workspace_is_left_alone(elsewhere, lesson):
    git(elsewhere, "init", "--quiet")
    space = Workspace.create(elsewhere / "w")
    space.start(lesson)
    assert git(space.path, "rev-parse", "--show-toplevel") == str(space.path)
    for path in sorted((space.path / ".git").rglob("*"), reverse=True):  # now break ours
        path.rmdir() if path.is_dir() else path.unlink()
    assert not space.snapshot("nowhere to go")
    assert git(elsewhere, "status", "--short") == "?? w/" and git(elsewhere, "log") == ""


# -- folders and files that are not what they should be -------------------------------------------


def test_a_folder_of_somebody_else_is_left_alone(elsewhere):
    (elsewhere / "photo.jpg").write_text("dear")
    for make in (Workspace.create, Workspace.open):
        with pytest.raises(CourseError, match="is not a workspace of this course"):
            make(elsewhere)
    assert [path.name for path in elsewhere.iterdir()] == ["photo.jpg"]
    with pytest.raises(CourseError, match="is not a workspace"):
        Workspace.create(elsewhere / "photo.jpg")


def test_the_workspace_around_us_is_found(space, monkeypatch):
    monkeypatch.chdir(space.path / "lessons")
    assert Workspace.open().path == space.path


def test_the_variable_names_the_workspace_and_a_tilde_means_home(elsewhere, monkeypatch):
    monkeypatch.setenv("HOME", str(elsewhere))
    monkeypatch.setenv(overlay.VARIABLE, "~/there")
    assert Workspace.create().path == elsewhere / "there" == Workspace.open("~/there").path


def test_a_current_folder_that_is_gone_is_said_so(elsewhere, monkeypatch):
    def gone():
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(Path, "cwd", gone)
    with pytest.raises(CourseError, match="the folder you are in was deleted"):
        Workspace.open()


@pytest.mark.parametrize(
    "text", [b"", b"{", b"5", b"[]", b"\xff\x00", b'{"format": "x", "lessons": {}}', b'{"format": 1}']
)
def test_a_damaged_note_is_said_to_be_one(space, lesson, text):
    (space.path / ".course/workspace.json").write_bytes(text)
    before = files(space.path)
    for act in (lambda: Workspace.open(space.path), lambda: Workspace.create(space.path), space.state):
        with pytest.raises(CourseError, match=r"is damaged. Your own files are untouched. Put this into it"):
            act()
    assert files(space.path) == before
    (space.path / ".course/workspace.json").write_text('{"format": 1, "lessons": {}}')  # the advice
    assert space.update(lesson) == "is current"
    space.reset(lesson)


def test_a_workspace_of_a_newer_course_is_not_touched(space):
    (space.path / ".course/workspace.json").write_text('{"format": 99, "lessons": {}}')
    with pytest.raises(CourseError, match="newer version of the course"):
        Workspace.open(space.path)


def test_a_start_that_was_cut_off_can_be_made_again(elsewhere, lesson):
    (elsewhere / "w/.course").mkdir(parents=True)
    space = Workspace.create(elsewhere / "w")
    (space.path / "mini_nanochat").rmdir()
    (space.path / "README.md").write_text(MINE)
    assert Workspace.create(elsewhere / "w").start(lesson)
    assert (space.path / "README.md").read_text() == MINE


def test_a_mark_before_the_text_is_no_part_of_it_and_latin_1_is_named(space, lesson):
    space.file(lesson).write_bytes(b"\xef\xbb\xbfx = 1\r\n")
    assert space.source(lesson) == "x = 1\n"
    space.file(lesson).write_bytes(b"x = '\xe9'")
    with pytest.raises(CourseError, match=r"is not UTF-8 text \(byte 5\): save it as UTF-8"):
        space.source(lesson)


# -- disks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["replace", "fdopen", "fsync"])
def test_a_full_disk_leaves_everything_as_it_was(space, lesson, monkeypatch, call):
    space.file(lesson).write_text(reference(lesson), "utf-8")
    space.keep(space.file(lesson))
    before = files(space.path)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    acts = [lambda: space.reset(lesson), lambda: space.undo(lesson), lambda: space.step_aside(lesson)]
    acts += [lambda: space.write(lesson, "new"), lambda: space.reset(lesson, lesson.todo[0])]
    for act in acts:
        with pytest.raises(OSError, match="No space left"):
            act()
        assert files(space.path) == before


def test_half_a_file_is_never_left(elsewhere):
    path = elsewhere / "file"
    workspace.write_whole(path, "whole")
    with pytest.raises(UnicodeEncodeError):
        workspace.write_whole(path, "half \ud800")
    assert files(elsewhere) == {"file": b"whole"}


def test_a_written_file_keeps_its_mode_and_a_link_stays_a_link(elsewhere):
    path, link = elsewhere / "file", elsewhere / "link"
    path.write_text("old")
    path.chmod(0o640)
    link.symlink_to(path)
    workspace.write_whole(link, "é\n")
    assert link.is_symlink() and path.read_bytes() == "é\n".encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_an_error_and_no_loss(space, lesson):
    before = files(space.path)
    folders = [space.path, *(path for path in space.path.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        for act in (lambda: space.reset(lesson), lambda: space.write(lesson, "new")):
            with pytest.raises(PermissionError):
                act()
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert files(space.path) == before


def test_the_private_notebook_holds_the_stubs_of_its_exercises(lesson):
    cells = ["".join(cell["source"]) for cell in json.loads(workspace.private_notebook(lesson))["cells"]]
    exercises = [text for text in cells if text.startswith("%%exercise")]
    assert {text.split()[2] for text in exercises} == set(lesson.todo)
    assert all("raise NotImplementedError" in text for text in exercises)
