"""The doctor: what this machine has, what is missing, and what to do about it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from mini_nanochat import overlay
from mini_nanochat.course.errors import CourseError
from mini_nanochat.course.manifest import ROOT, curriculum
from mini_nanochat.course.workspace import Workspace, default_path

NEEDED = ("pyarrow", "regex", "rich", "tqdm", "pytest", "hypothesis", "tiktoken")
NOTEBOOKS = ("jupyterlab", "ipykernel", "matplotlib")
FREE = 200 * 2**20  # bytes: a workspace is small, but a full disk loses work


@dataclass(frozen=True)
class Row:
    """One finding: good, or a remedy."""

    good: bool
    what: str
    remedy: str = ""


def _packages(names: tuple[str, ...], what: str) -> Row:
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    remedy = f'missing: {", ".join(missing)}. Run: pip install -e ".[learn]" in {ROOT}'
    return Row(not missing, what, remedy if missing else "")


def _workspace(path: Path) -> list[Row]:
    if not path.exists():
        return [Row(True, f"workspace: none yet; `mini-nanochat start 0.1` makes {path}")]
    try:
        space = Workspace.open(path)
        started = ", ".join(lesson.id for lesson in space.started()) or "nothing yet"
    except CourseError as error:
        return [Row(False, f"workspace {path}", str(error))]
    rows = [Row(True, f"workspace {path}: started {started}")]
    for lesson in space.started():
        try:
            compile(space.source(lesson), str(space.file(lesson)), "exec")
        except CourseError as error:
            rows.append(Row(False, f"your {lesson.module}", str(error)))
        except (SyntaxError, ValueError) as error:
            rows.append(Row(False, f"your {lesson.module}", f"can't be read by Python: {error}"))
    return rows


def examine(path: Path | None = None) -> list[Row]:
    """Everything worth knowing, in the order in which to mend it."""
    path = path or default_path()
    version = sys.version.split()[0]
    rows = [Row(sys.version_info >= (3, 10), f"Python {version}", "3.10 or newer is needed")]
    rows.append(_packages(NEEDED, "what the graders need"))
    rows.append(_packages(NOTEBOOKS, "what the notebooks need"))
    git = shutil.which("git")
    rows.append(
        Row(bool(git), "git", "without it: no `update`, no history of your workspace; the rest works")
    )
    rows.append(
        Row(True, f"cargo: {'found' if shutil.which('cargo') else 'not found (no lesson so far needs it)'}")
    )
    place = path if path.exists() else path.parent
    writable = os.access(place, os.W_OK)
    rows.append(
        Row(writable, f"may write to {place}", "read-only: choose another place with --workspace FOLDER")
    )
    free = shutil.disk_usage(place).free if place.exists() else 0
    rows.append(Row(free > FREE, f"free space: {free / 2**30:.1f} GiB", "make room before you go on"))
    rows += _workspace(path)
    named = os.environ.get(overlay.VARIABLE)
    if named:
        rows.append(
            Row(Path(named).is_dir(), f"{overlay.VARIABLE} names {named}", "that folder does not exist")
        )
    lacking = [p for lesson in curriculum().lessons for p in lesson.artefacts() if not (ROOT / p).exists()]
    rows.append(
        Row(not lacking, "the course's own files", f"missing: {', '.join(lacking)}: restore them with git")
    )
    return rows
