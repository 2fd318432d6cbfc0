"""Graded tests of lesson 0.4: documents become batches.

By hand: groups, documents and rows small enough for paper. Laws: no id is lost, none is taught twice, and
a run that stopped goes on as if it had not. Traps: the mistakes that people make, and that nobody sees in
the loss. Most checks need no file: a row group is a name and a number. The last two exercises read tiny shards
with a tokenizer of their own, in which each letter is an id.
"""

import copy
import itertools
import json
import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mini_nanochat.data import loader
from mini_nanochat.data.shards import RowGroup

BOS, IGNORE = 0, -1

# Three row groups in two shards. No letter stands twice, so each id is met once an epoch.
SHARDS = [[["ab", "cdefghijk", "l"], ["mno", "p", "FGH"]], [["qrstuvw", "xy", "zABCD", "E"]]]
LETTERS = "".join(itertools.chain.from_iterable(itertools.chain.from_iterable(SHARDS)))


def groups(n: int) -> list[RowGroup]:
    """n row groups of one shard; nothing is read."""
    return [RowGroup(Path("shard_00000.parquet"), i, 5) for i in range(n)]


def numbers(found) -> list[int]:
    return [group.index for group in found]


def kind_of_error(call) -> str:
    """The kind of error that `call` raises, as far as the lesson promises it."""
    try:
        call()
    except ValueError:
        return "ValueError"
    return "no error"


def plain(pieces) -> list[list[int]]:
    """Pieces as lists, whatever they are made of."""
    return [list(piece) for piece in pieces]


def piece(length: int, mark: int = 7, ends: bool = True) -> list[int]:
    """A piece of so many targets: `mark`, and <|bos|> at the end of a document."""
    return [mark] * (length - 1) + [BOS if ends else mark]


def lengths(row) -> list[int]:
    return [len(piece) for piece in row]


def two_lists(x, y) -> tuple[list[int], list[int]]:
    return list(x), list(y)


# --- groups_of_rank ----------------------------------------------------------------------------------


@pytest.mark.exercise("groups_of_rank", points=2)
def test_a_rank_takes_every_world_size_th_group():
    got = [numbers(loader.groups_of_rank(groups(7), rank, 3)) for rank in range(3)]
    assert got == [[0, 3, 6], [1, 4], [2, 5]], (
        "seven groups dealt to three ranks, like cards, one after the other"
    )


@pytest.mark.exercise("groups_of_rank")
@given(st.integers(1, 6), st.integers(0, 20))
def test_together_the_ranks_read_each_group_once(world_size, more):
    n = world_size + more
    found = [numbers(loader.groups_of_rank(groups(n), rank, world_size)) for rank in range(world_size)]
    counts = Counter(itertools.chain.from_iterable(found))
    assert counts == Counter(range(n)), (
        f"{n} groups, {world_size} ranks: none is read twice, none is left out"
    )


@pytest.mark.exercise("groups_of_rank")
def test_a_single_group_for_each_rank_is_enough():
    try:
        got = [numbers(loader.groups_of_rank(groups(3), rank, 3)) for rank in range(3)]
    except ValueError as error:
        got = f"ValueError: {error}"
    assert got == [[0], [1], [2]], "three groups for three ranks: nobody is without data"


@pytest.mark.exercise("groups_of_rank", points=2)
def test_with_too_few_groups_all_ranks_raise_an_error():
    got = [kind_of_error(lambda rank=rank: loader.groups_of_rank(groups(2), rank, 3)) for rank in range(3)]
    wanted = ["ValueError"] * 3
    assert got == wanted, (
        "one rank of three has no data, and the two others would wait for it for ever: all must stop, not just one"
    )


@pytest.mark.exercise("groups_of_rank")
def test_a_rank_that_does_not_exist_is_an_error():
    got = {r: kind_of_error(lambda r=r: loader.groups_of_rank(groups(6), r, 2)) for r in (-1, 2, 5)}
    wanted = {-1: "ValueError", 2: "ValueError", 5: "ValueError"}
    assert got == wanted, (
        "of two ranks the numbers are 0 and 1; any other one would read what belongs to these"
    )


# --- cut ---------------------------------------------------------------------------------------------


@pytest.mark.exercise("cut", points=2)
def test_a_long_document_becomes_several_pieces():
    got = plain(loader.cut([1, 2, 3, 4, 5, 6, 7], BOS, 3))
    assert got == [[1, 2, 3], [4, 5, 6], [7, 0]], (
        "eight targets in runs of three: the seven ids and, where the document ends, <|bos|>"
    )


