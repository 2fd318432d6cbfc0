"""The course in a notebook: a cell becomes a function in the learner's file, and mistakes stay sentences."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from mini_nanochat.course import notebook, stubs
from mini_nanochat.course.card import Card, Check, Exercise
from mini_nanochat.course.manifest import curriculum
from mini_nanochat.course.workspace import reference

LESSON = curriculum().lessons[0]
NAME = "split_on_specials"
LINE = f"{LESSON.id} {NAME}"
CELL = f"def {NAME}(text, specials=()):\n    return [text]  # mine\n"


@pytest.fixture
def here(space, monkeypatch):
    """The current folder in the workspace, and grading without grading."""
    monkeypatch.chdir(space.path)
    rows = [Exercise(NAME, [Check("t::a", "a <check>", 1, "passed")])]
    monkeypatch.setattr(notebook, "grade", lambda *_, **__: Card(LESSON, "graded", "a.py", "1", None, rows))
    return space


def test_a_cell_becomes_the_function_in_the_file(here):
    shown = notebook.exercise(LINE, CELL)
    assert stubs.extract(here.source(LESSON), NAME) == CELL
    assert NAME in repr(shown) and "<table>" in shown._repr_html_()
    assert here.undo(LESSON) and "mine" not in here.source(LESSON)


def test_a_cell_that_is_still_the_stub_does_not_replace_what_was_written(here, capsys):
    stub = stubs.extract(here.source(LESSON), NAME)
    notebook.exercise(LINE, CELL)
    notebook.exercise(LINE, stub)
    assert "your split_on_specials is kept" in capsys.readouterr().out
    assert stubs.extract(here.source(LESSON), NAME) == CELL


def test_a_stub_brings_back_what_was_deleted(here):
    source = here.source(LESSON)
    stub = stubs.extract(source, NAME)
    here.write(LESSON, source.replace(stub, ""))
    notebook.exercise(LINE, stub)
    assert stubs.extract(here.source(LESSON), NAME) == stub


def test_a_cell_that_is_still_the_stub_says_so_at_once(here, monkeypatch):
    monkeypatch.setattr(notebook, "grade", lambda *_, **__: pytest.fail("nothing is there to be graded"))
    shown = notebook.exercise(LINE, stubs.extract(here.source(LESSON), NAME))
    assert "is not written yet. Write its body in this cell" in shown.text and shown._repr_html_() is None


@pytest.mark.parametrize("name", LESSON.todo)
def test_what_is_pulled_can_be_run_again(here, name):
    here.write(LESSON, reference(LESSON))
    cells = []
    shell = SimpleNamespace(set_next_input=lambda text, replace: cells.append(text))
    notebook.pull(shell, f"{LESSON.id} {name}")
    first, _, code = cells[0].partition("\n")
    notebook.exercise(first.removeprefix("%%exercise "), code)
    assert here.source(LESSON) == reference(LESSON)


@pytest.mark.parametrize(
    "line, cell, says",
    [
        ("", CELL, "wanted a lesson and a function, such as: 0.2 merge. Got: ''"),
        ("9.9 merge", CELL, "there is no lesson '9.9'"),
        (f"{LESSON.id} nothing", CELL, "has no exercise 'nothing'"),
        (LINE, "x = 1", "neither a function nor an import"),
        (LINE, "def f(:", "the cell for split_on_specials has a syntax error"),
        (LINE, f"def {NAME}():\n    return '\ud800'", "not readable as Python"),
    ],
)
def test_a_mistake_is_a_sentence_and_changes_nothing(here, capsys, line, cell, says):
    before = here.file(LESSON).read_bytes()
    assert notebook.kindly(notebook.exercise)(line, cell) is None
    assert says in capsys.readouterr().out
    assert here.file(LESSON).read_bytes() == before


def test_a_broken_file_is_named_before_the_cell_goes_in(here, capsys):
    here.file(LESSON).write_text("def broken(:\n")
    notebook.kindly(notebook.exercise)(LINE, CELL)
    assert f"{here.file(LESSON)} has a syntax error. Line 1" in capsys.readouterr().out
    assert here.file(LESSON).read_text() == "def broken(:\n"


def test_a_lesson_may_be_a_number(here):
    assert NAME in repr(notebook.check(float(LESSON.id)))


def test_predictions(here):
    row = notebook.stars.questions(LESSON)[0]
    assert row["ask"] in repr(notebook.predict(LESSON.id, row["id"]))
    assert repr(notebook.predict(LESSON.id, row["id"], row["answer"])) == f"Right. {row['why']}"
    assert repr(notebook.predict(LESSON.id, row["id"], -1)).startswith("Not -1. Your answer is written down")
    for question, answer, says in (("p99", 1, "no prediction 'p99'"), (row["id"], object(), "got object")):
        with pytest.raises(notebook.CourseError, match=says):
            notebook.predict(LESSON.id, question, answer)


def test_an_unwritten_function_is_a_sentence(capsys):
    shell = SimpleNamespace(showtraceback=lambda *_, **__: print("traceback"))
    for error, says in (
        (NotImplementedError("0.1: merge"), "merge is not written yet"),
        (notebook.CourseError("a sentence"), "a sentence"),
        (NotImplementedError("later"), "traceback"),
    ):
        notebook._short_message(shell, type(error), error, None)
        assert says in capsys.readouterr().out


def test_loading_without_a_workspace_is_a_sentence(elsewhere, monkeypatch, capsys):
    monkeypatch.setenv("MINI_NANOCHAT_WORKSPACE", str(elsewhere / "nowhere"))
    notebook.load(SimpleNamespace())
    assert "nowhere does not exist" in capsys.readouterr().out
