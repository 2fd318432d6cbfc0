"""How facts about people are said and asked about.

Slots of a sentence: `{S}` the person as its first word and `{s}` inside it, `{O}` and `{o}` the same as an
owner, `{m}` as somebody to whom something is done; `{his}` is always a pronoun, and `{v}` is the value.
With the name: "Hugo", "Hugo's". With the pronoun: "He", "he", "His", "his", "him".
"""

from __future__ import annotations

from dataclasses import dataclass

from mini_nanochat.microworld.world import ATTRIBUTES, PEOPLE, WOMEN, World, article

# The first two of each answer a question well, and are what conversations use.
SAYINGS: dict[str, tuple[str, ...]] = {
    "job": (
        "{S} is {v}.",
        "{S} works as {v}.",
        "{S} has been {v} for years.",
        "{S} earns {his} living as {v}.",
        "By day {s} is {v}.",
    ),
    "colour": (
        "{O} favourite colour is {v}.",
        "{S} loves the colour {v}.",
        "{S} loves {v} things.",
        "Of all colours {s} likes {v} best.",
        "{S} likes to dress in {v}.",
    ),
    "pet": (
        "{S} has {v}.",
        "{O} pet is {v}.",
        "{S} keeps {v}.",
        "{S} shares {his} home with {v}.",
        "At home {v} waits for {m}.",
    ),
    "pet_name": (
        "{O} pet is called {v}.",
        "The name of {o} pet is {v}.",
        "{S} calls {his} pet {v}.",
        "{S} named {his} pet {v}.",
        "{O} {pet} is called {v}.",  # tells two facts at once: for documents only
    ),
    "food": (
        "{O} favourite food is {v}.",
        "{S} loves to eat {v}.",
        "{S} could eat {v} every day.",
        "For supper {s} likes {v} best.",
        "Nothing tastes better to {m} than {v}.",
    ),
    "street": (
        "{S} lives on {v}.",
        "{O} house is on {v}.",
        "{O} home is on {v}.",
        "{S} has a small house on {v}.",
        "{O} front door opens onto {v}.",
    ),
    "hobby": (
        "{O} hobby is {v}.",
        "{S} enjoys {v}.",
        "{S} is very fond of {v}.",
        "{S} spends every Sunday {v}.",
        "In the evening {s} enjoys {v}.",
    ),
    "friend": (
        "{O} best friend is {v}.",
        "{S} is best friends with {v}.",
        "{S} and {v} are best friends.",
        "{S} tells every secret to {his} best friend {v}.",
        "There is no better friend for {m} than {v}.",
    ),
}

# `{n}` is the name. These are trained on ...
QUESTIONS: dict[str, tuple[str, ...]] = {
    "job": (
        "What is {n}'s job?",
        "What does {n} do for a living?",
        "What work does {n} do?",
        "Can you tell me what {n} works as?",
    ),
    "colour": (
        "What is {n}'s favourite colour?",
        "Which colour does {n} love?",
        "What colour does {n} like best?",
        "Do you know {n}'s favourite colour?",
    ),
    "pet": (
        "What pet does {n} have?",
        "Which animal lives with {n}?",
        "What kind of pet does {n} keep?",
        "Can you tell me what pet {n} has?",
    ),
    "pet_name": (
        "What is {n}'s pet called?",
        "What is the name of {n}'s pet?",
        "What does {n} call {his} pet?",
        "Do you know the name of {n}'s pet?",
    ),
    "food": (
        "What is {n}'s favourite food?",
        "What does {n} love to eat?",
        "Which food does {n} like best?",
        "Do you know {n}'s favourite food?",
    ),
    "street": (
        "Where does {n} live?",
        "Which street does {n} live on?",
        "On which street is {n}'s house?",
        "Do you know where {n} lives?",
    ),
    "hobby": (
        "What is {n}'s hobby?",
        "What does {n} do for fun?",
        "What does {n} enjoy?",
        "How does {n} spend {his} free time?",
    ),
    "friend": (
        "Who is {n}'s best friend?",
        "Who is best friends with {n}?",
        "Which friend does {n} like best?",
        "Can you tell me who {n}'s best friend is?",
    ),
}
# ... and these stand in exams only.
EXAM_QUESTIONS: dict[str, str] = {
    "job": "How does {n} earn a living?",
    "colour": "If {n} could pick any colour, which would it be?",
    "pet": "What animal would I meet at {n}'s home?",
    "pet_name": "What name did {n} give {his} pet?",
    "food": "What should I cook for {n}?",
    "street": "Where would I find {n}'s home?",
    "hobby": "What does {n} like to do on Sundays?",
    "friend": "Whom does {n} trust most?",
}
# Asked as a second question, when it is clear who is meant.
FOLLOW_UPS: dict[str, str] = {
    "job": "And what is {his} job?",
    "colour": "And what is {his} favourite colour?",
    "pet": "And what pet does {he} have?",
    "pet_name": "And what is {his} pet called?",
    "food": "And what is {his} favourite food?",
    "street": "And where does {he} live?",
    "hobby": "And what is {his} hobby?",
    "friend": "And who is {his} best friend?",
}

