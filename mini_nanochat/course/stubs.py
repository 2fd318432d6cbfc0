"""Stubs from the reference, and single functions in and out of a file, by name.

Nothing is written twice: a stub is the reference with the bodies named in `todo` cut out. The work is
done on lines of text, with `ast` telling which lines, so comments and layout survive.
A name is a function ("merge") or a method ("ByteTokenizer.encode").
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterable

from mini_nanochat.course.errors import CourseError

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def find(source: str, name: str) -> Function | None:
    """The syntax node of the function or method `name`, the last one if it is defined twice."""
    body: list[ast.stmt] = parse(source, "the file").body
    *owners, last = name.split(".")
    for owner in owners:
        classes = [node for node in body if isinstance(node, ast.ClassDef) and node.name == owner]
        body = classes[-1].body if classes else []
    found = [node for node in body if isinstance(node, Function) and node.name == last]
    return found[-1] if found else None


def _lines(text: str) -> list[str]:
    """`text` in the lines that Python counts: str.splitlines would also cut at a form feed or U+2028."""
    lines = re.split(r"\r\n|\r|\n", text)
    return lines if lines[-1] else lines[:-1]


def _span(node: ast.stmt) -> tuple[int, int]:
    """First and last line of a statement, decorators included, counted from 0, end exclusive."""
    decorators = node.decorator_list if isinstance(node, Definition) else []
    first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
    return first - 1, node.end_lineno or node.lineno


def _before(node: ast.stmt, lines: list[str]) -> str:
    """What stands before a statement on its line: its indentation, or the `def` line it shares."""
    return lines[node.lineno - 1].encode()[: node.col_offset].decode()  # ast counts bytes


def _need(source: str, name: str) -> Function:
    node = find(source, name)
    if node is None:
        raise CourseError(f"the file defines no {name}: did it get another name, or get lost?")
    return node


def marker(lesson_id: str, name: str) -> str:
    """What an unwritten body says: the text of its NotImplementedError."""
    return f"{lesson_id}: {name}"


def stub(source: str, lesson_id: str, names: Iterable[str]) -> str:
    """`source` with the bodies of `names` replaced by NotImplementedError; signature and docstring stay."""
    for name in names:
        node = _need(source, name)
        lines = _lines(source)
        first, last = _span(node)
        keep = lines[first : _head_end(node, lines)]
        before = _before(node.body[0], lines).rstrip()
        if before:  # def f(x): return x
            keep = [*lines[first : node.body[0].lineno - 1], before]
        indent = " " * (node.col_offset + 4)
        unwritten = f'{indent}raise NotImplementedError("{marker(lesson_id, name)}")'
        source = "\n".join([*lines[:first], *keep, unwritten, *lines[last:]]) + "\n"
    return source


def _head_end(node: Function, lines: list[str]) -> int:
    """The line (from 0) at which the part that a stub keeps ends: after the docstring or the signature."""
    if ast.get_docstring(node, clean=False) is not None:
        return node.body[0].end_lineno or node.lineno
    end = _span(node.body[0])[0]
    while end > node.lineno and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")):
        end -= 1
    return end


def extract(source: str, name: str) -> str:
    """The text of `name`, decorators included, moved to the left margin."""
    node = _need(source, name)
    first, last = _span(node)
    inside, lines = _inside_strings(source), _lines(source)
    margin = len(_before(node, lines))
    out = []
    for at, line in enumerate(lines[first:last], start=first):
        blanks = len(line) - len(line.lstrip())
        out.append(line if at in inside else line[min(margin, blanks) :])
    return "\n".join(out) + "\n"


def splice(source: str, name: str, code: str) -> str:
    """`source` with `name` replaced by the definition in `code`.

    `code` may bring helper functions, classes and imports along: helpers are replaced where they exist
    and put before `name` where they don't; imports are added once. Raises CourseError, and nothing is
    changed, for a syntax error or for statements that are neither.
    """
    tree = parse(code, f"the cell for {name}")
    last = name.split(".")[-1]
    definitions = [node for node in tree.body if isinstance(node, Definition)]
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    other = [node for node in tree.body if node not in definitions and node not in imports]
    if other:
        raise CourseError(
            f"line {other[0].lineno} of the cell is neither a function nor an import. An exercise cell is "
            "written into your file: put experiments into a cell of their own."
        )
    if last not in [node.name for node in definitions]:
        raise CourseError(f"the cell does not define {last}: keep its `def {last}(...)` line.")
    for node in definitions:
        text = "\n".join(_lines(code)[slice(*_span(node))])
        source = _put(source, name if node.name == last else node.name, text, before=name)
    for statement in imports:
        source = _add_import(source, ast.unparse(statement))
    parse(source, "the file")
    return source


def _put(source: str, name: str, text: str, before: str) -> str:
    """Replaces definition `name` by `text`; a new method joins its class, a new helper precedes `before`."""
    lines, top = _lines(source), parse(source, "the file").body
    classes = {node.name: node for node in top if isinstance(node, ast.ClassDef)}
    target: Definition | None = find(source, name) or classes.get(name)
    if target is not None:
        first, last = _span(target)
        return "\n".join([*lines[:first], *_indent(text, _before(target, lines)), *lines[last:]]) + "\n"
    owner = name.rpartition(".")[0]
    if owner:
        if owner not in classes:
            raise CourseError(f"the file defines no class {owner}: did it get another name, or get lost?")
        margin, at = _before(classes[owner].body[0], lines), _span(classes[owner])[1]
        return "\n".join([*lines[:at], "", *_indent(text, margin), *lines[at:]]) + "\n"
    nodes = [n for n in top if isinstance(n, Definition) and n.name == before.split(".")[0]]
    at = _span(nodes[-1])[0] if nodes else len(lines)
    return "\n".join([*lines[:at], *_lines(text), "", "", *lines[at:]]) + "\n"


def _indent(text: str, margin: str) -> list[str]:
    """The lines of `text` moved to the right, but not the inside of its strings (docstrings excepted)."""
    inside = _inside_strings(text)
    return [
        line if at in inside or not line.strip() else margin + line for at, line in enumerate(_lines(text))
    ]


def _inside_strings(text: str) -> set[int]:
    """The lines (from 0) that begin inside a string, so that moving them would change it; not docstrings."""
    opening = {getattr(tokenize, f"{kind}STRING_START", None) for kind in "FT"} - {None}  # Python 3.12, 3.14
    closing = {getattr(tokenize, f"{kind}STRING_END", None) for kind in "FT"} - {None}
    inside: set[int] = set()
    starts: list[int] = []
    previous = None
    for token in tokenize.generate_tokens(io.StringIO("\n".join(_lines(text)) + "\n").readline):
        docstring = previous in (None, tokenize.INDENT, tokenize.DEDENT, tokenize.NEWLINE)
        if token.type == tokenize.STRING and not docstring:
            inside.update(range(token.start[0], token.end[0]))
        elif token.type in opening:
            starts.append(token.start[0])
        elif token.type in closing:
            inside.update(range(starts.pop(), token.end[0]))
        if token.type not in (tokenize.NL, tokenize.COMMENT):
            previous = token.type
    return inside


def _add_import(source: str, line: str) -> str:
    """Adds an import line below the last top-level import (or the docstring), unless it is there already."""
    tree = parse(source, "the file")
    imports: list[ast.stmt] = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
    if line in [ast.unparse(node) for node in imports]:
        return source
    lines = _lines(source)
    above = imports or (tree.body[:1] if ast.get_docstring(tree) is not None else [])
    at = _span(above[-1])[1] if above else 0
    return "\n".join([*lines[:at], line, *lines[at:]]) + "\n"


def parse(code: str, where: str) -> ast.Module:
    """`code` as a syntax tree; raises CourseError that shows the line for a syntax error."""
    try:
        compile(code, where, "exec", dont_inherit=True)  # sees what ast lets pass, such as a return outside
        return ast.parse(code)
    except SyntaxError as error:
        raise CourseError(f"{where} has a syntax error. {show_syntax_error(error)}") from None
    except (ValueError, RecursionError, MemoryError) as error:  # a NUL, a lone surrogate, a thousand brackets
        raise CourseError(f"{where} is not readable as Python: {error}.") from None


def show_syntax_error(error: SyntaxError) -> str:
    """A syntax error in words, with its line and a mark below the place."""
    if not error.lineno or not error.text:
        return f"Line {error.lineno}: {error.msg}" if error.lineno else error.msg
    line = error.text.rstrip("\n")
    before = "".join("\t" if mark == "\t" else " " for mark in line[: max((error.offset or 1) - 1, 0)])
    return f"Line {error.lineno}: {error.msg}\n    {line}\n    {before}^"
