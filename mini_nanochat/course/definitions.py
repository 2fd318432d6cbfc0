"""A Python file as what it defines: each definition with its signature, its code and what it is made of.

A definition is a function, a method (Class.method), a class without its methods, or a constant: a name
that the module assigns. Docstrings and comments are no part of it.
"""

from __future__ import annotations

import ast
import builtins
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mini_nanochat.course import stubs
from mini_nanochat.course.errors import CourseError

NAMED = 5  # how much a name from outside weighs in a bag against a nameless node

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
Assigned = ast.Assign | ast.AnnAssign
Mark = tuple[object, ...]


@dataclass(frozen=True)
class Definition:
    """What a file binds one name to; several statements may do so (overloads, if and else)."""

    name: str  # with its class: GPT.forward
    kind: str  # function, method, class, constant
    lines: int  # of code, without docstrings
    signature: str
    body: tuple[Mark, ...]  # the syntax tree, without docstrings: equal where the code is
    bag: Counter[str]  # what likeness is measured by
    values: Counter[str]  # numbers and texts
    source: str  # without docstrings, at the left margin
    written: bool  # False if the body only raises NotImplementedError
    wraps: str  # the name of the one function that it calls and returns

    @property
    def owner(self) -> str:
        """The class of a method."""
        return self.name.rpartition(".")[0]

    @property
    def last(self) -> str:
        return self.name.rpartition(".")[2]

    @property
    def family(self) -> str:
        return "function" if self.kind == "method" else self.kind

    @cached_property
    def words(self) -> set[str]:
        """Those of the name: RustBPETokenizer.encode_batch -> rust, bpe, tokenizer, encode, batch."""
        return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+", self.name)}

    @cached_property
    def weight(self) -> int:
        """Of the bag."""
        return sum(count * weight(feature) for feature, count in self.bag.items())


@dataclass(frozen=True)
class Side:
    """One of the two: a file, or some of its definitions."""

    title: str
    lines: int
    imports: dict[str, str]  # full name -> the name it has in the file
    definitions: tuple[Definition, ...]
    text: str = ""

    def methods(self, owner: Definition) -> set[str]:
        """The public methods of a class."""
        return {d.last for d in self.definitions if d.owner == owner.name and not d.last.startswith("_")}


# -- reading a file ---------------------------------------------------------------------------------


def read(path: Path, title: str = "", only: Sequence[str] = ()) -> Side:
    """The file at `path`; with `only`, these definitions of it and what they contain.

    Raises CourseError for what is no Python file: missing, a folder, not UTF-8, a syntax error, no code.
    """
    if not path.is_file():
        raise CourseError(
            f"{path} is {'a folder: name a Python file in it' if path.is_dir() else 'no file'}."
        )
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CourseError(f"{path} is not UTF-8 text (byte {error.start}).") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about escapes in somebody else's strings
        tree = stubs.parse(text, str(path))
    try:
        side = _side(tree, text, title or str(path))
    except (RecursionError, ValueError) as error:  # a thousand elifs, a number of 5,000 digits
        raise CourseError(f"{path} can't be taken apart: {error}.") from None
    if not tree.body:
        raise CourseError(f"{path} holds no code: there is nothing to compare.")
    return _part(side, only) if only else side


def _part(side: Side, only: Sequence[str]) -> Side:
    """The definitions named in `only`, what they contain, and the imports that they use."""
    kept = [d for d in side.definitions if any(f"{d.name}.".startswith(f"{name}.") for name in only)]
    used = {word for one in kept for word in re.findall(r"\w+", f"{one.signature} {' '.join(one.bag)}")}
    imports = {full: bound for full, bound in side.imports.items() if bound in used}
    return Side(side.title, sum(one.lines for one in kept), imports, tuple(kept))


def _side(tree: ast.Module, text: str, title: str) -> Side:
    lines = re.split(r"\r\n|\r|\n", text)  # as Python counts them
    docs = set(_drop_docstrings(tree))
    docs |= {at + 1 for at in docs if at < len(lines) and not lines[at].strip()}  # the blank line below one
    code = {at for at, line in enumerate(lines, 1) if line.strip() and not line.lstrip().startswith("#")}
    found: dict[str, list[ast.stmt]] = {}
    for name, node in _definitions(tree.body):
        found.setdefault(name, []).append(node)
    definitions = tuple(_define(name, nodes, lines, code - docs, docs) for name, nodes in found.items())
    return Side(title, len(code - docs), dict(_imports(tree)), definitions, text)


