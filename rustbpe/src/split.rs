//! Text -> chunks. Merges never cross the end of a chunk.
//!
//! The chunks are defined by a regular expression (see `split_pattern` in `tokenizer/text.py`, which
//! explains its seven rules). Running it takes nine tenths of the time of training, so for this one
//! pattern the rules are written out by hand below: `HandSplitter` looks at each byte about once.
//! Any other pattern goes to the `fancy-regex` crate. `tests/split.rs` proves that both agree.

use fancy_regex::Regex;
use regex_syntax::hir::{Class as HirClass, HirKind};
use std::sync::OnceLock;

/// The pattern before and after the largest number of digits in a chunk, which may vary.
const PATTERN_HEAD: &str = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,";
const PATTERN_TAIL: &str = r"}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+";

/// GPT-4's pattern (three digits at most): what rustbpe takes when no pattern is given.
pub fn default_pattern() -> String {
    pattern_with_digits(3)
}

/// The pattern with at most `max_digits` (1 to 9) digits in a chunk. mini_nanochat takes two.
pub fn pattern_with_digits(max_digits: usize) -> String {
    format!("{PATTERN_HEAD}{max_digits}{PATTERN_TAIL}")
}

/// Cuts text into chunks, by hand if it knows the pattern and by regex if not.
pub enum Splitter {
    Hand(HandSplitter),
    Regex(Box<Regex>),
}

impl Splitter {
    /// The splitter for `pattern`; the error says what is wrong with it.
    pub fn new(pattern: &str) -> Result<Splitter, String> {
        match HandSplitter::for_pattern(pattern) {
            Some(hand) => Ok(Splitter::Hand(hand)),
            None => Splitter::regex(pattern),
        }
    }

    /// The regex splitter, even for the pattern that could be done by hand (tests compare the two).
    pub fn regex(pattern: &str) -> Result<Splitter, String> {
        match Regex::new(pattern) {
            Ok(regex) => Ok(Splitter::Regex(Box::new(regex))),
            Err(error) => Err(format!("Invalid regex pattern: {error}")),
        }
    }

    /// Call `visit(start, end)` for every chunk of `text`, in order; `text[start..end]` is the chunk.
    ///
    /// The hand splitter loses nothing and never fails. A regex skips what it does not match, and some
    /// regexes give up on some texts: that is the error.
    #[inline]
    pub fn for_each(&self, text: &str, mut visit: impl FnMut(usize, usize)) -> Result<(), String> {
        match self {
            Splitter::Hand(hand) => {
                let bytes = text.as_bytes();
                let mut start = 0;
                while start < bytes.len() {
                    let end = hand.next_end(bytes, start);
                    visit(start, end);
                    start = end;
                }
            }
            Splitter::Regex(regex) => {
                for found in regex.find_iter(text) {
                    let found = found.map_err(|error| format!("the split pattern failed: {error}"))?;
                    if !found.range().is_empty() {
                        visit(found.start(), found.end());
                    }
                }
            }
        }
        Ok(())
    }

    /// The chunks of `text` as a list.
    pub fn split<'t>(&self, text: &'t str) -> Result<Vec<&'t str>, String> {
        let mut chunks = Vec::new();
        self.for_each(text, |start, end| chunks.push(&text[start..end]))?;
        Ok(chunks)
    }

    /// Cut a long text into pieces of about `size` bytes that have the same chunks as the whole, so
    /// that several threads can share it. A text that offers no safe cut stays in one piece.
    ///
    /// A safe cut for the hand splitter is between a line feed and an ASCII letter: rules 4 and 5 end
    /// at the last line break, no other rule takes one, and no rule looks back.
    pub fn pieces<'t>(&self, text: &'t str, size: usize) -> Vec<&'t str> {
        let bytes = text.as_bytes();
        let mut pieces = Vec::new();
        let mut start = 0;
        if let Splitter::Hand(_) = self {
            let mut i = size;
            while i < bytes.len() {
                if bytes[i - 1] == b'\n' && bytes[i].is_ascii_alphabetic() {
                    pieces.push(&text[start..i]);
                    start = i;
                    i += size;
                } else {
                    i += 1;
                }
            }
        }
        pieces.push(&text[start..]);
        pieces
    }
}

