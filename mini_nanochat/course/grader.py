"""Grading a lesson in a process of its own, so that nothing a learner writes can hang or harm the asker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from mini_nanochat import overlay
from mini_nanochat.course.card import Card, cards
from mini_nanochat.course.errors import CourseError
from mini_nanochat.course.findings import BUSY
from mini_nanochat.course.manifest import ROOT, Lesson, todo_name
from mini_nanochat.course.workspace import Workspace

LIMIT = 10.0  # seconds of work that a check may take
GRACE = 5.0  # and how much longer the process may live, if the exception from within did not end it
START = 120.0  # seconds until the first check must have begun: importing torch on a cold disk is slow


def check(space: Workspace, lesson: Lesson, only: str | None = None, limit: float = LIMIT) -> Card:
    """Grades the learner's module and returns the card; `only` grades one exercise. Logged as progress."""
    space.need(lesson)
    if only is not None:
        todo_name(lesson, only)
    events = run_grader(ROOT / lesson.tests, ["--mine", "--workspace", str(space.path)], limit)
    found = [card for card in cards(events, space.path) if card.lesson.id == lesson.id]
    if not found or not (found[0].exercises or found[0].finding):
        raise CourseError(
            f"the checks of {lesson.id} could not be run: `mini-nanochat doctor` says what is missing."
        )
    card = found[0]
    facts = {"points": card.points, "of": card.of, "failed": failed_tests(card)}
    if only is not None:
        card.exercises = [exercise for exercise in card.exercises if exercise.name == only]
        card.only = only
        facts |= {"only": only}
    space.log("check", lesson, **facts)
    space.snapshot(f"check {lesson.id}: {card.points}/{card.of} points")
    return card


def failed_tests(card: Card) -> list[str]:
    """The names of the checks that ran and failed (unwritten ones excepted)."""
    failed = [check for exercise in card.exercises for check in exercise.failed]
    return sorted(name_of(c.test) for c in failed if c.kind in ("wrong", "error", "slow"))


def name_of(test: str) -> str:
    return test.partition("::")[2]


def run_grader(tests: Path, arguments: list[str], limit: float = LIMIT) -> list[dict[str, Any]]:
    """Runs the graded tests and returns the events.

    A check that hangs where no exception can reach it, or that takes the process down with it, is ended
    with its process and counts as failed, with the rest of its exercise; the others are run again.
    """
    ended: list[dict[str, Any]] = []
    for _ in range(6):
        deselect = [f"--deselect={event['test']}" for event in ended if event["event"] == "result"]
        events, fate = _one_run([str(tests), *arguments, *deselect, f"--limit={limit}"], limit)
        if events[-1]["event"] != "start":
            break
        ended += _end(events, fate)
    return events + ended


def _end(events: list[dict[str, Any]], fate: str) -> list[dict[str, Any]]:
    """The results of the check that was begun last, and of those of its exercise that did not run."""
    begun = events[-1]["test"]
    rows = {event["test"]: event for event in events if event["event"] == "collected"}
    ran = {event["test"] for event in events if event["event"] == "result"}
    out: list[dict[str, Any]] = [{"event": "result", "test": begun, "kind": "slow", "headline": fate}]
    exercise = rows.get(begun, {}).get("exercise")
    for test, row in rows.items():
        if test == begun:
            out.insert(0, row)
        elif row["exercise"] == exercise and test not in ran:
            says = f"not run, because of what happened in another check of {exercise}"
            out += [row, {"event": "result", "test": test, "kind": "slow", "headline": says}]
    return out


def _one_run(arguments: list[str], limit: float) -> tuple[list[dict[str, Any]], str]:
    """(the events, and how it ended if it ended in the middle of a check)."""
    # -s: what the learner prints goes nowhere, and a loop that prints fills no disk. Hypothesis itself works without
    # its plugin, which would import it at the end of every session.
    command = [sys.executable, "-B", "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider"]
    command += ["-p", "no:hypothesispytest", *arguments]
    environment = {key: value for key, value in os.environ.items() if key != overlay.VARIABLE}
    environment |= {"PYTHONIOENCODING": "utf-8", "PYTEST_ADDOPTS": ""}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as output:
        path = Path(folder, "events.jsonl")
        process = subprocess.Popen(
            [*command, f"--events={path}"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=output,
        )
        try:
            hung = _wait(process, path, limit)
        finally:
            process.kill()
            process.wait()
        output.seek(0)
        text = output.read().decode("utf-8", errors="replace").strip()
        events = _read(path)
    if not events:
        raise CourseError(f"the grader {'did nothing' if hung else 'could not start'}:\n{text[-2000:]}")
    if hung:
        fate = f"this check ran for more than {limit:g} s and was stopped. Is there a loop that never ends?"
    elif process.returncode == -9:
        fate = "Python itself was ended during this check (signal 9): most likely the memory was full."
    else:
        fate = f"Python itself ended during this check (exit code {process.returncode})."
    return events, fate


def _wait(process: subprocess.Popen[bytes], path: Path, limit: float) -> bool:
    """Waits for the end; True if nothing was written for longer than a check may take."""
    last, size, patience = time.monotonic(), -1, START
    while process.poll() is None:
        time.sleep(0.02)
        now = path.stat().st_size if path.exists() else -1
        if now != size:
            last, size = time.monotonic(), now
            if b'"event": "start"' in path.read_bytes():
                patience = BUSY * limit + min(GRACE, limit)
        elif time.monotonic() - last > patience:
            return True
    return False


def _read(path: Path) -> list[dict[str, Any]]:
    rows = []
    for line in path.read_text("utf-8").splitlines() if path.exists() else []:
        try:
            rows.append(dict(json.loads(line)))
        except ValueError:
            break  # the line being written when the process was ended
    return rows
