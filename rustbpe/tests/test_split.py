"""The chunks of mini_rustbpe are those of Python's `regex` module."""

import itertools
import unicodedata

import mini_rustbpe
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

DIGITS_3 = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*"
    r"|\s*[\r\n]|\s+(?!\S)|\s+"
)
DIGITS_2 = DIGITS_3.replace("{1,3}", "{1,2}")

# Every kind of character that a rule can tell apart, and those that are easily taken for another.
TRAPS = [
    *"'sSdmtlLvVeErR \t\r\n\v\f7!_.-",
    *"\x00\x1c\x1f\x7f\x85\xa0\u1680\u2003\u2028\u2029\u202f\u205f\u3000",  # white space, and four that are not
    *"\u180e\u200b\u200c\u200d\u2060\ufeff",  # invisible, but no white space
    *"\u0301\u093e\u20e3\ufe0f\U0001f3fd",  # marks: neither letters nor visible alone
    *"\u017f\u212a\ufb06\u0130\u1e9e\u2019\uff07",  # long s, Kelvin, ligature; other apostrophes
    *"\u0663\u096b\u0ed3\u2167\u00bd\u00b2\u3007\u4e00\U0001d7d8",  # numbers of many kinds; 一 is a letter
    *"é\u0915\u304c\ud55c\u02b0\u00aa\u01c5\U00020000\U0001f469\U0010ffff",
]


def known_to_both(text: str) -> bool:
    """Whether every character of `text` is old enough for both to know its class."""
    return not any(unicodedata.category(char) == "Cn" for char in text)


@pytest.mark.parametrize("pattern", [DIGITS_2, DIGITS_3], ids=["two digits", "three digits"])
def test_all_short_texts_of_traps(pattern):
    find = regex.compile(pattern).findall
    for length in range(4):
        for chars in itertools.product(TRAPS, repeat=length):
            text = "".join(chars)
            assert mini_rustbpe.split(text, pattern) == find(text), ascii(text)


@settings(max_examples=3000, deadline=None)
@given(
    st.text(
        st.one_of(
            st.sampled_from(TRAPS), st.sampled_from("' sl\n\r\t7!"), st.characters(exclude_categories=["Cs"])
        )
    ),
    st.sampled_from([DIGITS_2, DIGITS_3]),
)
def test_random_texts(text, pattern):
    if known_to_both(text):
        assert mini_rustbpe.split(text, pattern) == regex.findall(pattern, text)


def test_every_character_that_this_python_knows_has_the_same_class():
    # `regex` and the Rust crate follow Unicode at their own pace. They may differ only in characters that
    # are so new that they were unassigned before. (Rust's regex-syntax 0.8 knows Unicode 16.)
    if tuple(map(int, unicodedata.unidata_version.split("."))) > (16, 0, 0):
        pytest.skip(f"this Python knows Unicode {unicodedata.unidata_version}, newer than the Rust crate")
    find = regex.compile(DIGITS_2).findall
    for i in range(0x110000):
        char = chr(i)
        text = f"a{char}a1{char}1 {char} {char}{char}'{char}!{char}"
        if unicodedata.category(char) not in ("Cs", "Cn"):
            assert mini_rustbpe.split(text, DIGITS_2) == find(text), f"U+{i:04X}"


def test_another_pattern_goes_to_a_regex_engine():
    assert mini_rustbpe.split("hello world", r"\w+") == ["hello", "world"]
    assert mini_rustbpe.split("hello", r"(\w)\1") == ["ll"]
    assert mini_rustbpe.split("hello", "") == []


def test_a_pattern_that_gives_up_is_an_error_and_no_crash():
    with pytest.raises(ValueError, match="split pattern failed"):
        mini_rustbpe.split("a" * 100_000, r"(?=(a+)+b)x|(a|aa)+\1b")
