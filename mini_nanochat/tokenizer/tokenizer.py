"""Lesson 0.3: the same merges in a fraction of the time, and the tokenizer that the pipeline uses.

Lesson 0.2 counts all pairs anew after each merge. But a merge changes few words. So: remember which words
hold a pair, change only those, pass on by how much each count has changed, and let a heap find the
commonest pair. The merges are the same, one for one. In rustbpe/ the same idea stands in Rust.

Encoding is tiktoken's (Rust too): it needs the vocabulary and the split pattern, nothing else. What is
saved are two files that a person can read, and a fingerprint, so that a changed file is noticed.

    words   {word: how often it occurs}, from `bpe.count_words`
    merges  {pair: new id}, in the order learned
    counts  {pair: how often it occurs}, kept up to date
    where   {pair: the places in the list of words that may hold it}

Papers: zouhar-2023 (BPE in n log n), tiktoken (the encoder).
"""

from __future__ import annotations

import hashlib
import heapq
import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tiktoken

from mini_nanochat.tokenizer.bpe import Pair, Word, count_pairs, count_words, merge, vocabulary
from mini_nanochat.tokenizer.text import SPECIAL_TOKENS, split_on_specials, split_pattern, to_utf8

try:
    import mini_rustbpe

    RustTrainer: Any = mini_rustbpe.Tokenizer
except ModuleNotFoundError:  # not built (no cargo): the trainer below learns the same merges
    RustTrainer = None

OnMerge = Callable[[Pair, int], None]

FORMAT = "mini_nanochat tokenizer 1"
HEADER, MERGES = "tokenizer.json", "merges.txt"


def merge_word(word: Word, pair: Pair, new_id: int) -> tuple[Word, dict[Pair, int]]:
    """`word` after the merge, and by how much the count of each pair in it has changed.

    Changes of zero are left out. (1, 2, 3) with pair (1, 2) becomes (9, 3), and the changes are
    {(1, 2): -1, (2, 3): -1, (9, 3): +1}. A word without the pair has no changes.
    """
    merged = tuple(merge(word, pair, new_id))
    changes = Counter(zip(merged, merged[1:]))
    changes.subtract(zip(word, word[1:]))
    return merged, {pair: change for pair, change in changes.items() if change}


def pop_best(heap: list[tuple[int, Pair]], counts: Mapping[Pair, int]) -> Pair | None:
    """Takes the commonest pair out of the heap; of equally common pairs, the smaller. None if none is left.

    The heap holds (-count, pair), each count above 0, and may be out of date: nobody tells it when a
    count falls (`counts` is right; a pair that is missing there, or 0, is gone). So an entry is compared
    with `counts` when it comes to the top. If it is stale, it goes back in with the right count; if the
    pair is gone, it is left out.
    """
    while heap:
        negative, pair = heapq.heappop(heap)
        count = counts.get(pair, 0)
        if count == -negative:
            return pair
        if count > 0:
            heapq.heappush(heap, (-count, pair))
    return None


def train(words: Mapping[Word, int], vocab_size: int, on_merge: OnMerge | None = None) -> dict[Pair, int]:
    """The merges of `bpe.train`, one for one, in a fraction of its time.

    Same arguments, same errors: ValueError if vocab_size is below 256, or more than the words allow.
    Time: the words that each merge touches, instead of all words (Zouhar et al. 2023, section 4).
    """
    if vocab_size < 256:
        raise ValueError(f"vocab_size must be at least 256 (one id per byte), got {vocab_size}")
    current, often = list(words), list(words.values())
    counts = Counter(count_pairs(words))
    where: dict[Pair, set[int]] = defaultdict(set)
    for i, word in enumerate(current):
        for pair in zip(word, word[1:]):
            where[pair].add(i)
    heap = [(-count, pair) for pair, count in counts.items()]
    heapq.heapify(heap)
    merges: dict[Pair, int] = {}
    for new_id in range(256, vocab_size):
        best = pop_best(heap, counts)
        if best is None:
            raise ValueError(_too_large(vocab_size, new_id))
        merges[best], count = new_id, counts[best]
        born = set()
        for i in where.pop(best):
            current[i], changes = merge_word(current[i], best, new_id)
            for pair, change in changes.items():
                counts[pair] += change * often[i]
                if change > 0:  # only pairs with the new id can grow
                    where[pair].add(i)
                    born.add(pair)
        for pair in born:
            heapq.heappush(heap, (-counts[pair], pair))
        if on_merge is not None:
            on_merge(best, count)
    return merges


def _too_large(vocab_size: int, allowed: int) -> str:
    return (
        f"vocab_size {vocab_size} is more than this corpus allows: no pair is left after "
        f"{allowed - 256} merges. Ask for {allowed} at most, or give more text."
    )


