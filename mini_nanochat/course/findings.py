"""What went wrong, in words: from an exception in a test to what a learner reads."""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from mini_nanochat.course.stubs import show_syntax_error

LIMIT = 200  # characters of a value that are shown
UNWRITTEN = re.compile(r"^(\d+\.\d+): ([\w.]+)$")
BUSY = 4  # on a busy machine a second of work may take so many seconds of the clock

Finding = dict[str, Any]  # kind, headline; expected, got, why, where, details where there are any


class TooSlow(BaseException):
    """Thrown into a test that runs past its limit. Not an Exception: `except Exception` must not catch it."""


class NotRunError(Exception):
    """Raised in the place of a check that would surely hang."""


def describe(
    error: BaseException,
    trace: TracebackType | None,
    graded: Path | None,
    compared: tuple[str, Any, Any] | None,
) -> Finding:
    """The finding for a test that ended in `error`.

    `graded` is the folder of the graded code; `compared` the operands of the comparison that failed, if
    one did. Kinds: unwritten (a stub was called), wrong (an assertion failed), slow, error.
    """
    try:
        finding = _describe(error, trace, graded, compared)
    except Exception as problem:  # showing a value runs the learner's __repr__, __str__ or __eq__
        kind = "wrong" if isinstance(error, AssertionError) else "error"
        headline = f"{type(error).__name__}, and showing its values fails too: {type(problem).__name__}"
        finding = {"kind": kind, "headline": headline}
    return {key: printable(value) for key, value in finding.items()}


def _describe(
    error: BaseException,
    trace: TracebackType | None,
    graded: Path | None,
    compared: tuple[str, Any, Any] | None,
) -> Finding:
    unwritten = UNWRITTEN.match(str(error)) if isinstance(error, NotImplementedError) else None
    if unwritten:
        return {"kind": "unwritten", "headline": "not written yet", "name": unwritten[2]}
    if isinstance(error, TooSlow):
        where = _where(trace, graded)
        return {"kind": "slow", "headline": f"{error} Is there a loop that never ends?", "where": where}
    if isinstance(error, NotRunError):
        return {"kind": "slow", "headline": str(error)}
    if isinstance(error, SyntaxError):
        file = _inside(error.filename, graded)
        return {
            "kind": "error",
            "headline": f"a syntax error{file and f' in {file}'}. {show_syntax_error(error)}",
        }
    if isinstance(error, AssertionError):
        return _wrong(error, compared)
    if type(error).__name__ == "Failed":  # pytest.raises saw no exception
        text = str(error).replace("DID NOT RAISE", "no error was raised, wanted")
        return {"kind": "wrong", "headline": re.sub(r"<class '([\w.]+)'>", r"\1", text)}
    if isinstance(error, RecursionError):
        headline = "it calls itself without end (RecursionError)"
    elif isinstance(error, SystemExit):
        headline = "it ends Python: exit() or sys.exit() is called"
    else:
        headline = f"{type(error).__name__}: {_cut(str(error))}".rstrip(": ")
        if isinstance(error, AttributeError | TypeError) and "'NoneType'" in str(error):
            headline += " (does your function return what it made?)"
    finding: Finding = {"kind": "error", "headline": headline, "where": _where(trace, graded)}
    return _with_example(finding, error)


def _wrong(error: AssertionError, compared: tuple[str, Any, Any] | None) -> Finding:
    why = re.split(r"\nassert |^assert ", str(error), maxsplit=1)[0].strip()
    finding: Finding = {"kind": "wrong", "why": why}
    if compared is None:
        finding["headline"] = why or "a check failed"
        return _with_example(finding, error)
    operator, got, wanted = compared
    expected, shown = show_pair(wanted, got)
    if operator != "==":
        words = {"in": "to be in", "not in": "not to be in", "!=": "anything but"}
        expected = f"{words.get(operator, operator)} {expected}"
    finding |= {"expected": expected, "got": shown, "headline": f"expected {expected}, got {shown}"}
    return _with_example(finding, error)


def _with_example(finding: Finding, error: BaseException) -> Finding:
    """Adds the input that hypothesis found, which it hangs on the exception as a note."""
    notes = "\n".join(getattr(error, "__notes__", []))
    head = r"(?:Falsifying example|Failing test case): \w+\("  # older and newer releases
    match = re.search(head + r"(.*?)\n?\)$", notes, re.DOTALL | re.MULTILINE)
    if match:
        lines = [line.strip() for line in match[1].splitlines()]
        kept = [line for line in lines if line and not line.startswith(("self", "#"))]
        finding["example"] = _cut(" ".join(kept).rstrip(","))
    return finding


def _where(trace: TracebackType | None, graded: Path | None) -> str:
    """The last line of the learner's own code that was running."""
    for frame in reversed(traceback.extract_tb(trace)):
        file = _inside(frame.filename, graded)
        if file:
            return f"{file}, line {frame.lineno}: {frame.line}"
    return ""


def _inside(file: str | None, graded: Path | None) -> str:
    """A file's path in the graded folder, "" for files elsewhere."""
    if file is None or graded is None or not Path(file).is_relative_to(graded):
        return ""
    return str(Path(file).relative_to(graded))


def printable(text: str) -> str:
    """`text` with escapes for what a terminal or a file can't take: control codes, lone surrogates."""
    return "".join(mark if mark.isprintable() or mark in "\n\t" else repr(mark)[1:-1] for mark in text)


def _cut(text: str, limit: int = LIMIT) -> str:
    return text if len(text) <= limit else f"{text[: limit - 4]} ..."


def show_pair(wanted: Any, got: Any) -> tuple[str, str]:
    """Two values as text, cut to where they first differ if they are long."""
    left, right = repr(wanted), repr(got)
    if type(wanted) is not type(got) and left == right:
        left, right = f"{left} ({type(wanted).__name__})", f"{right} ({type(got).__name__})"
    if max(len(left), len(right)) <= LIMIT:
        return left, right
    if isinstance(wanted, Mapping) and isinstance(got, Mapping):
        keys = [k for k in [*wanted, *got] if (k in wanted, wanted.get(k)) != (k in got, got.get(k))]
        if keys:
            return _entry(wanted, keys[0]), _entry(got, keys[0])
    if isinstance(wanted, Sequence) and isinstance(got, Sequence):
        at = next((i for i, (a, b) in enumerate(zip(wanted, got)) if a != b), min(len(wanted), len(got)))
        left, right = _around(wanted, at), _around(got, at)
        if type(wanted) is not type(got):
            return f"{type(wanted).__name__} {left}", f"{type(got).__name__} {right}"
        return left, right
    return _cut(left), _cut(right)


def _entry(values: Mapping[Any, Any], key: Any) -> str:
    return _cut(f"{key!r}: {values[key]!r}" if key in values else f"no entry for {key!r}")


def _around(values: Sequence[Any], at: int) -> str:
    piece = _cut(repr(values[max(at - 3, 0) : at + 5]), LIMIT // 2)
    return f"{piece} (from item {max(at - 3, 0)} on, of {len(values)}; the first difference is at {at})"
