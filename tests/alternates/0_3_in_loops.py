"""Lesson 0.3 solved in another style: loops, sorted lists, a heap of one's own, and no Counter."""

from __future__ import annotations

import contextlib
import hashlib
import heapq
import json
import tempfile
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import tiktoken

from mini_nanochat.tokenizer import bpe
from mini_nanochat.tokenizer import text as lesson_1

FORMAT = "mini_nanochat tokenizer 1"


def merge_word(word, pair, new_id):
    after = []
    place = 0
    while place < len(word):
        if tuple(word[place : place + 2]) == pair:
            after.append(new_id)
            place += 2
        else:
            after.append(word[place])
            place += 1
    balance = {}
    for sequence, sign in ((word, -1), (after, +1)):
        for i in range(1, len(sequence)):
            two = sequence[i - 1], sequence[i]
            balance[two] = balance.get(two, 0) + sign
            if balance[two] == 0:
                del balance[two]
    return tuple(after), balance


def pop_best(heap, counts):
    # Put right whatever is on top until what is on top is right.
    while heap:
        thought, pair = heap[0]
        now = counts.get(pair, 0)
        if now <= 0:
            heapq.heappop(heap)
        elif now != -thought:
            heapq.heapreplace(heap, (-now, pair))
        else:
            return heapq.heappop(heap)[1]


def train(words, vocab_size, on_merge=None):
    if not vocab_size >= 256:
        raise ValueError(f"256 bytes need an id each, {vocab_size} ids are too few")
    entries = [[word, times] for word, times in words.items()]
    counts = defaultdict(int)
    places = defaultdict(list)
    for entry in entries:
        for two in zip(entry[0], entry[0][1:]):
            counts[two] += entry[1]
            places[two].append(entry)
    heap = sorted((-n, two) for two, n in counts.items())
    merges = {}
    while len(merges) < vocab_size - 256:
        best = pop_best(heap, counts)
        if best is None:
            raise ValueError(f"these words allow {256 + len(merges)} ids, not {vocab_size}")
        often = counts.pop(best)
        new_id = merges[best] = 256 + len(merges)
        for entry in places.pop(best):  # a word may stand here twice; the second time nothing changes
            entry[0], changes = merge_word(entry[0], best, new_id)
            for two, change in changes.items():
                if two == best:
                    continue
                counts[two] += change * entry[1]
                if new_id in two:  # pushed at each change: the last entry is right, the others are too low
                    heapq.heappush(heap, (-counts[two], two))
                    places[two].append(entry)
                if not counts[two]:
                    del counts[two]
        if on_merge:
            on_merge(best, often)
    return merges


class Tokenizer:
    def __init__(self, merges, specials=lesson_1.SPECIAL_TOKENS, pattern=None):
        self.merges = {tuple(pair): i for pair, i in merges.items()}
        self.specials = tuple(specials)
        self.pattern = pattern or lesson_1.split_pattern()
        self.tokens = bpe.vocabulary(self.merges)
        first = len(self.tokens)
        self.special_ids = dict(zip(self.specials, range(first, first + len(self.specials))))
        ranks = dict(zip(self.tokens, range(first)))
        self.tiktoken = tiktoken.Encoding(
            "alternate", pat_str=self.pattern, mergeable_ranks=ranks, special_tokens=self.special_ids
        )

    @property
    def vocab_size(self):
        return len(self.tokens) + len(self.specials)

    @property
    def fingerprint(self):
        pairs = [[left, right] for left, right in self.merges]
        data = json.dumps([FORMAT, self.pattern, list(self.specials), pairs])
        return hashlib.sha256(data.encode("ascii")).hexdigest()

    def encode(self, text, allow_specials=False):
        pieces = lesson_1.split_on_specials(text, self.specials) if allow_specials else [text]
        ids = []
        for piece in pieces:
            lesson_1.to_utf8(piece)
            if allow_specials and piece in self.special_ids:
                ids.append(self.special_ids[piece])
            else:
                ids += self.tiktoken.encode(piece, disallowed_special=())
        if not pieces:
            lesson_1.to_utf8(text)
        return ids

    def encode_batch(self, texts, threads=2):
        with ThreadPoolExecutor(threads) as pool:
            waiting = [pool.submit(self.encode, text) for text in texts]
            return [future.result() for future in waiting]

    def decode(self, ids):
        data = b""
        for i in ids:
            if i < 0 or i >= self.vocab_size:
                raise ValueError(f"there is no id {i}")
            data += (self.tokens + [name.encode() for name in self.specials])[i]
        return data.decode("utf-8", "replace")

    def token_bytes(self):
        sizes = [0] * self.vocab_size
        for i in range(len(self.tokens)):
            sizes[i] = len(self.tiktoken.decode_single_token_bytes(i))
        return sizes

    def save(self, folder):
        folder = Path(folder)
        there = folder / "tokenizer.json"
        if there.is_file():
            if type(self).load(folder).fingerprint != self.fingerprint:
                raise FileExistsError(f"{there} belongs to another tokenizer")
            return
        folder.mkdir(exist_ok=True, parents=True)
        merges = ""
        for (left, right), new_id in self.merges.items():
            merges += f"{left} {right} {self.tokens[new_id]}\n"
        self._put(folder / "merges.txt", merges)
        header = {"fingerprint": self.fingerprint, "special_tokens": list(self.specials)}
        header |= {"split_pattern": self.pattern, "vocab_size": self.vocab_size, "format": FORMAT}
        self._put(there, json.dumps(header, ensure_ascii=False))

    @staticmethod
    def _put(path, content):
        with tempfile.TemporaryDirectory(dir=path.parent) as aside:
            new = Path(aside) / path.name
            new.write_bytes(content.encode("utf-8"))
            new.replace(path)

    @classmethod
    def load(cls, folder):
        folder = Path(folder)
        for name in ("tokenizer.json", "merges.txt"):
            if not (folder / name).exists():
                raise FileNotFoundError(folder / name)
        header = json.loads((folder / "tokenizer.json").read_text("utf-8"))  # its errors are ValueErrors
        kinds = [("format", str), ("split_pattern", str), ("special_tokens", list), ("fingerprint", str)]
        kinds.append(("vocab_size", int))
        if type(header) is not dict or not all(isinstance(header.get(key), kind) for key, kind in kinds):
            raise ValueError("no header of a tokenizer")
        if header["format"] != FORMAT:
            raise ValueError(f"format {header['format']} is not {FORMAT}")
        merges = {}
        for number, line in enumerate((folder / "merges.txt").read_text("utf-8").splitlines(), 1):
            left = right = -1
            with contextlib.suppress(ValueError, IndexError):
                left, right = (int(word) for word in line.split()[:2])
            if not 0 <= min(left, right) <= max(left, right) < 256 + len(merges) or (left, right) in merges:
                raise ValueError(f"line {number} is no merge: {line}")
            merges[left, right] = 256 + len(merges)
        found = cls(merges, header["special_tokens"], header["split_pattern"])
        if found.fingerprint != header["fingerprint"] or found.vocab_size != header["vocab_size"]:
            raise ValueError("these files do not belong together")
        return found
