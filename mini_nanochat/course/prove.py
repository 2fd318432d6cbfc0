"""The proof that a lesson's graders bite.

For one lesson: the reference passes (several seeds, shuffled, each test alone); every unwritten function
ends as "not written yet" under its own name; points climb as functions are written; every planted bug is caught by
a check of its own exercise; no check is idle; solutions written differently pass. All variants run in one process,
one pytest session after the other, because 41 lessons must be proven in minutes.

    python -m mini_nanochat.course.prove 0.2            prints the proof
    python -m mini_nanochat.course.prove 0.2 --write    and stores what each planted bug looks like to a learner
    python -m mini_nanochat.course.prove 0.2 --quick    tries each bug on a few checks only, as `make test` does: on the
                                                        one that catches it first, and on those no other bug would fail
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import io
import json
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mini_nanochat import overlay
from mini_nanochat.course import stubs
from mini_nanochat.course.card import Card, Check, cards, first_line
from mini_nanochat.course.errors import CourseError
from mini_nanochat.course.grader import name_of
from mini_nanochat.course.manifest import ROOT, Lesson, curriculum, read_toml
from mini_nanochat.course.workspace import reference

MUTANT_LIMIT = 5.0  # seconds a check may take on a planted bug


@dataclass(frozen=True)
class Mutant:
    """A planted bug: the reference with one small, realistic, wrong edit."""

    name: str
    exercise: str
    says: str  # the misconception in words, shown as "looks like: ..."
    find: str
    replace: str
    origin: str = ""  # where the bug really shipped, if it did

    def apply(self, source: str) -> str:
        """The faulty source. Raises CourseError unless `find` stands in it exactly once."""
        count = source.count(self.find)
        if count != 1:
            raise CourseError(
                f"mutant {self.name}: its text stands {count} times in the reference, wanted once"
            )
        return source.replace(self.find, self.replace)


def mutants(lesson: Lesson) -> list[Mutant]:
    """The planted bugs of a lesson."""
    return [Mutant(**row) for row in read_toml(ROOT / lesson.mutants)["mutant"]]


def alternates(lesson: Lesson) -> list[Path]:
    """Correct solutions, written differently."""
    return sorted(ROOT.glob(lesson.alternates))


def grade(lesson: Lesson, source: str, names: Collection[str] = (), *options: str) -> Card:
    """Grades `source` as the lesson's module, in this process, and returns the card; `names`: by these checks only."""
    tests = [f"{ROOT / lesson.tests}::{name}" for name in names] or [str(ROOT / lesson.tests)]
    events = run_tests(lesson, source, tests, *options)
    return next(card for card in cards(events, None) if card.lesson.id == lesson.id)


def run_tests(lesson: Lesson, source: str, tests: Sequence[str], *options: str) -> list[dict[str, Any]]:
    """Runs `tests` with `source` in the place of the lesson's module; returns the grader's events."""
    import pytest

    with tempfile.TemporaryDirectory() as folder:
        module = Path(folder, lesson.module)
        module.parent.mkdir(parents=True)
        module.write_text(source, "utf-8")
        path = Path(folder, "events.jsonl")
        arguments = [*tests, f"--overlay={folder}", f"--events={path}", f"--rootdir={ROOT}", *options]
        arguments += [f"--config-file={ROOT / 'pyproject.toml'}", "-q", "-p", "no:cacheprovider"]
        arguments += ["-p", "no:unraisableexception"]  # it collects garbage five times a session
        _forget_tests()
        output = io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            pytest.main(arguments)
        overlay.remove()
        if not path.exists():
            raise CourseError(f"nothing was graded:\n{output.getvalue()[-3000:]}")
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def _forget_tests() -> None:
    """Test modules hold on to the code they imported: each session must import them anew."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and Path(file).name.startswith("test_"):
            del sys.modules[name]


@dataclass
class Proof:
    """What was found: complaints (none, if the graders bite) and each mutant's looks."""

    lesson: Lesson
    complaints: list[str] = field(default_factory=list)
    seen: dict[str, dict[str, Any]] = field(default_factory=dict)
    checks: int = 0
    points: int = 0

    def demand(self, truth: object, complaint: str) -> None:
        if not truth:
            self.complaints.append(f"{self.lesson.id}: {complaint}")


