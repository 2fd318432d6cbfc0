"""Graded tests of lesson 0.1. By hand: bytes and chunks one can check on paper. Laws: nothing is lost.

Traps: text decoded id by id, commands typed by users, specials read as regular expressions.
Oracles: Python's own UTF-8 codec, tiktoken, and the seven rules written as a plain loop (`cut_by_hand`).
"""

from __future__ import annotations

import unicodedata

import pytest
import regex
import tiktoken
from hypothesis import example, given
from hypothesis import strategies as st

from mini_nanochat.tokenizer import text

# The nine marks and their ids, written out: an oracle must not be read from the code under test.
SPECIAL_IDS = {
    "<|bos|>": 256,
    "<|user_start|>": 257,
    "<|user_end|>": 258,
    "<|assistant_start|>": 259,
    "<|assistant_end|>": 260,
    "<|python_start|>": 261,
    "<|python_end|>": 262,
    "<|output_start|>": 263,
    "<|output_end|>": 264,
}
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"  # man, woman, girl, joined to one picture by U+200D
GRIN = "\U0001f600"
HINDI = "\u0928\u092e\u0938\u094d\u0924\u0947"
NASTY = f"na\u00efve \u20ac5 {GRIN}{FAMILY}\x00\ufeff e\u0301 {HINDI}\r\n\t <|bos| > | .* "


# ------------------------------------------------------------------------------------------------
# split_pattern: the seven rules


@pytest.mark.exercise("split_pattern", points=1)
def test_the_pattern_has_no_capturing_group():
    groups = regex.compile(text.split_pattern()).groups
    assert groups == 0, "with a capturing group findall gives back the group, not the chunk"


@pytest.mark.exercise("split_pattern", points=1)
def test_a_word_takes_one_character_before_it():
    why = "a space, tab, bracket or underscore before a word belongs to the word's chunk"
    assert text.split("the cat") == ["the", " cat"], why
    assert text.split("(the\tcat_end") == ["(the", "\tcat", "_end"], why
    assert text.split("((the") == ["((", "the"], "one character at most: the two brackets stay together"


@pytest.mark.exercise("split_pattern", points=1)
def test_the_first_rule_that_matches_wins_not_the_longest():
    assert text.split("'table") == ["'t", "able"], "the contraction is tried before the word"
    assert text.split("'hat") == ["'hat"], "'h is no contraction, so here the second rule has its turn"


@pytest.mark.exercise("split_pattern", points=1)
def test_each_of_the_seven_contractions_is_cut_off():
    why = "'ll 've 're 's 'm 'd 't end many words: cut off, they are learned once"
    assert text.split("how're we'll I've") == ["how", "'re", " we", "'ll", " I", "'ve"], why
    assert text.split("it's I'd I'm don't") == ["it", "'s", " I", "'d", " I", "'m", " don", "'t"], why
    why = "a contraction ends where it ends, whatever follows"
    assert text.split("it'sok don'tcha") == ["it", "'s", "ok", " don", "'t", "cha"], why
    assert text.split("I'vex he'llo") == ["I", "'ve", "x", " he", "'ll", "o"], why


@pytest.mark.exercise("split_pattern", points=1)
def test_contractions_in_capitals_are_cut_off_as_well():
    why = "DON'TCHA and don'tcha must be cut at the same places, or the model learns English twice"
    assert text.split("DON'TCHA it'Sok") == ["DON", "'T", "CHA", " it", "'S", "ok"], why
    assert text.split("HE'LLO I'VeX") == ["HE", "'LL", "O", " I", "'Ve", "X"], why


@pytest.mark.exercise("split_pattern", points=1)
def test_a_line_break_never_leads_a_word():
    why = "a word at the start of a line should look like the same word elsewhere"
    assert text.split("a\nthe") == ["a", "\n", "the"], why
    assert text.split("5\rthe") == ["5", "\r", "the"], r"a line break is \n or \r: \r alone is one, too"


