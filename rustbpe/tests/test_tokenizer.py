"""The Python interface: that of rustbpe 0.1.0, its merges, and kinder errors."""

import itertools
import os
import random
import signal
import threading
import time

import mini_rustbpe
import pytest
from mini_rustbpe import Tokenizer

TEXTS = ["the cat sat on the mat, the cat sat.", "hello hello world's 12345  \n\n  héllo ", "aaaaaaa" * 3]


def peer():
    """The package rustbpe from PyPI; skips where only our folder of that name is found."""
    rustbpe = pytest.importorskip("rustbpe")
    if not hasattr(rustbpe, "Tokenizer"):
        pytest.skip("rustbpe is not installed: pip install rustbpe")
    return rustbpe


def trained(texts=TEXTS, vocab_size=300, **options):
    tokenizer = Tokenizer()
    tokenizer.train_from_iterator(iter(texts), vocab_size, **options)
    return tokenizer


def random_texts(n_words, seed=0):
    rng = random.Random(seed)
    letters = "etaoinshrdlu"
    words = ["".join(rng.choices(letters, k=rng.randint(2, 12))) for _ in range(n_words)]
    return [" ".join(words[i : i + 1000]) for i in range(0, n_words, 1000)]


# The same as the others


def test_the_same_as_the_reference_of_lesson_0_2():
    bpe = pytest.importorskip("mini_nanochat.tokenizer.bpe")
    text = pytest.importorskip("mini_nanochat.tokenizer.text")
    for texts in (TEXTS, random_texts(3000)):
        log, expected = [], []
        words = bpe.count_words(texts)
        merges = bpe.train(words, 290, on_merge=lambda pair, count, to=expected: to.append((pair, count)))
        tokenizer = trained(
            texts,
            290,
            pattern=text.split_pattern(),
            on_merge=lambda pair, count, to=log: to.append((pair, count)),
        )
        assert log == expected
        assert [token for token, _ in tokenizer.get_mergeable_ranks()] == bpe.vocabulary(merges)
        for sample in (*texts, "unseen 'S wörds\t\n 123"):
            assert tokenizer.encode(sample) == bpe.encode(sample, merges)


@pytest.mark.parametrize("pattern", [None, r"\w+|\W", r"[^ ]+"])
def test_the_same_as_rustbpe(pattern):
    rustbpe = peer()
    texts = TEXTS + random_texts(5000)
    theirs, ours = rustbpe.Tokenizer(), Tokenizer()
    for tokenizer in (theirs, ours):
        tokenizer.train_from_iterator(texts, 1000, buffer_size=3, pattern=pattern)
    assert ours.get_pattern() == theirs.get_pattern()
    assert ours.get_mergeable_ranks() == theirs.get_mergeable_ranks()
    assert ours.vocab_size == theirs.vocab_size == 1000
    assert ours.batch_encode(texts) == theirs.batch_encode(texts)
    assert ours.decode([104, 999]) == theirs.decode([104, 999])


def test_tiktoken_reads_the_ranks_and_gives_the_same_ids():
    tiktoken = pytest.importorskip("tiktoken")
    tokenizer = trained(random_texts(5000), 700)
    encoding = tiktoken.Encoding(
        "mini",
        pat_str=tokenizer.get_pattern(),
        mergeable_ranks=dict(tokenizer.get_mergeable_ranks()),
        special_tokens={},
    )
    for text in (*TEXTS, "a" * 5000, random_texts(2000, seed=1)[0]):
        assert tokenizer.encode(text) == encoding.encode_ordinary(text)


def test_the_number_of_texts_at_a_time_and_their_order_do_not_matter():
    texts = random_texts(5000)
    ranks = trained(texts, 500).get_mergeable_ranks()
    assert trained(texts, 500, buffer_size=1).get_mergeable_ranks() == ranks
    assert trained(texts[::-1], 500).get_mergeable_ranks() == ranks


def test_keywords_are_those_of_rustbpe():
    tokenizer = Tokenizer()
    tokenizer.train_from_iterator(iterator=TEXTS, vocab_size=260, buffer_size=2, pattern=None)
    assert tokenizer.decode(ids=tokenizer.encode(text="hello")) == "hello"
    assert tokenizer.batch_encode(texts=["hello"]) == [tokenizer.encode("hello")]


# What it does


def test_before_training_an_id_is_a_byte():
    tokenizer = Tokenizer()
    assert tokenizer.vocab_size == 256
    assert tokenizer.get_pattern() == ""
    assert tokenizer.encode("hé") == [104, 195, 169]
    assert tokenizer.decode([104, 195, 169]) == "hé"
    assert tokenizer.get_mergeable_ranks() == [(bytes([i]), i) for i in range(256)]


def test_decoding_gives_the_text_back_and_marks_broken_bytes():
    tokenizer = trained()
    for text in (*TEXTS, "", "\0", "👩🏽\u200d🚀 \r\n\t\u3000x"):
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.decode([195, 65]) == "\ufffdA"


def test_it_stops_early_where_the_text_allows_no_more():
    tokenizer = trained(["aaaa"], 1000)
    assert tokenizer.vocab_size == 258
    assert tokenizer.get_mergeable_ranks()[256:] == [(b"aa", 256), (b"aaaa", 257)]
    assert trained([], 1000).vocab_size == 256
    assert trained(TEXTS, 2**31).vocab_size < 400


