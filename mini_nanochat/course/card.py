"""The report card: what a grading session says to the learner, as text, Markdown, HTML or JSON.

Status words, never colour alone: done, failing, not started, waiting, borrowed.
"""

from __future__ import annotations

import hashlib
import html
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from mini_nanochat.course.manifest import Lesson, curriculum
from mini_nanochat.course.workspace import Workspace, digest

STYLES = {
    "done": "green",
    "failing": "bold red",
    "not started": "dim",
    "waiting": "yellow",
    "borrowed": "cyan",
}
Line = tuple[str, str]  # (rich style, text)


@dataclass
class Check:
    """One graded test."""

    test: str
    title: str
    points: int
    kind: str = "not run"  # passed, wrong, error, slow, unwritten, waiting, not run
    finding: dict[str, Any] = field(default_factory=dict)
    law: bool = False  # a law that hypothesis tries on many inputs

    @property
    def mark(self) -> str:
        """A few hex digits for what the learner sees; equal marks mean equal mistakes.

        Empty for laws: what hypothesis finds depends on its version.
        """
        if self.law:
            return ""
        seen = self.finding.get("got") or self.finding.get("headline", "")
        return hashlib.sha256(f"{self.kind} {seen}".encode()).hexdigest()[:6]


@dataclass
class Exercise:
    """The checks of one function."""

    name: str
    checks: list[Check]

    @property
    def points(self) -> int:
        return sum(check.points for check in self.checks if check.kind == "passed")

    @property
    def of(self) -> int:
        return sum(check.points for check in self.checks)

    @property
    def failed(self) -> list[Check]:
        return [check for check in self.checks if check.kind != "passed"]

    @property
    def status(self) -> str:
        kinds = {check.kind for check in self.failed}
        if not kinds:
            return "done"
        if "unwritten" in kinds and kinds <= {"unwritten", "waiting"}:
            return "not started"
        return "waiting" if kinds == {"waiting"} else "failing"


@dataclass
class Card:
    """The card of one lesson."""

    lesson: Lesson
    state: str  # graded, borrowed, broken
    file: str
    code: str | None  # hash of the graded file
    finding: dict[str, Any] | None  # why the file could not be graded at all
    exercises: list[Exercise]
    only: str = ""  # the one exercise that was asked about
    stars: int = 0
    hints: int = 0

    @property
    def points(self) -> int:
        return sum(exercise.points for exercise in self.exercises)

    @property
    def of(self) -> int:
        return sum(exercise.of for exercise in self.exercises)

    @property
    def passed(self) -> bool:
        return self.state == "graded" and self.of > 0 and self.points == self.of

    def as_dict(self) -> dict[str, Any]:
        """Everything on the card, for JSON."""
        rows = [asdict(e) | {"status": e.status, "points": e.points, "of": e.of} for e in self.exercises]
        facts = asdict(self) | {"lesson": self.lesson.id, "title": self.lesson.title, "exercises": rows}
        return facts | {"points": self.points, "of": self.of, "passed": self.passed}


def cards(events: Iterable[dict[str, Any]], folder: Path | None) -> list[Card]:
    """The cards of all lessons that a grading session met, in the order of the curriculum."""
    events = list(events)
    checks: dict[str, Check] = {}
    owners: dict[str, tuple[str, str]] = {}
    states = {event["lesson"]: event for event in events if event["event"] == "lesson"}
    for event in events:
        if event["event"] == "collected":
            checks[event["test"]] = Check(
                event["test"], event["title"], event["points"], law=event.get("law", False)
            )
            owners[event["test"]] = (event["lesson"], event["exercise"])
        elif event["event"] == "result" and event["test"] in checks:
            check = checks[event["test"]]
            check.finding = {k: v for k, v in event.items() if k not in ("event", "test", "kind")}
            check.kind = event["kind"]
            if check.kind == "unwritten" and event["name"] != owners[event["test"]][1]:
                check.kind, check.finding["headline"] = "waiting", f"waits for {event['name']}"
    made = []
    for lesson in curriculum().lessons:
        if lesson.id not in states and not any(owner[0] == lesson.id for owner in owners.values()):
            continue
        rows = [
            Exercise(name, [c for test, c in checks.items() if owners[test] == (lesson.id, name)])
            for name in lesson.todo
        ]
        state = states.get(lesson.id, {"state": "graded", "file": lesson.module, "finding": None})
        file = Path(state["file"])
        code = digest(file) if file.is_file() else None
        card = Card(
            lesson, state["state"], state["file"], code, state["finding"], [r for r in rows if r.checks]
        )
        made.append(_with_history(card, folder))
    return made