@pytest.mark.exercise("cut")
def test_a_document_that_fits_is_one_piece():
    got = [plain(loader.cut(ids, 9, 4)) for ids in ([5], [5, 6, 7])]
    assert got == [[[5, 9]], [[5, 6, 7, 9]]], "the ids and the end, at most four targets: one piece"


@pytest.mark.exercise("cut")
def test_an_end_mark_does_not_stand_alone():
    got = [plain(loader.cut(ids, BOS, 3)) for ids in ([4, 5, 6], [1, 2, 3, 4, 5, 6])]
    assert got == [[[4, 5, 6]], [[1, 2, 3], [4, 5, 6]]], (
        "a last piece of <|bos|> alone would teach that a document is empty: it is left out"
    )


@pytest.mark.exercise("cut")
def test_a_document_without_ids_has_no_pieces():
    got = plain(loader.cut([], BOS, 3))
    assert got == [], "an empty text teaches nothing; a lone <|bos|> would only take room"


@pytest.mark.exercise("cut")
@given(st.lists(st.integers(1, 9), max_size=40), st.integers(1, 12))
def test_the_pieces_joined_are_the_document(ids, sequence_len):
    pieces = plain(loader.cut(list(ids), BOS, sequence_len))
    joined = [i for part in pieces for i in part if i != BOS]
    assert joined == ids, f"sequence_len {sequence_len}: all ids, in order, each once"
    full = [len(part) == sequence_len for part in pieces[:-1]]
    assert full == [True] * (len(pieces) - 1), "only the last piece may be shorter than a row"
    longest = max(lengths(pieces), default=0)
    assert longest <= sequence_len, "a longer piece fits into no row"


@pytest.mark.exercise("cut")
@given(st.lists(st.integers(1, 9), min_size=1, max_size=40), st.integers(1, 12))
def test_only_the_end_of_the_document_is_marked(ids, sequence_len):
    pieces = plain(loader.cut(list(ids), BOS, sequence_len))
    got = [part.index(BOS) if BOS in part else None for part in pieces]
    rest = len(ids) % sequence_len
    wanted = [None] * (len(pieces) - 1) + [rest or None]
    assert got == wanted, (
        f"{len(ids)} ids, sequence_len {sequence_len}: where <|bos|> stands in each piece. "
        "A model that stops at a cut stops too early"
    )


@pytest.mark.exercise("cut")
def test_the_document_that_came_in_stays_as_it_was():
    ids = [1, 2, 3, 4, 5]
    loader.cut(ids, BOS, 3)
    assert ids == [1, 2, 3, 4, 5], "your input was changed: it belongs to the caller"


# --- pack_row ----------------------------------------------------------------------------------------


@pytest.mark.exercise("pack_row")
def test_the_oldest_piece_comes_first_then_the_largest_that_fits():
    buffer = loader.Buffer([piece(4), piece(3), piece(6), piece(8), piece(2)])
    got = lengths(loader.pack_row(buffer, 10))
    assert got == [4, 6], (
        "10 positions: 4 for the oldest, and of 3, 6, 8 and 2 the 6 is the largest that fits"
    )


@pytest.mark.exercise("pack_row", points=2)
def test_a_row_is_filled_until_nothing_fits():
    buffer = loader.Buffer([piece(3), piece(2), piece(5), piece(9), piece(4), piece(2)])
    got = lengths(loader.pack_row(buffer, 13))
    assert got == [3, 9], "13 positions: 3, then 9, and one is left over"
    got = lengths(loader.pack_row(buffer, 13))
    assert got == [2, 5, 4, 2], "13 positions: 2 (the oldest now), 5, 4, 2"


@pytest.mark.exercise("pack_row")
def test_a_row_is_filled_to_its_last_position():
    got = lengths(loader.pack_row(loader.Buffer([piece(3), piece(3)]), 6))
    assert got == [3, 3], "3 + 3 targets have just the 6 positions that they need"


@pytest.mark.exercise("pack_row")
def test_a_row_never_takes_more_than_it_has_positions():
    got = lengths(loader.pack_row(loader.Buffer([piece(3), piece(4)]), 6))
    assert got == [3], "3 + 4 = 7 targets: with 6 positions the last of them would be lost"


