"""The Rust trainer and the Python one: one corpus, one tokenizer; and a training that fails harms nothing.

Needs mini_rustbpe (`make rust`); without it, all of this is skipped and says so.
"""

import itertools
import random

import pytest

from mini_nanochat.corpus import stdlib_prose
from mini_nanochat.tokenizer import bpe, tokenizer
from mini_nanochat.tokenizer.text import SPECIAL_TOKENS

pytestmark = pytest.mark.skipif(
    tokenizer.RustTrainer is None,
    reason="mini_rustbpe is not built here: `make rust` builds it (needs cargo)",
)


def heard(texts, vocab_size, rust, specials=SPECIAL_TOKENS):
    """The tokenizer, and what `on_merge` was told."""
    told = []
    trained = tokenizer.Tokenizer.train(
        texts, vocab_size, specials, on_merge=lambda pair, count: told.append((pair, count)), rust=rust
    )
    return trained, told


def both(texts, vocab_size, specials=SPECIAL_TOKENS):
    """Trains twice, compares everything, and returns the tokenizer."""
    (ours, told), (theirs, told_too) = (heard(texts, vocab_size, rust, specials) for rust in (False, True))
    assert list(theirs.merges.items()) == list(ours.merges.items())
    assert told_too == told, "the same counts, too"
    assert theirs.fingerprint == ours.fingerprint and theirs.vocab_size == vocab_size
    return ours


def test_on_prose_they_learn_the_same_merges():
    both(stdlib_prose(150_000), 2048)


def test_on_a_corpus_made_of_ties_they_do_too():
    words = ["".join(letters) for letters in itertools.product("abcd", repeat=3)]
    both([" ".join(words)], 256 + 9 + 60)
    both([" ".join(reversed(words))], 256 + 9 + 60)


def test_special_tokens_inside_the_texts_are_left_out_by_both():
    texts = ["<|bos|>sun<|bos|>day sun<|user_start|>day<|user_start", "<|bos|>", "", "<|", "|>sunday<|bos|>"]
    trained = both(texts, 256 + 9 + 12)
    assert not any(b"os" in token for token in trained.tokens), "bos stands in special tokens only"
    both(["a<s>b<s><s>ab a<st>b" * 3], 256 + 2 + 3, specials=["<s>", "<st>"])
    both(["a<|bos|>b" * 3], 256 + 3, specials=[])


def test_on_random_corpora_they_agree_down_to_the_last_merge():
    dice = random.Random(0)
    for _ in range(100):
        texts = ["".join(dice.choices("aab \n1<é", k=dice.randint(0, 30))) for _ in range(dice.randint(1, 5))]
        most = 256
        steps = []
        with pytest.raises(ValueError):
            bpe.train(bpe.count_words(texts), 9_999, on_merge=lambda *step, steps=steps: steps.append(step))
        most += len(steps)
        both(texts, most + 9)


def test_they_refuse_the_same_sizes_with_the_same_words():
    for texts, vocab_size in ((["ab ab"], 999), ([], 300), (["abc"], 264), (["abc"], -1)):
        said = []
        for rust in (False, True):
            with pytest.raises(ValueError) as caught:
                tokenizer.Tokenizer.train(texts, vocab_size, rust=rust)
            said.append(str(caught.value))
        assert said[0] == said[1], "one clear sentence, whichever trainer it was"


class StopError(Exception):
    """Raised by nothing but these tests."""


@pytest.mark.parametrize("error", [StopError, KeyboardInterrupt], ids=["its own error", "Ctrl-C"])
@pytest.mark.parametrize("rust", [False, True], ids=["Python", "Rust"])
def test_an_error_of_the_texts_comes_through_and_harms_nothing(error, rust):
    def texts():
        yield "hello hello"
        raise error("the disk is gone")

    told = []
    with pytest.raises(error, match="the disk is gone"):
        tokenizer.Tokenizer.train(texts(), 270, on_merge=lambda *step: told.append(step), rust=rust)
    assert told == [], "nothing was learned from half a corpus"
    both(["hello hello"], 269)


@pytest.mark.parametrize("rust", [False, True], ids=["Python", "Rust"])
def test_texts_that_are_no_texts_are_refused_by_name(rust):
    for odd, kind, word in (
        (b"bytes", TypeError, "bytes"),
        (None, TypeError, "NoneType"),
        ("\ud800", ValueError, "D800"),
    ):
        with pytest.raises(kind, match=word):
            tokenizer.Tokenizer.train(iter(["fine", odd]), 270, rust=rust)


@pytest.mark.parametrize("rust", [False, True], ids=["Python", "Rust"])
def test_an_error_in_on_merge_comes_through(rust):
    def stop(pair, count):
        raise StopError("enough")

    with pytest.raises(StopError, match="enough"):
        tokenizer.Tokenizer.train(["hello hello"], 269, on_merge=stop, rust=rust)


def test_texts_may_be_anything_that_can_be_read_once():
    ours, theirs = (
        tokenizer.Tokenizer.train((text for text in ["ab", "ab cd"]), 268, rust=rust)
        for rust in (False, True)
    )
    assert ours.merges == theirs.merges


def test_without_rust_the_same_call_works_and_asking_for_it_says_what_to_do(monkeypatch):
    monkeypatch.setattr(tokenizer, "RustTrainer", None)
    assert tokenizer.Tokenizer.train(["ab ab"], 266).vocab_size == 266
    with pytest.raises(ModuleNotFoundError, match="make rust"):
        tokenizer.Tokenizer.train(["ab ab"], 266, rust=True)