def train_in_rust(
    texts: Iterable[str], vocab_size: int, specials: Iterable[str], on_merge: OnMerge | None = None
) -> dict[Pair, int]:
    """The merges of `train(count_words(texts, specials), vocab_size)`, learned by mini_rustbpe.

    Raises ValueError where `train` does, and ModuleNotFoundError where mini_rustbpe is not built.
    """
    if RustTrainer is None:
        raise ModuleNotFoundError("mini_rustbpe is not built: run `make rust` (it needs cargo, rustup.rs)")
    merges: dict[Pair, int] = {}

    def keep(pair: Pair, count: int) -> None:
        merges[pair] = 256 + len(merges)
        if on_merge is not None:
            on_merge(pair, count)

    trainer = RustTrainer()
    trainer.train_from_iterator(
        _ordinary(texts, specials), vocab_size, pattern=split_pattern(), on_merge=keep
    )
    if trainer.vocab_size < vocab_size:
        raise ValueError(_too_large(vocab_size, trainer.vocab_size))
    return merges


def _ordinary(texts: Iterable[str], specials: Iterable[str]) -> Iterator[str]:
    """The pieces of the texts between special tokens: nothing is learned from those."""
    specials = tuple(specials)
    for text in texts:
        to_utf8(text)
        if any(special in text for special in specials):  # quicker than cutting every text
            yield from (piece for piece in split_on_specials(text, specials) if piece not in specials)
        else:
            yield text


class Tokenizer:
    """Text to ids and back: bytes, merges, and special tokens after them. Encoding is tiktoken's.

    Ids: 0..255 are bytes, then one id a merge, then the special tokens in their order.
    """

    def __init__(
        self, merges: Mapping[Pair, int], specials: Sequence[str] = SPECIAL_TOKENS, pattern: str | None = None
    ) -> None:
        self.merges = dict(merges)
        self.specials = tuple(specials)
        self.pattern = split_pattern() if pattern is None else pattern
        self.tokens = vocabulary(self.merges)  # id -> bytes, special tokens not among them
        self.special_ids = {special: len(self.tokens) + i for i, special in enumerate(self.specials)}
        self.tiktoken = tiktoken.Encoding(
            "mini_nanochat",
            pat_str=self.pattern,
            mergeable_ranks={token: i for i, token in enumerate(self.tokens)},
            special_tokens=self.special_ids,
        )

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int,
        specials: Sequence[str] = SPECIAL_TOKENS,
        on_merge: OnMerge | None = None,
        rust: bool | None = None,
    ) -> Tokenizer:
        """A tokenizer with `vocab_size` ids in all, special tokens included.

        `rust`: train in Rust (True), in Python (False), or in Rust where it is built (None): the merges
        are the same. Raises ValueError if vocab_size is too small or more than the texts allow.
        """
        ids = vocab_size - len(specials)
        if ids < 256:
            least = f"{256 + len(specials)} (256 bytes and {len(specials)} special tokens)"
            raise ValueError(f"vocab_size must be at least {least}, got {vocab_size}")
        if rust or (rust is None and RustTrainer is not None):
            return cls(train_in_rust(texts, ids, specials, on_merge), specials)
        return cls(train(count_words(texts, specials), ids, on_merge), specials)

    @property
    def vocab_size(self) -> int:
        """The number of ids: bytes, merges and special tokens."""
        return len(self.tokens) + len(self.specials)

    @property
    def bos_id(self) -> int:
        """The id of <|bos|>, which begins every document. Raises KeyError if there is no such special."""
        return self.special_ids["<|bos|>"]

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of all that decides which ids a text gets.

        Of the JSON text, that is, of the list [FORMAT, pattern, special tokens, pairs in order].
        """
        whole = [FORMAT, self.pattern, self.specials, list(self.merges)]
        return hashlib.sha256(json.dumps(whole).encode()).hexdigest()

    def encode(self, text: str, allow_specials: bool = False) -> list[int]:
        """The ids of `text`, as `bpe.encode` gives them, cut by the tokenizer's own pattern.

        A special token written in `text` is ordinary text. Only with `allow_specials` does it become
        its one id. Raises TypeError for anything but a str and ValueError for a lone surrogate, as
        `to_utf8` does (tiktoken by itself would silently put U+FFFD there).
        """
        to_utf8(text)
        if allow_specials:
            return self.tiktoken.encode(text, allowed_special="all")
        return self.tiktoken.encode_ordinary(text)

    def encode_batch(self, texts: Sequence[str], threads: int = 2) -> list[list[int]]:
        """The ids of each text, in order, each as `encode(text)` gives them; `threads` work at once.

        Raises what `encode` raises, for the first text that is at fault.
        """
        for text in texts:
            to_utf8(text)
        return self.tiktoken.encode_ordinary_batch(list(texts), num_threads=threads)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`. A special id becomes its name; bytes that are no UTF-8 become U+FFFD.

        Raises ValueError for an id below 0 or not below vocab_size; its message names that id.
        """
        data = bytearray()
        for i in ids:
            if not 0 <= i < self.vocab_size:
                raise ValueError(f"ids must lie in 0..{self.vocab_size - 1}, got {i}")
            data.extend(self.tokens[i] if i < len(self.tokens) else self._special(i).encode())
        return data.decode("utf-8", errors="replace")

    def _special(self, i: int) -> str:
        return self.specials[i - len(self.tokens)]

    def token_bytes(self) -> list[int]:
        """How many bytes of text each id stands for, entry by id; 0 for special tokens, which are no text.

        Bits per byte (lesson 2.1) divides by their sum. A token may be half a character: count its
        bytes, not what it looks like.
        """
        return [len(token) for token in self.tokens] + [0] * len(self.specials)

    def save(self, folder: str | Path) -> None:
        """Writes tokenizer.json and merges.txt into `folder`, which is made if need be.

        tokenizer.json is a JSON object with the keys format (FORMAT), vocab_size, split_pattern,
        special_tokens and fingerprint. merges.txt has one line a merge, in order: both ids and, for the
        reader, the new token's bytes as Python shows them, as in `32 116 b' t'`. Each file is written
        aside, under another name, and put in place whole, the header last. Saving the same tokenizer
        again changes nothing. Raises FileExistsError if another tokenizer lies there (models may have
        been trained with it), and whatever `load` raises if a damaged or half one does; then nothing is
        written.
        """
        folder = Path(folder)
        if (folder / HEADER).exists():
            if Tokenizer.load(folder).fingerprint == self.fingerprint:
                return
            raise FileExistsError(
                f"{folder} holds another tokenizer: nothing was written. Give another folder, or remove it."
            )
        header = {
            "format": FORMAT,
            "vocab_size": self.vocab_size,
            "split_pattern": self.pattern,
            "special_tokens": self.specials,
            "fingerprint": self.fingerprint,
        }
        lines = [f"{left} {right} {self.tokens[i]!r}\n" for (left, right), i in self.merges.items()]
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in ((MERGES, "".join(lines)), (HEADER, json.dumps(header, indent=1) + "\n")):
            aside = folder / f".{name}.{os.getpid()}"
            aside.write_bytes(text.encode())
            aside.replace(folder / name)

    @classmethod
    def load(cls, folder: str | Path) -> Tokenizer:
        """The tokenizer that `save` wrote into `folder`: same ids, same fingerprint.

        Raises FileNotFoundError if a file is missing, and ValueError if one is not what `save` wrote:
        a foreign or damaged header, a line of merges.txt that is no merge (named by its number), or a
        fingerprint or a vocab_size that does not fit.
        """
        folder = Path(folder)
        header, merges = _read_header(folder / HEADER), _read_merges(folder / MERGES)
        tokenizer = cls(merges, header["special_tokens"], header["split_pattern"])
        if (tokenizer.fingerprint, tokenizer.vocab_size) != (header["fingerprint"], header["vocab_size"]):
            raise ValueError(
                f"{folder}: this is not the tokenizer that was saved ({tokenizer.vocab_size} ids, wanted "
                f"{header['vocab_size']}; fingerprint {tokenizer.fingerprint[:12]}, wanted "
                f"{str(header['fingerprint'])[:12]}). Train it again, or fetch an undamaged copy."
            )
        return tokenizer