@pytest.mark.exercise("pack_row")
def test_a_small_old_piece_does_not_wait_for_ever():
    buffer = loader.Buffer([piece(2), piece(6), piece(6)])
    got = lengths(loader.pack_row(buffer, 6))
    assert got == [2], "the row begins with the oldest, even where a younger one would fill it better"


@pytest.mark.exercise("pack_row")
def test_of_equally_large_pieces_the_older_one_is_taken():
    buffer = loader.Buffer([piece(2), piece(3, mark=11), piece(3, mark=22), piece(3, mark=33)])
    got = plain(loader.pack_row(buffer, 5))
    assert got == [[7, 0], [11, 11, 0]], "three pieces of 3 targets fit equally well"


@pytest.mark.exercise("pack_row")
def test_what_is_not_taken_goes_on_waiting_in_order():
    buffer = loader.Buffer([piece(4), piece(5, ends=False), piece(2), piece(6), piece(3)])
    row = plain(loader.pack_row(buffer, 7))
    assert row == [piece(4), piece(3)], "7 positions: 4 and 3"
    left = plain(buffer.pieces())
    assert left == [piece(5, ends=False), piece(2), piece(6)], (
        "taken pieces are gone, the others stay as they were"
    )


@pytest.mark.exercise("pack_row", points=2)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=25))
def test_each_piece_comes_into_one_row_and_no_room_is_given_away(sizes):
    buffer = loader.Buffer([piece(n, mark=i + 1, ends=i % 3 > 0) for i, n in enumerate(sizes)])
    before, rows = plain(buffer.pieces()), []
    for _ in range(len(sizes)):
        if len(buffer):
            rows.append(plain(loader.pack_row(buffer, 9)))
            room = 9 - sum(lengths(rows[-1]))
            assert room >= 0, "more targets than a row has positions: the last ones are lost"
            fitting = [n for n in lengths(buffer.pieces()) if n <= room]
            assert fitting == [], f"{room} positions are still free, and pieces that fit are waiting"
    packed = sorted(itertools.chain.from_iterable(rows))
    assert packed == sorted(before), "every piece is packed, once, and as it was"


# --- shift -------------------------------------------------------------------------------------------


@pytest.mark.exercise("shift", points=2)
def test_each_target_is_the_id_that_comes_next():
    got = two_lists(*loader.shift([[5, 6, 0]], 3, BOS))
    assert got == ([0, 5, 6], [5, 6, 0]), (
        "after <|bos|> comes 5, after 5 comes 6, and where the document ends <|bos|>"
    )


@pytest.mark.exercise("shift", points=2)
def test_every_piece_of_a_row_begins_with_bos():
    got = two_lists(*loader.shift([[5, 0], [6, 7, 0]], 5, BOS))
    assert got == ([0, 5, 0, 6, 7], [5, 0, 6, 7, 0]), "two documents: the second one begins as the first did"


@pytest.mark.exercise("shift")
def test_after_a_cut_comes_no_bos():
    got = two_lists(*loader.shift([[5, 6, 7]], 3, BOS))
    assert got == ([0, 5, 6], [5, 6, 7]), (
        "the document goes on elsewhere, so nothing ends here; the 7 is a target and no input"
    )


@pytest.mark.exercise("shift")
def test_a_piece_behind_a_cut_begins_with_bos_too():
    got = two_lists(*loader.shift([[5, 6], [7, 0]], 4, BOS))
    assert got == ([0, 5, 0, 7], [5, 6, 7, 0]), (
        "the next piece in the row is a stranger: it must not be guessed from the 6"
    )


@pytest.mark.exercise("shift")
def test_padding_teaches_nothing():
    got = two_lists(*loader.shift([[5, 6, 9]], 6, 9))
    wanted = ([9, 5, 6, 9, 9, 9], [5, 6, 9, IGNORE, IGNORE, IGNORE])
    assert got == wanted, (
        "left-over positions hold <|bos|> in x and IGNORE in y; the end of the document stays taught"
    )


@pytest.mark.exercise("shift")
def test_an_empty_row_is_all_padding():
    got = two_lists(*loader.shift([], 3, 9))
    assert got == ([9, 9, 9], [IGNORE] * 3), (
        "the rows that fill up the last batch of a validation set teach nothing"
    )


rows_of_pieces = st.lists(
    st.builds(
        lambda ids, ends: ids + [BOS] * ends,
        st.lists(st.integers(1, 9), min_size=1, max_size=4),
        st.booleans(),
    ),
    max_size=4,
)


