"""The learner's commands: `mini-nanochat start 0.1`, `check`, `hint`, `progress` and the rest."""

from __future__ import annotations

import argparse
import ast
import difflib
import errno
import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

from rich.text import Text

from mini_nanochat.course import card as cards
from mini_nanochat.course import compare, compare_view, progress, stars, stubs
from mini_nanochat.course.doctor import examine
from mini_nanochat.course.errors import CourseError
from mini_nanochat.course.grader import check
from mini_nanochat.course.hints import hint
from mini_nanochat.course.manifest import ROOT, Lesson, curriculum, todo_name
from mini_nanochat.course.workspace import Workspace, digest, reference

VERBS = {
    "start": "put the stub and the notebook of a lesson into your workspace",
    "lesson": "open your notebook of a lesson in JupyterLab",
    "check": "grade your code: the report card",
    "watch": "grade again whenever you save the file",
    "hint": "the next hint for an exercise",
    "predict": "answer a prediction: predict 0.1 p1 6",
    "progress": "how far you are, and how much of the house is yours",
    "next": "what to do now",
    "reset": "a fresh stub of a file or of one function; your version is kept",
    "undo": "go back to the version before the last change by a command",
    "reveal": "the difference between yours and our solution",
    "compare": "your module beside ours, or ours beside nanochat's, definition by definition",
    "catchup": "let the reference stand in for earlier lessons that are not finished",
    "update": "bring your stubs up to a newer course; what you wrote stays",
    "doctor": "what this machine has and lacks",
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"mini-nanochat: {message}. See: {self.prog} --help\n")


def parser() -> argparse.ArgumentParser:
    """The command line of all verbs."""
    top = _Parser(prog="mini-nanochat", description="Build a ChatGPT, piece by piece.")
    top.add_argument("--workspace", metavar="FOLDER", help="your workspace, where it is not the usual one")
    verbs = top.add_subparsers(dest="verb", metavar="COMMAND", required=True)
    made = {}
    for name, text in VERBS.items():
        made[name] = verbs.add_parser(name, help=text, description=text.capitalize() + ".")
        made[name].add_argument(
            "--workspace", metavar="FOLDER", default=argparse.SUPPRESS, help="your workspace"
        )
    verbs.add_parser("demo", help="everything that exists so far, on real text (demo --help)")
    verbs.add_parser("attention", help="what each head of a model looks at (attention --help)")
    verbs.add_parser("rust", help="write the trainer of lesson 0.3 in Rust (rust --help)")
    verbs.add_parser("prove", help="for authors: prove that the graders of a lesson bite (prove --help)")
    for name in ("check", "watch", "hint", "lesson", "next", "reset", "undo", "reveal", "compare"):
        made[name].add_argument(
            "lesson", nargs="?", help="such as 0.1; the one you worked on last, if left out"
        )
    for name in ("check", "hint", "reset", "reveal"):
        made[name].add_argument("exercise", nargs="?", help="one function, such as merge")
    for name in ("start", "catchup", "predict"):
        made[name].add_argument("lesson", help="such as 0.1")
    made["start"].add_argument("--only", nargs="+", default=[], metavar="NAME", help="stub these alone")
    judge = ("stars", "also judge the exercises beyond the points")
    for flag, text in (judge, ("plain", "no colour"), ("json", "as JSON"), ("markdown", "as Markdown")):
        made["check"].add_argument(f"--{flag}", action="store_true", help=text)
    made["check"].add_argument("--limit", type=_seconds, default=10.0, help="seconds one check may take (10)")
    made["predict"].add_argument("question", nargs="?")
    made["predict"].add_argument("answer", nargs="?")
    for flag, options in compare_view.FLAGS.items():
        made["compare"].add_argument(f"--{flag}", **options)
    made["lesson"].add_argument(
        "options", nargs="*", help="for JupyterLab, after -- (such as -- --no-browser)"
    )
    return top


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0.1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"wanted 0.1 to 3600 seconds, got {text}")
    return seconds


