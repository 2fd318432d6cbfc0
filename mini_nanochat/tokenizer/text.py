"""Lesson 0.1: text is bytes. Cut text into chunks, keep special tokens apart, turn it into ids.

A computer stores text as bytes: numbers from 0 to 255, one to four of them a character (UTF-8). So the
simplest tokenizer of all has 256 ids, knows every language, and can never meet a word it does not know.
Its ids are the ground that lesson 0.2 builds on. Two questions belong to this lesson too: where may a
token end (the split pattern), and which strings are commands instead of text (the special tokens)?

Paper: gpt2-2019 (section 2.2: bytes, and why merges must not cross kinds of characters).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import regex

# The nine marks that structure documents, conversations and tool use, in id order (as in nanochat).
SPECIAL_TOKENS = (
    "<|bos|>",
    "<|user_start|>",
    "<|user_end|>",
    "<|assistant_start|>",
    "<|assistant_end|>",
    "<|python_start|>",
    "<|python_end|>",
    "<|output_start|>",
    "<|output_end|>",
)


def to_utf8(text: str) -> bytes:
    """`text` as UTF-8 bytes.

    Raises TypeError for anything but a str, and ValueError for a lone surrogate: half of a
    two-part character, which stands for nothing and has no bytes.
    """
    if not isinstance(text, str):
        raise TypeError(f"text must be a str, got {type(text).__name__}")
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"text holds a lone surrogate, U+{ord(text[error.start]):04X}, at position {error.start}: "
            "it has no UTF-8 bytes. Remove it, or read the file again with errors='replace'."
        ) from None


def split_pattern() -> str:
    r"""The regular expression that cuts text into chunks; merges (lesson 0.2) never cross a cut.

    Seven alternatives, joined by `|`; at each position the first that matches wins:

    1. the end of a contraction: ' and one of s d m t ll ve re, in either case
    2. a word: letters, and before them at most one character that is no letter, no digit and no line
       break: "the", " the", "(the" and "_the" are one chunk each (but " (the" is " (" and "the": at
       the space rule 2 fails, for no letter follows it, and rule 4 takes the space and the bracket)
    3. one or two digits (any script's: `\p{N}`)
    4. other visible characters, as many as there are; with them one space before them, if there is
       one, and all line breaks right after them, if there are any
    5. line breaks: white space up to and including the last line break in it, which may be all there is
    6. white space before something visible: all but its last character, which is left for the next
       rule to take; at the end of the text all of it
    7. any other white space

    A line break is \r or \n. For the `regex` module (`re` knows no `\p{L}`). No capturing groups:
    `split` uses findall. This is GPT-4's pattern, with two digits at most where GPT-4 takes three: short
    numbers suit small vocabularies. Source: tiktoken's cl100k_base; nanochat's `{1,2}`.
    """
    # `?+` and `++` cut as `?` and `+` would here. They never give back what they took, which is faster.
    return "|".join(
        [
            r"'(?i:[sdmt]|ll|ve|re)",
            r"[^\r\n\p{L}\p{N}]?+\p{L}+",
            r"\p{N}{1,2}",
            r" ?[^\s\p{L}\p{N}]++[\r\n]*",
            r"\s*[\r\n]",
            r"\s+(?!\S)",
            r"\s+",
        ]
    )


def split(text: str) -> list[str]:
    """The chunks of `text`, in order. Nothing is lost: joined, they are `text` again."""
    return list(regex.findall(split_pattern(), text))


def split_on_specials(text: str, specials: Iterable[str] = SPECIAL_TOKENS) -> list[str]:
    """`text` cut around every special token: ordinary pieces and special tokens, in order.

    No piece is empty and, joined, they are `text` again. Where two specials could match at the same
    place the longer one wins. Each special is meant literally, whatever characters it is made of.
    """
    longest_first = sorted(specials, key=len, reverse=True)
    if not longest_first:
        return [text] if text else []
    # The capturing group makes `split` keep what it cut at.
    pattern = "(" + "|".join(regex.escape(special) for special in longest_first) + ")"
    return [piece for piece in regex.split(pattern, text) if piece]


class ByteTokenizer:
    """A tokenizer that has nothing to learn: ids 0..255 are the bytes, special tokens follow.

    >>> ByteTokenizer().encode("hi")
    [104, 105]
    """

    def __init__(self, specials: Sequence[str] = SPECIAL_TOKENS) -> None:
        self.specials = tuple(specials)
        self.special_ids = {special: 256 + i for i, special in enumerate(self.specials)}

    @property
    def vocab_size(self) -> int:
        """The number of ids: 256 bytes and the special tokens."""
        return 256 + len(self.specials)

    def encode(self, text: str, allow_specials: bool = False) -> list[int]:
        """The ids of `text`: one a byte.

        A special token written in `text` is ordinary text, byte by byte, so that nobody can type a
        command into a chat. Only with `allow_specials` does it become its one id.
        Raises TypeError and ValueError as `to_utf8` does.
        """
        if not allow_specials:
            return list(to_utf8(text))
        ids: list[int] = []
        for piece in split_on_specials(text, self.specials):
            if piece in self.special_ids:
                ids.append(self.special_ids[piece])
            else:
                ids.extend(to_utf8(piece))
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`. A special id becomes its name; bytes that are no UTF-8 become U+FFFD.

        All bytes are gathered before they are read: a character may need up to four of them.
        Raises ValueError for an id below 0 or not below vocab_size; its message names that id.
        """
        data = bytearray()
        for i in ids:
            if not 0 <= i < self.vocab_size:
                raise ValueError(f"ids must lie in 0..{self.vocab_size - 1}, got {i}")
            data.extend([i] if i < 256 else self.specials[i - 256].encode("utf-8"))
        return data.decode("utf-8", errors="replace")
