"""stubs: bodies cut out, functions in and out of a file, and never a line lost that was not asked for."""

from __future__ import annotations

import ast
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mini_nanochat.course import stubs
from mini_nanochat.course.errors import CourseError
from mini_nanochat.course.manifest import curriculum
from mini_nanochat.course.workspace import reference

RAISE = 'raise NotImplementedError("0.1: {}")'


def text(code):
    """An indented block of code, moved to the left margin."""
    return textwrap.dedent(code).lstrip("\n")


def stub(code, *names):
    return stubs.stub(text(code), "0.1", names)


# -- stubs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        "def f(x):",
        "async def f(x):",
        "@cache\n@wraps(\n    len\n)\ndef f(x):",
        "def f(\n    x: int,  # a comment\n    y: str = 'é',\n) -> None:",
        "def f(x):\n    '''One line.'''",
        'def f(x):\n    """Two.\n\n    raise, not really.\n    """',
    ],
)
@pytest.mark.parametrize(
    "body",
    [
        "return 1",
        "# why\n\n# and how\nreturn 1",
        "def g():\n    return 2\n\nreturn g",
        "@cache\ndef g(): pass",
    ],
)
def test_the_head_stays_and_the_body_goes(head, body):
    source = f"import os\n\n\n{head}\n{textwrap.indent(body, '    ')}\n\n\nlast = 1\n"
    wanted = f"import os\n\n\n{head}\n    {RAISE.format('f')}\n\n\nlast = 1\n"
    assert stubs.stub(source, "0.1", ["f"]) == wanted


@pytest.mark.parametrize(
    "code, head",
    [
        ("def f(x): return x\n", "def f(x):"),
        ("def f(x='é'): return x; y = 1\n", "def f(x='é'):"),
        ("def f(x,\n      y): return x\n", "def f(x,\n      y):"),
    ],
)
def test_a_body_on_the_line_of_its_head(code, head):
    assert stubs.stub(code, "0.1", ["f"]) == f"{head}\n    {RAISE.format('f')}\n"


def test_methods_of_the_right_class():
    code = """
        class A:
            def f(self):
                return 1

        class B:
            x = 1

            @property
            def f(self):
                "doc"
                return 2
    """
    wanted = text(code).replace("        return 2", f"        {RAISE.format('B.f')}")
    assert stub(code, "B.f") == wanted


def test_of_two_definitions_the_last_counts_as_in_python():
    code = "def f():\n    return 1\n\n\ndef f():\n    return 2\n"
    assert stubs.stub(code, "0.1", ["f"]) == code.replace("return 2", RAISE.format("f"))


def test_several_at_once_and_in_any_order():
    code = "def f():\n    return 1\n\n\ndef g():\n    return 2\n"
    both = stubs.stub(code, "0.1", ["f", "g"])
    assert both == stubs.stub(code, "0.1", ["g", "f"])
    assert both.count("raise") == 2 and "return" not in both


@pytest.mark.parametrize("name", ["g", "A.f", "f.g"])
def test_a_function_that_is_not_there_is_named(name):
    with pytest.raises(CourseError, match=f"no {name}: did it get another name"):
        stub("def f():\n    def g(): pass\n", name)


@pytest.mark.parametrize("mark", ["\x0c", "\u2028", "\x1c", "\x85"])
def test_only_line_ends_end_lines(mark):
    code = f"x = '{mark}'\n\n\ndef f():\n    return '{mark}'\n\n\ndef g():\n    return 2\n"
    assert stubs.extract(code, "g") == "def g():\n    return 2\n"
    assert stubs.extract(code, "f") == f"def f():\n    return '{mark}'\n"
    assert stubs.splice(code, "g", "def g():\n    return 3\n") == code.replace("return 2", "return 3")


# -- out and in again -----------------------------------------------------------------------------

LESSONS = [(lesson, name) for lesson in curriculum().lessons for name in lesson.todo]


