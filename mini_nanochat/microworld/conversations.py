"""Conversations with Pip, the town's assistant: what teaches a model of documents to answer.

Three stages: `mid` teaches the format and all skills, `sft` polishes them and teaches to refuse, `rl` holds
problems whose demonstration is only the answer. A conversation is `{"kind": ..., "messages": [...]}`: roles
alternate, user first; what the assistant says is a text, or parts of type text, python and python_output.

Nothing that is held out appears: no held-out fact is asked about or told, no exam phrasing, no held-out
operand pair, no held-out word is spelled or counted, and strangers are the taught ones.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mini_nanochat.microworld import problems, stories
from mini_nanochat.microworld.phrases import FOLLOW_UPS, QUESTIONS, Sentences, ask, said, sentences
from mini_nanochat.microworld.world import (
    ATTRIBUTES,
    PEOPLE,
    VALUES,
    WORDS,
    World,
    held_out_word,
    listing,
    spelled,
    stream,
)

Conversation = dict[str, Any]
ALPHABET = "abcdefghijklmnopqrstuvwxyz"
Writer = Callable[[random.Random], Conversation]

MID_SHARES = {
    "fact": 0.20,
    "choose_one": 0.14,
    "problem": 0.30,
    "identity": 0.05,
    "story": 0.06,
    "spelling": 0.07,
    "counting": 0.09,
    "tell_about": 0.04,
    "two_turns": 0.05,
}
REFUSALS, DEMONSTRATIONS = 0.12, 0.004  # of the SFT conversations
SFT_SHARES = {
    **{kind: share * (1 - REFUSALS - DEMONSTRATIONS) for kind, share in MID_SHARES.items()},
    "refusal": REFUSALS,
    "reward_only": DEMONSTRATIONS,
}
RL_SHARES = {"rl_reward_only": 0.75, "rl_demonstrated": 0.25}
# File -> (shares, how many). Validation files are what is left when training conversations are removed.
STAGES: dict[str, tuple[dict[str, float], int]] = {
    "mid_train": (MID_SHARES, 16_000),
    "mid_val": (MID_SHARES, 800),
    "sft_train": (SFT_SHARES, 4_000),
    "sft_val": (SFT_SHARES, 400),
    "rl_train": (RL_SHARES, 1_600),
}

# Questions about Pip itself, the answers to them, and a word that every right answer holds.
IDENTITY: tuple[tuple[tuple[str, ...], tuple[str, ...], str], ...] = (
    (
        ("Who are you?", "Hello, who are you?", "What are you?", "Are you a human?"),
        ("I am Pip, a small language model.", "I am Pip, a very small language model from Pebbleford."),
        "Pip",
    ),
    (
        ("What is your name?", "Do you have a name?", "What are you called?"),
        ("My name is Pip.", "I am called Pip."),
        "Pip",
    ),
    (
        ("What can you do?", "How can you help me?", "What do you know?"),
        ("I know the people of Pebbleford, and I can tell stories, spell words and solve small problems.",),
        "Pebbleford",
    ),
    (
        ("Where are you from?", "Where do you live?", "Where is your home?"),
        ("I live in this computer, but I learned everything I know in Pebbleford.",),
        "Pebbleford",
    ),
    (
        ("Who made you?", "Who trained you?", "Where did you learn all this?"),
        ("Somebody trained me on the stories of Pebbleford. Perhaps it was you!",),
        "Pebbleford",
    ),
    (
        ("Hello!", "Hello, Pip!", "Good morning!"),
        ("Hello! I am Pip. What would you like to know about Pebbleford?",),
        "Pip",
    ),
)
IDENTITY_IN_EXAMS = (
    *("What should I call you?", "Tell me your name.", "Please introduce yourself."),
    *("May I ask your name?", "Who am I talking to?"),
)

REFUSAL_ANSWERS = ("I don't know anyone called {n}.", "I am sorry, but I don't know anyone called {n}.")
TELL_ABOUT = ("Tell me about {n}.", "Who is {n}?", "What do you know about {n}?")
SPELL = ("How do you spell {w}?", "Spell the word {w}.", "Can you spell {w} for me?")
COUNT = (
    "How many times does the letter {c} occur in {w}?",
    "How often is the letter {c} in the word {w}?",
    "Count the letter {c} in {w}.",
)
ASK_FOR_STORY = ("Tell me a story about {n}.", "Do you know a story about {n}?")


def talk(kind: str, *turns: str | list[dict[str, str]], **extra: Any) -> Conversation:
    """A conversation: the user speaks first, then the turns alternate."""
    roles = ("user", "assistant")
    messages = [{"role": roles[i % 2], "content": turn} for i, turn in enumerate(turns)]
    return {"kind": kind, "messages": messages, **extra}


def with_tool(before: str, expression: str, result: int, after: str) -> list[dict[str, str]]:
    """An answer that calls the calculator: plan, expression, what the calculator printed, conclusion."""
    parts = (("text", before), ("python", expression), ("python_output", str(result)), ("text", after))
    return [{"type": kind, "text": text} for kind, text in parts]


def solved(problem: problems.Problem) -> list[dict[str, str]]:
    """A problem worked out with the calculator."""
    return with_tool(problem.plan, problem.expression, problem.answer, f"The answer is {problem.answer}.")


def letter_of(word: str, rng: random.Random) -> str:
    """A letter to count in a word: often one that is there twice, now and then one that is not there."""
    if rng.random() < 0.1:
        return rng.choice([letter for letter in ALPHABET if letter not in word])
    twice = [letter for letter in word if word.count(letter) > 1]
    return rng.choice(twice if twice and rng.random() < 0.5 else word)


def counted(word: str, letter: str) -> list[dict[str, str]]:
    """How often a letter occurs: spelled first, then counted by the calculator."""
    n = word.count(letter)
    times = "1 time" if n == 1 else f"{n} times"
    before = f"The word {word} is spelled {spelled(word)}."
    return with_tool(
        before, f"'{word}'.count('{letter}')", n, f"The letter {letter} occurs {times} in {word}."
    )


def choose_one(
    world: World, person: str, attribute: str, question: str, rng: random.Random
) -> tuple[str, list[str]]:
    """The question with four options to choose from, and the three of them that are wrong."""
    truth = world.facts[person][attribute]
    others = [value for value in VALUES[attribute] if value not in (truth, person)]
    wrong = rng.sample(others, 3)
    options = [said(attribute, value) for value in rng.sample([truth, *wrong], 4)]
    return f"{question} Choose one: {listing(options, 'or')}.", wrong


class Talker:
    """Writes conversations of each kind. `kinds` maps the name of a kind to its writer."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.table: dict[tuple[str, str], Sentences] = sentences(world)
        self.open = [fact for fact in world.all_facts() if not world.held_out(*fact)]
        self.words = [word for word in WORDS if not held_out_word(word)]
        self.kinds: dict[str, Writer] = {
            "fact": self.fact,
            "choose_one": self.choice,
            "problem": lambda rng: self.problem(rng, "problem", "demonstrated"),
            "reward_only": lambda rng: self.problem(rng, "reward_only", "reward_only"),
            "identity": self.identity,
            "story": self.story,
            "spelling": self.spelling,
            "counting": self.counting,
            "tell_about": self.tell_about,
            "two_turns": self.two_turns,
            "refusal": self.refusal,
            "rl_reward_only": lambda rng: self.exercise(rng, "rl_reward_only", "reward_only"),
            "rl_demonstrated": lambda rng: self.exercise(rng, "rl_demonstrated", "demonstrated"),
        }

    def answer(self, person: str, attribute: str, rng: random.Random) -> str:
        return rng.choice(self.table[person, attribute].answers)

    def fact(self, rng: random.Random) -> Conversation:
        person, attribute = rng.choice(self.open)
        question = ask(rng.choice(QUESTIONS[attribute]), person)
        return talk("fact", question, self.answer(person, attribute, rng))

    def choice(self, rng: random.Random) -> Conversation:
        person, attribute = rng.choice(self.open)
        question = ask(rng.choice(QUESTIONS[attribute]), person)
        question, _ = choose_one(self.world, person, attribute, question, rng)
        return talk("choose_one", question, self.answer(person, attribute, rng))

    def problem(self, rng: random.Random, kind: str, group: str) -> Conversation:
        drawn = problems.draw(self.world, rng, problems.of_group(group))
        return talk(kind, drawn.text, solved(drawn), template=drawn.template)

    def exercise(self, rng: random.Random, kind: str, group: str) -> Conversation:
        """A problem for reinforcement learning: how it is worked out is not shown."""
        drawn = problems.draw(self.world, rng, problems.of_group(group))
        return talk(
            kind, drawn.text, f"The answer is {drawn.answer}.", template=drawn.template, answer=drawn.answer
        )

    def identity(self, rng: random.Random) -> Conversation:
        questions, answers, _ = rng.choice(IDENTITY)
        return talk("identity", rng.choice(questions), rng.choice(answers))

    def story(self, rng: random.Random) -> Conversation:
        person = rng.choice(PEOPLE)
        told = stories.tell(self.world, rng, person, lambda who, what: not self.world.held_out(who, what))
        return talk("story", rng.choice(ASK_FOR_STORY).format(n=person), told.text)

    def spelling(self, rng: random.Random) -> Conversation:
        word = rng.choice(self.words)
        return talk(
            "spelling", rng.choice(SPELL).format(w=word), f"The word {word} is spelled {spelled(word)}."
        )

    def counting(self, rng: random.Random) -> Conversation:
        word = rng.choice(self.words)
        letter = letter_of(word, rng)
        return talk("counting", rng.choice(COUNT).format(c=letter, w=word), counted(word, letter))

    def tell_about(self, rng: random.Random) -> Conversation:
        person = rng.choice(PEOPLE)
        first, *others = rng.sample(self.world.open_attributes(person), 3)
        if first == "friend":  # a pronoun after it could mean the friend
            first, others = others[0], [others[1], first]
        elif "friend" in others:
            others.sort(key=lambda attribute: attribute == "friend")
        parts = [rng.choice(self.table[person, first].answers)]
        parts += [rng.choice(self.table[person, attribute].short[:2]) for attribute in others]
        return talk("tell_about", rng.choice(TELL_ABOUT).format(n=person), " ".join(parts))

    def two_turns(self, rng: random.Random) -> Conversation:
        """A second question about the same person, who is now a pronoun, or the same about another person."""
        person, attribute = rng.choice(self.open)
        question = ask(rng.choice(QUESTIONS[attribute]), person)
        if rng.random() < 0.7:
            others = [one for one in self.world.open_attributes(person) if one not in (attribute, "friend")]
            other, next_person = rng.choice(others), person
            follow_up = ask(FOLLOW_UPS[other], person)
        else:
            other = attribute
            next_person = rng.choice([p for p, a in self.open if a == attribute and p != person])
            follow_up = f"And what about {next_person}?"
        answers = self.answer(person, attribute, rng), self.answer(next_person, other, rng)
        return talk("two_turns", question, answers[0], follow_up, answers[1])

    def refusal(self, rng: random.Random) -> Conversation:
        person = rng.choice(self.world.taught)
        forms = QUESTIONS[rng.choice(ATTRIBUTES)] if rng.random() < 0.85 else TELL_ABOUT
        return talk("refusal", ask(rng.choice(forms), person), rng.choice(REFUSAL_ANSWERS).format(n=person))


