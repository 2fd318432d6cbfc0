"""Graded tests of lesson 1.5: the whole model, by hand and against one written with torch's functions only.

Judges: arithmetic on paper, `by_torch` below (F.embedding, F.rms_norm, F.linear, attention and rotation written
out), F.cross_entropy, the sizes of real parameters, torch's own counter of operations, and what torch really keeps
for a backward pass. Models are built by the given constructor and get their numbers from the tests.
"""

import itertools
import math

import pytest
import torch
from torch.nn import functional as F

from mini_nanochat.model import gpt

# Sizes that differ from one another: 3 layers, 4 heads of 8 that share 2 of keys, 50 ids, 12 positions.
SHAPE = gpt.GPTConfig(sequence_len=12, vocab_size=50, n_layer=3, n_head=4, n_kv_head=2, n_embd=32)
ALONE = gpt.GPTConfig(sequence_len=12, vocab_size=50, n_layer=3, n_head=2, n_kv_head=2, n_embd=32)
SLIM = gpt.GPTConfig(sequence_len=12, vocab_size=50, n_layer=1, n_head=2, n_kv_head=2, n_embd=16)
B, T = 3, 7
# float32 keeps seven digits, our numbers are near 1 and go through three blocks; a real mistake moves them by
# 1e-2 or more.
CLOSE = 5e-5


