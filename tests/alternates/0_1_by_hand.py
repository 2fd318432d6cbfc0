"""Lesson 0.1, written another way: a pattern in verbose form, loops, a streaming decoder."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Sequence

import regex

_STRUCTURE = ["bos", "user_start", "user_end", "assistant_start", "assistant_end"]
_TOOLS = ["python_start", "python_end", "output_start", "output_end"]
SPECIAL_TOKENS = tuple("<|" + name + "|>" for name in _STRUCTURE + _TOOLS)


def _bytes_of(codepoint: int) -> list[int]:
    """UTF-8 by hand: how many bytes, which bits in each."""
    if codepoint < 0x80:
        return [codepoint]
    tail: list[int] = []
    head = codepoint
    limit = 0x40  # what fits into the first byte shrinks as the tail grows
    while head >= limit:
        tail.insert(0, 0x80 | (head & 0x3F))
        head >>= 6
        limit = 0x20 >> (len(tail) - 1)
    mark = {1: 0xC0, 2: 0xE0, 3: 0xF0}[len(tail)]
    return [mark | head, *tail]


def to_utf8(text: str) -> bytes:
    if type(text) is not str and not isinstance(text, str):
        raise TypeError("this is no text: " + repr(type(text)))
    out = bytearray()
    for character in text:
        number = ord(character)
        if 0xD800 <= number <= 0xDFFF:
            raise ValueError("half a surrogate pair: " + hex(number))
        out += bytes(_bytes_of(number))
    return bytes(out)


def split_pattern() -> str:
    return r"""(?x)
        ' (?: [sS] | [dD] | [mM] | [tT] | [lL][lL] | [vV][eE] | [rR][eE] )
      | (?: (?! [\r\n\p{L}\p{N}] ) [\s\S] )? \p{Letter}+
      | \p{Number} \p{Number}?
      | [ ]? (?: (?! \s | \p{L} | \p{N} ) [\s\S] )+ (?: \r | \n )*
      | \s* (?: \r | \n )+
      | \s+ (?= \s \S )
      | \s+
    """


def split(text: str) -> list[str]:
    return [match.group() for match in regex.finditer(split_pattern(), text)]


def split_on_specials(text: str, specials: Iterable[str] = SPECIAL_TOKENS) -> list[str]:
    marks = list(specials)
    found: list[str] = []
    plain_from = position = 0
    while position < len(text):
        here = [mark for mark in marks if mark and text.startswith(mark, position)]
        if not here:
            position += 1
            continue
        if position > plain_from:
            found.append(text[plain_from:position])
        longest = max(here, key=len)
        found.append(longest)
        position += len(longest)
        plain_from = position
    if plain_from < len(text):
        found.append(text[plain_from:])
    return found


class ByteTokenizer:
    def __init__(self, specials: Sequence[str] = SPECIAL_TOKENS) -> None:
        self.specials = tuple(specials)
        self.special_ids = dict(zip(self.specials, range(256, 256 + len(self.specials))))

    @property
    def vocab_size(self) -> int:
        return len(self.special_ids) + 256

    def encode(self, text: str, allow_specials: bool = False) -> list[int]:
        if not isinstance(text, str):
            raise TypeError("encode takes a str")
        parts = split_on_specials(text, self.specials) if allow_specials else [text]
        out: list[int] = []
        for part in parts:
            number = self.special_ids.get(part) if allow_specials else None
            out += list(to_utf8(part)) if number is None else [number]
        return out

    def decode(self, ids: Iterable[int]) -> str:
        reader = codecs.getincrementaldecoder("utf-8")(errors="replace")
        text = ""
        for number in ids:
            if number < 0 or number >= self.vocab_size:
                raise ValueError("no such id: " + str(number))
            if number > 255:
                text += reader.decode(b"", final=True)
                reader.reset()
                text += self.specials[number - 256]
            else:
                text += reader.decode(bytes([number]))
        return text + reader.decode(b"", final=True)