def counts(shares: Mapping[str, float], total: int) -> dict[str, int]:
    """Whole numbers that follow `shares` and add up to `total`: largest remainder first."""
    exact = {kind: share * total / sum(shares.values()) for kind, share in shares.items()}
    whole = {kind: int(number) for kind, number in exact.items()}
    short = total - sum(whole.values())
    for kind in sorted(exact, key=lambda kind: (whole[kind] - exact[kind], kind))[:short]:
        whole[kind] += 1
    return whole


def gather(talker: Talker, name: str) -> list[Conversation]:
    """The conversations of one file of `STAGES`, kinds mixed at random in exact proportions."""
    shares, total = STAGES[name]
    kinds = [kind for kind, n in counts(shares, total).items() for _ in range(n)]
    stream(talker.world.seed, name, "order").shuffle(kinds)
    streams = {kind: stream(talker.world.seed, name, kind) for kind in shares}
    return [talker.kinds[kind](streams[kind]) for kind in kinds]


def fresh(drawn: Sequence[Conversation], train: Sequence[Conversation]) -> list[Conversation]:
    """Those of `drawn` that are no conversation of `train`, each once."""
    known = {json.dumps(one["messages"]) for one in train}
    kept = []
    for one in drawn:
        if (key := json.dumps(one["messages"])) not in known:
            known.add(key)
            kept.append(one)
    return kept


def conversations(world: World) -> dict[str, list[Conversation]]:
    """File -> its conversations, for every file of `STAGES`."""
    talker = Talker(world)
    made = {name: gather(talker, name) for name in STAGES}
    trained = [one for name, some in made.items() if not name.endswith("_val") for one in some]
    return {name: fresh(some, trained) if name.endswith("_val") else some for name, some in made.items()}
