"""The import law: the order of reading, of the curriculum and of imports is one order.

`breaches` says what a source file does against the law. It is tried on planted breaches first, because a
law that nothing can break says nothing.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mini_nanochat.course.manifest import ROOT, Lesson, curriculum

HOUSE = ("overlay", "corpus", "flags", "paths", "runtime", "records")
# What a sub-package may import from others, Python's own library aside. Anything else fails: add it here,
# and to pyproject.toml, with the lesson that needs it.
THIRD_PARTIES = {
    "tokenizer": {"regex", "tiktoken", "mini_rustbpe"},
    "data": {"pyarrow", "torch"},
    "microworld": {"pyarrow", "torch"},
    "model": {"safetensors", "torch"},
    "runtime.py": {"torch"},
    "train": {"matplotlib", "safetensors", "torch", "tqdm", "wandb"},
    "optim": {"torch"},
    "scripts": {"rich", "tiktoken", "torch", "tqdm"},
    # tomllib belongs to Python from 3.11 on.
    "course": {"hypothesis", "IPython", "matplotlib", "pytest", "rich", "tomli", "tomllib", "torch"},
}
OUTSIDE = {"tests", "tools", "lessons", "examples", "workspace"}
ORDER = [
    module.removesuffix(".py").replace("/", ".")
    for lesson in curriculum().lessons
    for module in (*lesson.gives, lesson.module)
]
SOURCES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "mini_nanochat").rglob("*.py"))
GRADED = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("tests/phase*/test_[0-9]*.py"))


def imports(source: str) -> Iterator[tuple[int, str]]:
    """(line, full name) of each import, wherever it stands; a relative one keeps its dots."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parent = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{parent}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Name) and node.id == "__import__":
            yield node.lineno, "importlib"


def target(name: str) -> str:
    """The module that importing `name` loads: `a.b.f` is `a.b` where f is a function of it."""
    modules = {
        path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in SOURCES
    } | set(ORDER)
    parts = name.split(".")
    prefixes = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
    return next((prefix for prefix in prefixes if prefix in modules), name)


def room(path: str) -> str:
    """What a file of the library is: top, main, house, package, scripts, course, microworld, lesson, unknown."""
    parts = path.removesuffix(".py").split("/")[1:]
    if parts in (["__init__"], ["__main__"]):
        return {"__init__": "top", "__main__": "main"}[parts[0]]
    if len(parts) == 1:
        return "house" if parts[0] in HOUSE else "unknown"
    if parts[0] in ("scripts", "course"):
        return parts[0]
    if parts[-1] == "__init__":
        return "package"
    if parts[0] == "microworld":
        return "microworld"
    return "lesson" if path.removesuffix(".py").replace("/", ".") in ORDER else "unknown"


def breaches(path: str, source: str) -> list[str]:
    """What the imports of this file of the library do against the law, a sentence each."""
    kind = room(path)
    if kind == "unknown":
        return [f"{path} is no lesson's module (lessons/curriculum.toml) and no house module"]
    found = []
    for line, name in imports(source):
        if name.startswith("."):
            complaint = "is relative: write the whole name"
        elif name.split(".")[0] == "mini_nanochat":
            complaint = _against_order(path, kind, target(name))
        else:
            complaint = _against_declaration(path, kind, name.split(".")[0])
        if complaint:
            found.append(f"{path}:{line}: {name} {complaint}")
    return found


def _against_order(path: str, kind: str, module: str) -> str:
    """Why a file may not import this module of ours; empty if it may."""
    parts = module.split(".")
    where = parts[1] if len(parts) > 1 else ""
    if where == "scripts" and kind != "main":
        return "is a program: nobody imports programs"
    if where == "course" and kind not in ("course", "main"):
        return "is the learner's tool: the library does not know it"
    if kind in ("main", "course", "scripts") or (kind == "top" and where in HOUSE):
        return ""
    if kind in ("house", "package", "top"):
        return "is ours: a house module or a package file imports nothing of ours"
    if kind == "microworld":
        lawful = where == "microworld" or (where in HOUSE and len(parts) == 2)
        return "" if lawful else "is a lesson's: the microworld knows none"
    if module not in ORDER:
        return "" if where in HOUSE and len(parts) == 2 else "is no module of an earlier lesson"
    own = ORDER.index(path.removesuffix(".py").replace("/", "."))
    return "" if ORDER.index(module) < own else "belongs to this lesson or a later one"


def _against_declaration(path: str, kind: str, top: str) -> str:
    """Why a file may not import a module that is not ours; empty if it may."""
    if top in OUTSIDE:
        return "lies outside the library, which knows nothing of it"
    if top == "importlib" and kind == "lesson":
        return "would load a module behind the law's back"
    if top in sys.stdlib_module_names or top in THIRD_PARTIES.get(path.split("/")[1], ()):
        return ""
    return f"is not declared for {path.split('/')[1]} (THIRD_PARTIES)"


