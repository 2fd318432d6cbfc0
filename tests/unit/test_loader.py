"""The loader on data that people really have: broken, tiny, empty, or a single line of three megabytes."""

from __future__ import annotations

import copy
import itertools
import json
import string
from collections import Counter
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from mini_nanochat.data.loader import IGNORE, Loader
from mini_nanochat.data.shards import train_and_val
from mini_nanochat.microworld import write as microworld
from mini_nanochat.tokenizer.tokenizer import Tokenizer

BOS = 256


def tokenizer_of_bytes(fingerprint="bytes"):
    return SimpleNamespace(
        bos_id=BOS,
        fingerprint=fingerprint,
        encode_batch=lambda texts: [list(text.encode()) for text in texts],
    )


BYTES = tokenizer_of_bytes()


def shard(path, texts, row_group=2, column="text"):
    """A shard with these texts."""
    pq.write_table(pa.table({column: pa.array(texts, pa.string())}), path, row_group_size=row_group)
    return path


def taught(stream):
    """How often each id is a target, and as BOS each end; what teaches nothing is left out."""
    counts = Counter()
    for _, y in stream:
        counts.update(y[y != IGNORE].tolist())
    return counts


def all_of(*texts):
    """What a stream teaches that teaches these texts, each end included."""
    return Counter("".join(texts).encode()) + Counter([BOS] * len(texts))


@pytest.fixture
def small(tmp_path):
    """Three row groups of two documents."""
    return [shard(tmp_path / "shard_00000.parquet", ["one", "two", "three", "four", "five", "six"])]


# -- bad input ------------------------------------------------------------------------------------


def said(error) -> str:
    """The message, which must be one a person can use: a line, and not long."""
    message = str(error.value)
    assert "\n" not in message and 20 < len(message) < 400, message
    return message


@pytest.mark.parametrize("size", ["batch_size", "sequence_len", "buffer_size"])
@pytest.mark.parametrize("value", [0, -3])
def test_sizes_below_one_are_refused(small, size, value):
    sizes = {"batch_size": 2, "sequence_len": 8} | {size: value}
    with pytest.raises(ValueError) as error:
        Loader(small, BYTES, **sizes)
    assert said(error) == f"{size} must be at least 1, got {value}"


def test_a_shard_without_rows(tmp_path):
    with pytest.raises(ValueError) as error:
        Loader([shard(tmp_path / "shard_00000.parquet", [])], BYTES, 2, 8)
    assert "shard_00000.parquet holds no documents" in said(error)


def test_no_shards_at_all():
    with pytest.raises(ValueError) as error:
        Loader([], BYTES, 2, 8)
    assert "0 row groups are too few for 1 ranks" in said(error)


def test_a_shard_without_the_column(tmp_path):
    with pytest.raises(ValueError) as error:
        Loader([shard(tmp_path / "shard_00000.parquet", ["a"], column="content")], BYTES, 2, 8)
    assert "has the columns content, and needs one named text" in said(error)


def test_a_shard_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        Loader([tmp_path / "shard_00007.parquet"], BYTES, 2, 8)
    assert "shard_00007.parquet is not there" in said(error)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_shard_cut_short_on_disk(small, share):
    whole = small[0].read_bytes()
    small[0].write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError) as error:
        Loader(small, BYTES, 2, 8)
    assert "is no whole parquet file" in said(error)


def test_a_shard_that_changes_between_two_batches(small, tmp_path):
    stream = Loader(small, BYTES, 1, 8, buffer_size=1)
    next(stream)
    shard(tmp_path / "shard_00000.parquet", ["one"])
    with pytest.raises(ValueError) as error:
        list(itertools.islice(stream, 9))
    assert "has changed while it was in use" in said(error)


