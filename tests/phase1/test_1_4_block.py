"""Graded tests of lesson 1.4: an MLP and a block, by hand, against torch's own functions, and with stubs inside.

Judges: numbers that one can check on paper, F.linear, F.rms_norm and F.scaled_dot_product_attention, and
modules that only write down what they were given, put in the place of a block's attention and MLP. Sizes differ
from one another (B = 3, T = 5, H = 6, G = 2, D = 4), so that axes can't be mistaken for each other unnoticed.
"""

import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mini_nanochat.model import block

B, T, H, G, D = 3, 5, 6, 2, 4
WIDTH = H * D
# float32 keeps seven digits, our numbers are about 1 to 30, and a norm with another eps moves them by 2e-5; a
# real mistake moves them by 1e-2 or more.
CLOSE = 2e-4


def numbers(*shape: int, seed: int = 1) -> torch.Tensor:
    """Normal numbers, the same each time."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def assert_same(got: torch.Tensor, wanted: torch.Tensor, why: str, within: float = CLOSE) -> None:
    assert tuple(got.shape) == tuple(wanted.shape), why
    difference = float(f"{(got.double() - wanted.double()).abs().max().item():.2g}")
    assert difference <= within, f"{why} (the largest difference is compared)"


def rounded(x: torch.Tensor) -> list:
    """As nested lists, three digits: what one checks on paper."""
    return (x.detach().double() * 1000).round().div(1000).add(0.0).tolist()


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def broken(made: nn.Module) -> nn.Module:
    """With NaN in every weight: what `init` forgets is seen."""
    with torch.no_grad():
        for weight in made.parameters():
            weight.fill_(float("nan"))
    return made


def listed(names) -> str:
    """As one line, which is what a card has room for."""
    return ", ".join(name.replace(".weight", "") for name in names) or "none"


def unset(made: nn.Module) -> str:
    """The matrices in which a NaN is left."""
    return listed(name for name, weight in made.named_parameters() if weight.isnan().any())


def filled(made: nn.Module, size: float = 0.3) -> nn.Module:
    """With weights that are the same each time, and nowhere zero."""
    with torch.no_grad():
        for seed, weight in enumerate(made.parameters()):
            weight.copy_(numbers(*weight.shape, seed=seed + 10) * size)
    return made


def weights_of(made: nn.Module) -> dict[str, torch.Tensor]:
    """A copy of each matrix. NaN, which means not set, counts as 0: another check looks for that."""
    return {name: weight.detach().nan_to_num() for name, weight in made.named_parameters()}


def begun_twice(make) -> str:
    """The matrices that differ if `init` gets the same generator twice, and torch another global seed."""
    found = []
    for anywhere in (1, 2):
        made = broken(make())
        torch.manual_seed(anywhere)
        made.init(seeded(5))
        found.append(weights_of(made))
    return listed(name for name in found[0] if not torch.equal(found[0][name], found[1][name]))


def parameters_after_init(made: nn.Module) -> str:
    """Whether they are the objects that were there before."""
    before = list(made.parameters())
    made.init(seeded(1))
    same = all(now is old for now, old in zip(made.parameters(), before))
    return "the same objects" if same else "other objects"


def changed_by(made: nn.Module, wanted: torch.Tensor) -> list[int]:
    """The positions at which the module's output is not the wanted one."""
    by = (made - wanted).abs().amax((0, 2)).tolist()
    return [i for i, one in enumerate(by) if one > CLOSE]


# --- MLP.init ----------------------------------------------------------------------------------------


@pytest.mark.exercise("MLP.init")
def test_both_matrices_of_an_mlp_are_set():
    made = broken(block.MLP(6))
    made.init()
    assert unset(made) == "none", "these matrices still hold what happened to lie in memory"


@pytest.mark.exercise("MLP.init")
def test_what_an_mlp_writes_begins_as_zero():
    made = broken(block.MLP(6))
    made.init(seeded(1))
    got = round(made.c_proj.weight.abs().max().item(), 2)
    assert got == 0.0, "the largest number in c_proj: an MLP that has learned nothing should add nothing"


