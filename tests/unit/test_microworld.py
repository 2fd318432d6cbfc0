"""The microworld, proven by reading it: what stands in its files, not what its generator meant to write.

Everything that is held out is looked for in the written documents and conversations. The truth about the
town is read from the documents themselves (`Town.facts`), and what is held out from the manifest.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import mini_nanochat.flags
from mini_nanochat.microworld import conversations, documents, exams, write
from mini_nanochat.microworld.world import ATTRIBUTES, LOOKS, OBJECTS, PEOPLE, VALUES, WOMEN, WORDS, build
from mini_nanochat.scripts import microworld

ROOT = Path(mini_nanochat.__file__).parents[1]
SMALL = {"megabytes": 0.2, "shards": 2, "row_group": 64}

# How documents say a fact with the person's name, an attribute at a time.
FACTS = {
    "job": r"(\w+) (?:is|works as|has been) a (\w+)(?: for years)?\.",
    "colour": r"(\w+)(?:'s favourite colour is| loves the colour| likes to dress in) (\w+)\.",
    "pet": r"(\w+)(?:'s pet is| has| keeps| shares (?:his|her) home with) a (\w+)\.",
    "pet_name": r"(\w+)(?:'s pet is called| calls (?:his|her) pet| named (?:his|her) pet) (\w+)\.",
    "food": r"(\w+)(?:'s favourite food is| loves to eat) ([\w ]+)\.",
    "street": r"(\w+)(?:'s house is on| lives on|'s home is on) ([\w ]+)\.",
    "hobby": r"(\w+)(?:'s hobby is| enjoys| is very fond of) ([\w ]+)\.",
    "friend": r"(\w+)(?:'s best friend is| is best friends with) (\w+)\.",
}
# What a question is about, by the words in it. The order matters: a pet's name before the pet.
ASKS = {
    "pet_name": r"pet called|name of .*pet|call (?:his|her) pet|give (?:his|her) pet",
    "friend": r"best friend|friends with|[Ff]riend does|trust",
    "colour": r"colour",
    "food": r"food|eat|cook",
    "pet": r"\bpet\b|animal",
    "street": r"street|lives?\b|home\?$",
    "hobby": r"hobby|for fun|enjoy|free time|Sundays",
    "job": r"\bjob\b|living|\bwork\b|works",
}
# A few words that only one template of problems has, by class.
PROBLEMS = {
    "demonstrated": {
        "gift": r"gives (?:him|her) \d+ more",
        "loss": r"loses \d+ of them",
        "boxes": r"in each box",
        "together": r"find together",
        "shopping": r"How many coins does \w+ pay",
        "change": r"How many coins are left",
        "taller": r"has \d+ more than",
        "baskets": r"left over",
    },
    "reward_only": {
        "walk": r"steps to the mill",
        "birds": r"birds\. Then \d+ of them fly away",
        "rows": r"rows of tulips",
        "fewer": r"\d+ fewer",
    },
    "never": {"pages": r"book has \d+ pages", "boat": r"people sit in \w+'s boat"},
}
EQUATION = re.compile(r"(\d+) ([+*-]) (\d+)(?: \+ (\d+))? = (\d+)\b")
EXPRESSION = re.compile(r"(\d+) ([+*-]) (\d+)(?: \+ (\d+))?")
COUNT = re.compile(r"'(\w+)'\.count\('(\w)'\)")


def sentences(text):
    """The sentences of a text; what is said in quotation marks belongs to the sentence around it."""
    return [one.strip() for one in re.findall(r'(?:"[^"]*"|[^".!?])+[.!?]', text)]


def names(text, among=PEOPLE):
    """The people named in a text, in order of appearance, each once."""
    return [word for word in dict.fromkeys(re.findall(r"\b[A-Z]\w+", text)) if word in among]


def spoken(message):
    """All text of a message, the calculator's included."""
    content = message["content"]
    return content if isinstance(content, str) else " ".join(part["text"] for part in content)


def work_out(a, sign, b, c):
    """(the result, the operand pairs) of a sum in writing; `c` is None or is added at the end."""
    a, b = int(a), int(b)
    first = {"+": a + b, "-": a - b, "*": a * b}[sign]
    return (first, [(a, b)]) if c is None else (first + int(c), [(a, b), (first, int(c))])


def template_of(text):
    """(class, template) of a problem, recognised by its words; None for any other text."""
    found = [
        (group, name)
        for group, templates in PROBLEMS.items()
        for name, sign in templates.items()
        if re.search(sign, text)
    ]
    assert len(found) <= 1, f"{text!r} looks like {found}"
    return found[0] if found else None


