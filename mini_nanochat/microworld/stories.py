"""Stories: five sentences about somebody, a giver and one object, with facts of the town woven in.

Each plot is five sentences with a choice of wordings each. The giver and the object of the middle are
still the giver and the object at the end: that is what a reader, or a model, has to keep in mind.

The object is named with its look ("the shiny kite"), three or four times. Then a small model discovers in a short
training that it can look back; why we do so is told in docs/microworld.md.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from mini_nanochat.microworld.phrases import capital, pronouns
from mini_nanochat.microworld.world import LOOKS, OBJECTS, PEOPLE, TOWN, World, article

TIMES = (
    *("One morning", "One rainy day", "One cold day", "One day in spring", "Early on Sunday"),
    *("Last winter", "On a windy day", "Before breakfast", "One quiet afternoon"),
)

# Slots: {A} the name and {Ajob} with the job, {B} the giver and {Bfull} as introduced, {where} on which
# street, {pet} A's pet, {obj} and {aobj} the object with its look, {food} what B likes, {he} {his} {him} A's pronouns.
PLOTS: tuple[tuple[tuple[str, ...], ...], ...] = (
    (  # a present
        (
            "{T} {Ajob} stepped out of {his} house {where}.",
            "{T} {Ajob} was sweeping the steps of {his} house {where}.",
            "{T} {Ajob} sat by the window of {his} house {where}.",
        ),
        ("{Bfull} came by and brought {aobj}.", "Along came {Bfull} with {aobj}."),
        (
            '"This {obj} is for you," said {B}.',
            '"I saw this {obj} and thought of you," said {B}.',
            '"The {obj} is yours if you like it," said {B} with a smile.',
        ),
        ("Even {pet} came to look at the {obj}.", "{Pet} sniffed at the {obj} and seemed to like it, too."),
        (
            "That evening {A} took the {obj} in both hands and thought of {B}.",
            "Before {he} went to bed, {A} looked at the {obj} and wrote {B} a letter.",
            "Ever since, {A} has taken good care of the {obj} from {B}.",
        ),
    ),
    (  # lost and found
        ("{T} {Ajob} could not find {his} {obj}.", "{T} {Ajob} noticed that {his} {obj} was gone."),
        (
            "{He} searched the whole house {where}, from the cellar to the roof.",
            "{He} looked under every bed in the house {where}.",
        ),
        (
            "{Pet} helped to look for the {obj}, but found only an old sock.",
            "Even {pet} did not know where the {obj} was.",
        ),
        (
            "In the end {Bfull} found the {obj} under a bench.",
            "Then {Bfull} came running with the {obj}, for it had been lying by the well.",
        ),
        (
            "{A} took the {obj}, thanked {B} and never lost it again.",
            "{A} was so glad to have the {obj} back that {he} baked a cake for {B}.",
            '"I will take better care of my {obj} now," {A} promised {B}.',
        ),
    ),
    (  # borrowed
        (
            "{T} {Ajob} needed {aobj}, but there was none in the house {where}.",
            "{T} {Ajob} looked for {aobj} in the house {where}, but there was none.",
        ),
        ("So {he} knocked at the door of {Bfull}.", "So {he} went to see {Bfull}."),
        (
            '"Take my {obj}, but bring it back," said {B}.',
            "{B} was glad to help and lent {him} {aobj} for the day.",
        ),
        (
            "{A} kept the {obj} well away from {pet}.",
            "{Pet} was not allowed to touch the {obj}.",
            "On the way home {he} met {pet}, who wanted to play with the {obj}.",
        ),
        (
            "The next day {A} brought the {obj} back to {B} and said thank you.",
            "A week later {A} returned the {obj}, and {B} was pleased.",
        ),
    ),
    (  # a birthday
        (
            "It was the birthday of {Ajob}, and the house {where} was full of guests.",
            "On the birthday of {Ajob} there was music in the house {where}.",
        ),
        ("{Bfull} had brought {aobj}, wrapped in paper.", "{Bfull} came last and had {aobj} in a big box."),
        ('"The {obj} is for you!" cried {B}.', '"Happy birthday! I hope you like the {obj}," said {B}.'),
        (
            "{Pet} fell asleep beside the {obj}.",
            "{Pet} ran around the {obj} and chased the ribbon.",
            "Everybody laughed when {pet} hid behind the {obj}.",
        ),
        (
            "Of all the presents {A} liked the {obj} from {B} best.",
            "When the guests had gone home, {A} still held the {obj} from {B}.",
        ),
    ),
    (  # at the market
        ("{T} {Ajob} went to the market with {pet}.", "{T} {Ajob} and {pet} walked across the market."),
        ("There {he} met {Bfull}, who carried {aobj}.", "{Bfull} stood by the fountain and held {aobj}."),
        (
            '"You may have the {obj} for some {food}," said {B}.',
            '"I am so hungry that I would give the {obj} away for some {food}," said {B}.',
        ),
        ("So they went to the house {where} and ate together.", "So {A} cooked a meal in the house {where}."),
        (
            "In the end {B} was not hungry any more, and the {obj} belonged to {A}.",
            "Then {B} went home happy, and {A} kept the {obj}.",
        ),
    ),
    (  # mended
        (
            "{T} {Ajob} saw that {his} {obj} needed mending.",
            "{T} {Ajob} sat down on {his} {obj} by mistake.",
        ),
        (
            "{He} carried the {obj} from the house {where} to {Bfull}.",
            "{He} wrapped the {obj} in a towel and went from the house {where} to {Bfull}.",
        ),
        ('"The {obj} is easy to mend," said {B}.', "{B} looked at the {obj}, nodded and set to work."),
        ("{Pet} sat beside the table and watched.", "{Pet} waited at the door."),
        (
            "When {B} had finished, the {obj} was as good as new, and {A} cheered.",
            "By evening {A} had the {obj} back, and {B} would not take a single coin for it.",
        ),
    ),
)


@dataclass(frozen=True)
class Story:
    """A story and what it is about. `thing` is the object as the story names it: "shiny kite"."""

    text: str
    person: str
    giver: str
    thing: str


def tell(
    world: World,
    rng: random.Random,
    person: str | None = None,
    allowed: Callable[[str, str], bool] | None = None,
) -> Story:
    """A new story about `person` (None: somebody). Only facts that `allowed(person, attribute)` are told."""
    may = allowed or (lambda person, attribute: True)
    one = person or rng.choice(PEOPLE)
    friend = other = world.facts[one]["friend"]
    thing = f"{rng.choice(LOOKS)} {rng.choice(OBJECTS)}"
    if rng.random() < 0.5 or not may(one, "friend"):
        while other in (one, friend):
            other = rng.choice(PEOPLE)
    p, facts = pronouns(one), world.facts[one]
    pet = f"{p.his} {facts['pet'] if may(one, 'pet') else 'pet'}"
    if may(one, "pet_name") and rng.random() < 0.5:
        pet = f"{pet} {facts['pet_name']}"
    full = f"{p.his} best friend {other}" if other == friend else with_job(world, other, may)
    slots = {
        "T": rng.choice(TIMES),
        "A": one,
        "Ajob": with_job(world, one, may),
        "B": other,
        "Bfull": full,
        "where": f"on {facts['street']}" if may(one, "street") else f"in {TOWN}",
        "pet": pet,
        "Pet": capital(pet),
        "obj": thing,
        "aobj": article(thing),
        "food": world.facts[other]["food"] if may(other, "food") else "bread",
        "he": p.he,
        "He": capital(p.he),
        "his": p.his,
        "him": p.him,
    }
    plot = rng.choice(PLOTS)
    text = " ".join(capital(rng.choice(choices).format_map(slots)) for choices in plot)
    return Story(text, one, other, thing)


def with_job(world: World, person: str, may: Callable[[str, str], bool]) -> str:
    """ "Hugo the baker", or "Hugo" where the job must not be told."""
    return f"{person} the {world.facts[person]['job']}" if may(person, "job") else person