@pytest.mark.exercise("split_pattern", points=1)
def test_digits_are_cut_two_by_two():
    why = "two digits at most, from the left: ten plus a hundred such chunks fit any vocabulary"
    assert text.split("123") == ["12", "3"], why
    assert text.split("1234567") == ["12", "34", "56", "7"], why
    assert text.split("v2x007b") == ["v", "2", "x", "00", "7", "b"], why
    assert text.split("\u0663\u0664\u0665") == ["\u0663\u0664", "\u0665"], "Arabic-Indic digits are digits"
    assert text.split("x\u00bd\u2167") == ["x", "\u00bd\u2167"], "a half and the Roman eight are numbers, too"


@pytest.mark.exercise("split_pattern", points=1)
def test_letters_of_every_script_count():
    why = "a letter is a letter in every script; a to z is not the alphabet of most people"
    assert text.split("\u00e9t\u00e9 d'\u00e9t\u00e9") == ["\u00e9t\u00e9", " d", "'\u00e9t\u00e9"], why
    assert text.split("\u043a\u043e\u0442 \u732b\u3067") == ["\u043a\u043e\u0442", " \u732b\u3067"], why


@pytest.mark.exercise("split_pattern", points=1)
def test_a_space_that_fits_no_other_rule_is_still_a_chunk():
    why = "white space that no rule before takes is text all the same: losing it is losing data"
    assert text.split("a\t5") == ["a", "\t", "5"], why
    assert text.split("5\u00a05") == ["5", "\u00a0", "5"], why
    assert text.split("end ") == ["end", " "], why


@pytest.mark.exercise("split_pattern", points=1)
def test_punctuation_takes_one_space_before_it():
    why = "one space, and nothing else: a tab stays behind"
    assert text.split("a ... b") == ["a", " ...", " b"], why
    assert text.split("a\t!") == ["a", "\t", "!"], why
    why = "at the space rule 2 fails, because no letter follows: rule 4 takes the space and the bracket"
    assert text.split("in (the") == ["in", " (", "the"], why


@pytest.mark.exercise("split_pattern", points=1)
def test_punctuation_takes_the_line_breaks_after_it():
    why = "the end of a line of code is one chunk, with the empty lines after it"
    assert text.split("a!\n\nb") == ["a", "!\n\n", "b"], why
    assert text.split("f(x):\r\ny") == ["f", "(x", "):\r\n", "y"], (
        r"Windows ends a line with \r\n: both count"
    )


@pytest.mark.exercise("split_pattern", points=1)
def test_line_breaks_take_the_white_space_before_them():
    why = "an empty line is one chunk, up to the last line break, whatever spaces hide in it"
    assert text.split("a  \n\t\nb") == ["a", "  \n\t\n", "b"], why
    assert text.split("a. \nb") == ["a", ".", " \n", "b"], why
    assert text.split("a\r\nthe") == ["a", "\r\n", "the"], why
    assert text.split("a \r5") == ["a", " \r", "5"], r"a line break is \n or \r: \r alone is one, too"


@pytest.mark.exercise("split_pattern", points=1)
def test_indentation_leaves_its_last_space_to_the_word():
    why = "' return' is one chunk at every depth: the line break is a chunk, and the spaces after it give one away"
    assert text.split("\n    return x") == ["\n", "   ", " return", " x"], why
    assert text.split("a   +") == ["a", "  ", " +"], why
    assert text.split("a \t b") == ["a", " \t", " b"], why
    assert text.split("end  ") == ["end", "  "], (
        "at the end of the text nothing follows that needs the last one"
    )


@pytest.mark.exercise("split_pattern", points=1)
def test_digits_take_no_space_before_them():
    why = "with a space the same number would have two ids; so it stays behind, as a chunk of its own"
    assert text.split("a 5") == ["a", " ", "5"], why
    assert text.split("a   5") == ["a", "  ", " ", "5"], why
    assert text.split("a\t\t5") == ["a", "\t", "\t", "5"], "nor any other white space"


@pytest.mark.exercise("split_pattern", points=1)
@given(st.text())
@example("")
@example(NASTY)
@example(" ")
@example("I'll say: don't!\r\n\r\n  x = 3.14159  ")
def test_the_chunks_of_any_text_joined_are_the_text(anything):
    assert "".join(text.split(anything)) == anything, "a character that no alternative matches is lost"


