"""Lesson 0.4 solved with plain lists and loops: a buffer that is searched from end to end, rows built id by id."""

from __future__ import annotations

from typing import NamedTuple

import torch

from mini_nanochat.data.shards import read_group, row_groups

IGNORE = -1
DRAW = 128


class Position(NamedTuple):
    epoch: int
    group: int
    document: int


def groups_of_rank(groups, rank, world_size):
    if rank < 0 or rank >= world_size:
        raise ValueError(f"there is no rank {rank} among {world_size}")
    if world_size > len(groups):
        raise ValueError(f"{world_size} ranks, {len(groups)} row groups: somebody would have nothing to read")
    mine = []
    for number, group in enumerate(groups):
        if number % world_size == rank:
            mine.append(group)
    return mine


def cut(ids, bos_id, sequence_len):
    rest, pieces = [*ids, bos_id], []
    while rest and rest != [bos_id]:
        pieces.append(rest[:sequence_len])
        rest = rest[sequence_len:]
    return pieces


class Buffer:
    def __init__(self, pieces=()):
        self.waiting = list(pieces)

    def __len__(self):
        return len(self.waiting)

    def pieces(self):
        return list(self.waiting)

    def add(self, piece):
        self.waiting.append(piece)

    def take_oldest(self):
        return self.waiting.pop(0)

    def take_largest(self, room):
        sizes = [len(piece) for piece in self.waiting]
        fitting = [size for size in sizes if size <= room]
        return self.waiting.pop(sizes.index(max(fitting))) if fitting else None


def pack_row(buffer, sequence_len):
    row, used = [], 0
    piece = buffer.take_oldest()
    while piece:
        row.append(piece)
        used += len(piece)
        piece = buffer.take_largest(sequence_len - used)
    return row


def shift(row, sequence_len, bos_id):
    x, y = [bos_id] * sequence_len, [IGNORE] * sequence_len
    place = 0
    for piece in row:
        for i, target in enumerate(piece):
            if i > 0:
                x[place] = piece[i - 1]
            y[place] = target
            place += 1
    return x, y


def advance(position, drawn, documents, groups):
    epoch, group, document = position
    document += drawn
    if document >= documents:
        document, group = 0, group + 1
    if group == groups:
        group, epoch = 0, epoch + 1
    return Position(epoch, group, document)


class Loader:
    def __init__(
        self,
        shards,
        tokenizer,
        batch_size,
        sequence_len,
        *,
        rank=0,
        world_size=1,
        epochs=None,
        buffer_size=300,
        device="cpu",
    ):
        if min(batch_size, sequence_len, buffer_size) < 1:
            raise ValueError(f"sizes below 1: {batch_size}, {sequence_len}, {buffer_size}")
        everything = row_groups(shards)
        self.groups = groups_of_rank(everything, rank, world_size)
        self.tokenizer, self.device, self.epochs = tokenizer, device, epochs
        self.batch_size, self.sequence_len, self.buffer_size = batch_size, sequence_len, buffer_size
        self.identity = {
            "data": " ".join(f"{group.path.name}/{group.index}/{group.rows}" for group in everything),
            "tokenizer": tokenizer.fingerprint,
            "sequence_len": sequence_len,
            "buffer_size": buffer_size,
            "rank": f"{rank} of {world_size}",
        }
        self.position, self.buffer = Position(0, 0, 0), Buffer()

    def __iter__(self):
        return self

    def __next__(self):
        bos_id, rows = self.tokenizer.bos_id, []
        for _ in range(self.batch_size):
            while len(self.buffer) < self.buffer_size and self.position.epoch != self.epochs:
                group = self.groups[self.position.group]
                texts = read_group(group)[self.position.document :][:DRAW]
                for ids in self.tokenizer.encode_batch(texts):
                    for piece in cut(ids, bos_id, self.sequence_len):
                        self.buffer.add(piece)
                self.position = advance(self.position, len(texts), group.rows, len(self.groups))
            row = pack_row(self.buffer, self.sequence_len) if len(self.buffer) else []
            rows.append((row, shift(row, self.sequence_len, bos_id)))
        if not any(row for row, _ in rows):
            raise StopIteration
        batch = torch.tensor([xy for _, xy in rows]).to(self.device)
        return batch[:, 0], batch[:, 1]

    def state(self):
        epoch, group, document = self.position
        state = {"position": [epoch, group, document], "pieces": [], "identity": {**self.identity}}
        for piece in self.buffer.pieces():
            state["pieces"].append(piece[:])
        return state

    def restore(self, state):
        different = [name for name in self.identity if self.identity[name] != state["identity"].get(name)]
        if different:
            raise ValueError(f"this state was taken somewhere else; look at: {', '.join(different)}")
        fresh = Buffer()
        for piece in state["pieces"]:
            fresh.add([*piece])
        epoch, group, document = state["position"]
        self.buffer, self.position = fresh, Position(epoch=epoch, group=group, document=document)
