"""Models in folders: what is saved comes back bit for bit, and what is damaged is refused before anything changes."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
import torch
from safetensors.torch import load_file, save_file

from mini_nanochat.model.files import SHAPE, WEIGHTS, fit, from_huggingface, load_weights, to_huggingface
from mini_nanochat.model.gpt import GPT, GPTConfig

CONFIG = GPTConfig(sequence_len=8, vocab_size=20, n_layer=2, n_head=4, n_kv_head=2, n_embd=16)


def model(seed: int = 1, config: GPTConfig = CONFIG) -> GPT:
    """A model without a zero in it."""
    made = GPT(config)
    made.init(seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in made.parameters():
            weight.normal_(generator=generator)
    return made


@pytest.fixture
def saved(tmp_path):
    folder = tmp_path / "a folder" / "of models"
    model().save(folder)
    return folder


def edit(folder, **changes) -> None:
    """Changes fields of the shape; None takes a field away."""
    path = folder / SHAPE
    shape = {**json.loads(path.read_text("utf-8")), **changes}
    path.write_text(json.dumps({name: value for name, value in shape.items() if value is not None}), "utf-8")


def rewrite(folder, change) -> None:
    """Changes the weights in the folder by a function on their dict."""
    weights = load_file(folder / WEIGHTS)
    change(weights)
    save_file(weights, folder / WEIGHTS)


def test_what_is_saved_comes_back_bit_for_bit(saved):
    one, other = model(), GPT.load(saved)
    assert other.config == CONFIG
    theirs = dict(other.named_parameters())
    assert [name for name, weight in one.named_parameters() if not torch.equal(weight, theirs[name])] == []
    ids = torch.randint(0, 20, (2, 8), generator=torch.Generator().manual_seed(3))
    assert torch.equal(one(ids), other(ids)), "the tables are not in the file: load must make them"


def test_numbers_that_are_no_numbers_survive(tmp_path):
    strange = model()
    with torch.no_grad():
        strange.wte.weight[0, :3] = torch.tensor([torch.nan, torch.inf, -0.0])
    strange.save(tmp_path)
    row = GPT.load(tmp_path).wte.weight[0]
    assert row[0].isnan() and row[1] == torch.inf and torch.signbit(row[2])


def test_the_shape_is_a_file_that_people_can_read(saved):
    text = (saved / SHAPE).read_text("utf-8")
    assert json.loads(text) == asdict(CONFIG) and text.endswith("}\n")


def test_saving_again_replaces_what_was_there(saved):
    other = GPTConfig(4, 9, 1, 2, 2, 8)
    model(2, other).save(saved)
    assert GPT.load(saved).config == other


def test_a_folder_without_a_model_says_which_file_is_missing(tmp_path, saved):
    with pytest.raises(FileNotFoundError, match=SHAPE):
        GPT.load(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=SHAPE):
        GPT.load(tmp_path)
    (saved / WEIGHTS).unlink()
    with pytest.raises(FileNotFoundError, match=WEIGHTS):
        GPT.load(saved)


@pytest.mark.parametrize("text", ["", "{", "no json", '{"n_layer": 2,}', "\x00\x01"])
def test_a_damaged_shape_is_told_as_such(saved, text):
    (saved / SHAPE).write_text(text, "utf-8")
    with pytest.raises(ValueError, match=rf"{SHAPE} is damaged"):
        GPT.load(saved)


def test_a_shape_that_is_no_text_is_told_as_such(saved):
    (saved / SHAPE).write_bytes(b"\xff\xfe{}")
    with pytest.raises(ValueError, match="damaged"):
        GPT.load(saved)


@pytest.mark.parametrize("text", ["[]", "7", "null", '"n_layer"'])
def test_a_shape_that_is_no_table_is_refused(saved, text):
    (saved / SHAPE).write_text(text, "utf-8")
    with pytest.raises(ValueError, match=r"must hold n_embd.*, got \w+"):
        GPT.load(saved)


def test_a_field_too_few_or_too_many_is_named(saved):
    edit(saved, n_head=None)
    with pytest.raises(ValueError, match=r"must hold .*n_head.*got \["):
        GPT.load(saved)
    edit(saved, n_head=4, dropout=1)
    with pytest.raises(ValueError, match=r"got .*dropout"):
        GPT.load(saved)


@pytest.mark.parametrize("value", ["2", 2.0, True, [2], {"of": 2}])
def test_a_field_that_is_no_whole_number_is_refused(saved, value):
    edit(saved, n_layer=value)
    with pytest.raises(ValueError, match="whole numbers"):
        GPT.load(saved)


def test_sizes_that_do_not_fit_together_are_refused(saved):
    edit(saved, n_head=3)
    with pytest.raises(ValueError, match="n_embd must be n_head heads"):
        GPT.load(saved)


def test_weights_cut_off_or_of_another_kind_are_damaged(saved):
    data = (saved / WEIGHTS).read_bytes()
    for piece in (b"", data[:4], data[: len(data) // 2], b"PK\x03\x04" + data):
        (saved / WEIGHTS).write_bytes(piece)
        with pytest.raises(ValueError, match=rf"{WEIGHTS} is damaged"):
            GPT.load(saved)


def test_a_weight_too_few_or_too_many_is_named(saved):
    rewrite(saved, lambda weights: weights.pop("blocks.1.mlp.c_fc.weight"))
    with pytest.raises(ValueError, match=r"lacks blocks\.1\.mlp\.c_fc\.weight"):
        GPT.load(saved)
    rewrite(saved, lambda weights: weights.update({"blocks.1.mlp.c_fc.weight": torch.zeros(64, 16)}))
    rewrite(saved, lambda weights: weights.update(smear=torch.zeros(1)))
    with pytest.raises(ValueError, match="has smear"):
        GPT.load(saved)


def test_another_vocabulary_is_told_with_both_numbers(saved):
    edit(saved, vocab_size=21)
    with pytest.raises(ValueError, match=r"\(20, 16\) in .*, and \(21, 16\) in the model"):
        GPT.load(saved)


def test_nothing_is_changed_when_something_does_not_fit(saved):
    rewrite(saved, lambda weights: weights.update({"lm_head.weight": torch.zeros(20, 17)}))
    mine = model(9)
    before = {name: weight.clone() for name, weight in mine.state_dict().items()}
    with pytest.raises(ValueError, match=r"\(20, 17\)"):
        load_weights(saved, mine)
    assert all(torch.equal(weight, before[name]) for name, weight in mine.state_dict().items())


def test_fit_names_the_source_and_three_weights_at_most():
    with pytest.raises(ValueError, match="my phone lacks ") as error:
        fit(model(), {}, "my phone")
    assert str(error.value).count(".weight") == 3


def test_names_go_there_and_back():
    state = model(config=GPTConfig(8, 20, 12, 2, 2, 8)).state_dict()  # block 11 has two digits
    theirs = to_huggingface(state)
    assert "model.layers.11.self_attn.q_proj.weight" in theirs and "model.embed_tokens.weight" in theirs
    again = from_huggingface(theirs)
    assert list(again) == list(state)
    assert all(again[name] is state[name] for name in state), "the numbers are the same ones"


@pytest.mark.parametrize("name", ["blocks.0.attn.c_x.weight", "blocks.attn.c_q.weight", "wte", "0", ""])
def test_a_name_that_no_gpt_has_is_refused(name):
    with pytest.raises(ValueError, match="no weight of a GPT"):
        to_huggingface({name: torch.zeros(1)})
    with pytest.raises(ValueError, match="no weight of a GPT"):
        from_huggingface({name: torch.zeros(1)})