def main(arguments: list[str]) -> int:
    """Runs one command; 0 if all is well, 1 if checks fail, 2 for a mistake, which is said in a sentence."""
    for stream in (sys.stdout, sys.stderr):  # no terminal is too old for an umlaut in a path
        getattr(stream, "reconfigure", lambda errors: None)(errors="backslashreplace")
    arguments, extra = _split(arguments)
    options = parser().parse_args(arguments)
    if options.verb == "lesson":
        options.options = extra
    try:
        if options.verb not in VERBS:
            raise CourseError(f"say {options.verb} first: mini-nanochat {options.verb} ...")
        return int(globals()[f"_{options.verb}"](options) or 0)
    except CourseError as error:
        print(f"mini-nanochat: {error}", file=sys.stderr)
    except BrokenPipeError:
        raise  # the reader went away: that is no mistake
    except OSError as error:
        reasons = {errno.ENOSPC: "no space is left on the disk", errno.EROFS: "that place is read-only"}
        reason = reasons.get(error.errno or 0, error.strerror or str(error))
        place = f": {error.filename}" if error.filename else ""
        print(f"mini-nanochat: {reason}{place}. Nothing of yours was lost.", file=sys.stderr)
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
    return 2


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The arguments before and after a lone `--`."""
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:at], arguments[at + 1 :]


def _open(options: argparse.Namespace) -> Workspace:
    return Workspace.open(options.workspace)


def _which(space: Workspace, options: argparse.Namespace) -> Lesson:
    """The lesson that was named, or else the one worked on last."""
    if options.lesson:
        return curriculum().find(options.lesson)
    started = space.started()
    if not started:
        raise CourseError("no lesson is started: run `mini-nanochat start 0.1`.")
    for event in reversed(progress.events(space)):
        if event["lesson"] in [lesson.id for lesson in started]:
            return curriculum().find(event["lesson"])
    return started[-1]


def _start(options: argparse.Namespace) -> None:
    lesson = curriculum().find(options.lesson)
    space = Workspace.create(options.workspace)
    made = space.start(lesson, options.only)
    if not made:
        print(
            f"{lesson.id} is started already, and stays as it is. A fresh stub: mini-nanochat reset {lesson.id}"
        )
        return
    print(f"{lesson.id} {lesson.title} (about {lesson.minutes} minutes)\n\n  {lesson.question}\n\nMade:")
    for path in made:
        print(f"  {path}")
    print(f"\nRead and write in the notebook:  mini-nanochat lesson {lesson.id}")
    print(f"or in your editor:               {space.file(lesson)}")
    print(f"then:                            mini-nanochat check {lesson.id}")


def _check(options: argparse.Namespace) -> int:
    space = _open(options)
    lesson = _which(space, options)
    if options.stars:
        print("Your tests meet each planted bug, one after the other: a minute or two ...", file=sys.stderr)
    rows = stars.stars(space, lesson) if options.stars else [stars.predictions(space, lesson)]
    card = check(space, lesson, options.exercise, options.limit)
    if options.json:
        print(cards.as_json([card]))
    elif options.markdown:
        print(cards.as_markdown(card))
    else:
        cards.show(card, options.plain)
    for row in rows if not (options.json or options.markdown or options.exercise) else []:
        label = ("star " if row.earned else "open ") if options.stars else ""
        print(f"  {label}{row.name}: {row.says}")
    done = all(exercise.status == "done" for exercise in card.exercises)
    return 0 if card.state == "graded" and done else 1


def _watch(options: argparse.Namespace) -> None:
    space = _open(options)
    lesson = _which(space, options)
    path = space.need(lesson)
    print(f"Watching {path}. Save it to grade it; Ctrl-C ends this.")
    last = None
    while True:
        now = digest(path) if path.is_file() else None
        if now is not None and now != last:
            cards.show(check(space, lesson))
        last = now
        time.sleep(0.5)


def _hint(options: argparse.Namespace) -> None:
    space = _open(options)
    for line in hint(space, _which(space, options), options.exercise):
        print(line)


def _predict(options: argparse.Namespace) -> int:
    space = _open(options)
    lesson = curriculum().find(options.lesson)
    if options.question is None or options.answer is None:
        for row in stars.questions(lesson):
            if options.question in (None, row["id"]):
                print(f"{row['id']}  {row['ask']}")
        print(f"\nAnswer with: mini-nanochat predict {lesson.id} ID ANSWER")
        return 0
    try:
        value = ast.literal_eval(options.answer)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        value = options.answer
    if not isinstance(value, bool | int | float | list | tuple):
        value = options.answer
    good, why = stars.answer(space, lesson, options.question, value)
    print(f"Right. {why}" if good else "Not right. It is written down; think again and answer once more.")
    return 0 if good else 1


def _progress(options: argparse.Namespace) -> None:
    space = _open(options)
    rows = progress.standings(space)
    out = cards.console()
    for row in rows:
        score = f"{row.points}/{row.of}" if row.of else ""
        notes = [f"stars {row.stars}/4" if row.stars else "", f"hints {row.hints}" if row.hints else ""]
        notes += ["changed since the last check" if row.changed else ""]
        notes += [f"revealed: {', '.join(sorted(set(row.revealed)))}" if row.revealed else ""]
        text = f"{row.lesson.id:<5} {row.lesson.slug:<22} {row.status:<9} {score:>7}  "
        style = {"done": "green", "borrowed": "cyan"}.get(row.status, "")
        out.print(Text(text + ", ".join(note for note in notes if note), style=style))
    mine, total = progress.share(rows)
    filled = round(30 * mine / total)
    bar = "#" * filled + "." * (30 - filled)
    print(f"\nThe house so far: [{bar}] {mine} of {total} lines of code are yours.")


def _next(options: argparse.Namespace) -> None:
    space = _open(options)
    for row in progress.onward(space, options.lesson):
        if row.status == "borrowed":
            print(f"Start {row.lesson.id} {row.lesson.title}: mini-nanochat start {row.lesson.id}")
            return
        if row.status != "done":
            card = check(space, row.lesson)
            cards.show(card)
            if not card.passed:
                return
    print("Everything that exists so far is done. Stars are left: mini-nanochat check 0.1 --stars")


def _reset(options: argparse.Namespace) -> None:
    space = _open(options)
    lesson = _which(space, options)
    space.reset(lesson, options.exercise)
    print(
        f"{options.exercise or lesson.module} is a stub again. Your version is kept: mini-nanochat undo {lesson.id}"
    )


def _undo(options: argparse.Namespace) -> None:
    space = _open(options)
    lesson = _which(space, options)
    print(f"{space.undo(lesson)} is as it was before. Once more takes this back.")


def _reveal(options: argparse.Namespace) -> None:
    space = _open(options)
    lesson = _which(space, options)
    name = todo_name(lesson, options.exercise) if options.exercise else None
    mine, ours = space.source(lesson), reference(lesson)
    stubs.parse(mine, str(space.file(lesson)))
    if name:
        mine, ours = stubs.extract(mine, name), stubs.extract(ours, name)
    if sys.stdin and sys.stdin.isatty() and sys.stdout and sys.stdout.isatty():
        question = f"This shows our solution of {name or lesson.module}. A hint teaches more. Show it? [y/N] "
        print(question, end="", flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            return
    lines = list(
        difflib.unified_diff(mine.splitlines(), ours.splitlines(), "yours", "ours", lineterm="", n=999)
    )
    styles = {"+": "green", "-": "red", "@": "dim"}
    out = cards.console()
    for line in lines or ["yours and ours are the same"]:
        out.print(Text(line, style=styles.get(line[:1], "")))
    space.log("reveal", lesson, exercise=name or "the whole file")


def _compare(options: argparse.Namespace) -> None:
    lesson = curriculum().find(options.lesson) if options.lesson else _which(_open(options), options)
    if options.beside == "mine" and not options.nanochat:
        found = compare.with_mine(_open(options), lesson)
    else:
        found = compare.with_nanochat(ROOT / lesson.module, options.nanochat)
    compare_view.report(found, options.format, options.out)


def _catchup(options: argparse.Namespace) -> None:
    space = _open(options)
    lesson = curriculum().find(options.lesson)
    aside = []
    for row in progress.standings(space):
        if row.lesson in curriculum().earlier(lesson) and row.status == "started":
            if check(space, row.lesson).passed:
                continue
            aside.append((row.lesson, space.step_aside(row.lesson)))
    space.snapshot(f"catch up to {lesson.id}")
    for earlier, copy in aside:
        print(
            f"{earlier.id}: the reference stands in now. Your draft: {copy} (back: mini-nanochat undo {earlier.id})"
        )
    if not aside:
        print(
            f"Nothing stands in the way of {lesson.id}: what you have not written is borrowed from the reference."
        )


def _update(options: argparse.Namespace) -> None:
    space = _open(options)
    for lesson in space.started():
        print(f"{lesson.id} {lesson.module}: {space.update(lesson)}")
        print(f"{lesson.id} {lesson.notebook}: {space.update_notebook(lesson)}")
    space.snapshot("update")


def _lesson(options: argparse.Namespace) -> int:
    if importlib.util.find_spec("jupyterlab") is None:
        raise CourseError(
            'JupyterLab is not installed. Run: pip install -e ".[learn]" in the clone. Or work without it: the '
            "notebooks open in editors too, and `mini-nanochat check` grades the files in your workspace."
        )
    space = Workspace.create(options.workspace)
    if options.lesson or not space.started():
        lesson = curriculum().find(options.lesson or curriculum().lessons[0].id)
        space.start(lesson)
    else:
        lesson = _which(space, options)
    if not space.notebook(lesson).is_file():
        space.start(lesson)
    command = [sys.executable, "-m", "jupyterlab", str(space.notebook(lesson).relative_to(space.path))]
    return subprocess.run([*command, *options.options], cwd=space.path, env=dict(os.environ)).returncode


def _doctor(options: argparse.Namespace) -> int:
    rows = examine(Path(options.workspace).expanduser().absolute() if options.workspace else None)
    for row in rows:
        print(
            f"{'ok ' if row.good else 'BAD'}  {row.what}" + (f"\n     {row.remedy}" if not row.good else "")
        )
    return 0 if all(row.good for row in rows) else 1
