"""mini-nanochat: every verb once; every mistake is one sentence on stderr and exit code 2."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mini_nanochat import __main__ as front
from mini_nanochat import overlay
from mini_nanochat.course import cli, workspace
from mini_nanochat.course.card import Card, Check, Exercise
from mini_nanochat.course.manifest import ROOT, curriculum
from mini_nanochat.course.workspace import reference

ID = curriculum().lessons[0].id
NAME, OTHER = curriculum().lessons[0].todo[:2]


@pytest.fixture
def run(space, capsys):
    """run("check", "0.1") in the fixture's workspace: (exit code, stdout, stderr)."""

    def call(*arguments, folder=space.path):
        capsys.readouterr()
        try:
            code = cli.main(["--workspace", str(folder), *arguments])
        except SystemExit as stop:
            code = stop.code
        return (code, *capsys.readouterr())

    return call


@pytest.fixture
def quick(monkeypatch, lesson):
    """Grading without grading: quick(kind) makes every card one of checks that ended so."""

    def use(kind):
        def check(space, one, only=None, limit=10.0):
            rows = [
                Exercise(name, [Check(f"t::{name}", "a check", 1, kind, {"headline": "1 is 2"})])
                for name in one.todo
            ]
            card = Card(one, "graded", str(space.file(one)), "1", None, rows)
            space.log("check", one, points=card.points, of=card.of, failed=[])
            return card

        for module in (cli, sys.modules["mini_nanochat.course.hints"]):
            monkeypatch.setattr(module, "check", check)

    return use


# -- every verb once ------------------------------------------------------------------------------


def test_start(run, elsewhere, lesson):
    code, out, err = run("start", ID, folder=elsewhere / "new")
    assert (code, err) == (0, "") and lesson.question in out and f"mini-nanochat check {ID}" in out
    assert (elsewhere / "new" / lesson.module).is_file()
    code, out, _ = run("start", ID, folder=elsewhere / "new")
    assert code == 0 and "is started already, and stays as it is" in out


def test_check_of_a_stub_and_of_the_reference(run, space, lesson):
    code, out, err = run("check", "--plain")
    assert (code, err) == (1, "") and out.count("not started") == len(lesson.todo)
    space.write(lesson, reference(lesson))
    code, out, err = run("check", ID, "--json")
    (card,) = json.loads(out)
    assert (code, err, card["passed"]) == (0, "", True)
    assert f"{ID} " in run("progress")[1] and "done" in run("progress")[1]


def test_check_as_markdown_and_of_one_exercise(run, quick):
    quick("wrong")
    code, out, _ = run("check", ID, NAME, "--markdown")
    assert code == 1 and f"| `{NAME}` | failing | 0/1 |" in out


def test_check_with_stars(run, quick, monkeypatch):
    quick("passed")
    monkeypatch.setattr(cli.stars, "stars", lambda *_: [cli.stars.Star("museum", True, "all there")])
    code, out, _ = run("check", "--stars")
    assert code == 0 and "star museum: all there" in out


def test_watch_grades_at_once_and_ends_at_ctrl_c(run, quick, monkeypatch):
    quick("passed")

    def stop(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.time, "sleep", stop)
    code, out, err = run("watch")
    assert code == 2 and "All done." in out and err.strip() == "Stopped."


def test_hint(run, quick):
    quick("unwritten")
    code, out, _ = run("hint")
    assert code == 0 and out.startswith(f"{NAME}, hint 1 of ")
    assert run("hint", ID, OTHER)[1].startswith(f"{OTHER}, hint 1 of ")


def test_predict(run, space, lesson):
    code, out, _ = run("predict", ID)
    assert code == 0 and "p1  " in out and "Answer with" in out
    row = cli.stars.questions(lesson)[0]
    assert run("predict", ID, row["id"], str(row["answer"]))[:2] == (0, f"Right. {row['why']}\n")
    pairs = next(one for one in curriculum().lessons if one.id == "0.3")
    wanted = next(q for q in cli.stars.questions(pairs) if isinstance(q["answer"], list))
    for answer in (str(wanted["answer"]), str(tuple(wanted["answer"]))):
        assert run("predict", pairs.id, wanted["id"], answer)[0] == 0, "a tuple is as good as a list"
    for answer in ("six", "-1", "{1: 2}", "None", "b'x'", "1e999", "[" * 999, "\udcff", ""):
        code, _, err = run("predict", ID, row["id"], answer)
        assert (code, err) == (1, "")
        assert "look again at" in cli.stars.predictions(space, lesson).says or answer == ""


def test_progress_and_next(run, space, quick):
    code, out, _ = run("progress")
    assert code == 0 and "started" in out and " lines of code are yours." in out
    quick("unwritten")
    assert f"next: write {NAME}" in run("next")[1]
    quick("passed")
    run("check")
    following = curriculum().lessons[1].id
    assert f"Start {following} " in run("next", ID)[1], "what is done is passed over"