@pytest.mark.exercise("MLP.init")
def test_the_features_of_an_mlp_begin_at_random():
    made = broken(block.MLP(100))
    made.init(seeded(1))
    weight = made.c_fc.weight.detach()
    got = [round(weight.mean().item(), 2) + 0.0, round(weight.std().item(), 2)]
    assert got == [0.0, 0.1], (
        "mean and standard deviation of c_fc: (400, 100), so 1 / sqrt(100) as in lesson 1.1. Zeros can't tell "
        "one feature from another"
    )


@pytest.mark.exercise("MLP.init")
def test_the_numbers_of_an_mlp_come_from_the_generator():
    got = begun_twice(lambda: block.MLP(6))
    assert got == "none", (
        "matrices that began otherwise the second time, with a generator of the same seed (only torch's global "
        "seed was another one): who hands you a generator wants to repeat the run"
    )


@pytest.mark.exercise("MLP.init")
def test_two_mlps_from_one_generator_differ():
    generator, first, second = seeded(5), broken(block.MLP(6)), broken(block.MLP(6))
    first.init(generator)
    second.init(generator)
    got = round((first.c_fc.weight - second.c_fc.weight).abs().max().item(), 2)
    assert got > 0.1, (
        "the largest difference: two layers that begin alike have nothing to divide between them"
    )


@pytest.mark.exercise("MLP.init")
def test_two_mlps_without_a_generator_differ():
    first, second = broken(block.MLP(6)), broken(block.MLP(6))
    first.init()
    second.init()
    got = round((first.c_fc.weight - second.c_fc.weight).abs().max().item(), 2)
    assert got > 0.1, (
        "the largest difference, with init() twice. None means torch's global generator, which goes on; a new "
        "torch.Generator() has the same seed each time"
    )


@pytest.mark.exercise("MLP.init")
def test_an_mlp_keeps_its_parameters():
    assert parameters_after_init(broken(block.MLP(6))) == "the same objects", (
        "an optimizer that was made before init holds the old nn.Parameter objects, and would train those: init "
        "puts new numbers into them"
    )


# --- MLP.forward -------------------------------------------------------------------------------------

# Four features that see a + b, -(a + b), a - b and b - a, and four that see nothing. Squares, when half of them
# are off: (a + b)^2 and (a - b)^2; a quarter of their difference is a times b.
SEES = [[1, 1], [-1, -1], [1, -1], [-1, 1], [0, 0], [0, 0], [0, 0], [0, 0]]
WRITES = [[0.25, 0.25, -0.25, -0.25, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0]]


def by_hand() -> nn.Module:
    """An MLP for two features: writes a times b into the first, and (a + b)^2, if a + b > 0, into the second."""
    made = block.MLP(2)
    with torch.no_grad():
        made.c_fc.weight.copy_(torch.tensor(SEES))
        made.c_proj.weight.copy_(torch.tensor(WRITES))
    return made


@pytest.mark.exercise("MLP.forward", points=2)
def test_an_mlp_that_multiplies_by_hand():
    got = rounded(by_hand()(torch.tensor([[3.0, 4], [-2, 5], [0, 7], [-3, -3]])))
    assert got == [[12, 49], [-10, 9], [0, 49], [9, 0]], (
        "(3, 4): features 7, -7, -1, 1; what is negative is off, the rest squared: 49, 0, 0, 1; "
        "49/4 - 1/4 = 12 = 3 times 4, and 49"
    )


@pytest.mark.exercise("MLP.forward")
def test_it_is_two_matrices_and_a_squared_relu_between_them():
    made = filled(block.MLP(WIDTH))
    for shape in ((B, T, WIDTH), (T, WIDTH), (WIDTH,)):
        x = numbers(*shape)
        features = F.relu(F.linear(x, made.c_fc.weight)).pow(2)
        wanted = F.linear(features, made.c_proj.weight)
        assert_same(made(x), wanted, f"the functions of torch, for x of shape {shape}")