@pytest.mark.exercise("shift")
@given(rows_of_pieces, st.integers(0, 3))
def test_every_target_is_taught_once_and_every_row_has_one_length(row, room):
    size = sum(lengths(row)) + room
    x, y = two_lists(*loader.shift(copy.deepcopy(row), size, BOS))
    assert (len(x), len(y)) == (size, size), "rows of one batch must all have `sequence_len` positions"
    taught = [i for i in y if i != IGNORE]
    assert taught == list(itertools.chain.from_iterable(row)), "each target of each piece, in order, once"


@pytest.mark.exercise("shift")
def test_the_pieces_that_came_in_stay_as_they_were():
    row = [[5, 6], [7, 0]]
    loader.shift(row, 6, BOS)
    assert row == [[5, 6], [7, 0]], "your input was changed: the pieces belong to the caller"


# --- advance -----------------------------------------------------------------------------------------


def advanced(*arguments) -> tuple[int, int, int]:
    return tuple(loader.advance(loader.Position(*arguments[0]), *arguments[1:]))


def walk(start, sizes, documents, steps):
    """(epoch, group, document) of all that is read in so many draws, of at most `documents` each."""
    position, read = loader.Position(*start), []
    for _ in range(steps):
        epoch, group, document = position
        if not (0 <= group < len(sizes) and 0 <= document < sizes[group]):
            return f"{tuple(position)}: there is no such document in groups of {sizes}"
        drawn = min(documents, sizes[group] - document)
        read += [(epoch, group, document + i) for i in range(drawn)]
        position = loader.advance(position, drawn, sizes[group], len(sizes))
    return read


@pytest.mark.exercise("advance")
def test_inside_a_group_the_document_goes_on():
    assert advanced((2, 1, 10), 5, 40, 3) == (2, 1, 15), (
        "5 of 40 documents more: the same epoch and group, 5 further"
    )


@pytest.mark.exercise("advance")
def test_the_last_document_of_a_group_is_read_too():
    got = advanced((0, 0, 35), 4, 40, 3)
    assert got == (0, 0, 39), "documents count from 0: of 40, number 39 is still to come"


@pytest.mark.exercise("advance")
def test_after_a_group_comes_the_start_of_the_next():
    assert advanced((2, 1, 35), 5, 40, 3) == (2, 2, 0), (
        "all 40 are read: group 2 follows, from its first document on"
    )


@pytest.mark.exercise("advance", points=2)
def test_after_the_last_group_comes_the_first_in_the_next_epoch():
    assert advanced((2, 2, 35), 5, 40, 3) == (3, 0, 0), (
        "groups 0, 1 and 2 are read: all begins again, and is counted"
    )
    assert advanced((0, 0, 0), 4, 4, 1) == (1, 0, 0), "with a single group, each reading of it is an epoch"


@pytest.mark.exercise("advance")
def test_the_new_place_has_named_fields():
    starts = [(2, 1, 10), (2, 1, 35), (2, 2, 35)]
    got = [loader.advance(loader.Position(*start), 5, 40, 3) for start in starts]
    names = [getattr(place, "_fields", type(place).__name__) for place in got]
    assert names == [("epoch", "group", "document")] * 3, (
        "the loader asks for position.epoch: return a Position, in all three cases"
    )


@pytest.mark.exercise("advance", points=2)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(1, 4))
def test_each_epoch_reads_each_document_once_in_order(sizes, documents):
    once = [(g, r) for g, n in enumerate(sizes) for r in range(n)]
    read = walk((0, 0, 0), sizes, documents, 2 * len(once) + 1)[: 2 * len(once)]
    wanted = [(epoch, *place) for epoch in (0, 1) for place in once]
    assert read == wanted, f"groups of {sizes}, {documents} at a time: two epochs, all documents, none twice"


@pytest.mark.exercise("advance", points=2)
def test_an_epoch_after_a_late_start_is_whole_again():
    read = walk((0, 1, 2), [3, 4, 2], 2, 8)[:13]
    rest = [(0, 1, 2), (0, 1, 3), (0, 2, 0), (0, 2, 1)]
    whole = [
        (1, 0, 0),
        (1, 0, 1),
        (1, 0, 2),
        (1, 1, 0),
        (1, 1, 1),
        (1, 1, 2),
        (1, 1, 3),
        (1, 2, 0),
        (1, 2, 1),
    ]
    assert read == rest + whole, (
        "a run that went on in the middle of its data reads all of them in the next epoch"
    )


