"""Which call a failing check made, as a learner can repeat it: the expression and the values in it."""

from __future__ import annotations

import ast
import traceback
from pathlib import Path
from types import FrameType, ModuleType, TracebackType

LIMIT = 160  # characters of a line that are shown
VALUES = 3  # values that are shown with an expression


def call(trace: TracebackType | None, tests: Path) -> str:
    """The expression that failed in the file `tests`, then "with x = ..." for the values it names.

    Empty where the traceback never was in that file, or where nothing was called.
    """
    inside = [(f, line) for f, line in traceback.walk_tb(trace) if Path(f.f_code.co_filename) == tests]
    inside = [(frame, line) for frame, line in inside if frame.f_code.co_name.startswith("test_")]
    if not inside:
        return ""
    frame, line = inside[-1]
    tree = ast.parse(tests.read_text("utf-8"))
    statement = _statement(tree, line)
    expression = _expression(statement) if statement is not None else None
    if isinstance(expression, ast.Name):  # got = merge(...); assert got == wanted
        expression = _assigned(tree, expression.id, frame, line) or expression
    if expression is None or isinstance(expression, ast.Name):
        return ""
    return "\n".join([_cut(ast.unparse(expression)), *_values(expression, frame)])


def _statement(tree: ast.Module, line: int) -> ast.stmt | None:
    """The innermost statement that stands on this line."""
    around = [
        n for n in ast.walk(tree) if isinstance(n, ast.stmt) and n.lineno <= line <= (n.end_lineno or 0)
    ]
    return min(around, key=lambda node: (node.end_lineno or 0) - node.lineno, default=None)


def _expression(statement: ast.stmt) -> ast.expr | None:
    """What the learner's code was asked for in a statement of a test."""
    if isinstance(statement, ast.With) and isinstance(statement.body[0], ast.stmt):
        return _expression(statement.body[0])
    if isinstance(statement, ast.Assert):
        test = statement.test
        return test.left if isinstance(test, ast.Compare) else test
    if isinstance(statement, ast.Assign | ast.Expr | ast.Return | ast.AnnAssign):
        return statement.value
    return None


def _assigned(tree: ast.Module, name: str, frame: FrameType, line: int) -> ast.expr | None:
    """The expression last assigned to `name` above this line, in the function that was running."""
    found = None
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign) or not frame.f_code.co_firstlineno <= node.lineno < line:
            continue
        if any(isinstance(target, ast.Name) and target.id == name for target in node.targets):
            found = node if found is None or node.lineno > found.lineno else found
    return found.value if found else None


def _values(expression: ast.expr, frame: FrameType) -> list[str]:
    """ "with x = ..." for the names in the expression that hold data."""
    bound = {arg.arg for node in ast.walk(expression) if isinstance(node, ast.arg) for arg in [node]}
    # In `lambda ids=ids: ...` the name on the right is the test's own.
    bound -= {
        arg.id for node in ast.walk(expression) if isinstance(node, ast.Lambda) for arg in _defaults(node)
    }
    names = [n.id for n in ast.walk(expression) if isinstance(n, ast.Name) and n.id not in bound]
    lines = []
    for name in dict.fromkeys(names):
        value = frame.f_locals.get(name, frame.f_globals.get(name, len))
        if callable(value) or isinstance(value, ModuleType) or repr(value).startswith("<"):
            continue  # an object without a readable face helps nobody
        lines.append(_cut(f"with {name} = {value!r}"))
    return lines[:VALUES]


def _defaults(node: ast.Lambda) -> list[ast.Name]:
    return [default for default in node.args.defaults if isinstance(default, ast.Name)]


def _cut(text: str) -> str:
    return text if len(text) <= LIMIT else f"{text[: LIMIT - 4]} ..."
