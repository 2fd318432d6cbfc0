"""stars: predictions judged kindly, tests of one's own judged by the bugs they catch."""

from __future__ import annotations

import pytest

from mini_nanochat.course import prove, stars
from mini_nanochat.course.errors import CourseError
from mini_nanochat.course.manifest import ROOT, curriculum, read_toml
from mini_nanochat.course.progress import standings

WRITTEN = [one for one in curriculum().lessons if (ROOT / one.sheet).is_file()]
PLANTED = prove.mutants(curriculum().lessons[0])


# -- predictions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer, wanted, good",
    [
        (6, 6, True),
        (6.0, 6, True),
        ("6", 6, True),
        (" 2.5 ", 2.5, True),
        ("six", 6, False),
        (7, 6, False),
        (True, 1, False),
        (1, True, False),
        ("yes", True, True),
        (True, True, True),
        ("yes ", "Yes", True),
        ("STRASSE", "straße", True),
        ("no", "yes", False),
        (6, "6", False),
        ([1, 2], [1, 2], True),
        ((1, 2), [1, 2], True),
        ([1], [1, 2], False),
        ([2, 1], [1, 2], False),
        (["A", [1.0]], ["a", [1]], True),
        ([True], [1], False),
        (12, [1, 2], False),
        ({}, [], False),
        ("", 0, False),
        (None, 0, False),
    ],
)
def test_right_and_wrong_answers(answer, wanted, good):
    assert stars.right(answer, wanted) is good


@pytest.mark.parametrize("lesson", WRITTEN, ids=lambda one: one.id)
def test_every_question_can_be_answered(lesson):
    rows = stars.questions(lesson)
    assert len({row["id"] for row in rows}) == len(rows) > 0
    for row in rows:
        assert stars.right(row["answer"], row["answer"]) and not stars.right("", row["answer"])


def test_all_right_answers_are_a_star(space, lesson):
    for row in stars.questions(lesson):
        good, why = stars.answer(space, lesson, row["id"], row["answer"])
        assert good and why == row["why"]
    star = stars.predictions(space, lesson)
    assert star.earned and str(space.answers(lesson)) in star.says


def test_open_and_wrong_answers_are_named(space, lesson):
    first, second, *others = (row["id"] for row in stars.questions(lesson))
    assert not stars.answer(space, lesson, first, -1)[0]
    star = stars.predictions(space, lesson)
    assert (
        not star.earned and f"look again at {first}; not answered: {second}, {', '.join(others)}" in star.says
    )
    space.answers(lesson).unlink()
    assert "not answered" in stars.predictions(space, lesson).says


@pytest.mark.parametrize(
    "value", [3, -0.5, 1e300, float("inf"), True, [1, ["a"]], 'ü "quoted" \\ \n \x7f \x00', "é" * 9, ""]
)
def test_any_answer_can_be_written_and_read_again(space, lesson, value):
    name = stars.questions(lesson)[0]["id"]
    for _ in range(2):
        stars.answer(space, lesson, name, value)
    given = read_toml(space.answers(lesson))
    assert given[name] == value and len(given) == len(stars.questions(lesson))


@pytest.mark.parametrize("value", [None, {1: 2}, b"x", 1j, [None], object])
def test_an_answer_that_is_none_is_refused_and_nothing_written(space, lesson, value):
    before = space.answers(lesson).read_bytes()
    with pytest.raises(CourseError, match="an answer is a number, a word or a list of them; got"):
        stars.answer(space, lesson, stars.questions(lesson)[0]["id"], value)
    assert space.answers(lesson).read_bytes() == before


def test_half_a_character_becomes_a_question_mark(space, lesson):
    name = stars.questions(lesson)[0]["id"]
    stars.answer(space, lesson, name, "a\ud800")
    assert read_toml(space.answers(lesson))[name] == "a?"


@pytest.mark.parametrize("text", [b"p1 = [", b"p1 = six", b"p1 = 1\np1 = 2", b"\xff"])
def test_a_damaged_page_of_answers_is_said_to_be_one_and_kept(space, lesson, text):
    space.answers(lesson).write_bytes(text)
    for act in (stars.predictions, lambda *both: stars.answer(*both, "p1", 3)):
        with pytest.raises(CourseError, match=r"0_1.toml is not readable as TOML: "):
            act(space, lesson)
    assert space.answers(lesson).read_bytes() == text


def test_a_page_from_another_editor(space, lesson):
    space.answers(lesson).write_bytes(b'\xef\xbb\xbfp1 = "6"\r\n# my own thought\r\n')
    stars.answer(space, lesson, "p2", 18)
    assert read_toml(space.answers(lesson)) == {"p1": "6", "p2": 18}
    assert b"# my own thought" in space.answers(lesson).read_bytes()


def test_a_question_that_does_not_exist(space, lesson):
    with pytest.raises(CourseError, match=r"has no prediction 'p99'. It has: p1"):
        stars.answer(space, lesson, "p99", 1)


# -- tests of one's own ---------------------------------------------------------------------------