def _with_history(card: Card, folder: Path | None) -> Card:
    """Adds the stars and hints that the workspace remembers."""
    if folder is not None and (folder / ".course" / "workspace.json").is_file():
        from mini_nanochat.course.progress import standings

        row = next(r for r in standings(Workspace(folder)) if r.lesson.id == card.lesson.id)
        card.stars, card.hints = row.stars, row.hints
    return card


def lines(card: Card) -> list[Line]:
    """The card as styled lines of text."""
    out: list[Line] = [("bold", f"{card.lesson.id} {card.lesson.title}")]
    if card.state == "borrowed":
        what = f"borrowed: you have not started it, so the reference is used ({card.lesson.module})"
        return [*out, ("cyan", f"  {what}"), ("", f"  begin: mini-nanochat start {card.lesson.id}")]
    out.append(("dim", f"graded: {_short(card.file)} (yours, {card.code})"))
    if card.state == "broken":
        assert card.finding is not None
        out.append(("bold red", "  The file could not be read, so nothing was graded:"))
        out += [("", f"    {line}") for line in card.finding["headline"].splitlines()]
        where = card.finding.get("where")
        return [*out, ("", f"    at {where}")] if where else out
    if not card.exercises:
        return [*out, ("", "  nothing was graded: `mini-nanochat doctor` says what is missing")]
    width = max(len(exercise.name) for exercise in card.exercises)
    for exercise in card.exercises:
        score = f"{exercise.points}/{exercise.of}"
        text = f"  {exercise.status:<12} {exercise.name:<{width}}  {score:>6} points"
        out.append((STYLES[exercise.status], text))
        if exercise.status == "failing":
            out += _failures(exercise)
        elif exercise.status == "waiting":
            out.append(("", f"      {exercise.failed[0].finding['headline']}"))
    total = f"points {card.points}/{card.of}   stars {card.stars}/4   hints used {card.hints}"
    return [*out, ("bold", f"  {total}"), ("", f"  {_advice(card)}")]


def _failures(exercise: Exercise) -> list[Line]:
    """The first failing check in full, the others by name."""
    order = {"error": 0, "wrong": 0, "slow": 1}
    failed = sorted(exercise.failed, key=lambda check: order.get(check.kind, 2))
    out = detail(failed[0])
    rest = [check.title for check in failed[1:]]
    out += [("dim", f"      also: {title}") for title in rest[:4]]
    if len(rest) > 4:
        out.append(("dim", f"      and {len(rest) - 4} more"))
    return out


def detail(check: Check) -> list[Line]:
    """A failing check: its sentence, what came, what was expected, why it matters."""
    finding = check.finding
    out = [("red", f"      x {check.title}")]
    if finding.get("call"):
        first, *values = finding["call"].splitlines()
        out += [("", f"        call      {first}"), *(("", f"                  {line}") for line in values)]
    if "expected" in finding:
        out += [("", f"        expected  {finding['expected']}"), ("", f"        got       {finding['got']}")]
    elif finding.get("headline") != finding.get("why"):
        headline = finding.get("headline", "was not run")
        out += [("", f"        {line}") for line in headline.splitlines()]
    labels = {"example": "for", "where": "at", "why": "why"}
    if finding.get("call"):
        del labels["example"]  # the call shows its values
    for key, label in labels.items():
        if finding.get(key):
            first, *more = finding[key].splitlines()
            out += [
                ("", f"        {label:<9} {first}"),
                *(("", f"                  {line}") for line in more),
            ]
    return out


def first_line(check: Check) -> str:
    """The one line that says most: the sentence of the check, and what was wrong."""
    finding = check.finding
    words = [finding.get("headline", "")]
    if finding.get("why") and finding["why"] not in words:
        words.append(finding["why"].splitlines()[0])
    return f"{check.title}: {'; '.join(words)}"


