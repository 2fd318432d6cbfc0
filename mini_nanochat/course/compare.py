"""Two Python files side by side by what they define: pairs by name and by structure, and what only one has.

Definitions of the same name and kind are a pair. What is left is paired by likeness, between 0 and 1:

    0.8 x structure + 0.2 x words of the name, its class included

Structure: each body as a bag of syntax nodes in which local variables have no name. The names that it takes
from outside (attributes, functions, keywords; not Python's own) weigh five times as much, because they tell
most. Both terms are Dice's coefficient: twice what both bags share, over what they hold together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path

from mini_nanochat.course.definitions import NAMED, Definition, Side, read, weight
from mini_nanochat.course.errors import CourseError
from mini_nanochat.course.manifest import ROOT, Lesson, curriculum
from mini_nanochat.course.workspace import Workspace

# Measured with names hidden: of 98 functions that ten files of nanochat have in November 2025 and in 2026, 64
# are found again, none wrongly; of 70 in tests/alternates (the same task, written differently) 14, none
# wrongly. With names, 15 unrelated files, each with each (105 comparisons), give no pair at all. At 0.45 it
# would be 69 and 20, with 2 wrong ones, and 17 pairs in unrelated files.
ALIKE = 0.55
COMMON = 3  # names that an alike pair must share at least
SMALL = 20  # the least weight of a body that can be alike: space_re = re.compile(...) weighs 12

UPSTREAM = "https://github.com/karpathy/nanochat"
COMMIT = "4a87a0d"  # 2025-11-17: later ones dropped or renamed files that the map names
CLONE = f"git clone {UPSTREAM} && git -C nanochat checkout {COMMIT}"


@dataclass(frozen=True)
class Pair:
    """Two definitions that belong together, and how that is known."""

    ours: Definition
    theirs: Definition
    how: str  # "same name", "alike 0.78", "wraps rms_norm"

    @property
    def differs(self) -> list[str]:
        """What differs: signature, values (numbers and texts), body; empty if they are the same."""
        a, b = self.ours, self.theirs
        if a.written != b.written:
            return ["not written yet"]
        facts = {
            "signature": a.signature != b.signature,
            "values": a.values != b.values,
            "body": a.body != b.body,
        }
        return [what for what, differs in facts.items() if differs]


@dataclass(frozen=True)
class Comparison:
    """What `compare` found. `names` are what the two sides are called."""

    ours: Side
    theirs: Side
    pairs: list[Pair]
    names: tuple[str, str] = ("ours", "theirs")
    notes: list[str] = field(default_factory=list)
    lesson: Lesson | None = None  # where theirs are a learner's

    @property
    def only_ours(self) -> list[Definition]:
        paired = {pair.ours.name for pair in self.pairs}
        return [one for one in self.ours.definitions if one.name not in paired]

    @property
    def only_theirs(self) -> list[Definition]:
        paired = {pair.theirs.name for pair in self.pairs}
        return [one for one in self.theirs.definitions if one.name not in paired]


# -- likeness ---------------------------------------------------------------------------------------


def alike(a: Definition, b: Definition) -> float:
    """How alike two definitions are, from 0 to 1; 0 where too little is shared to say."""
    if min(a.weight, b.weight) < SMALL:
        return 0.0
    words, total = a.words & b.words, a.weight + b.weight
    name = 2 * len(words) / (len(a.words) + len(b.words) or 1)
    if 0.8 * 2 * min(a.weight, b.weight) / total + 0.2 * name < ALIKE:
        return 0.0  # too unlike in size: most pairs end here
    shared = a.bag & b.bag
    named = sum(weight(feature) == NAMED for feature in shared) + len(words)
    structure = 2 * sum(count * weight(feature) for feature, count in shared.items()) / total
    return 0.8 * structure + 0.2 * name if named >= COMMON else 0.0


def _likely(
    left: Iterable[Definition], right: Iterable[Definition], family: str
) -> list[tuple[float, Definition, Definition]]:
    """The pairs of a family that are alike enough, the likeliest first."""
    theirs = [b for b in right if b.family == family]
    rows = [(alike(a, b), a, b) for a in left if a.family == family for b in theirs]
    good = [row for row in rows if row[0] >= ALIKE]
    return sorted(good, key=lambda row: (-row[0], *sorted([row[1].name, row[2].name])))


def _kin(ours: Side, theirs: Side) -> list[tuple[list[str], Definition, Definition]]:
    """Classes that share a word of their names and enough methods, and share more with no other class."""
    classes = [[one for one in side.definitions if one.kind == "class"] for side in (ours, theirs)]
    kin = [(a, b) for a in classes[0] for b in classes[1] if a.words & b.words]
    rows = [(sorted(ours.methods(a) & theirs.methods(b)), a, b) for a, b in kin]

    def best(names: list[str], a: Definition, b: Definition) -> bool:
        rivals = [row for row in rows if (row[1] is a) != (row[2] is b)]
        return len(names) >= COMMON and all(len(row[0]) < len(names) for row in rivals)

    return [row for row in rows if best(*row)]


# -- comparing --------------------------------------------------------------------------------------


def compare(ours: Side, theirs: Side) -> Comparison:
    """Pairs by name, then classes by likeness and their methods by name, then functions by likeness.

    A definition is in one pair at most. Neither the order of definitions nor that of the sides matters.
    """
    pairs: list[Pair] = []
    left = {(one.name, one.kind): one for one in ours.definitions}
    right = {(one.name, one.kind): one for one in theirs.definitions}

    def take(a: Definition, b: Definition, how: str) -> None:
        if (a.name, a.kind) in left and (b.name, b.kind) in right:
            pairs.append(Pair(left.pop((a.name, a.kind)), right.pop((b.name, b.kind)), how))

    for key in left.keys() & right.keys():
        take(left[key], right[key], "same name")
    for score, a, b in _likely(left.values(), right.values(), "class"):
        take(a, b, f"alike {score:.2f}")
    for names, a, b in _kin(ours, theirs):
        take(a, b, f"both have {', '.join(names)}")
    classes = {pair.ours.name: pair.theirs.name for pair in pairs if pair.ours.kind == "class"}
    for a in list(left.values()):
        key = f"{classes.get(a.owner)}.{a.last}", a.kind
        if key in right:
            take(a, right[key], "same name")
    for a in sorted(left.values(), key=attrgetter("name")):
        for b in sorted(right.values(), key=attrgetter("name")):
            if a.kind == b.kind == "function" and (a.wraps == b.name or b.wraps == a.name):
                take(a, b, f"wraps {a.wraps if a.wraps == b.name else b.wraps}")
    for family in ("function", "constant"):
        for score, a, b in _likely(left.values(), right.values(), family):
            take(a, b, f"alike {score:.2f}")
    order = {one.name: at for at, one in enumerate(ours.definitions)}
    return Comparison(ours, theirs, sorted(pairs, key=lambda pair: order[pair.ours.name]))


# -- lessons ----------------------------------------------------------------------------------------


def with_mine(space: Workspace, lesson: Lesson) -> Comparison:
    """Our module of a lesson and the learner's."""
    mine = read(space.need(lesson))
    found = compare(read(ROOT / lesson.module, lesson.module), mine)
    return replace(found, names=("ours", "yours"), lesson=lesson)