def test_who_began_in_the_middle_goes_on_there(run, elsewhere, quick):
    folder = elsewhere / "middle"
    run("start", "2.1", folder=folder)
    quick("unwritten")
    assert "2.1 Objective" in run("next", folder=folder)[1]
    assert "Start 2.2 " in run("next", "2.2", folder=folder)[1]
    quick("passed")
    run("check", folder=folder)
    assert "Start 2.2 " in run("next", folder=folder)[1], "and not 0.1: that comes last"


def test_reset_and_undo(run, space, lesson):
    space.file(lesson).write_text("# mine\n")
    code, out, _ = run("reset", ID)
    assert code == 0 and f"mini-nanochat undo {ID}" in out
    assert run("undo", ID)[0] == 0 and space.file(lesson).read_text() == "# mine\n"


def test_reveal(run, space, lesson):
    code, out, _ = run("reveal", ID, NAME)
    assert code == 0 and "-    " in out and "NotImplementedError" in out and "+" in out
    space.write(lesson, reference(lesson))
    assert run("reveal")[1] == "yours and ours are the same\n"
    assert "revealed: " in run("progress")[1]


@pytest.mark.parametrize("answer, shown", [("y\n", True), ("\n", False), ("", False)])
def test_reveal_asks_first_where_somebody_can_answer(space, monkeypatch, answer, shown):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert cli.main(["--workspace", str(space.path), "reveal", ID, NAME]) == 0
    assert ("@@" in sys.stdout.getvalue()) == shown


def test_catchup(run, space, quick, monkeypatch):
    last = curriculum().lessons[-1].id
    quick("wrong")
    code, out, _ = run("catchup", last)
    assert code == 0 and f"{ID}: the reference stands in now" in out
    assert space.started() == []
    assert run("undo", ID)[0] == 0 and [one.id for one in space.started()] == [ID]
    quick("passed")
    assert "Nothing stands in the way" in run("catchup", last)[1]


def test_update(run):
    code, out, _ = run("update")
    assert code == 0 and out.count("is current") == 2


def test_doctor(run, space, lesson):
    code, out, _ = run("doctor")
    assert f"started {ID}" in out and code == ("BAD" in out)
    for text, says in ((b"def f(:\n", "can't be read by Python"), (b"x = '\xe9'", "is not UTF-8")):
        space.file(lesson).write_bytes(text)
        code, out, _ = run("doctor")
        assert code == 1 and says in out


def test_lesson(run, space, lesson, monkeypatch):
    calls = []

    def jupyter(command, **options):
        calls.append((command, options))
        return subprocess.CompletedProcess(command, 0)

    real = subprocess.run
    space.notebook(lesson).unlink()
    monkeypatch.setattr(cli.importlib.util, "find_spec", lambda name: True)
    monkeypatch.setattr(
        subprocess, "run", lambda command, **o: (jupyter if "jupyterlab" in command else real)(command, **o)
    )
    assert run("lesson", ID, "--", "--no-browser")[0] == 0
    command, options = calls[0]
    assert lesson.notebook in command and command[-1] == "--no-browser"
    assert options["cwd"] == space.path and space.notebook(lesson).is_file()
    monkeypatch.setattr(cli.importlib.util, "find_spec", lambda name: None)
    assert "JupyterLab is not installed" in run("lesson", ID)[2]


# -- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, says",
    [
        ([], "the following arguments are required: COMMAND"),
        (["cheque"], "invalid choice: 'cheque'"),
        (["start"], "the following arguments are required: lesson"),
        (["start", "9.9"], "there is no lesson '9.9'"),
        (["start", ID, "--only", "nothing"], f"lesson {ID} has no exercise 'nothing'. It has: {NAME}"),
        (["check", "text_is_byts"], "Did you mean text_is_bytes?"),
        (["check", ID, "nothing"], "has no exercise 'nothing'"),
        (["check", curriculum().lessons[-1].id], "is not started: run"),
        (["check", ID, "decode"], "has no exercise 'decode'. Did you mean ByteTokenizer.decode? It has: "),
        (["check", ID, "bytetokenizer.encod"], "Did you mean ByteTokenizer.encode? It has: "),
        (["check", "--limit", "0"], "wanted 0.1 to 3600 seconds, got 0"),
        (["check", "--limit", "nan"], "wanted 0.1 to 3600 seconds, got nan"),
        (["check", "--limit", "soon"], "invalid _seconds value: 'soon'"),
        (["check", ID, "a", "b"], "unrecognized arguments: b"),
        (["hint", ID, "nothing"], "has no exercise 'nothing'"),
        (["predict", ID, "p99", "3"], "has no prediction 'p99'. It has: p1"),
        (["reset", ID, "nothing"], "has no exercise 'nothing'"),
        (["undo", ID], "there is no earlier version"),
        (["reveal", ID, "nothing"], "has no exercise 'nothing'"),
        (["catchup", ""], "there is no lesson ''"),
        (["next", "x" * 500], "there is no lesson"),
        (["demo"], "say demo first: mini-nanochat demo"),
        (["prove"], "say prove first"),
    ],
)
def test_a_mistake_is_one_sentence(run, arguments, says):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "") and says in err
    assert err.startswith("mini-nanochat: ") and len(err.splitlines()) == 1