def _drop_docstrings(tree: ast.Module) -> Iterator[int]:
    """Takes all docstrings out of the tree; yields the lines that they stood on alone."""
    for node in ast.walk(tree):
        if isinstance(node, Documented) and ast.get_docstring(node, clean=False) is not None:
            doc = node.body.pop(0)
            first = getattr(node, "lineno", 0)
            yield from (at for at in range(doc.lineno, (doc.end_lineno or 0) + 1) if at > first)


def _definitions(body: Iterable[ast.AST], owner: str = "") -> Iterator[tuple[str, ast.stmt]]:
    """(name, statement) of all that is defined, also under `if`, `try` and `with`; not inside functions."""
    for node in body:
        if isinstance(node, stubs.Definition):
            yield owner + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from _definitions(node.body, f"{owner}{node.name}.")
        elif isinstance(node, Assigned) and not owner:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from ((name, node) for target in targets for name in _bound(target))
        elif not isinstance(node, ast.expr):
            yield from _definitions(ast.iter_child_nodes(node), owner)


def _bound(target: ast.expr) -> list[str]:
    """The names that an assignment to `target` binds: a, (b, *c); not x.y or z[0]."""
    return [n.id for n in ast.walk(target) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]


def _imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """(full name, name in the file) of each import: `from torch import nn` gives torch.nn, nn."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, alias.asname or alias.name.partition(".")[0]
        elif isinstance(node, ast.ImportFrom):
            parent = "." * node.level + (f"{node.module}." if node.module else "")
            yield from ((parent + alias.name, alias.asname or alias.name) for alias in node.names)


def _define(name: str, nodes: list[ast.stmt], lines: list[str], code: set[int], docs: set[int]) -> Definition:
    """The definition of `name` by `nodes`; `code` and `docs` are the lines of code and of docstrings."""
    last = nodes[-1]
    kind = "class" if isinstance(last, ast.ClassDef) else "constant"
    if isinstance(last, stubs.Function):
        kind = "method" if "." in name else "function"
    kept: list[int] = []
    for node in nodes:
        inner = {at for one in _methods(node) for at in _span(one)}
        kept += [at for at in _span(node) if at not in docs and at not in inner]
    return Definition(
        name=name,
        kind=kind,
        lines=sum(at in code for at in kept),
        signature=" / ".join(dict.fromkeys(_signature(node) for node in nodes)),
        body=tuple(mark for node in nodes for mark in _marks(node)),
        bag=sum((_bag(node) for node in nodes), Counter()),
        values=Counter(text for node in nodes for text in _values(node)),
        source=_text([lines[at - 1] for at in kept]),
        written=not all(_unwritten(node) for node in nodes),
        wraps=_wrapped(last),
    )


def _methods(node: ast.AST) -> list[ast.AST]:
    """The definitions right inside a class, also those under an `if`."""
    if not isinstance(node, ast.ClassDef):
        return []
    return [
        one for name, one in _definitions(node.body) if isinstance(one, stubs.Definition) and "." not in name
    ]


def _span(node: ast.AST) -> range:
    """The lines of a statement, decorators included, from 1."""
    decorators = getattr(node, "decorator_list", [])
    first = min(one.lineno for one in [node, *decorators])
    return range(first, (getattr(node, "end_lineno", 0) or first) + 1)


def _text(lines: list[str]) -> str:
    """The lines at the left margin, and no two blank ones in a row."""
    margin = min((len(line) - len(line.lstrip()) for line in lines[:1]), default=0)
    moved = [line[min(margin, len(line) - len(line.lstrip())) :].rstrip() for line in lines]
    kept = [line for before, line in zip(["", *moved], moved) if line or before]
    return "\n".join(kept).strip("\n")


# -- what a definition is made of -------------------------------------------------------------------


def _parts(node: ast.AST) -> list[tuple[str, ast.AST]]:
    """(field, node) of what a definition consists of, without its signature and, in a class, its methods."""
    if isinstance(node, Assigned):
        return [("value", node.value)] if node.value else []
    return [("body", one) for one in getattr(node, "body", [])]


def _walk(node: ast.AST, methods: bool = False) -> Iterator[tuple[int, str, ast.AST]]:
    """(depth, field, node) of all that `_parts` holds, from top to bottom."""
    stopped = [] if methods else _methods(node)
    todo = [(0, *part) for part in reversed(_parts(node))]
    while todo:
        depth, field, one = todo.pop()
        if one in stopped:
            continue
        yield depth, field, one
        for name, value in reversed(list(ast.iter_fields(one))):
            values = value if isinstance(value, list) else [value]
            todo += [(depth + 1, name, child) for child in reversed(values) if isinstance(child, ast.AST)]


def _marks(node: ast.AST) -> Iterator[Mark]:
    """The tree as a row of marks; two rows are equal if and only if the trees are."""
    for depth, field, one in _walk(node):
        plain: list[object] = []
        for name, value in ast.iter_fields(one):
            for item in value if isinstance(value, list) else [value]:
                if not isinstance(item, ast.AST):
                    plain += [name, type(item).__name__, item]  # the type, for 1 == 1.0 == True
        yield (depth, field, type(one).__name__, *plain)


def _signature(node: ast.AST) -> str:
    """Decorators, parameters and result of a function; bases of a class; annotation of a name."""
    before = "".join(f"@{ast.unparse(one)} " for one in getattr(node, "decorator_list", []))
    if isinstance(node, stubs.Function):
        before += "async " if isinstance(node, ast.AsyncFunctionDef) else ""
        after = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        return f"{before}({ast.unparse(node.args)}){after}"
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(ast.unparse(one) for one in [*node.bases, *node.keywords])
        return f"{before}({bases})" if bases else before.strip()
    return f": {ast.unparse(node.annotation)}" if isinstance(node, ast.AnnAssign) else ""


def _values(node: ast.AST) -> Iterator[str]:
    """The numbers and texts of a definition, defaults of parameters included; annotations left out."""
    defaults: list[ast.AST] = []
    if isinstance(node, stubs.Function):
        defaults = [one for one in [*node.args.defaults, *node.args.kw_defaults] if one]
    outside = [(0, "default", inner) for one in defaults for inner in ast.walk(one)]
    minus: set[ast.AST] = set()
    for _, _, one in [*outside, *_walk(node)]:
        if isinstance(one, ast.UnaryOp) and isinstance(one.op, ast.USub):
            minus.add(one.operand)
        if isinstance(one, ast.Constant) and type(one.value) in (int, float, complex, str, bytes):
            yield ("-" if one in minus else "") + repr(one.value)


def _unwritten(node: ast.AST) -> bool:
    """Whether this is a stub: a function whose body only raises NotImplementedError."""
    if not isinstance(node, stubs.Function) or len(node.body) != 1 or not isinstance(node.body[0], ast.Raise):
        return False
    raised = node.body[0].exc
    name = raised.func if isinstance(raised, ast.Call) else raised
    return isinstance(name, ast.Name) and name.id == "NotImplementedError"


def _wrapped(node: ast.AST) -> str:
    """The function called, where all that a function does is `return that(...)`."""
    body = node.body if isinstance(node, stubs.Function) else []
    if len(body) != 1 or not isinstance(body[0], ast.Return) or not isinstance(body[0].value, ast.Call):
        return ""
    called = body[0].value.func
    return called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")


def _bag(node: ast.AST) -> Counter[str]:
    """The features of a definition; those of a class are its own, its methods' and their names."""
    local = set(_local(node)) if isinstance(node, stubs.Function) else set()
    bag = Counter(feature for _, _, one in _walk(node) if (feature := _feature(one, local)))
    for method in _methods(node):
        bag += Counter([f".{getattr(method, 'name', '')}"]) + _bag(method)
    return bag


def _local(function: ast.AST) -> Iterator[str]:
    """The names that a function binds: parameters, variables, inner functions."""
    for node in ast.walk(function):
        if isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, stubs.Definition | ast.ExceptHandler) and node.name and node is not function:
            yield node.name


def _feature(node: ast.AST, local: set[str]) -> str:
    """What a node counts as in a bag; empty for what says nothing. Names from outside hold a `.` or a `=`."""
    if isinstance(node, ast.Name):
        return "local" if node.id in local else f"={node.id}"
    if isinstance(node, ast.Attribute):
        return f".{node.attr}"
    if isinstance(node, ast.keyword):
        return f"{node.arg}="
    if isinstance(node, ast.Constant):
        return str(node.value) if node.value in (None, True, False) else type(node.value).__name__
    if isinstance(node, ast.expr_context | ast.arguments | ast.arg):
        return ""
    return type(node).__name__


def weight(feature: str) -> int:
    """NAMED for a name from outside that is not Python's own, 1 for the rest."""
    return 1 if feature.isidentifier() or feature.strip(".=") in vars(builtins) else NAMED