def test_on_merge_hears_of_every_merge():
    log = []
    trained(["aaaa ab ab"], 259, pattern=r"\w+", on_merge=lambda pair, count: log.append((pair, count)))
    assert log == [((97, 97), 3), ((97, 98), 2), ((256, 256), 1)]


def test_encoding_a_long_chunk_takes_no_quadratic_time():
    tokenizer = trained(["a" * 1000], 262)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        ids = tokenizer.encode("a" * 64_000)
        best = min(best, time.perf_counter() - start)
    assert tokenizer.decode(ids) == "a" * 64_000
    assert best < 0.1  # about 0.01 here; n * n steps would be 10 s and more


def test_other_threads_go_on_while_it_trains():
    ticks, done = [], threading.Event()

    def tick():
        while not done.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    texts = random_texts(300_000)
    clock = threading.Thread(target=tick)
    clock.start()
    start = time.perf_counter()
    trained(texts, 4000)
    end = time.perf_counter()
    done.set()
    clock.join()
    during = [start, *(t for t in ticks if start < t < end), end]
    # Were the lock held, there would be a single gap, as long as the training.
    assert max(later - sooner for sooner, later in itertools.pairwise(during)) < (end - start) / 2


# Errors: what, wanted, got; and nothing is changed


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((TEXTS, 255), ValueError, r"vocab_size must be at least 256 \(one id per byte\), got 255"),
        ((TEXTS, -1), ValueError, r"vocab_size must be at least 256 \(one id per byte\), got -1"),
        ((TEXTS, 2**32), ValueError, r"vocab_size must be below 2\*\*32, got 4294967296"),
        ((TEXTS, 300, 0), ValueError, "buffer_size must be at least 1, got 0"),
        ((TEXTS, 300, 8192, "("), ValueError, "Invalid regex pattern: "),
        ((TEXTS, 300, 8192, r"(?=(a+)+b)x|(a|aa)+\1b"), ValueError, "split pattern failed"),
        ((["a", b"b"], 300), TypeError, "texts must be str, got bytes"),
        (([1], 300), TypeError, "texts must be str, got int"),
        ((5, 300), TypeError, "'int' object is not iterable"),
        ((["\ud800"], 300), UnicodeEncodeError, "surrogates not allowed"),
        ((TEXTS, 300, 8192, None, lambda pair, count: 1 / 0), ZeroDivisionError, "division by zero"),
        ((TEXTS, 300, 8192, None, 5), TypeError, "'int' object is not callable"),
    ],
)
def test_a_training_that_fails_says_why_and_changes_nothing(arguments, error, message):
    if len(arguments) > 3 and arguments[3] and "(a+)" in arguments[3]:
        arguments = (["a" * 100_000], *arguments[1:])
    tokenizer = trained()
    before = tokenizer.get_mergeable_ranks(), tokenizer.get_pattern()
    with pytest.raises(error, match=message):
        tokenizer.train_from_iterator(*arguments)
    assert (tokenizer.get_mergeable_ranks(), tokenizer.get_pattern()) == before


def test_what_the_iterator_raises_goes_through():
    def texts():
        yield "some text"
        raise KeyError("boom")

    tokenizer = trained()
    before = tokenizer.get_mergeable_ranks()
    with pytest.raises(KeyError, match="boom"):
        tokenizer.train_from_iterator(texts(), 400)
    assert tokenizer.get_mergeable_ranks() == before


def test_unknown_ids_are_named():
    for bad in (300, -1, 2**40):
        with pytest.raises(ValueError, match=f"Unknown token id: {bad} "):
            Tokenizer().decode([104, bad])


def test_texts_to_encode_must_be_str():
    tokenizer = trained()
    with pytest.raises(TypeError):
        tokenizer.encode(b"bytes")
    with pytest.raises(TypeError):
        tokenizer.batch_encode("one str is no list of str")
    with pytest.raises(UnicodeEncodeError):
        tokenizer.encode("\ud800")


@pytest.fixture
def control_c():
    """Python's own answer to Ctrl-C. A shell starts what runs in the background with the signal ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("stage", ["counting", "merging"])
def test_control_c_ends_the_training_and_changes_nothing(stage, control_c):
    # itertools.repeat runs no Python code, so only the trainer itself can notice the signal.
    texts = itertools.repeat("endless text " * 100) if stage == "counting" else random_texts(400_000)
    tokenizer = trained()
    before = tokenizer.get_mergeable_ranks()
    timer = threading.Timer(0.4, os.kill, (os.getpid(), signal.SIGINT))
    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        timer.start()
        tokenizer.train_from_iterator(texts, 2**31)
        time.sleep(5)  # it was too quick for the signal, or did not care
    assert time.perf_counter() - start < 4
    assert tokenizer.get_mergeable_ranks() == before


def test_the_module_has_the_names_of_its_stub_file():
    assert {name for name in vars(mini_rustbpe) if not name.startswith("_")} >= {"Tokenizer", "split"}
    names = {name for name in vars(Tokenizer) if not name.startswith("_")}
    assert names == {
        "train_from_iterator",
        "get_pattern",
        "get_mergeable_ranks",
        "vocab_size",
        "encode",
        "batch_encode",
        "decode",
    }