def pairs_in_question(text):
    """The operand pairs of a problem, from its wording alone."""
    numbers = list(map(int, re.findall(r"\d+", text)))
    if template_of(text)[1] == "baskets":
        a, b, c = numbers
        return [(a, b), (a * b, c)]
    assert len(numbers) == 2, text
    return [tuple(numbers)]


@dataclass(frozen=True)
class Town:
    """A written microworld, read back from its files."""

    folder: Path

    @cached_property
    def manifest(self):
        return json.loads((self.folder / "manifest.json").read_text("utf-8"))

    def texts(self, split):
        """(kind, text) of every document of a split."""
        rows = []
        for path in self.manifest["documents"][split]["shards"]:
            columns = pq.read_table(self.folder / path).to_pydict()
            rows += zip(columns["kind"], columns["text"])
        return rows

    @cached_property
    def train(self):
        return self.texts("train")

    @cached_property
    def documents(self):
        """Every document, training and validation."""
        return self.train + self.texts("val")

    @cached_property
    def corpus(self):
        return "\n".join(text for _, text in self.documents)

    def lines(self, path):
        return [json.loads(line) for line in (self.folder / path).read_text("utf-8").splitlines()]

    @cached_property
    def talks(self):
        """File -> its conversations."""
        return {path.stem: self.lines(path) for path in sorted((self.folder / "conversations").iterdir())}

    @cached_property
    def shown(self):
        """Every conversation that a model may be trained or validated on."""
        return [one for some in self.talks.values() for one in some]

    @cached_property
    def core(self):
        return self.lines("exams/core.jsonl")

    @cached_property
    def chat(self):
        return self.lines("exams/chat.jsonl")

    @cached_property
    def facts(self):
        """(person, attribute) -> the value that documents give, read from them; they never disagree."""
        found = defaultdict(set)
        biographies = "\n".join(text for kind, text in self.documents if kind == "biography")
        for attribute, pattern in FACTS.items():
            for person, value in re.findall(pattern, biographies):
                if person in PEOPLE:
                    found[person, attribute].add(value)
        assert all(len(values) == 1 for values in found.values()), "documents contradict each other"
        return {fact: values.pop() for fact, values in found.items()}

    @cached_property
    def hidden(self):
        return {tuple(fact) for fact in self.manifest["held_out"]["facts"]}

    @cached_property
    def hidden_pairs(self):
        pairs = {tuple(map(int, pair.split())) for pair in self.manifest["held_out"]["operand_pairs"]}
        return pairs | {(b, a) for a, b in pairs}


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    """A town of 4 MB, as the program writes it."""
    out = tmp_path_factory.mktemp("microworld") / "town"
    write.write(out, megabytes=4, seed=1, shards=3, row_group=1000)
    return Town(out)


# -- the town -------------------------------------------------------------------------------------


def test_every_fact_stands_in_the_documents_and_they_agree(town):
    assert len(town.facts) == len(PEOPLE) * len(ATTRIBUTES) == 384
    for (_, attribute), value in town.facts.items():
        assert value in VALUES[attribute]


def test_values_are_dealt_evenly_so_that_guessing_gives_chance(town):
    for attribute in ATTRIBUTES:
        dealt = Counter(value for (_, one), value in town.facts.items() if one == attribute)
        assert set(dealt) == set(VALUES[attribute])
        assert max(dealt.values()) - min(dealt.values()) <= 1, attribute


def test_best_friends_are_symmetric(town):
    for person in PEOPLE:
        friend = town.facts[person, "friend"]
        assert friend != person and town.facts[friend, "friend"] == person


def test_every_price_is_unique_and_the_same_everywhere(town):
    sayings = (
        r"pay (\d+) coins for an? (\w+)",
        r"[Ff]or (\d+) coins you get an? (\w+)",
        r"()An? (\w+) costs (\d+) coins",
        r"()price of an? (\w+) is (\d+) coins",
        r"()buys an? (\w+) for (\d+) coins",
    )
    everything = town.corpus + "\n".join(spoken(m) for one in town.shown for m in one["messages"])
    prices = defaultdict(set)
    for saying in sayings:
        for first, *rest in re.findall(saying, everything):
            good, price = rest if not first else (rest[0], first)
            prices[good].add(int(price))
    assert len(prices) == 20 and all(len(some) == 1 for some in prices.values())
    assert sorted(price for some in prices.values() for price in some) == list(range(2, 22))


def test_sharing_lists_are_complete(town):
    lists = [text for kind, text in town.documents if kind == "sharing"]
    for text in lists:
        value, attribute = next(
            (value, a) for a in ATTRIBUTES[:-1] for value in VALUES[a] if re.search(rf"\b{value}s?\b", text)
        )
        people = {person for person in PEOPLE if town.facts[person, attribute] == value}
        assert set(names(text)) == people, text


