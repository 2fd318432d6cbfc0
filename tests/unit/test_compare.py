"""compare: pairs by name and by structure, three faces, and one sentence for everything that can't be read."""

from __future__ import annotations

import importlib.util
import io
import re
import sys
import textwrap
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from rich.console import Console

from mini_nanochat.course import cli, compare_view, stubs
from mini_nanochat.course.compare import CLONE, alike, compare, with_mine, with_nanochat
from mini_nanochat.course.definitions import read
from mini_nanochat.course.errors import CourseError
from mini_nanochat.course.manifest import ROOT, curriculum
from mini_nanochat.course.workspace import Workspace, reference

ATTENTION = curriculum().find("1.2")

STEP = """
def step(weights, grads, rate=0.1):
    total = torch.sqrt(sum(grad.square().sum() for grad in grads))
    for weight, grad in zip(weights, grads):
        weight.add_(grad.clamp(-1, 1), alpha=-rate / total.clamp(min=1e-6))
    return weights
"""
READ = """
def load(path):
    with open(path, encoding="utf-8") as file:
        lines = [line.strip() for line in file if line.strip()]
    return json.loads("".join(lines))
"""


@pytest.fixture
def side(tmp_path):
    """side(code): a file with this code, read."""
    count = iter(range(99))

    def make(code, only=()):
        path = tmp_path / f"file{next(count)}.py"
        path.write_text(textwrap.dedent(code), "utf-8")
        return read(path, only=only)

    return make


@pytest.fixture
def matched(side):
    """matched(ours, theirs): {(name, name): how} of two pieces of code."""

    def match(ours, theirs):
        return {(p.ours.name, p.theirs.name): p.how for p in compare(side(ours), side(theirs)).pairs}

    return match


def one(side, name):
    return next(d for d in side.definitions if d.name == name)


def names(side):
    return [d.name for d in side.definitions]


# -- what a file defines ----------------------------------------------------------------------------


def test_functions_classes_methods_and_constants_are_found_wherever_they_stand(side):
    found = side(
        """
        '''Doc.'''
        from typing import TYPE_CHECKING
        __all__ = ["f"]
        A, (B, *C) = 1, (2, 3)
        D: int = 4
        E: str
        x.attribute = y[0] = 5
        if TYPE_CHECKING:
            import json
            G = 6
        try:
            def f(): return 1
        except ImportError:
            H = 7
        class K:
            field: int = 8
            if True:
                def m(self):
                    def inner(): return 9
                    return inner
            class L:
                async def n(self): return 10
        """
    )
    kinds = {d.name: d.kind for d in found.definitions}
    constants = ["__all__", "A", "B", "C", "D", "E", "G", "H"]
    assert [name for name, kind in kinds.items() if kind == "constant"] == constants
    assert {k: v for k, v in kinds.items() if v != "constant"} == {
        "f": "function",
        "K": "class",
        "K.m": "method",
        "K.L": "class",
        "K.L.n": "method",
    }
    assert one(found, "K").source == "class K:\n    field: int = 8\n    if True:"
    assert "inner" in one(found, "K.m").source and one(found, "K.L.n").signature == "async (self)"


def test_lines_and_source_leave_docstrings_out_and_comments_do_not_count(side):
    found = side(
        '''
        @cache
        def f(x):  # why
            """One.

            Two.
            """

            # a comment
            text = """not
            a docstring"""
            return x

        def g(): "only a docstring"
        '''
    )
    f = one(found, "f")
    assert (f.lines, found.lines) == (5, 6)
    assert f.source.splitlines()[:4] == ["@cache", "def f(x):  # why", "    # a comment", '    text = """not']
    assert one(found, "g").source == 'def g(): "only a docstring"'


def test_signatures_and_values(side):
    found = side(
        """
        @property
        def f(self, a: int = -1, *rest, b="x", **more) -> "str": return a + 2 + True + -3.5 + (2 + 1j)
        @dataclass(frozen=True)
        class C(Base, metaclass=Meta): size: int = 1024
        class D: pass
        N: "Final[int]" = 5
        """
    )
    f = one(found, "f")
    assert f.signature == "@property (self, a: int=-1, *rest, b='x', **more) -> 'str'"
    assert sorted(f.values) == ["'x'", "-1", "-3.5", "1j", "2"] and f.values["2"] == 2
    assert one(found, "C").signature == "@dataclass(frozen=True) (Base, metaclass=Meta)"
    assert (one(found, "C").values, one(found, "D").signature) == ({"1024": 1}, "")
    assert (one(found, "N").signature, one(found, "N").values) == (": 'Final[int]'", {"5": 1})


