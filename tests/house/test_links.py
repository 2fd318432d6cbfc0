"""Every relative link and every `path/like/this.py` in the Markdown files leads to something that exists."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import pytest

from mini_nanochat.course.manifest import ROOT

PAGES = sorted(
    {
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("lessons/**/*.md"),
        *ROOT.glob("tools/**/*.md"),
        *ROOT.glob("rustbpe/*.md"),
    }
)
FENCE = re.compile(r"^ *(```+|~~~+).*?^ *\1 *$", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"(`+)(?!`)(.+?)(?<!`)\1(?!`)")
LINKS = (
    re.compile(r"\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)"),
    re.compile(r"^ *\[[^\]^]+\]:\s*<?([^\s>]+)>?", re.MULTILINE),
    re.compile(r"\b(?:src|href)=\"([^\"]+)\""),
)
PATH = re.compile(
    r"(?:[\w.-]+/)+(?:[\w.-]+\.[a-z]\w{0,5})?"
)  # a file with an ending, or a folder with its slash
# Not in this repository: what git ignores, and files of other projects (nanochat, tiktoken).
ELSEWHERE = ("workspace/", "runs/", ".venv/", "nanochat/", "dev/", "tiktoken_ext/")


def anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as GitHub names them."""
    seen: Counter[str] = Counter()
    names = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", FENCE.sub("", page), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        names.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return {*names, *re.findall(r"\b(?:id|name)=\"([^\"]+)\"", page)}


def broken(path: Path, page: str) -> list[str]:
    """What the page at `path` points to and is not there."""
    text = FENCE.sub("", page)
    prose = CODE.sub("", text)
    links = [link for pattern in LINKS for link in pattern.findall(prose)]
    found = [
        link for link in links if not re.match(r"[a-z][a-z+.-]*:|//", link) and not _leads(path, page, link)
    ]
    spans = [span for _, span in CODE.findall(text)]
    return found + [word for span in spans for word in _paths(span) if not _exists(path, word)]


def _leads(path: Path, page: str, link: str) -> bool:
    """Whether a relative link has a target, its anchor included."""
    file, _, anchor = unquote(link).partition("#")
    there = path.parent / file
    if file and not (there.exists() and there.resolve().is_relative_to(ROOT)):
        return False
    if not anchor or (file and there.suffix != ".md"):
        return True
    return anchor in anchors(there.read_text("utf-8") if file else page)


def _paths(span: str) -> list[str]:
    """The words of a code span that are paths; `tests/x.py::test_y` and `x/y.py:12` count as their files."""
    words = [re.sub(r"::?[\w\[\].,-]*$", "", word) for word in span.split()]
    return [word for word in words if PATH.fullmatch(word.removeprefix("./"))]


def _exists(page: Path, word: str) -> bool:
    word = word.removeprefix("./")
    return word.startswith(ELSEWHERE) or (ROOT / word).exists() or (page.parent / word).exists()


@pytest.mark.parametrize("path", [page.relative_to(ROOT).as_posix() for page in PAGES])
def test_everything_that_a_page_points_to_exists(path):
    assert broken(ROOT / path, (ROOT / path).read_text("utf-8")) == []


# -- the check can fail ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "page, wrong",
    [
        ("See [this](docs/nothing.md).", "docs/nothing.md"),
        ("![a picture](docs/nothing.svg)", "docs/nothing.svg"),
        ('[titled](docs/nothing.md "A title")', "docs/nothing.md"),
        ("[a reference][1]\n\n[1]: docs/nothing.md\n", "docs/nothing.md"),
        ('<img src="docs/nothing.png">', "docs/nothing.png"),
        ("[out of here](../elsewhere.md)", "../elsewhere.md"),
        ("[there](README.md#no-such-heading)", "README.md#no-such-heading"),
        ("# A heading\n\n[there](#another-heading)", "#another-heading"),
        ("Look into `mini_nanochat/tokenizer/nothing.py`.", "mini_nanochat/tokenizer/nothing.py"),
        ("Run `pytest tests/nothing/test_x.py::test_y --mine`.", "tests/nothing/test_x.py"),
        ("In `tests/nothing/` they lie.", "tests/nothing/"),
        ("``mini_nanochat/nothing.py:12`` is the line", "mini_nanochat/nothing.py"),
    ],
)
def test_a_planted_dead_link_is_found(page, wrong):
    assert broken(ROOT / "PAGE.md", page) == [wrong]


@pytest.mark.parametrize(
    "page",
    [
        "[manifest](lessons/curriculum.toml) [folder](mini_nanochat) [web](https://example.org/x.md)",
        "# The idea, and `why`\n\n[up](#the-idea-and-why) [mail](mailto:a@example.org)",
        "# Twice\n\n# Twice\n\n[second](#twice-1)",
        "[page](README.md) `mini_nanochat/tokenizer/` `tokenizer/x` `and/or` `a / b` `1/2` `1/2.5`",
        "`mini_nanochat/tokenizer/bpe.py:12` `./Makefile` `workspace/x/mine.py` `runs/today/log.jsonl`",
        "`nanochat/gpt.py` is elsewhere; `tests/mutants/*.toml` and `phase{P}/x.ipynb` are patterns",
        "```\n[not a link](nothing.md) `no/path.py`\n```",
        "`[code](nothing.md)`",
    ],
)
def test_good_links_and_what_is_no_link_are_left_alone(page):
    assert broken(ROOT / "PAGE.md", page) == []