def test_pronouns_follow_the_name(town):
    for kind, text in town.documents:
        if kind == "biography":
            person = names(text)[0]
            other = r"\b(he|his|him)\b" if person in WOMEN else r"\b(she|her)\b"
            assert not re.search(other, text, re.IGNORECASE), text


def test_a_sentence_after_the_friend_names_the_person_again(town):
    """After "... best friend is Mira." the word "she" could mean Mira."""
    for kind, text in town.documents:
        if kind == "biography":
            person, *_ = names(text)
            friend, parts = town.facts[person, "friend"], sentences(text)
            for one, after in zip(parts, parts[1:]):
                assert friend not in names(one) or person in names(after), text


# -- documents ------------------------------------------------------------------------------------


def test_shares_are_what_the_design_says(town):
    found = Counter(kind for kind, _ in town.train)
    for kind, share in documents.SHARES.items():
        # 22,000 draws: the standard deviation of a share is at most .0033, and five of them are .017
        assert abs(found[kind] / len(town.train) - share) < 0.017, kind
    assert sum(documents.SHARES.values()) == pytest.approx(1)


def test_the_size_is_the_one_asked_for(town):
    size = sum(len(text.encode()) for _, text in town.train)
    assert 4_000_000 <= size < 4_001_000, "one document more than needed at most"


def test_no_validation_document_occurs_in_training(town):
    train, val = {text for _, text in town.train}, [text for _, text in town.texts("val")]
    assert not train & set(val)
    assert len(val) == len(set(val)) > 500
    assert town.manifest["documents"]["removed_from_val_because_in_train"] > 0, "some are drawn twice"


def test_every_sum_in_a_document_is_right(town):
    found = EQUATION.findall(town.corpus)
    assert len(found) > 8_000
    for a, sign, b, c, result in found:
        assert work_out(a, sign, b, c or None)[0] == int(result), f"{a} {sign} {b} {c} = {result}"


def test_problems_in_documents_are_worked_out_and_answered(town):
    for kind, text in town.documents:
        if kind == "problem":
            *sum_, result = EQUATION.search(text).groups()
            question = text[: EQUATION.search(text).start()].strip()
            assert text.endswith(f"The answer is {result}.")
            assert work_out(*sum_)[1] in (pairs_in_question(question), [pairs_in_question(question)[0][::-1]])


def test_every_spelling_is_right(town):
    everything = town.corpus + "\n".join(spoken(m) for one in town.shown for m in one["messages"])
    spelled = re.findall(r"[Tt]he word (\w+) is spelled ([\w-]+)", everything)
    counted = re.findall(r"(\w+) has (\d+) letters: ([\w-]+)", everything)
    assert {word for word, _ in spelled} == set(WORDS)
    assert all(letters == "-".join(word) for word, letters in spelled)
    assert all(letters == "-".join(word.lower()) and len(word) == int(n) for word, n, letters in counted)


def check_story(town, text):
    """Five sentences, two people, one object that has the same look and giver at the end, and nothing untrue."""
    parts = sentences(text)
    assert len(parts) == 5, parts
    things = {thing for thing in OBJECTS if re.search(rf"\b{thing}\b", text)}
    assert len(things) == 1, f"{things} in {text!r}"
    people = names(text)
    assert len(people) == 2, text
    hero, giver = people
    thing = things.pop()
    looks = re.findall(rf"(\w+) {thing}\b", text)
    assert len(looks) >= 3 and len(set(looks)) == 1 and looks[0] in LOOKS, text
    assert thing in parts[4] and hero in parts[4] and giver in parts[4], parts[4]
    assert giver in " ".join(parts[1:4]), "the giver is met before the end"
    for person, job in re.findall(r"([A-Z]\w+) the (\w+)", text):
        if person in PEOPLE:
            assert town.facts[person, "job"] == job, text
    for friend in re.findall(r"best friend (\w+)", text):
        assert town.facts[hero, "friend"] == friend == giver, text
    for pet, name in re.findall(r"\b[Hh](?:is|er) (\w+)(?: ([A-Z]\w+))?", text):
        if pet in VALUES["pet"]:
            assert town.facts[hero, "pet"] == pet, text
            assert name in ("", town.facts[hero, "pet_name"]), text
    for food in re.findall(r"for some ([\w ]+),?\"", text):
        assert food in ("bread", town.facts[giver, "food"]), text
    for street in VALUES["street"]:
        assert street not in text or town.facts[hero, "street"] == street, text