@pytest.mark.parametrize("rank", range(4))
def test_fewer_groups_than_ranks_on_every_rank(small, rank):
    with pytest.raises(ValueError) as error:
        Loader(small, BYTES, 2, 8, rank=rank, world_size=4)
    assert said(error).startswith("3 row groups are too few for 4 ranks")


@pytest.mark.parametrize("epochs", [1, 2, None])
def test_all_documents_empty(tmp_path, epochs):
    paths = [shard(tmp_path / "shard_00000.parquet", [""] * 300, row_group=100)]
    with pytest.raises(ValueError) as error:
        next(Loader(paths, BYTES, 2, 8, epochs=epochs))
    assert "rank 0 of 1 found no text: all documents of its 3 row groups are empty" in said(error)


def test_one_rank_with_empty_documents_only(tmp_path):
    paths = [shard(tmp_path / "shard_00000.parquet", ["a", "b", "", "", "c", "d", "", ""])]
    next(Loader(paths, BYTES, 2, 8, rank=0, world_size=2))
    with pytest.raises(ValueError) as error:
        next(Loader(paths, BYTES, 2, 8, rank=1, world_size=2))
    assert "rank 1 of 2 found no text" in said(error)


def others(small, folder):
    """Loaders that differ from the first one in one thing: what it is called -> the loader."""
    more = [*small, shard(folder / "shard_00001.parquet", ["seven"])]
    return {
        "tokenizer": Loader(small, tokenizer_of_bytes("other"), 2, 8),
        "data": Loader(more, BYTES, 2, 8),
        "rank": Loader(small, BYTES, 2, 8, rank=1, world_size=2),
        "sequence_len": Loader(small, BYTES, 2, 9),
        "buffer_size": Loader(small, BYTES, 2, 8, buffer_size=5),
    }


@pytest.mark.parametrize("name", ["tokenizer", "data", "rank", "sequence_len", "buffer_size"])
def test_the_state_of_another_loader(small, tmp_path, name):
    stream, other = Loader(small, BYTES, 2, 8), others(small, tmp_path)[name]
    next(stream), next(other)
    before = copy.deepcopy(stream.state())
    with pytest.raises(ValueError) as error:
        stream.restore(other.state())
    message = said(error)
    assert f"{name} was {other.identity[name]}, here it is {stream.identity[name]}" in message
    assert stream.state() == before


def test_another_batch_size_may_go_on(small):
    """Rows do not depend on how many of them make a batch."""
    two, three = Loader(small, BYTES, 2, 8), Loader(small, BYTES, 3, 8)
    next(two)
    three.restore(two.state())
    rows = [row for x, _ in itertools.islice(two, 3) for row in x.tolist()]
    assert [row for x, _ in itertools.islice(three, 2) for row in x.tolist()] == rows


# -- all that is there is taught --------------------------------------------------------------------


def test_a_line_of_three_megabytes_is_split_and_nothing_is_lost(tmp_path):
    line = (string.ascii_letters * 60_000)[:3_000_000]
    paths = [shard(tmp_path / "shard_00000.parquet", ["short", line, "end"])]
    stream = Loader(paths, BYTES, 16, 512, epochs=1)
    assert taught(stream) == all_of("short", line, "end")


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_one_epoch_ends_and_counts_each_token_once(small, batch_size):
    batches = list(Loader(small, BYTES, batch_size, 8, epochs=1))
    assert {x.shape for x, _ in batches} == {(batch_size, 8)}
    assert taught(batches) == all_of("one", "two", "three", "four", "five", "six")


def test_the_last_batch_is_filled_up_with_rows_that_teach_nothing(small):
    (x, y), *more = list(Loader(small, BYTES, 100, 8, epochs=1))
    assert more == []
    full = int((y != IGNORE).any(1).sum())
    assert 0 < full < 100
    assert x[full:].unique().tolist() == [BOS] and y[full:].unique().tolist() == [IGNORE]


