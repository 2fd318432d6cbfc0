"""Graded tests of lesson 0.2: byte-pair encoding.

By hand: words small enough for paper, with every merge worked out. Laws: nothing is lost, nothing is
counted twice. Traps: the mistakes that people make. The oracles share no code with the library: Python's
str.replace (which merges from left to right), overlapping matches of `regex`, bytes, and tiktoken.
"""

import itertools
import re
from collections import Counter

import pytest
import regex
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

from mini_nanochat.tokenizer import bpe, text

# The toy corpus of Sennrich et al. (2016), without their end-of-word mark.
TOY = {tuple(b"low"): 5, tuple(b"lower"): 2, tuple(b"newest"): 6, tuple(b"widest"): 3}

# All its merges, worked out on paper: the pair, how often it occurs when its turn comes, what it spells.
TOY_STEPS = [
    ((101, 115), 9, "es"),  # tied with (115, 116): 101 is smaller
    ((256, 116), 9, "est"),
    ((108, 111), 7, "lo"),  # tied with (111, 119)
    ((258, 119), 7, "low"),
    ((101, 119), 6, "ew"),  # tied with (110, 101) and (119, 257)
    ((110, 260), 6, "new"),  # tied with (260, 257)
    ((261, 257), 6, "newest"),
    ((100, 257), 3, "dest"),  # tied with (105, 100) and (119, 105)
    ((105, 263), 3, "idest"),  # tied with (119, 105)
    ((119, 264), 3, "widest"),
    ((101, 114), 2, "er"),  # tied with (259, 101)
    ((259, 266), 2, "lower"),
]
TOY_MERGES = {pair: 256 + i for i, (pair, _, _) in enumerate(TOY_STEPS)}


def merges_of(*steps: tuple[bytes, bytes]) -> dict[tuple[int, int], int]:
    """Merges written as bytes, (left, right) in the order learned, turned into ids."""
    ids = {bytes([i]): i for i in range(256)}
    merges = {}
    for left, right in steps:
        merges[ids[left], ids[right]] = ids[left + right] = 256 + len(merges)
    return merges


def bytes_of(merges: dict[tuple[int, int], int]) -> list[bytes]:
    """The bytes of each id."""
    tokens = [bytes([i]) for i in range(256)]
    for left, right in merges:
        tokens.append(tokens[left] + tokens[right])
    return tokens


# A vocabulary written by hand: rivals for one place, runs of one letter, spaces, code, a character of
# four bytes in two halves, a token of one half of a character.
HAND_MERGES = merges_of(
    (b"t", b"h"), (b" ", b"th"), (b" th", b"e"), (b"i", b"n"), (b"in", b"g"), (b"h", b"e"), (b"he", b"r"),
    (b"e", b"r"), (b"a", b"a"), (b"aa", b"aa"), (b"\n", b"\n"), (b" ", b" "), (b"  ", b"  "),
    (b"e", b"s"), (b"s", b"t"), (b"es", b"t"), (b"r", b"e"), (b"o", b"n"), (b"i", b"on"), (b"_", b"_"),
    (b"=", b"="), (b"1", b"2"), (b"\xf0", b"\x9f"), (b"\x92", b"\x96"), (b"\xf0\x9f", b"\x92\x96"),
    (b" ", b"\xc3"), (b"\xc3", b"\xa9"), (b"'", b"s"), (b"<", b"|"), (b"b", b"o"), (b"bo", b"s"),
    (b"n", b"d"), (b"a", b"n"), (b"i", b"o"),
)  # fmt: skip

EDGES = [
    "",
    "a",
    "\x00",
    "the thing there, and a nation",
    "aaaaaaa aaa",
    "tests retest  in   the\n\n\nings",
    "naïve café é éé",
    "日本語 123 12345",
    "\U0001f496 \U0001f469\u200d\U0001f469\u200d\U0001f467",
    "<|bos|> is text here",
    "__init__ == 'it's'\r\n\t",
]


def error_of(call) -> str:
    """The kind of error that `call` raises, as far as the lesson promises it."""
    try:
        call()
    except ValueError:
        return "ValueError"
    return "no error"


def said_of(call, number: int) -> str:
    """`number`, if the message of the ValueError that `call` raises names it; otherwise what it does."""
    try:
        call()
    except ValueError as error:
        numbers = re.findall(r"\d+", str(error))
        if str(number) in numbers:
            return str(number)
        return "another number" if numbers else "no number in the message"
    return "no error"