def test_imports_are_what_is_imported_however_it_is_written(side):
    a = side(
        "import torch.nn as nn\nfrom torch.nn import functional as F\nfrom . import x\nfrom .y import z\na=1"
    )
    b = side("from torch import nn\nimport torch.nn.functional\nimport os.path\na=1")
    assert a.imports.keys() - b.imports.keys() == {".x", ".y.z"}
    assert b.imports == {"torch.nn": "nn", "torch.nn.functional": "torch", "os.path": "os"}


@pytest.mark.parametrize(
    "body", ["raise NotImplementedError('1.2: f')", "'Doc.'\n    raise NotImplementedError"]
)
def test_a_stub_is_not_written(side, body):
    assert not one(side(f"def f():\n    {body}\n"), "f").written
    assert one(side("def f():\n    x = 1\n    raise NotImplementedError\n"), "f").written
    assert one(side("def f():\n    raise ValueError\n"), "f").written


# -- pairs, by hand ---------------------------------------------------------------------------------


def test_same_name_and_kind(matched):
    theirs = "class f: pass\ng = 1\nclass K:\n    async def m(self): return 2"
    assert matched("def f(): pass\ndef g(): pass\nclass K:\n    def m(self): return 1", theirs) == {
        ("K", "K"): "same name",
        ("K.m", "K.m"): "same name",
    }, "a function and a class of one name are no pair; a function and a coroutine are"


def test_overloads_properties_and_conditional_definitions_are_one_definition_each(side):
    ours = side(
        """
        @overload
        def f(x: int) -> int: ...
        @overload
        def f(x: str) -> str: ...
        def f(x): return x
        class K:
            @property
            def size(self): return self.n
            @size.setter
            def size(self, n): self.n = n
        if sys.platform == "win32":
            def g(): return 1
        else:
            def g(): return 2
        """
    )
    assert names(ours) == ["f", "K", "K.size", "g"]
    assert one(ours, "f").signature == "@overload (x: int) -> int / @overload (x: str) -> str / (x)"
    assert one(ours, "g").source == "def g(): return 1\ndef g(): return 2"
    (pair,) = compare(ours, side("def f(x): return x")).pairs
    assert pair.differs == ["signature", "body"]


def test_a_renamed_function_is_found_by_its_structure(matched):
    assert matched(STEP + READ, READ.replace("load(", "read_json(") + STEP.replace("step", "update")) == {
        ("step", "update"): "alike 0.80",
        ("load", "read_json"): "alike 0.80",
    }


def test_what_is_merely_small_and_alike_is_no_pair(matched):
    ours = "def a(x): return x.y(1)\ndef size(self): return len(self.items)\nA = 1\nclass P(nn.Module): pass"
    theirs = (
        "def b(x): return x.y(1)\ndef count(self): return len(self.items)\nB = 1\nclass Q(nn.Module): pass"
    )
    assert matched(ours, theirs) == {}


def test_small_constants_are_no_pair(matched):
    assert matched("space_re = re.compile('a')\nx: int", "re_space = re.compile('b')\ny: int") == {}


def test_arithmetic_without_a_name_from_outside_is_no_pair(matched):
    gcd = "def gcd(a, b):\n    while a > 0 and b > 0:\n        a, b = b, a % b\n    return (a + b) * 1 - 0\n"
    assert matched(gcd, gcd.replace("gcd", "last")) == {}


def test_the_likeliest_of_several_is_taken(matched):
    others = STEP.replace("step", "a").replace("total", "n").replace("square", "abs").replace("clamp", "clip")
    others += STEP.replace("step", "update") + STEP.replace("step", "z").replace("sqrt", "exp")
    assert matched(STEP, others) == {("step", "update"): "alike 0.80"}


def test_a_method_name_that_every_class_has_says_nothing(matched):
    forward = "    def forward(self, x):\n        y = self.a(x)\n        return self.b(y) + self.c(x)\n"
    other = "    def forward(self, x):\n        z = {i: j for i, j in x}\n        return sorted(z)[:2]\n"
    assert matched(f"class Loss:\n{forward}", f"class Model:\n{other}") == {}