def numbers(*shape: int, seed: int = 1) -> torch.Tensor:
    """Normal numbers, the same each time."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def some_ids(b: int = B, t: int = T, v: int = 50, seed: int = 1) -> torch.Tensor:
    return torch.randint(0, v, (b, t), generator=torch.Generator().manual_seed(seed))


def angles(n: int, head_dim: int) -> torch.Tensor:
    """Position times 10000^(-2i/D): (n, D/2), in float64."""
    pair = torch.arange(head_dim // 2, dtype=torch.float64)
    return torch.arange(n, dtype=torch.float64)[:, None] * 10_000.0 ** (-2 * pair / head_dim)


def built(config: gpt.GPTConfig):
    """A model whose tables are right, and whose weights are all zero."""
    model = gpt.GPT(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    turn = angles(config.sequence_len, config.n_embd // config.n_head)
    model.cos, model.sin = turn.cos().float(), turn.sin().float()
    return model


def made(config: gpt.GPTConfig = SHAPE, seed: int = 1, head: float = 0.5):
    """A model with random numbers in every weight."""
    model = built(config)
    with torch.no_grad():
        for number, (name, weight) in enumerate(model.named_parameters()):
            weight.copy_(numbers(*weight.shape, seed=100 * seed + number) * (0.25 if "blocks" in name else 1))
        model.lm_head.weight.mul_(head)
    return model


def by_torch(model, ids: torch.Tensor) -> torch.Tensor:
    """What the head should read, in float64: (B, T) -> (B, T, C). The same arithmetic in functions of torch."""
    c, w = model.config, {name: one.double() for name, one in model.named_parameters()}
    (b, t), size = ids.shape, c.n_embd // c.n_head
    turn = torch.polar(torch.ones(1, dtype=torch.float64), -angles(t, size))

    def heads(x, weight, n):
        return F.linear(x, weight).view(b, t, n, size).transpose(1, 2)

    def turned(x):
        first, second = x.chunk(2, dim=-1)
        z = torch.complex(first, second) * turn
        return F.rms_norm(torch.cat([z.real, z.imag], dim=-1), (size,), eps=1e-6)

    def norm(x):
        return F.rms_norm(x, (c.n_embd,), eps=1e-6)

    hidden = torch.ones(t, t, dtype=torch.bool).triu(1)
    x = norm(F.embedding(ids, w["wte.weight"]))
    for i in range(c.n_layer):
        at, h = f"blocks.{i}.attn.c_", norm(x)
        q = turned(heads(h, w[f"{at}q.weight"], c.n_head))
        k = turned(heads(h, w[f"{at}k.weight"], c.n_kv_head))
        v = heads(h, w[f"{at}v.weight"], c.n_kv_head)
        k, v = (one.repeat_interleave(c.n_head // c.n_kv_head, dim=1) for one in (k, v))
        shares = (q @ k.transpose(2, 3) / math.sqrt(size)).masked_fill(hidden, -math.inf).softmax(-1)
        x = x + F.linear((shares @ v).transpose(1, 2).reshape(b, t, -1), w[f"{at}proj.weight"])
        h = F.relu(F.linear(norm(x), w[f"blocks.{i}.mlp.c_fc.weight"])) ** 2
        x = x + F.linear(h, w[f"blocks.{i}.mlp.c_proj.weight"])
    return norm(x)


def logits_by_torch(model, ids: torch.Tensor) -> torch.Tensor:
    return 15 * torch.tanh(F.linear(by_torch(model, ids), model.lm_head.weight.double()) / 15)


def counting(logit: float = math.log(7)):
    """A model of 8 ids that counts: after i comes i + 1, whose logit is `logit`; all others are 0."""
    model = built(gpt.GPTConfig(sequence_len=6, vocab_size=8, n_layer=1, n_head=2, n_kv_head=2, n_embd=8))
    steep = 15 * math.atanh(logit / 15) / math.sqrt(8)  # a single 1 among 8 features is normed to sqrt(8)
    with torch.no_grad():
        model.wte.weight.copy_(torch.eye(8))
        model.lm_head.weight.copy_(steep * torch.eye(8).roll(1, 0))
    return model


class Kept:
    """A cache: keeps what it is given, layer by layer, and knows how many positions it holds."""

    def __init__(self) -> None:
        self.layers: dict[int, tuple] = {}

    def __len__(self) -> int:
        return self.layers[0][0].shape[2] if 0 in self.layers else 0

    def insert(self, layer, k, v):
        if layer in self.layers:
            k, v = (torch.cat([old, new], dim=2) for old, new in zip(self.layers[layer], (k, v)))
        self.layers[layer] = (k, v)
        return k, v


def assert_same(got: torch.Tensor, wanted: torch.Tensor, why: str, within: float = CLOSE) -> None:
    assert tuple(got.shape) == tuple(wanted.shape), why
    difference = float(f"{(got.double() - wanted.double()).abs().max().item():.2g}")
    assert difference <= within, f"{why} (the largest difference is compared)"


def rounded(x: torch.Tensor, digits: int = 3) -> list:
    """As nested lists: what one checks on paper."""
    return (x.detach().double() * 10**digits).round().div(10**digits).add(0.0).tolist()


def error_of(call) -> str:
    """The kind of error that `call` raises."""
    try:
        call()
    except NotImplementedError:
        raise
    except Exception as error:
        return type(error).__name__
    return "no error"


# --- GPTConfig.from_depth ----------------------------------------------------------------------------


def shape_of(config) -> tuple:
    return config.n_layer, config.n_embd, config.n_head


@pytest.mark.exercise("GPTConfig.from_depth")
def test_a_depth_of_twenty_is_1280_features_in_ten_heads():
    got = gpt.GPTConfig.from_depth(20, vocab_size=65536, sequence_len=2048)
    assert shape_of(got) == (20, 1280, 10), "layers, features, heads: 64 features a layer, heads of 128"


@pytest.mark.exercise("GPTConfig.from_depth")
def test_vocabulary_and_length_are_passed_on_and_no_head_is_shared():
    got = gpt.GPTConfig.from_depth(4, vocab_size=1000, sequence_len=77)
    assert (got.vocab_size, got.sequence_len) == (1000, 77), "vocabulary, length: each in its own place"
    assert got.n_kv_head == got.n_head, "a head of keys for each head of queries"


@pytest.mark.exercise("GPTConfig.from_depth")
def test_a_narrow_model_has_one_head_that_is_narrower():
    got = [shape_of(gpt.GPTConfig.from_depth(depth, 100, 8)) for depth in (1, 2, 3)]
    assert got == [(1, 64, 1), (2, 128, 1), (3, 192, 2)], (
        "64 features are one head of 64; 192 are too many for one head of 128, so they are two of 96"
    )


@pytest.mark.exercise("GPTConfig.from_depth", points=2)
def test_heads_are_added_until_they_divide_the_width():
    got = [shape_of(gpt.GPTConfig.from_depth(depth, 100, 8)) for depth in (5, 11)]
    assert got == [(5, 320, 4), (11, 704, 8)], (
        "320 features are no 3 heads of equal size, so 4 of 80; 704 are neither 6 nor 7, so 8 of 88"
    )


@pytest.mark.exercise("GPTConfig.from_depth")
def test_a_head_always_has_an_even_number_of_features():
    got = shape_of(gpt.GPTConfig.from_depth(67, 100, 8))
    assert got == (67, 4288, 67), "64 heads would divide 4,288 into 67 features each, and 67 make no pairs"


@pytest.mark.exercise("GPTConfig.from_depth")
def test_every_depth_gives_a_valid_shape():
    bad = []
    for depth in range(1, 101):
        made = gpt.GPTConfig.from_depth(depth, 100, 8)
        size = made.n_embd / made.n_head
        fewer = [n for n in range(1, made.n_head) if 64 * depth % (2 * n) == 0 and 64 * depth <= 128 * n]
        if made.n_embd != 64 * depth or size % 2 or size > 128 or fewer:
            bad.append(depth)
    assert bad == [], (
        "depths with heads of odd size, of more than 128 features, or with more heads than needed"
    )


@pytest.mark.exercise("GPTConfig.from_depth")
def test_the_size_of_a_head_can_be_chosen():
    got = [shape_of(gpt.GPTConfig.from_depth(depth, 100, 8, head_dim=32)) for depth in (2, 3)]
    assert got == [(2, 128, 4), (3, 192, 6)], "heads of 32 features: 128 / 32 and 192 / 32"


@pytest.mark.exercise("GPTConfig.from_depth")
def test_a_depth_below_one_is_refused():
    for depth in (0, -3):
        got = error_of(lambda depth=depth: gpt.GPTConfig.from_depth(depth, 100, 8))
        assert got == "ValueError", f"depth {depth}: a model without layers is no model"


# --- GPT.init ----------------------------------------------------------------------------------------


def fresh(config=SHAPE, seed: int = 0):
    """A model in memory that holds NaN, as memory may, and its init."""
    with torch.device("meta"):
        model = gpt.GPT(config)
    model.to_empty(device="cpu")
    with torch.no_grad():
        for tensor in itertools.chain(model.parameters(), model.buffers()):
            tensor.fill_(math.nan)
    model.init(seed)
    return model


@pytest.mark.exercise("GPT.init", points=2)
def test_nothing_is_left_of_what_the_memory_held():
    model = fresh()
    every = itertools.chain(model.named_parameters(), model.named_buffers())
    left = [name for name, tensor in every if tensor.isnan().any()]
    assert left == [], (
        "memory was filled with NaN before init: what still holds it was forgotten. In life it holds anything"
    )


@pytest.mark.exercise("GPT.init")
def test_the_tables_hold_cosines_and_sines_of_every_position():
    model = fresh(gpt.GPTConfig(sequence_len=3, vocab_size=5, n_layer=1, n_head=2, n_kv_head=1, n_embd=8))
    assert tuple(model.cos.shape) == (3, 2), (
        "3 positions, and a pair for each two of the 4 features of a head"
    )
    assert rounded(model.cos) == [[1, 1], [0.54, 1], [-0.416, 1]], "cosines of 0, 1, 2 and of 0, 0.01, 0.02"
    assert rounded(model.sin) == [[0, 0], [0.841, 0.01], [0.909, 0.02]], (
        "sines of 0, 1, 2 and of 0, 0.01, 0.02"
    )


@pytest.mark.exercise("GPT.init")
def test_what_begins_at_zero_are_the_head_and_what_writes_into_the_stream():
    model = fresh(gpt.GPTConfig(sequence_len=4, vocab_size=9, n_layer=1, n_head=2, n_kv_head=1, n_embd=8))
    got = [name for name, weight in model.named_parameters() if not weight.any()]
    assert got == ["blocks.0.attn.c_proj.weight", "blocks.0.mlp.c_proj.weight", "lm_head.weight"], (
        "with a head of zeros every id is equally likely at first, and the first loss is known on paper"
    )


@pytest.mark.exercise("GPT.init")
def test_embeddings_begin_with_size_one_and_matrices_with_one_over_the_root():
    model = fresh(gpt.GPTConfig(sequence_len=4, vocab_size=500, n_layer=1, n_head=2, n_kv_head=2, n_embd=100))
    parts = (model.wte, model.blocks[0].attn.c_q, model.blocks[0].mlp.c_fc)
    got = [round(part.weight.std().item(), digits) for part, digits in zip(parts, (1, 2, 2))]
    assert got == [1.0, 0.1, 0.1], (
        "standard deviations: 1 in the embedding; 1 / sqrt(100) in c_q and c_fc, which read 100 features"
    )


@pytest.mark.exercise("GPT.init", points=2)
def test_the_same_seed_gives_the_same_model_whatever_torch_drew_before():
    torch.manual_seed(1)
    one = fresh(seed=5)
    torch.manual_seed(2)
    other = fresh(seed=5)
    pairs = zip(one.named_parameters(), other.parameters())
    got = sorted({name.split(".")[0] for (name, a), b in pairs if not torch.equal(a, b)})
    assert got == [], "parts that differ between two models of seed 5: an experiment must be repeatable"


@pytest.mark.exercise("GPT.init")
def test_another_seed_gives_another_model():
    one, other = fresh(seed=5), fresh(seed=6)
    random = ("wte", "blocks.0.attn.c_q", "blocks.2.mlp.c_fc")
    got = [p for p in random if torch.equal(one.get_submodule(p).weight, other.get_submodule(p).weight)]
    assert got == [], "weights that are the same for seeds 5 and 6"


@pytest.mark.exercise("GPT.init")
def test_no_two_blocks_begin_alike():
    model = fresh()
    queries = [block.attn.c_q.weight for block in model.blocks]
    got = [(i, j) for i, j in itertools.combinations(range(3), 2) if torch.equal(queries[i], queries[j])]
    assert got == [], "blocks that hold the same numbers: a generator goes on drawing, a new one begins again"


@pytest.mark.exercise("GPT.init")
def test_the_tables_lie_where_the_weights_lie():
    model = gpt.GPT(SHAPE)
    with torch.device(
        "meta"
    ):  # what is made without device= goes there, as it goes to the CPU for a GPU's model
        model.init()
    got = [str(model.cos.device), str(model.sin.device)]
    assert got == ["cpu", "cpu"], (
        "the weights are on the CPU; the tables must be where they are, not elsewhere"
    )


# --- GPT.features ------------------------------------------------------------------------------------


@pytest.mark.exercise("GPT.features", points=2)
def test_the_features_are_those_of_a_model_written_with_torch():
    for config, why in ((ALONE, "2 heads of 2"), (SHAPE, "4 heads that share 2 of keys")):
        model, ids = made(config), some_ids()
        got = model.features(ids)
        assert_same(got, by_torch(model, ids), f"embedding, norm, 3 blocks, norm; {why}")


@pytest.mark.exercise("GPT.features")
def test_embeddings_of_any_size_give_the_same_features():
    model, ids = made(), some_ids()
    before = model.features(ids)
    with torch.no_grad():
        model.wte.weight.mul_(50)
    assert_same(
        model.features(ids), before, "embeddings 50 times as large: the norm after them takes that out"
    )


@pytest.mark.exercise("GPT.features")
def test_what_the_head_reads_has_size_one_at_every_position():
    sizes = made().features(some_ids()).square().mean(-1).sqrt()
    assert_same(
        sizes, torch.ones(B, T), "root mean square: the stream has grown, the norm before the head ends that"
    )


@pytest.mark.exercise("GPT.features", points=2)
def test_in_pieces_with_a_cache_the_features_are_the_same_as_at_once():
    model, ids = made(), some_ids()
    wanted = by_torch(model, ids)
    for sizes in ((7,), (1,) * 7, (4, 3)):
        cache, first, pieces = Kept(), 0, []
        for n in sizes:
            pieces.append(model.features(ids[:, first : first + n], cache))
            first += n
        assert_same(torch.cat(pieces, 1), wanted, f"pieces of {sizes} ids, one after the other")


@pytest.mark.exercise("GPT.features")
def test_new_ids_stand_after_those_in_the_cache():
    model, cache = made(), Kept()
    model.cos, model.sin = torch.full((12, 4), math.nan), torch.full((12, 4), math.nan)
    model.cos[5:7], model.sin[5:7] = 1.0, 0.0  # only positions 5 and 6 are in these tables
    for layer in range(3):
        cache.insert(layer, numbers(1, 2, 5, 8), numbers(1, 2, 5, 8))
    turned = model.features(some_ids(1, 2), cache)
    assert bool(turned.isnan().any()) is False, "5 positions are in the cache: 2 new ids are numbers 5 and 6"


@pytest.mark.exercise("GPT.features")
def test_what_a_cache_holds_is_read():
    model, read = made(), []
    for seed in (1, 2):
        cache = Kept()
        for layer in range(3):
            cache.insert(layer, numbers(1, 2, 5, 8, seed=seed), numbers(1, 2, 5, 8, seed=seed))
        read.append(model.features(some_ids(1, 2), cache))
    got = float(f"{(read[0] - read[1]).abs().max().item():.2g}")
    assert got > 0.01, "two caches with other keys and values: the features of new ids must differ"


@pytest.mark.exercise("GPT.features")
def test_activations_have_the_dtype_of_the_model():
    model = made()
    model.compute_dtype = torch.bfloat16
    got = str(model.features(some_ids()).dtype)
    assert got == "torch.bfloat16", (
        "compute_dtype says in which dtype the stream runs; the weights stay float32"
    )


@pytest.mark.exercise("GPT.features")
def test_ids_that_make_no_sense_are_refused():
    model = made()
    cases = {
        "a row without a batch": torch.tensor([1, 2, 3]),
        "numbers that are no integers": torch.ones(1, 3),
        "no ids at all": torch.zeros(2, 0, dtype=torch.long),
        "an id of 50, where the last one is 49": torch.tensor([[0, 50]]),
        "an id of -1": torch.tensor([[0, -1]]),
        "13 ids for 12 positions": some_ids(1, 13),
    }
    for what, ids in cases.items():
        got = error_of(lambda ids=ids: model.features(ids))
        assert got == "ValueError", f"{what}: a wrong id that goes through comes out as a mystery"


# --- GPT.forward -------------------------------------------------------------------------------------


@pytest.mark.exercise("GPT.forward", points=2)
def test_three_logits_by_hand():
    model = built(gpt.GPTConfig(sequence_len=2, vocab_size=3, n_layer=1, n_head=1, n_kv_head=1, n_embd=2))
    with torch.no_grad():
        model.wte.weight.copy_(torch.tensor([[3.0, 4], [0, 1], [1, 0]]))
        model.lm_head.weight.copy_(torch.tensor([[1.0, 0], [0, 10], [-100, 0]]))
    got = rounded(model(torch.tensor([[0]])), 2)
    assert got == [[[0.85, 9.57, -15.0]]], (
        "(3, 4) is normed to (0.85, 1.13). The head makes 0.85, 11.3 and -84.9; 15 tanh(x / 15) bends them"
    )


@pytest.mark.exercise("GPT.forward", points=2)
def test_the_logits_are_those_of_a_model_written_with_torch():
    model, ids = made(), some_ids()
    assert_same(
        model(ids), logits_by_torch(model, ids), "features, head, softcap: a row of 50 logits a position"
    )


@pytest.mark.exercise("GPT.forward")
def test_no_logit_is_larger_than_the_cap():
    got = made(head=50.0)(some_ids()).abs().max().item()
    assert got <= 15.0, "the largest logit of a head with huge weights: bounded by the cap"
    assert got > 14.9, "and the cap is 15"


@pytest.mark.exercise("GPT.forward")
def test_a_head_of_zeros_finds_every_id_equally_likely():
    got = made(head=0.0)(some_ids()).abs().max().item()
    assert got == 0.0, "logits, not probabilities and not their logarithms: with a head of zeros they are 0"


@pytest.mark.exercise("GPT.forward")
def test_every_position_gets_its_guess_and_all_of_it_is_float32():
    model = made()
    model.compute_dtype = torch.bfloat16
    got = model(some_ids())
    assert tuple(got.shape) == (B, T, 50), "training learns at every position, not only at the last"
    assert str(got.dtype) == "torch.float32", "the activations were bfloat16, whose steps near 15 are 1/16"


@pytest.mark.exercise("GPT.forward")
def test_logits_in_pieces_are_the_logits_at_once():
    model, ids, cache = made(), some_ids(), Kept()
    got = torch.cat([model(ids[:, :4], cache), model(ids[:, 4:], cache)], dim=1)
    assert_same(got, logits_by_torch(model, ids), "4 ids, then 3 more that read the cache")


# --- GPT.loss ----------------------------------------------------------------------------------------


@pytest.mark.exercise("GPT.loss", points=2)
def test_the_loss_of_a_model_that_counts_by_hand():
    ids = torch.tensor([[0, 1, 2, 3]])
    got = round(counting().loss(ids, ids + 1).item(), 3)
    assert got == 0.693, (
        "the right id has e^(ln 7) = 7 shares, the 7 others one each: 7 of 14, and -ln(1/2) = 0.693 nats"
    )
    got = round(counting().loss(ids, ids).item(), 3)
    assert got == 2.639, "targets that are the ids themselves: 1 share of 14, -ln(1/14)"


@pytest.mark.exercise("GPT.loss")
def test_targets_of_minus_one_teach_nothing_and_are_not_counted():
    ids, targets = torch.tensor([[0, 1, 2, 3]]), torch.tensor([[1, -1, 7, -1]])
    got = round(counting().loss(ids, targets).item(), 3)
    assert got == 1.666, "a hit (0.693), a miss (2.639), and two that are left out: the mean of two"


@pytest.mark.exercise("GPT.loss")
def test_a_fresh_head_has_a_loss_that_is_known_on_paper():
    got = round(made(head=0.0).loss(some_ids(), some_ids(seed=2)).item(), 3)
    assert got == 3.912, "every one of 50 ids is equally likely: ln 50, in nats"


@pytest.mark.exercise("GPT.loss", points=2)
def test_the_loss_is_the_cross_entropy_of_the_logits():
    model, ids, targets = made(), some_ids(), some_ids(seed=2)
    wanted = F.cross_entropy(logits_by_torch(model, ids).flatten(0, 1), targets.flatten())
    got = float(f"{abs(model.loss(ids, targets).item() - wanted.item()):.2g}")
    assert got <= 2e-5, f"the difference from F.cross_entropy, which gives {wanted.item():.3f}"


@pytest.mark.exercise("GPT.loss", points=2)
def test_gradients_reach_every_weight_and_are_those_of_torch():
    model, ids, targets = made(), some_ids(), some_ids(seed=2)
    targets[1, 2:] = -1
    model.loss(ids, targets).backward()
    got = {name: one.grad for name, one in model.named_parameters()}
    model.zero_grad()
    logits = logits_by_torch(model, ids).flatten(0, 1)
    F.cross_entropy(logits, targets.flatten(), ignore_index=-1).backward()
    off = sorted({name.split(".")[0] for name, grad in got.items() if grad is None})
    assert off == [], "parts without a gradient: they would never learn"
    wrong = [name for name, one in model.named_parameters() if (got[name] - one.grad).abs().max() > 2e-5]
    assert sorted({name.split(".")[0] for name in wrong}) == [], "parts whose gradients differ from torch's"


@pytest.mark.exercise("GPT.loss")
def test_without_any_target_there_is_no_mean():
    got = str(made().loss(some_ids(), torch.full((B, T), -1)).item())
    assert got == "nan", (
        "nothing counts, so there is nothing to take the mean of; 0 would look like perfection"
    )


@pytest.mark.exercise("GPT.loss")
def test_targets_of_another_shape_are_refused():
    model = made()
    for shape in ((B, T - 1), (T, B), (B * T,)):
        targets = torch.zeros(shape, dtype=torch.long)
        got = error_of(lambda targets=targets: model.loss(some_ids(), targets))
        assert got == "ValueError", (
            f"ids {(B, T)}, targets {shape}: as many numbers in another order is no match"
        )


@pytest.mark.exercise("GPT.loss")
def test_targets_that_are_no_ids_are_refused():
    model = made()
    cases = {
        "a target of -5": torch.full((B, T), -5),
        "a target of 50, where the last id is 49": torch.full((B, T), 50),
        "True and False": some_ids() > 20,
        "numbers that are no integers": torch.ones(B, T),
    }
    for what, targets in cases.items():
        got = error_of(lambda targets=targets: model.loss(some_ids(), targets))
        assert got == "ValueError", f"{what}: without a check a loss may come out, and look like any other"


@pytest.mark.exercise("GPT.loss")
def test_no_logit_for_each_position_and_id_is_kept():
    model = made(gpt.GPTConfig(sequence_len=40, vocab_size=2000, n_layer=1, n_head=2, n_kv_head=2, n_embd=8))
    ids, kept = some_ids(5, 40, 2000), []

    def keep(x):
        kept.append(x.numel())
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        model.loss(ids, ids)
    got = max(kept, default=0)
    assert got < 5 * 40 * 2000, (
        "the most numbers in one tensor kept for the backward pass; all logits are 400,000"
    )


# --- draw --------------------------------------------------------------------------------------------


def shares(logits, temperature: float, top_k: int | None, draws: int = 600) -> list[float]:
    """How often each id is drawn."""
    generator = torch.Generator().manual_seed(3)
    drawn = [gpt.draw(logits, temperature, top_k, generator) for _ in range(draws)]
    return [round(drawn.count(i) / draws, 3) for i in range(len(logits))]


def off(got: list[float], wanted: list[float]) -> float:
    return round(max(abs(a - b) for a, b in zip(got, wanted)), 3)


def one_to_four() -> torch.Tensor:
    """Logits with shares of 1/10, 2/10, 3/10 and 4/10."""
    return torch.tensor([1.0, 2.0, 3.0, 4.0]).log()


# 600 draws: a share of 1/2 has a standard deviation of 0.02, and 0.08 is four of them.
NEAR = 0.08


@pytest.mark.exercise("draw", points=2)
def test_ids_come_as_often_as_softmax_says():
    got = shares(one_to_four(), 1.0, None)
    assert off(got, [0.1, 0.2, 0.3, 0.4]) <= NEAR, f"shares {got} of 600 draws; wanted 0.1, 0.2, 0.3 and 0.4"


@pytest.mark.exercise("draw", points=2)
def test_hot_makes_shares_more_alike_and_cold_less():
    got = shares(one_to_four(), 2.0, None)
    assert off(got, [0.163, 0.230, 0.282, 0.325]) <= NEAR, (
        f"temperature 2, shares {got}: as the roots of 1 to 4"
    )
    got = shares(one_to_four(), 0.5, None)
    assert off(got, [0.033, 0.133, 0.3, 0.533]) <= NEAR, (
        f"temperature 1/2, shares {got}: as the squares of 1 to 4"
    )


@pytest.mark.exercise("draw")
def test_at_temperature_zero_it_is_the_largest_every_time():
    generator = torch.Generator().manual_seed(1)
    logits = torch.tensor([1.0, 1.1, 3.0, 2.9])
    got = {int(gpt.draw(logits, 0.0, top_k, generator)) for top_k in (None, 3, 1) for _ in range(5)}
    assert got == {2}, "no chance, and no division by zero"


@pytest.mark.exercise("draw", points=2)
def test_only_the_k_largest_can_be_drawn():
    got = shares(one_to_four().roll(1), 1.0, 2)
    assert [i for i, share in enumerate(got) if share] == [0, 3], (
        "top_k of 2: ids 0 and 3 have the largest logits"
    )
    assert off(got, [4 / 7, 0, 0, 3 / 7]) <= NEAR, f"shares {got} of two with 4 and 3: 4/7 and 3/7"


@pytest.mark.exercise("draw")
def test_a_top_k_of_one_is_no_choice():
    got = shares(one_to_four(), 5.0, 1, 50)
    assert got == [0, 0, 0, 1], "one id is left, at whatever temperature"


@pytest.mark.exercise("draw")
def test_of_equal_logits_no_more_than_k_are_kept():
    cases = (("eight zeros", torch.zeros(8)), ("3, 1, 1, 1, 0", torch.tensor([3.0, 1.0, 1.0, 1.0, 0.0])))
    for what, logits in cases:
        for top_k in (1, 2):
            got = sum(share > 0 for share in shares(logits, 2.0, top_k, 100))
            assert got == top_k, f"top_k={top_k}, logits {what}: how many ids come, in 100 draws"


@pytest.mark.exercise("draw")
def test_a_top_k_beyond_the_vocabulary_means_all():
    for top_k in (4, 5, 1000):
        got = error_of(lambda top_k=top_k: gpt.draw(one_to_four(), 1.0, top_k, torch.Generator()))
        assert got == "no error", f"top_k of {top_k} for 4 ids: fewer ids than asked for is no mistake"
    got = shares(one_to_four(), 1.0, 4)
    assert off(got, [0.1, 0.2, 0.3, 0.4]) <= NEAR, (
        f"top_k of 4 for 4 ids leaves shares as they are, got {got}"
    )


@pytest.mark.exercise("draw")
def test_all_chance_comes_from_the_generator():
    drawn = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        generator = torch.Generator().manual_seed(7)
        drawn.append([gpt.draw(torch.zeros(100), 1.0, None, generator) for _ in range(5)])
    got = drawn[0] == drawn[1]
    assert got is True, (
        "the same generator, torch's own at another place: the same draws, or a seed is worth nothing"
    )
    assert len(set(drawn[0])) > 1, "five draws of 100 ids: the generator goes on from draw to draw"


@pytest.mark.exercise("draw")
def test_the_logits_stay_as_they_are():
    logits = one_to_four().clone()
    gpt.draw(logits, 0.5, 2, torch.Generator().manual_seed(1))
    assert rounded(logits) == [0, 0.693, 1.099, 1.386], (
        "they belong to the caller, who may draw from them again"
    )


@pytest.mark.exercise("draw")
def test_large_logits_at_a_low_temperature_are_no_trouble():
    got = shares(torch.tensor([14.0, 15.0, -15.0]), 0.05, None, 50)
    assert got == [0, 1, 0], (
        "15 / 0.05 is 300, and e^300 is too large for float32; softmax knows how to avoid it"
    )


@pytest.mark.exercise("draw")
def test_an_id_is_a_plain_number():
    for temperature in (0.0, 1.0):
        got = type(gpt.draw(one_to_four(), temperature, None, torch.Generator())).__name__
        assert got == "int", f"temperature {temperature}: a tokenizer wants numbers, not tensors"


# --- GPT.generate ------------------------------------------------------------------------------------


def slowly(model, ids: list[int], n: int) -> list[int]:
    """The likeliest id, n times, by the model written with torch."""
    ids = list(ids)
    for _ in range(n):
        seen = torch.tensor([ids[-model.config.sequence_len :]])
        ids.append(int(logits_by_torch(model, seen)[0, -1].argmax()))
    return ids[-n:]


@pytest.mark.exercise("GPT.generate", points=2)
def test_a_model_that_counts_goes_on_counting():
    got = list(counting().generate([2, 3], 4, temperature=0))
    assert got == [4, 5, 6, 7], "four further ids, without the two that were given"


@pytest.mark.exercise("GPT.generate")
def test_the_whole_text_is_read_and_not_its_last_id_alone():
    model = made(SLIM)
    for start in ([4, 8, 15], [16, 8, 15]):
        got = list(model.generate(list(start), 3, temperature=0))
        assert got == slowly(model, start, 3), f"after {start}, by the model written with torch"


@pytest.mark.exercise("GPT.generate", points=2)
def test_beyond_the_positions_it_has_the_oldest_ids_are_forgotten():
    model, start = made(SLIM), some_ids(1, 20).tolist()[0]
    for n in (11, 20):
        got = list(model.generate(start[:n], 3, temperature=0))
        assert got == slowly(model, start[:n], 3), (
            f"{n} ids to begin with, 12 positions: it reads the newest 12"
        )


@pytest.mark.exercise("GPT.generate")
def test_as_many_ids_as_were_asked_for():
    got = [len(list(made(SLIM).generate([1], n))) for n in (0, 14)]
    assert got == [0, 14], "0 is a number of ids as well, and 14 are more than the model has positions"


@pytest.mark.exercise("GPT.generate")
def test_the_ids_that_were_given_stay_as_they_are():
    start = [2, 3]
    list(counting().generate(start, 3, temperature=0))
    assert start == [2, 3], "the list belongs to the caller: a second call would begin with other ids"


@pytest.mark.exercise("GPT.generate")
def test_each_id_is_given_away_before_the_next_one_is_computed():
    model = counting()
    stream = model.generate([2], 3, temperature=0)
    got = [next(stream)]
    with torch.no_grad():
        model.lm_head.weight.copy_(torch.eye(8))  # from now on the model repeats what it reads
    got += list(stream)
    assert got == [3, 3, 3], (
        "after the first id the weights were changed: who reads along sees each id as it comes"
    )


@pytest.mark.exercise("GPT.generate", points=2)
def test_the_same_seed_gives_the_same_text_and_another_seed_another():
    model, texts = made(SLIM, head=0.1), []
    for seed, noise in ((1, 1), (1, 2), (2, 1)):
        torch.manual_seed(noise)
        texts.append(list(model.generate([1], 8, seed=seed)))
    assert texts[0] == texts[1], "seed 1 twice, torch's own generator at different places"
    assert (texts[0] != texts[2]) is True, "seeds 1 and 2 gave the same 8 ids of 50"


@pytest.mark.exercise("GPT.generate")
def test_torch_goes_on_drawing_where_it_was():
    torch.manual_seed(4)
    wanted = rounded(torch.rand(3))
    torch.manual_seed(4)
    list(made(SLIM).generate([1], 3, seed=9))
    got = rounded(torch.rand(3))
    assert got == wanted, (
        "generate has a generator of its own: it must not set torch's, from which others draw"
    )


@pytest.mark.exercise("GPT.generate")
def test_every_draw_is_a_new_one():
    got = len(set(made(SLIM, head=0.0).generate([1], 12)))
    assert got > 4, (
        "12 draws, all 50 ids equally likely: a generator made anew for each id draws the same again"
    )


@pytest.mark.exercise("GPT.generate")
def test_temperature_and_top_k_are_passed_on():
    model = counting(2.0)  # the next number has e^2 = 7.4 shares of 14.4
    got = list(model.generate([0], 7, temperature=0.05))
    assert got == [1, 2, 3, 4, 5, 6, 7], "temperature 0.05: as good as certain"
    got = list(model.generate([0], 7, temperature=5.0, top_k=1))
    assert got == [1, 2, 3, 4, 5, 6, 7], "temperature 5, but only the likeliest may be drawn"
    drawn = [0, *model.generate([0], 24, temperature=100.0)]
    hits = sum(b == (a + 1) % 8 for a, b in itertools.pairwise(drawn))
    assert hits <= 9, "temperature 100: all ids are nearly alike, and one in eight counts on (of 24)"


@pytest.mark.exercise("GPT.generate")
def test_settings_that_make_no_sense_are_refused():
    model = made(SLIM)
    cases = {
        "top_k=0": {"top_k": 0},
        "top_k=-1": {"top_k": -1},
        "temperature=-1": {"temperature": -1.0},
        "max_tokens=-1": {"max_tokens": -1},
    }
    for what, settings in cases.items():
        got = error_of(lambda settings=settings: list(model.generate([1], **{"max_tokens": 2, **settings})))
        assert got == "ValueError", f"{what}: say so, before something worse is said"


@pytest.mark.exercise("GPT.generate")
def test_the_ids_go_where_the_weights_are():
    model = counting()
    with torch.device(
        "meta"
    ):  # what is made without device= goes there, as it goes to the CPU for a GPU's model
        got = error_of(lambda: list(model.generate([2], 2, temperature=0)))
    assert got == "no error", (
        "the weights are on the CPU, so the ids must be put there, and not left elsewhere"
    )


# --- count_parameters --------------------------------------------------------------------------------

SMALL = gpt.GPTConfig(sequence_len=5, vocab_size=10, n_layer=2, n_head=2, n_kv_head=1, n_embd=4)


@pytest.mark.exercise("count_parameters", points=2)
def test_a_small_model_counted_by_hand():
    got = gpt.count_parameters(SMALL)
    wanted = {"embedding": 40, "attention": 96, "mlp": 256, "head": 40, "total": 432}
    assert got == wanted, (
        "a layer: queries 4x4, keys 4x2, values 4x2, mixing 4x4 make 48; MLP 4x16 and 16x4 make 128. Two layers"
    )


@pytest.mark.exercise("count_parameters")
def test_ours_of_depth_8_and_the_d20_of_nanochat():
    got = gpt.count_parameters(gpt.GPTConfig(256, 8192, 8, 2, 2, 256))["total"]
    assert got == 10_485_760, "8 layers of 256 features, 8,192 ids"
    got = gpt.count_parameters(gpt.GPTConfig(2048, 65536, 20, 10, 10, 1280))["total"]
    assert got == 560_988_160, "what nanochat prints for its model of depth 20, November 2025"


@pytest.mark.exercise("count_parameters")
def test_the_counts_are_the_sizes_of_real_parameters():
    for config in (SHAPE, gpt.GPTConfig(9, 33, 5, 6, 3, 48), gpt.GPTConfig(4, 7, 1, 4, 1, 8)):
        got = gpt.count_parameters(config)
        with torch.device("meta"):
            model = gpt.GPT(config)
        real = {"embedding": "wte", "attention": ".attn.", "mlp": ".mlp.", "head": "lm_head", "total": ""}
        for part, mark in real.items():
            wanted = sum(one.numel() for name, one in model.named_parameters() if mark in name)
            assert got[part] == wanted, f"{part} of {config}"


# --- flops_per_token ---------------------------------------------------------------------------------


@pytest.mark.exercise("flops_per_token", points=2)
def test_the_work_of_a_small_model_by_hand():
    got = gpt.flops_per_token(SMALL)
    assert got == 2832, (
        "392 weights multiply (432, less 40 of the embedding): 6 each. And 12 x 2 layers x 4 features x 5 positions"
    )


@pytest.mark.exercise("flops_per_token")
def test_the_work_of_the_d20_of_nanochat():
    got = gpt.flops_per_token(gpt.GPTConfig(2048, 65536, 20, 10, 10, 1280))
    assert got == 3_491_758_080, "2.86 billion for weights, 0.63 billion for attention over 2,048 positions"


@pytest.mark.exercise("flops_per_token")
def test_a_larger_vocabulary_costs_in_the_head_only():
    got = gpt.flops_per_token(gpt.GPTConfig(5, 11, 2, 2, 1, 4)) - gpt.flops_per_token(SMALL)
    assert got == 6 * 4, (
        "one more id is a row of 4 more weights in the head, 6 operations each; a look-up is free"
    )


@pytest.mark.exercise("flops_per_token")
def test_twice_the_length_costs_in_attention_only():
    got = gpt.flops_per_token(gpt.GPTConfig(10, 10, 2, 2, 1, 4)) - gpt.flops_per_token(SMALL)
    assert got == 480, "10 positions instead of 5: 12 operations for each of 5 more, 4 features, 2 layers"


@pytest.mark.exercise("flops_per_token")
def test_torch_counts_the_same_operations():
    from torch.utils.flop_counter import FlopCounterMode

    got, model, ids = gpt.flops_per_token(SHAPE), made(), some_ids(2, 12)
    with FlopCounterMode(display=False) as counter:
        logits_by_torch(model, ids).sum().backward()
    wanted = counter.get_total_flops() // ids.numel()
    assert got == wanted, "the matrix products of a forward and a backward pass of 24 ids, divided by 24"


# --- training_bytes ----------------------------------------------------------------------------------


@pytest.mark.exercise("training_bytes", points=2)
def test_the_memory_of_a_small_model_by_hand():
    got = gpt.training_bytes(SMALL, 3)
    wanted = {"weights": 1728, "gradients": 1728, "moments": 3456, "activations": 9120, "total": 16032}
    assert got == wanted, (
        "432 weights of 4 bytes; 15 positions of 2 x (16 x 4 + 3 x 2) + 3 x 4 = 152 numbers of 4 bytes"
    )


@pytest.mark.exercise("training_bytes")
def test_twice_the_batch_is_twice_the_activations_and_nothing_else():
    one, two = gpt.training_bytes(SHAPE, 1), gpt.training_bytes(SHAPE, 2)
    got = [part for part in ("weights", "gradients", "moments", "activations") if two[part] != one[part]]
    assert got == ["activations"], "weights are held once, however many sequences go through them"
    assert two["activations"] == 2 * one["activations"], "activations of two sequences"


@pytest.mark.exercise("training_bytes")
def test_shared_keys_are_kept_once():
    few, many = gpt.GPTConfig(8, 9, 3, 4, 1, 16), gpt.GPTConfig(8, 9, 3, 4, 4, 16)
    got = gpt.training_bytes(many, 1)["activations"] - gpt.training_bytes(few, 1)["activations"]
    assert got == 4 * 8 * 3 * 3 * 12, (
        "4 bytes, 8 positions, 3 layers, 3 times 12 more features of keys and values"
    )


def kept_by_torch(config, batch: int) -> int:
    """Bytes that torch really keeps: a block written out, layer after layer, and the two norms around them."""
    kept, size = {}, config.n_embd // config.n_head
    weights = {name: one.detach().requires_grad_() for name, one in made(config).named_parameters()}
    known = {one.data_ptr() for one in weights.values()}

    def keep(x):
        if x.untyped_storage().data_ptr() not in known:
            kept[x.untyped_storage().data_ptr()] = (x, x.untyped_storage().nbytes())
        return x

    def norm(x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)

    def turned(x):
        a, b = x.chunk(2, dim=-1)
        return norm(torch.cat([a * cos + b * sin, b * cos - a * sin], dim=-1))

    b, t = batch, config.sequence_len
    ids, turn = some_ids(b, t, config.vocab_size), angles(t, size).float()
    cos, sin = turn.cos(), turn.sin()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        x = norm(F.embedding(ids, weights["wte.weight"]))
        for i in range(config.n_layer):
            w, h = {n.split(".")[-2]: one for n, one in weights.items() if f"blocks.{i}.attn" in n}, norm(x)
            q, k, v = (F.linear(h, w[f"c_{one}"]).view(b, t, -1, size).transpose(1, 2) for one in "qkv")
            shared = config.n_kv_head != config.n_head
            y = F.scaled_dot_product_attention(turned(q), turned(k), v, is_causal=True, enable_gqa=shared)
            x = x + F.linear(y.transpose(1, 2).reshape(b, t, -1), w["c_proj"])
            h = F.relu(F.linear(norm(x), weights[f"blocks.{i}.mlp.c_fc.weight"])).square()
            x = x + F.linear(h, weights[f"blocks.{i}.mlp.c_proj.weight"])
        F.linear(norm(x), weights["lm_head.weight"])
    return sum(size for _, size in kept.values())


@pytest.mark.exercise("training_bytes")
def test_torch_really_keeps_about_that_much():
    for config, batch in ((gpt.GPTConfig(64, 30, 2, 2, 2, 64), 2), (gpt.GPTConfig(32, 30, 3, 4, 4, 128), 1)):
        got = gpt.training_bytes(config, batch)["activations"] / kept_by_torch(config, batch)
        assert abs(got - 1) <= 0.05, f"{got:.2f} of what torch keeps for the backward pass, by its own hooks"