@pytest.mark.exercise("MLP.forward")
def test_an_input_twice_as_large_gives_four_times_as_much():
    made, x = filled(block.MLP(WIDTH)), numbers(B, T, WIDTH)
    got = (made(2 * x) / made(x)).median().item()
    assert round(got, 2) == 4.0, (
        "how much larger the output is (the median): squares grow so; and the norm is the business of the block"
    )


@pytest.mark.exercise("MLP.forward")
def test_a_feature_that_is_off_writes_nothing():
    made = by_hand()
    with torch.no_grad():
        made.c_proj.weight.copy_(torch.tensor([[1.0, 0, 0, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0, 0, 0]]))
    got = rounded(made(torch.tensor([[1.0, 1], [-1, -1]])))
    assert got == [[4, 0], [0, 4]], (
        "the first feature sees a + b, the second -(a + b): never both; the square of a negative number is "
        "positive, so what is negative must be cut before"
    )


@pytest.mark.exercise("MLP.forward")
def test_positions_in_another_order_give_the_same_in_that_order():
    made, x, order = filled(block.MLP(WIDTH)), numbers(B, T, WIDTH), [3, 0, 4, 1, 2]
    assert_same(made(x[:, order]), made(x)[:, order], "an MLP sees one position at a time, and no neighbours")


@pytest.mark.exercise("MLP.forward")
def test_gradients_of_the_product_are_those_of_school():
    x = torch.tensor([[3.0, 4], [-2, 5]], requires_grad=True)
    by_hand()(x)[:, 0].sum().backward()
    got = rounded(torch.zeros(2, 2) if x.grad is None else x.grad)
    assert got == [[4, 3], [5, -2]], "a times b has slope b in a, and a in b: what is learned goes this way"


@pytest.mark.exercise("MLP.forward")
def test_an_mlp_in_bfloat16_stays_in_bfloat16():
    got = str(filled(block.MLP(WIDTH))(numbers(T, WIDTH).bfloat16()).dtype)
    assert got == "torch.bfloat16", "weights are float32, activations are what came in (lesson 1.1)"


# --- Block.init --------------------------------------------------------------------------------------


def as_is(x: torch.Tensor) -> torch.Tensor:
    """No rotation at all."""
    return x


def turn(first: int, n: int):
    """A rotation of pairs by an angle that grows with the position, from `first` on."""
    angle = torch.arange(first, first + n, dtype=torch.float32)[:, None] * torch.tensor([0.9, 0.2])
    cos, sin = angle.cos(), angle.sin()

    def rotate(x: torch.Tensor) -> torch.Tensor:
        a, b = x.chunk(2, dim=-1)
        return torch.cat([a * cos + b * sin, b * cos - a * sin], dim=-1)

    return rotate


def normed(x: torch.Tensor) -> torch.Tensor:
    return F.rms_norm(x, x.shape[-1:], eps=1e-6)


def block_of_torch(made, x: torch.Tensor, rotate) -> torch.Tensor:
    """What a block must give, in functions of torch, with the block's own weights."""

    def heads(matrix, h):
        return F.linear(h, matrix.weight).unflatten(-1, (-1, D)).transpose(1, 2)

    attn, h = made.attn, normed(x)
    q, k, v = (heads(matrix, h) for matrix in (attn.c_q, attn.c_k, attn.c_v))
    q, k = normed(rotate(q)), normed(rotate(k))
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    x = x + F.linear(y.transpose(1, 2).flatten(2), attn.c_proj.weight)
    features = F.relu(F.linear(normed(x), made.mlp.c_fc.weight)).pow(2)
    return x + F.linear(features, made.mlp.c_proj.weight)


@pytest.mark.exercise("Block.init")
def test_all_six_matrices_of_a_block_are_set():
    made = broken(block.Block(WIDTH, H, G))
    made.init()
    assert unset(made) == "none", "these matrices still hold what happened to lie in memory"