def test_a_class_that_was_renamed_brings_its_methods_along(matched):
    body = textwrap.indent(STEP.replace("(weights", "(self, weights"), "    ")
    code = "class {}(Optimizer):\n    def zero(self): self.x = 0\n" + body
    assert matched(code.format("Sgd"), code.format("Descent")) == {
        ("Sgd", "Descent"): "alike 0.80",
        ("Sgd.zero", "Descent.zero"): "same name",
        ("Sgd.step", "Descent.step"): "same name",
    }


def test_classes_of_kindred_names_and_methods_unless_two_are_as_good(matched):
    methods = "".join(f"    def {m}(self): return {m!r}\n" for m in ("encode", "decode", "save"))
    other = methods.replace("return", "yield from sorted(x for x in self.words if x != ").replace(
        "'\n", "')\n"
    )
    ours, theirs = f"class Tokenizer:\n{methods}", f"class RustBPETokenizer:\n{other}"
    assert matched(ours, theirs)["Tokenizer", "RustBPETokenizer"] == "both have decode, encode, save"
    assert matched(ours, theirs + theirs.replace("RustBPE", "Other")) == {}
    assert matched(ours, theirs.replace("Tokenizer", "Model")) == {}


def test_a_thin_wrapper(matched):
    ours = "def rms_norm(x):\n    wide = x.float()\n    return wide * wide.square().mean(-1).rsqrt()\n"
    theirs = "def norm(x):\n    return F.rms_norm(x, (x.size(-1),))\n"
    assert matched(ours, theirs) == {("rms_norm", "norm"): "wraps rms_norm"}
    assert matched(theirs, ours) == {("norm", "rms_norm"): "wraps rms_norm"}
    assert matched(ours, "class K:\n    " + theirs.replace("\n", "\n    ")) == {}


# -- pairs, laws ------------------------------------------------------------------------------------

BOTH = (
    STEP + READ + "class K:\n    def m(self): return 1\nA = 1\n",
    STEP.replace("step", "update") + "A = 2\n",
)


@pytest.mark.parametrize("module", ["model/gpt.py", "course/cli.py", "data/loader.py"])
def test_a_file_with_itself_is_the_same(module):
    here = read(ROOT / "mini_nanochat" / module)
    found = compare(here, here)
    assert [p.ours.name for p in found.pairs] == [p.theirs.name for p in found.pairs] == names(here)
    assert not any(p.differs for p in found.pairs) and found.only_ours == found.only_theirs == []
    assert compare_view.remarks(found) == ["The two are the same, to the letter."]


def test_swapping_the_sides_swaps_the_answer(matched):
    assert matched(*BOTH) and matched(*BOTH) == {(b, a): how for (a, b), how in matched(*BOTH[::-1]).items()}


def test_names_of_local_variables_do_not_matter(side, matched):
    renamed = STEP.replace("step", "update")
    for old, new in (("total", "norm"), ("weights", "many"), ("weight", "w"), ("grads", "gs"), ("grad", "g")):
        renamed = re.sub(rf"\b{old}\b", new, renamed)
    assert matched(STEP, renamed) == matched(STEP, STEP.replace("step", "update"))
    assert alike(one(side(STEP), "step"), one(side(renamed), "update")) == 0.8


def test_the_order_of_definitions_does_not_matter(side, matched):
    assert matched(STEP + READ + BOTH[0], BOTH[1]) == matched(BOTH[0] + READ + STEP, BOTH[1])
    found = compare(side(STEP + READ), side(READ + "# other\n" + STEP))
    assert compare_view.remarks(found) == [
        "Every definition is the same. Order, comments or what stands outside differs."
    ]


@pytest.mark.parametrize(
    "a, b",
    [
        *pairwise(["x = 1", "x = 1.0", "x = True", "x = '1'", "x = b'1'"]),
        ("x = f(a, b)", "x = f(a)(b)"),
        ("x = [a, [b]]", "x = [[a], b]"),
        ("x = {**a}", "x = {None: a}"),
        ("def f():\n  if a: b\n  c", "def f():\n  if a:\n    b\n    c"),
        ("def f():\n  for a in b: c\n  else: d", "def f():\n  for a in b:\n    c\n    d"),
        ("def f(): global a, b", "def f(): global a"),
        ("def f(a, /): 1", "def f(a): 1"),
        ("class A:\n  a: int", "class A:\n  a: str"),
    ],
)
def test_other_code_is_not_the_same(side, a, b):
    (pair,) = compare(side(a), side(b)).pairs
    assert {"signature", "body"} & set(pair.differs)