@pytest.mark.parametrize("lesson, name", LESSONS, ids=[f"{a.id}-{b}" for a, b in LESSONS])
def test_a_stub_filled_with_the_solution_is_the_reference(lesson, name):
    ours = reference(lesson)
    stubbed = stubs.stub(ours, lesson.id, [name])
    assert stubbed != ours
    code = stubs.extract(ours, name)
    compile(code, "cell", "exec")
    assert stubs.splice(stubbed, name, code) == ours


def test_all_stubs_of_a_lesson_filled_are_the_reference():
    for lesson in curriculum().lessons:
        ours = reference(lesson)
        source = stubs.stub(ours, lesson.id, lesson.todo)
        assert source.count("raise NotImplementedError") >= len(lesson.todo)
        for name in lesson.todo:
            source = stubs.splice(source, name, stubs.extract(ours, name))
        assert source == ours


METHOD = '''
class A:
    def before(self): pass

    @staticmethod
    def f(x):
        """Doc.

            indented
        """
        y = """a
        b
    c
d"""
        z = f"""{x}
        {y
        }
      e"""
        # a comment
      # another, out of place
        return (x +
    1), y, z

    def after(self): pass
'''


def test_a_method_moves_out_and_in_and_its_strings_stay():
    code = stubs.extract(METHOD, "A.f")
    assert code.startswith("@staticmethod\ndef f(x):\n") and "\n        b\n    c\nd" in code
    moved = stubs.splice(METHOD, "A.f", code)
    results = []
    for source in (METHOD, moved):
        scope = {}
        exec(source, scope)
        results.append(scope["A"].f(1))
    assert results[0] == results[1]
    assert ast.dump(ast.parse(moved)) == ast.dump(ast.parse(METHOD))


@given(
    st.lists(
        st.sampled_from(
            ["a = 1", "'''x\n  y'''", "b = '''x\n  y\n        z'''", "# c", "", "if 1:\n    pass"]
        ),
        max_size=6,
    ),
    st.sampled_from(["    ", "  ", "\t"]),
)
def test_out_and_in_changes_nothing_that_python_sees(lines, margin):
    body = "\n".join([*lines, "pass"])
    inside = stubs._inside_strings(body)
    pieces = [
        line if at in inside or not line else margin * 2 + line for at, line in enumerate(body.split("\n"))
    ]
    source = f"class A:\n{margin}x = 1\n\n{margin}def f(self):\n" + "\n".join(pieces) + f"\n\n{margin}y = 2\n"
    tree = ast.dump(ast.parse(source))
    moved = stubs.splice(source, "A.f", stubs.extract(source, "A.f"))
    assert ast.dump(ast.parse(moved)) == tree


@pytest.mark.filterwarnings("ignore:invalid escape sequence")
@given(st.text(alphabet="xyz:\n()'\"#= \\\t\x0c\u2028é", max_size=40))
def test_a_cell_of_rubbish_is_refused_or_fits(rubbish):
    source = "def f():\n    return 1\n\n\ndef g():\n    return 2\n"
    try:
        spliced = stubs.splice(source, "f", rubbish + "\ndef f():\n    return 3\n")
    except CourseError:
        return
    assert ast.parse(spliced) and "return 2" in spliced and "return 3" in spliced


# -- what a cell may bring along ------------------------------------------------------------------

FILE = (
    '"""Doc."""\n\nimport os\n\n\ndef f():\n    return os\n\n\nclass A:\n    def m(self):\n        return 1\n'
)


def test_helpers_come_before_the_function_and_are_replaced_the_second_time():
    once = stubs.splice(FILE, "f", "def helper():\n    return 1\n\ndef f():\n    return helper()\n")
    assert once.index("def helper") < once.index("def f")
    twice = stubs.splice(once, "f", "def helper():\n    return 2\n\ndef f():\n    return helper()\n")
    assert twice == once.replace("return 1\n\n\ndef f", "return 2\n\n\ndef f")


