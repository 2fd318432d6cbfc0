"""findings and card: what a learner reads, for every way in which a check can end."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pytest
from rich.console import Console

from mini_nanochat.course import card as cards
from mini_nanochat.course import findings
from mini_nanochat.course.card import Card, Check, Exercise
from mini_nanochat.course.manifest import curriculum

FIRST, SECOND, THIRD, FOURTH = curriculum().lessons[0].todo[:4]

MODULE = """
import sys

def wrong(x=0):
    return x

def error():
    numbers = [1]
    return numbers[7]

def deep():
    return deep()

def unwritten():
    raise NotImplementedError("0.1: SECOND")

class Odd(list):
    def __repr__(self):
        return 1 / 0

def loud():
    raise ValueError("clear\\x1b[2J the screen, half a \\ud800 letter")
"""

TESTS = """
import pytest
from hypothesis import given, strategies as st
from mini_nanochat.tokenizer import text

first = pytest.mark.exercise("FIRST", points=2)

@first
def test_that_passes():
    assert text.wrong(3) == 3

@first
def test_two_is_two():
    assert text.wrong(1) == 2, "because two is two"

@first
def test_a_condition_alone():
    assert text.wrong(0), "it must not be zero"

@first
def test_no_reason():
    assert text.wrong(0)

@first
def test_membership():
    assert text.wrong(5) in [1, 2]

@first
def test_an_index():
    text.error()

@first
def test_depth():
    text.deep()

@first
def test_refusal():
    with pytest.raises(ValueError):
        text.wrong()

@first
def test_refusal_in_words():
    with pytest.raises(ZeroDivisionError, match="by nothing"):
        1 / text.wrong()

@first
def test_odd_repr():
    assert text.Odd([1]) == [2]

@first
def test_odd_repr_of_a_name():
    odd = text.Odd([1])
    assert text.wrong(odd) == [2]

@first
def test_loud():
    text.loud()

@first
@given(st.integers(0, 1000))
def test_a_law(number):
    assert text.wrong(number) < 7

@first
@given(st.lists(st.integers()))
def test_an_error_in_a_law(numbers):
    text.error() if numbers else None

@first
@pytest.mark.parametrize("kind", ["list", "tuple"])
def test_long(kind):
    good = list(range(500))
    bad = good[:250] + [-1] + good[251:] if kind == "list" else tuple(good)
    assert text.wrong(bad) == good

@first
def test_mapping():
    assert text.wrong({i: i for i in range(200)}) == {i: i + (i == 150) for i in range(200)}

@first
def test_types():
    assert [text.wrong(1.0), type(text.wrong(1.0))] == [1, int]

@pytest.mark.exercise("SECOND")
def test_unwritten():
    text.unwritten()

@pytest.mark.exercise("THIRD")
def test_waiting():
    text.unwritten()

@pytest.mark.exercise("FOURTH")
def test_slow():
    while True:
        text.wrong()

@pytest.mark.exercise("FOURTH")
def test_not_run():
    assert True