def _read(path: Path) -> str:
    """The text of a saved file. Raises FileNotFoundError with a remedy, ValueError if it is no text."""
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing: {path.parent} holds no tokenizer. Train one.") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no text: it is damaged, or no tokenizer of ours") from None


def _read_header(path: Path) -> dict[str, Any]:
    """The header, its keys there and of the right types. Raises ValueError for any other file."""
    wanted = {
        "format": str,
        "vocab_size": int,
        "split_pattern": str,
        "special_tokens": list,
        "fingerprint": str,
    }
    try:
        header = json.loads(_read(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is damaged: no JSON from line {error.lineno} on") from None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        kind = header.get("format", "no format") if isinstance(header, dict) else "no header"
        raise ValueError(f"{path} was not written here: {kind!r}, wanted {FORMAT!r}. Train a tokenizer.")
    for key, kind in wanted.items():
        if not isinstance(header.get(key), kind):
            raise ValueError(f"{path} is damaged: {key} must be a {kind.__name__}, got {header.get(key)!r}")
    if not all(isinstance(special, str) for special in header["special_tokens"]):
        raise ValueError(f"{path} is damaged: special_tokens must be strings, got {header['special_tokens']}")
    return header


def _read_merges(path: Path) -> dict[Pair, int]:
    """The merges. Raises ValueError, naming the line, for anything that is no merge of earlier ids."""
    merges: dict[Pair, int] = {}
    for number, line in enumerate(_read(path).splitlines(), 1):
        new_id, ids = 256 + len(merges), line.split(" ", 2)[:2]
        pair = tuple(int(i) for i in ids if i.isascii() and i.isdigit())
        if len(pair) != 2 or max(pair) >= new_id or pair in merges:
            raise ValueError(
                f"{path}, line {number}: wanted two ids below {new_id}, not yet merged, got {line!r}"
            )
        merges[pair] = new_id
    return merges