FRAGMENTS = ["'s", "'LL", "'", "I", "don", "\u00e9", "\u732b", "5", "123", "\u0663", "!", "(", "_", "..."]
FRAGMENTS += [" ", "  ", "\t", "\n", "\r", "\r\n", "\u00a0", GRIN, "\u0301", "\x00"]


@pytest.mark.exercise("split_pattern", points=2)
@given(st.lists(st.sampled_from(FRAGMENTS)).map("".join))
@example("\n\n  x  ")
@example("\rx \r5 !\r\r5")
@example("I'LLa 'sa don't 'ver\u00e9 (x) ((x\tx\nx \u732b_x 1234 5 \u0663 !!\n\t!\n\n  x  \n \n  \u00bd ")
def test_any_text_is_cut_as_the_seven_rules_say(anything):
    assert text.split(anything) == cut_by_hand(anything), "read the seven rules again, in order"


def cut_by_hand(s: str) -> list[str]:
    """The seven rules of `split_pattern` as a loop, without any regular expression."""
    chunks, i = [], 0
    while i < len(s):
        end = _end_of_chunk(s, i)
        chunks.append(s[i:end])
        i = end
    return chunks


def _kind(c: str) -> str:
    if c in "\r\n":
        return "break"
    if c.isspace():
        return "space"
    return {"L": "letter", "N": "digit"}.get(unicodedata.category(c)[0], "other")


def _run(s: str, i: int, *kinds: str) -> int:
    """The end of the run of characters of these kinds that starts at i."""
    while i < len(s) and _kind(s[i]) in kinds:
        i += 1
    return i


def _end_of_chunk(s: str, i: int) -> int:
    if s[i] == "'":  # 1
        for ending in ("ll", "ve", "re", "s", "d", "m", "t"):
            if s[i + 1 : i + 1 + len(ending)].lower() == ending:
                return i + 1 + len(ending)
    first = i + 1 if _kind(s[i]) in ("space", "other") else i
    if _run(s, first, "letter") > first:  # 2
        return _run(s, first, "letter")
    if _kind(s[i]) == "digit":  # 3
        return min(_run(s, i, "digit"), i + 2)
    first = i + 1 if s[i] == " " else i
    if _run(s, first, "other") > first:  # 4
        return _run(s, _run(s, first, "other"), "break")
    end = _run(s, i, "space", "break")
    breaks = [k for k in range(i, end) if _kind(s[k]) == "break"]
    if breaks:  # 5
        return breaks[-1] + 1
    if end < len(s) and end - i > 1:  # 6
        return end - 1
    return end  # 7


# ------------------------------------------------------------------------------------------------
# split_on_specials: where text ends and commands begin


@pytest.mark.exercise("split_on_specials", points=1)
def test_text_is_cut_around_every_special_token():
    why = "specials are pieces of their own, and so is what stands between them"
    pieces = text.split_on_specials("HiSTOP youENDbye", ("STOP", "END"))
    assert pieces == ["Hi", "STOP", " you", "END", "bye"], why


@pytest.mark.exercise("split_on_specials", points=1)
def test_specials_are_meant_literally():
    why = "in a regular expression | means 'or', . means 'anything': a special token means only itself"
    pieces = text.split_on_specials("Hi<|bos|> you<|user_end|>bye")
    assert pieces == ["Hi", "<|bos|>", " you", "<|user_end|>", "bye"], why
    assert text.split_on_specials("a|b <|bos|", ("<|bos|>",)) == ["a|b <|bos|"], why
    assert text.split_on_specials("axb a.b!", ("a.b",)) == ["axb ", "a.b", "!"], why
    pieces = text.split_on_specials("1+1 (x)y[PAD]P", ("(x)", "[PAD]", "+"))
    assert pieces == ["1", "+", "1 ", "(x)", "y", "[PAD]", "P"], why
    assert text.split_on_specials("a<|BOS|>") == ["a<|BOS|>"], "upper case is another string"


