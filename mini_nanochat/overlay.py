"""The overlay: one folder of modules stands in for ours, and the rest of the library notices nothing.

A folder laid out like the library (`FOLDER/mini_nanochat/tokenizer/bpe.py`) is put ahead of the
library's own folder on the `__path__` of each sub-package. So every importer (a script, a notebook,
a test, a later lesson's module) gets `bpe` from there, and everything that is not there from here.
The learner's workspace, a stub, a planted bug and a solution written another way are all such folders.

The switch is an environment variable, so child processes of any kind inherit it.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

VARIABLE = "MINI_NANOCHAT_WORKSPACE"
PROTECTED = ("course", "scripts")  # the grader and the programs are never the learner's to replace


class _Finder:
    """Finds a sub-package as usual, then puts the overlay's folder first on its `__path__`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        parent, _, leaf = name.rpartition(".")
        if parent != "mini_nanochat" or leaf in PROTECTED:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.submodule_search_locations is not None:
            spec.submodule_search_locations.insert(0, str(self.folder / "mini_nanochat" / leaf))
        return spec


def install(folder: str | Path) -> None:
    """Puts `folder` over the library, in this process and in those it starts.

    Lesson modules imported earlier are forgotten: import them again. Raises FileNotFoundError where
    `folder` holds no `mini_nanochat/`, because running our code instead of yours in silence would be a lie.
    """
    root = Path(folder).absolute()
    if not (root / "mini_nanochat").is_dir():
        raise FileNotFoundError(
            f"{VARIABLE} names {root}, which is not a workspace: it has no folder mini_nanochat/. "
            "Unset the variable, make a workspace with `mini-nanochat start 0.1 --workspace FOLDER`, "
            "and name that one."
        )
    remove()
    os.environ[VARIABLE] = str(root)
    sys.meta_path.insert(0, _Finder(root))
    # Two edits within a second can leave byte code that looks current and is not.
    sys.dont_write_bytecode = True


def remove() -> None:
    """Takes the overlay away again and forgets the lesson modules that came through it."""
    os.environ.pop(VARIABLE, None)
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]
    packages = {name for name in sys.modules if _is_overlaid(name)}
    for name in list(sys.modules):
        if ".".join(name.split(".")[:2]) in packages:
            del sys.modules[name]
    for name in packages:  # `from mini_nanochat import tokenizer` looks here first
        vars(sys.modules["mini_nanochat"]).pop(name.rpartition(".")[2], None)
    importlib.invalidate_caches()


def _is_overlaid(name: str) -> bool:
    """True for the sub-packages of lessons, false for house modules, `course` and `scripts`."""
    parent, _, leaf = name.rpartition(".")
    return parent == "mini_nanochat" and leaf not in PROTECTED and hasattr(sys.modules[name], "__path__")


def active() -> Path | None:
    """The folder that lies over the library now, or None."""
    for finder in sys.meta_path:
        if isinstance(finder, _Finder):
            return finder.folder
    return None