@pytest.mark.exercise("Block.init")
def test_both_writes_of_a_block_begin_as_zero():
    made = broken(block.Block(WIDTH, H, G))
    made.init(seeded(1))
    got = [round(m.weight.abs().max().item(), 2) for m in (made.attn.c_proj, made.mlp.c_proj)]
    assert got == [0.0, 0.0], (
        "the largest number in c_proj of attention and of the MLP: a new block must leave the stream as it is"
    )


@pytest.mark.exercise("Block.init")
def test_what_a_block_reads_with_begins_at_random():
    made = broken(block.Block(100, 10, 5))
    made.init(seeded(1))
    matrices = (made.attn.c_q, made.attn.c_k, made.attn.c_v, made.mlp.c_fc)
    got = [round(matrix.weight.std().item(), 2) for matrix in matrices]
    assert got == [0.1, 0.07, 0.07, 0.1], (
        "standard deviations of c_q, c_k, c_v and c_fc, sizes as in lesson 1.1: c_k and c_v make 50 features of "
        "100, so 0.1 times sqrt(50/100)"
    )


@pytest.mark.exercise("Block.init")
def test_no_two_matrices_of_a_block_begin_alike():
    made = broken(block.Block(WIDTH, H, H))
    made.init(seeded(1))
    first = {name: weight[:WIDTH] for name, weight in made.named_parameters() if "c_proj" not in name}
    pairs = [f"{a} = {b}" for a in first for b in first if a < b and torch.equal(first[a], first[b])]
    got = listed(pairs[:1])  # one is enough for a card
    assert got == "none", "if c_q and c_k hold the same numbers, every position looks for itself"


@pytest.mark.exercise("Block.init")
def test_the_numbers_of_a_block_come_from_the_generator():
    got = begun_twice(lambda: block.Block(WIDTH, H, G))
    assert got == "none", (
        "matrices that began otherwise the second time, with a generator of the same seed (only torch's global "
        "seed was another one): who hands you a generator wants to repeat the run"
    )


def alike(first: nn.Module, second: nn.Module) -> str:
    """The matrices that hold the same numbers in both, but for those that begin as zero."""
    pairs = zip(first.named_parameters(), second.parameters())
    return listed(name for (name, one), other in pairs if "c_proj" not in name and torch.equal(one, other))


@pytest.mark.exercise("Block.init")
def test_two_blocks_from_one_generator_differ():
    generator, first, second = seeded(5), broken(block.Block(WIDTH, H, G)), broken(block.Block(WIDTH, H, G))
    first.init(generator)
    second.init(generator)
    got = alike(first, second)
    assert got == "none", (
        "matrices that are the same in both blocks: twelve blocks that begin alike learn alike"
    )


@pytest.mark.exercise("Block.init")
def test_two_blocks_without_a_generator_differ():
    first, second = broken(block.Block(WIDTH, H, G)), broken(block.Block(WIDTH, H, G))
    first.init()
    second.init()
    got = alike(first, second)
    assert got == "none", (
        "matrices that are the same in both blocks, with init() twice. None means torch's global generator, "
        "which goes on; a new torch.Generator() has the same seed each time"
    )


@pytest.mark.exercise("Block.init")
def test_a_block_keeps_its_parameters():
    assert parameters_after_init(broken(block.Block(WIDTH, H, G))) == "the same objects", (
        "an optimizer that was made before init holds the old nn.Parameter objects, and would train those: init "
        "puts new numbers into them"
    )


@pytest.mark.exercise("Block.init")
def test_the_mlp_is_asked_to_set_its_own_weights():
    made, calls, ours = block.Block(WIDTH, H, G), [], seeded(1)

    def note(generator=None):
        kinds = {id(None): "nothing", id(ours): "the generator"}
        calls.append(kinds.get(id(generator), "another one"))

    made.mlp.init = note
    made.init(ours)
    assert len(calls) == 1, (
        "how often mlp.init was called. Never: who swaps in another MLP would have to rewrite the block. Twice: "
        "the first numbers are thrown away, and all that are drawn later are others"
    )
    assert calls[0] == "the generator", (
        "what mlp.init was called with: a run can be repeated only if all numbers come from one generator"
    )