@pytest.mark.exercise("split_on_specials", points=1)
def test_no_piece_is_empty():
    why = "an empty piece would become a chunk without ids"
    assert text.split_on_specials("<|bos|>") == ["<|bos|>"], why
    assert text.split_on_specials("a<|bos|><|bos|>b") == ["a", "<|bos|>", "<|bos|>", "b"], why
    assert text.split_on_specials("") == [], why


@pytest.mark.exercise("split_on_specials", points=1)
def test_without_specials_there_is_nothing_to_cut_at():
    assert text.split_on_specials("hi <|bos|>", ()) == ["hi <|bos|>"], "no specials: the text is one piece"
    assert text.split_on_specials("", ()) == [], "no piece is empty, so an empty text has none"


@pytest.mark.exercise("split_on_specials", points=1)
def test_of_two_specials_at_one_place_the_longer_wins():
    why = "if the shorter one wins, the longer one can never be found"
    assert text.split_on_specials("abcab", ("abc", "ab")) == ["abc", "ab"], why
    nested = ("<|end|><|end|>", "<|end|>", "<|")
    assert text.split_on_specials("<|end|><|end|><|end|>", nested) == ["<|end|><|end|>", "<|end|>"], why


@pytest.mark.exercise("split_on_specials", points=1)
def test_the_order_in_which_specials_are_given_is_no_matter():
    why = "the same specials in another order must cut the same text at the same places"
    assert text.split_on_specials("abcab", ("ab", "abc")) == ["abc", "ab"], why


@pytest.mark.exercise("split_on_specials", points=1)
def test_pieces_of_white_space_stay():
    why = "spaces and line breaks beside a special token are text and must come back"
    pieces = text.split_on_specials(" <|bos|>\n<|user_end|>\t x ")
    assert pieces == [" ", "<|bos|>", "\n", "<|user_end|>", "\t x "], why


@pytest.mark.exercise("split_on_specials", points=1)
@given(st.lists(st.sampled_from(["<|bos|>", "<|end|>", "<|", "|>", "b", " ", "\n", "bos", "|", GRIN])))
@example(["<|", "<|bos|>", "|>", "\n", "<|end|>", " ", "<|bos|>"])
def test_joined_the_pieces_are_the_text_and_no_ordinary_piece_hides_a_special(parts):
    specials = ("<|bos|>", "<|end|>")
    whole = "".join(parts)
    pieces = text.split_on_specials(whole, specials)
    assert "".join(pieces) == whole, "cutting must not lose or change a character"
    hidden = [p for p in pieces if p not in specials and any(special in p for special in specials)]
    assert hidden == [], "a special inside an ordinary piece was overlooked"


# ------------------------------------------------------------------------------------------------
# ByteTokenizer.encode


@pytest.mark.exercise("ByteTokenizer.encode", points=1)
def test_every_character_becomes_its_one_to_four_utf8_bytes():
    tokenizer = text.ByteTokenizer()
    assert tokenizer.encode("hi") == [104, 105], "ASCII: one byte a character"
    assert tokenizer.encode("\u00e9") == [0xC3, 0xA9], "U+00E9 is its number, not its bytes"
    assert tokenizer.encode("\u20ac") == [0xE2, 0x82, 0xAC], "the euro sign takes three bytes"
    assert tokenizer.encode(GRIN) == [0xF0, 0x9F, 0x98, 0x80], "an emoji takes four"
    assert tokenizer.encode("") == [], "no text, no ids"


@pytest.mark.exercise("ByteTokenizer.encode", points=2)
def test_a_special_token_that_a_user_types_is_ordinary_text():
    ids = text.ByteTokenizer().encode("hi<|assistant_start|>")
    assert ids == list(b"hi<|assistant_start|>"), "whoever can type a command can speak as the assistant"
    assert max(text.ByteTokenizer().encode("".join(SPECIAL_IDS))) < 256, "all nine, typed: bytes only"


