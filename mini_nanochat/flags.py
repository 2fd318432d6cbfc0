"""A frozen dataclass becomes a command line: one field, one flag.

A program says once which settings it has, as a dataclass; its flags, their types, their defaults and
`--help` all follow from that. `run` is the frame around every program: it parses, calls `main`, and
turns an expected failure into one sentence.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import os
import sys
import traceback
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

C = TypeVar("C")
T = TypeVar("T")

KINDS = {int: "a whole number", float: "a number", str: "text", Path: "a path"}


def flag(default: T, help: str) -> T:
    """A field of a settings dataclass: its default, and the line that `--help` shows for it."""
    field: T = dataclasses.field(default=default, metadata={"help": help})
    return field


class _Parser(argparse.ArgumentParser):
    """Answers a mistake with one sentence; argparse would print the whole usage before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}. See {self.prog} --help\n")


def parse(config: type[C], argv: Sequence[str] | None = None, *, prog: str = "", description: str = "") -> C:
    """A `config` filled from `argv` (None: what this program was started with).

    Field `vocab_size` is the flag `--vocab-size`; a bool is `--name` or `--no-name`; for a field that may
    be None, the word `none` means None. A field without a default must be given.
    Raises SystemExit: code 2 after one sentence on stderr for a wrong flag or value (also one that the
    dataclass refuses by ValueError), code 0 after `--help`. A field of any other type is a TypeError.
    """
    parser = _Parser(prog=prog or None, description=description, allow_abbrev=False)
    hints = get_type_hints(config)
    for field in dataclasses.fields(config):  # type: ignore[arg-type]
        _add(parser, field, hints[field.name])
    given = parser.parse_args(argv)
    try:
        return config(**vars(given))
    except ValueError as error:
        parser.error(str(error).rstrip("."))


def _add(parser: argparse.ArgumentParser, field: dataclasses.Field[Any], hint: Any) -> None:
    """Adds the flag of one field. Absent flags leave no trace: the dataclass knows its defaults."""
    default, text = field.default, field.metadata.get("help", "")
    required = default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    if default is not dataclasses.MISSING:
        text += f" (default: {str(default).lower() if default in (None, True, False) else default})"
    options = {"help": text.strip().replace("%", "%%"), "required": required, "default": argparse.SUPPRESS}
    if hint is bool:
        options["action"] = argparse.BooleanOptionalAction
    else:
        options["type"], options["metavar"] = _reader(field.name, hint)
    parser.add_argument("--" + field.name.replace("_", "-"), **options)


def _reader(name: str, hint: Any) -> tuple[Callable[[str], Any], str]:
    """The function that reads a written value of type `hint`, and what `--help` calls such a value."""
    members = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    kinds = [member for member in members if member is not type(None)]
    if len(kinds) != 1 or kinds[0] not in KINDS:
        raise TypeError(
            f"field {name}: a flag is a bool, {', '.join(KINDS.values())}, or X | None; got {hint}"
        )
    kind = kinds[0]

    def read(text: str) -> Any:
        if len(members) > 1 and text.lower() == "none":
            return None
        try:
            return kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be {KINDS[kind]}, got {text!r}") from None

    return read, kind.__name__.upper()


def run(config: type[C], main: Callable[[C], None], argv: Sequence[str] | None = None, **names: str) -> int:
    """Parses `argv` (`names` are `parse`'s prog and description), calls `main`, returns the exit code.

    0: done. 2: bad input (ValueError, OSError), or a lesson's function that is not written yet, after one
    sentence on stderr. 130: stopped by Ctrl-C. An error that comes out of the learner's own code is
    passed on whole, because there the traceback is the answer.
    """
    settings = parse(config, argv, **names)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a character that the terminal cannot show becomes ?
    try:
        main(settings)
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    except (NotImplementedError, OSError, ValueError) as error:
        if not (sentence := _sentence(error)):
            raise
        print(sentence, file=sys.stderr)
        return 2
    return 0


def _sentence(error: Exception) -> str:
    """What to tell a person about `error`; empty where only the traceback can tell."""
    files = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
    if isinstance(error, NotImplementedError):
        lesson, _, name = str(error).partition(": ")  # a stub raises NotImplementedError("0.2: train")
        sentence = f"{lesson} {name} is not written yet in {files[-1]}: write it, or run without --mine"
        return sentence if name and lesson[:1].isdigit() else ""
    workspace = os.environ.get("MINI_NANOCHAT_WORKSPACE")
    if workspace and any(Path(file).is_relative_to(workspace) for file in files):
        return ""
    return str(error)
