"""Graded tests of lesson 0.3: the same merges, faster, and a tokenizer that can be saved.

The slow trainer and encoder of lesson 0.2 judge the fast ones: they are easy to read, and were judged by
tiktoken and on paper. What must not change is checked there; files are written and read by hand.
"""

import hashlib
import heapq
import itertools
import json
import os
import re
from collections import Counter
from functools import cache
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mini_nanochat.tokenizer import bpe, tokenizer
from mini_nanochat.tokenizer.text import SPECIAL_TOKENS

# The toy corpus of Sennrich et al. (2016), worked out on paper in lesson 0.2: (pair, how often).
TOY = {tuple(b"low"): 5, tuple(b"lower"): 2, tuple(b"newest"): 6, tuple(b"widest"): 3}
TOY_STEPS = [((101, 115), 9), ((256, 116), 9), ((108, 111), 7), ((258, 119), 7), ((101, 119), 6)]

PROSE = """The heap knows which pair was the commonest. It does not know which pair is the commonest: counts
fall while it sleeps. So the pair on top is a guess, and a guess is looked up before it is believed. Looking up
costs little; counting everything again costs a lot. aaaaaaa aaa aa == == ==== 12 1212 121212 \n\n\n\t\t
Was it worth it? It was: the words that hold the pair are few, and the others were never looked at."""

# Every pair of four letters, equally often: nothing but the rule for ties decides.
TIES = dict.fromkeys(itertools.product(b"abcd", repeat=3), 2)


def merges_of(*steps: tuple[bytes, bytes]) -> dict[tuple[int, int], int]:
    """Merges written as bytes, (left, right) in the order learned, turned into ids."""
    ids = {bytes([i]): i for i in range(256)}
    merges = {}
    for left, right in steps:
        merges[ids[left], ids[right]] = ids[left + right] = 256 + len(merges)
    return merges


# A vocabulary by hand: a space and its word, code, an emoji in two halves, a token that ends in half a letter.
HAND = merges_of(
    (b" ", b"t"), (b"h", b"e"), (b" t", b"he"), (b"i", b"n"), (b"a", b"a"), (b"aa", b"aa"), (b"<", b"|"),
    (b"b", b"o"), (b"bo", b"s"), (b"\xf0", b"\x9f"), (b"\x92", b"\x96"), (b"\xf0\x9f", b"\x92\x96"),
    (b" ", b"\xc3"), (b"=", b"="), (b"1", b"2"),
)  # fmt: skip
IDS = 256 + len(HAND)  # the first special token has this id

EDGES = [
    "",
    "a",
    "\x00",
    "the thing in there == 1212 aaaaaaa",
    "é naïve \U0001f496\U0001f496 <|bos|>",
    "\U0001f469\u200d\U0001f467\r\n\t  x",
]


@cache
def by_hand(specials=SPECIAL_TOKENS):
    """The tokenizer of that vocabulary: it is built once, for there are many texts."""
    return tokenizer.Tokenizer(HAND, specials)


some_text = st.one_of(st.sampled_from(EDGES), st.text("aheint \U0001f496é<|bos>12\n", max_size=20), st.text())
small_words = st.dictionaries(
    st.lists(st.integers(97, 99), max_size=7).map(tuple), st.integers(1, 4), min_size=1, max_size=6
)


def heard(train, words, vocab_size):
    """The merges as a list, and what `on_merge` was told on the way."""
    told = []
    merges = train(words, vocab_size, on_merge=lambda pair, count: told.append((pair, count)))
    return list(merges.items()), told


KINDS = (FileNotFoundError, FileExistsError, ValueError, TypeError)


def error_of(call) -> str:
    """The kind of error that `call` raises, as far as the lesson promises one."""
    try:
        call()
    except KINDS as error:
        return next(kind.__name__ for kind in KINDS if isinstance(error, kind))
    return "no error"


def said_of(call) -> str:
    """The message of the ValueError that `call` raises, or nothing."""
    try:
        call()
    except ValueError as error:
        return str(error)
    return ""


# --- merge_word --------------------------------------------------------------------------------------


def merged(word, pair, new_id):
    """What `merge_word` gives, as (tuple, dict)."""
    after, changes = tokenizer.merge_word(word, pair, new_id)
    return tuple(after), dict(changes)