def prove(lesson: Lesson, quick: bool = False) -> Proof:
    """The proof of one lesson. A quick one leaves out what costs most and finds least."""
    proof = Proof(lesson)
    owners = _prove_reference(proof, quick)
    _prove_stubs(proof)
    _prove_mutants(proof, owners, few(stored(lesson), owners) if quick else {})
    _prove_alternates(proof)
    return proof


def _failures(card: Card) -> list[Check]:
    return [check for exercise in card.exercises for check in exercise.failed]


def _all_pass(proof: Proof, card: Card, what: str) -> None:
    if card.state != "graded":
        proof.demand(False, f"{what}: {card.finding}")
    for check in _failures(card):
        proof.demand(False, f"{what} fails: {check.kind}: {first_line(check)} {check.finding}")


def _prove_reference(proof: Proof, quick: bool = False) -> dict[str, str]:
    """The reference passes: in order, shuffled with other seeds, and each test alone. Returns test -> exercise."""
    lesson, source = proof.lesson, reference(proof.lesson)
    card = grade(lesson, source)
    _all_pass(proof, card, "the reference")
    proof.points = card.of
    owners = {name_of(check.test): exercise.name for exercise in card.exercises for check in exercise.checks}
    idle = set(lesson.todo) - set(owners.values())
    proof.demand(not idle, f"exercises without checks: {idle}")
    proof.checks = len(owners)
    for seed in (1,) if quick else (1, 2, 3):
        shuffled = grade(lesson, source, (), f"--shuffle={seed}", f"--hypothesis-seed={seed}")
        _all_pass(proof, shuffled, f"the reference, seed {seed},")
    for name in () if quick else owners:
        alone = grade(lesson, source, [name])
        proof.demand(alone.of > 0, f"{name} is not found alone")
        _all_pass(proof, alone, "the reference, alone,")
    return owners


def _prove_stubs(proof: Proof) -> None:
    """With everything unwritten each check says so under its own name; so it does with one function unwritten.

    And whoever writes one function after the other earns something each time.
    """
    lesson, source = proof.lesson, reference(proof.lesson)
    card = grade(lesson, stubs.stub(source, lesson.id, lesson.todo))
    for exercise in card.exercises:
        for check in exercise.checks:
            fine = check.kind == "unwritten"
            proof.demand(
                fine, f"all unwritten: {name_of(check.test)} of {exercise.name}: {check.kind} {check.finding}"
            )
    for name in lesson.todo:
        card = grade(lesson, stubs.stub(source, lesson.id, [name]))
        for exercise in card.exercises:
            allowed = {"unwritten"} if exercise.name == name else {"passed", "waiting"}
            for check in exercise.checks:
                proof.demand(
                    check.kind in allowed,
                    f"{name} unwritten: {name_of(check.test)} of {exercise.name}: {check.kind} {check.finding}",
                )

    points = [0]
    for i in range(1, len(lesson.todo)):
        points.append(grade(lesson, stubs.stub(source, lesson.id, lesson.todo[i:])).points)
    points.append(proof.points)
    climb = all(before < after for before, after in zip(points, points[1:]))
    proof.demand(climb, f"each function must earn something, one after the other: {points}")


def stored(lesson: Lesson) -> dict[str, dict[str, Any]]:
    """What each planted bug looked like when the proof was last stored."""
    path = ROOT / lesson.fingerprints
    return dict(json.loads(path.read_text("utf-8"))) if path.is_file() else {}


def few(seen: Mapping[str, dict[str, Any]], owners: Mapping[str, str]) -> dict[str, list[str]]:
    """Bug -> the checks to try it on: its exercise's first that fails, and those that no other bug is tried on."""
    chosen: dict[str, list[str]] = {}
    for name, bug in seen.items():
        chosen[name] = [test for test in bug["fails"] if owners.get(test) == bug["exercise"]][:1]
    left = set(owners) - {test for tests in chosen.values() for test in tests}
    for name, bug in seen.items():
        more = [test for test in bug["fails"] if test in left]
        chosen[name] += more
        left -= set(more)
    return chosen