/// What the pattern needs to know about a character. Every character is in exactly one class.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Class {
    /// Anything else: punctuation, symbols, marks, controls, and code points without a character.
    Other,
    /// `\p{L}`
    Letter,
    /// `\p{N}`: the digits of all scripts, and also Roman numerals, fractions, ...
    Number,
    /// `\s` but for the two below
    Space,
    /// `\r` or `\n`
    Newline,
    /// Not a character: the text ends here.
    End,
}

/// The pattern, as code.
pub struct HandSplitter {
    classes: &'static [Class],
    max_digits: usize,
}

impl HandSplitter {
    /// The hand splitter, if `pattern` is the one it knows (with any number of digits from 1 to 9).
    pub fn for_pattern(pattern: &str) -> Option<HandSplitter> {
        let digits = pattern.strip_prefix(PATTERN_HEAD)?.strip_suffix(PATTERN_TAIL)?;
        match digits.as_bytes() {
            [digit @ b'1'..=b'9'] => {
                Some(HandSplitter { classes: classes(), max_digits: usize::from(digit - b'0') })
            }
            _ => None,
        }
    }

    /// Where the chunk that begins at `start` ends. `text` is UTF-8 and has a character at `start`.
    ///
    /// The rules are numbered as in `split_pattern`; the first that matches wins. The class of the
    /// first character leaves only a few of them.
    #[inline]
    pub fn next_end(&self, text: &[u8], start: usize) -> usize {
        // [lesson 0.3] begin next_end
        let (first, after) = self.look(text, start);
        match first {
            // 2: a word without a character before it
            Class::Letter => self.skip_letters(text, after),
            // 3: a few digits
            Class::Number => self.skip_numbers(text, after),
            Class::Other => {
                // 1: the end of a contraction
                if text[start] == b'\'' {
                    if let Some(end) = contraction_end(text, after) {
                        return end;
                    }
                }
                match self.look(text, after) {
                    // 2: a word with a character before it
                    (Class::Letter, next) => self.skip_letters(text, next),
                    // 4: visible characters
                    _ => self.skip_visible(text, after),
                }
            }
            Class::Space => match self.look(text, after) {
                // 2 again: " the"
                (Class::Letter, next) => self.skip_letters(text, next),
                // 4 with a space (the space bar's, no other) before it
                (Class::Other, next) if text[start] == b' ' => self.skip_visible(text, next),
                // 5, 6, 7
                _ => self.white_space_end(text, start),
            },
            Class::Newline | Class::End => self.white_space_end(text, start),
        }
        // end
    }

    /// The class of the character at `i` and where the next character begins.
    #[inline(always)]
    fn look(&self, text: &[u8], i: usize) -> (Class, usize) {
        match text.get(i) {
            None => (Class::End, i),
            // A byte below 128 is a whole character: nearly all of English and of program code.
            Some(&byte) if byte < 128 => (self.classes[usize::from(byte)], i + 1),
            Some(_) => {
                let (code_point, width) = decode(text, i);
                (self.classes[code_point], i + width)
            }
        }
    }

    /// The first place from `i` on that is no letter.
    #[inline(always)]
    fn skip_letters(&self, text: &[u8], mut i: usize) -> usize {
        while let (Class::Letter, next) = self.look(text, i) {
            i = next;
        }
        i
    }

    /// Rule 3, after its first digit.
    #[inline]
    fn skip_numbers(&self, text: &[u8], mut i: usize) -> usize {
        for _ in 1..self.max_digits {
            match self.look(text, i) {
                (Class::Number, next) => i = next,
                _ => break,
            }
        }
        i
    }

