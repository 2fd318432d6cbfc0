"""The graders bite: each lesson's proof, and the proof that the proof itself can fail."""

import json
import subprocess
import sys

import pytest

from mini_nanochat.course import prove, stubs
from mini_nanochat.course.manifest import ROOT, curriculum
from mini_nanochat.course.workspace import reference

LESSONS = curriculum().lessons
ids = [lesson.id for lesson in LESSONS]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A proof runs pytest many times over: give it a process of its own."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", timeout=1800)


@pytest.mark.slow
@pytest.mark.parametrize("lesson", LESSONS, ids=ids)
def test_the_graders_of_the_lesson_bite(lesson):
    done = run("-m", "mini_nanochat.course.prove", "--quick", lesson.id)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("lesson", LESSONS, ids=ids)
def test_what_a_learner_sees_first_gives_no_solution_away(lesson):
    source = reference(lesson)
    secrets = set()
    for name in lesson.todo:
        stub = stubs.extract(stubs.stub(source, lesson.id, [name]), name).splitlines()
        body = [line for line in stubs.extract(source, name).splitlines() if line not in stub]
        secrets |= {line.strip() for line in body if len(line.strip()) > 15}
    seen = json.loads((ROOT / lesson.fingerprints).read_text("utf-8"))
    assert seen, "no planted bugs are stored"
    for name, bug in seen.items():
        line = bug["line"]
        assert not any(secret in line for secret in secrets), f"{name} shows our code: {line}"
        concrete = ("expected", "Error", "wanted", "stopped", ";")
        assert any(word in line for word in concrete), f"{name} says too little: {line}"
        assert len(line) < 600, f"{name} says too much: {line}"


FAULTS = {
    "a bug that changes nothing": (
        "planted = prove.mutants(lesson)\n"
        "same = dataclasses.replace(planted[0], name='nothing', replace=planted[0].find)\n"
        "prove.mutants = lambda lesson: [*planted[:1], same]\n"
        "prove._prove_mutants(proof, {}, {})",
        "mutant nothing survives",
    ),
    "a bug whose text is not there": (
        "planted = prove.mutants(lesson)\n"
        "gone = dataclasses.replace(planted[0], name='gone', find='no such text')\n"
        "prove.mutants = lambda lesson: [gone]\n"
        "try: prove._prove_mutants(proof, {}, {})\n"
        "except prove.CourseError as error: print(error)",
        "stands 0 times",
    ),
    "a check that no bug fails": (
        "planted = prove.mutants(lesson)\n"
        "prove.mutants = lambda lesson: planted[:1]\n"
        "prove._prove_mutants(proof, {'test_idle': 'nobody'}, {})",
        "test_idle",
    ),
    "an alternate that is wrong": (
        "bad = prove.mutants(lesson)[0].apply(prove.reference(lesson))\n"
        "path = pathlib.Path(sys.argv[1], 'bad.py'); path.write_text(bad, 'utf-8')\n"
        "prove.alternates = lambda lesson: [path]\n"
        "prove._prove_alternates(proof)",
        "bad.py fails",
    ),
    "a reference that is wrong": (
        "bad = prove.mutants(lesson)[0].apply(prove.reference(lesson))\n"
        "prove.reference = lambda lesson: bad\n"
        "prove._prove_reference(proof)",
        "the reference fails",
    ),
    "a stub that raises something else": (
        "prove.stubs.marker = lambda lesson, name: 'not this one'\nprove._prove_stubs(proof)",
        "all unwritten",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_the_proof_itself_can_fail(fault, tmp_path):
    code, complaint = FAULTS[fault]
    frame = (
        "import dataclasses, pathlib, sys\n"
        "from mini_nanochat.course import prove\n"
        "from mini_nanochat.course.manifest import curriculum\n"
        "lesson = curriculum().lessons[0]\n"
        "proof = prove.Proof(lesson)\n"
        f"{code}\n"
        "print('\\n'.join(proof.complaints))\n"
    )
    done = run("-c", frame, str(tmp_path))
    assert complaint in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]


# -- the quick proof ------------------------------------------------------------------------------

OWNERS = {"t1": "f", "t2": "f", "t3": "g", "t4": "g"}
BUGS = {
    "early": {"exercise": "f", "says": "", "line": "one", "fails": {"t1": "a", "t2": "b", "t3": "c"}},
    "late": {"exercise": "g", "says": "", "line": "two", "fails": {"t2": "d", "t3": "e", "t4": ""}},
}


def test_a_bug_meets_the_check_that_catches_it_first_and_every_check_meets_a_bug():
    assert prove.few(BUGS, OWNERS) == {"early": ["t1", "t2"], "late": ["t3", "t4"]}


@pytest.mark.parametrize(
    "changed, noticed",
    [
        ({}, False),
        ({"fails": {"t1": "a"}}, False),  # the others were not tried
        ({"fails": {"t1": "z"}}, True),
        ({"line": "another"}, True),
        ({"says": "another"}, True),
    ],
)
def test_a_quick_proof_compares_what_it_tried(changed, noticed):
    now = {**BUGS, "early": {**BUGS["early"], **changed}}
    assert bool(prove.changes(BUGS, now, quick=True)) == noticed
    assert bool(prove.changes(BUGS, now, quick=False)) == bool(changed)


def test_a_bug_that_came_or_went_is_noticed_by_a_quick_proof_too():
    one = {"early": BUGS["early"]}
    assert prove.changes(one, BUGS, quick=True) and prove.changes(BUGS, one, quick=True)
