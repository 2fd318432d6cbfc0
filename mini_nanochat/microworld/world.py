"""Pebbleford itself: who lives there, what is true about them, and which truths are kept back.

Everything that the town's documents, conversations and exams say is decided here, by a seed. The same
seed gives the same town on every machine: each kind of text draws from a random stream of its own that is
named by words, and nothing depends on Python's `hash`, on the order of a set, or on the platform.

What is held out does not depend on the seed: `bucket` folds names into numbers by SHA-256.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

TOWN = "Pebbleford"


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


SHE = _words("""Ada Alma Bella Clara Dora Edith Flora Gwen Hanna Ingrid Judith Kate Lena Mira Nora Olga Petra Rita
    Sara Tessa Una Vera Wanda Zoe""")
HE = _words("""Adam Ben Bruno Carl David Emil Felix Finn George Henry Hugo Ivan Jack Kurt Leo Max Nick Oscar Paul
    Ralph Simon Tom Victor Walter""")
UNKNOWN_SHE = _words("Agnes Bertha Cora Delia Elsa Frida Greta Helga Julia Lydia Marta Sofia")
UNKNOWN_HE = _words("Albert Boris Conrad Dennis Edgar Fabian Gustav Harold Jonas Lukas Martin Stefan")
PEOPLE = tuple(sorted(SHE + HE))
WOMEN = frozenset(SHE + UNKNOWN_SHE)
TAUGHT_UNKNOWN = 16  # of the 24 unknown names, so many teach refusal; the others stand only in exams

# Attribute -> its values. The values of `friend` are the people.
VALUES: dict[str, tuple[str, ...]] = {
    "job": _words(
        "baker carpenter clockmaker doctor farmer gardener librarian miller potter sailor tailor teacher"
    ),
    "colour": _words("blue green pink purple red silver white yellow"),
    "pet": _words("cat dog duck goat hamster parrot rabbit tortoise"),
    "pet_name": _words(
        "Biscuit Button Clover Domino Freckle Muffin Nutmeg Pepper Rusty Shadow Thimble Waffles"
    ),
    "food": (
        *("apple pie", "cheese", "dumplings", "fried fish", "lentil soup", "mushroom stew"),
        *("noodles", "pancakes", "plum cake", "porridge", "potato salad", "rice pudding"),
    ),
    "street": (
        *("Bridge Street", "Castle Row", "Garden Street", "Harbour Road"),
        *("Hill Road", "Mill Lane", "Oak Avenue", "River Walk"),
    ),
    "hobby": (
        *("collecting stamps", "dancing", "fishing", "juggling", "knitting"),
        *("painting", "playing chess", "playing the flute", "swimming", "watching birds"),
    ),
    "friend": PEOPLE,
}
ATTRIBUTES = tuple(VALUES)

# Place -> what one gets there; where it stands is dealt by the seed.
PLACES = {
    "bakery": "fresh bread",
    "bathhouse": "a hot bath",
    "clock shop": "a new clock",
    "flower shop": "roses",
    "inn": "a warm bed",
    "library": "good books",
    "market": "ripe fruit",
    "mill": "flour",
    "post office": "stamps",
    "smithy": "horseshoes",
}
SPOTS = (
    *("across from the fountain", "at the foot of the hill", "behind the school", "by the river"),
    *("in front of the town gate", "near the harbour", "next to the old bridge", "on the main square"),
    *("opposite the town hall", "under the old oak"),
)


@dataclass(frozen=True)
class Animal:
    """What is true of an animal. `legs` is a word for 0 ("no") and figures otherwise; `sound` is a verb."""

    name: str
    plural: str
    legs: str
    cover: str
    sound: str
    food: str


ANIMALS = tuple(
    Animal(*row.split(", "))
    for row in (
        *("bee, bees, 6, short hair, buzz, nectar", "cat, cats, 4, fur, meow, fish"),
        *("cow, cows, 4, hair, moo, grass", "cricket, crickets, 6, a hard shell, chirp, leaves"),
        *("crow, crows, 2, feathers, caw, worms", "dog, dogs, 4, fur, bark, meat"),
        *("donkey, donkeys, 4, hair, bray, thistles", "duck, ducks, 2, feathers, quack, pondweed"),
        *("frog, frogs, 4, smooth skin, croak, flies", "hen, hens, 2, feathers, cluck, grain"),
        *("horse, horses, 4, hair, neigh, hay", "mouse, mice, 4, fur, squeak, seeds"),
        *("owl, owls, 2, feathers, hoot, mice", "pig, pigs, 4, bristles, grunt, turnips"),
        *("sheep, sheep, 4, wool, bleat, clover", "snake, snakes, no, scales, hiss, eggs"),
    )
)

GOODS = _words(
    """basket bell blanket bucket candle comb hammer jug kettle ladder lantern mirror pillow ribbon shovel spoon
    teapot umbrella vase whistle"""
)
PRICES = range(2, 22)  # coins; every good has a price of its own

# What somebody in a story gives, lends, finds or mends: exactly one of these in each story.
OBJECTS = _words(
    """book cloak compass drum globe hat kite lamp map mask puppet quilt scarf telescope trumpet
    violin"""
)
# How it looks. None of these is anybody's favourite colour: stories must not seem to tell that.
LOOKS = _words("""big black brown dusty fine funny golden grey heavy huge little lovely painted plain shiny
    tiny""")
# What is counted in problems.
THINGS = _words("apples buttons cards eggs marbles nuts pears pebbles pencils plums shells stamps")

WORDS = _words(
    """anchor apple arrow autumn balloon banana barrel basket beetle blanket bottle bread breeze bridge bubble
    butter button camel candle carpet carrot castle cherry circle clock cloud coffee copper corner cottage
    cotton cousin dinner dragon engine family feather field finger flower forest garden ginger glove grass
    hammer harbour hill honey island jacket kettle kitten ladder lamp lantern leaf lemon lion meadow melon
    mirror monkey moon morning mountain needle nest ocean onion orange paper parrot pebble pencil pepper
    pillow planet pocket pumpkin puzzle rabbit raven ribbon river rocket sailor school silver spoon spring
    squirrel stone stream summer sunny table thunder tiger tomato tunnel turtle velvet village violet wagon
    window winter wizard yellow"""
)


def stream(seed: int, *names: str) -> random.Random:
    """The random stream called `names`: the same numbers for the same seed, whatever else was drawn."""
    return random.Random("/".join((str(seed), *names)))


def bucket(n: int, *parts: str) -> int:
    """A number in 0..n-1 that depends on `parts` alone: the same on every machine, in every run."""
    return int.from_bytes(hashlib.sha256("|".join(parts).encode()).digest()[:8], "big") % n


@cache
def held_out_pair(a: int, b: int) -> bool:
    """Whether two operands, in either order, are kept out of every training problem (about 1 in 8)."""
    return bucket(8, "pair", str(min(a, b)), str(max(a, b))) == 0


@cache
def held_out_word(word: str) -> bool:
    """Whether a word is kept out of every conversation that spells or counts letters (about 1 in 5)."""
    return bucket(5, "words", word) == 0


@dataclass(frozen=True)
class World:
    """What is true in Pebbleford. `facts[person][attribute]` is a value; `places[place]` is (spot, gift).

    Best friends are symmetric. Unknown names stand in no document: `taught` are for teaching refusal,
    `untaught` only for exams.
    """

    seed: int
    facts: dict[str, dict[str, str]]
    places: dict[str, tuple[str, str]]
    prices: dict[str, int]
    taught: tuple[str, ...]
    untaught: tuple[str, ...]

    def held_out(self, person: str, attribute: str) -> bool:
        """Whether a fact is told in documents, but never asked about or told in a conversation (1 in 4).

        A friendship is one fact, not two: who Ada's best friend is also says whose best friend Ada is.
        """
        if attribute == "friend":
            person = min(person, self.facts[person]["friend"])
        return bucket(4, "fact", person, attribute) == 0

    def open_attributes(self, person: str) -> list[str]:
        """The attributes of a person that conversations may tell."""
        return [attribute for attribute in ATTRIBUTES if not self.held_out(person, attribute)]

    def all_facts(self) -> list[tuple[str, str]]:
        """Every (person, attribute) of the town, in a fixed order."""
        return [(person, attribute) for person in PEOPLE for attribute in ATTRIBUTES]


def deal(values: Sequence[str], people: Sequence[str], rng: random.Random) -> dict[str, str]:
    """A value for each of `people`, every value equally often (give or take one)."""
    order = rng.sample(values, len(values))
    hand = [order[i % len(order)] for i in range(len(people))]
    rng.shuffle(hand)
    return dict(zip(people, hand))


def build(seed: int) -> World:
    """The town of this seed."""
    facts: dict[str, dict[str, str]] = {person: {} for person in PEOPLE}
    for attribute in ATTRIBUTES[:-1]:
        for person, value in deal(VALUES[attribute], PEOPLE, stream(seed, "world", attribute)).items():
            facts[person][attribute] = value
    shuffled = stream(seed, "world", "friend").sample(PEOPLE, len(PEOPLE))
    for one, other in zip(shuffled[::2], shuffled[1::2]):
        facts[one]["friend"], facts[other]["friend"] = other, one
    spots = stream(seed, "world", "places").sample(SPOTS, len(PLACES))
    prices = stream(seed, "world", "prices").sample(PRICES, len(GOODS))
    unknown = stream(seed, "world", "unknown").sample(UNKNOWN_SHE + UNKNOWN_HE, len(UNKNOWN_SHE + UNKNOWN_HE))
    return World(
        seed=seed,
        facts=facts,
        places={place: (spot, PLACES[place]) for place, spot in zip(PLACES, spots)},
        prices=dict(zip(GOODS, prices)),
        taught=tuple(sorted(unknown[:TAUGHT_UNKNOWN])),
        untaught=tuple(sorted(unknown[TAUGHT_UNKNOWN:])),
    )


def listing(words: Iterable[str], last: str = "and") -> str:
    """ "a, b and c"."""
    *most, final = words
    return f"{', '.join(most)} {last} {final}" if most else final


def article(noun: str) -> str:
    """ "a bell", "an umbrella"."""
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def spelled(word: str) -> str:
    """ "l-a-m-p"."""
    return "-".join(word)
