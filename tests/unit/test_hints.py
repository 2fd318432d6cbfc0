"""hints: a ladder, one rung a call; and a diagnosis from the checks that fail."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from mini_nanochat.course import hints
from mini_nanochat.course.card import Card, Check, Exercise
from mini_nanochat.course.manifest import ROOT, curriculum
from mini_nanochat.course.progress import events

WRITTEN = [one for one in curriculum().lessons if (ROOT / one.sheet).is_file()]


@pytest.mark.parametrize("lesson", WRITTEN, ids=lambda one: one.id)
def test_every_exercise_has_a_ladder(lesson):
    for name in lesson.todo:
        rungs = hints.ladder(lesson, name)
        assert len(rungs) >= 2 and all(rungs)


def fake(lesson, monkeypatch, kinds, state="graded", headline=""):
    """Lets hint() see a card on which every exercise has one check of each of these kinds."""
    rows = []
    for name in lesson.todo:
        checks = [
            Check(f"t::test_{name}_{i}", "t", 1, kind) for i, kind in enumerate(kinds.get(name, ["passed"]))
        ]
        rows.append(Exercise(name, checks))
    card = Card(lesson, state, "f.py", "1", {"headline": headline}, rows)
    monkeypatch.setattr(hints, "check", lambda space, one: card)


def test_one_rung_a_call_and_the_last_one_again_and_again(space, lesson, monkeypatch):
    name = lesson.todo[1]
    fake(lesson, monkeypatch, {name: ["unwritten"]})
    rungs = hints.ladder(lesson, name)
    for i in [*range(len(rungs)), len(rungs) - 1, len(rungs) - 1]:
        lines = hints.hint(space, lesson)
        assert lines[0] == f"{name}, hint {i + 1} of {len(rungs)}: {rungs[i]}"
        assert any("That is the last hint" in line for line in lines) == (i == len(rungs) - 1)
    assert sum(event["event"] == "hint" for event in events(space)) == len(rungs)


def test_each_exercise_has_its_own_ladder(space, lesson, monkeypatch):
    fake(lesson, monkeypatch, {name: ["unwritten"] for name in lesson.todo})
    hints.hint(space, lesson, lesson.todo[0])
    assert hints.hint(space, lesson, lesson.todo[1])[0].startswith(f"{lesson.todo[1]}, hint 1 of")


def test_what_only_waits_is_said_to_and_not_counted(space, lesson, monkeypatch):
    waiting, other = lesson.todo[:2]
    check = Check("t::test_x", "x", 1, "waiting", {"headline": f"waits for {other}", "name": other})
    card = Card(lesson, "graded", "f.py", "1", None, [Exercise(waiting, [check])])
    monkeypatch.setattr(hints, "check", lambda space, one: card)
    assert hints.hint(space, lesson)[0].startswith(f"{waiting} waits for {other}: write that first.")
    assert not [event for event in events(space) if event["event"] == "hint"]


def test_what_is_done_needs_no_hint(space, lesson, monkeypatch):
    fake(lesson, monkeypatch, {lesson.todo[0]: ["wrong"]})
    assert hints.hint(space, lesson, lesson.todo[1]) == [f"{lesson.todo[1]} is done: no hint is needed."]
    fake(lesson, monkeypatch, {})
    assert "Every check" in hints.hint(space, lesson)[0]
    assert not [event for event in events(space) if event["event"] == "hint"]


def test_a_file_that_can_not_be_read_comes_first(space, lesson, monkeypatch):
    fake(lesson, monkeypatch, {}, "broken", "a syntax error. Line 3")
    assert hints.hint(space, lesson) == ["a syntax error. Line 3"]


def test_a_failure_that_nobody_knows_is_said_to_be_one(space, lesson, monkeypatch):
    fake(lesson, monkeypatch, {lesson.todo[0]: ["wrong", "passed"]})
    assert hints.hint(space, lesson)[0].startswith("Your failing checks fit no mistake that we know.")


# -- the diagnosis --------------------------------------------------------------------------------


def ended(name, tests, failed):
    """An exercise in which the checks `failed` ({check: mark}) failed, and the other `tests` passed."""
    rows = [
        SimpleNamespace(
            test=f"t::{test}", kind="wrong" if test in failed else "passed", mark=failed.get(test, "")
        )
        for test in tests
    ]
    return Exercise(name, rows)


PROVEN = [one for one in WRITTEN if (ROOT / one.fingerprints).is_file()]


@pytest.mark.parametrize("lesson", PROVEN, ids=lambda one: one.id)
def test_every_planted_bug_is_recognized_or_looks_like_another(lesson):
    seen = json.loads((ROOT / lesson.fingerprints).read_text("utf-8"))
    everything = {test for bug in seen.values() for test in bug["fails"]}
    for bug in seen.values():
        alike = [
            b["says"] for b in seen.values() if (b["exercise"], b["fails"]) == (bug["exercise"], bug["fails"])
        ]
        exercise = ended(bug["exercise"], everything, bug["fails"])
        assert hints.diagnose(lesson, exercise)[0] in alike


@pytest.fixture
def known(monkeypatch, tmp_path, lesson):
    """Five bugs that are known by the checks they fail and by what these checks show."""

    def bug(says, fails, exercise="f"):
        return {"exercise": exercise, "says": says, "line": "", "fails": fails}

    seen = {
        "A": bug("A", {"1": "a"}),
        "B": bug("B", {"2": "b", "3": "c"}),
        "C": bug("C", {"1": "x", "2": "b", "3": "c", "4": "d"}),
        "D": bug("D", {"5": ""}),
        "E": bug("E", {"6": "e"}, exercise="g"),
    }
    path = tmp_path / lesson.fingerprints
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(seen))
    monkeypatch.setattr(hints, "ROOT", tmp_path)
    return lesson


@pytest.mark.parametrize(
    "failed, says",
    [
        ({"1": "a"}, ["A"]),
        ({"1": "z"}, []),
        ({"2": "b", "3": "c"}, ["B"]),
        ({"2": "b", "3": "z"}, ["B"]),
        ({"2": "z", "3": "z"}, []),
        ({"1": "a", "2": "b", "3": "c"}, ["B", "A"]),
        ({"1": "x", "2": "b", "3": "c", "4": "d"}, ["C"]),
        ({"4": "d"}, []),
        ({"5": ""}, ["D"]),
        ({"6": "e"}, []),
        ({}, []),
    ],
)
def test_the_likeliest_mistake_or_two_that_add_up(known, failed, says):
    assert hints.diagnose(known, ended("f", "123456", failed)) == says
