"""The grader: a pytest plugin that grades a learner's modules and prints a report card.

    pytest tests/phase0 --mine             the learner's code, in their workspace
    pytest tests/phase0 --overlay FOLDER   the code in any folder laid out like the library (stubs, planted bugs)
    pytest tests/phase0                    the reference

A test is graded if it stands in tests/phase*/ and names its exercise: @pytest.mark.exercise("merge", points=2).
With --mine or --overlay the symbols under test must come from that folder, or the test fails: a grader that
looks at other code than the learner's would be worse than none.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import os
import random
import re
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from mini_nanochat import overlay
from mini_nanochat.course import calls, findings
from mini_nanochat.course.errors import CourseError
from mini_nanochat.course.limit import time_limit
from mini_nanochat.course.manifest import ROOT, Lesson, curriculum

GRADED = pytest.StashKey["Session"]()
ENDED = "importing the file ended Python, or did not end: look for a loop, an exit or a crash outside of functions"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("mini_nanochat")
    group.addoption("--mine", action="store_true", help="grade the code in your workspace")
    group.addoption("--workspace", metavar="FOLDER", help="your workspace, where it is not the usual one")
    group.addoption(
        "--overlay", metavar="FOLDER", help="grade the code in a folder laid out like the library"
    )
    group.addoption("--limit", type=float, default=10.0, help="seconds one graded test may take (10)")
    group.addoption("--events", metavar="FILE", help="write what happens as JSON lines")
    group.addoption("--own", action="store_true", help="the tests are the learner's own: report them all")
    group.addoption("--shuffle", type=int, metavar="SEED", help="run the tests in a random order")


CHECKPOINT_LIMIT = 60.0  # seconds a test may take that belongs to no lesson: it works on real text


class Session:
    """One grading session: whose code, the time limit, and everything that happened, as events."""

    def __init__(self, folder: Path | None, limit: float, events: Path | None) -> None:
        self.folder = folder
        self.limit = limit
        self.path = events
        self.events: list[dict[str, Any]] = []
        self.compared: tuple[str, Any, Any] | None = None
        self.stderr = os.dup(2)  # the real one: pytest puts a file in its place while a test runs
        self.states: dict[str, str] = {}
        self.slow: set[str] = set()  # exercises with a check that did not end: the others would not either

    def emit(self, **event: Any) -> None:
        self.events.append(event)
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as out:
                out.write(json.dumps(event) + "\n")


def pytest_configure(config: pytest.Config) -> None:
    options = config.option
    folder = Path(options.overlay).absolute() if options.overlay else overlay.active()
    if options.mine or folder is not None:
        if getattr(options, "numprocesses", None):
            raise pytest.UsageError("your code is graded in one process: leave out -n")
        try:
            if not options.overlay:
                from mini_nanochat.course.workspace import Workspace

                folder = Workspace.open(options.workspace or folder).path
            assert folder is not None
            overlay.install(folder)
        except (CourseError, FileNotFoundError) as error:
            raise pytest.UsageError(str(error)) from None
        options.tbstyle, options.reportchars, options.no_summary = "no", "", True
    events = Path(options.events) if options.events else None
    config.stash[GRADED] = Session(folder, options.limit, events)


def _set_up_hypothesis() -> None:
    try:
        from hypothesis import HealthCheck, Phase, settings
    except ModuleNotFoundError:
        return
    # One bug at a time, made small, without the search for what else would fail: that takes seconds.
    phases = (Phase.explicit, Phase.generate, Phase.shrink)
    settings.register_profile(
        "course",
        max_examples=50,
        deadline=None,
        database=None,
        derandomize=False,  # hypothesis would switch it on by itself where it sees a CI, and try other inputs
        phases=phases,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),  # they watch the clock: a busy machine is no mistake
    )
    settings.load_profile("course")


def lesson_of(path: Path) -> Lesson | None:
    """The lesson whose graded tests this file holds."""
    match = re.fullmatch(r"test_(\d+)_(\d+)_\w+\.py", path.name)
    if match is None or not re.fullmatch(r"phase\d+", path.parent.name):
        return None
    return next((one for one in curriculum().lessons if one.key == f"{match[1]}_{match[2]}"), None)


# -- collecting -----------------------------------------------------------------------------------


class _LeftOut(pytest.Module):
    """The graded tests of a lesson that can't be graded now."""

    def collect(self) -> list[pytest.Item | pytest.Collector]:
        return []


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Leaves out lessons that the learner has not started, and those whose module can't be imported.

    Hypothesis takes as long to import as a third of torch: only files that use it wait for it.
    """
    if b"hypothesis" in module_path.read_bytes():
        _set_up_hypothesis()
    session, lesson = parent.config.stash[GRADED], lesson_of(module_path)
    if session.folder is None or lesson is None:
        return None
    if lesson.id not in session.states:
        facts = {"event": "lesson", "lesson": lesson.id, "file": str(session.folder / lesson.module)}
        # What holds if importing the file takes this process down; what was really found follows.
        session.emit(**facts, state="broken", finding={"kind": "error", "headline": ENDED})
        state, finding = _look(session, lesson)
        session.states[lesson.id] = state
        session.emit(**facts, state=state, finding=finding)
    if session.states[lesson.id] == "graded":
        return None
    return _LeftOut.from_parent(parent, path=module_path)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, pytest.CollectReport]:
    """Says so where a test file can't be imported: of the learner's own tests, all have failed then."""
    report: pytest.CollectReport = yield
    if not report.failed:
        return report
    session, lesson = collector.config.stash[GRADED], lesson_of(collector.path)
    text = str(report.longrepr).strip().splitlines()[-1].removeprefix("E").strip()
    if collector.config.option.own:
        session.emit(event="own", test=collector.nodeid, passed=False, headline=text)
    elif session.folder is not None and lesson is not None:
        headline = f"the checks can't be loaded: {text} (`mini-nanochat doctor` may know why)"
        facts = {"lesson": lesson.id, "file": str(session.folder / lesson.module), "state": "broken"}
        session.emit(event="lesson", **facts, finding={"kind": "error", "headline": headline})
    return report


def _look(session: Session, lesson: Lesson) -> tuple[str, dict[str, Any] | None]:
    """(graded, borrowed or broken; what is wrong with a broken one)."""
    assert session.folder is not None
    if not (session.folder / lesson.module).is_file():
        return "borrowed", None
    importlib.invalidate_caches()
    for name in _libraries((ROOT / lesson.module).read_text("utf-8")):
        importlib.import_module(name)  # torch's first start may take long: the time limit is for the learner
    try:
        with _in_place(), time_limit(session.limit, "importing the file", session.stderr):
            importlib.import_module(lesson.dotted)
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # whatever the learner's file does on import, SystemExit included
        return "broken", findings.describe(error, error.__traceback__, session.folder, None)
    return "graded", None


def _libraries(source: str) -> list[str]:
    """The modules that a file imports at its top, ours aside."""
    names = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
    return [name for name in names if name.partition(".")[0] != "mini_nanochat"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.option.shuffle is not None:
        random.Random(config.option.shuffle).shuffle(items)
    session = config.stash[GRADED]
    for item in items:
        lesson, mark = lesson_of(item.path), item.get_closest_marker("exercise")
        law = getattr(getattr(item, "obj", None), "is_hypothesis_test", False)
        if law and config.getoption("--hypothesis-seed", None) is None:
            import hypothesis

            hypothesis.seed(0)(item.obj)  # type: ignore[attr-defined]
        if lesson is not None and mark is not None:
            session.emit(
                event="collected",
                test=item.nodeid,
                lesson=lesson.id,
                exercise=mark.args[0],
                points=mark.kwargs.get("points", 1),
                title=title(item.name),
                law=law,
            )


def title(name: str) -> str:
    """A test's name as a sentence: test_merges_from_left[two] -> merges from left (two)."""
    words, _, parameter = name.removeprefix("test_").partition("[")
    return words.replace("_", " ") + (f" ({parameter.rstrip(']')})" if parameter else "")


