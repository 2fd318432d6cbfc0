"""The command `mini-nanochat`: programs (scripts/) and the learner's tools (course/), loaded when asked for."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path


def programs() -> list[str]:
    """The programs in scripts/, as verbs: base_train.py is `base-train`."""
    folder = Path(__file__).parent / "scripts"
    return sorted(path.stem.replace("_", "-") for path in folder.glob("[a-z]*.py"))


def main(arguments: list[str] | None = None) -> int:
    """Runs `mini-nanochat [--mine] VERB ...` and returns the exit code.

    With --mine the modules in the learner's workspace stand in for ours, in this process and all it starts.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if "--mine" in arguments[:1]:
            arguments.pop(0)
            if not _lay_workspace_over():
                return 2
        if arguments and arguments[0] in programs():
            program = importlib.import_module(f"mini_nanochat.scripts.{arguments[0].replace('-', '_')}")
            verb = f"mini-nanochat {arguments[0]}"
            flags = importlib.import_module("mini_nanochat.flags")
            text = program.__doc__ or ""
            return int(flags.run(program.Config, program.main, arguments[1:], prog=verb, description=text))
        if arguments[:1] in (["attention"], ["prove"], ["rust"]):
            return int(importlib.import_module(f"mini_nanochat.course.{arguments[0]}").main(arguments[1:]))
        code = int(importlib.import_module("mini_nanochat.course.cli").main(arguments))
        if sys.stdout is not None:
            sys.stdout.flush()  # a reader that went away is noticed here, and not after us
        return code
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `mini-nanochat progress | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0


def _lay_workspace_over() -> bool:
    from mini_nanochat import overlay
    from mini_nanochat.course.errors import CourseError
    from mini_nanochat.course.workspace import Workspace

    try:
        overlay.install(Workspace.open().path)
    except (CourseError, OSError) as error:
        print(f"mini-nanochat: {error}", file=sys.stderr)
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