# --- Loader.state and Loader.restore -----------------------------------------------------------------


@pytest.fixture
def load(tmp_path, monkeypatch):
    """A function that opens a Loader on the three row groups, B = 2, T = 6. It draws two documents at a time."""
    paths = []
    for i, shard in enumerate(SHARDS):
        paths.append(tmp_path / f"shard_{i:05d}.parquet")
        with pq.ParquetWriter(paths[-1], pa.schema([("text", pa.string())])) as writer:
            for texts in shard:
                writer.write_table(pa.table({"text": texts}))
    monkeypatch.setattr(loader, "DRAW", 2)
    tokenizer = SimpleNamespace(
        bos_id=BOS,
        fingerprint="letters",
        encode_batch=lambda texts: [[1 + LETTERS.index(letter) for letter in text] for text in texts],
    )

    def open_one(**settings):
        everything = lambda groups, rank, world_size: list(groups)  # noqa: E731
        with mock.patch.object(loader, "groups_of_rank", everything):  # an exercise of its own, graded above
            return loader.Loader(paths, tokenizer, 2, 6, **({"buffer_size": 4} | settings))

    return open_one


def state_of(stream, position=(0, 0, 0), pieces=()):
    """A state of this loader, written by hand."""
    return {"identity": dict(stream.identity), "position": list(position), "pieces": plain(pieces)}


def batches(stream, n):
    """The next n batches, as lists."""
    return [(x.tolist(), y.tolist()) for x, y in itertools.islice(stream, n)]


def first_difference(got, wanted) -> str:
    """Where two lists of batches part."""
    for number, (one, other) in enumerate(itertools.zip_longest(got, wanted)):
        if one != other:
            return f"batch {number} differs"
    return "the same batches"


@pytest.mark.exercise("Loader.state")
def test_the_state_of_a_new_loader_is_its_beginning(load):
    stream = load()
    assert stream.state() == state_of(stream), (
        "nothing is read yet, nothing waits, and its identity says whose it is"
    )


@pytest.mark.exercise("Loader.state", points=2)
def test_the_state_holds_the_place_and_the_pieces_that_wait(load):
    stream = load()
    stream.state()
    next(stream)
    state = stream.state()
    # Drawn: ab and cdefghijk (cut after h), l, mno and p. Rows: ab + l, and cdefgh.
    assert state["position"] == [0, 1, 2], (
        "group 0 is drawn, and mno and p of group 1: its document 2 is next"
    )
    wanted = [[9, 10, 11, 0], [13, 14, 15, 0], [16, 0]]
    got = plain(state["pieces"])
    assert got == wanted, (
        "ijk, mno and p wait: they are drawn, so without the state nobody would ever read them"
    )


@pytest.mark.exercise("Loader.state")
def test_the_state_goes_through_json_unchanged(load):
    stream = load()
    stream.state()
    next(stream)
    state = stream.state()
    try:
        back = json.loads(json.dumps(state))
    except TypeError as error:
        back = f"TypeError: {error}"
    assert back == state, (
        "a checkpoint stores the state as JSON, which has lists but no tuples, and no objects of ours"
    )


@pytest.mark.exercise("Loader.state")
def test_later_batches_do_not_change_a_state(load):
    stream = load()
    stream.state()
    next(stream)
    state = stream.state()
    before = copy.deepcopy(state)
    for _ in range(3):
        next(stream)
        stream.state()
    assert state == before, "a checkpoint is written while the training goes on: it must be of one moment"


@pytest.mark.exercise("Loader.state")
def test_changing_a_state_does_not_change_the_loader(load):
    stream = load()
    stream.buffer.add([5, 6, 0])
    before = (stream.identity["rank"], [[5, 6, 0]])
    state = stream.state()
    state["identity"]["rank"] = "another"
    for waiting in state["pieces"]:
        waiting.append(99)
    got = (stream.identity["rank"], plain(stream.buffer.pieces()))
    assert got == before, "whoever writes into a state must not write into the loader: hand out copies"


@pytest.mark.exercise("Loader.restore")
def test_restoring_sets_the_place_and_the_pieces(load):
    stream = load()
    waiting = [[5, 6], [8, 0], [7, 0]]
    stream.restore(state_of(stream, (3, 1, 1), waiting))
    got = (tuple(stream.position), plain(stream.buffer.pieces()))
    assert got == ((3, 1, 1), waiting), "the next document to draw, and all that waits, the oldest first"


