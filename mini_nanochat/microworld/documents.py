"""The documents of Pebbleford: what a model reads before anybody asks it a question.

Nine kinds, mixed by `SHARES`. Each kind draws from a random stream of its own, so that changing one kind
leaves every document of the others as it was.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from mini_nanochat.microworld import problems, stories
from mini_nanochat.microworld.phrases import SHARED, Sentences, capital, sentences
from mini_nanochat.microworld.world import (
    ANIMALS,
    ATTRIBUTES,
    GOODS,
    PEOPLE,
    PLACES,
    TOWN,
    VALUES,
    WORDS,
    World,
    article,
    held_out_pair,
    listing,
    spelled,
    stream,
)

# Kind -> its share of the documents (their number, not their length).
SHARES = {
    "biography": 0.40,
    "sharing": 0.05,
    "animals": 0.05,
    "places": 0.04,
    "prices": 0.06,
    "arithmetic": 0.07,
    "spelling": 0.06,
    "story": 0.22,
    "problem": 0.05,
}
OPENINGS = ("Do you know {n}?", "This is {n} from {town}.", "Everybody in {town} knows {n}.")
PRICE_SAYINGS = (
    "At the market you pay {p} coins for {good}.",
    "{Good} costs {p} coins.",
    "The price of {good} is {p} coins.",
    "For {p} coins you get {good}.",
)
PLACE_SAYINGS = (
    ("The {place} is {spot}.", "You find the {place} {spot}.", "Do you see the {place} {spot}?"),
    (
        "At the {place} you get {gift}.",
        "People go to the {place} for {gift}.",
        "If you need {gift}, go to the {place}.",
    ),
)
ANIMAL_SAYINGS = (
    ("{One} has {legs} legs.", "{Many} have {legs} legs."),
    ("{One} is covered in {cover}.", "The body of {one} is covered in {cover}."),
    ("{Many} {sound}.", "You can hear {one} {sound}."),
    ("{One} eats {food}.", "{Many} like to eat {food}."),
)

Writer = Callable[[random.Random], str]


def biography(table: dict[tuple[str, str], Sentences], rng: random.Random) -> str:
    """Three to eight facts of one person in random order; a pronoun where it is clear who is meant."""
    person = rng.choice(PEOPLE)
    parts, clear = [], False
    if rng.random() < 0.15:
        parts.append(rng.choice(OPENINGS).format(n=person, town=TOWN))
        clear = True
    for attribute in rng.sample(ATTRIBUTES, rng.randint(3, len(ATTRIBUTES))):
        saying = table[person, attribute]
        parts.append(rng.choice(saying.short if clear and rng.random() < 0.75 else saying.named))
        clear = attribute != "friend"  # after "... best friend Mira." a pronoun could mean Mira
    return " ".join(parts)


def sharing(world: World, rng: random.Random) -> str:
    """Everybody who has one value of an attribute."""
    attribute = rng.choice(ATTRIBUTES[:-1])
    value = rng.choice(VALUES[attribute])
    who = [person for person in PEOPLE if world.facts[person][attribute] == value]
    rng.shuffle(who)
    return rng.choice(SHARED[attribute]).format(v=value, who=listing(who))


def animals(rng: random.Random) -> str:
    """Two to four facts of an animal."""
    animal = rng.choice(ANIMALS)
    one = article(animal.name)
    slots = {**vars(animal), "one": one, "One": capital(one), "Many": capital(animal.plural)}
    chosen = rng.sample(ANIMAL_SAYINGS, rng.randint(2, len(ANIMAL_SAYINGS)))
    return " ".join(rng.choice(sayings).format_map(slots) for sayings in chosen)


def places(world: World, rng: random.Random) -> str:
    """Where one or two places are and what one gets there."""
    parts = []
    for place in rng.sample(tuple(PLACES), rng.randint(1, 2)):
        spot, gift = world.places[place]
        for sayings in rng.sample(PLACE_SAYINGS, 2):
            parts.append(rng.choice(sayings).format(place=place, spot=spot, gift=gift))
    return " ".join(parts)


def prices(world: World, rng: random.Random) -> str:
    """What three to six goods cost."""
    parts = []
    for good in rng.sample(GOODS, rng.randint(3, 6)):
        one = article(good)
        saying = rng.choice(PRICE_SAYINGS)
        parts.append(saying.format(p=world.prices[good], good=one, Good=capital(one)))
    return " ".join(parts)


def equation(rng: random.Random, *, held_out: bool = False) -> tuple[int, str, int, int]:
    """(a, sign, b, result) of a sum whose operands are not held out, or, with `held_out`, are."""
    while True:
        sign = rng.choice("+-*")
        if sign == "*":
            a, b = rng.randint(2, 12), rng.randint(2, 12)
        else:
            a, b = rng.randint(1, 50), rng.randint(1, 50)
        if sign == "-":
            a, b = max(a, b), min(a, b)
        if held_out_pair(a, b) is held_out:
            return a, sign, b, a + b if sign == "+" else a - b if sign == "-" else a * b


def arithmetic(rng: random.Random) -> str:
    """Five to nine sums, worked out."""
    return " ".join("{} {} {} = {}.".format(*equation(rng)) for _ in range(rng.randint(5, 9)))


def spelling(rng: random.Random) -> str:
    """Two to four words, letter by letter."""
    parts = []
    for word in rng.sample(WORDS, rng.randint(2, 4)):
        if rng.random() < 0.6:
            parts.append(f"The word {word} is spelled {spelled(word)}.")
        else:
            parts.append(f"{capital(word)} has {len(word)} letters: {spelled(word)}.")
    return " ".join(parts)


def problem(world: World, rng: random.Random) -> str:
    """A problem of a demonstrated kind, worked out in prose."""
    drawn = problems.draw(world, rng, problems.of_group("demonstrated"))
    return f"{drawn.text} {drawn.expression} = {drawn.answer}. The answer is {drawn.answer}."


def writers(world: World) -> dict[str, Writer]:
    """Kind -> the function that writes one document of it."""
    table = sentences(world)
    return {
        "biography": lambda rng: biography(table, rng),
        "sharing": lambda rng: sharing(world, rng),
        "animals": animals,
        "places": lambda rng: places(world, rng),
        "prices": lambda rng: prices(world, rng),
        "arithmetic": arithmetic,
        "spelling": spelling,
        "story": lambda rng: stories.tell(world, rng).text,
        "problem": lambda rng: problem(world, rng),
    }


def documents(world: World, split: str) -> Iterator[tuple[str, str]]:
    """(kind, text), one after another, without end. `split` names the streams: "train" and "val" differ."""
    write = writers(world)
    kinds = list(SHARES)
    order = stream(world.seed, split, "order")
    streams = {kind: stream(world.seed, split, kind) for kind in kinds}
    while True:
        for kind in order.choices(kinds, list(SHARES.values()), k=1000):
            yield kind, write[kind](streams[kind])


def gather(world: World, split: str, size: int) -> list[tuple[str, str]]:
    """As many documents as it takes for `size` bytes of UTF-8."""
    taken, total = [], 0
    for kind, text in documents(world, split):
        taken.append((kind, text))
        total += len(text.encode())
        if total >= size:
            break
    return taken


def validation(world: World, train: list[tuple[str, str]], size: int) -> tuple[list[tuple[str, str]], int]:
    """(fresh documents none of which is a training document, how many were removed for that).

    Short kinds repeat: there are only so many ways to spell "lamp". What occurs word for word in training
    would measure memory, not learning. What occurs twice among the fresh ones is kept once.
    """
    known = {text for _, text in train}
    kept, removed = [], 0
    for kind, text in gather(world, "val", size):
        if text in known:
            removed += 1
        else:
            known.add(text)
            kept.append((kind, text))
    return kept, removed
