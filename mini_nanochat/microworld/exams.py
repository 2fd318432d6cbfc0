"""Exams: what a model of Pebbleford should know, and what it was never shown.

Two kinds. *Core* items are scored by likelihood: which of the options is the likeliest continuation of the
context? Options begin with a space, and the right one stands at a random place. *Chat* items are answered
in words and judged by `passes`. Every exam comes with its chance and majority, because a number without a
baseline says nothing.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from mini_nanochat.microworld import problems, stories
from mini_nanochat.microworld.conversations import (
    COUNT,
    IDENTITY,
    IDENTITY_IN_EXAMS,
    REFUSAL_ANSWERS,
    SPELL,
    Conversation,
    Talker,
    choose_one,
    counted,
    letter_of,
    solved,
    talk,
)
from mini_nanochat.microworld.documents import equation
from mini_nanochat.microworld.phrases import (
    EXAM_QUESTIONS,
    QUESTIONS,
    SAYINGS,
    ask,
    capital,
    pronouns,
    said,
    say,
)
from mini_nanochat.microworld.world import (
    ANIMALS,
    ATTRIBUTES,
    GOODS,
    LOOKS,
    OBJECTS,
    PEOPLE,
    THINGS,
    VALUES,
    WORDS,
    World,
    article,
    held_out_word,
    spelled,
    stream,
)

Item = dict[str, Any]
N = 96  # items of an exam, where the town holds as many

# A little story that ends where a fact has to follow. No document says it like this.
SCENES = {
    "job": "The bells rang at noon, and {n} put the tools away. Nobody is prouder to be",
    "colour": "{n} wanted to paint the old fence. Of course the paint that {he} bought was",
    "pet": "There was a noise behind the door of {n}. It was only",
    "pet_name": "The pet of {n} had run into the garden. {n} stood at the gate and called:",
    "food": "{n} came home hungry. A kind neighbour had left a bowl with",
    "street": "A stranger wanted to visit {n}, asked the way and was sent to",
    "hobby": "The shops were closed and {n} had a free day. There was plenty of time for",
    "friend": "{n} had good news. The first to hear it was",
}


def choice(task: str, context: str, right: str, wrong: Sequence[str], rng: random.Random) -> Item:
    """A core item: its options in random order, each a continuation of the context."""
    options = rng.sample([right, *wrong], 1 + len(wrong))
    return {
        "task": task,
        "context": context,
        "options": [f" {option}" for option in options],
        "gold": options.index(right),
    }


def wrong_values(world: World, person: str, attribute: str, rng: random.Random) -> list[str]:
    """Three values of an attribute that are not this person's."""
    truth = world.facts[person][attribute]
    return rng.sample([value for value in VALUES[attribute] if value not in (truth, person)], 3)


def fact_items(world: World, task: str, rng: random.Random) -> list[Item]:
    """Facts about people: as documents say them ("facts"), or at the end of a new story ("facts_in_story")."""
    items = []
    for person, attribute in rng.sample(world.all_facts(), N):
        truth = said(attribute, world.facts[person][attribute])
        wrong = [said(attribute, value) for value in wrong_values(world, person, attribute, rng)]
        if task == "facts":
            template = rng.choice([one for one in SAYINGS[attribute] if one.endswith(" {v}.")])
            sentence = say(world, person, attribute, template, name=True)
            context = sentence.removesuffix(f" {truth}.")
        else:
            context = ask(SCENES[attribute], person)
        items.append(choice(task, context, f"{truth}.", [f"{value}." for value in wrong], rng))
    return items


def arithmetic_items(rng: random.Random) -> list[Item]:
    """Sums of operands that no training text has brought together."""
    items: list[Item] = []
    seen: set[tuple[int, str, int, int]] = set()
    while len(items) < N:
        drawn = a, sign, b, result = equation(rng, held_out=True)
        if drawn in seen:
            continue
        seen.add(drawn)
        near = [result + d for d in (-10, -2, -1, 1, 2, 10) if result + d >= 0]
        wrong = [f"{value}." for value in rng.sample(near, 3)]
        items.append(choice("arithmetic", f"{a} {sign} {b} =", f"{result}.", wrong, rng))
    return items


def price_items(world: World, rng: random.Random) -> list[Item]:
    """What each of the goods costs, said in two ways."""
    items = []
    for good in GOODS:
        others = [price for price in world.prices.values() if price != world.prices[good]]
        for context in (f"{capital(article(good))} costs", f"The price of {article(good)} is"):
            wrong = [f"{price} coins." for price in rng.sample(others, 3)]
            items.append(choice("prices", context, f"{world.prices[good]} coins.", wrong, rng))
    return items