def test_helpers_of_a_method_come_before_its_class():
    new = stubs.splice(FILE, "A.m", "class Pair:\n    pass\n\ndef m(self):\n    return Pair()\n")
    assert new.index("class Pair") < new.index("class A")
    assert "    def m(self):\n        return Pair()\n" in new


def test_imports_are_added_once_below_the_others():
    cell = "import os\nimport re, sys\nfrom math import (\n    pi,\n)\n\ndef f():\n    return pi\n"
    new = stubs.splice(FILE, "f", cell)
    assert new == stubs.splice(new, "f", cell)
    assert new.startswith('"""Doc."""\n\nimport os\nimport re, sys\nfrom math import pi\n\n\ndef f')


def test_a_first_import_comes_below_the_docstring():
    new = stubs.splice('"""Doc."""\n\ndef f():\n    pass\n', "f", "import os\ndef f():\n    return os\n")
    assert ast.get_docstring(ast.parse(new)) == "Doc." and "import os" in new


def test_a_deleted_function_comes_back():
    assert "def g():\n    return 9" in stubs.splice(FILE, "g", "def g():\n    return 9\n")


def test_a_deleted_method_comes_back_into_its_class():
    new = stubs.splice(FILE, "A.n", "def n(self):\n    return 9\n")
    scope = {}
    exec(new, scope)
    assert scope["A"]().n() == 9 and scope["A"]().m() == 1


def test_a_deleted_class_is_named_and_its_method_put_nowhere():
    with pytest.raises(CourseError, match="defines no class B"):
        stubs.splice(FILE, "B.m", "def m(self):\n    return 9\n")


def test_tabs_in_the_file_or_in_the_cell():
    file = "class A:\n\tdef m(self):\n\t\treturn 1\n\n\tdef n(self):\n\t\treturn 2\n"
    for cell in (
        "def m(self):\n    return 3\n",
        "def m(self):\n\treturn 3\n",
        "def m(self):\r\n  return 3\r\n",
    ):
        scope = {}
        exec(stubs.splice(file, "A.m", cell), scope)
        assert (scope["A"]().m(), scope["A"]().n()) == (3, 2)


@pytest.mark.parametrize(
    "cell, says",
    [
        ("def f(:\n    pass", "the cell for f has a syntax error. Line 1"),
        ("x = 1\ndef f():\n    return x", "line 1 of the cell is neither a function nor an import"),
        ("print(f())", "line 1 of the cell is neither"),
        ("def g():\n    return 1", "the cell does not define f: keep its `def f"),
        ("", "the cell does not define f"),
        ("class A:\n    def f(self): pass", "the cell does not define f"),
        ("%timeit f()", "syntax error"),
        ("return 1", "syntax error. Line 1: 'return' outside function"),
        ("def f():\n\tif 1:\n        return 1", "syntax error. Line 3"),
        ("def f():\n    return '\ud800'", "not readable as Python"),
        ("def f():\n    return '\x00'", "null bytes"),
        (
            "from __future__ import division\ndef f(): pass",
            "from __future__ imports must occur at the beginning",
        ),
        ("def f():\n    return " + "(" * 500, "cell for f"),
    ],
)
def test_a_cell_that_can_not_be_taken_is_refused_in_words(cell, says):
    with pytest.raises(CourseError) as refusal:
        stubs.splice(FILE, "f", cell)
    assert says in str(refusal.value)


@pytest.mark.parametrize("act", [stubs.extract, stubs.find, lambda s, n: stubs.splice(s, n, "def f(): pass")])
def test_a_file_with_a_syntax_error_is_no_traceback(act):
    with pytest.raises(CourseError, match=r"the file has a syntax error. Line 1"):
        act("def f(:\n", "f")


def test_a_syntax_error_shows_its_line_and_place():
    with pytest.raises(CourseError) as refusal:
        stubs.parse("if 1:\n\tx = = 2\n", "the cell")
    assert str(refusal.value).splitlines()[1:] == ["    \tx = = 2", "    \t    ^"]