def _advice(card: Card) -> str:
    """What to do next."""
    id = card.lesson.id
    if card.passed and card.only:
        return f"{card.only} is done. The whole card: mini-nanochat check {id}"
    if card.passed:
        after = curriculum().following(card.lesson)
        stars = f"stars: mini-nanochat check {id} --stars"
        return f"All done. {f'Next: mini-nanochat start {after.id}; ' if after else ''}{stars}"
    failing = [e.name for e in card.exercises if e.status == "failing"]
    if failing:
        return f"stuck? mini-nanochat hint {id} {failing[0]}"
    todo = next(e for e in card.exercises if e.status != "done")
    name = _awaited(todo) if todo.status == "waiting" else todo.name
    if name not in card.lesson.todo:  # it waits for an exercise of an earlier lesson
        earlier = reversed(curriculum().earlier(card.lesson))
        id = next((lesson.id for lesson in earlier if name in lesson.todo), id)
    return f"next: write {name}, then check again (a hint: mini-nanochat hint {id} {name})"


def _awaited(exercise: Exercise) -> str:
    """The function that an exercise is waiting for."""
    return str(exercise.failed[0].finding.get("name", exercise.name))


def _short(path: str) -> str:
    """A path as seen from here, if that is shorter."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except (ValueError, OSError):  # elsewhere; or the folder that we are in is gone
        return path


def console(plain: bool = False) -> Console:
    """A terminal that never breaks on a character or a pipe; rich honours NO_COLOR by itself."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")
    return Console(no_color=plain or None, highlight=False, soft_wrap=True, markup=False)


def show(card: Card, plain: bool = False) -> None:
    """Prints the card."""
    out = console(plain)
    for style, text in lines(card):
        out.print(Text(text, style="" if plain else style))
    out.print()


def as_text(card: Card) -> str:
    return "\n".join(text for _, text in lines(card)) + "\n"


def as_json(cards: list[Card]) -> str:
    return json.dumps([card.as_dict() for card in cards], indent=1, ensure_ascii=False, default=str)


def as_markdown(card: Card) -> str:
    """The card as a Markdown section, for notes or a forum."""
    out = [f"### {card.lesson.id} {card.lesson.title}", ""]
    if card.state != "graded":
        return "\n".join([*out, *(text.strip() for _, text in lines(card)[1:])]) + "\n"
    out += [
        f"Graded: `{_short(card.file)}` ({card.code})",
        "",
        "| exercise | status | points |",
        "|---|---|---|",
    ]
    out += [f"| `{e.name}` | {e.status} | {e.points}/{e.of} |" for e in card.exercises]
    out += ["", f"**{card.points}/{card.of} points**, {card.stars}/4 stars, {card.hints} hints used"]
    for exercise in card.exercises:
        if exercise.status == "failing":
            out += [
                "",
                f"`{exercise.name}`",
                "",
                "```",
                *(text[6:] for _, text in _failures(exercise)),
                "```",
            ]
    return "\n".join(out) + "\n"


def as_html(card: Card) -> str:
    """The card for a notebook: one table, readable in light and dark themes and without colour."""
    colours = {"done": "#2e7d32", "failing": "#c62828", "not started": "#757575", "waiting": "#b26a00"}
    head = f"<b>{card.lesson.id} {html.escape(card.lesson.title)}</b><br>"
    if card.state != "graded":
        return head + "<pre>" + html.escape("\n".join(text for _, text in lines(card)[1:])) + "</pre>"
    head += f"<small>graded: <code>{html.escape(_short(card.file))}</code> (yours, {card.code})</small>"
    rows = []
    for exercise in card.exercises:
        filled = round(10 * exercise.points / exercise.of)
        bar = "&#9632;" * filled + "&#9633;" * (10 - filled)
        status = f'<b style="color:{colours[exercise.status]}">{exercise.status}</b>'
        rows.append(
            f"<tr><td style='text-align:left'>{status}</td>"
            f"<td style='text-align:left'><code>{html.escape(exercise.name)}</code></td>"
            f"<td>{bar}</td><td>{exercise.points}/{exercise.of}</td></tr>"
        )
        if exercise.status == "failing":
            text = "\n".join(text[6:] for _, text in _failures(exercise))
            style = "text-align:left;white-space:pre-wrap;margin:0;max-width:70em"
            rows.append(
                f"<tr><td></td><td colspan=3><pre style='{style}'>{html.escape(text)}</pre></td></tr>"
            )
    foot = f"<b>points {card.points}/{card.of}</b> &nbsp; stars {card.stars}/4 &nbsp; hints used {card.hints}"
    advice = html.escape(_advice(card))
    return f"<div>{head}<table>{''.join(rows)}</table>{foot}<br><small>{advice}</small></div>"
