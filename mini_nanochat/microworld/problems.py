"""Word problems: fourteen templates in three classes, and how each is worked out.

`demonstrated` templates are worked out in documents and conversations. `reward_only` templates are met
almost only in reinforcement learning, where nothing is shown and only the answer counts. `never` templates
are met in exams alone: they are the control.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from mini_nanochat.microworld.phrases import capital, pronouns
from mini_nanochat.microworld.world import GOODS, PEOPLE, THINGS, World, article, held_out_pair

CLASSES = ("demonstrated", "reward_only", "never")


@dataclass(frozen=True)
class Template:
    """A kind of problem. `shape` says how `{a}`, `{b}` and `{c}` make the answer; `{p}` is a price."""

    name: str
    group: str
    shape: str
    text: str


TEMPLATES = (
    Template(
        "gift",
        "demonstrated",
        "a + b",
        "{A} has {a} {things}. {B} gives {him} {b} more. How many {things} does {A} have now?",
    ),
    Template(
        "loss",
        "demonstrated",
        "a - b",
        "{A} has {a} {things} and loses {b} of them. How many {things} are left?",
    ),
    Template(
        "boxes",
        "demonstrated",
        "a * b",
        "There are {a} boxes with {b} {things} in each box. How many {things} are there in all?",
    ),
    Template(
        "together",
        "demonstrated",
        "a + b",
        "{A} finds {a} {things} and {B} finds {b}. How many {things} do they find together?",
    ),
    Template(
        "shopping",
        "demonstrated",
        "p * b",
        "{Good} costs {p} coins. {A} buys {b} of them. How many coins does {A} pay?",
    ),
    Template(
        "change",
        "demonstrated",
        "a - p",
        "{A} has {a} coins and buys {good} for {p} coins. How many coins are left?",
    ),
    Template(
        "taller",
        "demonstrated",
        "a + b",
        "{A} has {a} {things}. {B} has {b} more than {A}. How many {things} does {B} have?",
    ),
    Template(
        "baskets",
        "demonstrated",
        "a * b + c",
        "{A} fills {a} baskets with {b} {things} each and has {c} left over. "
        "How many {things} does {A} have in all?",
    ),
    Template(
        "walk",
        "reward_only",
        "a + b",
        "{A} walks {a} steps to the river and then {b} steps to the mill. How many steps does {he} walk?",
    ),
    Template(
        "birds",
        "reward_only",
        "a - b",
        "On the roof of {A}'s house sit {a} birds. Then {b} of them fly away. How many birds are still there?",
    ),
    Template(
        "rows",
        "reward_only",
        "a * b",
        "{A} plants {a} rows of tulips, {b} in each row. How many tulips does {A} plant?",
    ),
    Template(
        "fewer",
        "reward_only",
        "a - b",
        "{A} picks {a} {things}. {B} picks {b} fewer. How many {things} does {B} pick?",
    ),
    Template(
        "pages",
        "never",
        "a - b",
        "A book has {a} pages, and {A} has read {b} of them. How many pages must {he} still read?",
    ),
    Template(
        "boat",
        "never",
        "a + b",
        "{a} people sit in {A}'s boat, and {b} more climb in. How many people sit in the boat now?",
    ),
)


@dataclass(frozen=True)
class Problem:
    """A problem with its answer. `expression` is what to type into the calculator: "3 * 4 + 2"."""

    template: str
    group: str
    text: str
    expression: str
    answer: int
    plan: str


PLANS = {"+": "Let me add.", "-": "Let me subtract.", "*": "Let me multiply."}


def numbers(shape: str, rng: random.Random, price: int) -> tuple[int, ...]:
    """Operands for a shape, in the order of its letters; every answer is at least 1."""
    if shape == "a + b":
        return rng.randint(2, 60), rng.randint(2, 60)
    if shape == "a - b":
        a = rng.randint(6, 99)
        return a, rng.randint(2, a - 1)
    if shape == "a - p":
        return rng.randint(price + 1, price + 60), price
    if shape == "a * b":
        return rng.randint(2, 12), rng.randint(2, 12)
    if shape == "p * b":
        return price, rng.randint(2, 9)
    return rng.randint(2, 12), rng.randint(2, 12), rng.randint(2, 9)  # a * b + c


def operand_pairs(numbers: tuple[int, ...]) -> list[tuple[int, int]]:
    """What meets what while it is worked out: the first two, and in a * b + c also a * b and c."""
    a, b, *rest = numbers
    return [(a, b), *((a * b, c) for c in rest)]


def draw(
    world: World, rng: random.Random, templates: tuple[Template, ...], *, held_out: bool = False
) -> Problem:
    """A random problem from one of `templates`.

    None of its operand pairs is held out; with `held_out`, at least one is, so that the sum is new.
    """
    template = rng.choice(templates)
    while True:
        good = rng.choice(GOODS)
        price = world.prices[good]
        values = numbers(template.shape, rng, price)
        if held_out is any(held_out_pair(*pair) for pair in operand_pairs(values)):
            break
    one, other = rng.sample(PEOPLE, 2)
    letters = [letter for letter in template.shape if letter.isalpha()]
    expression = template.shape
    for letter, value in zip(letters, values):
        expression = expression.replace(letter, str(value))
    p = pronouns(one)
    text = template.text.format(
        A=one,
        B=other,
        he=p.he,
        him=p.him,
        things=rng.choice(THINGS),
        good=article(good),
        Good=capital(article(good)),
        **dict(zip(letters, map(str, values))),
    )
    answer = compute(template.shape, values)
    plan = "Let me multiply, then add." if len(values) == 3 else PLANS[template.shape.split()[1]]
    return Problem(template.name, template.group, text, expression, answer, plan)


def compute(shape: str, values: tuple[int, ...]) -> int:
    """The answer to a shape: "a * b + c" of (3, 4, 2) is 14."""
    a, b, *rest = values
    sign = shape.split()[1]
    first = a + b if sign == "+" else a - b if sign == "-" else a * b
    return first + sum(rest)


def of_group(*groups: str) -> tuple[Template, ...]:
    """The templates of these classes."""
    return tuple(template for template in TEMPLATES if template.group in groups)