@pytest.mark.exercise("merge_word")
def test_a_merge_changes_the_counts_of_its_neighbours_on_both_sides():
    got = tokenizer.merge_word((5, 1, 2, 6), (1, 2), 9)
    wanted = ((5, 9, 6), {(5, 1): -1, (1, 2): -1, (2, 6): -1, (5, 9): 1, (9, 6): 1})
    assert got == wanted, (
        "the word, a tuple as before, and its changes: three pairs are gone, 5 and 6 have a new neighbour"
    )


@pytest.mark.exercise("merge_word")
def test_pairs_that_stand_side_by_side_become_neighbours():
    got = merged((1, 2, 1, 2), (1, 2), 9)
    wanted = ((9, 9), {(1, 2): -2, (2, 1): -1, (9, 9): 1})
    assert got == wanted, "both places are merged, so no 9 has a 1 or a 2 beside it in the end"


@pytest.mark.exercise("merge_word")
def test_in_a_run_every_overlapping_pair_is_taken_off():
    got = merged((7, 7, 7), (7, 7), 9)
    wanted = ((9, 7), {(7, 7): -2, (9, 7): 1})
    assert got == wanted, "(7, 7, 7) counted (7, 7) twice: one replacement removes both"


@pytest.mark.exercise("merge_word")
def test_pairs_whose_count_stays_are_left_out():
    got = merged((1, 2, 5, 6, 7), (1, 2), 9)
    wanted = ((9, 5, 6, 7), {(1, 2): -1, (2, 5): -1, (9, 5): 1})
    assert got == wanted, "(5, 6) and (6, 7) are as common as before: nobody needs to hear of them"
    got = merged((3, 1, 3, 1, 2, 4), (1, 2), 9)[1].get((3, 1), 0)
    assert got == -1, "one of two (3, 1) is gone; what counts is the difference"


@pytest.mark.exercise("merge_word")
def test_a_word_without_the_pair_stays_and_changes_nothing():
    for word in ((), (5,), (2, 1), (1, 1, 3)):
        got = merged(word, (1, 2), 9)
        assert got == (word, {}), f"{word} does not hold (1, 2): the same word, no changes"


@pytest.mark.exercise("merge_word", points=2)
@given(st.lists(st.integers(0, 2), max_size=12), st.tuples(st.integers(0, 2), st.integers(0, 2)))
def test_counts_before_and_changes_are_the_counts_after(ids, pair):
    word = tuple(ids)
    after, changes = merged(word, pair, 9)
    before = Counter(zip(word, word[1:]))
    got = {p: n for p in {*before, *changes} if (n := before[p] + changes.get(p, 0))}
    assert got == dict(Counter(zip(after, after[1:]))), "counting the merged word anew must give the same"


# --- pop_best ----------------------------------------------------------------------------------------


def heap_of(**counts: int) -> list[tuple[int, tuple[int, int]]]:
    """A heap in which, for example, ab=3 stands for the pair (97, 98), thought to occur 3 times."""
    heap = [(-count, tuple(name.encode())) for name, count in counts.items()]
    heapq.heapify(heap)
    return heap


def truth(**counts: int):
    """Counts that can be read and not be changed."""
    return MappingProxyType({tuple(name.encode()): count for name, count in counts.items()})


def popped(heap, counts, times: int) -> list[str | None]:
    """The names of the next pairs that come out of a copy of the heap."""
    heap = list(heap)
    pairs = (tokenizer.pop_best(heap, counts) for _ in range(times))
    return [bytes(pair).decode() if pair is not None else None for pair in pairs]


@pytest.mark.exercise("pop_best")
def test_the_commonest_pair_comes_out_and_is_gone_from_the_heap():
    got = popped(heap_of(xy=2, ab=9, cd=5), truth(xy=2, ab=9, cd=5), 3)
    assert got == ["ab", "cd", "xy"], "9, then 5, then 2: what has come out does not come out again"
    got = popped(heap_of(zz=4, ba=4, ab=4, aa=3), truth(zz=4, ba=4, ab=4, aa=3), 4)
    assert got == ["ab", "ba", "zz", "aa"], "of equally common pairs the smaller one comes first: rule of 0.2"