@pytest.mark.exercise("Loader.restore", points=3)
def test_stopping_and_going_on_changes_no_batch(load):
    whole = load()
    state = state_of(whole)
    whole.restore(state)
    wanted = batches(whole, 14)
    for stop in range(9):
        resumed = load()
        resumed.restore(json.loads(json.dumps(state)))
        got = batches(resumed, 1)
        state = resumed.state()
        got += batches(resumed, 4)
        same = first_difference(got, wanted[stop : stop + 5])
        assert same == "the same batches", (
            f"stopped after {stop} batches, then begun anew: not one bit may differ"
        )


@pytest.mark.exercise("Loader.restore", points=2)
def test_an_epoch_with_a_stop_in_it_teaches_each_id_and_each_end_once(load):
    stream = load(epochs=1)
    stream.restore(state_of(stream))
    y = [y for _, rows in batches(stream, 2) for y in rows]
    state = json.loads(json.dumps(stream.state()))
    stream = load(epochs=1)
    stream.restore(state)
    y += [y for _, rows in batches(stream, 20) for y in rows]
    taught = Counter(i for row in y for i in row if i not in (BOS, IGNORE))
    assert taught == Counter(range(1, 1 + len(LETTERS))), (
        "each letter of the data is a target once: none lost or doubled"
    )
    ends = sum(row.count(BOS) for row in y)
    assert ends == sum(map(len, itertools.chain(*SHARDS))), "the end of each document is a target once"


@pytest.mark.exercise("Loader.restore")
def test_what_waited_before_does_not_stay(load):
    stream = load()
    stream.restore(state_of(stream, (0, 0, 0), [[1, 0]]))
    next(stream)
    stream.restore(state_of(stream, (0, 1, 0), [[2, 0]]))
    got = plain(stream.buffer.pieces())
    assert got == [[2, 0]], "going back to a state puts it in the place of what is there"


@pytest.mark.exercise("Loader.restore")
def test_a_state_can_be_restored_twice(load):
    stream = load()
    state = state_of(stream, (0, 1, 0), [[3, 4, 0], [5]])
    before = copy.deepcopy(state)
    stream.restore(state)
    batches(stream, 3)
    assert state["pieces"] == before["pieces"], (
        "restoring leaves a state as it was: one may go back to it again"
    )
    assert state == before, "restoring leaves a state as it was, its position and identity, too"


def complaint(stream, state) -> str:
    """Which keys of the identity the loader names when it refuses a state."""
    try:
        stream.restore(state)
    except ValueError as error:
        named = [name for name in stream.identity if re.search(rf"\b{name}\b", str(error))]
        return "names " + " and ".join(named or ["none"])
    except (AttributeError, KeyError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


@pytest.mark.exercise("Loader.restore", points=2)
def test_the_state_of_another_loader_is_refused_and_what_differs_is_named(load):
    stream, got = load(), {}
    for name in stream.identity:
        state = state_of(stream)
        state["identity"][name] = "another"
        got[name] = complaint(stream, state)
    wanted = {name: f"names {name}" for name in stream.identity}
    assert got == wanted, (
        "with other data, or another tokenizer or rank, the numbers in a state mean something else; "
        "the message names the key that differs, and no other"
    )


@pytest.mark.exercise("Loader.restore")
def test_a_state_that_does_not_say_all_of_its_identity_is_refused(load):
    stream, got = load(), {}
    for name in stream.identity:
        state = state_of(stream)
        del state["identity"][name]
        got[name] = complaint(stream, state)
    wanted = {name: f"names {name}" for name in stream.identity}
    assert got == wanted, (
        "a key is missing in the state, so nobody knows whether it was the same: a ValueError"
    )


@pytest.mark.exercise("Loader.restore")
def test_a_refused_state_changes_nothing(load):
    stream = load()
    stream.restore(state_of(stream, (0, 1, 0), [[3, 4, 0]]))
    for name in stream.identity:
        state = state_of(stream, (5, 2, 1), [[9, 0], [8, 0]])
        state["identity"][name] = "another"
        kind_of_error(lambda state=state: stream.restore(state))
    got = (tuple(stream.position), plain(stream.buffer.pieces()))
    assert got == ((0, 1, 0), [[3, 4, 0]]), "after the error the loader stands where it stood"
