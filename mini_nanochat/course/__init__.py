"""The learner's tools: stubs, workspace, grading, hints, progress. In a notebook: %load_ext mini_nanochat.course"""

from __future__ import annotations

from typing import Any


def check(lesson: str, only: str | None = None) -> Any:
    """The report card of a lesson, shown in the notebook."""
    from mini_nanochat.course import notebook

    return notebook.check(lesson, only)


def predict(lesson: str, question: str, answer: Any = ...) -> Any:
    """Writes down your answer to a question of the lesson, and says whether it is right."""
    from mini_nanochat.course import notebook

    return notebook.predict(lesson, question, answer)


def load_ipython_extension(shell: Any) -> None:
    """Lays your workspace over the library in this kernel, and adds %%exercise and %pull."""
    from mini_nanochat.course import notebook

    notebook.load(shell)