@pytest.mark.exercise("pop_best")
def test_an_old_count_on_top_of_the_heap_is_not_believed():
    got = popped(heap_of(ab=9, cd=5), truth(ab=4, cd=5), 1)
    assert got == ["cd"], "ab occurred 9 times once, and 4 times now: cd is commoner"


@pytest.mark.exercise("pop_best", points=2)
def test_a_pair_that_has_become_rarer_keeps_its_turn():
    got = popped(heap_of(ab=9, cd=5, ef=2), truth(ab=4, cd=5, ef=2), 3)
    assert got == ["cd", "ab", "ef"], "ab has fallen to 4, not to nothing: it comes after 5 and before 2"


@pytest.mark.exercise("pop_best")
def test_what_goes_back_keeps_the_heap_in_order():
    got = popped(heap_of(ab=9, cd=2), truth(ab=4, cd=2), 2)
    assert got == ["ab", "cd"], "ab goes back with 4, which is still more than 2: its place is on top"


@pytest.mark.exercise("pop_best")
def test_pairs_that_are_gone_never_come_out():
    got = popped(heap_of(ab=9, cd=8, ef=1), truth(cd=0, ef=1), 2)
    assert got == ["ef", None], "ab is missing in counts, cd is 0: nothing is left of them; in the end, None"
    assert popped([], truth(), 1) == [None], "an empty heap: no pair is left"


def popped_to_the_end(heap, counts) -> list[tuple[int, int] | None]:
    """What comes out of a copy of the heap, one call for each entry and one more."""
    copy = list(heap)
    return [tokenizer.pop_best(copy, counts) for _ in range(len(heap) + 1)]


@pytest.mark.exercise("pop_best")
@given(
    st.dictionaries(
        st.tuples(st.integers(0, 3), st.integers(0, 3)), st.tuples(st.integers(0, 4), st.integers(1, 4))
    )
)
def test_one_after_the_other_all_living_pairs_come_out_in_order(now_and_before):
    counts = {pair: now for pair, (now, _) in now_and_before.items()}
    heap = sorted((-max(now, before), pair) for pair, (now, before) in now_and_before.items())
    got = popped_to_the_end(heap, counts)
    living = sorted((-now, pair) for pair, now in counts.items() if now)
    wanted = [pair for _, pair in living] + [None] * (len(heap) + 1 - len(living))
    assert got == wanted, "by true counts, commonest first, ties by the smaller pair, then None"


# --- train -------------------------------------------------------------------------------------------


@pytest.mark.exercise("train")
def test_the_toy_text_gives_the_steps_of_the_table():
    words = dict(TOY)
    merges, told = heard(tokenizer.train, words, 261)
    assert merges == [(pair, 256 + i) for i, (pair, _) in enumerate(TOY_STEPS)], "as on paper in lesson 0.2"
    assert told == TOY_STEPS, "on_merge hears of each pair, with the count that it won with"


@pytest.mark.exercise("train", points=2)
def test_a_change_counts_as_often_as_its_word_occurs():
    words = {tuple(b"abc"): 5, tuple(b"bcd"): 3, tuple(b"da"): 4}
    got = list(tokenizer.train(words, 260))
    wanted = [(98, 99), (97, 256), (100, 97), (256, 100)]
    assert got == wanted, "bc occurs 8 times; then a+bc 5 times, d+a 4 times, bc+d 3 times: words have counts"


@pytest.mark.exercise("train", points=3)
def test_on_real_text_all_merges_and_counts_are_those_of_lesson_0_2():
    words = bpe.count_words([PROSE])
    got = heard(tokenizer.train, words, 256 + 120)
    assert got == heard(bpe.train, words, 256 + 120), "one tokenizer, trained twice: no merge may differ"


@pytest.mark.exercise("train", points=2)
def test_on_a_corpus_made_of_ties_they_agree_too():
    got = heard(tokenizer.train, TIES, 256 + 40)
    assert got == heard(bpe.train, TIES, 256 + 40), "every pair occurs equally often: the smaller one wins"


