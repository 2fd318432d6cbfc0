"""The loader against a slow twin: plain lists, searched from end to end, and not a line in common.

The twin keeps no clever buffer and opens no file. It walks over all documents, epoch after epoch, and for
each row looks at every piece that waits. Both must give the same batches, bit for bit.
"""

from __future__ import annotations

import itertools
import random
import string
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mini_nanochat.data import loader
from mini_nanochat.data.loader import IGNORE, Buffer, Loader

BOS, DRAW = 60, 128
TOKENIZER = SimpleNamespace(
    bos_id=BOS,
    fingerprint="letters",
    encode_batch=lambda texts: [[string.ascii_letters.index(letter) for letter in text] for text in texts],
)


def twin(groups, batch_size, sequence_len, rank, world_size, buffer_size, epochs=None):
    """Batches as (x, y) of lists. `groups` is a list of row groups, each a list of texts."""
    mine = [texts for number, texts in enumerate(groups) if number % world_size == rank]
    draws = []
    for texts in mine:
        for start in range(0, len(texts), DRAW):
            draws.append(texts[start : start + DRAW])
    todo = itertools.chain.from_iterable(itertools.repeat(draws) if epochs is None else [draws] * epochs)
    waiting, xs, ys = [], [], []
    while True:
        while len(waiting) < buffer_size:
            texts = next(todo, None)
            if texts is None:
                break
            for ids in TOKENIZER.encode_batch(texts):
                while ids:
                    end = [BOS] if len(ids) < sequence_len else []  # it has no room behind a full piece
                    waiting.append((ids[:sequence_len], end))
                    ids = ids[sequence_len:]
        if not waiting:
            break
        ids, end = waiting.pop(0)
        x, y = [BOS, *ids, *end][:-1], [*ids, *end]
        while True:
            best = None
            for i, (other, end) in enumerate(waiting):
                if len(x) + len(other) + len(end) <= sequence_len and (
                    best is None or len(other) + len(end) > sum(map(len, waiting[best]))
                ):
                    best = i
            if best is None:
                break
            ids, end = waiting.pop(best)
            x, y = x + [BOS, *ids, *end][:-1], [*y, *ids, *end]
        while len(x) < sequence_len:
            x.append(BOS)
            y.append(IGNORE)
        xs.append(x)
        ys.append(y)
        if len(xs) == batch_size:
            yield xs, ys
            xs, ys = [], []
    if xs:
        while len(xs) < batch_size:
            xs.append([BOS] * sequence_len)
            ys.append([IGNORE] * sequence_len)
        yield xs, ys


def text_of(rng):
    """A document: often short, sometimes far longer than a row, sometimes empty."""
    length = rng.choice([0, 1, 2, 3, 5, 8, 13, 21, 34, 55, rng.randrange(200)])
    return "".join(rng.choices(string.ascii_letters, k=length))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three shards with row groups of 1 to 300 documents: (paths, row groups as lists of texts)."""
    folder, rng = tmp_path_factory.mktemp("shards"), random.Random(4)
    paths, groups = [], []
    for i, sizes in enumerate([[300, 300, 7], [1], [128, 50]]):
        paths.append(folder / f"shard_{i:05d}.parquet")
        with pq.ParquetWriter(paths[-1], pa.schema([("text", pa.string())])) as writer:
            for size in sizes:
                texts = [text_of(rng) for _ in range(size - 1)] + ["end"]  # so that no group is without text
                writer.write_table(pa.table({"text": texts}), row_group_size=size)
                groups.append(texts)
    return paths, groups


@pytest.mark.parametrize("world_size", [1, 2, 3, 6])
@pytest.mark.parametrize(
    ("batch_size", "sequence_len", "buffer_size"), [(5, 2, 1), (3, 16, 20), (4, 40, 300)]
)
def test_batch_for_batch_over_more_than_two_epochs(data, world_size, batch_size, sequence_len, buffer_size):
    paths, groups = data
    for rank in range(world_size):
        fast = Loader(
            paths,
            TOKENIZER,
            batch_size,
            sequence_len,
            rank=rank,
            world_size=world_size,
            buffer_size=buffer_size,
        )
        slow = twin(groups, batch_size, sequence_len, rank, world_size, buffer_size)
        number = 0
        while fast.position.epoch < 3:
            x, y = next(fast)
            assert (x.tolist(), y.tolist()) == next(slow), f"rank {rank}: batch {number} differs"
            number += 1


@pytest.mark.parametrize(("epochs", "batch_size"), [(1, 1), (1, 7), (2, 5)])
def test_a_finite_loader_ends_where_the_twin_ends(data, epochs, batch_size):
    paths, groups = data
    fast = Loader(paths[2:], TOKENIZER, batch_size, 24, epochs=epochs, buffer_size=50)
    got = [(x.tolist(), y.tolist()) for x, y in fast]
    assert got == list(twin(groups[4:], batch_size, 24, 0, 1, 50, epochs))
    with pytest.raises(StopIteration):
        next(fast)


def test_restored_anywhere_it_is_the_twin_still(data):
    paths, groups = data
    slow = list(itertools.islice(twin(groups, 4, 40, 0, 2, 30), 120))
    fast = Loader(paths, TOKENIZER, 4, 40, world_size=2, buffer_size=30)
    for number, wanted in enumerate(slow):
        if number % 7 == 3:
            state = fast.state()
            fast = Loader(paths, TOKENIZER, 4, 40, world_size=2, buffer_size=30)
            fast.restore(state)
        x, y = next(fast)
        assert (x.tolist(), y.tolist()) == wanted, f"batch {number} differs"
    assert fast.position.epoch >= 2


def test_batches_are_integers_of_one_shape(data):
    x, y = next(Loader(data[0], TOKENIZER, 5, 12))
    assert (x.dtype, y.dtype, x.shape, y.shape) == (torch.int64, torch.int64, (5, 12), (5, 12))


def test_how_much_is_drawn_at_a_time_is_the_twins():
    assert loader.DRAW == DRAW


steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 12)),
        st.tuples(st.just("oldest"), st.just(0)),
        st.tuples(st.just("largest"), st.integers(-1, 14)),
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(steps)
def test_the_buffers_searches_are_those_of_a_list(steps):
    fast, slow = Buffer(), []
    for number, (what, size) in enumerate(steps):
        if what == "add":
            piece = [number] * size
            fast.add(piece)
            slow.append(piece)
        elif what == "oldest" and slow:
            assert fast.take_oldest() == slow.pop(0)
        elif what == "largest":
            fitting = [piece for piece in slow if len(piece) <= size]
            wanted = max(fitting, key=len, default=None)  # the first of several
            assert fast.take_largest(size) == wanted
            if wanted:
                slow.remove(wanted)
        assert (fast.pieces(), len(fast)) == (slow, len(slow))
    assert Buffer(slow).pieces() == slow
