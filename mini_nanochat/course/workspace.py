"""The learner's workspace: their modules, notebooks, answers, tests and notes, and nothing of them ever lost.

    workspace/mini_nanochat/tokenizer/bpe.py     the learner's module, started as a stub
    workspace/lessons/phase0/02_bpe_training.ipynb
    workspace/answers/0_2.toml  tests/test_0_2.py  notes/0_2.md
    workspace/.course/workspace.json             what makes it a workspace; which lessons are started
    workspace/.course/progress.jsonl             everything that happened, append-only
    workspace/.course/base/...                   the stubs as they were handed out (for three-way merges)
    workspace/.course/attic/...                  a dated copy of whatever was replaced

Where git is installed the workspace is a git repository of its own, with a commit at each check.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mini_nanochat
from mini_nanochat import overlay
from mini_nanochat.course import stubs, templates
from mini_nanochat.course.errors import CourseError
from mini_nanochat.course.manifest import ROOT, Lesson, curriculum, todo_name

FORMAT = 1


def default_path() -> Path:
    """The workspace meant where none is named: the variable's, the one around us, or ROOT/workspace."""
    if os.environ.get(overlay.VARIABLE):
        return Path(os.environ[overlay.VARIABLE])
    try:
        here = Path.cwd()
    except FileNotFoundError:
        raise CourseError("the folder you are in was deleted: go to another one (cd).") from None
    for folder in [here, *here.parents]:
        if (folder / ".course" / "workspace.json").is_file():
            return folder
    return ROOT / "workspace"


def _folder(path: str | Path | None) -> Path:
    return Path(os.path.expanduser(path or default_path())).absolute()