def test_ranks_share_an_epoch(small):
    both = [taught(Loader(small, BYTES, 2, 8, rank=r, world_size=2, epochs=1)) for r in range(2)]
    assert both[0] + both[1] == all_of("one", "two", "three", "four", "five", "six")


@pytest.mark.parametrize("length", [1, 7, 8, 9, 15, 16, 17])
def test_only_an_end_that_would_stand_alone_is_not_taught(tmp_path, length):
    texts = ["a" * length, "b" * length, ""]
    stream = Loader([shard(tmp_path / "shard_00000.parquet", texts)], BYTES, 2, 8, epochs=1)
    ends = 0 if length % 8 == 0 else 2
    assert taught(stream) == Counter({ord("a"): length, ord("b"): length}) + Counter([BOS] * ends)


def test_a_state_from_before_a_long_stretch_of_empty_documents_goes_on(tmp_path):
    """No text is an error only if all of a rank's documents are empty, whatever came before a stop."""
    paths = [shard(tmp_path / "shard_00000.parquet", ["text"] + [""] * 700, row_group=701)]
    stream = Loader(paths, BYTES, 1, 8, buffer_size=1)
    next(stream)
    again = Loader(paths, BYTES, 1, 8, buffer_size=1)
    again.restore(stream.state())
    assert next(again)[1].tolist() == next(stream)[1].tolist()


def test_the_loss_of_torch_leaves_padding_out():
    loss = torch.nn.functional.cross_entropy(
        torch.zeros(2, 4), torch.tensor([1, IGNORE]), ignore_index=IGNORE
    )
    assert loss.item() == pytest.approx(1.3862943611)


# -- on a small microworld --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """(train, val, tokenizer) of half a megabyte of Pebbleford."""
    folder = tmp_path_factory.mktemp("world") / "pebbleford"
    made, _ = microworld.write(folder, megabytes=0.5, seed=1, shards=2, row_group=128)
    texts = [text for documents in made.shards.values() for _, text in documents]
    return *train_and_val(folder / "documents"), Tokenizer.train(texts, 512)


def test_at_most_five_percent_are_padding(world):
    train, _, tokenizer = world
    batches = itertools.islice(Loader(train, tokenizer, 8, 256), 40)
    ignored = [(y == IGNORE).float().mean().item() for _, y in batches]
    assert sum(ignored) / len(ignored) <= 0.05


def test_every_row_begins_with_bos(world):
    train, _, tokenizer = world
    for x, _ in itertools.islice(Loader(train, tokenizer, 8, 256), 10):
        assert x[:, 0].tolist() == [tokenizer.bos_id] * 8


def test_the_validation_set_is_read_once_whatever_the_batch(world):
    _, val, tokenizer = world
    wanted = Counter()
    texts = pq.read_table(val[0]).column("text").to_pylist()
    for ids in tokenizer.encode_batch(texts):
        wanted.update(ids)
        wanted[tokenizer.bos_id] += len(ids) % 256 > 0
    for batch_size in (1, 7):
        assert taught(Loader(val, tokenizer, batch_size, 256, epochs=1)) == wanted


def test_a_state_of_real_data_goes_through_json(world):
    train, _, tokenizer = world
    stream = Loader(train, tokenizer, 4, 256, buffer_size=50)
    list(itertools.islice(stream, 30))
    state = json.loads(json.dumps(stream.state()))
    again = Loader(train, tokenizer, 4, 256, buffer_size=50)
    again.restore(state)
    for one, other in itertools.islice(zip(stream, again), 300):
        assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])
    assert stream.position.epoch > 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="pinned memory needs CUDA")
def test_on_cuda_the_same_batches_arrive(small):
    here, there = Loader(small, BYTES, 2, 8), Loader(small, BYTES, 2, 8, device="cuda")
    for one, other in itertools.islice(zip(here, there), 5):
        assert (
            other[0].is_cuda and torch.equal(one[0], other[0].cpu()) and torch.equal(one[1], other[1].cpu())
        )
