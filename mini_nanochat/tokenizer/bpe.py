"""Lesson 0.2: byte-pair encoding. Learn a vocabulary from text by merging the commonest pair, over and over.

Bytes are safe but long. BPE makes them shorter: find the pair of neighbouring ids that occurs most
often, give it a new id, replace it everywhere, repeat. What it has learned is a list of merges in the
order they were learned. Encoding replays that order; decoding looks up bytes.

    word    the ids of one chunk of text, as a tuple: (32, 116, 104, 101) is " the"
    words   {word: how often the chunk occurs}
    merges  {pair: new id}, in the order learned; the first new id is 256

This is the version to read. Lesson 0.3 makes it fast.
Papers: bpe-1994 (the idea, for compression), sennrich-2016 (for words), gpt2-2019 (for bytes).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from mini_nanochat.tokenizer.text import SPECIAL_TOKENS, split, split_on_specials, to_utf8

Pair = tuple[int, int]
Word = tuple[int, ...]


def count_words(texts: Iterable[str], specials: Iterable[str] = SPECIAL_TOKENS) -> dict[Word, int]:
    """How often each chunk of `texts` occurs, as {its bytes as a tuple of ids: count}.

    Special tokens in `texts` are cut out and not counted: they are commands, nothing is learned from
    their letters. (`split_on_specials` returns them too, among the ordinary pieces.) Text repeats
    itself, so this is far smaller than the text (Sennrich et al. 2016).
    """
    specials = tuple(specials)
    words: Counter[Word] = Counter()
    for text in texts:
        for piece in split_on_specials(text, specials):
            if piece not in specials:
                words.update(tuple(to_utf8(chunk)) for chunk in split(piece))
    return dict(words)


def count_pairs(words: Mapping[Word, int]) -> dict[Pair, int]:
    """How often each pair of neighbouring ids occurs in the text that `words` stands for.

    A pair in a word that occurs 5 times counts 5 times. Overlapping pairs all count: (7, 7, 7)
    holds the pair (7, 7) twice.
    """
    counts: Counter[Pair] = Counter()
    for word, count in words.items():
        for pair in zip(word, word[1:]):
            counts[pair] += count
    return dict(counts)


def merge(ids: Sequence[int], pair: Pair, new_id: int) -> list[int]:
    """`ids` with each occurrence of `pair` replaced by `new_id`, read from left to right.

    Replaced pairs do not overlap: [7, 7, 7] with pair (7, 7) becomes [new_id, 7].
    """
    merged: list[int] = []
    i = 0
    while i < len(ids):
        if i + 1 < len(ids) and (ids[i], ids[i + 1]) == pair:
            merged.append(new_id)
            i += 2
        else:
            merged.append(ids[i])
            i += 1
    return merged


def train(
    words: Mapping[Word, int],
    vocab_size: int,
    on_merge: Callable[[Pair, int], None] | None = None,
) -> dict[Pair, int]:
    """The merges that grow a vocabulary of 256 bytes to `vocab_size` ids, in the order learned.

    Each step merges the commonest pair. Of equally common pairs the smaller one wins, compared as a
    tuple of ids, so that one corpus has one answer. `on_merge(pair, count)` is called after each step;
    the count is how often the pair occurred just before it was merged.
    Raises ValueError if vocab_size is below 256, and if the words run out of pairs first: then the
    message says how many ids these words allow.
    """
    if vocab_size < 256:
        raise ValueError(f"vocab_size must be at least 256 (one id per byte), got {vocab_size}")
    merges: dict[Pair, int] = {}
    for new_id in range(256, vocab_size):
        counts = count_pairs(words)
        if not counts:
            raise ValueError(
                f"vocab_size {vocab_size} is more than this corpus allows: no pair is left after "
                f"{len(merges)} merges. Ask for {new_id} at most, or give more text."
            )
        pair = min(counts, key=lambda pair: (-counts[pair], pair))
        merges[pair] = new_id
        words = {tuple(merge(word, pair, new_id)): count for word, count in words.items()}
        if on_merge is not None:
            on_merge(pair, counts[pair])
    return merges


def vocabulary(merges: Mapping[Pair, int]) -> list[bytes]:
    """The bytes of every id: entry i is what id i stands for, for 0..255 and then each merge."""
    tokens = [bytes([i]) for i in range(256)]
    for left, right in merges:
        tokens.append(tokens[left] + tokens[right])
    return tokens


def encode(text: str, merges: Mapping[Pair, int]) -> list[int]:
    """The ids of `text`: each chunk's bytes, merged as training merged them.

    In a chunk the pair that was learned first is merged first, wherever it stands; then the next, until
    no pair of the chunk was ever learned. A chunk of one byte has no pair. Special tokens in `text` are
    ordinary text here: only programs may give commands (lesson 0.1).
    Raises ValueError for a lone surrogate, as `to_utf8` does.
    """
    ids: list[int] = []
    for chunk in split(text):
        word = list(to_utf8(chunk))
        while len(word) > 1:
            pair = min(zip(word, word[1:]), key=lambda pair: merges.get(pair, float("inf")))
            if pair not in merges:
                break
            word = merge(word, pair, merges[pair])
        ids.extend(word)
    return ids


def decode(ids: Iterable[int], merges: Mapping[Pair, int]) -> str:
    """The text of `ids`: their bytes joined, then read as UTF-8. Bytes that are none become U+FFFD.

    Raises ValueError for an id that is not in the vocabulary.
    """
    tokens = vocabulary(merges)
    data = bytearray()
    for i in ids:
        if not 0 <= i < len(tokens):
            raise ValueError(f"ids must lie in 0..{len(tokens) - 1}, got {i}")
        data.extend(tokens[i])
    return data.decode("utf-8", errors="replace")