def as_text(ids) -> str:
    """Ids as a string, one character an id: then str.replace merges and regex counts."""
    return "".join(chr(0x4E00 + i) for i in ids)


small_words = st.dictionaries(
    st.lists(st.integers(97, 99), max_size=7).map(tuple), st.integers(1, 4), min_size=1, max_size=6
)


# --- count_words -------------------------------------------------------------------------------------


@pytest.mark.exercise("count_words")
def test_each_chunk_is_counted_as_a_tuple_of_its_bytes():
    got = bpe.count_words(["low low lower low"])
    wanted = {tuple(b"low"): 1, tuple(b" low"): 2, tuple(b" lower"): 1}
    assert got == wanted, "a word is one chunk of the text; the space belongs to the chunk after it"
    got = bpe.count_words(["é💖"])
    wanted = {(195, 169): 1, (240, 159, 146, 150): 1}
    assert got == wanted, "ids below 256 are bytes; the number of a character can be far larger than that"


@pytest.mark.exercise("count_words")
def test_counts_add_up_over_all_texts():
    got = bpe.count_words(iter(["ha ha", "ha", "ho ha"]))
    wanted = {tuple(b"ha"): 2, tuple(b" ha"): 2, tuple(b"ho"): 1}
    assert got == wanted, "the corpus is all texts together, and no chunk reaches from one text into the next"


@pytest.mark.exercise("count_words")
def test_nothing_is_learned_from_special_tokens():
    got = bpe.count_words(["<|bos|>hi<|user_start|>hi<|user_end|>", "<|bos|>"])
    assert got == {tuple(b"hi"): 2}, "a special token is a command with an id of its own: it is no text"


@pytest.mark.exercise("count_words")
def test_a_special_token_keeps_its_neighbours_apart():
    got = bpe.count_words(["sun<|bos|>day"])
    wanted = {tuple(b"sun"): 1, tuple(b"day"): 1}
    assert got == wanted, "what stands on two sides of a special token never becomes one chunk"


@pytest.mark.exercise("count_words")
def test_the_caller_says_which_tokens_are_special():
    got = bpe.count_words(["a<stop>b"], specials=["<stop>"])
    assert got == {(97,): 1, (98,): 1}, "specials=['<stop>']: here <stop> is the command"
    got = bpe.count_words(["a<|bos|>"], specials=[])
    wanted = {(97,): 1, tuple(b"<|"): 1, tuple(b"bos"): 1, tuple(b"|>"): 1}
    assert got == wanted, "specials=[]: nothing is a command, so <|bos|> is text like any other"


@pytest.mark.exercise("count_words")
@given(st.lists(st.text(max_size=20), max_size=4))
def test_every_byte_of_the_corpus_is_counted_once(texts):
    words = bpe.count_words(texts)
    got = sum(len(word) * count for word, count in words.items())
    assert got == sum(len(t.encode()) for t in texts), "each byte of the text is in one chunk, once"


# --- count_pairs -------------------------------------------------------------------------------------


@pytest.mark.exercise("count_pairs")
def test_pairs_are_neighbours_within_one_word():
    got = bpe.count_pairs({(1, 2, 3): 1, (2, 1): 1})
    assert got == {(1, 2): 1, (2, 3): 1, (2, 1): 1}, "(1, 2) and (2, 1) differ; 1 and 3 are no neighbours"
    got = bpe.count_pairs({(1, 2): 1, (5,): 9, (): 3, (3, 4): 1})
    assert got == {(1, 2): 1, (3, 4): 1}, "a word ends where its chunk ends; a word of one id holds no pair"


@pytest.mark.exercise("count_pairs")
def test_a_word_that_occurs_five_times_counts_five_times():
    got = bpe.count_pairs({(1, 2): 5, (3, 1, 2): 2})
    assert got == {(1, 2): 7, (3, 1): 2}, "the words stand for a whole text, and their counts say how often"


@pytest.mark.exercise("count_pairs")
def test_a_pair_that_a_word_holds_twice_counts_twice():
    got = bpe.count_pairs({(1, 2, 9, 1, 2): 1})
    assert got == {(1, 2): 2, (2, 9): 1, (9, 1): 1}, "occurrences are counted, not words that have the pair"


@pytest.mark.exercise("count_pairs")
def test_overlapping_pairs_all_count():
    got = bpe.count_pairs({(7, 7, 7): 1})
    assert got == {(7, 7): 2}, "(7, 7, 7) holds (7, 7) at positions 0 and 1: both count"