"""


def fill(text):
    for name, value in (("FIRST", FIRST), ("SECOND", SECOND), ("THIRD", THIRD), ("FOURTH", FOURTH)):
        text = text.replace(name, value)
    return text


@pytest.fixture(scope="module")
def card(grade_tiny):
    return grade_tiny(fill(MODULE), fill(TESTS), limit=1.0)


@pytest.fixture(scope="module")
def checks(card):
    return {
        check.test.partition("::test_")[2]: check for exercise in card.exercises for check in exercise.checks
    }


def told(check):
    """What the card says of one check."""
    return "\n".join(line.strip() for _, line in cards.detail(check)[1:])


@pytest.mark.parametrize(
    "name, kind, says",
    [
        ("two_is_two", "wrong", "expected  2\ngot       1\nwhy       because two is two"),
        ("a_condition_alone", "wrong", "why       it must not be zero"),
        ("no_reason", "wrong", "a check failed"),
        ("membership", "wrong", "expected  to be in [1, 2]\ngot       5"),
        (
            "an_index",
            "error",
            "IndexError: list index out of range\nat        mini_nanochat/tokenizer/text.py, line 9:",
        ),
        ("depth", "error", "it calls itself without end (RecursionError)"),
        ("refusal", "wrong", "no error was raised, wanted ValueError"),
        ("refusal_in_words", "wrong", "'by nothing'"),
        ("odd_repr", "wrong", "AssertionError, and showing its values fails too: ZeroDivisionError"),
        ("odd_repr_of_a_name", "wrong", "AssertionError, and showing its values fails too"),
        ("loud", "error", r"ValueError: clear\x1b[2J the screen, half a \ud800 letter"),
        ("a_law", "wrong", "with number = 7\nexpected  < 7\ngot       7"),
        (
            "an_error_in_a_law",
            "error",
            "with numbers = [0]\nIndexError: list index out of range\nat        mini_nanochat",
        ),
        ("long[list]", "wrong", "[247, 248, 249, 250, 251, 252, 253, 254] (from item 247 on, of 500;"),
        ("long[list]", "wrong", "got       [247, 248, 249, -1, 251"),
        ("long[tuple]", "wrong", "got       tuple ("),
        ("mapping", "wrong", "expected  150: 151\ngot       150: 150"),
        ("unwritten", "unwritten", "not written yet"),
        ("waiting", "waiting", f"waits for {SECOND}"),
        (
            "slow",
            "slow",
            "this check ran for more than 1 s and was stopped. Is there a loop that never ends?",
        ),
        ("not_run", "slow", f"not run: another check of {FOURTH} did not end"),
    ],
)
def test_each_kind_of_failure_in_words(checks, name, kind, says):
    assert checks[name].kind == kind
    assert says in told(checks[name])


def test_points_and_states(card):
    assert [(e.name, e.status, e.points) for e in card.exercises] == [
        (FIRST, "failing", 2),
        (SECOND, "not started", 0),
        (THIRD, "waiting", 0),
        (FOURTH, "failing", 0),
    ]
    assert (card.points, card.of, card.passed) == (2, 40, False)


def test_no_line_of_a_traceback_and_none_too_long(card):
    text = cards.as_text(card)
    assert "Traceback" not in text and ">>" not in text
    assert max(map(len, text.splitlines())) < 400
    text.encode("utf-8")


def test_the_text_names_the_first_failure_and_counts_the_others(card):
    lines = cards.as_text(card).splitlines()
    assert "      x two is two" in lines and lines.count("      also: a condition alone") == 1
    assert any(line.strip().startswith("and ") and line.endswith(" more") for line in lines)
    assert any(f"stuck? mini-nanochat hint {card.lesson.id} {FIRST}" in line for line in lines)


def test_json_holds_everything(card):
    (row,) = json.loads(cards.as_json([card]))
    assert (row["lesson"], row["points"], row["of"], row["passed"]) == (card.lesson.id, 2, 40, False)
    assert row["exercises"][0]["checks"][1]["finding"]["expected"] == "2"


def test_markdown_has_a_table_and_the_failures(card):
    text = cards.as_markdown(card)
    assert f"| `{SECOND}` | not started | 0/1 |" in text and "**2/40 points**" in text
    assert text.count("```") == 4 and "why       because two is two" in text


def test_html_shows_the_same_and_escapes_it():
    check = Check("t::test_x", "a <title>", 1, "wrong", {"headline": "expected <b>, got </pre>&"})
    lesson = curriculum().lessons[0]
    page = cards.as_html(Card(lesson, "graded", "a<b>.py", "123", None, [Exercise("f<x>", [check])]))
    assert "a &lt;title&gt;" in page and "expected &lt;b&gt;, got &lt;/pre&gt;&amp;" in page
    assert "f&lt;x&gt;" in page and "a&lt;b&gt;.py" in page and "<b>," not in page
    broken = Card(lesson, "broken", "a.py", None, {"headline": "<script>"}, [])
    assert "&lt;script&gt;" in cards.as_html(broken) and "<script>" not in cards.as_html(broken)
    assert "<script>" in cards.as_text(broken) and "<script>" in cards.as_markdown(broken)


@pytest.mark.parametrize("only", ["", FIRST])
def test_a_card_that_is_full_says_what_comes_next(only):
    check = Check("t::test_x", "x", 1, "passed")
    text = cards.as_text(
        Card(curriculum().lessons[0], "graded", "a.py", "1", None, [Exercise(FIRST, [check])], only)
    )
    assert (f"{FIRST} is done. The whole card" if only else "All done.") in text


@pytest.mark.parametrize(
    "lesson, name, says",
    [
        (0, SECOND, f"next: write {SECOND}, then check again (a hint: mini-nanochat hint 0.1 {SECOND})"),
        (1, SECOND, f"next: write {SECOND}, then check again (a hint: mini-nanochat hint 0.1 {SECOND})"),
    ],
)
def test_what_waits_is_not_the_next_thing_to_write(lesson, name, says):
    lesson = curriculum().lessons[lesson]
    check = Check("t::test_x", "x", 1, "waiting", {"headline": f"waits for {name}", "name": name})
    rows = [Exercise(lesson.todo[0], [check])]
    text = cards.as_text(Card(lesson, "graded", "a.py", "1", None, rows))
    assert says in text and f"waits for {name}" in text


def test_a_card_without_checks_says_that(card):
    text = cards.as_text(Card(card.lesson, "graded", "a.py", "1", None, []))
    assert "nothing was graded: `mini-nanochat doctor`" in text


def test_a_lesson_that_was_not_started_is_borrowed(card):
    text = cards.as_text(Card(card.lesson, "borrowed", "", None, None, []))
    assert "borrowed: you have not started it" in text and f"mini-nanochat start {card.lesson.id}" in text


# -- a file that can't even be imported -----------------------------------------------------------

ONE = f"""
import pytest
from mini_nanochat.tokenizer import text