@pytest.mark.exercise("train", points=2)
@given(small_words)
def test_small_corpora_agree_down_to_the_last_merge(words):
    steps = []
    error_of(lambda: bpe.train(words, 999, on_merge=lambda pair, count: steps.append((pair, count))))
    merges, told = heard(tokenizer.train, words, 256 + len(steps))
    assert told == steps, (
        "the steps of the slow trainer, until no pair is left: first the pair, then its count"
    )
    assert merges == [(pair, 256 + i) for i, (pair, _) in enumerate(steps)], "ids in the order learned"


@pytest.mark.exercise("train")
def test_sizes_that_cannot_be_are_refused():
    for vocab_size in (255, 0, -1):
        got = error_of(lambda size=vocab_size: tokenizer.train(dict(TOY), size))
        assert got == "ValueError", f"{vocab_size} ids are too few: each of the 256 bytes needs one"
    assert list(tokenizer.train(dict(TOY), 256)) == [], "256 ids are the bytes: no merge"


@pytest.mark.exercise("train")
def test_when_the_pairs_run_out_the_message_says_how_many_ids_are_possible():
    for words, possible in ((TOY, "268"), ({(97,): 8}, "256"), ({}, "256")):
        got = re.findall(r"\d+", said_of(lambda words=dict(words): tokenizer.train(words, 300)))
        assert possible in got, "300 ids were asked for; the reader wants to know how many are possible"


@pytest.mark.exercise("train")
def test_training_leaves_the_words_as_they_were():
    words = dict(TOY)
    tokenizer.train(words, 262)
    assert words == TOY, "the caller may train again on the same words, with another size"


# --- Tokenizer.encode --------------------------------------------------------------------------------


@pytest.mark.exercise("Tokenizer.encode", points=2)
@given(some_text)
def test_the_ids_are_those_of_the_encoder_of_lesson_0_2(string):
    got = by_hand().encode(string)
    assert got == bpe.encode(string, HAND), "tiktoken is faster; it must not be another tokenizer"


@pytest.mark.exercise("Tokenizer.encode")
def test_a_special_token_in_the_text_is_ordinary_text():
    got = tokenizer.Tokenizer({}).encode("a<|bos|>")
    assert got == list(b"a<|bos|>"), "nobody can type a command, and text about commands is no error"


@pytest.mark.exercise("Tokenizer.encode")
def test_with_allow_specials_each_special_token_is_its_one_id():
    got = tokenizer.Tokenizer(HAND).encode("<|bos|>the<|bos|><|user_end|>", allow_specials=True)
    wanted = [IDS, 116, HAND[104, 101], IDS, IDS + 2]
    assert got == wanted, "programs may give commands; ids of special tokens follow the merges, in order"


@pytest.mark.exercise("Tokenizer.encode")
def test_what_is_no_text_is_refused():
    refused = {"ok \ud800": "ValueError", b"bytes": "TypeError", None: "TypeError"}
    for odd, wanted in refused.items():
        for allow in (False, True):
            got = error_of(lambda odd=odd, allow=allow: tokenizer.Tokenizer({}).encode(odd, allow))
            assert got == wanted, f"{odd!r} is no text: ids for something else would hide the damage"


@pytest.mark.exercise("Tokenizer.encode")
def test_the_tokenizers_own_pattern_and_special_tokens_count():
    mine = tokenizer.Tokenizer({(32, 116): 256}, specials=["<stop>"], pattern=r"\S+|\s+")
    got = [mine.encode("a t"), mine.encode("a<stop>", allow_specials=True)]
    wanted = [[97, 32, 116], [97, 257]]
    assert got == wanted, "this pattern keeps a space and a t apart, and <stop> is this tokenizer's command"


# --- Tokenizer.encode_batch --------------------------------------------------------------------------


@pytest.mark.exercise("Tokenizer.encode_batch")
def test_a_batch_gives_what_each_text_gives_alone_and_in_order():
    texts = ("the " * 400, "", "a", "\U0001f496 in", "", "the the")
    for threads in (1, 2, 5):
        got = by_hand().encode_batch(texts, threads=threads)
        wanted = [bpe.encode(text, HAND) for text in texts]
        assert got == wanted, "one list of ids a text, empty texts too, whichever thread is done first"
    assert tokenizer.Tokenizer({}).encode_batch([]) == [], "no texts, no ids, no error"


