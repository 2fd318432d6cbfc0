"""The manifest: which lessons there are, and where everything that belongs to one lies.

`lessons/curriculum.toml` lists the lessons. Every path is a function of a lesson's id and slug, and
those functions stand here and nowhere else.
"""

from __future__ import annotations

import difflib
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mini_nanochat.course.errors import CourseError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Phase:
    """A phase of the course: a topic, the folders of the library it fills, how many lessons it will have."""

    id: int
    title: str
    folder: str
    planned: int


@dataclass(frozen=True)
class Lesson:
    """One row of the manifest. Paths are relative to the repository."""

    id: str  # "0.2": phase and number
    slug: str
    title: str
    minutes: int
    module: str
    adr: str
    todo: tuple[str, ...]  # what the learner writes: functions, or Class.method
    question: str
    goals: tuple[str, ...]
    papers: tuple[str, ...]
    nanochat: tuple[str, ...]
    needs: tuple[str, ...]
    gives: tuple[str, ...] = ()  # modules that come with the lesson, whole: nothing in them is left to write

    @property
    def phase(self) -> int:
        return int(self.id.split(".")[0])

    @property
    def number(self) -> int:
        return int(self.id.split(".")[1])

    @property
    def key(self) -> str:
        """The id as a part of a file name: 0_2."""
        return self.id.replace(".", "_")

    @property
    def dotted(self) -> str:
        """The module's import name."""
        return self.module.removesuffix(".py").replace("/", ".")

    @property
    def notebook(self) -> str:
        return f"lessons/phase{self.phase}/{self.number:02d}_{self.slug}.ipynb"

    @property
    def sheet(self) -> str:
        """Hints, predictions and the museum of the lesson."""
        return f"lessons/phase{self.phase}/{self.number:02d}_{self.slug}.toml"

    @property
    def tests(self) -> str:
        return f"tests/phase{self.phase}/test_{self.key}_{self.slug}.py"

    @property
    def mutants(self) -> str:
        return f"tests/mutants/{self.key}.toml"

    @property
    def fingerprints(self) -> str:
        """What each mutant looks like to a learner: generated, reviewed, compared by a test."""
        return f"tests/mutants/{self.key}.seen.json"

    @property
    def alternates(self) -> str:
        """A glob: correct solutions, written differently."""
        return f"tests/alternates/{self.key}_*.py"

    @property
    def adr_page(self) -> str:
        return f"docs/adrs/{self.adr}.md"

    @property
    def checkpoint(self) -> str:
        return f"docs/checkpoints/phase{self.phase}-checkpoint.md"

    def artefacts(self) -> list[str]:
        """Every file without which the lesson's package is not whole."""
        pages = [f"docs/papers/{paper}.md" for paper in self.papers]
        single = [self.module, self.notebook, self.sheet, self.tests, self.mutants, self.fingerprints]
        return [*single, *self.gives, self.adr_page, self.checkpoint, *pages]


@dataclass(frozen=True)
class Curriculum:
    """All phases, and the lessons that exist, in the order of learning and of imports."""

    phases: tuple[Phase, ...]
    lessons: tuple[Lesson, ...]

    def find(self, id: str) -> Lesson:
        """The lesson `id`. Raises CourseError, naming those there are, for any other text."""
        by_id = {lesson.id: lesson for lesson in self.lessons}
        by_slug = {lesson.slug: lesson for lesson in self.lessons}
        id = str(id).strip()  # check(0.2) in a notebook gives us a number
        lesson = by_id.get(id) or by_slug.get(id)
        if lesson is None:
            close = difflib.get_close_matches(id, [*by_id, *by_slug], 1, 0.5)
            guess = f" Did you mean {close[0]}?" if close else ""
            raise CourseError(f"there is no lesson {id!r}.{guess} Lessons: {', '.join(by_id)}.")
        return lesson

    def earlier(self, lesson: Lesson) -> tuple[Lesson, ...]:
        return self.lessons[: self.lessons.index(lesson)]

    def following(self, lesson: Lesson) -> Lesson | None:
        after = self.lessons[self.lessons.index(lesson) + 1 :]
        return after[0] if after else None


def todo_name(lesson: Lesson, name: str) -> str:
    """`name` if the lesson asks for it; raises CourseError, naming what it asks for, if not."""
    if name not in lesson.todo:
        ends = [one.rpartition(".")[2].casefold() for one in lesson.todo]  # encode, of Tokenizer.encode
        close = difflib.get_close_matches(name.rpartition(".")[2].casefold(), ends, 1, 0.6)
        meant = [one for one, end in zip(lesson.todo, ends) if end in close]
        guess = f" Did you mean {' or '.join(meant)}?" if meant else ""
        all_of_them = ", ".join(lesson.todo)
        raise CourseError(f"lesson {lesson.id} has no exercise {name!r}.{guess} It has: {all_of_them}.")
    return name


@cache
def curriculum() -> Curriculum:
    """The manifest, read once."""
    path = ROOT / "lessons" / "curriculum.toml"
    if not path.is_file():
        raise CourseError(
            f"the lessons are not beside the library ({path} is missing). The course lives in its "
            'repository: clone it, and install it from there with: pip install -e ".[learn]"'
        )
    data = read_toml(path)
    phases = tuple(Phase(**row) for row in data["phase"])
    return Curriculum(phases, tuple(_lesson(row) for row in data["lesson"]))


def _lesson(row: dict[str, Any]) -> Lesson:
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in row.items()
    }
    try:
        return Lesson(**values)
    except TypeError as error:
        raise CourseError(f"lessons/curriculum.toml, lesson {row.get('id')}: {error}") from None


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a dict; raises CourseError with the line for one that is not TOML."""
    try:
        return dict(tomllib.loads(path.read_text("utf-8-sig")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CourseError(f"{path} is not readable as TOML: {error}") from None
