"""Stars: the exercises beyond the points. One for predictions, one for tests of your own, one for the
museum of real bugs; the fourth, a piece of research, is yours to give.
"""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from typing import Any

from mini_nanochat.course.errors import CourseError
from mini_nanochat.course.manifest import ROOT, Lesson, curriculum, read_toml
from mini_nanochat.course.workspace import Workspace, reference, write_whole

SHARE = 0.8  # of the planted bugs that the learner's own tests must catch


@dataclass(frozen=True)
class Star:
    """One star: whether it shines, and what can be said about it."""

    name: str
    earned: bool
    says: str


def questions(lesson: Lesson) -> list[dict[str, Any]]:
    """The predictions of a lesson: id, ask, answer, why."""
    return list(read_toml(ROOT / lesson.sheet).get("predict", []))


def right(answer: Any, wanted: Any) -> bool:
    """Whether an answer is the wanted one; words in any case, 3 and 3.0 alike, but True is no 1."""
    if isinstance(answer, str) and isinstance(wanted, str):
        return answer.strip().casefold() == wanted.strip().casefold()
    if isinstance(answer, list | tuple) and isinstance(wanted, list):
        return len(answer) == len(wanted) and all(map(right, answer, wanted))
    if isinstance(answer, str) and isinstance(wanted, bool):
        return answer.strip().casefold() in (("true", "yes") if wanted else ("false", "no"))
    if isinstance(answer, str) and isinstance(wanted, int | float) and not isinstance(wanted, bool):
        return answer.strip() == str(wanted)  # the page offers quotes, so "6" for 6 is no mistake
    return isinstance(answer, bool) == isinstance(wanted, bool) and bool(answer == wanted)


def answer(space: Workspace, lesson: Lesson, id: str, value: Any) -> tuple[bool, str]:
    """Writes an answer into the answers file; returns (right, why)."""
    question = next((q for q in questions(lesson) if q["id"] == id), None)
    if question is None:
        ids = ", ".join(q["id"] for q in questions(lesson))
        raise CourseError(f"lesson {lesson.id} has no prediction {id!r}. It has: {ids}.")
    path = space.answers(lesson)
    if path.is_file():
        read_toml(path)  # a damaged page is said to be one, and stays as it is
    text = path.read_text("utf-8-sig") if path.is_file() else ""
    line = f"{id} = {_as_toml(value)}"
    text, count = re.subn(rf"^{re.escape(id)} *=.*$", lambda _: line, text, flags=re.MULTILINE)
    write_whole(path, text if count else f"{text}\n{line}\n")
    return right(value, question["answer"]), question["why"]


def _as_toml(value: Any) -> str:
    """An answer as it is written down; raises CourseError for what is no number, word or list of them."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_as_toml, value))}]"
    if not isinstance(value, str | bool | int | float):
        raise CourseError(
            f"an answer is a number, a word or a list of them; got {type(value).__name__} {value!r}"
        )
    if isinstance(value, str):
        value = value.encode("utf-8", "replace").decode()  # a lone surrogate can't be written
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    return json.dumps(value).replace("Infinity", "inf").replace("NaN", "nan")


def predictions(space: Workspace, lesson: Lesson) -> Star:
    """The first star: every prediction answered rightly."""
    path = space.answers(lesson)
    given = read_toml(path) if path.is_file() else {}
    asked = questions(lesson)
    good = [q["id"] for q in asked if right(given.get(q["id"], ""), q["answer"])]
    open_ones = [q["id"] for q in asked if given.get(q["id"], "") == ""]
    wrong = [q["id"] for q in asked if q["id"] not in good and q["id"] not in open_ones]
    says = f"{len(good)} of {len(asked)} predictions are right"
    says += f"; look again at {', '.join(wrong)}" if wrong else ""
    says += f"; not answered: {', '.join(open_ones)}" if open_ones else ""
    return Star("predictions", len(good) == len(asked), f"{says} ({path})")


def own_tests(space: Workspace, lesson: Lesson) -> Star:
    """The second star: the learner's tests pass on the reference and catch most planted bugs."""
    from mini_nanochat.course.prove import mutants

    path = space.own_tests(lesson)
    source = reference(lesson)
    variants = {"": source} | {mutant.name: mutant.apply(source) for mutant in mutants(lesson)}
    outcome = judge(lesson, str(path), variants)
    ran, failed = outcome[""]
    if failed or not ran:
        problem = f"fails: {failed[0]}" if failed else "has no tests in it"
        return Star("own tests", False, f"on the reference, which is right, your file {problem} ({path})")
    caught = [name for name in variants if name and outcome[name][1]]
    missed = [mutant for mutant in mutants(lesson) if mutant.name not in caught]
    wanted = math.ceil(SHARE * (len(variants) - 1))
    says = f"your tests catch {len(caught)} of {len(variants) - 1} planted bugs, {wanted} are wanted ({path})"
    if missed:
        counts = Counter(mutant.exercise for mutant in missed)
        says += f"; missed: {', '.join(f'{count} of {name}' for name, count in counts.items())}"
        says += f"; for instance, {missed[0].exercise}: {missed[0].says}"
    return Star("own tests", len(caught) >= wanted, says)