@pytest.mark.exercise("Block.init", points=2)
def test_a_new_block_can_learn():
    made = broken(block.Block(WIDTH, H, G))
    made.init(seeded(1))
    x = numbers(B, T, WIDTH)
    (block_of_torch(made, x, turn(0, T)) * numbers(B, T, WIDTH, seed=2)).sum().backward()
    got = listed(
        name for name, weight in made.named_parameters() if weight.grad is not None and weight.grad.any()
    )
    assert got == "attn.c_proj, mlp.c_proj", (
        "who gets a gradient in the first step: the two that write, and through them the others in the second"
    )


# --- Block.forward -----------------------------------------------------------------------------------


class Stub(nn.Module):
    """Writes what it was told to, and keeps what it was called with."""

    def __init__(self, writes) -> None:
        super().__init__()
        self.writes, self.calls = torch.tensor(writes), []

    def forward(self, x, rotate=None, cache=None):
        self.calls.append((x.clone(), rotate, cache))
        return self.writes.expand_as(x).clone()

    def read(self) -> list:
        """What it was given at its first call."""
        return rounded(self.calls[0][0]) if self.calls else []


class Empty:
    """A cache that nothing is in yet, so that bool() of it is False; it keeps what it is given."""

    def __init__(self) -> None:
        self.k, self.v = [], []

    def __len__(self) -> int:
        return len(self.k)

    def insert(self, layer, k, v):
        self.k.append(k)
        self.v.append(v)
        return torch.cat(self.k, 2), torch.cat(self.v, 2)


def with_stubs(attn, mlp):
    """A block for two features, with stubs in the place of its parts."""
    made = block.Block(2, 1, 1)
    made.attn, made.mlp = Stub(attn), Stub(mlp)
    return made


def run(made, x, rotate=as_is, cache=None):
    with torch.no_grad():
        return made(x, rotate, cache)


@pytest.mark.exercise("Block.forward", points=2)
def test_both_writes_are_added_to_the_stream():
    made = with_stubs([1.0, 0.0], [0.0, 2.0])
    got = rounded(run(made, torch.tensor([[[3.0, 4], [0, 1]]])))
    assert got == [[[4, 6], [1, 3]]], (
        "attention writes (1, 0) everywhere, the MLP (0, 2): the stream (3, 4) becomes (4, 6), and is not normed"
    )


@pytest.mark.exercise("Block.forward")
def test_attention_reads_the_stream_normed():
    made = with_stubs([1.0, 0.0], [0.0, 2.0])
    run(made, torch.tensor([[[3.0, 4]]]))
    assert made.attn.read() == [[[0.849, 1.131]]], (
        "what attention was given: (3, 4) has mean square 12.5, and divided by its root it has size 1"
    )


@pytest.mark.exercise("Block.forward")
def test_the_mlp_reads_what_attention_has_written_normed():
    made = with_stubs([1.0, 0.0], [0.0, 2.0])
    run(made, torch.tensor([[[3.0, 4]]]))
    assert made.mlp.read() == [[[1, 1]]], (
        "what the MLP was given: attention has made (4, 4) of (3, 4), and normed that is (1, 1)"
    )


@pytest.mark.exercise("Block.forward")
def test_a_block_that_writes_nothing_changes_nothing():
    made, x = with_stubs([0.0, 0.0], [0.0, 0.0]), numbers(B, T, 2) * 30
    assert_same(run(made, x), x, "a hundred new blocks must let everything through, to the last digit", 0)