def test_stories_are_true_and_keep_the_object_and_the_giver(town):
    stories = [text for kind, text in town.documents if kind == "story"]
    for text in stories:
        check_story(town, text)
    assert len(set(stories)) > 0.99 * len(stories), "stories are not told twice"


# -- conversations --------------------------------------------------------------------------------


def test_conversations_are_well_formed(town):
    for one in town.shown:
        roles = [message["role"] for message in one["messages"]]
        assert roles == ["user", "assistant"] * (len(roles) // 2) and roles, one
        for message in one["messages"]:
            content = message["content"]
            if isinstance(content, str):
                assert content.strip() == content != ""
                continue
            assert message["role"] == "assistant"
            assert [part["type"] for part in content] == ["text", "python", "python_output", "text"]
            assert all(set(part) == {"type", "text"} and part["text"] for part in content)


def test_every_call_of_the_calculator_has_the_right_result_and_conclusion(town):
    calls = 0
    for one in town.shown:
        for message in one["messages"]:
            if isinstance(message["content"], str):
                continue
            calls += 1
            _, python, output, after = (part["text"] for part in message["content"])
            if count := COUNT.fullmatch(python):
                word, letter = count.groups()
                times = sum(one == letter for one in word)
                assert int(output) == times
                said = "1 time" if times == 1 else f"{times} times"
                assert after == f"The letter {letter} occurs {said} in {word}."
                assert (
                    word in one["messages"][0]["content"]
                    and f"letter {letter} " in one["messages"][0]["content"]
                )
            else:
                assert work_out(*EXPRESSION.fullmatch(python).groups())[0] == int(output)
                assert after == f"The answer is {output}."
    assert calls > 5_000


def test_answers_are_right(town):
    """Every question about a known person is answered with the value that the documents give."""
    answered = 0
    for one in town.shown:
        for person, attribute, reply in asked(one):
            assert person in PEOPLE
            if isinstance(reply, str) and attribute:
                answered += 1
                assert re.search(rf"\b{town.facts[person, attribute]}\b", reply), (one, attribute)
                assert names(reply)[0] == person
    assert answered > 5_000


def test_problem_answers_follow_from_the_question(town):
    shapes = {"loss": -1, "change": -1, "birds": -1, "fewer": -1, "boxes": 2, "shopping": 2, "rows": 2}
    for one in town.shown:
        question, reply = (spoken(message) for message in one["messages"][:2])
        if not (known := template_of(question)):
            continue
        a, b = pairs_in_question(question)[0]
        answer = int(re.search(r"The answer is (\d+)\.$", reply)[1])
        if known[1] == "baskets":
            (_, _), (product, c) = pairs_in_question(question)
            assert answer == product + c
        else:
            assert answer == {-1: a - b, 2: a * b}.get(shapes.get(known[1], 0), a + b), question
        assert one.get("answer", answer) == answer


def test_stories_in_conversations_are_about_whom_was_asked(town):
    told = [one["messages"] for one in town.shown if "a story about" in one["messages"][0]["content"]]
    assert len(told) > 1_000
    for question, reply in told:
        check_story(town, reply["content"])
        assert names(reply["content"])[0] == names(question["content"])[0]


# -- what is held out -----------------------------------------------------------------------------


def asked(conversation):
    """(person, attribute, reply) for every question about a person; a pronoun or "what about" is followed."""
    found, person, attribute = [], None, None
    messages = conversation["messages"]
    for user, reply in zip(messages[::2], messages[1::2]):
        question = user["content"].split(" Choose one:")[0]
        everybody = PEOPLE + tuple(n for n in re.findall(r"\b[A-Z]\w+", question) if n in STRANGERS)
        person = next(iter(names(question, everybody)), person)
        if "a story about" in question or template_of(question) or person is None:
            continue
        about = next((a for a, pattern in ASKS.items() if re.search(pattern, question)), None)
        attribute = attribute if "what about" in question else about
        if person in PEOPLE:
            found.append((person, attribute, reply["content"]))
    return found


STRANGERS = {*build(1).taught, *build(1).untaught}


def test_a_quarter_of_the_facts_is_held_out_and_no_fact_by_halves(town):
    assert 0.20 <= len(town.hidden) / 384 <= 0.30
    for person, attribute in town.hidden:
        if attribute == "friend":
            assert (town.facts[person, "friend"], "friend") in town.hidden, "a friendship is one fact"


def test_held_out_facts_are_never_asked_about(town):
    questions = Counter((person, attribute) for one in town.shown for person, attribute, _ in asked(one))
    assert not town.hidden & set(questions)
    open_facts = set(town.facts) - town.hidden
    assert open_facts <= set(questions), "every other fact is asked about"


def test_held_out_facts_are_never_told_in_a_conversation(town):
    """Whatever a conversation says must be explained by a fact that is not held out."""
    explained = 0
    for one in town.shown:
        people = names(" ".join(spoken(message) for message in one["messages"]))
        said = " ".join(spoken(m) for m in one["messages"] if m["role"] == "assistant")
        if not people or template_of(one["messages"][0]["content"]):
            continue
        for attribute in ATTRIBUTES[:-1]:
            for value in VALUES[attribute]:
                if re.search(rf"\b{value}\b", said):
                    explained += 1
                    assert any(
                        town.facts[person, attribute] == value and (person, attribute) not in town.hidden
                        for person in people
                    ), (value, one)
        for friend in re.findall(r"best friend(?: is|s with)? (\w+)", said):
            assert town.facts[friend, "friend"] in names(said), one
            assert (friend, "friend") not in town.hidden, one
    assert explained > 5_000


def test_exam_phrasings_are_never_trained(town):
    forms = town.manifest["held_out"]["phrasings"]
    assert set(forms) == set(ATTRIBUTES)
    for form in forms.values():
        pattern = (
            re.escape(form).replace(r"\{n\}", r"\w+").replace(r"\{his\}", r"\w+").replace(r"\{he\}", r"\w+")
        )
        for one in town.shown:
            assert not any(re.search(pattern, spoken(message)) for message in one["messages"]), one
        assert not re.search(pattern, town.corpus)
        assert any(re.fullmatch(pattern, item["messages"][0]["content"]) for item in town.chat)


def test_held_out_operands_meet_in_no_training_text(town):
    seen = set()
    for a, sign, b, c, _ in EQUATION.findall(town.corpus):
        seen.update(work_out(a, sign, b, c or None)[1])
    for one in town.shown:
        question = one["messages"][0]["content"]
        if template_of(question):
            seen.update(pairs_in_question(question))
        for message in one["messages"]:
            for a, sign, b, c in EXPRESSION.findall(spoken(message)):
                seen.update(work_out(a, sign, b, c or None)[1])
    assert len(seen) > 1_500 and max(max(pair) for pair in seen) <= write.LARGEST
    assert not seen & town.hidden_pairs
    possible = [(a, b) for a in range(1, 51) for b in range(1, 51)]
    assert 0.10 < sum(pair in town.hidden_pairs for pair in possible) / len(possible) < 0.15


def test_exams_use_held_out_operands(town):
    for item in town.core:
        if item["task"] == "arithmetic":
            a, _, b, _ = EXPRESSION.match(item["context"]).groups()
            assert (int(a), int(b)) in town.hidden_pairs
    for item in town.chat:
        if item["exam"].startswith("problems_"):
            assert town.hidden_pairs & set(pairs_in_question(item["messages"][0]["content"]))


def test_held_out_words_are_neither_spelled_nor_counted_in_conversations(town):
    hidden = set(town.manifest["held_out"]["words"])
    assert 0.15 <= len(hidden) / len(WORDS) <= 0.25
    used = set()
    for one in town.shown:
        question = one["messages"][0]["content"]
        if re.search(r"\b[Ss]pell\b|letter", question):
            assert not hidden & set(re.findall(r"\w+", " ".join(map(spoken, one["messages"])))), one
            used.update(word for word in re.findall(r"\w+", question) if word in WORDS)
        else:
            assert "is spelled" not in " ".join(map(spoken, one["messages"]))
    assert used == set(WORDS) - hidden, "every other word is used"


def test_unknown_people_stand_in_no_document_and_eight_only_in_exams(town):
    taught = set(town.manifest["held_out"]["unknown_people_taught"])
    untaught = set(town.manifest["held_out"]["unknown_people_in_exams"])
    assert (len(taught), len(untaught)) == (16, 8) and not taught & untaught
    assert not (taught | untaught) & set(re.findall(r"\w+", town.corpus))
    for name, some in town.talks.items():
        words = Counter(w for one in some for m in one["messages"] for w in re.findall(r"\w+", spoken(m)))
        assert not untaught & set(words), name
        assert (taught <= set(words)) == (name == "sft_train"), "refusal is taught in SFT alone"
    examined = {n for item in town.chat for n in names(item["messages"][0]["content"], taught | untaught)}
    assert examined == untaught


def test_refusals_are_an_eighth_of_sft_and_only_for_strangers(town):
    for name, some in town.talks.items():
        refused = [one["messages"] for one in some if "don't know" in spoken(one["messages"][-1])]
        assert len(refused) == {"sft_train": 480}.get(name, len(refused))
        assert name.startswith("sft") or not refused
        for question, reply in refused:
            (person,) = names(question["content"], STRANGERS)
            assert reply["content"].endswith(f"I don't know anyone called {person}.")
            assert not names(question["content"])


def test_problem_templates_keep_to_their_stages(town):
    documents_ = Counter(template_of(text) for _, text in town.documents if re.search(r"\d", text))
    assert {known[0] for known in documents_ if known} == {"demonstrated"}
    assert len(documents_ - Counter({None: documents_[None]})) == 8
    for name, some in town.talks.items():
        found = Counter(template_of(one["messages"][0]["content"]) for one in some)
        groups = Counter()
        for known, n in found.items():
            groups[known[0] if known else None] += n
        assert not groups["never"], name
        if name.startswith("mid"):
            assert not groups["reward_only"], name
        if name == "sft_train":
            assert groups["reward_only"] == 16 == 0.004 * len(some)
        if name == "rl_train":
            assert groups == {"reward_only": 1200, "demonstrated": 400}
    examined = {
        template_of(i["messages"][0]["content"]) for i in town.chat if i["exam"].startswith("problems")
    }
    assert examined == {(group, name) for group, templates in PROBLEMS.items() for name in templates}


def test_reinforcement_learning_shows_no_working(town):
    for one in town.talks["rl_train"]:
        assert re.fullmatch(r"The answer is \d+\.", one["messages"][1]["content"])


def test_validation_conversations_are_no_training_conversations(town):
    train = {json.dumps(one["messages"]) for name in ("mid_train", "sft_train") for one in town.talks[name]}
    for name in ("mid_val", "sft_val"):
        val = [json.dumps(one["messages"]) for one in town.talks[name]]
        assert len(val) == len(set(val)) > 100 and not train & set(val)


@pytest.mark.parametrize("name", conversations.STAGES)
def test_conversation_shares_are_exact(town, name):
    shares, total = conversations.STAGES[name]
    assert sum(shares.values()) == pytest.approx(1)
    if name.endswith("train"):
        found = Counter(one["kind"] for one in town.talks[name])
        assert sum(found.values()) == total
        assert all(abs(found[kind] - share * total) < 1 for kind, share in shares.items())


# -- exams ----------------------------------------------------------------------------------------


def test_core_items_have_distinct_options_and_the_right_one_stands_anywhere(town):
    places = Counter()
    for item in town.core:
        options = item["options"]
        assert len(set(options)) == len(options) == (2 if item["task"] == "grammar" else 4)
        assert all(re.match(r" \S", option) for option in options) and not item["context"].endswith(" ")
        if len(options) == 4:
            places[item["gold"]] += 1
    total = sum(places.values())
    # about 570 items: the standard deviation of a quarter is .018
    assert all(0.18 < places[place] / total < 0.32 for place in range(4)), places


def test_core_facts_are_right_and_only_one_option_is(town):
    values = {value: attribute for attribute in ATTRIBUTES[:-1] for value in VALUES[attribute]}
    checked = 0
    for item in town.core:
        if item["task"] not in ("facts", "facts_in_story"):
            continue
        (person,) = names(item["context"])
        options = [re.sub(r"^ (an? )?|\.$", "", option) for option in item["options"]]
        attribute = values.get(options[0], "friend")
        assert [town.facts[person, attribute] == option for option in options].index(True) == item["gold"]
        checked += 1
        assert (item["context"] in town.corpus) == (item["task"] == "facts"), "a story of the exam is new"
    assert checked == 2 * exams.N


def test_core_sums_prices_and_spellings_are_right(town):
    for item in town.core:
        gold = item["context"] + item["options"][item["gold"]]
        if item["task"] == "arithmetic":
            *sum_, result = EQUATION.match(gold).groups()
            assert work_out(*sum_)[0] == int(result)
            assert gold not in town.corpus
        if item["task"] in ("prices", "animals"):
            assert gold in town.corpus, gold
        if item["task"] == "spelling":
            word, letters = re.match(r"The word (\w+) is spelled ([\w-]+)\.", gold).groups()
            assert letters == "-".join(word)
        if item["task"] == "story_recall":
            told = [
                option for option in item["options"] if re.search(rf"\b{option.strip()}\b", item["context"])
            ]
            assert told == [item["options"][item["gold"]]], item
            words = [word for option in item["options"] for word in option.split()]
            assert len(words) == len(set(words)) == 8, "one word of an option is enough to know it"
            assert item["context"] not in town.corpus


def test_every_right_answer_passes_its_exam_and_a_wrong_one_does_not(town):
    for item in town.chat:
        reply = spoken(item["messages"][-1])
        assert exams.passes(item, reply), item
        if item["all_of"] or "answer" in item:
            assert not exams.passes(item, ""), item
        for wrong in item["none_of"][:1]:
            assert not exams.passes(item, f"{reply} Or perhaps {wrong}."), item


def test_questions_of_exams_are_seen_or_held_out_as_their_names_say(town):
    trained = {one["messages"][0]["content"] for one in town.shown}
    for item in town.chat:
        if item["exam"].startswith(("questions", "choose_one")):
            ((person, attribute, reply),) = asked(item)
            hidden = item["exam"] in ("questions_held_out", "choose_one")
            assert ((person, attribute) in town.hidden) == hidden
            assert town.facts[person, attribute] in reply
            assert item["messages"][0]["content"] not in trained or item["exam"] == "questions_seen"


def test_passes_reads_whole_words_and_the_last_answer():
    item = {"all_of": ["l-a-m-p"], "none_of": []}
    assert exams.passes(item, "It is L-a-m-p.") and not exams.passes(item, "It is c-l-a-m-p.")
    item = {"all_of": ["red"], "none_of": ["blue"]}
    assert not exams.passes(item, "Fred has bread") and not exams.passes(item, "red or blue")
    item = {"answer": 12, "all_of": [], "none_of": []}
    assert exams.passes(item, "The answer is 7. No, the answer is 12.")
    assert not exams.passes(item, "The answer is 12. No, the answer is 7.") and not exams.passes(item, "12")


def test_baselines_are_counted(town):
    table = town.manifest["exams"]
    assert table["facts"]["chance"] == 0.25 and table["grammar"]["chance"] == 0.5
    assert table["refusals"]["majority"] == 1.0, "a model that always refuses passes this exam: show both"
    assert table["no_false_refusals"]["majority"] == 1.0
    assert table["counting_seen"]["majority"] < 0.7
    assert {name: row["n"] for name, row in table.items()} == Counter(
        item.get("task") or item["exam"] for item in town.core + town.chat
    )


# -- the same for the same seed -------------------------------------------------------------------


def test_another_seed_is_another_town():
    one, other = build(1), build(2)
    assert one.facts != other.facts and one.prices != other.prices and one.places != other.places
    assert {f for f in one.all_facts() if one.held_out(*f) and f[1] != "friend"} == {
        f for f in other.all_facts() if other.held_out(*f) and f[1] != "friend"
    }, "what is held out does not depend on the seed"


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        write.write(tmp_path / name, seed=seed, **SMALL)
    files = {
        name: {
            path.relative_to(tmp_path / name).as_posix(): path.read_bytes()
            for path in sorted((tmp_path / name).rglob("*"))
            if path.is_file()
        }
        for name in "abc"
    }
    assert files["a"] == files["b"] and len(files["a"]) == 11
    assert files["a"].keys() == files["c"].keys()
    assert all(files["a"][path] != files["c"][path] for path in files["a"])


def test_nothing_depends_on_the_hashes_of_a_process():
    code = "from mini_nanochat.microworld import write; "
    code += f"print(write.compose(seed=5, **{SMALL!r}).manifest['fingerprint'])"
    prints = {write.compose(seed=5, **SMALL).manifest["fingerprint"]}
    for seed in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
        )
        prints.add(done.stdout.strip())
    assert len(prints) == 1