def test_layout_docstrings_and_comments_are_the_same(side):
    (pair,) = compare(side("def f(x):\n    'Doc.'\n    return (x)"), side("def f( x ) : return x # ok")).pairs
    assert not pair.differs


# -- lessons, and nanochat --------------------------------------------------------------------------


def test_what_is_not_written_is_named_and_ours_stays_hidden(elsewhere):
    space = Workspace(elsewhere / "w")
    space.write(ATTENTION, stubs.stub(reference(ATTENTION), "1.2", ATTENTION.todo))
    found = with_mine(space, ATTENTION)
    assert {p.ours.name for p in found.pairs if p.differs == ["not written yet"]} == set(ATTENTION.todo)
    for face in (compare_view.as_text, compare_view.as_markdown, compare_view.as_html):
        page = face(found)
        assert "softmax" not in page and "mini-nanochat hint 1.2 causal_mask" in page
    written = stubs.splice(space.source(ATTENTION), "repeat_kv", "def repeat_kv(x, n_rep):\n    return x\n")
    space.write(ATTENTION, written)
    page = compare_view.as_markdown(with_mine(space, ATTENTION))
    assert "repeat_interleave" in page and "softmax" not in page


@pytest.fixture
def checkout(elsewhere):
    """A folder laid out like nanochat, with code of our own in it."""
    (elsewhere / "nc" / "nanochat").mkdir(parents=True)
    code = "import math, torch\nfrom a import Base\nclass CausalSelfAttention(Base):\n    def forward(self): pass\n"
    (elsewhere / "nc/nanochat/gpt.py").write_text(code + "class GPT: size = math.pi\n")
    return elsewhere / "nc"


def test_the_map_names_the_file_and_the_definitions(checkout):
    found = with_nanochat(ROOT / ATTENTION.module, checkout)
    assert names(found.theirs) == ["CausalSelfAttention", "CausalSelfAttention.forward"]
    assert found.theirs.imports == {"a.Base": "Base"}, "of the imports, those that these definitions use"
    assert (found.ours.title, found.theirs.title) == (
        ATTENTION.module,
        "nanochat/gpt.py: CausalSelfAttention",
    )
    assert ("CausalSelfAttention.forward", "same name") in [(p.ours.name, p.how) for p in found.pairs]


def test_the_map_knows_modules_that_come_with_a_lesson_and_the_learners_copy(checkout):
    space = Workspace(checkout.parent / "w")
    space.write(ATTENTION, reference(ATTENTION))
    assert with_nanochat(space.file(ATTENTION), checkout).theirs.title.startswith("nanochat/gpt.py")
    with pytest.raises(CourseError, match=r"nc has no nanochat/dataset.py: .* checkout 4a87a0d`"):
        with_nanochat(ROOT / "mini_nanochat/data/shards.py", checkout)


def test_what_a_checkout_lacks_is_said(checkout):
    gpt = checkout / "nanochat/gpt.py"
    gpt.write_text("def norm(x): return F.rms_norm(x)\n")
    found = with_nanochat(ROOT / "mini_nanochat/model/layers.py", checkout)
    assert [p.how for p in found.pairs] == ["wraps rms_norm"]
    assert [note.split(" has no ")[1][:4] for note in found.notes] == ["MLP;", "GPT."]
    assert "has no MLP" in compare_view.as_markdown(found)
    with pytest.raises(CourseError, match=r"nothing in nanochat to compare attention.py with: .*CausalSelf"):
        with_nanochat(ROOT / ATTENTION.module, checkout)
    with pytest.raises(CourseError, match=r"rustbpe/src/lib.rs is no Python"):
        with_nanochat(ROOT / "mini_nanochat/tokenizer/bpe.py", checkout)


# -- three faces ------------------------------------------------------------------------------------