@pytest.mark.exercise("Block.forward")
def test_each_part_is_asked_once():
    made = with_stubs([1.0, 0.0], [0.0, 2.0])
    run(made, torch.tensor([[[3.0, 4]]]))
    got = [len(made.attn.calls), len(made.mlp.calls)]
    assert got == [1, 1], "calls of attention and of the MLP: a second call puts keys into the cache twice"


def handed(made, place: int, what) -> str:
    """Whether argument number `place` of attention's first call was the very object."""
    if not made.attn.calls:
        return "attention was not called"
    got = made.attn.calls[0][place]
    return "the same" if got is what else "none" if got is None else "another one"


def rotated(made) -> list | str:
    """What the rotation in attention's hands makes of (1, 2)."""
    if handed(made, 1, None) != "another one":
        return "no rotation"
    return rounded(made.attn.calls[0][1](torch.tensor([1.0, 2])))


@pytest.mark.exercise("Block.forward")
def test_rotate_is_handed_to_attention():
    made = with_stubs([1.0, 0.0], [0.0, 2.0])
    run(made, torch.tensor([[[3.0, 4]]]), rotate=lambda heads: 7 * heads)
    assert rotated(made) == [7, 14], (
        "the block got a `rotate` that takes everything times 7; this is what attention's makes of (1, 2). "
        "With none, or with another one, no position knows where it stands"
    )


@pytest.mark.exercise("Block.forward")
def test_the_cache_is_handed_to_attention():
    for cache in (object(), None):
        made = with_stubs([1.0, 0.0], [0.0, 2.0])
        run(made, torch.tensor([[[3.0, 4]]]), cache=cache)
        got = handed(made, 2, cache)
        assert got == "the same", "the cache, in attention's hands: without it each new word forgets the rest"


@pytest.mark.exercise("Block.forward")
def test_an_empty_cache_is_a_cache():
    made, cache = with_stubs([1.0, 0.0], [0.0, 2.0]), Empty()
    run(made, torch.tensor([[[3.0, 4]]]), cache=cache)
    got = handed(made, 2, cache)
    assert got == "the same", (
        "the cache, in attention's hands, before anything is in it: its len is 0, so bool(cache) is False"
    )


@pytest.mark.exercise("Block.forward")
def test_the_stream_of_the_caller_stays_as_it_was():
    made, x = with_stubs([1.0, 0.0], [0.0, 2.0]), torch.tensor([[[3.0, 4]]])
    run(made, x)
    assert x.tolist() == [[[3, 4]]], (
        "the caller may still need x, and so does the backward pass: `x += ...` writes into the tensor that was given"
    )


@pytest.mark.exercise("Block.forward", points=2)
def test_the_whole_block_is_that_of_torch():
    for kv in (H, G, 1):
        made, x = filled(block.Block(WIDTH, H, kv)), numbers(B, T, WIDTH) * 3
        wanted = block_of_torch(made, x, turn(0, T)).detach()
        assert_same(
            run(made, x, turn(0, T)), wanted, f"6 heads, {kv} of keys: norm, attention, add, norm, MLP, add"
        )


@pytest.mark.exercise("Block.forward")
def test_a_block_sees_nothing_that_is_to_come():
    made, x = filled(block.Block(WIDTH, H, G)), numbers(1, T, WIDTH)
    other = x.clone()
    other[:, 3] += 1
    got = changed_by(run(made, other, turn(0, T)), run(made, x, turn(0, T)))
    assert got == [3, 4], "position 3 was changed: 3 and 4 may move, what came before must not"


@pytest.mark.exercise("Block.forward")
def test_what_attention_adds_does_not_grow_with_the_stream():
    made, x = filled(block.Block(WIDTH, H, G)), numbers(B, T, WIDTH)
    made.mlp = Stub([0.0])
    small, large = (run(made, by * x, turn(0, T)) - by * x for by in (1, 8))
    assert_same(large, small, "a stream 8 times as large: attention reads it normed, and writes the same")