def test_the_town_is_the_same_on_every_machine():
    """Pinned: if you changed the town on purpose, pin the new one, and calibrate again what was measured on it."""
    found = write.compose(seed=5, **SMALL).manifest["fingerprint"]
    assert found == "19798a64c36148cb649fbc8c35b0408aa4093467231789716f1d9349ab871825"


def test_a_kind_draws_from_a_stream_of_its_own():
    world = build(3)
    write_one = documents.writers(world)["spelling"]
    alone = documents.stream(3, "train", "spelling")
    mixed = [text for kind, text in documents.gather(world, "train", 50_000) if kind == "spelling"]
    assert mixed == [write_one(alone) for _ in mixed]


def test_shares_are_rounded_by_the_largest_remainder():
    assert conversations.counts({"a": 0.5, "b": 0.3, "c": 0.2}, 3) == {"a": 1, "b": 1, "c": 1}
    assert conversations.counts({"a": 2, "b": 1}, 9) == {"a": 6, "b": 3}
    rng = random.Random(0)
    for _ in range(50):
        shares = {str(i): rng.random() for i in range(5)}
        total = rng.randint(0, 1000)
        assert sum(conversations.counts(shares, total).values()) == total


# -- on disk --------------------------------------------------------------------------------------


def test_shards_are_dealt_evenly_in_row_groups(town):
    shards = sorted((town.folder / "documents").iterdir())
    assert [path.name for path in shards] == [f"shard_{i:05d}.parquet" for i in range(4)]
    rows = [pq.ParquetFile(path).metadata for path in shards]
    assert max(r.num_rows for r in rows[:3]) - min(r.num_rows for r in rows[:3]) <= 1
    assert all(r.row_group(0).num_rows == 1000 for r in rows[:3]) and rows[0].num_row_groups > 5
    assert pq.ParquetFile(shards[0]).schema_arrow.names == ["text", "kind"]
    assert town.manifest["documents"]["val"]["shards"] == ["documents/shard_00003.parquet"]


