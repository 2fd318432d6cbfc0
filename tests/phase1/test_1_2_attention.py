"""Graded tests of lesson 1.2: attention, by hand, by loops, and against torch.

Judges: numbers that one can check on paper, a slow version in float64 that looks at one query at a time,
F.scaled_dot_product_attention and nn.MultiheadAttention. Sizes differ from one another (B = 3, T = 5,
H = 6, G = 2, D = 4), so that axes can't be mistaken for each other unnoticed.
"""

import math

import pytest
import torch
from torch.nn import functional as F

from mini_nanochat.model import attention

B, T, H, G, D = 3, 5, 6, 2, 4
# float32 keeps seven digits and our numbers are near 1; another eps in a norm moves them by 2e-5, and a real
# mistake by 1e-2 or more.
CLOSE = 5e-5


def numbers(*shape: int, seed: int = 1) -> torch.Tensor:
    """Normal numbers, the same each time."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def qkv(t: int = T, s: int = T, g: int = G, d: int = D, seed: int = 1):
    """Queries (B, H, t, d), keys and values (B, g, s, d)."""
    return (
        numbers(B, H, t, d, seed=seed),
        numbers(B, g, s, d, seed=seed + 1),
        numbers(B, g, s, d, seed=seed + 2),
    )


def assert_same(got: torch.Tensor, wanted: torch.Tensor, why: str, within: float = CLOSE) -> None:
    assert tuple(got.shape) == tuple(wanted.shape), why
    difference = float(f"{(got.double() - wanted.double()).abs().max().item():.2g}")
    assert difference <= within, f"{why} (the largest difference is compared)"


def short(number: float) -> float:
    """Three digits, and whole numbers without a point: what one checks on paper."""
    return int(number) if float(number).is_integer() else round(float(number), 3) + 0.0


def only_head(x: torch.Tensor) -> list:
    """The rows of the only head of the only sequence, (1, 1, n, m)."""
    assert tuple(x.shape[:2]) == (1, 1), "the first two axes of the shape: one sequence, one head"
    return [[short(number) for number in row] for row in x[0, 0].tolist()]


def spelled(x: torch.Tensor) -> list[str]:
    """A text for each head, (n_head, n, m): the numbers of a position, a bar, the next position."""
    return [" | ".join(" ".join(f"{n:g}" for n in position) for position in head) for head in x.tolist()]


def picture(mask: torch.Tensor) -> list[str]:
    """A row of 0 and 1 for each query."""
    return ["".join("1" if allowed else "0" for allowed in row) for row in mask.tolist()]


def one_by_one(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Attention as one would do it by hand: each query alone, in float64, with the keys it may see."""
    (b, h, t, _), (g, s) = q.shape, k.shape[1:3]
    out = torch.zeros(b, h, t, v.shape[-1], dtype=torch.float64)
    for row in range(b):
        for head in range(h):
            keys, values = (x[row, head // (h // g)].double() for x in (k, v))
            for i in range(t):
                sees = s - t + i + 1
                scores = keys[:sees] @ q[row, head, i].double() / math.sqrt(q.shape[-1])
                e = torch.exp(scores - scores.max())
                out[row, head, i] = (e / e.sum()) @ values[:sees]
    return out


def error_of(call) -> str:
    """The kind of error that `call` raises."""
    try:
        call()
    except NotImplementedError:
        raise
    except (ValueError, RuntimeError) as error:
        return "ValueError" if isinstance(error, ValueError) else "RuntimeError"
    return "no error"


def moved(device: torch.device, function, *tensors: torch.Tensor) -> str:
    """What comes out if everything lies on another device: a shape and where it lies, or an error."""
    try:
        got = function(*(x.to(device) for x in tensors))
    except NotImplementedError:
        raise
    except RuntimeError:
        return "RuntimeError"
    return f"{tuple(got.shape)} on {got.device.type}"


# --- causal_mask -------------------------------------------------------------------------------------


@pytest.mark.exercise("causal_mask")
def test_each_position_sees_itself_and_what_came_before():
    got = picture(attention.causal_mask(4, 4))
    assert got == ["1000", "1100", "1110", "1111"], (
        "row = query, column = key: without itself position 0 sees nothing, with the next one it reads the answer"
    )


@pytest.mark.exercise("causal_mask", points=2)
def test_with_earlier_positions_in_a_cache_the_queries_are_the_last_ones():
    got = picture(attention.causal_mask(2, 5))
    assert got == ["11110", "11111"], (
        "5 positions, of which the last two ask: they are numbers 3 and 4, not 0 and 1"
    )


@pytest.mark.exercise("causal_mask")
def test_a_mask_is_the_lower_end_of_the_square_one():
    for n_key in (1, 2, 7):
        for n_query in range(n_key + 1):
            got = picture(attention.causal_mask(n_query, n_key))
            square = ["1" * (i + 1) + "0" * (n_key - i - 1) for i in range(n_key)]
            assert got == square[n_key - n_query :], (
                f"{n_query} queries, {n_key} keys: what a position sees does not depend on who asks with it"
            )


@pytest.mark.exercise("causal_mask")
def test_more_queries_than_keys_are_refused():
    for n_query, n_key in ((3, 2), (1, 0)):
        got = error_of(lambda n_query=n_query, n_key=n_key: attention.causal_mask(n_query, n_key))
        assert got == "ValueError", f"{n_query} queries, {n_key} keys: a query is always one of the positions"


@pytest.mark.exercise("causal_mask")
def test_the_mask_is_made_of_bool():
    got = attention.causal_mask(2, 3).dtype
    assert str(got) == "torch.bool", "torch takes a mask of other numbers for something to add to the scores"


@pytest.mark.exercise("causal_mask")
def test_the_mask_lies_where_it_was_asked_for(elsewhere):
    got = moved(elsewhere, lambda x: attention.causal_mask(2, 3, device=x.device), torch.zeros(1))
    assert got == "(2, 3) on meta", (
        "device='meta' stands for a GPU here, whose scores need a mask there: build all of it on `device`"
    )


# --- split_heads -------------------------------------------------------------------------------------


@pytest.mark.exercise("split_heads")
def test_the_first_features_of_each_position_are_its_first_head():
    x = torch.tensor([[[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]])
    got = attention.split_heads(x, 2)
    assert tuple(got.shape) == (1, 2, 3, 2), "the shape: 1 sequence, 2 heads, 3 positions, 2 features"
    assert spelled(got[0]) == ["1 2 | 5 6 | 9 10", "3 4 | 7 8 | 11 12"], (
        "each head, position by position; the positions were 1 2 3 4, 5 6 7 8, 9 10 11 12, and head 0 gets "
        "features 0 and 1 of each"
    )


@pytest.mark.exercise("split_heads")
def test_a_head_is_a_slice_of_the_features():
    x = numbers(B, T, H * D)
    got = attention.split_heads(x, H)
    assert tuple(got.shape) == (B, H, T, D), "heads come before positions: each head is a stack of its own"
    for h in (0, 1, H - 1):
        assert_same(
            got[:, h], x[:, :, h * D : (h + 1) * D], f"head {h} is features {h * D} to {(h + 1) * D - 1}"
        )


# --- merge_heads -------------------------------------------------------------------------------------


@pytest.mark.exercise("merge_heads")
def test_merged_heads_stand_side_by_side_at_their_own_position():
    x = torch.tensor([[[[1, 2], [5, 6], [9, 10]], [[3, 4], [7, 8], [11, 12]]]])
    got = attention.merge_heads(x)
    assert tuple(got.shape) == (1, 3, 4), "the shape: 1 sequence, 3 positions, 2 x 2 features"
    assert spelled(got) == ["1 2 3 4 | 5 6 7 8 | 9 10 11 12"], (
        "position 0 had 1 2 in head 0 and 3 4 in head 1: a row holds one position, not one head"
    )


@pytest.mark.exercise("merge_heads")
def test_merging_undoes_what_splitting_does():
    x = numbers(B, T, H * D)
    heads = torch.stack([x[:, :, h * D : (h + 1) * D] for h in range(H)], dim=1)
    assert_same(attention.merge_heads(heads), x, "heads cut out of x, and put back where they came from", 0.0)


# --- attention_weights -------------------------------------------------------------------------------


def rows(*vectors: list[float]) -> torch.Tensor:
    """One sequence, one head: (1, 1, n, D)."""
    return torch.tensor([[list(vectors)]])


@pytest.mark.exercise("attention_weights", points=2)
def test_three_positions_by_hand():
    double = 2 * math.log(2)  # divided by sqrt(4) = 2: a key that is one larger gets twice the weight
    q = rows(*[[double, 0, 0, 0]] * 3)
    k = rows([0, 5.0, 0, 0], [1.0, 5, 0, 0], [2.0, 5, 0, 0])
    got = only_head(attention.attention_weights(q, k))
    wanted = [[1, 0, 0], [0.333, 0.667, 0], [0.143, 0.286, 0.571]]
    assert got == wanted, "a row for each query; scores 0, ln 2 and 2 ln 2, so shares 1, 2 and 4: of 1, 3, 7"


@pytest.mark.exercise("attention_weights")
def test_scores_are_divided_by_the_root_of_the_features_of_a_head():
    q, k = torch.zeros(1, 2, 2, 16), torch.zeros(1, 2, 2, 16)
    q[..., 1, 0], k[..., 1, 0] = 4 * math.log(3), 1.0
    got = only_head(attention.attention_weights(q, k)[:, :1])[1]
    assert got == [0.25, 0.75], (
        "the score is 4 ln 3 / sqrt(16) = ln 3, so 1 against 3; a head has 16 features here"
    )


@pytest.mark.exercise("attention_weights")
def test_the_weights_of_a_query_are_shares_of_one():
    q, k, _ = qkv(t=3, s=T, g=H)
    weights = attention.attention_weights(q, k)
    assert tuple(weights.shape) == (B, H, 3, T), "a weight for each query and each key"
    assert_same(weights.sum(-1), torch.ones(B, H, 3), "each query gives away exactly one, over the keys")


@pytest.mark.exercise("attention_weights")
def test_what_is_to_come_gets_exactly_nothing():
    q, k = torch.full((1, 1, 2, 4), 100.0), torch.full((1, 1, 2, 4), -100.0)
    k[0, 0, 1] = 1000.0
    weights = attention.attention_weights(q, k)
    got = (only_head(weights), weights[0, 0, 0, 1].item())
    assert got == ([[1, 0], [0, 1]], 0.0), (
        "the weights, and once more that of key 1 for query 0. It would love that key, and has only -20,000 "
        "at home: masked means 0, whatever the scores are"
    )


@pytest.mark.exercise("attention_weights")
def test_a_later_key_changes_no_earlier_weight():
    q, k, _ = qkv(g=H)
    moved = k.clone()
    moved[:, :, 3] += 1
    difference = attention.attention_weights(q, moved) - attention.attention_weights(q, k)
    got = [i for i, by in enumerate(difference.abs().amax((0, 1, 3)).tolist()) if by > CLOSE]
    assert got == [3, 4], "key 3 is new: queries 3 and 4 may notice, queries 0 to 2 must not"


@pytest.mark.exercise("attention_weights")
def test_a_vector_added_to_all_keys_changes_nothing():
    q, k, _ = qkv(g=H)
    got, wanted = attention.attention_weights(q, k + 2.0), attention.attention_weights(q, k)
    assert_same(got, wanted, "every score of a query grows by the same amount: softmax sees differences only")


@pytest.mark.exercise("attention_weights")
def test_the_weights_are_those_of_torch():
    for t in (1, 3, T):
        q, k, _ = qkv(t=t, g=H)
        eye = torch.eye(T).expand(B, H, T, T)  # values of which only number i has a 1 in place i
        mask = torch.ones(T, T, dtype=torch.bool).tril()[T - t :]
        wanted = F.scaled_dot_product_attention(q, k, eye, attn_mask=mask)
        assert_same(
            attention.attention_weights(q, k), wanted, f"{t} queries that are the last of {T} positions"
        )


@pytest.mark.exercise("attention_weights")
def test_the_weights_have_the_dtype_of_the_queries():
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        q, k, _ = qkv(g=H)
        weights = attention.attention_weights(q.to(dtype), k.to(dtype))
        assert str(weights.dtype) == str(dtype), (
            "values come in that dtype, and torch multiplies no unlike ones"
        )


@pytest.mark.exercise("attention_weights")
def test_weights_can_be_computed_on_another_device(elsewhere):
    q, k, _ = qkv(t=3, g=H)
    got = moved(elsewhere, attention.attention_weights, q, k)
    assert got == "(3, 6, 3, 5) on meta", (
        "q and k lie on 'meta', which stands for a GPU here: all that meets their scores must lie there, too"
    )


# --- repeat_kv ---------------------------------------------------------------------------------------


@pytest.mark.exercise("repeat_kv")
def test_the_copies_of_a_head_stand_in_a_row():
    x = torch.tensor([[[[1, 2]], [[3, 4]]]])  # 2 heads, 1 position, 2 features
    got = attention.repeat_kv(x, 3)
    assert tuple(got.shape) == (1, 6, 1, 2), "the shape: 2 heads, each 3 times, are 6 heads of 1 position"
    assert spelled(got[0]) == ["1 2", "1 2", "1 2", "3 4", "3 4", "3 4"], (
        "the heads in their order: query heads 0, 1 and 2 share head 0; in another order each would read "
        "what another head has written"
    )


@pytest.mark.exercise("repeat_kv")
def test_heads_are_repeated_and_not_positions():
    x = numbers(B, G, T, D)
    for n in (1, 3):
        got = attention.repeat_kv(x, n)
        assert tuple(got.shape) == (B, G * n, T, D), (
            f"{n} copies of each head, and as many positions as before"
        )
        for head in range(G * n):
            assert_same(
                got[:, head], x[:, head // n], f"{n} copies: head {head} is a copy of {head // n}", 0.0
            )


# --- attend ------------------------------------------------------------------------------------------


@pytest.mark.exercise("attend", points=2)
def test_a_mean_of_values_by_hand():
    root = math.sqrt(2)
    q, k = rows([0, 1.0], [0, 0.0], [root * math.log(3), 0]), rows([0.0, 3], [0, 9], [1, 0])
    v = rows([10.0, 0], [0, 10], [20, 20])
    got = only_head(attention.attend(q, k, v))
    assert got == [[10, 0], [5, 5], [14, 14]], (
        "query 0 has only itself; query 1 finds both alike; query 2 takes shares of 1/5, 1/5 and 3/5"
    )


@pytest.mark.exercise("attend")
def test_a_query_that_asks_nothing_gets_the_plain_mean():
    _, k, v = qkv(g=H)
    got = attention.attend(torch.zeros(B, H, T, D), k, v)
    wanted = v.cumsum(2) / torch.arange(1, T + 1)[:, None]
    assert_same(got, wanted, "all scores 0: the mean of all values so far, which is a bag of words")


@pytest.mark.exercise("attend")
def test_attention_is_what_one_would_compute_query_by_query():
    for t, s, g in ((T, T, H), (2, T, H), (1, T, H)):
        q, k, v = qkv(t, s, g)
        got = attention.attend(q, k, v)
        assert_same(
            got, one_by_one(q, k, v), f"{t} queries, {s} positions, {g} heads of keys: one query at a time"
        )


@pytest.mark.exercise("attend")
def test_neighbouring_query_heads_share_keys_and_values():
    q, k, v = qkv(g=G)
    got = attention.attend(q, k, v)
    assert_same(got, one_by_one(q, k, v), "6 query heads, 2 of keys and values: heads 0 to 2 read the first")


@pytest.mark.exercise("attend")
def test_the_mean_is_that_of_multihead_attention_in_torch():
    x = numbers(B, T, H * D)
    heads = torch.stack(x.split(D, dim=-1), dim=1)
    theirs = torch.nn.MultiheadAttention(H * D, H, bias=False, batch_first=True)
    with torch.no_grad():  # no mixing before and after: what is left is the attention of its heads
        theirs.in_proj_weight.copy_(torch.eye(H * D).repeat(3, 1))
        theirs.out_proj.weight.copy_(torch.eye(H * D))
        hidden = torch.ones(T, T, dtype=torch.bool).triu(1)  # there True means: may not look
        wanted = theirs(x, x, x, attn_mask=hidden, need_weights=False)[0]
    got = torch.cat(list(attention.attend(heads, heads, heads).unbind(1)), dim=-1)
    assert_same(got, wanted, "the same heads, keys and values, in a layer that many models were built with")


@pytest.mark.exercise("attend")
def test_gradients_are_those_of_torch():
    ours = [x.requires_grad_() for x in qkv(g=H)]
    theirs = [x.clone().detach().requires_grad_() for x in ours]
    scale = numbers(B, H, T, D, seed=9)
    (attention.attend(*ours) * scale).sum().backward()
    (F.scaled_dot_product_attention(*theirs, is_causal=True) * scale).sum().backward()
    for name, mine, other in zip("qkv", ours, theirs):
        grad = torch.zeros_like(mine) if mine.grad is None else mine.grad
        assert_same(grad, other.grad, f"what {name} learns: the backward pass is a part of attention")


# --- attend_fast -------------------------------------------------------------------------------------


@pytest.mark.exercise("attend_fast", points=2)
def test_the_fast_one_computes_the_same():
    for t, s in ((T, T), (1, 1), (2, 2)):
        q, k, v = qkv(t, s, H)
        got = attention.attend_fast(q, k, v)
        assert_same(got, one_by_one(q, k, v), f"{t} queries, {s} positions: faster must not mean different")


@pytest.mark.exercise("attend_fast", points=2)
def test_the_fast_one_knows_that_queries_come_last():
    q, k, v = qkv(3, T, H)
    got = attention.attend_fast(q, k, v)
    assert_same(
        got,
        one_by_one(q, k, v),
        "3 queries after 2 cached positions; torch's is_causal counts from the first",
    )


@pytest.mark.exercise("attend_fast")
def test_a_single_new_position_sees_all_that_came_before():
    q, k, v = qkv(1, T, H)
    got = attention.attend_fast(q, k, v)
    assert_same(
        got, one_by_one(q, k, v), "one query, the last of 5: every word that is generated goes this way"
    )


@pytest.mark.exercise("attend_fast")
def test_the_fast_one_shares_keys_and_values_as_well():
    for t in (T, 2, 1):
        q, k, v = qkv(t, T, G)
        got = attention.attend_fast(q, k, v)
        assert_same(got, one_by_one(q, k, v), f"{t} queries, 6 heads that share 2 of keys and values")


@pytest.mark.exercise("attend_fast")
def test_the_fast_one_never_keeps_a_weight_for_each_pair_of_positions():
    n, kept = 40, []
    q, k, v = (numbers(1, 2, n, D, seed=i).requires_grad_() for i in (1, 2, 3))

    def keep(x):
        kept.append(x.numel())
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        attention.attend_fast(q, k, v)
    got = max(kept, default=0)
    assert got < 2 * n * n, (
        "the most numbers that one tensor keeps for the backward pass; 2 heads x 40 x 40 weights are 3,200"
    )


@pytest.mark.exercise("attend_fast")
def test_the_fast_one_works_on_another_device_as_well(elsewhere):
    for t in (T, 3, 1):
        got = moved(elsewhere, attention.attend_fast, *qkv(t, T, G))
        assert got == f"(3, 6, {t}, 4) on meta", (
            f"{t} queries, {T} keys on 'meta', which stands for a GPU here: a mask must lie where q lies"
        )


# --- CausalSelfAttention.heads -----------------------------------------------------------------------

WIDTH = H * D


def as_is(x: torch.Tensor) -> torch.Tensor:
    """No rotation at all."""
    return x


def turn(first: int, n: int):
    """A rotation of pairs by an angle that grows with the position, from `first` on."""
    angle = torch.arange(first, first + n, dtype=torch.float32)[:, None] * torch.tensor([0.9, 0.2])
    cos, sin = angle.cos(), angle.sin()

    def rotate(x: torch.Tensor) -> torch.Tensor:
        a, b = x.chunk(2, dim=-1)
        return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)

    return rotate


def layer(n_head: int = H, n_kv_head: int = G, number: int = 0):
    """CausalSelfAttention with weights that are the same each time."""
    made = attention.CausalSelfAttention(WIDTH, n_head, n_kv_head, number)
    with torch.no_grad():
        for seed, weight in enumerate(made.parameters()):
            weight.copy_(numbers(*weight.shape, seed=seed) * 0.3)
    return made


def cut(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """(B, T, n) times a matrix, as heads of D features."""
    return torch.stack((x @ weight.T).split(D, dim=-1), dim=1)


def heads_of(made, x: torch.Tensor, rotate):
    """What `heads` must give: torch's own rms_norm, one head after the other."""
    q, k, v = (cut(x, matrix.weight) for matrix in (made.c_q, made.c_k, made.c_v))
    return F.rms_norm(rotate(q), (D,), eps=1e-6), F.rms_norm(rotate(k), (D,), eps=1e-6), v


@pytest.mark.exercise("CausalSelfAttention.heads", points=2)
def test_queries_keys_and_values_are_three_views_of_x():
    made, x = layer(), numbers(B, T, WIDTH)
    got = made.heads(x, turn(0, T))
    assert [tuple(one.shape) for one in got] == [(B, H, T, D), (B, G, T, D), (B, G, T, D)], (
        "q has 6 heads; k and v have 2, and are not repeated here: the cache is small because of that"
    )
    for name, mine, wanted in zip("qkv", got, heads_of(made, x, turn(0, T))):
        assert_same(mine, wanted, f"{name}: its own matrix, its heads; q and k rotated and normed")


@pytest.mark.exercise("CausalSelfAttention.heads")
def test_queries_and_keys_of_any_size_come_out_with_size_one():
    q, k, _ = layer().heads(numbers(B, T, WIDTH) * 50, as_is)
    for name, x in (("q", q), ("k", k)):
        sizes = x.square().mean(-1).sqrt()
        assert_same(
            sizes, torch.ones_like(sizes), f"root mean square of each head of {name}: scores can't grow", 1e-4
        )


@pytest.mark.exercise("CausalSelfAttention.heads")
def test_values_are_neither_rotated_nor_normed():
    made, x = layer(), numbers(B, T, WIDTH) * 3
    got = made.heads(x, turn(0, T))[2]
    assert_same(
        got, cut(x, made.c_v.weight), "where to look may depend on places; what is found there does not"
    )


@pytest.mark.exercise("CausalSelfAttention.heads")
def test_rotation_comes_before_the_norm():
    made, x = layer(), numbers(B, T, WIDTH)
    for name, mine, wanted in zip("qk", made.heads(x, lambda h: h + 1), heads_of(made, x, lambda h: h + 1)):
        assert_same(mine, wanted, f"{name} with rotate(x) = x + 1, which shows the order: rotate, then norm")


# --- CausalSelfAttention.forward ---------------------------------------------------------------------


class Kept:
    """A cache: keeps what it is given and returns all of it."""

    def __init__(self) -> None:
        self.calls: list[tuple] = []

    def insert(self, layer, k, v):
        self.calls.append((layer, k, v))
        return torch.cat([call[1] for call in self.calls], 2), torch.cat([call[2] for call in self.calls], 2)


@pytest.mark.exercise("CausalSelfAttention.forward", points=2)
def test_the_whole_layer_is_its_parts_in_order():
    for n_kv_head in (H, G, 1):
        made, x = layer(n_kv_head=n_kv_head), numbers(B, T, WIDTH)
        got = made(x, turn(0, T))
        y = one_by_one(*heads_of(made, x, turn(0, T))).float()
        wanted = torch.cat(list(y.unbind(1)), dim=-1) @ made.c_proj.weight.T
        assert_same(got, wanted, f"{n_kv_head} heads of keys: heads, attention, side by side, c_proj")


@pytest.mark.exercise("CausalSelfAttention.forward")
def test_what_is_to_come_moves_nothing():
    made, x = layer(), numbers(1, T, WIDTH)
    moved = x.clone()
    moved[:, 3] += 1
    difference = (made(moved, turn(0, T)) - made(x, turn(0, T))).abs().amax((0, 2)).tolist()
    got = [i for i, by in enumerate(difference) if by > CLOSE]
    assert got == [3, 4], (
        "position 3 was changed: a model that sees ahead has a wonderful loss, and can't write a word"
    )


@pytest.mark.exercise("CausalSelfAttention.forward", points=2)
def test_in_pieces_with_a_cache_it_says_the_same_as_at_once():
    made, x = layer(), numbers(B, T, WIDTH)
    whole = made(x, turn(0, T))
    for sizes in ((1, 1, 1, 1, 1), (3, 2), (2, 1, 2), (5,)):
        cache, pieces, first = Kept(), [], 0
        for n in sizes:
            pieces.append(made(x[:, first : first + n], turn(first, n), cache))
            first += n
        assert_same(torch.cat(pieces, 1), whole, f"pieces of {sizes} positions, one after the other")


@pytest.mark.exercise("CausalSelfAttention.forward")
def test_the_cache_gets_finished_keys_under_the_number_of_the_layer():
    made, x, cache = layer(number=7), numbers(B, T, WIDTH), Kept()
    made(x, turn(0, T), cache)
    got = [(call[0], tuple(call[1].shape), tuple(call[2].shape)) for call in cache.calls]
    assert got == [(7, (B, G, T, D), (B, G, T, D))], (
        "layer 7, once: keys, then values, of the 2 shared heads only"
    )
    for name, kept, wanted in zip("kv", cache.calls[0][1:], heads_of(made, x, turn(0, T))[1:]):
        assert_same(kept, wanted, f"{name} as `heads` gives it: rotated for the place where it stood")


class Counted(Kept):
    """A cache that knows how much it holds. An empty one counts as false, as an empty list does."""

    def __len__(self) -> int:
        return len(self.calls)


@pytest.mark.exercise("CausalSelfAttention.forward")
def test_an_empty_cache_is_a_cache():
    cache = Counted()
    layer()(numbers(B, T, WIDTH), turn(0, T), cache)
    assert len(cache) == 1, (
        "calls of `insert`: the first positions of a text find the cache empty, and must go in"
    )


@pytest.mark.exercise("CausalSelfAttention.forward")
def test_the_layer_never_keeps_a_weight_for_each_pair_of_positions():
    n, sizes = 40, []
    made, x = layer(n_kv_head=H), numbers(1, n, WIDTH)

    def keep(tensor):
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        made(x, as_is)
    got = max(sizes, default=0)
    assert got < H * n * n, (
        "the most numbers that one tensor keeps for the backward pass; 6 heads x 40 x 40 weights are 9,600"
    )


@pytest.mark.exercise("CausalSelfAttention.forward")
def test_without_rotation_the_order_of_what_came_before_is_unknown():
    made, x = layer(), numbers(B, T, WIDTH)
    got = made(x[:, [2, 0, 3, 1, 4]], as_is)[:, -1]
    assert_same(
        got, made(x, as_is)[:, -1], "the last position sees a set; where things stand is news from `rotate`"
    )


@pytest.mark.exercise("CausalSelfAttention.forward")
def test_bfloat16_goes_in_and_comes_out():
    got = layer()(numbers(B, T, WIDTH).bfloat16(), as_is)
    assert str(got.dtype) == "torch.bfloat16", (
        "weights are float32, activations are what came in (lesson 1.1)"
    )
