"""Progress: one JSON line an event, only ever appended, and what can be read from those lines."""

from __future__ import annotations

import ast
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import mini_nanochat
from mini_nanochat.course.manifest import ROOT, Lesson, curriculum

if TYPE_CHECKING:
    from mini_nanochat.course.workspace import Workspace


def append(space: Workspace, event: str, lesson: Lesson, facts: dict[str, Any]) -> None:
    """Adds an event. Each line carries the time (UTC), the course's version, the grader's and the code's hash."""
    from mini_nanochat.course.workspace import digest

    file = space.file(lesson)
    line = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "event": event,
        "lesson": lesson.id,
        "course": mini_nanochat.__version__,
        "grader": digest(ROOT / lesson.tests),
        "code": digest(file) if file.is_file() else None,
        **facts,
    }
    path = space.path / ".course" / "progress.jsonl"
    before = path.read_bytes() if path.is_file() else b""
    # A crash may have cut the last line in half: it must not take this one along.
    gap = "" if before.endswith(b"\n") or not before else "\n"
    with path.open("a", encoding="utf-8") as out:
        out.write(gap + json.dumps(line) + "\n")


def events(space: Workspace) -> list[dict[str, Any]]:
    """Every event, oldest first. A line that a crash cut in half is passed over."""
    path = space.path / ".course" / "progress.jsonl"
    rows = []
    for line in path.read_bytes().split(b"\n") if path.is_file() else []:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and {"event", "lesson"} <= row.keys():
            rows.append(row)
    return rows


@dataclass
class Standing:
    """How one lesson stands."""

    lesson: Lesson
    status: str = "borrowed"  # borrowed, started, done
    points: int = 0
    of: int = 0
    stars: int = 0
    hints: int = 0
    revealed: list[str] = field(default_factory=list)
    changed: bool = False  # the code or the grader is not the one that was graded last


def standings(space: Workspace) -> list[Standing]:
    """Each lesson as its last check left it."""
    from mini_nanochat.course.workspace import digest

    rows = {lesson.id: Standing(lesson) for lesson in curriculum().lessons}
    for lesson in space.started():
        rows[lesson.id].status = "started"
    last: dict[str, dict[str, Any]] = {}
    for event in events(space):
        row = rows.get(event.get("lesson", ""))
        if row is None:
            continue
        if event["event"] == "check" and not event.get("only") and {"points", "of", "code"} <= event.keys():
            last[row.lesson.id] = event
        elif event["event"] == "stars":
            row.stars = max(row.stars, event["stars"])
        elif event["event"] == "hint":
            row.hints += 1
        elif event["event"] == "reveal":
            row.revealed.append(event["exercise"])
    for id, event in last.items():
        row = rows[id]
        row.points, row.of = event["points"], event["of"]
        if row.status == "started":
            row.changed = event["code"] != digest(space.file(row.lesson))
            row.changed |= event["grader"] != digest(ROOT / row.lesson.tests)
            if row.points == row.of > 0 and not row.changed:
                row.status = "done"
    return list(rows.values())


def onward(space: Workspace, lesson: str | None = None) -> list[Standing]:
    """The standings, beginning with `lesson`, or with the first one the learner has started; then those before it."""
    rows = standings(space)
    begun = (row.lesson for row in rows if row.status != "borrowed")
    first = curriculum().find(lesson) if lesson else next(begun, rows[0].lesson)
    at = [row.lesson for row in rows].index(first)
    return rows[at:] + rows[:at]


def code_lines(source: str) -> int:
    """Lines of code: blank lines, comments and docstrings don't count."""
    tree = ast.parse(source)
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    docs: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            docs.update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    lines = enumerate(source.splitlines(), start=1)
    return sum(
        bool(line.strip()) and not line.lstrip().startswith("#") and n not in docs for n, line in lines
    )


def share(rows: list[Standing]) -> tuple[int, int]:
    """(code lines of lesson modules that are the learner's own and done, code lines of all of them)."""
    sizes = {row.lesson.id: code_lines((ROOT / row.lesson.module).read_text("utf-8")) for row in rows}
    return sum(sizes[row.lesson.id] for row in rows if row.status == "done"), sum(sizes.values())
