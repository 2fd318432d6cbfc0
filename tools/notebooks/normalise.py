"""Notebooks with one canonical form: no outputs, stable ids, and a head and foot from the manifest.

    python tools/notebooks/normalise.py            rewrites every notebook in lessons/
    python tools/notebooks/normalise.py --check    says which ones would change, and changes nothing

A cell's id is a hash of its type, its text and how often that text came before, so running a notebook and
saving it leaves no trace: the committed bytes are normalise(bytes), and a test says so.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from typing import Any

from mini_nanochat.course.manifest import ROOT, Lesson, curriculum

KERNEL = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def normalise(book: dict[str, Any], lesson: Lesson) -> dict[str, Any]:
    """The canonical form of a lesson's notebook."""
    cells = [cell for cell in book["cells"] if "generated" not in cell.get("metadata", {}).get("tags", [])]
    cells = [_generated(head(lesson)), *cells, _generated(foot(lesson))]
    seen: Counter[str] = Counter()
    return {
        "cells": [_cell(cell, seen) for cell in cells],
        "metadata": KERNEL,
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def _generated(text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {"tags": ["generated"]}, "source": text}


def _cell(cell: dict[str, Any], seen: Counter[str]) -> dict[str, Any]:
    text = "".join(cell["source"]).strip("\n")
    tags = cell.get("metadata", {}).get("tags", [])
    key = f"{cell['cell_type']}\n{text}"
    seen[key] += 1
    out: dict[str, Any] = {
        "cell_type": cell["cell_type"],
        "id": hashlib.sha256(f"{key}\n{seen[key]}".encode()).hexdigest()[:8],
        "metadata": {"tags": tags} if tags else {},
        "source": text.splitlines(keepends=True),
    }
    if cell["cell_type"] == "code":
        out |= {"execution_count": None, "outputs": []}
    return out


def head(lesson: Lesson) -> str:
    """The first cell: what this is, how long it takes, what you will be able to do."""
    phase = curriculum().phases[lesson.phase]
    goals = "\n".join(f"- {goal}" for goal in lesson.goals)
    places = "; ".join(f"`{place}`" for place in lesson.nanochat)
    papers = ", ".join(f"`docs/papers/{paper}.md`" for paper in lesson.papers)
    return f"""# {lesson.id} {lesson.title}

Phase {phase.id}, {phase.title}. About {lesson.minutes} minutes. You write `{lesson.module}`.

**The question.** {lesson.question}

**Afterwards you can**

{goals}

**Where this piece sits**

```
{picture(lesson)}
```

Why it is built this way: `{lesson.adr_page}`. Papers: {papers}. The grown-up version in nanochat: {places}."""


def picture(lesson: Lesson) -> str:
    """The pipeline in one line, with a mark under the phase of this lesson."""
    words = ["text", "tokenizer", "ids", "model", "training", "weights", "chat"]
    owner = {0: "tokenizer", 1: "model", 2: "training", 3: "training", 4: "training"}.get(
        lesson.phase, "chat"
    )
    line = " -> ".join(
        f"[{word}]" if word in ("tokenizer", "model", "training", "chat") else word for word in words
    )
    at = line.index(f"[{owner}]") + len(owner) // 2 + 1
    mark = f"{' ' * at}^\n"
    note = f"you are here: {lesson.id}"
    return f"{line}\n{mark}{' ' * max(at - len(note) // 2, 0)}{note}"


def foot(lesson: Lesson) -> str:
    """The last cell: how to go on."""
    after = curriculum().following(lesson)
    go_on = f"mini-nanochat start {after.id}" if after else "mini-nanochat progress"
    return f"""## Go on

In a terminal:

```
mini-nanochat check {lesson.id}            the report card
mini-nanochat hint {lesson.id}             the next hint, if you are stuck
mini-nanochat check {lesson.id} --stars    predictions, tests of your own, the museum of real bugs
{go_on:<30} what comes next
```

The exercises beyond the points: `{lesson.checkpoint}`. Your notes: `notes/{lesson.key}.md`."""


def as_bytes(book: dict[str, Any]) -> bytes:
    """A notebook as it is stored."""
    return (json.dumps(book, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()


def main(check: bool) -> int:
    changed = []
    for lesson in curriculum().lessons:
        path = ROOT / lesson.notebook
        old = path.read_bytes()
        new = as_bytes(normalise(json.loads(old), lesson))
        if new != old:
            changed.append(lesson.notebook)
            if not check:
                path.write_bytes(new)
    for name in changed:
        print(f"{name}: {'not normalised' if check else 'rewritten'}")
    return 1 if check and changed else 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