def museum(space: Workspace, lesson: Lesson) -> Star:
    """The third star: for each real bug a test that fails on it and passes on the mended module."""
    from mini_nanochat.course.prove import mutants

    path = space.museum(lesson)
    source = reference(lesson)
    faulty = {mutant.name: mutant.apply(source) for mutant in mutants(lesson)}
    exhibits = read_toml(ROOT / lesson.sheet).get("museum", [])
    done: list[str] = []
    open_ones: list[str] = []
    for exhibit in exhibits:
        test = f"{path}::test_{exhibit['id']}"
        outcome = judge(lesson, test, {"": source, "faulty": faulty[exhibit["mutant"]]})
        ran, failed = outcome[""]
        if failed:
            open_ones.append(f"{exhibit['id']} (fails on the mended module: {failed[0]})")
        elif not ran:
            open_ones.append(f"{exhibit['id']} (there is no test_{exhibit['id']} yet)")
        elif not outcome["faulty"][1]:
            open_ones.append(f"{exhibit['id']} (passes on the faulty module, too)")
        else:
            done.append(exhibit["id"])
    says = f"{len(done)} of {len(exhibits)} real bugs have a test that shows them"
    says += f"; open: {', '.join(open_ones)}" if open_ones else ""
    return Star("museum", bool(exhibits) and not open_ones, f"{says} ({path})")


def research(space: Workspace, lesson: Lesson) -> Star:
    """The fourth star: given by the learner, who writes the record of a decision of their own."""
    pages = sorted((space.path / "adrs").glob(f"{lesson.key}-*.md"))
    if pages:
        return Star("research", True, f"your own record: {pages[0]} (nobody checks it but you)")
    page = ROOT / f"docs/checkpoints/phase{lesson.phase}-checkpoint.md"
    return Star(
        "research", False, f"yours to give: write adrs/{lesson.key}-TOPIC.md in your workspace ({page})"
    )


def stars(space: Workspace, lesson: Lesson) -> list[Star]:
    """All four, logged as progress."""
    space.need(lesson)
    rows = [one(space, lesson) for one in (predictions, own_tests, museum, research)]
    space.log("stars", lesson, stars=sum(row.earned for row in rows))
    return rows


def judge(lesson: Lesson, tests: str, variants: dict[str, str]) -> dict[str, tuple[int, list[str]]]:
    """Runs tests on each variant of a module, in one process: {name: (tests that ran, those that failed)}."""
    if not tests.partition("::")[0] or not _exists(tests):
        raise CourseError(
            f"{tests.partition('::')[0]} is missing: `mini-nanochat start {lesson.id}` makes it."
        )
    job = json.dumps({"lesson": lesson.id, "tests": tests, "variants": variants})
    command = [sys.executable, "-B", "-m", "mini_nanochat.course.stars"]
    limit = 30 + 10 * len(variants)
    try:
        done = subprocess.run(
            command, input=job, capture_output=True, text=True, encoding="utf-8", cwd=ROOT, timeout=limit
        )
    except subprocess.TimeoutExpired:
        raise CourseError(f"{tests} did not end within {limit} s: is a loop that never ends in it?") from None
    if "Timeout (" in done.stderr:
        raise CourseError(f"{tests} did not end: is a loop that never ends in it?")
    try:
        outcome = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        why = (done.stderr.strip().splitlines() or [f"Python ended (exit code {done.returncode})"])[-1]
        raise CourseError(f"{tests} could not be run: {why}") from None
    return {name: (ran, failed) for name, (ran, failed) in outcome.items()}


def _exists(tests: str) -> bool:
    from pathlib import Path

    return Path(tests.partition("::")[0]).is_file()


def _judge(job: dict[str, Any]) -> dict[str, tuple[int, list[str]]]:
    """The work of `judge`, in the process that it starts."""
    from mini_nanochat.course.prove import run_tests

    lesson = curriculum().find(job["lesson"])
    outcome = {}
    for name, source in job["variants"].items():
        events = run_tests(lesson, source, [job["tests"]], "--own", "-x", "--limit=3")
        results = [event for event in events if event["event"] == "own"]
        outcome[name] = (len(results), [event["headline"] for event in results if not event["passed"]])
    return outcome


if __name__ == "__main__":
    print(json.dumps(_judge(json.load(sys.stdin))))