OURS = 'import os\nTAG = "<script>alert(1)</script> `x` ``` | a_b"\ndef f(x):\n    return x["é" * 70] + 1\nonly_a = 1\n'
THEIRS = "import re\nTAG = '&amp;'\ndef f(x, *, y: int = 2):\n\n    return x\nclass OnlyB: pass\n"


@pytest.fixture
def found(side):
    return compare(side(OURS), side(THEIRS))


def shown(found, width):
    out = Console(width=width, file=io.StringIO(), highlight=False, markup=False)
    compare_view.show(found, out)
    return out.file.getvalue()


@pytest.mark.parametrize("width", [30, 80, 99, 100, 140])
def test_nothing_goes_past_the_edge_of_the_terminal(found, width):
    page = shown(found, width)
    assert max(map(len, page.splitlines())) <= width
    together = any("- def f" in line and "+ def f" in line for line in page.splitlines())
    assert together == (width >= 100)


def test_a_long_line_goes_on_further_to_the_right(side):
    code = "def f():\n    return " + " + ".join(["name"] * 30)
    lines = shown(compare(side(code), side(code + " + 1")), 60).splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("-     return"))
    assert re.match(r" {10}\+? ?name", lines[at + 1])


def test_the_terminal_says_what_differs(found):
    page = shown(found, 140)
    for says in (
        "lines of code         5       5",
        "in both               2       2",
        "only here             1       1",
        "imports only ours: os",
        "imports only theirs: re",
        "only_a     constant      1",
        "OnlyB        class      1",
        "f (same name)".replace(" (", "  ("),
        "theirs, signature: (x, *, y: int=2)",
        "ours, values only here: 'é', 70, 1",
    ):
        assert says in page, says


def test_markdown(found):
    page = compare_view.as_markdown(found)
    assert "| `f` | same name | 2 / 2 | signature, values, body |" in page
    assert "| `only_a` | constant | 1 |" in page and "imports only theirs: `re`" in page
    assert '````python\nTAG = "<script>' in page, "a fence is longer than any in the code"
    assert "```python\ndef f(x):\n" in page and "- signature: `(x, *, y: int=2)`" in page


def test_html_is_whole_escaped_and_loads_nothing(found):
    class Reader(HTMLParser):
        tags, text = (), ""

        def handle_starttag(self, tag, attrs):
            self.tags += (tag,)
            assert not {"src", "onclick"} & dict(attrs).keys()
            assert dict(attrs).get("href", "#").startswith("#")

        def handle_data(self, data):
            self.text += data

    page, reader = compare_view.as_html(found), Reader()
    reader.feed(page)
    assert "script" not in reader.tags and "link" not in reader.tags and "img" not in reader.tags
    assert "<script>alert(1)</script>" in reader.text and "'&amp;'" in reader.text and "é" in reader.text
    assert "://" not in page and "url(" not in page and "@import" not in page
    assert page.count("<figure>") == page.count("</figure>") == 4
    targets = re.findall(r'href="#(\w+)"', page)
    assert targets and all(f'id="{target}"' in page for target in targets)


def test_a_long_function_is_aligned(side):
    ours = "def f():\n" + "".join(f"    a{i} = {i}\n" for i in range(50))
    (pair,) = compare(
        side(ours), side(ours.replace("    a7 = 7\n", "").replace("a30 = 30", "a30 = 31"))
    ).pairs
    rows = compare_view.opposite(pair)
    assert [lines for lines, differ in rows if differ] == [
        ("    a7 = 7", None),
        ("    a30 = 30", "    a30 = 31"),
    ]


# -- mistakes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content, says",
    [
        (None, "is no file"),
        ("folder", "is a folder: name a Python file in it"),
        (b"", "holds no code: there is nothing to compare"),
        (b"# only a comment\n'''and a docstring'''\n", "holds no code"),
        (b"x = 1\ndef f(:\n", r"has a syntax error\. Line 2"),
        (b"return 1\n", r"has a syntax error\. Line 1: 'return' outside function"),
        (b"x = '\xe9'", r"is not UTF-8 text \(byte 5\)"),
        (b"x = 1\0", "null"),
        (b"x = " + b"(" * 500 + b")" * 500, "parenthes"),
        (b"x = 0x" + b"f" * 5000, "can't be taken apart"),
        (b"\xef\xbb\xbfx = 1\r\ny = 2\r", None),
        (b"x = '\\d'\n", None),
    ],
)
def test_what_can_not_be_read_is_said_in_a_sentence(tmp_path, content, says, recwarn):
    path = tmp_path / "x.py"
    path.mkdir() if content == "folder" else content is not None and path.write_bytes(content)
    if says is None:
        assert names(read(path))[0] == "x" and not recwarn
        return
    with pytest.raises(CourseError, match=says):
        read(path)