@pytest.mark.exercise("count_pairs")
@given(small_words)
def test_counts_agree_with_overlapping_matches_of_a_regex(words):
    got = {pair: n for pair, n in bpe.count_pairs(words).items() if n}
    corpus = "\n".join(as_text(word) for word, count in words.items() for _ in range(count))
    found = regex.findall(r"[^\n]{2}", corpus, overlapped=True)
    wanted = Counter((ord(left) - 0x4E00, ord(right) - 0x4E00) for left, right in found)
    assert got == wanted, "write the text out in full and look at every place where two ids stand together"


# --- merge -------------------------------------------------------------------------------------------


@pytest.mark.exercise("merge")
def test_every_occurrence_of_the_pair_is_replaced():
    got = list(bpe.merge([1, 2, 5, 1, 2, 6, 1, 2], (1, 2), 256))
    assert got == [256, 5, 256, 6, 256], "the pair stands at the start, in the middle and at the end"
    got = list(bpe.merge([2, 1, 3, 1, 2], (1, 2), 256))
    assert got == [2, 1, 3, 256], "(2, 1) is another pair: the bytes of 'no' are not those of 'on'"


@pytest.mark.exercise("merge")
def test_a_tuple_of_ids_is_merged_like_a_list():
    got = list(bpe.merge((5, 1, 2, 1, 2), (1, 2), 256))
    assert got == [5, 256, 256], "ids may be a list or a tuple: training hands over words, which are tuples"


@pytest.mark.exercise("merge")
def test_three_in_a_row_merge_once_and_from_the_left():
    got = list(bpe.merge([7, 7, 7], (7, 7), 256))
    assert got == [256, 7], "the middle 7 can be used once, and the left pair takes it first"


@pytest.mark.exercise("merge")
def test_ids_without_the_pair_come_back_as_they_are():
    for ids in ([], [5], [1, 3, 2], (1, 1, 1)):
        assert list(bpe.merge(ids, (1, 2), 256)) == list(ids), f"{ids} does not hold (1, 2): nothing changes"


@pytest.mark.exercise("merge")
def test_the_ids_that_were_given_stay_untouched():
    ids = [1, 2, 3, 1, 2]
    bpe.merge(ids, (1, 2), 256)
    assert ids == [1, 2, 3, 1, 2], "merge returns a new list: whoever called it may still need the old one"


@pytest.mark.exercise("merge")
@given(st.lists(st.integers(0, 2), max_size=12), st.tuples(st.integers(0, 2), st.integers(0, 2)))
def test_merging_agrees_with_replacing_in_a_string(ids, pair):
    got = as_text(bpe.merge(ids, pair, 256))
    assert got == as_text(ids).replace(as_text(pair), as_text([256])), "str.replace works from the left, too"


# --- train -------------------------------------------------------------------------------------------


@pytest.mark.exercise("train")
def test_the_first_four_merges_of_the_toy_text_are_those_of_the_table():
    got = list(bpe.train(dict(TOY), 260).items())
    wanted = [((101, 115), 256), ((256, 116), 257), ((108, 111), 258), ((258, 119), 259)]
    assert got == wanted, "e + s, es + t, l + o, lo + w: count, merge the commonest pair, count again"


@pytest.mark.exercise("train", points=2)
def test_all_twelve_merges_of_the_toy_text_until_each_word_is_one_id():
    got = list(bpe.train(dict(TOY), 268).items())
    wanted = [(pair, 256 + i) for i, (pair, _, _) in enumerate(TOY_STEPS)]
    assert got == wanted, "the table continued on paper; seven of these steps are ties, and the rule decides"


@pytest.mark.exercise("train")
def test_counts_are_taken_anew_after_every_merge():
    got = list(bpe.train({(97, 98, 99): 5, (97, 98): 3, (120, 121): 4}, 258))
    assert got == [(97, 98), (256, 99)], "once (97, 98) is merged no (98, 99) is left: its old count is stale"


@pytest.mark.exercise("train")
def test_of_equally_common_pairs_the_smaller_one_wins():
    got = list(bpe.train({(97, 98): 3, (99, 100): 3}, 257))
    assert got == [(97, 98)], "both pairs occur 3 times, and (97, 98) < (99, 100)"


