"""Budgets: a module that one can read in a sitting, a function that one can hold in the head.

Counted in code lines; docstrings, comments and blank lines are free.
"""

from __future__ import annotations

import ast
import textwrap

import pytest

from mini_nanochat.course.manifest import ROOT, curriculum
from mini_nanochat.course.progress import code_lines

FILE, FUNCTION, PROGRAM, HOUSE, LIBRARY = 300, 80, 200, 300, 6_000
SOURCES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "mini_nanochat").rglob("*.py"))


def too_long(path: str, source: str) -> list[str]:
    """What is over budget in one file, a sentence each."""
    budget = PROGRAM if path.startswith("mini_nanochat/scripts/") else FILE
    found, lines = [], code_lines(source)
    if lines > budget:
        found.append(f"{path} has {lines} code lines; {budget} are allowed")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = code_lines(textwrap.dedent(ast.get_source_segment(source, node, padded=True) or ""))
            if body > FUNCTION:
                found.append(f"{path}: {node.name} has {body} code lines; {FUNCTION} are allowed")
    return found


def total(paths: list[str]) -> int:
    return sum(code_lines((ROOT / path).read_text("utf-8")) for path in paths)


@pytest.mark.parametrize("path", SOURCES)
def test_files_and_functions_are_short(path):
    assert too_long(path, (ROOT / path).read_text("utf-8")) == []


def test_the_house_modules_are_small_together():
    house = [
        path for path in SOURCES if path.count("/") == 1 and not path.endswith(("__init__.py", "__main__.py"))
    ]
    assert house and total(house) <= HOUSE


def test_the_library_that_a_learner_reads_is_small():
    """Lessons, house modules and programs; the learner's tools in course/ are not a part of the reading."""
    assert total([path for path in SOURCES if not path.startswith("mini_nanochat/course/")]) <= LIBRARY
    assert total([lesson.module for lesson in curriculum().lessons]) > 0


# -- the budgets can be broken --------------------------------------------------------------------


def lines(n: int, indent: str = "") -> str:
    return f"{indent}x = 1\n" * n


def test_a_long_file_and_a_long_function_are_found():
    assert too_long("mini_nanochat/a.py", lines(300)) == []
    assert too_long("mini_nanochat/a.py", lines(301)) == [
        "mini_nanochat/a.py has 301 code lines; 300 are allowed"
    ]
    assert len(too_long("mini_nanochat/scripts/a.py", lines(201))) == 1
    assert too_long("a.py", "def f():\n" + lines(79, "    ")) == []
    assert too_long("a.py", "def f():\n" + lines(80, "    ")) == ["a.py: f has 81 code lines; 80 are allowed"]
    method = "class C:\n    async def m(self):\n" + lines(80, " " * 8)
    assert too_long("a.py", method) == ["a.py: m has 81 code lines; 80 are allowed"]


def test_only_code_counts():
    source = '"""Two lines\nof docstring."""\n\n# a comment\nx = 1  # code\n'
    assert code_lines(source) == 1
    assert code_lines(source + 'def f():\n    """Doc."""\n\n    return 1\n') == 3
