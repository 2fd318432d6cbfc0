"""Real text that every machine with Python has: the sources of its own standard library.

Half English (docstrings, comments, the help texts of pydoc), half code, about 25 MB, no download and
no licence to ask for. Which version of Python is installed decides the exact text.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib
import itertools
import sysconfig
from pathlib import Path

DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
TEXT_SUFFIXES = (".txt", ".md", ".rst", ".py")
# Tests hold deliberately broken text; site-packages is whatever somebody installed.
SKIPPED = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}


def stdlib_documents(max_chars: int = 1_000_000) -> list[str]:
    """Whole files of the standard library, at most `max_chars` characters together.

    The order is mixed but always the same, so a small corpus is a fair sample of the large one.
    """
    root = Path(sysconfig.get_paths()["stdlib"])
    paths = [path.relative_to(root).as_posix() for path in root.rglob("*.py")]
    paths = [path for path in paths if not SKIPPED.intersection(path.split("/"))]
    paths.sort(key=lambda path: hashlib.sha256(path.encode()).hexdigest())
    documents, total = [], 0
    for path in paths:
        try:
            text = (root / path).read_text("utf-8")
        except (UnicodeDecodeError, OSError):
            continue  # a few files are written in other encodings on purpose
        if text.strip() and total + len(text) <= max_chars:
            documents.append(text)
            total += len(text)
    if not documents:
        raise FileNotFoundError(
            f"no Python source of at most {max_chars} characters was found under {root}. "
            "Allow more characters, or give a file or folder of your own text."
        )
    return documents


def stdlib_prose(max_chars: int = 1_000_000) -> list[str]:
    """English from the standard library: its docstrings of 100 characters and more, and pydoc's help texts.

    About 2 MB in all, each text once, mixed but always in the same order; at least `max_chars`
    characters together, if there are so many.
    """
    texts = _prose()
    sizes = itertools.accumulate(map(len, texts), initial=0)
    return [text for text, before in zip(texts, sizes) if before < max_chars]


@functools.cache
def _prose() -> list[str]:
    texts = list(importlib.import_module("pydoc_data.topics").topics.values())
    for source in stdlib_documents(100_000_000):
        try:
            tree = ast.parse(source)
        except SyntaxError:
            continue  # templates and deliberate errors
        nodes = (node for node in ast.walk(tree) if isinstance(node, DOCUMENTED))
        texts += [text for node in nodes if len(text := ast.get_docstring(node) or "") >= 100]
    return sorted(set(texts), key=lambda text: hashlib.sha256(text.encode()).hexdigest())


def read_documents(path: str | Path) -> list[str]:
    """The text of a file, or of all text files under a folder (sorted by name), one document a file.

    Raises FileNotFoundError where there is nothing, ValueError for text that is not UTF-8 or is empty.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: give a text file, or a folder that holds some")
    paths = [path]
    if path.is_dir():
        paths = sorted(p for p in path.rglob("*") if p.suffix in TEXT_SUFFIXES and p.is_file())
        if not paths:
            raise FileNotFoundError(f"{path} holds no text files ({', '.join(TEXT_SUFFIXES)})")
    documents = []
    for p in paths:
        try:
            text = p.read_text("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{p} is not UTF-8 text: byte {error.object[error.start]:#04x} at position {error.start}. "
                "Save it as UTF-8, or leave it out."
            ) from None
        if text.strip():
            documents.append(text)
    if not documents:
        raise ValueError(f"{path} holds no text: there is nothing to learn from an empty corpus")
    return documents


def hold_out(documents: list[str]) -> tuple[list[str], list[str]]:
    """(text to learn from, text kept aside): about a tenth of the characters, whole documents if they fit.

    Where the documents are too few or too long for that, the last tenth of each is kept aside.
    """
    kept: list[str] = []
    aside: list[str] = []
    seen = 0
    for document in documents:
        seen += len(document)
        fits = sum(map(len, aside)) + len(document) <= seen / 10
        (aside if fits else kept).append(document)
    if sum(map(len, aside)) >= seen / 20:
        return kept, aside
    cuts = [len(document) * 9 // 10 for document in documents]
    return [d[:cut] for d, cut in zip(documents, cuts)], [d[cut:] for d, cut in zip(documents, cuts)]