@pytest.mark.exercise("train")
def test_the_order_of_the_words_changes_nothing():
    words = [((100, 97), 2), ((98, 99), 2), ((97, 99), 2), ((99, 97, 98), 1)]
    for order in itertools.permutations(words):
        got = list(bpe.train(dict(order), 259))
        wanted = [(97, 99), (98, 99), (100, 97)]
        assert got == wanted, "a shuffled corpus is the same corpus: what came first decides no tie"


@pytest.mark.exercise("train")
def test_ties_compare_ids_and_not_the_bytes_they_stand_for():
    got = list(bpe.train({(97, 98, 99): 2, (97, 98): 1, (98, 97): 2}, 258))
    assert got == [(97, 98), (98, 97)], "(98, 97) and (256, 99) are tied, and as ids (98, 97) is smaller"


@pytest.mark.exercise("train")
@pytest.mark.parametrize("vocab_size", [256, 257, 260])
def test_the_vocabulary_has_exactly_the_size_asked_for(vocab_size):
    got = list(bpe.train(dict(TOY), vocab_size).values())
    assert got == list(range(256, vocab_size)), "256 bytes are there from the start; every merge adds one id"


@pytest.mark.exercise("train")
def test_a_vocabulary_below_256_is_refused():
    for vocab_size in (255, 0, -1):
        got = error_of(lambda size=vocab_size: bpe.train(dict(TOY), size))
        assert got == "ValueError", f"{vocab_size} ids are too few: each of the 256 bytes needs one"


@pytest.mark.exercise("train")
def test_a_vocabulary_larger_than_the_corpus_allows_is_refused():
    for words, vocab_size in ((TOY, 269), ({}, 257), ({(97,): 8}, 257)):
        got = error_of(lambda words=dict(words), size=vocab_size: bpe.train(words, size))
        assert got == "ValueError", f"{vocab_size} ids were asked for, the pairs run out: say so"


@pytest.mark.exercise("train")
def test_the_message_names_the_number_of_ids_that_are_possible():
    two_merges = {(97, 98): 3, (99, 100): 1}
    for words, possible in ((TOY, 268), (two_merges, 258), ({(97,): 8}, 256), ({}, 256)):
        got = said_of(lambda words=dict(words): bpe.train(words, 300), possible)
        assert got == str(possible), "300 ids were asked for; the reader wants to know how many are possible"


@pytest.mark.exercise("train")
def test_on_merge_hears_of_every_step_as_it_happens():
    heard = []
    bpe.train(dict(TOY), 268, on_merge=lambda pair, count: heard.append((pair, count)))
    assert heard == [(pair, count) for pair, count, _ in TOY_STEPS], (
        "a progress bar hears each pair and count"
    )


@pytest.mark.exercise("train")
def test_training_leaves_the_words_as_they_were():
    words = dict(TOY)
    bpe.train(words, 262)
    assert words == TOY, "the caller may train twice on the same words: work on a copy"


@pytest.mark.exercise("train")
@given(small_words, st.integers(1, 4))
def test_every_merge_takes_the_commonest_pair_of_its_moment(words, steps):
    corpus = "\n".join(as_text(word) for word, count in words.items() for _ in range(count))
    wanted = []
    for new_id in range(256, 256 + steps):
        counts = Counter(regex.findall(r"[^\n]{2}", corpus, overlapped=True))
        if not counts:
            break
        best = min(pair for pair in counts if counts[pair] == max(counts.values()))
        wanted.append(tuple(ord(c) - 0x4E00 for c in best))
        corpus = corpus.replace(best, as_text([new_id]))
    got = list(bpe.train(words, 256 + len(wanted)))
    assert got == wanted, "the commonest pair of the moment, replayed on the text written out in full"


# --- encode ------------------------------------------------------------------------------------------


@pytest.mark.exercise("encode")
def test_a_word_never_seen_is_built_from_pieces_that_were():
    got = [list(bpe.encode(word, TOY_MERGES)) for word in ("newest", "lowest", " low")]
    assert got == [[262], [259, 257], [32, 259]], (
        "newest is one token, lowest is low + est, ' low' keeps its space"
    )


@pytest.mark.exercise("encode")
def test_a_chunk_of_one_byte_is_that_byte():
    got = [list(bpe.encode(string, TOY_MERGES)) for string in ("s", "\x00", "low low\n")]
    assert got == [[115], [0], [259, 32, 259, 10]], (
        "a chunk of one byte holds no pair, and no letter may vanish"
    )