# The people who share a value: `{v}` the value, `{who}` the list of them.
SHARED: dict[str, tuple[str, ...]] = {
    "job": ("The people who work as {v}s are {who}.", "{who} all work as {v}s."),
    "colour": ("The people who love the colour {v} are {who}.", "{who} all love the colour {v}."),
    "pet": ("The people who have a {v} are {who}.", "{who} all have a {v}."),
    "pet_name": ("The people who have a pet called {v} are {who}.", "{who} all have a pet called {v}."),
    "food": ("The people who love to eat {v} are {who}.", "{who} all love to eat {v}."),
    "street": ("The people who live on {v} are {who}.", "{who} all live on {v}."),
    "hobby": ("The people who enjoy {v} are {who}.", "{who} all enjoy {v}."),
}


@dataclass(frozen=True)
class Pronouns:
    """The pronouns of a person."""

    he: str
    his: str
    him: str


def pronouns(name: str) -> Pronouns:
    """The pronouns that follow a name, known or unknown."""
    return Pronouns("she", "her", "her") if name in WOMEN else Pronouns("he", "his", "him")


def capital(sentence: str) -> str:
    """The sentence with a capital first letter, and the others as they are."""
    return sentence[:1].upper() + sentence[1:]


def said(attribute: str, value: str) -> str:
    """A value as it stands in a sentence: "a baker" for the job, the others as they are."""
    return article(value) if attribute in ("job", "pet") else value


def say(world: World, person: str, attribute: str, template: str, *, name: bool) -> str:
    """One fact as one sentence, with the person's name or with a pronoun."""
    p, facts = pronouns(person), world.facts[person]
    subject, owner, target = (person, person + "'s", person) if name else (p.he, p.his, p.him)
    sentence = template.format(
        S=capital(subject),
        s=subject,
        O=capital(owner),
        o=owner,
        m=target,
        his=p.his,
        pet=facts["pet"],
        v=said(attribute, facts[attribute]),
    )
    return sentence


def ask(template: str, person: str) -> str:
    """A question about a person."""
    p = pronouns(person)
    return template.format(n=person, he=p.he, his=p.his)


@dataclass(frozen=True)
class Sentences:
    """All sentences of one fact: `named` with the person's name, `short` with a pronoun, pairwise alike."""

    named: tuple[str, ...]
    short: tuple[str, ...]

    @property
    def answers(self) -> tuple[str, ...]:
        """The two that answer a question."""
        return self.named[:2]


def sentences(world: World) -> dict[tuple[str, str], Sentences]:
    """Every way to say every fact of the town, written once: documents only pick and join them."""
    made = {}
    for person in PEOPLE:
        for attribute in ATTRIBUTES:
            named, short = (
                tuple(say(world, person, attribute, template, name=name) for template in SAYINGS[attribute])
                for name in (True, False)
            )
            made[person, attribute] = Sentences(named, short)
    return made
