"""The course inside a notebook: the %%exercise and %pull magics, check() and predict().

%load_ext mini_nanochat.course
%%exercise 0.2 merge        writes the function below into your file, and grades it
%pull 0.2 merge             brings the function from your file into this cell
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

from mini_nanochat import overlay
from mini_nanochat.course import card as cards
from mini_nanochat.course import stars, stubs
from mini_nanochat.course.errors import CourseError
from mini_nanochat.course.findings import UNWRITTEN
from mini_nanochat.course.grader import check as grade
from mini_nanochat.course.manifest import Lesson, curriculum, todo_name
from mini_nanochat.course.workspace import Workspace


class Shown:
    """Something with a text and an HTML face; a notebook shows the latter."""

    def __init__(self, text: str, html: str | None = None) -> None:
        self.text = text
        self.html = html

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str | None:
        return self.html


def load(shell: Any) -> None:
    """What %load_ext does: overlay, magics, reloading of edited files, short messages for known errors."""
    try:
        space = Workspace.open()
        overlay.install(space.path)
    except (CourseError, FileNotFoundError) as error:
        print(error)
        return
    shell.run_line_magic("load_ext", "autoreload")
    shell.run_line_magic("autoreload", "2")
    shell.register_magic_function(kindly(exercise), "cell", "exercise")
    shell.register_magic_function(kindly(lambda line: pull(shell, line)), "line", "pull")
    shell.set_custom_exc((NotImplementedError, CourseError), _short_message)
    print(f"Your code: {space.path}")


def kindly(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, with a learner's mistakes printed as a sentence instead of a traceback."""

    def wrapped(*arguments: str) -> Any:
        try:
            return function(*arguments)
        except (CourseError, OSError) as error:
            print(error)
            return None

    return wrapped


def _short_message(shell: Any, kind: type, error: BaseException, trace: Any, tb_offset: Any = None) -> None:
    unwritten = UNWRITTEN.match(str(error))
    if isinstance(error, CourseError):
        print(error)
    elif unwritten:
        print(f"{unwritten[2]} is not written yet: do its exercise, then run this cell again.")
    else:
        shell.showtraceback((kind, error, trace), tb_offset=tb_offset)


def _arguments(line: str) -> tuple[Lesson, str]:
    words = line.split()
    if len(words) != 2:
        raise CourseError(f"wanted a lesson and a function, such as: 0.2 merge. Got: {line!r}")
    lesson = curriculum().find(words[0])
    return lesson, todo_name(lesson, words[1])


def exercise(line: str, cell: str) -> Shown:
    """%%exercise 0.2 merge: writes the cell's function into the learner's file and grades it."""
    lesson, name = _arguments(line)
    space = Workspace.open()
    source = space.source(lesson)
    stubs.parse(source, str(space.file(lesson)))
    spliced = stubs.splice(source, name, cell)
    marker = f'raise NotImplementedError("{stubs.marker(lesson.id, name)}")'
    written = stubs.find(source, name) is not None and marker not in stubs.extract(source, name)
    if marker in cell and spliced == source:
        return Shown(f"{name} is not written yet. Write its body in this cell, then run the cell.")
    if marker in cell and written:
        print(f"This cell is still the stub: your {name} is kept. To see it here: %pull {lesson.id} {name}")
    elif spliced != source:
        space.write(lesson, spliced)
    card = grade(space, lesson, only=name)
    if card.state == "graded" and lesson.dotted in sys.modules:  # it can be imported, and in good time
        importlib.invalidate_caches()
        importlib.reload(sys.modules[lesson.dotted])
    return _show(card)


def pull(shell: Any, line: str) -> None:
    """%pull 0.2 merge: the function as it stands in the learner's file, into this cell."""
    lesson, name = _arguments(line)
    code = stubs.extract(Workspace.open().source(lesson), name)
    shell.set_next_input(f"%%exercise {lesson.id} {name}\n{code}".rstrip("\n"), replace=True)


def check(lesson: str, only: str | None = None) -> Shown:
    """The report card of a lesson."""
    return _show(grade(Workspace.open(), curriculum().find(lesson), only))


def _show(card: cards.Card) -> Shown:
    return Shown(cards.as_text(card), cards.as_html(card))


def predict(lesson: str, question: str, answer: Any = ...) -> Shown:
    """Asks a prediction (answer left as `...`), or writes the answer down and judges it."""
    row = curriculum().find(lesson)
    asked = next((q for q in stars.questions(row) if q["id"] == question), None)
    if asked is None or answer is ...:
        if asked is None:
            raise CourseError(f"lesson {row.id} has no prediction {question!r}.")
        return Shown(f"{asked['ask']}\nPut your answer in the place of the three dots, and run the cell.")
    good, why = stars.answer(Workspace.open(), row, question, answer)
    if good:
        return Shown(f"Right. {why}")
    return Shown(
        f"Not {answer!r}. Your answer is written down; think again, change it and run the cell once more."
    )
