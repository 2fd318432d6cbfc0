"""The checkpoint of Phase 1: the pieces of five lessons together, as a model.

pytest tests/phase1 --mine      after your report cards: these tests, on your code where you have written it
pytest -s ...                   shows the figures too
"""

import math

import pytest
import torch

from mini_nanochat.model.files import to_huggingface
from mini_nanochat.model.gpt import GPT, GPTConfig, count_parameters

SHAPE = GPTConfig(sequence_len=256, vocab_size=8192, n_layer=8, n_head=2, n_kv_head=2, n_embd=256)
PARAMETERS = 10_485_760  # 2 x 8192 x 256 at the ends, and 8 blocks of 12 x 256 x 256
FIRST_LOSS = math.log(8192)  # 9.0109: a head of zeros guesses, whatever it reads
CLOSE = 1e-4  # sums of some hundred float32 products in another order, eight layers deep


@pytest.fixture(scope="module")
def model():
    made = GPT(SHAPE)
    made.init(0)
    return made


def random_ids(*shape):
    return torch.randint(0, 8192, shape, generator=torch.Generator().manual_seed(4))


def shake(model):
    """Random numbers for all weights: zeros would hide half of the arithmetic."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(0, 0.05, generator=generator)


def test_eight_layers_of_256_features_and_8192_ids_have_10_485_760_parameters(model):
    assert sum(weight.numel() for weight in model.parameters()) == PARAMETERS
    assert count_parameters(SHAPE)["total"] == PARAMETERS, "counted without building it"


def test_the_first_loss_is_that_of_a_guess(model, capsys):
    ids = random_ids(2, 257)
    with torch.no_grad():
        loss = model.loss(ids[:, :-1], ids[:, 1:]).item()
    with capsys.disabled():
        print(f"\n  first loss {loss:.4f}; ln(8192) = {FIRST_LOSS:.4f}")
    assert abs(loss - FIRST_LOSS) <= 1e-3, f"{loss:.4f} is not ln(8192) = {FIRST_LOSS:.4f}"


class Growing:
    """A cache of the simplest kind: it lays new keys and values behind those it has."""

    def __init__(self):
        self.kept = {}

    def __len__(self):
        return self.kept[0][0].shape[2] if self.kept else 0

    def insert(self, layer, k, v):
        if layer in self.kept:
            k, v = (torch.cat(pair, dim=2) for pair in zip(self.kept[layer], (k, v)))
        self.kept[layer] = (k, v)
        return k, v


def test_with_a_cache_and_without_it_the_model_says_the_same():
    shaken = GPT(SHAPE)
    shaken.init(0)
    shake(shaken)
    ids = random_ids(1, 20)
    with torch.no_grad():
        whole = shaken(ids)
        cache, parts = Growing(), []
        for start, end in ((0, 7), (7, 8), (8, 9), (9, 20)):
            parts.append(shaken(ids[:, start:end], cache))
    difference = float((torch.cat(parts, dim=1) - whole).abs().max())
    assert difference < CLOSE, "7 ids at once, then one, one more, and eleven"


@pytest.mark.parametrize("n_kv_head", [4, 2, 1])
def test_a_model_that_somebody_else_wrote_gives_the_same_logits(n_kv_head, capsys):
    transformers = pytest.importorskip(
        "transformers", reason='somebody else\'s model is missing: pip install -e ".[learn]"'
    )
    config = GPTConfig(64, 8192, 8, 4, n_kv_head, 128)
    ours = GPT(config)
    ours.init(0)
    shake(ours)
    theirs = transformers.NanoChatForCausalLM(
        transformers.NanoChatConfig(
            vocab_size=8192,
            hidden_size=128,
            intermediate_size=512,
            num_hidden_layers=8,
            num_attention_heads=4,
            num_key_value_heads=n_kv_head,
            max_position_embeddings=64,
        )
    )
    theirs = theirs.float().eval()
    theirs.load_state_dict(to_huggingface(ours.state_dict()))
    ids = random_ids(2, 64)
    with torch.no_grad():
        difference = float((ours(ids) - theirs(ids).logits).abs().max())
    with capsys.disabled():
        print(f"\n  {n_kv_head} heads of keys: largest difference of a logit {difference:.1e}")
    assert difference < CLOSE
