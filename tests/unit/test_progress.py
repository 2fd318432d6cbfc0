"""progress: lines are only ever added, half a line hurts nobody, and done means done."""

from __future__ import annotations

import json

import pytest

from mini_nanochat.course import progress
from mini_nanochat.course.manifest import curriculum
from mini_nanochat.course.workspace import reference


@pytest.fixture
def file(space):
    return space.path / ".course" / "progress.jsonl"


def standing(space):
    return progress.standings(space)[0]


def graded(space, lesson, points, of, **facts):
    space.log("check", lesson, points=points, of=of, failed=[], **facts)


def test_lines_are_only_added(space, lesson, file):
    before = file.read_text("utf-8")
    graded(space, lesson, 3, 9)
    after = file.read_text("utf-8")
    assert after.startswith(before) and after.count("\n") == before.count("\n") + 1
    row = json.loads(after.splitlines()[-1])
    assert (row["event"], row["lesson"], row["points"]) == ("check", lesson.id, 3)
    assert {"time", "course", "grader", "code"} <= row.keys()


def test_half_a_line_costs_that_line_alone(space, lesson, file):
    graded(space, lesson, 3, 9)
    with file.open("ab") as out:
        out.write(b'{"event": "check", "less')
    graded(space, lesson, 5, 9)
    assert (standing(space).points, standing(space).of) == (5, 9)


@pytest.mark.parametrize(
    "line", [b"5", b"[]", b"null", b"{}", b"\xff\x00", b'{"event": "check", "lesson": "0.1"}']
)
def test_lines_of_rubbish_are_passed_over(space, lesson, file, line):
    graded(space, lesson, 3, 9)
    file.write_bytes(line + b"\n" + file.read_bytes() + line + b"\n")
    assert standing(space).points == 3


def test_no_progress_file_is_no_progress(space, file):
    file.unlink()
    assert progress.events(space) == [] and standing(space).status == "started"


def test_done_means_all_points_on_this_code_by_these_checks(space, lesson, monkeypatch):
    assert (standing(space).status, standing(space).changed) == ("started", False)
    graded(space, lesson, 8, 9)
    assert standing(space).status == "started"
    graded(space, lesson, 9, 9)
    assert (standing(space).status, standing(space).changed) == ("done", False)
    space.file(lesson).write_text("# another\n")
    assert (standing(space).status, standing(space).changed) == ("started", True)


def test_a_changed_grader_shows(space, lesson, file):
    graded(space, lesson, 9, 9)
    rows = [json.loads(line) | {"grader": "000000000000"} for line in file.read_text("utf-8").splitlines()]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert (standing(space).status, standing(space).changed) == ("started", True)


def test_a_file_that_could_not_be_read_is_not_done(space, lesson):
    graded(space, lesson, 0, 0)
    assert standing(space).status == "started"


def test_a_check_of_one_exercise_is_not_the_standing(space, lesson):
    graded(space, lesson, 3, 9)
    graded(space, lesson, 9, 9, only=lesson.todo[0])
    assert (standing(space).points, standing(space).status) == (3, "started")


def test_hints_stars_and_solutions_are_counted(space, lesson):
    for event, facts in (
        ("hint", {"exercise": lesson.todo[0], "rung": 1}),
        ("hint", {"exercise": lesson.todo[0], "rung": 2}),
        ("reveal", {"exercise": lesson.todo[0]}),
        ("stars", {"stars": 3}),
        ("stars", {"stars": 2}),
    ):
        space.log(event, lesson, **facts)
    row = standing(space)
    assert (row.hints, row.stars, row.revealed) == (2, 3, [lesson.todo[0]])


def test_what_was_set_aside_is_borrowed_again(space, lesson):
    graded(space, lesson, 9, 9)
    space.step_aside(lesson)
    assert standing(space).status == "borrowed"


def test_the_share_of_the_house(space, lesson):
    rows = progress.standings(space)
    total = sum(progress.code_lines(reference(one)) for one in curriculum().lessons)
    assert progress.share(rows) == (0, total)
    graded(space, lesson, 9, 9)
    assert progress.share(progress.standings(space)) == (progress.code_lines(reference(lesson)), total)


def test_code_lines_are_neither_blank_nor_comment_nor_docstring():
    text = '"""Doc\n\nmore."""\n\nx = 1  # one\n# no\n\n\ndef f():\n    "doc"\n    return """a\n\n    b"""\n'
    assert progress.code_lines(text) == 4