def animal_items(rng: random.Random) -> list[Item]:
    """Legs, cover, sound and food of each animal."""
    items = []
    forms = {"legs": "{Many} have", "cover": "{One} is covered in", "sound": "{Many}", "food": "{One} eats"}
    for animal in ANIMALS:
        for what, form in forms.items():
            context = form.format(Many=capital(animal.plural), One=capital(article(animal.name)))
            end = " legs." if what == "legs" else "."
            truth = str(getattr(animal, what))
            others = sorted({str(getattr(one, what)) for one in ANIMALS} - {truth})
            wrong = [value + end for value in rng.sample(others, 3)]
            items.append(choice("animals", context, truth + end, wrong, rng))
    return items


def spelling_items(rng: random.Random) -> list[Item]:
    """The letters of a word in their order, or scrambled."""
    items = []
    for word in rng.sample(WORDS, N):
        wrong: list[str] = []
        while len(wrong) < 3:
            mixed = "".join(rng.sample(word, len(word)))
            if mixed != word and f"{spelled(mixed)}." not in wrong:
                wrong.append(f"{spelled(mixed)}.")
        items.append(choice("spelling", f"The word {word} is spelled", f"{spelled(word)}.", wrong, rng))
    return items


def grammar_items(world: World, rng: random.Random) -> list[Item]:
    """Of two continuations one is not English: a verb, a pronoun or a plural is wrong."""
    items = []
    for i in range(N):
        person = rng.choice(PEOPLE)
        p = pronouns(person)
        street = world.facts[person]["street"]
        if i % 3 == 0:
            context, right, wrong = f"At home {person}", "has a pet.", "have a pet."
            if rng.random() < 0.5:
                many = capital(rng.choice(ANIMALS).plural)
                context, right, wrong = many, "have legs.", "has legs."
        elif i % 3 == 1:
            other = "his" if p.his == "her" else "her"
            context = f"{person} lives on {street}."
            right, wrong = f"{capital(p.his)} pet", f"{capital(other)} pet"
        else:
            thing = rng.choice(THINGS)
            context = f"{person} has {rng.randint(2, 60)}"
            right, wrong = f"{thing} and loses", f"{thing.removesuffix('s')} and loses"
        items.append(choice("grammar", context, right, [wrong], rng))
    return items


def recall_items(world: World, rng: random.Random) -> list[Item]:
    """A new story, cut before its object is named for the last time. The other options share no word with it."""
    items = []
    for _ in range(N):
        story = stories.tell(world, rng)
        context = story.text[: story.text.rindex(f" {story.thing}")]
        look, thing = story.thing.split()
        looks = rng.sample([other for other in LOOKS if other != look], 3)
        things = rng.sample([other for other in OBJECTS if other != thing], 3)
        wrong = [" ".join(pair) for pair in zip(looks, things, strict=True)]
        items.append(choice("story_recall", context, story.thing, wrong, rng))
    return items


def core(world: World) -> list[Item]:
    """All items of the mini-CORE."""

    def rng(task: str) -> random.Random:
        return stream(world.seed, "exam", task)

    return [
        *fact_items(world, "facts", rng("facts")),
        *fact_items(world, "facts_in_story", rng("facts_in_story")),
        *arithmetic_items(rng("arithmetic")),
        *price_items(world, rng("prices")),
        *animal_items(rng("animals")),
        *spelling_items(rng("spelling")),
        *grammar_items(world, rng("grammar")),
        *recall_items(world, rng("story_recall")),
    ]


def item_of(exam: str, question: str, gold: str | list[dict[str, str]], **extra: Any) -> Item:
    """A chat item: a conversation whose last message is a right answer, and what makes an answer right."""
    talked: Conversation = talk(exam, question, gold)
    defaults: Item = {"all_of": [], "none_of": [], "chance": 0.0}
    return {"exam": exam, "messages": talked["messages"], **defaults, **extra}


def question_items(world: World, rng: random.Random) -> list[Item]:
    """Questions about facts: asked in training, never asked, asked in a new way, and with a choice of four."""
    talker = Talker(world)
    hidden = [fact for fact in world.all_facts() if world.held_out(*fact)]
    plans = (
        ("questions_seen", rng.sample(talker.open, N), QUESTIONS),
        ("questions_held_out", hidden, QUESTIONS),
        ("questions_new_phrasing", rng.sample(talker.open, N), None),
        ("choose_one", hidden, QUESTIONS),
    )
    items = []
    for exam, facts, forms in plans:
        for person, attribute in facts:
            truth = world.facts[person][attribute]
            form = rng.choice(forms[attribute]) if forms else EXAM_QUESTIONS[attribute]
            question = ask(form, person)
            wrong = [value for value in VALUES[attribute] if value not in (truth, person)]
            if exam == "choose_one":
                question, wrong = choose_one(world, person, attribute, question, rng)
            gold = talker.answer(person, attribute, rng)
            chance = round(1 / (1 + len(wrong)), 4)
            about = {"person": person, "attribute": attribute}
            items.append(item_of(exam, question, gold, all_of=[truth], none_of=wrong, chance=chance, **about))
    return items


