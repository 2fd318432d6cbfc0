"""The three faces of a comparison: terminal, Markdown, and one HTML file that needs nothing else."""

from __future__ import annotations

import difflib
import html
import io
import re
import textwrap
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from mini_nanochat.course import card
from mini_nanochat.course.compare import Comparison, Pair
from mini_nanochat.course.errors import CourseError
from mini_nanochat.course.workspace import write_whole

WIDE = 100  # columns from which both sources stand side by side
LONGEST = 60  # characters of a value that are shown
MARKS = (("-", "red"), ("+", "green"))  # of a line that only this side has, as in a diff
FORMATS = ("terminal", "markdown", "html")
FLAGS: dict[str, dict[str, Any]] = {  # of `mini-nanochat compare`
    "with": {
        "dest": "beside",
        "choices": ("mine", "nanochat"),
        "default": "mine",
        "help": "what stands beside ours (mine)",
    },
    "nanochat": {"type": Path, "metavar": "FOLDER", "help": "your clone of nanochat"},
    "format": {"choices": FORMATS, "default": FORMATS[0], "help": "the face (terminal)"},
    "out": {"type": Path, "metavar": "FILE", "help": "write to this file"},
}
Lines = tuple[str | None, str | None]  # of ours and of theirs, opposite each other


def report(found: Comparison, format: str, out: Path | None) -> None:
    """Shows a comparison in the terminal, or writes it to the file `out`.

    Raises CourseError for a format that does not exist, and for a place that can't be written.
    """
    if format not in FORMATS:
        raise CourseError(f"there is no format {format!r}: say {', '.join(FORMATS)}.")
    if out is None and format == "terminal":
        return show(found, card.console())
    text = {"terminal": as_text, "markdown": as_markdown, "html": as_html}[format](found)
    if out is None:
        return card.console().print(Text(text), end="")
    special = out.exists() and not out.is_file()  # a folder, or /dev/null
    if special or not out.absolute().parent.is_dir():
        what = f"{out} is no file" if special else f"there is no folder {out.absolute().parent}"
        raise CourseError(f"{what}: name a file in a folder that exists.")
    if out.suffix == ".py":
        raise CourseError(f"{out} would be a Python file: name it .txt, .md or .html.")
    write_whole(out, text)
    print(f"Written: {out}")


# -- what all three say -----------------------------------------------------------------------------


def remarks(found: Comparison) -> list[str]:
    """Sentences about the whole: whether it is all the same, what is not written, what could not be compared."""
    said = list(found.notes)
    if found.ours.text and found.ours.text == found.theirs.text:
        said.append("The two are the same, to the letter.")
    elif not (found.only_ours or found.only_theirs or any(pair.differs for pair in found.pairs)):
        said.append("Every definition is the same. Order, comments or what stands outside differs.")
    waiting = [pair.ours.name for pair in found.pairs if pair.ours.written != pair.theirs.written]
    if waiting:
        said.append(f"Not written yet, so not shown: {', '.join(waiting)}.")
    if found.lesson and (todo := [name for name in waiting if name in found.lesson.todo]):
        said.append(f"`mini-nanochat hint {found.lesson.id} {todo[0]}` helps.")
    return said


def shown(found: Comparison) -> list[Pair]:
    """The pairs of which both sources are shown: they differ, and both are written."""
    return [pair for pair in found.pairs if pair.differs and pair.ours.written == pair.theirs.written]


def tables(found: Comparison) -> Iterator[list[list[str]]]:
    """The tables at the top, headings first: what is counted, the pairs, what only one side has."""
    ours, theirs, same = found.ours, found.theirs, sum(not pair.differs for pair in found.pairs)
    rows = {
        "lines of code": (ours.lines, theirs.lines),
        "definitions": (len(ours.definitions), len(theirs.definitions)),
        "in both": (len(found.pairs), len(found.pairs)),
        "of these the same": (same, same),
        "only here": (len(found.only_ours), len(found.only_theirs)),
    }
    yield [["", *found.names], *([what, str(a), str(b)] for what, (a, b) in rows.items())]
    pairs = [[title(p), p.how, f"{p.ours.lines} / {p.theirs.lines}", differs(p, found)] for p in found.pairs]
    yield [["pair", "matched by", "lines", "what differs"], *pairs]
    for name, only in zip(found.names, (found.only_ours, found.only_theirs)):
        yield [[f"only {name}", "kind", "lines"], *([one.name, one.kind, str(one.lines)] for one in only)]