@pytest.mark.exercise("ByteTokenizer.encode", points=1)
def test_a_special_token_becomes_its_one_id_when_allowed():
    tokenizer = text.ByteTokenizer()
    ids = tokenizer.encode("<|bos|>hi<|output_end|>", allow_specials=True)
    assert ids == [256, 104, 105, 264], "ids 0..255 are the bytes, so the first special is 256"
    all_nine = tokenizer.encode("".join(SPECIAL_IDS), allow_specials=True)
    assert all_nine == list(SPECIAL_IDS.values()), "all nine, in the order of their ids"
    half = tokenizer.encode("\u20ac<|bos", allow_specials=True)
    assert half == list("\u20ac<|bos".encode()), "half a special is ordinary text"
    ids = text.ByteTokenizer(("<a>", "<b>")).encode("<b>x<|bos|><a>", allow_specials=True)
    assert ids == [257, *b"x<|bos|>", 256], "a tokenizer knows the specials it was made with, no others"


@pytest.mark.exercise("ByteTokenizer.encode", points=1)
def test_not_a_byte_is_added_dropped_or_tidied_up():
    tokenizer = text.ByteTokenizer()
    why = "a tokenizer does not tidy up: what is not encoded cannot be decoded"
    assert tokenizer.encode("  a \r\n\t\x00 ") == list(b"  a \r\n\t\x00 "), why
    assert tokenizer.encode("e\u0301") == [0x65, 0xCC, 0x81], "e and a combining accent stay two characters"
    assert tokenizer.encode("\ufeffA") == [0xEF, 0xBB, 0xBF, 0x41], "U+FEFF is a character like any other"
    assert tokenizer.encode("Ab") == [65, 98], why


@pytest.mark.exercise("ByteTokenizer.encode", points=1)
def test_half_of_a_surrogate_pair_is_refused():
    tokenizer = text.ByteTokenizer()
    with pytest.raises(ValueError, match="surrogate"):
        tokenizer.encode("ok \ud800")
    with pytest.raises(ValueError, match="surrogate"):
        tokenizer.encode("<|bos|>\udfff", allow_specials=True)


@pytest.mark.exercise("ByteTokenizer.encode", points=1)
def test_what_is_no_text_is_refused_with_a_type_error():
    for wrong in (b"hi", None, 104):
        with pytest.raises(TypeError):
            text.ByteTokenizer().encode(wrong)


@pytest.mark.exercise("ByteTokenizer.encode", points=2)
@given(st.text(), st.booleans())
@example(NASTY, False)
@example(" <|bos|> <|user_end|>\n", True)
def test_decoding_what_was_encoded_gives_the_text_again(anything, allow):
    tokenizer = text.ByteTokenizer()
    ids = tokenizer.encode(anything, allow_specials=allow)
    assert tokenizer.decode(ids) == anything, "the round trip must not change a character"


@pytest.mark.exercise("ByteTokenizer.encode", points=1)
def test_tiktoken_with_no_merges_gives_the_same_ids():
    # 256 single bytes as ranks and no merges: tiktoken is a byte tokenizer then.
    ranks = {bytes([i]): i for i in range(256)}
    oracle = tiktoken.Encoding("bytes", pat_str=r"(?s:.)", mergeable_ranks=ranks, special_tokens=SPECIAL_IDS)
    mixed = NASTY + "<|user_start|>" + NASTY + "<|bos|><|bos|>"
    tokenizer = text.ByteTokenizer()
    assert tokenizer.encode(mixed) == oracle.encode_ordinary(mixed), "specials as text"
    allowed = tokenizer.encode(mixed, allow_specials=True)
    assert allowed == oracle.encode(mixed, allowed_special="all"), "specials as commands"


# ------------------------------------------------------------------------------------------------
# ByteTokenizer.decode


@pytest.mark.exercise("ByteTokenizer.decode", points=2)
def test_the_bytes_of_a_character_are_read_together():
    tokenizer = text.ByteTokenizer()
    why = "one id is often only a part of a character: gather all bytes first, then read them"
    assert tokenizer.decode([226, 130, 172]) == "\u20ac", why
    assert tokenizer.decode([104, 195, 169, 240, 159, 152, 128]) == "h\u00e9" + GRIN, why
    assert tokenizer.decode(list(FAMILY.encode())) == FAMILY, why