@pytest.mark.exercise("Tokenizer.encode_batch")
def test_no_text_of_a_batch_can_give_a_command():
    got = tokenizer.Tokenizer({}).encode_batch(["hi", "<|bos|>"])
    assert got == [list(b"hi"), list(b"<|bos|>")], "what holds for one text holds for many"


@pytest.mark.exercise("Tokenizer.encode_batch")
def test_the_first_text_at_fault_decides_the_error():
    for texts, wanted in ((["a", "\ud800", 7], "ValueError"), (["a", 7, "\ud800"], "TypeError")):
        got = error_of(lambda texts=texts: tokenizer.Tokenizer({}).encode_batch(texts))
        assert got == wanted, f"{texts!r}: the second text is the first that encode would refuse"


# --- Tokenizer.token_bytes ---------------------------------------------------------------------------


@pytest.mark.exercise("Tokenizer.token_bytes")
def test_every_id_has_an_entry_and_special_tokens_have_none_of_the_text():
    got = list(tokenizer.Tokenizer({(32, 116): 256, (256, 104): 257}).token_bytes())
    wanted = [1] * 256 + [2, 3] + [0] * 9
    assert got == wanted, "256 bytes, two merges, nine commands: commands are no text, so they weigh nothing"


@pytest.mark.exercise("Tokenizer.token_bytes")
def test_half_a_character_weighs_its_own_bytes():
    ids = [195, HAND[240, 159], HAND[146, 150], HAND[32, 195], HAND[HAND[240, 159], HAND[146, 150]]]
    sizes = list(tokenizer.Tokenizer(HAND).token_bytes())
    got = [sizes[i] for i in ids]
    assert got == [1, 2, 2, 2, 4], "halves of é and of a heart are no text alone; the heart has four bytes"


@pytest.mark.exercise("Tokenizer.token_bytes")
@given(some_text)
def test_the_bytes_of_all_tokens_add_up_to_the_text(string):
    got = by_hand(()).token_bytes()
    got = sum(got[i] for i in bpe.encode(string, HAND))
    assert got == len(string.encode()), "bits per byte divides by this sum: a byte too many is a better score"


# --- Tokenizer.save ----------------------------------------------------------------------------------

PATTERN = r"\w+|\W"
SAVED = {(32, 116): 256, (256, 104): 257, (240, 159): 258, (39, 10): 259}
SAVED_LINES = "32 116 b' t'\n256 104 b' th'\n240 159 b'\\xf0\\x9f'\n39 10 b\"'\\n\"\n"


def fingerprint_of(merges, specials, pattern) -> str:
    """The fingerprint, worked out from its description."""
    whole = ["mini_nanochat tokenizer 1", pattern, list(specials), [list(pair) for pair in merges]]
    return hashlib.sha256(json.dumps(whole).encode()).hexdigest()


def header_of(merges, specials, pattern):
    """What tokenizer.json must say."""
    return {
        "format": "mini_nanochat tokenizer 1",
        "vocab_size": 256 + len(merges) + len(specials),
        "split_pattern": pattern,
        "special_tokens": list(specials),
        "fingerprint": fingerprint_of(merges, specials, pattern),
    }