IMPORT = (
    "from mini_nanochat.tokenizer.text import *\nfrom mini_nanochat.tokenizer.text import ByteTokenizer\n"
)
BUGS = {
    "each_id_decoded_alone": "assert ByteTokenizer().decode([0xC3, 0xA9]) == '\\xe9'",
    "contractions_lower_case_only": "assert split(\"I'MA\") == ['I', \"'M\", 'A']",
}
STRONG = IMPORT + "".join(f"def test_{name}():\n    {check}\n" for name, check in BUGS.items())
WEAK = IMPORT + "def test_it():\n    assert split('a b') == ['a', ' b']\n"


@pytest.fixture
def few(monkeypatch):
    """Two planted bugs, and one that can't even be imported, in the place of them all."""
    rows = [mutant for mutant in PLANTED if mutant.name in BUGS]
    rows.append(prove.Mutant("broken", "f", "", "import regex\n", "import rege\n"))
    monkeypatch.setattr(prove, "mutants", lambda _: rows)


def judged(space, lesson, text):
    space.own_tests(lesson).write_text(text, "utf-8")
    return stars.own_tests(space, lesson)


def test_strong_tests_shine(space, lesson, few):
    star = judged(space, lesson, STRONG)
    assert star.earned and "catch 3 of 3 planted bugs" in star.says


@pytest.mark.slow
def test_weak_tests_do_not(space, lesson, few):
    star = judged(space, lesson, WEAK)
    assert not star.earned and "catch 1 of 3 planted bugs" in star.says


@pytest.mark.parametrize(
    "text, says",
    [
        ("def test_wrong():\n    assert 1 == 2\n", "assert 1 == 2"),
        ("def test_wrong():\n    got = [1]\n    assert got == [2], 'because'\n", "because assert [1] == [2]"),
        ("def test_x(:\n", "your file fails: SyntaxError: "),
        ("x = 1\n", "your file has no tests in it"),
        ("def test_loop():\n    while True: pass\n", "your file fails: loop: "),
    ],
)
@pytest.mark.slow
def test_tests_that_fail_on_the_reference_are_refused(space, lesson, monkeypatch, text, says):
    monkeypatch.setattr(prove, "mutants", lambda _: [])
    star = judged(space, lesson, text)
    assert not star.earned and says in star.says and "\n" not in star.says


def test_tests_in_another_encoding_are_judged_too(space, lesson, few):
    text = STRONG + "# \xe9\n"
    space.own_tests(lesson).write_bytes(b"# -*- coding: latin-1 -*-\n" + text.encode("latin-1"))
    assert "catch 3 of 3 planted bugs" in stars.own_tests(space, lesson).says


def test_tests_that_end_python_are_said_to_do_so(space, lesson, monkeypatch):
    monkeypatch.setattr(prove, "mutants", lambda _: [])
    with pytest.raises(CourseError, match=r"test_0_1.py could not be run: Python ended \(exit code 7\)"):
        judged(space, lesson, "import os, sys\nsys.stdout = None\nos._exit(7)\n")


def test_a_page_that_is_missing_is_named(space, lesson):
    space.own_tests(lesson).unlink()
    with pytest.raises(CourseError, match=f"is missing: `mini-nanochat start {lesson.id}` makes it"):
        stars.own_tests(space, lesson)


# -- the museum -----------------------------------------------------------------------------------


@pytest.fixture
def one_exhibit(monkeypatch):
    """A museum with a single exhibit, on the bug each_id_decoded_alone."""
    sheet = {"museum": [{"id": "alone", "mutant": "each_id_decoded_alone", "story": "long ago"}]}
    monkeypatch.setattr(stars, "read_toml", lambda _: sheet)


@pytest.mark.parametrize(
    "name, body, says",
    [
        ("alone", BUGS["each_id_decoded_alone"], ""),
        ("alone", "assert True", "alone (passes on the faulty module, too)"),
        (
            "alone",
            "assert 1 == 2",
            "alone (fails on the mended module: alone: AssertionError: assert 1 == 2)",
        ),
        ("other", "assert True", "alone (there is no test_alone yet)"),
    ],
)
def test_a_museum_test_passes_on_the_mended_module_and_fails_on_the_faulty_one(
    space, lesson, one_exhibit, name, body, says
):
    space.museum(lesson).write_text(f"{IMPORT}\ndef test_{name}():\n    {body}\n", "utf-8")
    star = stars.museum(space, lesson)
    assert star.earned is (not says) and (f"open: {says}" in star.says) is bool(says)


@pytest.mark.parametrize("lesson", WRITTEN, ids=lambda one: one.id)
def test_every_exhibit_has_its_planted_bug(lesson):
    planted = {mutant.name for mutant in prove.mutants(lesson)}
    assert {row["mutant"] for row in read_toml(ROOT / lesson.sheet).get("museum", [])} <= planted


# -- all four -------------------------------------------------------------------------------------


def test_research_is_the_learners_to_give(space, lesson):
    assert not stars.research(space, lesson).earned
    page = space.path / "adrs" / f"{lesson.key}-my-idea.md"
    page.parent.mkdir()
    page.write_text("I tried.")
    assert stars.research(space, lesson).earned


def test_stars_are_remembered(space, lesson, monkeypatch):
    rows = [
        stars.Star(name, name != "museum", "") for name in ("predictions", "own_tests", "museum", "research")
    ]
    for row in rows:
        monkeypatch.setattr(stars, row.name, lambda *_, row=row: row)
    assert stars.stars(space, lesson) == rows
    assert standings(space)[0].stars == 3