@pytest.mark.exercise("ByteTokenizer.decode", points=1)
def test_a_special_id_becomes_its_name():
    why = "a special id is read as the name it has in this tokenizer"
    assert text.ByteTokenizer().decode([256, 104, 105, 264]) == "<|bos|>hi<|output_end|>", why
    assert text.ByteTokenizer(("<\u00e9>", "<b>")).decode([257, 256]) == "<b><\u00e9>", why


@pytest.mark.exercise("ByteTokenizer.decode", points=1)
def test_a_model_may_stop_inside_a_character():
    decoded = text.ByteTokenizer().decode([104, 105, 226, 130])
    assert decoded[:2] == "hi", "the last ids are half a character: the text before them must still be shown"


@pytest.mark.exercise("ByteTokenizer.decode", points=1)
def test_bytes_that_are_no_utf8_become_the_replacement_character():
    tokenizer = text.ByteTokenizer()
    why = "U+FFFD shows that something is broken; without it nobody would know"
    assert tokenizer.decode([104, 226, 130]) == "h\ufffd", why
    assert tokenizer.decode([255, 104]) == "\ufffdh", why
    assert tokenizer.decode([0x80]) == "\ufffd", why


@pytest.mark.exercise("ByteTokenizer.decode", points=1)
def test_a_character_cut_by_a_special_is_not_mended_across_it():
    broken = text.ByteTokenizer().decode([226, 130, 256, 172])
    assert broken == "\ufffd<|bos|>\ufffd", "the bytes on the two sides of a special do not belong together"


@pytest.mark.exercise("ByteTokenizer.decode", points=1)
def test_an_id_beyond_the_vocabulary_is_refused():
    for wrong in (265, 10_000):
        with pytest.raises(ValueError):
            text.ByteTokenizer().decode([104, wrong])


@pytest.mark.exercise("ByteTokenizer.decode", points=1)
def test_a_negative_id_is_refused():
    with pytest.raises(ValueError):
        text.ByteTokenizer().decode([104, -1])


def id_named_in_the_error(wrong: int) -> int | str:
    """`wrong`, if the message of the error holds it; otherwise a sentence."""
    with pytest.raises(ValueError) as caught:
        text.ByteTokenizer().decode([104, wrong])
    message = str(caught.value)
    return (
        wrong if str(wrong) in regex.sub(r"(?<=\d)[,_](?=\d)", "", message) else f"a message without {wrong}"
    )


@pytest.mark.exercise("ByteTokenizer.decode", points=1)
def test_the_error_says_which_id_it_was():
    why = "among thousands of ids nobody finds the wrong one by looking: the message must name it"
    assert id_named_in_the_error(265) == 265, why
    assert id_named_in_the_error(10_000) == 10_000, why
    assert id_named_in_the_error(-1) == -1, (
        "Python's own errors do not name it: was the id looked at before its use?"
    )


@pytest.mark.exercise("ByteTokenizer.decode", points=1)
def test_ids_may_come_one_at_a_time_and_only_once():
    assert text.ByteTokenizer().decode(i for i in [104, 105]) == "hi", "a model makes its ids one by one"


@pytest.mark.exercise("ByteTokenizer.decode", points=1)
def test_white_space_and_nothing_come_back_as_they_are():
    tokenizer = text.ByteTokenizer()
    assert tokenizer.decode([32, 104, 32]) == " h ", "a space at the edge is text"
    assert tokenizer.decode([104, 13, 10, 9, 0, 97]) == "h\r\n\t\x00a", "line ends and NUL are text"
    assert tokenizer.decode([]) == "", "no ids, no text"


@pytest.mark.exercise("ByteTokenizer.decode", points=1)
@given(st.binary())
@example(b"\xe2\x82 ")
@example(b"\xf0\x9f\x98\x80\xed\xa0\x80")
def test_any_bytes_are_read_as_python_reads_utf8(data):
    decoded = text.ByteTokenizer().decode(list(data))
    assert decoded == data.decode("utf-8", errors="replace"), "any bytes, good or bad, are read in one go"