def test_the_manifest_tells_what_is_there(town):
    manifest = town.manifest
    for path, entry in manifest["files"].items():
        assert write.read_fingerprint(town.folder / path) == entry["sha256"]
    found = {p.relative_to(town.folder).as_posix() for p in town.folder.rglob("*") if p.is_file()}
    assert found == {*manifest["files"], "manifest.json"}
    assert manifest["documents"]["train"]["kinds"] == Counter(kind for kind, _ in town.train)
    for name, some in town.talks.items():
        assert manifest["conversations"][name] == Counter(one["kind"] for one in some)


def test_the_same_world_again_is_left_alone_and_anything_else_is_never_overwritten(tmp_path):
    out = tmp_path / "deep" / "town"
    assert write.write(out, seed=5, **SMALL)[1] is True
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert write.write(out, seed=5, **SMALL)[1] is False
    with pytest.raises(FileExistsError, match="nothing was written"):
        write.write(out, seed=6, **SMALL)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    (out / "exams" / "chat.jsonl").write_text("{}\n")
    with pytest.raises(FileExistsError, match="not this world, whole"):
        write.write(out, seed=5, **SMALL)
    for precious in (tmp_path / "file", tmp_path / "folder" / "file"):
        precious.parent.mkdir(exist_ok=True)
        precious.write_text("precious")
        target = precious if precious.parent == tmp_path else precious.parent
        with pytest.raises(FileExistsError):
            write.write(target, seed=5, **SMALL)
        assert precious.read_text() == "precious"
    (tmp_path / "empty").mkdir()
    assert write.write(tmp_path / "empty", seed=5, **SMALL)[1] is True


