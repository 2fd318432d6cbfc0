"""What `start` puts beside the stub and the notebook: pages for answers, tests and notes."""

from __future__ import annotations

from mini_nanochat.course.manifest import ROOT, Lesson, read_toml


def answers(lesson: Lesson) -> str:
    """answers/0_2.toml: the predictions, waiting for answers."""
    lines = [f"# Predictions of lesson {lesson.id}: write your answer behind the equals sign, then run", "#"]
    lines += [
        f"#     mini-nanochat check {lesson.id}",
        "#",
        '# Numbers as 3, words as "yes", lists as [1, 2].',
    ]
    for question in read_toml(ROOT / lesson.sheet).get("predict", []):
        lines += ["", f"# {question['ask']}", f'{question["id"]} = ""']
    return "\n".join(lines) + "\n"


def own_tests(lesson: Lesson) -> str:
    """tests/test_0_2.py: the beginning of a test file of the learner's own."""
    return f'''"""Your tests of lesson {lesson.id}: good tests pass on a correct module and fail on a broken one.

    mini-nanochat check {lesson.id} --stars

runs them on the reference, then on each of our planted bugs, and counts the bugs they catch.
"""

from {lesson.dotted.rpartition(".")[0]} import {lesson.dotted.rpartition(".")[2]}


def test_the_module_can_be_imported():
    assert {lesson.dotted.rpartition(".")[2]} is not None  # replace this by a test that can fail
'''


def museum(lesson: Lesson) -> str:
    """tests/test_0_2_museum.py: the stories of real bugs, and a test to write for each."""
    exhibits = read_toml(ROOT / lesson.sheet).get("museum", [])
    stories = "\n\n".join(f"{row['id']}: {row['story'].strip()}" for row in exhibits)
    functions = "\n\n".join(
        f'def test_{row["id"]}():\n    raise NotImplementedError("a test that only the faulty module fails")\n'
        for row in exhibits
    )
    package, _, name = lesson.dotted.rpartition(".")
    return f'''"""The museum of real bugs, lesson {lesson.id}. Each of these shipped in a real project.

Write a test for each: it must pass on the mended module and fail on the faulty one.

    mini-nanochat check {lesson.id} --stars

{stories}
"""

from {package} import {name}

_ = {name}  # use it in your tests

{functions}'''


def notes(lesson: Lesson) -> str:
    """notes/0_2.md: a page for notes, with the goals as a self-assessment."""
    goals = "\n".join(f"- [ ] I can {goal}, without looking." for goal in lesson.goals)
    return f"""# {lesson.id} {lesson.title}: my notes

The question: {lesson.question}

## In my own words (three sentences)

## What surprised me

## A bug I made, and how I found it

## A question I still have

## Where I stand
{goals}
"""


README = f"""# My workspace

Everything here is yours. The course never overwrites a file of yours: what it replaces it copies to
`.course/attic/` first.

- `lessons/` notebooks to work in, `mini_nanochat/` the modules you write (the same files, either way in)
- `answers/` predictions, `tests/` tests you write yourself, `notes/` your notes

    mini-nanochat check 0.1      the report card
    mini-nanochat hint 0.1       the next hint
    mini-nanochat progress       how far you are

Pages that lessons name (`docs/...`) lie in the course: {ROOT}
"""