def imports(found: Comparison) -> Iterator[tuple[str, list[str]]]:
    """What only one side imports: a heading, and the names."""
    ours, theirs = found.ours.imports.keys(), found.theirs.imports.keys()
    for name, only in zip(found.names, (ours - theirs, theirs - ours)):
        if only:
            yield f"imports only {name}", sorted(only)


def _lines(n: int) -> str:
    return f"{n} line" if n == 1 else f"{n} lines"


def title(pair: Pair) -> str:
    a, b = pair.ours.name, pair.theirs.name
    return a if a == b else f"{a} ~ {b}"


def differs(pair: Pair, found: Comparison) -> str:
    """What differs, in a few words. A class is without its methods: they are pairs of their own."""
    methods = any(one.owner == pair.ours.name for one in found.ours.definitions)
    return ", ".join(pair.differs) or f"the same{', methods aside' if methods else ''}"


def facts(pair: Pair) -> tuple[dict[str, str], dict[str, str]]:
    """The signature of each side, where they differ, and the values that only it has."""
    sides = []
    for one, other in ((pair.ours, pair.theirs), (pair.theirs, pair.ours)):
        rows = {"signature": one.signature or "none"} if one.signature != other.signature else {}
        if only := one.values - other.values:
            rows["values only here"] = ", ".join(map(_short, only))
        sides.append(rows)
    return sides[0], sides[1]


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 4]}...{text[-1]}"


def opposite(pair: Pair) -> list[tuple[Lines, bool]]:
    """The lines of both sources, equal ones opposite each other, and whether they differ."""
    ours, theirs = (one.source.expandtabs(4).splitlines() for one in (pair.ours, pair.theirs))
    rows: list[tuple[Lines, bool]] = []
    for tag, a, b, c, d in difflib.SequenceMatcher(None, ours, theirs).get_opcodes():
        for at in range(max(b - a, d - c)):
            left = ours[a + at] if a + at < b else None
            right = theirs[c + at] if c + at < d else None
            rows.append(((left, right), tag != "equal"))
    return rows


# -- terminal ---------------------------------------------------------------------------------------


def as_text(found: Comparison) -> str:
    """What the terminal shows, for a file."""
    out = Console(file=io.StringIO(), width=140, highlight=False, markup=False)
    show(found, out)
    return str(out.file.getvalue())  # type: ignore[attr-defined]


def show(found: Comparison, out: Console) -> None:
    """Prints a comparison: the table, the pairs, what only one has, then each pair that differs."""
    say = partial(out.print, soft_wrap=False)
    for name, side in zip(found.names, (found.ours, found.theirs)):
        say(Text.assemble((f"{name}  ", "bold"), side.title, overflow="fold"))
    for line in remarks(found):
        say(Text(f"\n{line}"))
    for head, *rows in tables(found):
        if rows:
            say()
            say(_table(head, rows))
    for heading, names in imports(found):
        say(Text.assemble("\n", (f"{heading}: ", "dim"), ", ".join(names), overflow="fold"))
    for pair in shown(found):
        _show_pair(pair, found, out)


def _numbers(head: list[str], rows: list[list[str]]) -> list[bool]:
    """Which columns hold numbers alone: these stand to the right."""
    return [all(row[at].replace(" / ", "").isdigit() for row in rows) for at in range(len(head))]