# -- running --------------------------------------------------------------------------------------


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fails a graded test whose code is not the code that is to be graded."""
    session, lesson = item.config.stash[GRADED], lesson_of(item.path)
    if session.folder is None or lesson is None:
        return
    module = importlib.import_module(lesson.dotted)
    for name in [None, *lesson.todo]:
        found: Any = module
        for part in name.split(".") if name else []:
            found = inspect.getattr_static(found, part, None)
        found = getattr(found, "__func__", found)
        if found is None:
            continue  # renamed or deleted: the tests will say so
        file = _file_of(found)
        if file is not None and not Path(file).is_relative_to(session.folder):
            pytest.fail(
                f"{name or lesson.dotted} comes from {file}, not from {session.folder}", pytrace=False
            )


def _file_of(thing: Any) -> str | None:
    """Where a function or a module was written; None for what does not say, such as a functools.partial."""
    try:
        return inspect.getsourcefile(inspect.unwrap(thing))
    except (TypeError, ValueError):
        return None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    session = item.config.stash[GRADED]
    if lesson_of(item.path) is None and not item.config.option.own:
        if session.folder is None:
            return (yield)
        with _in_place(), time_limit(CHECKPOINT_LIMIT, "this check", session.stderr):
            return (yield)
    session.compared = None
    session.emit(event="start", test=item.nodeid)
    mark = item.get_closest_marker("exercise")
    if mark is not None and mark.args[0] in session.slow:
        raise findings.NotRunError(f"not run: another check of {mark.args[0]} did not end")
    limit = session.limit if session.folder else 60 * session.limit
    with _in_place(), time_limit(limit, "this check", session.stderr):
        return (yield)


@contextmanager
def _in_place() -> Iterator[None]:
    """Restores what code under test may change for everybody: the current folder and where modules come from."""
    here, path = os.getcwd(), list(sys.path)
    try:
        yield
    finally:
        os.chdir(here)
        sys.path[:] = path


def pytest_assertrepr_compare(config: pytest.Config, op: str, left: object, right: object) -> None:
    """Remembers the operands of the comparison that failed, for the report card."""
    config.stash[GRADED].compared = (op, left, right)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    session, lesson = item.config.stash[GRADED], lesson_of(item.path)
    if item.config.option.own and report.when == "call":
        headline = f"{title(item.name)}: {_first_lines(call.excinfo.exconly())}" if call.excinfo else ""
        session.emit(event="own", test=item.nodeid, passed=report.passed, headline=headline)
        return report
    if lesson is None and session.folder is not None and (report.when == "call" or not report.passed):
        session.emit(event="checkpoint", title=title(item.name), **_of_checkpoint(session, report, call))
    if lesson is None or (report.when != "call" and report.passed):
        return report
    finding: dict[str, Any] = {"kind": "passed"}
    if call.excinfo is not None:
        error = call.excinfo.value
        finding = findings.describe(error, error.__traceback__, session.folder, session.compared)
        if finding["kind"] in ("wrong", "error"):
            with suppress(Exception):  # showing a value runs the learner's __repr__
                finding["call"] = findings.printable(calls.call(error.__traceback__, item.path))
        mark = item.get_closest_marker("exercise")
        if finding["kind"] == "slow" and mark is not None:
            session.slow.add(mark.args[0])
        if session.folder is not None:
            report.longrepr = finding["headline"]
    session.emit(event="result", test=item.nodeid, **finding)
    return report


def _first_lines(text: str, lines: int = 4, limit: int = 400) -> str:
    """The first lines of a message, in one line."""
    words = " ".join(" ".join(text.splitlines()[:lines]).split())
    return words if len(words) <= limit else f"{words[: limit - 4]} ..."


def _of_checkpoint(
    session: Session, report: pytest.TestReport, call: pytest.CallInfo[None]
) -> dict[str, str]:
    """How a test that belongs to no lesson ended on the learner's code: its state, and why."""
    if call.excinfo is None:
        return {"state": "done", "why": ""}
    if report.skipped:
        return {"state": "left out", "why": str(call.excinfo.value)}
    error = call.excinfo.value
    finding = findings.describe(error, error.__traceback__, session.folder, None)
    report.longrepr = finding["headline"]
    if finding["kind"] == "unwritten":
        return {"state": "waiting", "why": f"{finding['name']} is not written yet"}
    return {"state": "failing", "why": finding["headline"]}


# -- reporting ------------------------------------------------------------------------------------


def pytest_sessionstart(session: pytest.Session) -> None:
    if session.config.option.own:
        session.config.stash[GRADED].emit(event="session")


def pytest_sessionfinish(session: pytest.Session) -> None:
    graded = session.config.stash[GRADED]
    if graded.folder is not None and session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    session = config.stash[GRADED]
    if not config.option.mine or session.path is not None:
        return
    from mini_nanochat.course.card import cards, show

    terminalreporter.ensure_newline()
    for card in cards(session.events, session.folder):
        show(card)
    pieces = [event for event in session.events if event["event"] == "checkpoint"]
    if pieces:
        terminalreporter.write_line("The pieces together, the reference where you have not started")
    for event in pieces:
        why = f": {event['why']}" if event["why"] else ""
        terminalreporter.write_line(f"  {event['state']:11}  {event['title']}{why}")
