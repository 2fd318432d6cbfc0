"""Lesson 0.2 solved with bytes in place of pairs: tokens are byte strings until the very end."""

from __future__ import annotations

import re
from itertools import pairwise

from mini_nanochat.tokenizer.text import SPECIAL_TOKENS, split, to_utf8


def count_words(texts, specials=SPECIAL_TOKENS):
    specials = sorted(specials, key=len, reverse=True)
    border = re.compile("|".join(map(re.escape, specials))) if specials else None
    chunks = []
    for text in texts:
        for piece in border.split(text) if border else [text]:
            chunks.extend(split(piece))
    return {tuple(to_utf8(chunk)): chunks.count(chunk) for chunk in set(chunks)}


def count_pairs(words):
    counts = {}
    for word, count in words.items():
        for pair in pairwise(word):
            counts[pair] = counts.get(pair, 0) + count
    return counts


def merge(ids, pair, new_id):
    if len(ids) < 2:
        return list(ids)
    if tuple(ids[:2]) == tuple(pair):
        return [new_id, *merge(ids[2:], pair, new_id)]
    return [ids[0], *merge(ids[1:], pair, new_id)]


def train(words, vocab_size, on_merge=None):
    if vocab_size < 256:
        raise ValueError(f"vocab_size is {vocab_size}, and bytes alone are 256")
    merges = {}
    while len(merges) + 256 != vocab_size:
        counts = count_pairs(words)
        if not counts:
            raise ValueError(f"vocab_size is {vocab_size}, and the corpus is used up at {len(merges) + 256}")
        most = max(counts.values())
        pair = min(pair for pair, count in counts.items() if count == most)
        merges[pair] = len(merges) + 256
        merged = {}
        for word, count in words.items():
            merged[tuple(merge(list(word), pair, merges[pair]))] = count
        words = merged
        if on_merge is not None:
            on_merge(pair, most)
    return merges


def vocabulary(merges):
    tokens = [i.to_bytes(1, "big") for i in range(256)]
    for pair in merges:
        tokens.append(b"".join(tokens[i] for i in pair))
    return tokens


def encode(text, merges):
    ranks = {token: i for i, token in enumerate(vocabulary(merges))}
    ids = []
    for chunk in split(text):
        parts = [bytes([b]) for b in to_utf8(chunk)]
        while True:
            found = [(ranks[a + b], i) for i, (a, b) in enumerate(pairwise(parts)) if a + b in ranks]
            if not found:
                break
            _, i = min(found)
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        ids.extend(ranks[part] for part in parts)
    return ids


def decode(ids, merges):
    tokens = dict(enumerate(vocabulary(merges)))
    try:
        return b"".join(tokens[i] for i in ids).decode("utf-8", "replace")
    except KeyError as error:
        raise ValueError(f"no token has the id {error}") from None