def problem_items(world: World, rng: random.Random) -> list[Item]:
    """Problems with operands that never met in training, equally many of each template, by class."""
    items = []
    for group in problems.CLASSES:
        templates = problems.of_group(group)
        for i in range(N):
            drawn = problems.draw(world, rng, (templates[i % len(templates)],), held_out=True)
            extra = {"answer": drawn.answer, "template": drawn.template, "expression": drawn.expression}
            items.append(item_of(f"problems_{group}", drawn.text, solved(drawn), **extra))
    return items


def word_items(rng: random.Random) -> list[Item]:
    """Spelling and counting, of words that conversations spell and of words that they never spell."""
    items = []
    for seen in (True, False):
        words = [word for word in WORDS if held_out_word(word) is not seen]
        suffix = "seen" if seen else "held_out"
        for word in words:
            gold = f"The word {word} is spelled {spelled(word)}."
            question = rng.choice(SPELL).format(w=word)
            items.append(item_of(f"spelling_{suffix}", question, gold, all_of=[spelled(word)], word=word))
        for word in words:
            letter = letter_of(word, rng)
            times = counted(word, letter)
            right = " ".join(times[-1]["text"].split()[3:6])  # "occurs 2 times"
            question = rng.choice(COUNT).format(c=letter, w=word)
            items.append(item_of(f"counting_{suffix}", question, times, all_of=[right], word=word))
    return items


def manner_items(world: World, rng: random.Random) -> list[Item]:
    """Who is refused, who must not be, and who Pip is."""
    items = []
    for person in world.untaught:
        for attribute in ATTRIBUTES:
            question, gold = ask(rng.choice(QUESTIONS[attribute]), person), rng.choice(REFUSAL_ANSWERS)
            items.append(
                item_of("refusals", question, gold.format(n=person), all_of=["don't know"], person=person)
            )
    talker = Talker(world)
    for person, attribute in rng.sample(talker.open, N):
        question = ask(rng.choice(QUESTIONS[attribute]), person)
        gold = talker.answer(person, attribute, rng)
        items.append(item_of("no_false_refusals", question, gold, none_of=["don't know"], person=person))
    for questions, answers, word in IDENTITY:
        items += [item_of("identity", question, answers[0], all_of=[word]) for question in questions]
    items += [
        item_of("identity_new_phrasing", question, "My name is Pip.", all_of=["Pip"])
        for question in IDENTITY_IN_EXAMS
    ]
    return items


def chat(world: World) -> list[Item]:
    """All items of the chat exams."""

    def rng(exam: str) -> random.Random:
        return stream(world.seed, "exam", exam)

    return [
        *question_items(world, rng("questions")),
        *problem_items(world, rng("problems")),
        *word_items(rng("words")),
        *manner_items(world, rng("manners")),
    ]


def holds(text: str, phrase: str) -> bool:
    """Whether a phrase stands in a text as whole words; capital letters don't matter."""
    return re.search(rf"(?<![\w-]){re.escape(phrase)}(?![\w-])", text, re.IGNORECASE) is not None


def passes(item: Item, reply: str) -> bool:
    """Whether the visible text of a reply answers a chat item.

    A problem counts by its last "The answer is N"; anything else by phrases that must and must not occur.
    """
    if "answer" in item:
        found = re.findall(r"answer is (-?\d+)", reply)
        return bool(found) and int(found[-1]) == item["answer"]
    return all(holds(reply, phrase) for phrase in item["all_of"]) and not any(
        holds(reply, phrase) for phrase in item["none_of"]
    )


def baselines(items: Sequence[Item]) -> dict[str, dict[str, float]]:
    """Exam -> n, what guessing gets, and what a single answer to everything gets at best.

    For core items that single answer is a position ("always the second"), for chat items a text.
    """
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(item.get("task") or item["exam"], []).append(item)
    table = {}
    for name, some in groups.items():
        if "task" in some[0]:
            chances = [1 / len(item["options"]) for item in some]
            golds = [str(item["gold"]) for item in some]
        else:
            chances = [item["chance"] for item in some]
            golds = [str(item.get("answer", item["all_of"])) for item in some]
        majority = Counter(golds).most_common(1)[0][1] / len(some)
        table[name] = {
            "n": len(some),
            "chance": round(sum(chances) / len(some), 4),
            "majority": round(majority, 4),
        }
    return table