@pytest.mark.exercise("encode", points=2)
def test_what_was_learned_first_is_merged_first():
    got = list(bpe.encode("abc", merges_of((b"b", b"c"), (b"a", b"b"))))
    assert got == [97, 256], "(b, c) was learned before (a, b): rank decides, not the place in the word"


@pytest.mark.exercise("encode")
def test_a_word_with_a_token_of_its_own_stays_whole():
    got = list(bpe.encode("abc", merges_of((b"b", b"c"), (b"a", b"bc"), (b"a", b"b"))))
    assert got == [257], "abc was learned as a + bc, before ab: a later merge must not break it up"


@pytest.mark.exercise("encode")
def test_no_merge_crosses_the_border_of_a_chunk():
    got = list(bpe.encode("ab c", {(98, 32): 256, (32, 99): 257}))
    assert got == [97, 98, 257], "the chunks are 'ab' and ' c': b and the space never meet in one word"


@pytest.mark.exercise("encode")
def test_a_special_token_in_the_text_is_ordinary_text():
    got = list(bpe.encode("a<|bos|>", {}))
    assert got == list(b"a<|bos|>"), "nobody can type a command, and no letter may vanish"


@pytest.mark.exercise("encode")
def test_half_a_character_is_refused():
    got = error_of(lambda: bpe.encode("ok \ud800", {}))
    assert got == "ValueError", "a lone surrogate has no bytes; ids for something else would hide the damage"


@pytest.mark.exercise("encode", points=2)
@given(st.one_of(st.sampled_from(EDGES), st.text("aabesthing r12\n_'\U0001f496é", max_size=30), st.text()))
def test_tiktoken_gives_the_same_ids(string):
    got = list(bpe.encode(string, HAND_MERGES))
    wanted = TIKTOKEN.encode_ordinary(string)
    assert got == wanted, "the encoder of OpenAI's tiktoken, given the same merges, is the judge here"


TIKTOKEN = tiktoken.Encoding(
    "hand",
    pat_str=text.split_pattern(),
    mergeable_ranks={token: i for i, token in enumerate(bytes_of(HAND_MERGES))},
    special_tokens={},
)


# --- decode ------------------------------------------------------------------------------------------


@pytest.mark.exercise("decode")
def test_tokens_spell_their_text():
    got = bpe.decode([259, 257, 32, 262, 33, 267], TOY_MERGES)
    assert got == "lowest newest!lower", "each id stands for bytes: a merged id for those of its two parts"
    assert bpe.decode([], TOY_MERGES) == "", "no ids, no text"


@pytest.mark.exercise("decode")
def test_a_character_may_be_spread_over_several_tokens():
    got = bpe.decode([240, 159, 146, 150], {})
    assert got == "💖", "four tokens, one character: none of the four is text when read alone"
    got = bpe.decode([97, 256, 257, 98], {(240, 159): 256, (146, 150): 257})
    assert got == "a💖b", "a token may be half a character: join all bytes before you read them"


@pytest.mark.exercise("decode")
def test_bytes_that_are_no_text_show_as_replacement_characters():
    got = bpe.decode([97, 255, 98, 240], {})
    assert got == "a\ufffdb\ufffd", "a model may emit any ids: decoding neither fails nor hides it"


@pytest.mark.exercise("decode")
def test_an_id_beyond_the_vocabulary_is_refused():
    for ids, merges in (([256], {}), ([268], TOY_MERGES), ([97, 9999], {})):
        got = error_of(lambda ids=ids, merges=merges: bpe.decode(ids, merges))
        assert got == "ValueError", f"there are {256 + len(merges)} ids, the first is 0: {ids} must not pass"


@pytest.mark.exercise("decode")
def test_a_negative_id_is_refused():
    for ids in ([-1], [97, -256]):
        got = error_of(lambda ids=ids: bpe.decode(ids, {}))
        assert got == "ValueError", f"ids start at 0: {ids} must not pass for tokens counted from the end"


@pytest.mark.exercise("decode")
@given(st.lists(st.integers(0, 255 + len(HAND_MERGES)), max_size=12))
def test_decoding_agrees_with_joining_the_bytes_by_hand(ids):
    got = bpe.decode(iter(ids), HAND_MERGES)
    tokens = bytes_of(HAND_MERGES)
    wanted = b"".join(tokens[i] for i in ids).decode("utf-8", errors="replace")
    assert got == wanted, "ids may come from anything that can be read once, and may spell any bytes"