def _prove_mutants(proof: Proof, owners: Mapping[str, str], tried: Mapping[str, Collection[str]]) -> None:
    """Each bug is caught, by the checks that `tried` names for it, or by all."""
    lesson, source = proof.lesson, reference(proof.lesson)
    planted = mutants(lesson)
    proof.demand(len(planted) >= 6, f"{len(planted)} mutants, wanted 6 at least")
    for name in lesson.todo:
        count = sum(mutant.exercise == name for mutant in planted)
        proof.demand(count >= 2, f"{count} mutants of {name}, wanted 2 at least")
    idle = set(owners)
    for mutant in planted:
        card = grade(lesson, mutant.apply(source), tried.get(mutant.name, ()), f"--limit={MUTANT_LIMIT}")
        failed = _failures(card)
        own = [
            check
            for exercise in card.exercises
            if exercise.name == mutant.exercise
            for check in exercise.failed
        ]
        proof.demand(card.state == "graded", f"mutant {mutant.name} can't be imported: {card.finding}")
        proof.demand(own, f"mutant {mutant.name} survives the checks of {mutant.exercise}")
        idle -= {name_of(check.test) for check in failed}
        fails = {name_of(check.test): check.mark for check in failed}
        line = first_line(own[0]) if own else ""
        proof.seen[mutant.name] = {
            "exercise": mutant.exercise,
            "says": mutant.says,
            "line": line,
            "fails": fails,
        }
    proof.demand(not idle, f"checks that no planted bug fails: {sorted(idle)}")


def _prove_alternates(proof: Proof) -> None:
    paths = alternates(proof.lesson)
    proof.demand(paths, f"no solution written differently ({proof.lesson.alternates})")
    for path in paths:
        _all_pass(proof, grade(proof.lesson, path.read_text("utf-8")), path.name)


def as_json(proof: Proof) -> str:
    """The mutants' looks as they are stored and reviewed."""
    return json.dumps(proof.seen, indent=1, ensure_ascii=False) + "\n"


def changes(
    before: Mapping[str, dict[str, Any]], now: Mapping[str, dict[str, Any]], quick: bool
) -> list[str]:
    """The lines in which the stored looks and those of now differ. A quick proof knows only the checks it tried."""
    if quick:
        before = {name: {**bug, **_tried(bug, now.get(name))} for name, bug in before.items()}
    then, today = (json.dumps(one, indent=1, ensure_ascii=False).splitlines() for one in (before, now))
    return list(difflib.unified_diff(then, today, "stored", "now", lineterm="", n=1))


def _tried(bug: Mapping[str, Any], now: Mapping[str, Any] | None) -> dict[str, Any]:
    return {"fails": {test: mark for test, mark in bug["fails"].items() if now and test in now["fails"]}}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="mini-nanochat prove", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("lessons", nargs="*", metavar="LESSON", help="such as 0.2; all, if none is named")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--write", action="store_true", help="store what each planted bug looks like")
    how.add_argument("--quick", action="store_true", help="try each planted bug on a few checks only")
    options = parser.parse_args(arguments)
    lessons = [curriculum().find(id) for id in options.lessons] or list(curriculum().lessons)
    complaints = []
    for lesson in lessons:
        proof = prove(lesson, options.quick)
        complaints += proof.complaints
        print(
            f"{lesson.id} {lesson.slug}: {proof.checks} checks, {proof.points} points, {len(proof.seen)} mutants"
        )
        if options.write:
            (ROOT / lesson.fingerprints).write_text(as_json(proof), "utf-8")
        elif found := changes(stored(lesson), proof.seen, options.quick):
            complaints.append(f"{lesson.id}: what a learner sees has changed: review it with prove --write")
            complaints += found
    for complaint in complaints:
        print(f"  {complaint}")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