@pytest.mark.exercise("{FIRST}")
def test_x():
    pass
"""


@pytest.mark.parametrize(
    "module, says",
    [
        (
            "if x\n",
            "a syntax error in mini_nanochat/tokenizer/text.py. Line 1: expected ':'\n    if x\n        ^",
        ),
        (b"x = 1\0", "null bytes"),
        ("import sys\nsys.exit(3)", "it ends Python: exit() or sys.exit() is called"),
    ],
)
def test_a_file_that_can_not_be_imported_is_said_to_be_so(grade_tiny, module, says):
    card = grade_tiny(module, ONE)
    assert card.state == "broken" and not card.passed and card.points == card.of == 0
    assert says in card.finding["headline"]
    assert "The file could not be read, so nothing was graded:" in cards.as_text(card)
    for show in (cards.as_markdown, cards.as_html, lambda card: cards.as_json([card])):
        assert show(card)


@pytest.mark.parametrize(
    "module, says",
    [
        ("def f():\n\tx\n        y\n", "a syntax error in text.py. Line 3"),
        ("import numpie", "ModuleNotFoundError: No module named 'numpie'"),
        ("from math import tau, pie", "ImportError: cannot import name 'pie'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def f(): f()\nf()", "it calls itself without end"),
        ('raise NotImplementedError("0.1: x")', "not written yet"),
        ("raise NotImplementedError", "NotImplementedError"),
        ("raise type('E', (Exception,), {'__str__': lambda self: 1 / 0})", "showing its values fails too"),
    ],
)
def test_what_can_go_wrong_on_import(module, says):
    try:
        exec(compile(module, "/mine/text.py", "exec"), {})
    except BaseException as error:
        assert says in findings.describe(error, error.__traceback__, Path("/mine"), None)["headline"]


def test_checks_that_can_not_be_loaded_are_no_full_card(grade_tiny):
    card = grade_tiny("x = 1", "import pytest\nfrom mini_nanochat.tokenizer import text\ntext.gone\n")
    assert card.state == "broken" and "has no attribute 'gone'" in card.finding["headline"]


# -- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wanted, got, shown",
    [
        (1, 2, ("1", "2")),
        ("a", b"a", ("'a'", "b'a'")),
        ([1], (1,), ("[1]", "(1,)")),
        (True, 1, ("True", "1")),
        (
            "x" * 500,
            "x" * 499 + "y",
            ("'xxxx' (from item 496 on, of 500; the first difference is at 499)",) * 2,
        ),
        ({}, {i: i for i in range(99)}, ("no entry for 0", "0: 0")),
    ],
)
def test_pairs_of_values(wanted, got, shown):
    left, right = findings.show_pair(wanted, got)
    assert (left, right.replace("xxxy", "xxxx")) == shown


def test_values_that_look_alike_show_their_types():
    one, other = type("One", (int,), {})(3), 3
    assert findings.show_pair(other, one) == ("3 (int)", "3 (One)")
    alike = type("List", (list,), {})(range(100))
    assert findings.show_pair(list(range(100)), alike)[1].startswith("List [")


def test_any_value_is_cut(card):
    for pair in ((set(range(9999)), {1}), ([list(range(999))], [[]]), ("a" * 9999, 3), (3, object())):
        assert all(len(text) < 300 for text in findings.show_pair(*pair))


def test_a_name_is_a_sentence():
    from mini_nanochat.course.plugin import title

    assert title("test_merges_from_left[two words]") == "merges from left (two words)"


# -- the terminal ---------------------------------------------------------------------------------


def terminal(monkeypatch, capsys, **variables):
    """What `show` writes to something that says it is a terminal with colours."""
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm-256color", **variables}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(cards, "Console", functools.partial(Console, force_terminal=True))
    return lambda card, plain: (cards.show(card, plain), capsys.readouterr().out)[1]


def test_colours_unless_one_asks_for_none(card, monkeypatch, capsys):
    assert "\x1b[1;31m" in terminal(monkeypatch, capsys)(card, False)
    assert "31m" not in terminal(monkeypatch, capsys, NO_COLOR="1")(card, False)


def test_plain_is_plain(card, monkeypatch, capsys):
    text = terminal(monkeypatch, capsys)(card, True)
    assert "\x1b" not in text and text.strip() == cards.as_text(card).strip()
