"""Lesson 0.4: shards become batches, without loss, and a run that stops goes on where it was.

A model is trained on rows of equal length; documents have all lengths. So documents are tokenized, cut
where they are longer than a row, and packed: a row begins with the piece that has waited longest, then
the largest pieces that fit fill it up. Nothing is thrown away, and every row begins where a piece
begins, with <|bos|>. What little room is left is padding, which teaches nothing.

    B, T    rows in a batch, positions in a row
    piece   a run of at most T targets of a document; its last target is <|bos|> where the document ends
    x, y    inputs and targets, (B, T) each: y[b, t] is what follows x[b, t], or IGNORE

Each of `world_size` processes (a "rank") reads row groups of its own. The state of a loader is its place
in them and the pieces that wait: a few numbers and lists, and the next batch is the same bit for bit.
Papers: ding-2024 (packing with fewer truncations), fineweb-2024 (the text).
"""

from __future__ import annotations

import hashlib
import itertools
from array import array
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from mini_nanochat.data.shards import RowGroup, read_group, row_groups
from mini_nanochat.tokenizer.tokenizer import Tokenizer

IGNORE = -1  # a target that teaches nothing; the loss leaves it out
DRAW = 128  # documents tokenized at a time

Piece = list[int]


class Position(NamedTuple):
    """The next document of a rank: how often all were read, which of its row groups, which document in it."""

    epoch: int
    group: int
    document: int


def groups_of_rank(groups: Sequence[RowGroup], rank: int, world_size: int) -> list[RowGroup]:
    """The row groups that this rank reads: every `world_size`-th one, beginning with number `rank`.

    Together the ranks read each group once. Raises ValueError if `rank` is not in 0..world_size-1, and,
    on all ranks alike, if there are fewer groups than ranks: a rank without data would let all others
    wait for it.
    """
    if not 0 <= rank < world_size:
        raise ValueError(f"rank must lie in 0..{world_size - 1}, got {rank}")
    if len(groups) < world_size:
        raise ValueError(
            f"{len(groups)} row groups are too few for {world_size} ranks: each needs one of its own. "
            "Write the shards with smaller row groups, add shards, or use fewer ranks."
        )
    return list(groups[rank::world_size])


def cut(ids: Sequence[int], bos_id: int, sequence_len: int) -> list[Piece]:
    """A document as pieces: its targets, which are its ids and then <|bos|>, in runs of `sequence_len`.

    In order, none lost; only the last run may be shorter. But where it would hold <|bos|> alone, it is left
    out: it would teach that a document is empty. So an empty document has no pieces, and one of exactly
    `sequence_len` ids (or twice as many, ...) a piece without <|bos|>. `ids` stays as it is.
    """
    targets = [*ids, bos_id]
    return [targets[i : i + sequence_len] for i in range(0, len(ids), sequence_len)]


class Buffer:
    """Pieces that wait for a row. The oldest is found at once, and so is the largest that fits."""

    def __init__(self, pieces: Iterable[Piece] = ()) -> None:
        self._waiting: OrderedDict[int, Piece] = OrderedDict()  # number -> piece, in order of age
        self._of_length: dict[int, deque[int]] = defaultdict(deque)  # length -> numbers, in order of age
        self._lengths = 0  # bit n is set while a piece of n targets waits
        self._added = 0
        for piece in pieces:
            self.add(piece)

    def __len__(self) -> int:
        return len(self._waiting)

    def pieces(self) -> list[Piece]:
        """All that wait, the oldest first."""
        return list(self._waiting.values())

    def add(self, piece: Piece) -> None:
        length = len(piece)
        self._waiting[self._added] = piece
        self._of_length[length].append(self._added)
        self._lengths |= 1 << length
        self._added += 1

    def take_oldest(self) -> Piece:
        """Takes out the piece that has waited longest; there must be one."""
        return self._take(len(next(iter(self._waiting.values()))))

    def take_largest(self, room: int) -> Piece | None:
        """Takes out the largest piece of at most `room` targets; of equally large ones, the oldest. Or None."""
        fitting = self._lengths & ((1 << (room + 1)) - 1)  # the bits 0..room
        return self._take(fitting.bit_length() - 1) if fitting else None

    def _take(self, length: int) -> Piece:
        """Takes out the oldest piece of this length."""
        numbers = self._of_length[length]
        piece = self._waiting.pop(numbers.popleft())
        if not numbers:
            self._lengths &= ~(1 << length)
        return piece


def pack_row(buffer: Buffer, sequence_len: int) -> list[Piece]:
    """Takes the pieces of the next row out of the buffer: `sequence_len` targets at most.

    The oldest comes first, so that none waits for ever. Then, as long as one fits, the largest that
    fits (best fit; Ding et al. 2024).
    """
    row = [buffer.take_oldest()]
    room = sequence_len - len(row[0])
    while (piece := buffer.take_largest(room)) is not None:
        row.append(piece)
        room -= len(piece)
    return row


def shift(row: Sequence[Piece], sequence_len: int, bos_id: int) -> tuple[list[int], list[int]]:
    """(x, y) of a row, both `sequence_len` long: y is what follows x.

    y holds the pieces. In x each piece begins with <|bos|>, and then its targets come one step later; so its
    last one is no input. Positions that are left over hold <|bos|> in x and IGNORE in y. `row` has at most
    `sequence_len` targets, maybe none, and stays as it is.
    """
    x: list[int] = []
    y: list[int] = []
    for piece in row:
        x += [bos_id, *piece[:-1]]
        y += piece
    padding = sequence_len - len(y)
    return x + [bos_id] * padding, y + [IGNORE] * padding