    /// Rule 4, after its first visible character: all that follow, then all line breaks.
    #[inline]
    fn skip_visible(&self, text: &[u8], mut i: usize) -> usize {
        while let (Class::Other, next) = self.look(text, i) {
            i = next;
        }
        while let Some(b'\r' | b'\n') = text.get(i) {
            i += 1;
        }
        i
    }

    /// Rules 5, 6 and 7 at `start`, where white space begins.
    #[inline]
    fn white_space_end(&self, text: &[u8], start: usize) -> usize {
        // [lesson 0.3] begin white_space_end
        let mut last_start = start; // where the last character of the white space begins
        let mut after_newline = None; // the place after the last line break
        let mut i = start;
        loop {
            match self.look(text, i) {
                (Class::Newline, next) => {
                    after_newline = Some(next);
                    (last_start, i) = (i, next);
                }
                (Class::Space, next) => (last_start, i) = (i, next),
                (class, _) => {
                    return match after_newline {
                        Some(end) => end,                         // 5
                        None if class == Class::End => i,         // 6 at the end of the text
                        None if last_start > start => last_start, // 6: leave one for the next rule
                        None => i,                                // 7
                    };
                }
            }
        }
        // end
    }
}

/// Rule 1 after the apostrophe: s d m t ll ve re, in either case. None if none of them follows.
#[inline]
fn contraction_end(text: &[u8], i: usize) -> Option<usize> {
    let lower = |i: usize| text.get(i).map_or(0, |byte| byte.to_ascii_lowercase());
    match (lower(i), lower(i + 1)) {
        (b's' | b'd' | b'm' | b't', _) => Some(i + 1),
        (b'l', b'l') | (b'v', b'e') | (b'r', b'e') => Some(i + 2),
        // The long s of old prints (U+017F, in UTF-8 C5 BF) is an s to a regex that ignores case.
        _ if text.get(i..i + 2) == Some(&[0xC5, 0xBF]) => Some(i + 2),
        _ => None,
    }
}

/// The code point at `i` and its width in bytes. `text` is UTF-8 (a Rust `str` always is) and the
/// character at `i` is not ASCII, so its first byte says how many bytes with 6 bits each follow.
#[inline]
fn decode(text: &[u8], i: usize) -> (usize, usize) {
    let tail = |k: usize| usize::from(text[i + k] & 0x3F);
    let first = usize::from(text[i]);
    match first {
        0xF0.. => ((first & 0x07) << 18 | tail(1) << 12 | tail(2) << 6 | tail(3), 4),
        0xE0.. => ((first & 0x0F) << 12 | tail(1) << 6 | tail(2), 3),
        _ => ((first & 0x1F) << 6 | tail(1), 2),
    }
}

/// The class of every code point, made once: one byte each, 1.1 MB, filled in about a millisecond.
/// A plain table needs no cleverness, and a text touches only the few corners that its scripts use.
pub fn classes() -> &'static [Class] {
    static CLASSES: OnceLock<Vec<Class>> = OnceLock::new();
    CLASSES.get_or_init(|| {
        let mut classes = vec![Class::Other; 0x11_0000];
        fill(&mut classes, r"\p{L}", Class::Letter);
        fill(&mut classes, r"\p{N}", Class::Number);
        fill(&mut classes, r"\s", Class::Space);
        fill(&mut classes, r"[\r\n]", Class::Newline);
        classes
    })
}

/// Set every code point that `set` (a regex for one character) matches to `class`.
fn fill(classes: &mut [Class], set: &str, class: Class) {
    let hir = regex_syntax::parse(set).expect("the four sets above are valid");
    let HirKind::Class(HirClass::Unicode(ranges)) = hir.kind() else {
        panic!("{set} is a set of characters");
    };
    for range in ranges.iter() {
        classes[range.start() as usize..=range.end() as usize].fill(class);
    }
}
