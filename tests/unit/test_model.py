"""The model as a whole: what it refuses, and how; memory that held garbage; the shapes that depth gives."""

import pytest
import torch

from mini_nanochat.model.attention import CausalSelfAttention
from mini_nanochat.model.gpt import GPT, GPTConfig, flops_per_token, training_bytes

SHAPE = GPTConfig(sequence_len=8, vocab_size=20, n_layer=2, n_head=2, n_kv_head=1, n_embd=16)


@pytest.fixture(scope="module")
def model():
    made = GPT(SHAPE)
    made.init(0)
    return made


def ids(*shape, dtype=torch.int64):
    return torch.zeros(shape, dtype=dtype)


@pytest.mark.parametrize(
    "given, sentence",
    [
        (torch.tensor([[3, 20]]), r"ids must lie in 0\.\.19, got 3\.\.20"),
        (torch.tensor([[-1, 3]]), r"ids must lie in 0\.\.19, got -1\.\.3"),
        (ids(1, 9), "the model has 8 positions, got 9"),
        (ids(1, 0), r"at least one, got \(1, 0\)"),
        (ids(0, 4), r"at least one, got \(0, 4\)"),
        (ids(4), r"\(B, T\) integers, at least one, got \(4,\)"),
        (ids(1, 4, dtype=torch.float32), r"got \(1, 4\) of torch\.float32"),
        (ids(1, 4).to("meta"), "ids are on meta and the model on cpu"),
    ],
)
def test_ids_that_do_not_fit_are_refused_in_a_sentence(model, given, sentence):
    for use in (model.features, model):
        with pytest.raises(ValueError, match=sentence):
            use(given)


@pytest.mark.parametrize(
    "targets, sentence",
    [
        (ids(1, 3), r"\(1, 4\), got \(1, 3\)"),
        (torch.tensor([[0, 1, 2, 20]]), r"targets must lie in -1\.\.19, got 0\.\.20"),
        (torch.tensor([[0, 1, 2, -100]]), r"targets must lie in -1\.\.19, got -100\.\.2"),
        (ids(1, 4, dtype=torch.float32), r"targets .* torch\.float32"),
    ],
)
def test_targets_that_do_not_fit_are_refused_in_a_sentence(model, targets, sentence):
    with pytest.raises(ValueError, match=sentence):
        model.loss(ids(1, 4), targets)


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"n_embd": 18, "n_head": 4, "n_kv_head": 4}, "18 features and 4 heads"),
        ({"n_embd": 6}, "6 features and 2 heads"),
        ({"n_head": 4, "n_kv_head": 3}, "multiple of n_kv_head, got 4 and 3"),
        ({"vocab_size": 0}, "vocab_size must be at least 1, got 0"),
        ({"n_layer": -1}, "n_layer must be at least 1, got -1"),
    ],
)
def test_a_shape_that_cannot_be_is_refused_in_a_sentence(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        GPTConfig(**{**vars(SHAPE), **change})


def test_attention_refuses_heads_that_do_not_divide():
    with pytest.raises(ValueError, match="18 and 4"):
        CausalSelfAttention(18, 4, 4)
    with pytest.raises(ValueError, match="4 and 3"):
        CausalSelfAttention(16, 4, 3)


@pytest.mark.parametrize("settings", [{"temperature": -1.0}, {"top_k": 0}, {"max_tokens": -1}])
def test_generate_refuses_settings_that_make_no_sense(model, settings):
    with pytest.raises(ValueError, match=rf"got .*{next(iter(settings.values()))}"):
        list(model.generate([1], **{"max_tokens": 3, **settings}))


def test_generate_needs_something_to_begin_with(model):
    with pytest.raises(ValueError, match="at least one"):
        list(model.generate([], 3))


def test_init_sets_every_number_whatever_was_in_memory():
    """Built without memory, then given memory full of NaN, as memory may be: none is left."""
    with torch.device("meta"):
        made = GPT(SHAPE)
    assert all(weight.is_meta for weight in made.parameters())
    made.to_empty(device="cpu")
    with torch.no_grad():
        for tensor in (*made.parameters(), *made.buffers()):
            tensor.fill_(float("nan"))
    made.init(3)
    plain = GPT(SHAPE)
    plain.init(3)
    for name, tensor in (*made.named_parameters(), *made.named_buffers()):
        assert tensor.isfinite().all(), name
        assert torch.equal(tensor, plain.get_parameter(name) if "." in name else plain.get_buffer(name)), name


def test_weights_may_be_kept_in_one_dtype_and_used_in_another(model):
    narrow = GPT(SHAPE)
    narrow.load_state_dict(model.state_dict())
    narrow.cos, narrow.sin = model.cos, model.sin
    narrow.compute_dtype = torch.bfloat16
    given = torch.arange(8)[None]
    assert narrow(given).dtype == torch.float32
    narrow.bfloat16()
    assert narrow(given).dtype == torch.float32
    assert narrow.loss(given, given).isfinite()


def test_a_head_dim_that_no_head_can_have_is_refused():
    with pytest.raises(ValueError, match="head_dim 2, got 4 and 1"):
        GPTConfig.from_depth(4, 100, 16, head_dim=1)


def test_every_depth_gives_a_shape_that_can_be_built():
    for depth in range(1, 129):
        shape = GPTConfig.from_depth(depth, 100, 16)
        assert (shape.n_layer, shape.n_embd, shape.n_kv_head) == (depth, 64 * depth, shape.n_head)


def test_the_costs_of_nanochats_d20():
    """Its published figures: 560,988,160 parameters, 3.49e9 operations for a token, at 2048 positions."""
    shape = GPTConfig.from_depth(20, 65536, 2048)
    with torch.device("meta"):
        built = GPT(shape)
    assert sum(weight.numel() for weight in built.parameters()) == 560_988_160
    assert flops_per_token(shape) == pytest.approx(3.49e9, rel=1e-2)
    assert training_bytes(shape, 1)["weights"] == 4 * 560_988_160