def _table(head: list[str], rows: list[list[str]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    longest = min(40, max(len(word) for row in rows for word in row[0].split()))
    for name, number in zip(head, _numbers(head, rows)):
        table.add_column(name, justify="right" if number else "left", overflow="fold", no_wrap=number)
    table.columns[0].min_width = longest
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _show_pair(pair: Pair, found: Comparison, out: Console) -> None:
    """One pair: facts, then the sources side by side, or one under the other where there is no room."""
    say = partial(out.print, soft_wrap=False)
    say()
    say(Rule(Text(f"{title(pair)}  ({pair.how})", style="bold"), align="left", style="dim"))
    for name, known in zip(found.names, facts(pair)):
        for what, which in known.items():
            say(Text.assemble((f"{name}, {what}: ", "dim"), which, overflow="fold"))
    rows = opposite(pair)
    sides = list(enumerate((pair.ours, pair.theirs)))
    blocks = [sides] if out.width >= WIDE else [sides[:1], sides[1:]]
    for block in blocks:
        table = Table(box=None, expand=True, padding=(0, 1, 0, 0), header_style="dim")
        for at, one in block:
            table.add_column("", width=1)
            table.add_column(f"{found.names[at]}, {_lines(one.lines)}", ratio=1, overflow="fold")
        width = out.width // len(block) - 4
        for lines, differ in rows:
            if any(lines[at] is not None for at, _ in block):
                styles = [MARKS[at] if differ else (" ", "dim") for at, _ in block]
                cells = [_marked(lines[at], *style, width) for (at, _), style in zip(block, styles)]
                table.add_row(*(text for cell in cells for text in cell))
        say(table)


def _marked(line: str | None, mark: str, style: str, width: int) -> tuple[Text, Text]:
    """A mark and its line. A line that is too long goes on below, further to the right."""
    if line is None:
        return Text(), Text()
    indent = " " * min(len(line) - len(line.lstrip()) + 4, width // 2)
    wrapped = textwrap.wrap(line, width, subsequent_indent=indent, replace_whitespace=False)
    return Text(mark, style), Text("\n".join(wrapped), style)


# -- Markdown ---------------------------------------------------------------------------------------


def as_markdown(found: Comparison) -> str:
    """The comparison as a page of Markdown."""
    out = [f"# {_code(found.ours.title)} and {_code(found.theirs.title)}", ""]
    out += [f"{line}\n" for line in remarks(found)]
    for head, *rows in tables(found):
        cells = [[_code(row[0]), *row[1:]] if head[0] else row for row in rows]
        lines = [head, ["---"] * len(head), *cells]
        out += [*(f"| {' | '.join(line)} |" for line in lines), ""] if rows else []
    for heading, names in imports(found):
        out += [f"{heading}: {', '.join(map(_code, names))}", ""]
    for pair in shown(found):
        out += [f"## {_code(title(pair))}", ""]
        for name, one, known in zip(found.names, (pair.ours, pair.theirs), facts(pair)):
            out += [f"{name}, {_lines(one.lines)}", ""]
            out += [f"- {what}: {_code(text)}" for what, text in known.items()]
            fence = "`" * max(3, 1 + _backticks(one.source))
            out += ["", f"{fence}python", one.source, fence, ""]
    return "\n".join(out).rstrip("\n") + "\n"


def _backticks(text: str) -> int:
    """The longest run of them."""
    return max((len(run) for run in re.findall("`+", text)), default=0)


def _code(text: str) -> str:
    """A code span: as many backticks around as it takes."""
    ticks = "`" * (1 + _backticks(text))
    return f"{ticks} {text} {ticks}" if "`" in text else f"`{text}`"


# -- HTML -------------------------------------------------------------------------------------------

STYLE = """
:root { color-scheme: light dark; --ink: #1d2430; --dim: #5b6575; --page: #fff; --box: #f5f6f8; --rule: #d9dde3;
  --ours: #fbe3e0; --theirs: #dcf2e2; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7ec; --dim: #9aa5b5; --page: #14171c; --box: #1c2027;
  --rule: #343b46; --ours: #46262a; --theirs: #1f3d2b; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 100rem; padding: 1rem; background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.2rem; }
h2 { font: 600 1.05rem ui-monospace, monospace; margin: 2.5rem 0 .3rem; }
h2 small, th, figcaption { font: .85rem/1.5 system-ui, sans-serif; color: var(--dim); }
a { color: inherit; text-underline-offset: .3em; }
table { border-collapse: collapse; margin: 1.5rem 0; }
th, td { text-align: left; vertical-align: top; padding: .2rem 1rem .2rem 0; border-bottom: 1px solid var(--rule); }
td + td { overflow-wrap: normal; }
.n { text-align: right; white-space: nowrap; }
code { font: .85rem/1.45 ui-monospace, monospace; color: var(--ink); }
.sides { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; align-items: end; }
figure { margin: .5rem 0; min-width: 0; }
pre { margin: .3rem 0 0; padding: .5rem 0; background: var(--box); border: 1px solid var(--rule); overflow-x: auto; }
pre code { display: inline-block; min-width: 100%; }
span { display: block; min-height: 1.45em; padding: 0 .6rem; }
span::before { content: "  "; }
.ours { background: var(--ours); } .ours::before { content: "- "; }
.theirs { background: var(--theirs); } .theirs::before { content: "+ "; }
@media (max-width: 45rem) {
  .sides { grid-template-columns: 1fr; gap: 0; }
  .gap { display: none; }
  .w4 th { display: none; }
  .w4 tr { display: block; border-bottom: 1px solid var(--rule); padding: .3rem 0; }
  .w4 td { display: inline-block; border: 0; padding: 0 1rem 0 0; }
  .w4 td:first-child { display: block; }
  .w4 .n::after { content: " lines"; }
}
"""


def as_html(found: Comparison) -> str:
    """The comparison as one file of HTML: no script, nothing loaded, light and dark, wide and narrow."""
    text = html.escape
    head = " and ".join(f"{text(side.title)}" for side in (found.ours, found.theirs))
    out = [f"<h1>{head}</h1>", *(f"<p>{text(line)}</p>" for line in remarks(found))]
    links = {title(pair): f"pair{at}" for at, pair in enumerate(shown(found))}
    for head_row, *rows in tables(found):
        out.append(_html_table(head_row, rows, links) if rows else "")
    for heading, names in imports(found):
        out.append(f"<p>{heading}: {', '.join(f'<code>{text(name)}</code>' for name in names)}</p>")
    for pair in shown(found):
        how = f"<small>{text(pair.how)}</small>"
        out += [f'<h2 id="{links[title(pair)]}">{text(title(pair))} {how}</h2>', *_html_pair(pair, found)]
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{head}</title><style>{STYLE}</style></head><body>
{chr(10).join(part for part in out if part)}
</body></html>
"""


def _html_table(head: list[str], rows: list[list[str]], links: dict[str, str]) -> str:
    """A table whose first column is code, with a link to what is further down."""
    kinds = [' class="n"' if number else "" for number in _numbers(head, rows)]
    lines = ["".join(f"<th{kind}>{cell}</th>" for kind, cell in zip(kinds, head))]
    for name, *rest in rows:
        first = f"<code>{html.escape(name)}</code>" if head[0] else name
        if name in links and head[0] == "pair":
            first = f'<a href="#{links[name]}">{first}</a>'
        cells = [first, *map(html.escape, rest)]
        lines.append("".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(kinds, cells)))
    return f'<table class="w{len(head)}">{"".join(f"<tr>{line}</tr>" for line in lines)}</table>'


def _html_pair(pair: Pair, found: Comparison) -> Iterator[str]:
    yield '<div class="sides">'
    rows = opposite(pair)
    for at, one in enumerate((pair.ours, pair.theirs)):
        lines = []
        for texts, differ in rows:
            kind = "gap" if texts[at] is None else ("ours", "theirs")[at] if differ else ""
            lines.append(f'<span class="{kind}">{html.escape(texts[at] or "")}</span>')
        known = "".join(f"<br>{k}: <code>{html.escape(v)}</code>" for k, v in facts(pair)[at].items())
        yield f"<figure><figcaption><b>{found.names[at]}</b>, {_lines(one.lines)}{known}</figcaption>"
        yield f'<pre tabindex="0"><code>{"".join(lines)}</code></pre></figure>'
    yield "</div>"
