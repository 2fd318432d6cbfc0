"""Mini-CORE: one who knows gets everything right, one who guesses gets chance, and padding changes nothing."""

from __future__ import annotations

import json
import math

import pytest
import torch

from mini_nanochat.microworld import core
from mini_nanochat.model.gpt import GPT, GPTConfig
from mini_nanochat.tokenizer.text import ByteTokenizer


class Bytes(ByteTokenizer):
    bos_id = 256


BYTES = Bytes()
CPU = torch.device("cpu")
ITEMS = [
    {"task": "colour", "context": "The sky is", "options": [" red.", " blue.", " green."], "gold": 1},
    {"task": "colour", "context": "A lemon is", "options": [" yellow.", " black."], "gold": 0},
    {"task": "sum", "context": "2 + 2 =", "options": [" 5.", " 4."], "gold": 1},
]


def knows(texts: list[str]):
    """Logits that follow these texts, and are all alike elsewhere."""
    follows = {}
    for text in texts:
        ids = [BYTES.bos_id, *BYTES.encode(text)]
        follows |= {tuple(ids[:i]): ids[i] for i in range(1, len(ids))}

    def forward(ids):
        logits = torch.zeros(*ids.shape, BYTES.vocab_size)
        for row, line in enumerate(ids.tolist()):
            for t in range(len(line)):
                if tuple(line[: t + 1]) in follows:
                    logits[row, t, follows[tuple(line[: t + 1])]] = 5.0
        return logits

    return forward


def scores(forward, items=ITEMS, positions=64):
    return core.mini_core(forward, BYTES, items, positions, CPU)


def test_one_who_knows_gets_everything_right():
    found = scores(knows(["The sky is blue.", "A lemon is yellow.", "2 + 2 = 4."]))
    assert {task: score.accuracy for task, score in found.items()} == {"colour": 1.0, "sum": 1.0}
    assert core.average(found) == 1.0


def test_one_who_knows_better_gets_everything_wrong():
    found = scores(knows(["The sky is red.", "A lemon is black.", "2 + 2 = 5."]))
    assert {task: score.accuracy for task, score in found.items()} == {"colour": 0.0, "sum": 0.0}
    assert core.average(found) < 0


def test_one_who_finds_all_alike_gets_chance_whatever_their_lengths():
    found = scores(lambda ids: torch.zeros(*ids.shape, BYTES.vocab_size))
    assert found["colour"] == core.Score(
        pytest.approx((1 / 3 + 1 / 2) / 2), pytest.approx((1 / 3 + 1 / 2) / 2), 2
    )
    assert core.average(found) == pytest.approx(0.0)


def test_a_surprise_is_that_of_the_row_alone_whatever_stands_beside_it():
    model = GPT(GPTConfig(64, BYTES.vocab_size, 2, 2, 2, 32))
    model.init(3)
    with torch.no_grad():
        model.lm_head.weight.normal_(generator=torch.Generator().manual_seed(0))
    rows = [
        ([BYTES.bos_id, *BYTES.encode(a)], BYTES.encode(b))
        for a, b in (("ab", "c"), ("abcdefg", "hij"), ("x", "yz"))
    ]
    together = core.surprise(model, rows, CPU)
    for (context, rest), nats in zip(rows, together):
        ids = torch.tensor([context + rest])
        logp = model(ids)[0].detach().log_softmax(-1)
        by_hand = -sum(float(logp[len(context) - 1 + i, id]) for i, id in enumerate(rest)) / len(rest)
        assert nats == pytest.approx(by_hand, abs=1e-5)


def test_of_a_context_that_is_too_long_the_end_is_kept():
    seen = []

    def forward(ids):
        seen.extend(ids.tolist())
        return torch.zeros(*ids.shape, BYTES.vocab_size)

    scores(forward, [{"task": "t", "context": "0123456789", "options": [" a", " b"], "gold": 0}], positions=6)
    assert seen[0] == BYTES.encode("56789 ")  # six positions: the last id is only a target


def test_items_are_read_and_limited_by_task(tmp_path):
    path = tmp_path / "core.jsonl"
    path.write_text("".join(json.dumps(item) + "\n" for item in ITEMS), "utf-8")
    assert core.load_items(path) == ITEMS
    assert [item["task"] for item in core.load_items(path, 1)] == ["colour", "sum"]
    with pytest.raises(FileNotFoundError, match="mini-nanochat microworld"):
        core.load_items(tmp_path / "none.jsonl")


def test_centred_scores_are_0_for_guessing_and_1_for_all_right():
    assert core.Score(0.25, 0.25, 8).centred == 0 and core.Score(1.0, 0.25, 8).centred == 1
    assert math.isclose(core.Score(0.5, 0.25, 8).centred, 1 / 3)