def advance(position: Position, drawn: int, documents: int, groups: int) -> Position:
    """The Position after `drawn` documents more of a group that has `documents`, in a rank that has `groups`.

    At the end of a group comes the start of the next one; after the last group, the start of the first
    one, in the next epoch.
    """
    document = position.document + drawn
    if document < documents:
        return position._replace(document=document)
    if position.group + 1 < groups:
        return Position(position.epoch, position.group + 1, 0)
    return Position(position.epoch + 1, 0, 0)


class Loader:
    """Batches without end, or for so many epochs: `for x, y in Loader(...)`, each (B, T), int64, on `device`.

    With `epochs` the last batch is filled up with rows of padding. At least `buffer_size` pieces wait before a
    row is packed (more, as documents are drawn 128 at a time): the more, the better they fit. `shards` are
    train or val, never both (`shards.train_and_val`).
    Raises ValueError for sizes below 1, for bad shards, and if a rank has no data, or only empty texts.
    """

    def __init__(
        self,
        shards: Sequence[Path],
        tokenizer: Tokenizer,
        batch_size: int,
        sequence_len: int,
        *,
        rank: int = 0,
        world_size: int = 1,
        epochs: int | None = None,
        buffer_size: int = 300,
        device: str | torch.device = "cpu",
    ) -> None:
        sizes = {"batch_size": batch_size, "sequence_len": sequence_len, "buffer_size": buffer_size}
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name} must be at least 1, got {size}")
        groups = row_groups(shards)
        self.groups = groups_of_rank(groups, rank, world_size)
        self.tokenizer, self.device, self.epochs = tokenizer, torch.device(device), epochs
        self.batch_size, self.sequence_len, self.buffer_size = batch_size, sequence_len, buffer_size
        # What a state must have been taken from, to be restored here.
        self.identity = {
            "data": _describe(groups),
            "tokenizer": tokenizer.fingerprint,
            "sequence_len": sequence_len,
            "buffer_size": buffer_size,
            "rank": f"{rank} of {world_size}",
        }
        self.position, self.buffer = Position(0, 0, 0), Buffer()
        self._open: tuple[RowGroup | None, list[str]] = (None, [])  # a row group and its texts
        self._empty = 0  # documents without ids, one after the other

    def __iter__(self) -> Loader:
        return self

    def __next__(self) -> tuple[torch.Tensor, torch.Tensor]:
        bos_id, rows = self.tokenizer.bos_id, list[tuple[list[int], list[int]]]()
        while len(rows) < self.batch_size:
            self._fill()
            if not self.buffer:
                break  # the epochs are over
            rows.append(shift(pack_row(self.buffer, self.sequence_len), self.sequence_len, bos_id))
        if not rows:
            raise StopIteration
        rows += [shift([], self.sequence_len, bos_id)] * (self.batch_size - len(rows))
        flat = array("q")  # 64-bit numbers side by side: nine times as quick as torch.tensor on lists
        for row in itertools.chain.from_iterable(rows):
            flat.fromlist(row)
        batch = torch.frombuffer(flat, dtype=torch.int64).view(self.batch_size, 2, self.sequence_len)
        if self.device.type == "cuda":
            batch = batch.pin_memory()  # so that the copy runs beside the computation
        x, y = batch.to(self.device, non_blocking=True).unbind(1)  # (B, T) each
        return x, y

    def _fill(self) -> None:
        """Draws documents until `buffer_size` pieces wait, or the epochs are over."""
        while len(self.buffer) < self.buffer_size:
            if self.epochs is not None and self.position.epoch >= self.epochs:
                return
            self._draw()

    def _draw(self) -> None:
        """Tokenizes the next documents, and puts their pieces into the buffer."""
        group = self.groups[self.position.group]
        if self._open[0] != group:
            self._open = (group, read_group(group))
        texts = self._open[1][self.position.document : self.position.document + DRAW]
        for ids in self.tokenizer.encode_batch(texts):
            for piece in cut(ids, self.tokenizer.bos_id, self.sequence_len):
                self.buffer.add(piece)
            self._empty = 0 if ids else self._empty + 1
        self.position = advance(self.position, len(texts), group.rows, len(self.groups))
        if self._empty and self._empty >= sum(group.rows for group in self.groups):
            raise ValueError(
                f"rank {self.identity['rank']} found no text: all documents of its {len(self.groups)} row "
                f"groups are empty, from {self.groups[0].path} on"
            )

    def state(self) -> dict[str, Any]:
        """All that the next batch depends on, in dicts, lists and numbers that JSON can hold.

        Keys: identity; position, as [epoch, group, document] of the next document to draw; pieces, a list of
        those that wait, the oldest first. It shares nothing with the loader: later batches do not change it.
        """
        pieces = [list(piece) for piece in self.buffer.pieces()]
        return {"identity": dict(self.identity), "position": list(self.position), "pieces": pieces}

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on where `state` was taken: the next batch is the one that would have come then, bit for bit.

        `state` stays as it is. Raises ValueError, and changes nothing, if a key of this loader's identity is
        missing in the state's or has another value there: the message names a key that differs, and no other.
        """
        for name, here in self.identity.items():
            if (was := state["identity"].get(name)) != here:
                raise ValueError(
                    f"the state is of another loader: {name} was {was}, here it is {here}. "
                    "Go on with what it was taken from, or begin anew."
                )
        self.position = Position(*state["position"])
        self.buffer = Buffer(list(piece) for piece in state["pieces"])


def _describe(groups: Sequence[RowGroup]) -> str:
    """Which data these are: how many documents, and a fingerprint of where they stand."""
    places = "".join(f"{group.path.name} {group.index} {group.rows}\n" for group in groups)
    rows = sum(group.rows for group in groups)
    return (
        f"{rows} documents in {len(groups)} row groups ({hashlib.sha256(places.encode()).hexdigest()[:12]})"
    )