def awake(path: str, source: str) -> list[str]:
    """Statements that do something when the file is imported, instead of defining something."""
    found = []
    for node in ast.parse(source).body:
        quiet: tuple[type[ast.stmt], ...] = (
            ast.Import,
            ast.ImportFrom,
            ast.FunctionDef,
            ast.AsyncFunctionDef,
        )
        quiet += (ast.ClassDef, ast.Assign, ast.AnnAssign)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue  # a docstring
        tests = ("TYPE_CHECKING", "__name__ == '__main__'", "sys.version_info >= (3, 11)")
        if isinstance(node, ast.If) and ast.unparse(node.test) in tests:
            continue
        if isinstance(node, ast.Try) and all(
            isinstance(one, ast.Import | ast.ImportFrom | ast.AnnAssign) for one in node.body
        ):
            continue  # an import that may fail
        if not isinstance(node, quiet):
            found.append(f"{path}:{node.lineno}: `{ast.unparse(node).splitlines()[0]}` runs on import")
    return found


def graded_breaches(path: str, source: str, lesson: Lesson) -> list[str]:
    """What a file of graded tests does against its law: earlier lessons only, and a reason at each assert."""
    allowed = ORDER[: ORDER.index(lesson.dotted) + 1]
    found = []
    for line, name in imports(source):
        parts = target(name).split(".")
        house = len(parts) == 2 and parts[1] in HOUSE
        if parts[0] == "mini_nanochat" and target(name) not in allowed and not house:
            found.append(f"{path}:{line}: {name} is no module of this lesson or an earlier one")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assert) and node.msg is None:
            found.append(f"{path}:{node.lineno}: this assert does not say why it matters")
    return found


# -- the law holds --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SOURCES)
def test_imports_keep_the_law(path):
    assert breaches(path, (ROOT / path).read_text("utf-8")) == []


@pytest.mark.parametrize("path", SOURCES)
def test_importing_only_defines(path):
    if path == "mini_nanochat/__init__.py":
        pytest.skip("the one exception: it puts the workspace of MINI_NANOCHAT_WORKSPACE over the library")
    assert awake(path, (ROOT / path).read_text("utf-8")) == []


@pytest.mark.parametrize("path", GRADED)
def test_graded_tests_know_no_later_lesson_and_give_reasons(path):
    lessons = [lesson for lesson in curriculum().lessons if lesson.tests == path]
    assert lessons, f"{path} belongs to no lesson of lessons/curriculum.toml"
    assert graded_breaches(path, (ROOT / path).read_text("utf-8"), lessons[0]) == []


def test_lessons_are_listed_in_the_order_of_their_numbers():
    numbers = [(lesson.phase, lesson.number) for lesson in curriculum().lessons]
    assert numbers == sorted(set(numbers))
    assert len(set(ORDER)) == len(ORDER), "two lessons share a module"


def test_every_lesson_module_exists():
    assert [lesson.module for lesson in curriculum().lessons if not Path(ROOT, lesson.module).is_file()] == []


# -- the law can be broken ------------------------------------------------------------------------

TEXT, BPE, DEMO, WORLD = (
    "mini_nanochat/tokenizer/text.py",
    "mini_nanochat/tokenizer/bpe.py",
    "mini_nanochat/scripts/demo.py",
    "mini_nanochat/microworld/world.py",
)