@pytest.mark.exercise("Block.forward")
def test_what_the_mlp_adds_does_not_grow_with_the_stream():
    made, x = filled(block.Block(WIDTH, H, G)), numbers(B, T, WIDTH)
    made.attn = Stub([0.0])
    small, large = (run(made, by * x, turn(0, T)) - by * x for by in (1, 8))
    assert_same(large, small, "a stream 8 times as large: the MLP reads it normed, and writes the same")


@pytest.mark.exercise("Block.forward", points=2)
def test_a_block_in_pieces_with_a_cache_says_the_same_as_at_once():
    made, x = filled(block.Block(WIDTH, H, G)), numbers(B, T, WIDTH)
    whole = run(made, x, turn(0, T))
    for sizes in ((1, 1, 1, 1, 1), (3, 2), (5,)):
        cache, pieces, first = Empty(), [], 0
        for n in sizes:
            pieces.append(run(made, x[:, first : first + n], turn(first, n), cache))
            first += n
        assert_same(torch.cat(pieces, 1), whole, f"pieces of {sizes} positions, one after the other")
        assert len(cache) == len(sizes), "how often keys were put into the cache: once for each piece"


def x_in_training(made: nn.Module, width: int) -> str:
    """Whether torch complains, forward and backward, that something was overwritten."""
    x = numbers(1, 3, width).requires_grad_()
    try:
        made(x, as_is).sum().backward()
    except RuntimeError as error:
        if not re.search("in-?place", str(error)):
            raise
        return "overwritten"
    return "kept"


OLD_X = (
    "gradients are computed from what a norm has read, the old x, and torch has just refused: it is gone. "
    "`x += ...` writes over it, in the second line as in the first"
)


def apart(grad: torch.Tensor, wanted: torch.Tensor) -> bool:
    """Whether two gradients differ. They are sums over 15 positions: 1e-5 of the largest number is rounding."""
    return bool((grad - wanted).abs().max() > 1e-5 * wanted.abs().max() + CLOSE)


@pytest.mark.exercise("Block.forward", points=2)
def test_what_is_learned_is_that_of_torch():
    made, x = filled(block.Block(WIDTH, H, G)), numbers(B, T, WIDTH)
    assert x_in_training(made, WIDTH) == "kept", OLD_X
    scale, found = numbers(B, T, WIDTH, seed=9), []
    for call in (made, lambda x, rotate: block_of_torch(made, x, rotate)):
        made.zero_grad()
        inside = x.clone().requires_grad_()
        (call(inside, turn(0, T)) * scale).sum().backward()
        tensors = {"x": inside, **dict(made.named_parameters())}
        found.append(
            {name: torch.zeros(1) if t.grad is None else t.grad.clone() for name, t in tensors.items()}
        )
    got = listed(name for name, grad in found[0].items() if grad.shape != found[1][name].shape)
    assert got == "none", "these get no gradient at all"
    got = listed(name for name, grad in found[0].items() if apart(grad, found[1][name]))
    assert got == "none", (
        "these get another gradient than from the functions of torch: the backward pass counts, too"
    )


@pytest.mark.exercise("Block.forward")
def test_the_gradient_goes_around_blocks_that_write_nothing():
    made = with_stubs([0.0, 0.0], [0.0, 0.0])
    x = torch.tensor([[[3.0, 4]]], requires_grad=True)
    y = made(made(x * 1, as_is), as_is)  # x itself is a leaf: torch lets nobody write into that
    assert y.requires_grad, "what comes out must know where it came from"
    (y * torch.tensor([5.0, 7.0])).sum().backward()
    got = x.grad.tolist()
    assert got == [[[5, 7]]], (
        "what arrives behind two blocks, (5, 7), arrives before them: that is the stream"
    )


@pytest.mark.exercise("Block.forward")
def test_a_stream_in_bfloat16_stays_in_bfloat16():
    got = str(run(filled(block.Block(WIDTH, H, G)), numbers(B, T, WIDTH).bfloat16(), as_is).dtype)
    assert got == "torch.bfloat16", "what comes out has the dtype of what came in"