def test_a_broken_write_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(write, "dump", lambda record: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write.write(tmp_path / "town", seed=5, **SMALL)
    monkeypatch.undo()

    def full(*_, **__):
        raise OSError("no space left")

    monkeypatch.setattr(write.pq, "write_table", full)
    with pytest.raises(OSError, match="no space"):
        write.write(tmp_path / "town", seed=5, **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_the_samples_on_the_page_are_true(town):
    """docs/microworld.md shows the first document of each kind of seed 1, and conversations that exist."""
    page = (ROOT / "docs/microworld.md").read_text("utf-8")
    first = {}
    for kind, text in town.train:
        first.setdefault(kind, text)
    assert [kind for kind, text in first.items() if f"{kind}: {text}\n" not in page] == []
    turns = re.findall(r"^    (user|assistant): (.+)$", page, re.MULTILINE)
    spoken_ = {(m["role"], microworld.spoken(m["content"])) for one in town.shown for m in one["messages"]}
    assert len(turns) >= 16 and set(turns) <= spoken_


# -- the program ----------------------------------------------------------------------------------


def program(*arguments):
    """Runs the program in this process; its exit code."""
    return mini_nanochat.flags.run(microworld.Config, microworld.main, arguments, prog="microworld")


def test_the_program_writes_and_shows_the_world(tmp_path, capsys):
    options = ("--out", str(tmp_path / "town"), "--megabytes", "0.2", "--shards", "2")
    assert program(*options) == 0
    shown = capsys.readouterr().out
    for word in (*documents.SHARES, *conversations.MID_SHARES, "Written to", "majority", "not a benchmark"):
        assert word in shown, word
    assert program(*options) == 0 and "Already there" in capsys.readouterr().out
    assert program(*options, "--seed", "9") == 2
    captured = capsys.readouterr()
    assert "nothing was written" in captured.err and captured.out == ""


@pytest.mark.parametrize(
    "option, value", [("--megabytes", "0"), ("--megabytes", "nan"), ("--shards", "0"), ("--row-group", "0")]
)
def test_sizes_that_cannot_work_are_refused(tmp_path, capsys, option, value):
    with pytest.raises(SystemExit) as stopped:
        program("--out", str(tmp_path / "town"), option, value)
    assert stopped.value.code == 2 and "must be" in capsys.readouterr().err
    assert not (tmp_path / "town").exists()


def test_too_many_shards_are_refused(tmp_path, capsys):
    assert program("--out", str(tmp_path / "t"), "--megabytes", "0.05", "--shards", "5000") == 2
    assert "too few" in capsys.readouterr().err