@pytest.mark.parametrize(
    "path, source, complaint",
    [
        (TEXT, "from mini_nanochat.tokenizer import bpe", "later one"),
        (TEXT, "from mini_nanochat.tokenizer.bpe import train", "later one"),
        (TEXT, "import mini_nanochat.tokenizer.bpe as b", "later one"),
        (TEXT, "def f():\n    from mini_nanochat.tokenizer import bpe", ":2: "),
        (TEXT, "if TYPE_CHECKING:\n    from mini_nanochat.tokenizer import bpe", "later one"),
        (TEXT, "from mini_nanochat.tokenizer import text", "this lesson"),
        (BPE, "from mini_nanochat.tokenizer import *", "no module of an earlier lesson"),
        (BPE, "from mini_nanochat import tokenizer", "no module of an earlier lesson"),
        (BPE, "import mini_nanochat", "no module of an earlier lesson"),
        (BPE, "from . import text", "relative"),
        (BPE, "from .text import split", "relative"),
        (BPE, "import importlib", "behind the law's back"),
        (BPE, "m = __import__('x')", "behind the law's back"),
        (BPE, "import torch", "not declared for tokenizer"),
        (BPE, "import numpy.random", "not declared for tokenizer"),
        (BPE, "from mini_nanochat.course import stubs", "learner's tool"),
        (BPE, "from mini_nanochat.scripts import demo", "program"),
        (BPE, "import tools.bench", "outside"),
        (BPE, "from tests import helpers", "outside"),
        (DEMO, "from mini_nanochat.scripts import other", "program"),
        (DEMO, "from mini_nanochat.course import card", "learner's tool"),
        (DEMO, "import requests", "not declared for scripts"),
        (WORLD, "from mini_nanochat.tokenizer import bpe", "the microworld knows none"),
        (WORLD, "from mini_nanochat.scripts import microworld", "program"),
        (WORLD, "import numpy", "not declared for microworld"),
        (BPE, "from mini_nanochat.microworld import world", "no module of an earlier lesson"),
        ("mini_nanochat/flags.py", "from mini_nanochat.microworld import world", "nothing of ours"),
        ("mini_nanochat/course/card.py", "from mini_nanochat.scripts import demo", "program"),
        ("mini_nanochat/flags.py", "from mini_nanochat import overlay", "nothing of ours"),
        ("mini_nanochat/flags.py", "import rich", "not declared for flags.py"),
        (
            "mini_nanochat/tokenizer/__init__.py",
            "from mini_nanochat.tokenizer import text",
            "nothing of ours",
        ),
        ("mini_nanochat/__init__.py", "from mini_nanochat.tokenizer import text", "nothing of ours"),
        ("mini_nanochat/helpers.py", "", "no house module"),
        ("mini_nanochat/tokenizer/extra.py", "", "no lesson's module"),
    ],
)
def test_a_planted_breach_is_found(path, source, complaint):
    (found,) = breaches(path, source)
    assert complaint in found and found.startswith(path)


@pytest.mark.parametrize(
    "path, source",
    [
        (BPE, "import re\nimport regex\nfrom mini_nanochat.tokenizer.text import split, to_utf8"),
        (BPE, "from mini_nanochat.tokenizer import text\nfrom mini_nanochat import corpus"),
        (BPE, "from mini_nanochat.flags import flag\nimport collections.abc"),
        (DEMO, "from mini_nanochat import __version__, flags"),
        (DEMO, "from mini_nanochat.tokenizer import bpe\nimport rich.table"),
        (DEMO, "from mini_nanochat.microworld import write"),
        (WORLD, "import pyarrow.parquet as pq\nfrom mini_nanochat.microworld import exams, phrases"),
        (WORLD, "import json\nfrom mini_nanochat.flags import flag"),
        ("mini_nanochat/__main__.py", "from mini_nanochat.scripts import demo"),
        ("mini_nanochat/__main__.py", "from mini_nanochat.course import card"),
        ("mini_nanochat/__init__.py", "from mini_nanochat import overlay"),
    ],
)
def test_what_is_lawful_is_left_alone(path, source):
    assert breaches(path, source) == []


@pytest.mark.parametrize(
    "source",
    [
        "print(1)",
        "for x in y: f(x)",
        "with open('x') as f: d = f",
        "if a: f()",
        "while a: b()",
        "try: f()\nfinally: g()",
    ],
)
def test_a_file_that_wakes_up_on_import_is_found(source):
    assert len(awake("a.py", source)) == 1


def test_a_file_that_only_defines_is_left_alone():
    source = '"""Doc."""\nimport a\nX = 1\nY: int = 2\ndef f(): print(1)\nclass C: pass\n'
    source += (
        "try:\n    import b\nexcept ImportError:\n    import c as b\nif __name__ == '__main__':\n    f()\n"
    )
    assert awake("a.py", source) == []


@pytest.mark.parametrize(
    "source, complaint",
    [
        ("from mini_nanochat.tokenizer import bpe", "no module of this lesson or an earlier one"),
        ("from mini_nanochat.course import check", "no module of this lesson or an earlier one"),
        ("from mini_nanochat import tokenizer", "no module of this lesson or an earlier one"),
        ("def test_x():\n    assert 1 == 1", ":2: this assert does not say why"),
        ("def test_x():\n    def inner():\n        assert 1 == 1", ":3: this assert does not say why"),
    ],
)
def test_a_graded_file_against_its_law_is_found(source, complaint):
    (found,) = graded_breaches("t.py", source, curriculum().find("0.1"))
    assert complaint in found


def test_a_graded_file_may_know_its_own_and_earlier_lessons():
    source = (
        "import tiktoken\nfrom mini_nanochat.tokenizer import bpe, text\nassert 1 == 1, 'numbers are equal'"
    )
    assert graded_breaches("t.py", source, curriculum().find("0.2")) == []