def files_in(folder) -> dict[str, bytes]:
    """Every file in `folder`, hidden ones too."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.exercise("Tokenizer.save")
def test_merges_are_saved_in_order_one_readable_line_each(tmp_path):
    tokenizer.Tokenizer(SAVED).save(tmp_path)
    got = (tmp_path / "merges.txt").read_bytes().decode()
    assert got == SAVED_LINES, "both ids, then the bytes as Python shows them: b' t'"


@pytest.mark.exercise("Tokenizer.save")
def test_the_header_says_what_the_merges_do_not(tmp_path):
    tokenizer.Tokenizer(SAVED, ["<z>", "<a>", "<é>"], PATTERN).save(tmp_path)
    got = json.loads((tmp_path / "tokenizer.json").read_text("utf-8"))
    assert got == header_of(SAVED, ["<z>", "<a>", "<é>"], PATTERN), (
        "the tokenizer's own pattern and special tokens, in the order that gives them their ids"
    )


@pytest.mark.exercise("Tokenizer.save")
def test_two_files_and_nothing_else_lie_in_a_folder_that_was_made(tmp_path):
    folder = tmp_path / "runs" / "first"
    got = error_of(lambda: tokenizer.Tokenizer(SAVED).save(str(folder)))
    assert got == "no error", "the folder is made if need be, and its parents, too"
    wanted = ["merges.txt", "tokenizer.json"]
    got = sorted(name if name in wanted else "something else" for name in os.listdir(folder))
    assert got == wanted, "what was written aside is put in place, and nothing is left over"


@pytest.mark.exercise("Tokenizer.save", points=2)
def test_another_tokenizer_is_never_overwritten(tmp_path):
    tokenizer.Tokenizer(SAVED).save(tmp_path)
    before = files_in(tmp_path)
    others = [
        tokenizer.Tokenizer({(32, 116): 256}),
        tokenizer.Tokenizer(SAVED, SPECIAL_TOKENS[::-1]),
        tokenizer.Tokenizer(SAVED, pattern=PATTERN),
    ]
    for other in others:
        assert error_of(lambda other=other: other.save(tmp_path)) == "FileExistsError", (
            "a model that was trained with these ids can be read with no others"
        )
        assert files_in(tmp_path) == before, "refused means that nothing was written"


@pytest.mark.exercise("Tokenizer.save")
def test_saving_the_same_tokenizer_again_is_no_error(tmp_path):
    tokenizer.Tokenizer(SAVED).save(tmp_path)
    before = files_in(tmp_path)
    got = error_of(lambda: tokenizer.Tokenizer(dict(SAVED)).save(tmp_path))
    assert got == "no error", "the same merges, pattern and special tokens: it is the same tokenizer"
    assert files_in(tmp_path) == before, "a program that is started again finds what it would have written"


@pytest.mark.exercise("Tokenizer.save")
def test_over_a_damaged_header_nothing_is_written(tmp_path):
    write(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    before = files_in(tmp_path)
    got = error_of(lambda: tokenizer.Tokenizer(SAVED).save(tmp_path))
    assert got == "ValueError", "tokenizer.json holds {}: what `load` says of it counts"
    assert files_in(tmp_path) == before, "refused means that nothing was written"


@pytest.mark.exercise("Tokenizer.save")
def test_damaged_merges_under_a_good_header_are_no_tokenizer_of_ours(tmp_path):
    tokenizer.Tokenizer(SAVED).save(tmp_path)
    (tmp_path / "merges.txt").write_bytes(SAVED_LINES.replace("240 159", "240 158").encode())
    before = files_in(tmp_path)
    got = error_of(lambda: tokenizer.Tokenizer(SAVED).save(tmp_path))
    assert got == "ValueError", "the header is the right one; a digit in merges.txt is not"
    assert files_in(tmp_path) == before, "refused means that nothing was written"
    (tmp_path / "merges.txt").unlink()
    got = error_of(lambda: tokenizer.Tokenizer(SAVED).save(tmp_path))
    assert got == "FileNotFoundError", "merges.txt is gone: half a tokenizer, and `load` says so"


@pytest.mark.exercise("Tokenizer.save")
def test_the_header_comes_last_so_half_a_tokenizer_never_looks_whole(tmp_path):
    (tmp_path / "merges.txt").mkdir()  # so that merges.txt cannot be written
    with pytest.raises(OSError):
        tokenizer.Tokenizer(SAVED).save(tmp_path)
    got = (tmp_path / "tokenizer.json").exists()
    assert got == False, "tokenizer.json says that all is there: it must not come before merges.txt"  # noqa: E712


@pytest.mark.exercise("Tokenizer.save")
def test_a_file_is_put_in_place_whole_and_never_written_over(tmp_path):
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "merges.txt").write_text("97 97 b'aa'\n")  # left by a save that was interrupted
    os.link(tmp_path / "t" / "merges.txt", tmp_path / "reader")  # as a program sees it that is reading it
    tokenizer.Tokenizer(SAVED).save(tmp_path / "t")
    got = (tmp_path / "reader").read_text()
    assert got == "97 97 b'aa'\n", "who reads while we write must see the old file or the new one, no mixture"


# --- Tokenizer.load ----------------------------------------------------------------------------------


def write(folder, lines=SAVED_LINES, merges=SAVED, specials=("<z>", "<a>"), pattern=PATTERN, **changes):
    """Both files, written without `save`; `changes` replace keys of the header, None removes one."""
    header = header_of(merges, specials, pattern) | changes
    header = {key: value for key, value in header.items() if value is not None}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(header), "utf-8")
    (folder / "merges.txt").write_bytes(lines.encode())
    return folder


@pytest.mark.exercise("Tokenizer.load")
def test_files_written_by_hand_load_as_the_tokenizer_they_describe(tmp_path):
    write(tmp_path)
    got = error_of(lambda: tokenizer.Tokenizer.load(tmp_path))
    assert got == "no error", (
        "undamaged files, with another pattern and other special tokens than the course's"
    )
    mine = tokenizer.Tokenizer.load(str(tmp_path))
    got = (mine.merges, mine.specials, mine.pattern, mine.special_ids)
    wanted = (SAVED, ("<z>", "<a>"), PATTERN, {"<z>": 260, "<a>": 261})
    assert got == wanted, (
        "merges from merges.txt; pattern and special tokens, in their order, from the header"
    )


@pytest.mark.exercise("Tokenizer.load")
def test_a_missing_file_is_named_as_missing(tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "b")
    (tmp_path / "a" / "merges.txt").unlink()
    (tmp_path / "b" / "tokenizer.json").unlink()
    for name in ("a", "b", "never"):
        got = error_of(lambda name=name: tokenizer.Tokenizer.load(tmp_path / name))
        assert got == "FileNotFoundError", "there is nothing to load, and that is no damage"


@pytest.mark.exercise("Tokenizer.load", points=2)
def test_what_is_not_what_was_saved_is_refused(tmp_path):
    lines = SAVED_LINES.splitlines(keepends=True)
    changed = {
        "a line lost": {"lines": "".join(lines[:-1])},
        "a line more": {"lines": SAVED_LINES + "97 98 b'ab'\n"},
        "two lines swapped": {"lines": "".join([lines[0], lines[1], lines[3], lines[2]])},
        "one digit changed": {"lines": SAVED_LINES.replace("240 159", "240 158")},
        "another split pattern": {"split_pattern": r"\w+|\W "},
        "another order of special tokens": {"special_tokens": ["<a>", "<z>"]},
    }
    for what, changes in changed.items():
        got = error_of(lambda changes=changes: tokenizer.Tokenizer.load(write(tmp_path, **changes)))
        assert got == "ValueError", f"{what}: it looks like a tokenizer, but the ids would be others"


@pytest.mark.exercise("Tokenizer.load")
def test_a_size_that_does_not_fit_is_refused(tmp_path):
    for size in (256 + len(SAVED), 9999):
        got = error_of(lambda size=size: tokenizer.Tokenizer.load(write(tmp_path, vocab_size=size)))
        assert got == "ValueError", f"{size} ids are promised, and these files make 262"


@pytest.mark.exercise("Tokenizer.load")
def test_a_header_of_another_kind_is_refused(tmp_path):
    headers = [
        {"format": "somebody else's tokenizer"},
        {"format": None},
        {"split_pattern": None},
        {"special_tokens": "<a><z>"},
        {"fingerprint": None},
    ]
    for changes in headers:
        got = error_of(lambda changes=changes: tokenizer.Tokenizer.load(write(tmp_path, **changes)))
        assert got == "ValueError", f"{changes}: this is not what save wrote"
    for text in ("", '{"format": "mini', "[]", "null"):
        (tmp_path / "tokenizer.json").write_text(text, "utf-8")
        got = error_of(lambda: tokenizer.Tokenizer.load(tmp_path))
        assert got == "ValueError", f"tokenizer.json holds {text!r}: damaged"


@pytest.mark.exercise("Tokenizer.load")
def test_a_line_that_is_no_merge_is_named_by_its_number(tmp_path):
    first = "32 116 b' t'\n"
    for line in ("hello", "97", "97 257 b'?'", "-1 97 b'?'", "32 116 b' t'", ""):
        text = f"{first}{line}\n97 98 b'ab'\n"
        said = said_of(lambda text=text: tokenizer.Tokenizer.load(write(tmp_path, text)))
        got = re.findall(r"line (\d+)", said.replace(str(tmp_path), ""))
        assert got == ["2"], f"{line!r} in line 2 is no merge of ids that are known by then"
