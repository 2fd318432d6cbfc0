"""grader and plugin: nothing that a learner writes can hang, end or fool the grading."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mini_nanochat.course import grader, stubs
from mini_nanochat.course.errors import CourseError
from mini_nanochat.course.manifest import ROOT, curriculum
from mini_nanochat.course.progress import events, standings
from mini_nanochat.course.workspace import reference

FIRST, SECOND, THIRD, FOURTH = curriculum().lessons[0].todo[:4]
HEAD = "import pytest\nfrom mini_nanochat.tokenizer import text\n"
GOOD = f"""{HEAD}
@pytest.mark.exercise("{FIRST}")
def test_good():
    assert text.good() == 1
"""


def checks(*bodies):
    """A test file: for each exercise a check that calls text.<body>, between two that do not."""
    out = [HEAD]
    for name, body in zip((FIRST, SECOND, THIRD, FOURTH), bodies):
        mark = f'@pytest.mark.exercise("{name}")\n'
        out += [f"{mark}def test_fine_{body}():\n    assert text.good() == 1\n"]
        out += [f"{mark}def test_{body}():\n    text.{body}()\n"]
        out += [f"{mark}def test_after_{body}():\n    assert text.good() == 1\n"]
    return "\n".join(out)


def found(card):
    """{check: (kind, headline)}"""
    return {
        check.test.partition("::test_")[2]: (check.kind, check.finding.get("headline", ""))
        for exercise in card.exercises
        for check in exercise.checks
    }


def test_loops_of_python_are_stopped_from_within(grade_tiny):
    module = """
        def good(): return 1

        def loop():
            while True:
                pass

        def stubborn():
            while True:
                try:
                    good()
                except Exception:
                    pass

        def loud():
            while True:
                print("x" * 10_000)
    """
    card = grade_tiny(module, checks("loop", "stubborn", "loud", "good"), limit=0.4)
    ends = found(card)
    for name in ("loop", "stubborn", "loud"):
        assert ends[f"fine_{name}"][0] == "passed"
        assert ends[name] == (
            "slow",
            "this check ran for more than 0.4 s and was stopped. Is there a loop that never ends?",
        )
        assert ends[f"after_{name}"][1].startswith("not run: another check of")
    assert {ends[name][0] for name in ("fine_good", "good", "after_good")} == {"passed"}


def test_a_machine_that_is_busy_uses_up_no_limit(grade_tiny):
    card = grade_tiny("import time\n\ndef good():\n    time.sleep(0.8)\n    return 1\n", GOOD, limit=0.4)
    assert found(card)["good"] == ("passed", "")


@pytest.mark.slow
def test_what_no_exception_can_reach_ends_with_its_process(grade_tiny):
    module = """
        import os, re, time

        def good(): return 1

        def sleep(): time.sleep(1000)

        def backtrack(): re.match("(a+)+$", "a" * 60 + "b")

        def leave(): os._exit(0)
    """
    card = grade_tiny(module, checks("sleep", "backtrack", "leave", "good"), limit=0.4)
    ends = found(card)
    for name in ("sleep", "backtrack"):
        assert ends[name] == (
            "slow",
            "this check ran for more than 0.4 s and was stopped. Is there a loop that never ends?",
        )
        assert ends[f"after_{name}"][1].startswith("not run, because of what happened in another check of")
    assert ends["leave"] == ("slow", "Python itself ended during this check (exit code 0).")
    assert {ends[name][0] for name in ("fine_good", "good", "after_good")} == {"passed"}
    assert card.of == 12


@pytest.mark.parametrize("line", ["os._exit(0)", pytest.param("time.sleep(1000)", marks=pytest.mark.slow)])
def test_a_file_that_ends_python_when_it_is_imported_is_broken(grade_tiny, line):
    card = grade_tiny(f"import os, time\n{line}\n", GOOD, limit=0.3)
    assert card.state == "broken" and "importing the file ended Python" in card.finding["headline"]


def test_a_file_that_never_ends_is_stopped(grade_tiny):
    card = grade_tiny("while True: pass\n", GOOD, limit=0.3)
    assert card.state == "broken" and "importing the file ran for more than 0.3 s" in card.finding["headline"]


def test_no_trick_with_the_process_disturbs_the_grading(grade_tiny):
    module = """
        import os, sys, tempfile

        def lose_the_place():
            folder = tempfile.mkdtemp()
            os.chdir(folder)
            os.rmdir(folder)
            sys.path.clear()

        lose_the_place()
        print("x" * 10_000_000)
        sys.stdout = sys.stderr = None

        def good():
            lose_the_place()
            return 1
    """
    assert found(grade_tiny(module, checks("good", "good"))) == {
        f"{when}good": ("passed", "") for when in ("", "fine_", "after_")
    }


def test_the_graded_code_must_be_the_learners(grade_tiny, lesson):
    module = f"""
        import importlib.util
        spec = importlib.util.spec_from_file_location("ours", {str(ROOT / lesson.module)!r})
        ours = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(ours)
        globals().update({{k: v for k, v in vars(ours).items() if not k.startswith("__")}})

        def good(): return 1
    """
    kind, headline = found(grade_tiny(module, GOOD))["good"]
    assert kind == "wrong" and f"comes from {ROOT / lesson.module}, not from" in headline


def test_functions_need_not_be_plain_functions(grade_tiny):
    module = f"""
        import functools

        def good(): return 1

        def decorate(function):
            return lambda *arguments: function(*arguments)

        class {FIRST.split(".")[0]}:
            @staticmethod
            def {FIRST.split(".")[-1]}(): pass
            encode = functools.partial(good)

        split_on_specials = len
        split_pattern = decorate(good)
    """
    assert found(grade_tiny(module, GOOD))["good"] == ("passed", "")


# -- a real lesson --------------------------------------------------------------------------------


def test_one_exercise_of_a_half_written_file(space, lesson):
    name = lesson.todo[1]
    space.write(lesson, stubs.stub(reference(lesson), lesson.id, [n for n in lesson.todo if n != name]))
    card = grader.check(space, lesson, only=name)
    assert [exercise.name for exercise in card.exercises] == [name]
    last = events(space)[-1]
    assert (last["event"], last["only"]) == ("check", name)
    assert standings(space)[0].points == 0, "a check of one exercise is not the standing"


def test_what_can_not_be_graded_is_refused(space, lesson, monkeypatch):
    with pytest.raises(CourseError, match="has no exercise 'nothing'"):
        grader.check(space, lesson, only="nothing")
    monkeypatch.setattr(grader, "run_grader", lambda *_: [])
    with pytest.raises(CourseError, match="could not be run: `mini-nanochat doctor`"):
        grader.check(space, lesson)
    space.file(lesson).unlink()
    with pytest.raises(CourseError, match=f"is not started: run `mini-nanochat start {lesson.id}`"):
        grader.check(space, lesson)


def test_a_grader_that_can_not_start_says_why(elsewhere, lesson):
    with pytest.raises(CourseError, match=r"could not start:\n.*nowhere.* does not exist"):
        grader.run_grader(ROOT / lesson.tests, ["--mine", "--workspace", str(elsewhere / "nowhere")])


TOGETHER = """
import pytest
from mini_nanochat.tokenizer import text

def test_what_needs_no_lesson():
    pass

def test_what_fails():
    assert 1 + 1 == 3, "one and one"

def test_what_calls_a_stub():
    text.split_pattern()

def test_what_needs_something_else():
    pytest.skip("no cargo here")
"""


def test_the_pieces_together_are_reported_beside_the_cards(space, tmp_path):
    file = tmp_path / "test_together.py"
    file.write_text(TOGETHER, "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", str(file), "--mine", "--workspace", str(space.path)]
    command += [f"--config-file={ROOT / 'pyproject.toml'}", f"--rootdir={ROOT}"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    said = " ".join(done.stdout.split())
    assert "done what needs no lesson" in said
    assert "failing what fails: one and one" in said
    assert "waiting what calls a stub: split_pattern is not written yet" in said
    assert "left out what needs something else: no cargo here" in said
