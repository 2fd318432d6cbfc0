"""Lesson 0.2 solved in another style: symbols in lists, a heap for the ranks, a loop for every step."""

from __future__ import annotations

import heapq
from collections import OrderedDict, defaultdict
from itertools import pairwise

from mini_nanochat.tokenizer import text as lesson_1


def count_words(texts, specials=lesson_1.SPECIAL_TOKENS):
    commands = list(specials)
    tally = defaultdict(int)
    for document in texts:
        for part in lesson_1.split_on_specials(document, commands):
            if part in commands:
                continue
            for chunk in lesson_1.split(part):
                key = tuple(b for b in lesson_1.to_utf8(chunk))
                tally[key] = tally[key] + 1
    return tally


def count_pairs(words):
    tally = defaultdict(int)
    for symbols in words:
        times = words[symbols]
        for right in range(1, len(symbols)):
            tally[symbols[right - 1], symbols[right]] += times
    return tally


def merge(ids, pair, new_id):
    first, second = pair
    out = []
    waiting = False  # True while `first` has been read and not written
    for symbol in ids:
        if waiting and symbol == second:
            out.append(new_id)
            waiting = False
            continue
        if waiting:
            out.append(first)
        waiting = symbol == first
        if not waiting:
            out.append(symbol)
    if waiting:
        out.append(first)
    return out


def train(words, vocab_size, on_merge=None):
    if not vocab_size >= 256:
        raise ValueError(f"a vocabulary of {vocab_size} leaves bytes without an id: 256 is the least")
    corpus = [[list(word), times] for word, times in words.items()]
    learned = OrderedDict()
    for fresh in range(256, vocab_size):
        tally = defaultdict(int)
        for symbols, times in corpus:
            for two in pairwise(symbols):
                tally[two] += times
        ranking = sorted(tally.items())
        if len(ranking) == 0:
            raise ValueError(f"only {fresh} ids can be learned from these words, {vocab_size} were asked for")
        winner, most = ranking[0]
        for two, times in ranking:
            if times > most:
                winner, most = two, times
        learned[winner] = fresh
        for entry in corpus:
            entry[0] = merge(entry[0], winner, fresh)
        if on_merge:
            on_merge(winner, most)
    return learned


def vocabulary(merges):
    spelled = {i: bytes((i,)) for i in range(256)}
    for (left, right), new_id in merges.items():
        spelled[new_id] = spelled[left] + spelled[right]
    return [spelled[i] for i in range(len(spelled))]


def encode(text, merges):
    out = []
    for chunk in lesson_1.split(text):
        symbols = list(lesson_1.to_utf8(chunk))
        while True:
            # The first place of the pair with the lowest rank; one place at a time gives the same ids.
            heap = []
            for place in range(len(symbols) - 1):
                rank = merges.get((symbols[place], symbols[place + 1]))
                if rank is not None:
                    heapq.heappush(heap, (rank, place))
            if not heap:
                break
            rank, place = heap[0]
            symbols[place : place + 2] = [rank]
        out += symbols
    return out


def decode(ids, merges):
    spelled = vocabulary(merges)
    pieces = []
    for i in ids:
        if i < 0 or i >= len(spelled):
            raise ValueError(f"{i} is no id: the vocabulary has {len(spelled)}")
        pieces.append(spelled[i])
    return str(b"".join(pieces), "utf-8", "replace")