@pytest.mark.parametrize("verb", sorted(set(cli.VERBS) - {"start", "lesson", "doctor"}))
def test_no_workspace_is_one_sentence(run, elsewhere, verb):
    arguments = {"catchup": [ID], "predict": [ID, "p1", "3"]}.get(verb, [])
    code, out, err = run(verb, *arguments, folder=elsewhere / "nowhere")
    assert (code, out) == (2, "") and len(err.splitlines()) == 1
    assert "nowhere does not exist: there is no .course/workspace.json in it" in err
    assert not (elsewhere / "nowhere").exists()


@pytest.mark.parametrize("verb", ["check", "watch", "hint", "reset", "undo", "reveal"])
def test_nothing_started_is_one_sentence(run, elsewhere, verb):
    workspace.Workspace.create(elsewhere / "empty")
    code, out, err = run(verb, folder=elsewhere / "empty")
    assert (code, out) == (2, "") and "no lesson is started: run `mini-nanochat start" in err


@pytest.mark.parametrize("verb", ["reveal", "reset"])
def test_a_file_that_python_can_not_read(run, space, lesson, verb):
    for text, says in (
        (b"def f(:\n", "has a syntax error. Line 1"),
        (b"x = '\xe9'", "is not UTF-8"),
        (b"\0", "null"),
    ):
        space.file(lesson).write_bytes(text)
        code, _, err = run(verb, ID, NAME)
        assert code == 2 and says in err and space.file(lesson).read_bytes() == text


def test_a_full_disk_is_one_sentence(run, space, lesson, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "somewhere")

    before = space.file(lesson).read_bytes()
    monkeypatch.setattr(os, "replace", full)
    code, _, err = run("reset", ID)
    assert (code, err) == (
        2,
        "mini-nanochat: no space is left on the disk: somewhere. Nothing of yours was lost.\n",
    )
    assert space.file(lesson).read_bytes() == before


def test_a_damaged_workspace_is_one_sentence(run, space):
    (space.path / ".course/workspace.json").write_text("{")
    for verb in ("progress", "check"):
        code, _, err = run(verb)
        assert code == 2 and "workspace.json is damaged" in err and len(err.splitlines()) == 1


# -- the front door -------------------------------------------------------------------------------


def program(*arguments, stdout=subprocess.PIPE, cwd=None, **variables):
    """The program in a process of its own."""
    env = {key: value for key, value in os.environ.items() if key != overlay.VARIABLE}
    env |= {"PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-m", "mini_nanochat", *map(str, arguments)]
    return subprocess.run(
        command, env=env, cwd=cwd, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=300
    )


def test_a_variable_that_names_nonsense(elsewhere):
    done = program("doctor", MINI_NANOCHAT_WORKSPACE=str(elsewhere / "nowhere"))
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert "nowhere, which is not a workspace" in done.stderr and "Unset the variable" in done.stderr


def test_mine_without_a_workspace(elsewhere, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(elsewhere))
    monkeypatch.setattr(workspace, "default_path", lambda: elsewhere / "nowhere")
    assert front.main(["--mine", "progress"]) == 2
    assert "does not exist" in capsys.readouterr().err
    space = workspace.Workspace.create(elsewhere / "w")
    (space.path / "mini_nanochat").rmdir()
    monkeypatch.setattr(workspace, "default_path", lambda: space.path)
    assert front.main(["--mine", "progress"]) == 2
    assert "it has no folder mini_nanochat/" in capsys.readouterr().err


def test_an_ascii_terminal_and_a_reader_that_goes_away(space):
    done = program("--workspace", space.path, "reveal", ID, PYTHONIOENCODING="ascii:strict")
    assert (done.returncode, done.stderr) == (0, "")
    read, write = os.pipe()
    os.close(read)
    done = program("--workspace", space.path, "reveal", ID, stdout=write)
    os.close(write)
    assert done.stderr == ""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps a current folder from being deleted")
def test_a_current_folder_that_was_deleted(elsewhere):
    gone = elsewhere / "gone"
    gone.mkdir()
    code = (
        f"import os; os.rmdir({str(gone)!r}); from mini_nanochat.__main__ import main; exit(main(['check']))"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=gone, env=env, capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "mini-nanochat: the folder you are in was deleted: go to another one (cd).\n"


def test_every_verb_has_its_function_and_its_line_of_help(capsys):
    for verb in cli.VERBS:
        assert callable(getattr(cli, f"_{verb}"))
    with pytest.raises(SystemExit) as stop:
        cli.main(["--help"])
    out = capsys.readouterr().out
    assert stop.value.code == 0 and all(f"    {verb} " in out for verb in cli.VERBS)


def test_paths_in_messages_are_real(space, lesson, run):
    for line in run("start", ID, folder=space.path.parent / "another")[1].splitlines():
        if line.startswith("  /"):
            assert Path(line.strip()).is_file()
