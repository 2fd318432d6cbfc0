"""Hints: a ladder. Rung 0 looks at the learner's failing checks; the written rungs follow, one a call."""

from __future__ import annotations

import json

from mini_nanochat.course.card import Exercise
from mini_nanochat.course.grader import check, name_of
from mini_nanochat.course.manifest import ROOT, Lesson, read_toml, todo_name
from mini_nanochat.course.progress import events
from mini_nanochat.course.workspace import Workspace


def ladder(lesson: Lesson, name: str) -> list[str]:
    """The written rungs of one exercise, from a nudge to nearly the code."""
    return list(read_toml(ROOT / lesson.sheet)["hints"][name])


def diagnose(lesson: Lesson, exercise: Exercise) -> list[str]:
    """Which known mistakes explain the failing checks of an exercise: the likeliest, or two that add up.

    A planted bug is a candidate if all its failing checks fail here too and half of them show the same
    wrong value. Checks that ended in an error say little: then the failing checks must be the same ones.
    """
    seen = json.loads((ROOT / lesson.fingerprints).read_text("utf-8"))
    names = {name_of(check.test) for check in exercise.checks}
    failed = {name_of(check.test): check for check in exercise.failed}
    marks = {test: check.mark for test, check in failed.items() if check.kind == "wrong" and check.mark}
    candidates = []
    for bug in seen.values():
        fails = {test: mark for test, mark in bug["fails"].items() if test in names}
        if bug["exercise"] != exercise.name or not fails or not fails.keys() <= failed.keys():
            continue
        same = sum(marks.get(test) == mark for test, mark in fails.items() if mark)
        shown = sum(bool(mark) for mark in fails.values())
        exact = fails.keys() == failed.keys()
        if 2 * same >= max(shown, 1) or (exact and not marks):
            candidates.append((exact, same, fails.keys(), bug["says"]))
    found: list[str] = []
    left = set(failed)
    for exact, _, tests, says in sorted(candidates, key=lambda row: row[:2], reverse=True):
        if left & tests and len(found) < 2:
            found.append(says)
            left -= tests
        if exact:
            break
    return found


def hint(space: Workspace, lesson: Lesson, name: str | None = None) -> list[str]:
    """The next rung for `name`, or for the first exercise that is not done. Counted, and never skipped ahead."""
    if name is not None:
        todo_name(lesson, name)
    card = check(space, lesson)
    if card.state != "graded":
        return [card.finding["headline"] if card.finding else "nothing was graded"]
    if name is None:
        open_ones = [exercise.name for exercise in card.exercises if exercise.status != "done"]
        if not open_ones:
            return [f"Every check of {lesson.id} passes: no hint is needed."]
        name = open_ones[0]
    exercise = next(e for e in card.exercises if e.name == name)
    out = []
    if exercise.status == "done":
        return [f"{name} is done: no hint is needed."]
    if exercise.status == "waiting":
        other = exercise.failed[0].finding.get("name", "another exercise")
        return [f"{name} waits for {other}: write that first. (This was no hint, and is not counted.)"]
    if exercise.status == "failing":
        likely = diagnose(lesson, exercise)
        out += [f"Looks like: {says}." for says in likely]
        if not likely:
            out.append(
                "Your failing checks fit no mistake that we know. Read the first one: expected, got, why."
            )
    rungs = ladder(lesson, name)
    given = sum(
        e["event"] == "hint" and e["lesson"] == lesson.id and e["exercise"] == name for e in events(space)
    )
    rung = min(given, len(rungs) - 1)
    out.append(f"{name}, hint {rung + 1} of {len(rungs)}: {rungs[rung]}")
    if given >= len(rungs) - 1:
        out.append(f"That is the last hint. `mini-nanochat reveal {lesson.id} {name}` shows our solution.")
    if given < len(rungs):
        space.log("hint", lesson, exercise=name, rung=rung + 1)
    return out
