"""The proof that a lesson's graders bite.

For one lesson: the reference passes (several seeds, shuffled, each test alone); every unwritten function
ends as "not written yet" under its own name; every planted bug is caught by a check of its own exercise;
no check is idle; solutions written differently pass. All variants run in one process, one pytest session
after the other, because 41 lessons must be proven in minutes.

    python -m mini_nanochat.course.prove 0.2            prints the proof
    python -m mini_nanochat.course.prove 0.2 --write    and stores what each planted bug looks like to a learner
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import io
import json
import sys
import tempfile
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


def grade(lesson: Lesson, source: str, tests: Path | None = None, *options: str) -> Card:
    """Grades `source` as the lesson's module, in this process, and returns the card."""
    events = run_tests(lesson, source, tests or ROOT / lesson.tests, *options)
    return next(card for card in cards(events, None) if card.lesson.id == lesson.id)


def run_tests(lesson: Lesson, source: str, tests: Path | str, *options: str) -> list[dict[str, Any]]:
    """Runs `tests` with `source` in the place of the lesson's module; returns the grader's events."""
    import pytest

    with tempfile.TemporaryDirectory() as folder:
        module = Path(folder, lesson.module)
        module.parent.mkdir(parents=True)
        module.write_text(source, "utf-8")
        path = Path(folder, "events.jsonl")
        arguments = [str(tests), f"--overlay={folder}", f"--events={path}", f"--rootdir={ROOT}", *options]
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


def prove(lesson: Lesson) -> Proof:
    """The whole proof of one lesson."""
    proof = Proof(lesson)
    names = _prove_reference(proof)
    _prove_stubs(proof)
    _prove_mutants(proof, names)
    _prove_alternates(proof)
    return proof


def _failures(card: Card) -> list[Check]:
    return [check for exercise in card.exercises for check in exercise.failed]


def _all_pass(proof: Proof, card: Card, what: str) -> None:
    if card.state != "graded":
        proof.demand(False, f"{what}: {card.finding}")
    for check in _failures(card):
        proof.demand(False, f"{what} fails: {check.kind}: {first_line(check)} {check.finding}")


def _prove_reference(proof: Proof) -> set[str]:
    """The reference passes: in order, shuffled with other seeds, and each test alone."""
    lesson, source = proof.lesson, reference(proof.lesson)
    card = grade(lesson, source)
    _all_pass(proof, card, "the reference")
    proof.points = card.of
    owners = {exercise.name for exercise in card.exercises}
    proof.demand(owners == set(lesson.todo), f"exercises without checks: {set(lesson.todo) - owners}")
    for seed in (1, 2, 3):
        shuffled = grade(lesson, source, None, f"--shuffle={seed}", f"--hypothesis-seed={seed}")
        _all_pass(proof, shuffled, f"the reference, seed {seed},")
    tests = [check.test for exercise in card.exercises for check in exercise.checks]
    proof.checks = len(tests)
    for test in tests:
        alone = grade(lesson, source, Path(f"{ROOT / lesson.tests}::{name_of(test)}"))
        proof.demand(alone.of > 0, f"{test} is not found alone")
        _all_pass(proof, alone, "the reference, alone,")
    return {name_of(test) for test in tests}


def _prove_stubs(proof: Proof) -> None:
    """With everything unwritten each check says so under its own name; so it does with one function unwritten."""
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


def _prove_mutants(proof: Proof, names: set[str]) -> None:
    lesson, source = proof.lesson, reference(proof.lesson)
    planted = mutants(lesson)
    proof.demand(len(planted) >= 6, f"{len(planted)} mutants, wanted 6 at least")
    for name in lesson.todo:
        count = sum(mutant.exercise == name for mutant in planted)
        proof.demand(count >= 2, f"{count} mutants of {name}, wanted 2 at least")
    idle = set(names)
    for mutant in planted:
        card = grade(lesson, mutant.apply(source), None, f"--limit={MUTANT_LIMIT}")
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


def changes(stored: Path, now: str) -> list[str]:
    """The lines in which the stored looks and those of now differ."""
    before = stored.read_text("utf-8").splitlines() if stored.is_file() else []
    return list(difflib.unified_diff(before, now.splitlines(), "stored", "now", lineterm="", n=1))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="mini-nanochat prove", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("lessons", nargs="*", metavar="LESSON", help="such as 0.2; all, if none is named")
    parser.add_argument("--write", action="store_true", help="store what each planted bug looks like")
    options = parser.parse_args(arguments)
    lessons = [curriculum().find(id) for id in options.lessons] or list(curriculum().lessons)
    complaints = []
    for lesson in lessons:
        proof = prove(lesson)
        complaints += proof.complaints
        print(
            f"{lesson.id} {lesson.slug}: {proof.checks} checks, {proof.points} points, {len(proof.seen)} mutants"
        )
        stored = ROOT / lesson.fingerprints
        if not options.write and (not stored.is_file() or stored.read_text("utf-8") != as_json(proof)):
            complaints.append(f"{lesson.id}: what a learner sees has changed: review it with prove --write")
            complaints += changes(stored, as_json(proof))
        if options.write:
            (ROOT / lesson.fingerprints).write_text(as_json(proof), "utf-8")
    for complaint in complaints:
        print(f"  {complaint}")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