def with_nanochat(module: Path, checkout: Path | None) -> Comparison:
    """A module of ours, or the learner's version of it, and what the manifest names for it in nanochat.

    `checkout` is a clone of nanochat. Raises CourseError where there is none, with the command that makes one.
    """
    lesson = _lesson_of(module)
    if checkout is None or not checkout.is_dir():
        what = "nanochat is not a part of this course" if checkout is None else f"{checkout} is no folder"
        raise CourseError(f"{what}. Get it with `{CLONE}`, then say --nanochat FOLDER.")
    sides, notes = [], []
    for place in lesson.nanochat:
        file, _, names = place.partition(": ")
        if not file.endswith(".py"):
            notes.append(f"{file} is no Python: read it beside ours.")
            continue
        if not (checkout / file).is_file():
            raise CourseError(
                f"{checkout} has no {file}: this is another version of nanochat, or no nanochat. The late-2025 "
                f"one: `git -C {checkout} checkout {COMMIT}` (to get it: `{CLONE}`)."
            )
        only = names.split(", ") if names else []
        sides.append(read(checkout / file, place, only))
        missing = [name for name in only if name not in [one.name for one in sides[-1].definitions]]
        notes += [f"{checkout / file} has no {name}; the tree meant is {COMMIT}." for name in missing]
    if not any(side.definitions for side in sides):
        raise CourseError(" ".join([f"there is nothing in nanochat to compare {module.name} with:", *notes]))
    title = module.relative_to(ROOT) if module.is_relative_to(ROOT) else module
    found = compare(read(module, str(title)), _together(sides))
    return replace(found, names=("ours", "nanochat"), notes=notes)


def _lesson_of(module: Path) -> Lesson:
    """The lesson that a module of ours belongs to, also where it lies in a workspace."""
    path = module.absolute().as_posix()
    for lesson in curriculum().lessons:
        if any(path.endswith(f"/{one}") for one in (lesson.module, *lesson.gives)):
            return lesson
    raise CourseError(f"{module} is no lesson's module, so nanochat has no counterpart: say --theirs PATH.")


def _together(sides: list[Side]) -> Side:
    """Several sides as one; a name that two of them define is kept once."""
    definitions: dict[str, Definition] = {}
    for one in (one for side in sides for one in side.definitions):
        definitions.setdefault(one.name, one)
    return Side(
        title="; ".join(side.title for side in sides),
        lines=sum(side.lines for side in sides),
        imports={full: bound for side in sides for full, bound in side.imports.items()},
        definitions=tuple(definitions.values()),
    )