def digest(path: Path) -> str:
    """Twelve hex digits that change when the file's bytes do."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def write_whole(path: Path, text: str | bytes) -> None:
    """Writes a file all or not at all: a full disk or a power cut leaves the old one."""
    path = path.resolve()  # a link stays a link
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode("utf-8") if isinstance(text, str) else text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(path.stat().st_mode & 0o777 if path.exists() else 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def reference(lesson: Lesson) -> str:
    """The source of our own module."""
    return (ROOT / lesson.module).read_text("utf-8")


@dataclass(frozen=True)
class Workspace:
    """A workspace that exists. Make one with `open` or `create`."""

    path: Path

    @staticmethod
    def open(path: str | Path | None = None) -> Workspace:
        """The workspace at `path` (or the default place). Raises CourseError where there is none."""
        folder = _folder(path)
        note = folder / ".course" / "workspace.json"
        if not note.is_file():
            what = "is not a workspace of this course" if folder.exists() else "does not exist"
            raise CourseError(
                f"{folder} {what}: there is no .course/workspace.json in it. Start a lesson with "
                "`mini-nanochat start 0.1`, or name your workspace with --workspace FOLDER."
            )
        space = Workspace(folder)
        if space.state()["format"] > FORMAT:
            raise CourseError(f"{folder} was made by a newer version of the course: update this clone first.")
        return space

    @staticmethod
    def create(path: str | Path | None = None) -> Workspace:
        """The workspace at `path`, made if there is nothing yet. Never takes over somebody else's folder."""
        folder = _folder(path)
        known = (folder / ".course" / "workspace.json").is_file()
        if known:
            Workspace.open(folder)
        elif folder.exists() and (not folder.is_dir() or any(p.name != ".course" for p in folder.iterdir())):
            raise CourseError(
                f"{folder} exists and is not a workspace of this course, so it is left alone. "
                "Name another place with --workspace FOLDER."
            )
        space = Workspace(folder)
        if not known:  # this file first: what a full disk leaves half made is then known as ours
            space._put(".course/workspace.json", json.dumps({"format": FORMAT, "lessons": {}}) + "\n")
        for part in ("mini_nanochat", "lessons", "answers", "tests", "notes"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        ignored = "__pycache__/\n.ipynb_checkpoints/\n.course/attic/\n"
        for name, text in ((".gitignore", ignored), ("README.md", templates.README)):
            if not (folder / name).exists():
                space._put(name, text)
        if not known:
            space.snapshot("a new workspace")
        return space

    # -- where things are -------------------------------------------------------------------------

    def file(self, lesson: Lesson) -> Path:
        """The learner's module of this lesson (it need not exist)."""
        return self.path / lesson.module

    def notebook(self, lesson: Lesson) -> Path:
        return self.path / lesson.notebook

    def answers(self, lesson: Lesson) -> Path:
        return self.path / "answers" / f"{lesson.key}.toml"

    def own_tests(self, lesson: Lesson) -> Path:
        return self.path / "tests" / f"test_{lesson.key}.py"

    def museum(self, lesson: Lesson) -> Path:
        return self.path / "tests" / f"test_{lesson.key}_museum.py"

    def need(self, lesson: Lesson) -> Path:
        """The learner's module; raises CourseError if the lesson was not started."""
        path = self.file(lesson)
        if not path.is_file():
            raise CourseError(f"{lesson.id} is not started: run `mini-nanochat start {lesson.id}`.")
        return path

    def source(self, lesson: Lesson) -> str:
        """The learner's module as text."""
        path = self.need(lesson)
        try:
            return path.read_text("utf-8-sig")  # some editors put an invisible mark before the text
        except UnicodeDecodeError as error:
            raise CourseError(f"{path} is not UTF-8 text (byte {error.start}): save it as UTF-8.") from None

    def started(self) -> list[Lesson]:
        return [lesson for lesson in curriculum().lessons if self.file(lesson).is_file()]

    def state(self) -> dict[str, Any]:
        path = self.path / ".course" / "workspace.json"
        try:
            state = json.loads(path.read_text("utf-8"))
        except ValueError:
            state = None
        good = isinstance(state, dict) and isinstance(state.get("format"), int)
        if not good or not isinstance(state.get("lessons"), dict):
            raise CourseError(
                f"{path} is damaged. Your own files are untouched. Put this into it: "
                f'{{"format": {FORMAT}, "lessons": {{}}}}'
            )
        return dict(state)

    # -- what changes files -----------------------------------------------------------------------

    def start(self, lesson: Lesson, only: Iterable[str] = ()) -> list[Path]:
        """Puts the stub and the notebook of `lesson` here; what exists stays. Returns what was made.

        With `only`, these functions alone are stubbed and the rest of the file is ours.
        """
        names = [todo_name(lesson, name) for name in only] or list(lesson.todo)
        stub = stubs.stub(reference(lesson), lesson.id, names)
        made = []
        for path, text in (
            (self.file(lesson), stub),
            (self.notebook(lesson), private_notebook(lesson)),
            (self.answers(lesson), templates.answers(lesson)),
            (self.own_tests(lesson), templates.own_tests(lesson)),
            (self.museum(lesson), templates.museum(lesson)),
            (self.path / "notes" / f"{lesson.key}.md", templates.notes(lesson)),
        ):
            if not path.exists():
                self._put(path.relative_to(self.path), text)
                made.append(path)
        if self.file(lesson) in made:
            self._put(self._base(lesson.module), stub)
            self._remember(lesson, names)
        if self.notebook(lesson) in made:
            self._put(self._base(lesson.notebook), private_notebook(lesson))
        if made:
            self.log("start", lesson, stubbed=names)
            self.snapshot(f"start {lesson.id}")
        return made

    def write(self, lesson: Lesson, text: str | bytes) -> None:
        """Replaces the learner's module by `text`, a dated copy first."""
        self.keep(self.file(lesson))
        write_whole(self.file(lesson), text)

    def keep(self, path: Path) -> Path | None:
        """Copies a file into the attic before it changes; returns the copy."""
        if not path.exists():
            return None
        attic, name, now = self.path / ".course" / "attic", path.relative_to(self.path), time.time_ns()
        while (copy := attic / _stamp(now) / name).exists():  # where the clock is coarse
            now += 1
        write_whole(copy, path.read_bytes())
        return copy

    def reset(self, lesson: Lesson, name: str | None = None) -> None:
        """The stub again, of the whole file or of one function; your version stays in the attic."""
        self.need(lesson)
        if name is None:
            text = stubs.stub(reference(lesson), lesson.id, lesson.todo)
            self._put(self._base(lesson.module), text)
            self._remember(lesson, lesson.todo)
        else:
            stubbed = stubs.stub(reference(lesson), lesson.id, [todo_name(lesson, name)])
            text = stubs.splice(self.source(lesson), name, stubs.extract(stubbed, name))
        self.write(lesson, text)
        self.log("reset", lesson, exercise=name)
        self.snapshot(f"reset {lesson.id} {name or ''}".strip())

    def undo(self, lesson: Lesson) -> Path:
        """Swaps the module with its newest copy in the attic; a second undo swaps back."""
        copies = sorted((self.path / ".course" / "attic").glob(f"*/{lesson.module}"))
        if not copies:
            raise CourseError(f"there is no earlier version of {lesson.module} to go back to.")
        self.write(lesson, copies[-1].read_bytes())
        copies[-1].unlink()
        self.log("undo", lesson)
        self.snapshot(f"undo {lesson.id}")
        return self.file(lesson)

    def step_aside(self, lesson: Lesson) -> Path | None:
        """Moves the learner's module into the attic, so that the reference is used instead."""
        copy = self.keep(self.file(lesson))
        self.file(lesson).unlink(missing_ok=True)
        self.log("catchup", lesson)
        return copy

    def update(self, lesson: Lesson) -> str:
        """Brings the learner's module up to a stub that the course has improved. Returns what happened.

        A three-way merge: what the course changed goes in, what the learner wrote stays. Where both
        changed the same lines the learner's file is left alone and the new stub is put beside it.
        """
        names = self.state()["lessons"].get(lesson.id, {}).get("stubbed") or lesson.todo
        names = [name for name in names if name in lesson.todo]
        new = stubs.stub(reference(lesson), lesson.id, names)
        base_path = self.path / self._base(lesson.module)
        base = base_path.read_text("utf-8") if base_path.is_file() else new
        mine = self.source(lesson)
        if new == base:
            return "is current"
        merged = new if mine == base else merge_three_ways(mine, base, new)
        if merged is None or not _is_python(merged):
            beside = self._put(f".course/incoming/{lesson.module}", new)
            return f"left as it is: the course changed lines that you changed too. The new stub: {beside}"
        self.write(lesson, merged)
        self._put(self._base(lesson.module), new)
        self._remember(lesson, names)
        self.log("update", lesson)
        return "updated; what you wrote is kept"

    def update_notebook(self, lesson: Lesson) -> str:
        """A newer notebook: in place of an untouched one, beside one the learner has worked in."""
        new, path = private_notebook(lesson), self.notebook(lesson)
        base = self.path / self._base(lesson.notebook)
        before = base.read_bytes() if base.is_file() else None
        if before == new.encode("utf-8"):
            return "is current"
        untouched = not path.exists() or path.read_bytes() == before
        beside = lesson.notebook if untouched else lesson.notebook.replace(".ipynb", ".new.ipynb")
        self.keep(self.path / beside)
        self._put(beside, new)
        self._put(self._base(lesson.notebook), new)
        return "updated" if untouched else f"yours is kept; the new one lies beside it: {self.path / beside}"

    def log(self, event: str, lesson: Lesson, **facts: Any) -> None:
        """Appends one line to the progress file."""
        from mini_nanochat.course import progress

        progress.append(self, event, lesson, facts)

    def snapshot(self, message: str) -> bool:
        """Commits the workspace to its own git repository; False where there is no git (that is fine)."""
        if shutil.which("git") is None:
            return False
        if not (self.path / ".git").exists() and self._git("init", "--quiet").returncode:
            return False
        self._git("add", "--all")
        return self._git("commit", "--quiet", "--message", message).returncode == 0

    def _git(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        settings = ["user.name=learner", "user.email=learner@localhost", "commit.gpgsign=false"]
        settings += [f"core.hooksPath={os.devnull}", "core.safecrlf=false"]
        options = [part for setting in settings for part in ("-c", setting)]
        # Named in full: git would go up to a repository around us where ours is broken.
        place = [f"--git-dir={self.path / '.git'}", f"--work-tree={self.path}"]
        command = ["git", "-C", str(self.path), *place, *options, *arguments]
        clean = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=clean)

    def _base(self, path: str) -> str:
        return f".course/base/{path}"

    def _put(self, relative: str | Path, text: str) -> Path:
        path = self.path / relative
        write_whole(path, text)
        return path

    def _remember(self, lesson: Lesson, names: Iterable[str]) -> None:
        state = self.state()
        state["lessons"][lesson.id] = {"stubbed": list(names), "course": mini_nanochat.__version__}
        self._put(".course/workspace.json", json.dumps(state, indent=1) + "\n")


def _stamp(nanoseconds: int) -> str:
    """A time (UTC) as the name of a folder; names sort as times do."""
    seconds, rest = divmod(nanoseconds, 10**9)
    return time.strftime("%Y-%m-%dT%H-%M-%S", time.gmtime(seconds)) + f".{rest:09d}"


def _is_python(text: str) -> bool:
    try:
        compile(text, "merged", "exec")
    except (SyntaxError, ValueError):
        return False
    return True


def merge_three_ways(mine: str, base: str, new: str) -> str | None:
    """`git merge-file`: the text with both changes, or None where they collide or git is missing."""
    if shutil.which("git") is None:
        raise CourseError("update needs git to bring two changes together. Nothing was changed.")
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, text in (("mine", mine), ("base", base), ("new", new)):
            paths.append(Path(folder, name))
            paths[-1].write_text(text, "utf-8")
        command = ["git", "merge-file", "-p", *map(str, paths)]
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    return done.stdout if done.returncode == 0 else None


def private_notebook(lesson: Lesson) -> str:
    """The learner's copy of the notebook: exercise cells hold the stubs of their functions."""
    book = json.loads((ROOT / lesson.notebook).read_text("utf-8"))
    stub = stubs.stub(reference(lesson), lesson.id, lesson.todo)
    fill_exercises(book, stub)
    return json.dumps(book, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def fill_exercises(book: dict[str, Any], source: str) -> None:
    """Puts each exercise's function, as it stands in `source`, below its `%%exercise` line."""
    for cell in book["cells"]:
        text = "".join(cell["source"])
        if text.startswith("%%exercise"):
            line = text.splitlines()[0]
            code = stubs.extract(source, line.split()[2])
            cell["source"] = f"{line}\n{code}".rstrip("\n").splitlines(keepends=True)
