"""The same model, written by somebody else: transformers' NanoChatForCausalLM, with the same random weights.

Two programs that were written apart agree on every logit only if both do the same arithmetic.
"""

from __future__ import annotations

import pytest
import torch

from mini_nanochat.model.files import fit, from_huggingface, to_huggingface
from mini_nanochat.model.gpt import GPT, GPTConfig

transformers = pytest.importorskip(
    "transformers", reason="transformers is not installed: make test installs it"
)

# Sums of a few hundred float32 products, in another order: 1e-6 each, and some layers of them.
CLOSE = 1e-4
SHAPES = {  # n_layer, n_head, n_kv_head, n_embd
    "one layer": (1, 2, 2, 64),
    "four layers": (4, 4, 4, 128),
    "keys shared by two": (3, 4, 2, 128),
    "keys shared by all": (2, 4, 1, 64),
    "eight thin layers": (8, 2, 2, 32),
}


def ours(n_layer: int, n_head: int, n_kv_head: int, n_embd: int) -> GPT:
    model = GPT(GPTConfig(64, 300, n_layer, n_head, n_kv_head, n_embd))
    model.init(0)
    return model


def theirs(config: GPTConfig) -> torch.nn.Module:
    shape = transformers.NanoChatConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.n_embd,
        intermediate_size=4 * config.n_embd,
        num_hidden_layers=config.n_layer,
        num_attention_heads=config.n_head,
        num_key_value_heads=config.n_kv_head,
        max_position_embeddings=config.sequence_len,
    )
    return transformers.NanoChatForCausalLM(shape).float().eval()


def shake(model: torch.nn.Module) -> None:
    """Random numbers for all weights: with those of a fresh model, zeros would hide half of the arithmetic."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(0, 0.05, generator=generator)


def largest_difference(one: GPT, other: torch.nn.Module) -> float:
    ids = torch.randint(0, 300, (2, 48), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        return float((one(ids) - other(ids).logits).abs().max())


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_our_weights_in_their_model(shape):
    model = ours(*shape)
    shake(model)
    other = theirs(model.config)
    assert largest_difference(model, other) > CLOSE, "other weights must give other logits"
    other.load_state_dict(to_huggingface(model.state_dict()))
    assert largest_difference(model, other) < CLOSE


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_their_weights_in_our_model(shape):
    model = ours(*shape)
    other = theirs(model.config)
    shake(other)
    weights = from_huggingface(other.state_dict())
    fit(model, weights, "their model")
    model.load_state_dict(weights)
    assert largest_difference(model, other) < CLOSE


def test_the_same_loss_and_the_same_gradients():
    model = ours(2, 4, 2, 64)
    shake(model)
    other = theirs(model.config)
    other.load_state_dict(to_huggingface(model.state_dict()))
    ids = torch.randint(0, 300, (2, 32), generator=torch.Generator().manual_seed(3))
    loss = model.loss(ids[:, :-1], ids[:, 1:])
    wanted = torch.nn.functional.cross_entropy(other(ids[:, :-1]).logits.flatten(0, 1), ids[:, 1:].flatten())
    assert abs(loss.item() - wanted.item()) < 1e-5
    loss.backward()
    wanted.backward()
    gradients = from_huggingface({name: one.grad for name, one in other.named_parameters()})
    for name, weight in model.named_parameters():
        assert float((weight.grad - gradients[name]).abs().max()) < 1e-5, name


def test_names_go_there_and_back():
    state = ours(3, 2, 2, 32).state_dict()
    assert list(from_huggingface(to_huggingface(state))) == list(state)
    with pytest.raises(ValueError, match=r"blocks\.0\.attn\.c_x"):
        to_huggingface({"blocks.0.attn.c_x.weight": torch.zeros(1)})
