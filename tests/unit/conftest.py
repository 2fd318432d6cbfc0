"""What the tests of the learner's tools share: a workspace, and a grader for tiny lessons."""

from __future__ import annotations

import shutil
import textwrap

import pytest

from mini_nanochat import overlay
from mini_nanochat.course import grader
from mini_nanochat.course.card import cards
from mini_nanochat.course.manifest import ROOT, curriculum
from mini_nanochat.course.workspace import Workspace


@pytest.fixture
def lesson():
    """The first lesson."""
    return curriculum().lessons[0]


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An empty current folder, far from any workspace."""
    monkeypatch.delenv(overlay.VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def started(tmp_path_factory):
    """A workspace in which the first lesson is started, made once: to be copied."""
    made = Workspace.create(tmp_path_factory.mktemp("started") / "workspace")
    made.start(curriculum().lessons[0])
    return made.path


@pytest.fixture
def space(elsewhere, started):
    """A workspace in which the first lesson is started. Its path has a space and an umlaut in it."""
    return Workspace(shutil.copytree(started, elsewhere / "my wörk"))


@pytest.fixture(scope="session")
def grade_tiny(tmp_path_factory):
    """grade_tiny(module, tests, limit): the card of a few tests on a stand-in for lesson 0.1's module."""

    def grade(module, tests, limit=10.0):
        lesson, folder = curriculum().lessons[0], tmp_path_factory.mktemp("tiny")
        file, test = folder / lesson.module, folder / "phase0" / f"test_{lesson.key}_tiny.py"
        for path, text in ((file, module), (test, tests)):
            path.parent.mkdir(parents=True)
            path.write_bytes(text if isinstance(text, bytes) else textwrap.dedent(text).encode())
        options = ["--overlay", str(folder), f"--config-file={ROOT / 'pyproject.toml'}"]
        events = grader.run_grader(test, options, limit)
        return next(card for card in cards(events, None) if card.lesson == lesson)

    return grade