def test_deeply_nested_code_is_compared_or_refused_but_never_a_traceback(side):
    chain = "x = " + " + ".join(["a"] * 900)
    elifs = "if a: b = 1\n" + "".join(f"elif a == {i}: b = 1\n" for i in range(900))
    for code in (chain, elifs):
        try:
            assert names(side(code))
        except CourseError as error:
            assert "taken apart" in str(error) or "not readable" in str(error)


@pytest.fixture
def run(space, capsys):
    def call(*arguments):
        try:
            code = cli.main(["--workspace", str(space.path), "compare", *map(str, arguments)])
        except SystemExit as stop:
            code = stop.code
        return (code, *capsys.readouterr())

    return call


def test_the_command(run, space, lesson, checkout):
    code, out, err = run()
    assert (code, err) == (0, "") and "yours" in out and "Not written yet" in out
    space.write(lesson, reference(lesson))
    assert "The two are the same, to the letter." in run(lesson.id, "--with", "mine")[1]
    page = checkout / "page.html"
    code, out, _ = run("1.2", "--nanochat", checkout, "--format", "html", "--out", page)
    assert (code, out) == (0, f"Written: {page}\n") and page.read_text("utf-8").startswith("<!doctype html>")
    assert run("1.2", "--nanochat", checkout, "--format", "html")[1] == page.read_text("utf-8")
    assert run("1.2", "--nanochat", checkout, "--out", page)[0] == 0
    assert "CausalSelfAttention.forward" in page.read_text("utf-8")


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["9.9"], "there is no lesson '9.9'"),
        (["1.2"], "1.2 is not started: run `mini-nanochat start 1.2`."),
        (["--format", "pdf"], "invalid choice: 'pdf'"),
        (["--with", "gpt"], "invalid choice: 'gpt'"),
        (["1.2", "--with", "nanochat"], CLONE),
        (["1.2", "--nanochat", "nowhere"], "nowhere is no folder. Get it with `git clone"),
        (["--out", "nowhere/x.md"], "nowhere: name a file in a folder that exists"),
        (["--out", "."], ". is no file: name a file"),
        (["--out", "mine.py"], "mine.py would be a Python file"),
    ],
)
def test_a_mistake_is_one_sentence(run, arguments, says):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "") and says in err and len(err.splitlines()) == 1


def test_the_tool(elsewhere, capsys, monkeypatch):
    spec = importlib.util.spec_from_file_location("tool", ROOT / "tools/comparator/compare.py")
    tool = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "tool", tool)  # dataclasses look for their module
    spec.loader.exec_module(tool)

    def call(*arguments):
        try:
            code = tool.run(tool.Config, tool.main, list(arguments), prog="compare.py")
        except SystemExit as stop:
            code = stop.code
        return (code, *capsys.readouterr())

    (elsewhere / "a.py").write_text("def f(): return 1\n")
    (elsewhere / "b.py").write_text("def f(): return 2\n")
    code, out, err = call("--ours", "a.py", "--theirs", "b.py", "--format", "markdown")
    assert (code, err) == (0, "") and "| `f` | same name | 1 / 1 | values, body |" in out
    for arguments, says in (
        (
            ["--ours", "a.py"],
            "a.py is no lesson's module, so nanochat has no counterpart: say --theirs PATH.",
        ),
        (["--ours", "a.py", "--theirs", "c.py"], "c.py is no file."),
        (["--ours", "a.py", "--theirs", "b.py", "--format", "pdf"], "there is no format 'pdf'"),
        (["--ours", "a.py", "--theirs", "b.py", "--nanochat", "."], "say --theirs or --nanochat, not both"),
        (["--ours", str(ROOT / ATTENTION.module)], f"Get it with `{CLONE}`, then say --nanochat FOLDER."),
    ):
        code, out, err = call(*arguments)
        assert (code, out) == (2, "") and says in err and len(err.splitlines()) == 1
