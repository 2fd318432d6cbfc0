//! The hand splitter cuts exactly as the regex does.

use mini_rustbpe::split::{classes, default_pattern, pattern_with_digits, Class, Splitter};
use proptest::prelude::*;

/// Both splitters for the pattern with `digits` digits.
fn both(digits: usize) -> (Splitter, Splitter) {
    let pattern = pattern_with_digits(digits);
    let hand = Splitter::new(&pattern).unwrap();
    assert!(matches!(hand, Splitter::Hand(_)), "the pattern is not recognised");
    (hand, Splitter::regex(&pattern).unwrap())
}

/// One of every kind of character that the rules tell apart, and the traps among them.
const CHARACTERS: [char; 14] =
    ['\'', 's', 'l', 'L', ' ', '\t', '\r', '\n', '7', '!', '\u{17F}', 'é', '\u{3000}', '\u{301}'];

#[test]
fn every_text_of_up_to_five_characters_is_cut_alike() {
    let (hand, regex) = both(2);
    let mut texts = vec![String::new()];
    for _ in 0..5 {
        texts = texts.iter().flat_map(|text| CHARACTERS.map(|c| format!("{text}{c}"))).collect();
        for text in &texts {
            assert_eq!(hand.split(text), regex.split(text), "{text:?}");
        }
    }
}

#[test]
fn every_character_has_the_class_that_the_regex_gives_it() {
    let sets = [(r"\p{L}", Class::Letter), (r"\p{N}", Class::Number), (r"[\r\n]", Class::Newline)];
    let sets = sets.into_iter().chain([(r"[\s--[\r\n]]", Class::Space), (r"[^\s\p{L}\p{N}]", Class::Other)]);
    for (set, class) in sets {
        let set = fancy_regex::Regex::new(&format!("^{set}$")).unwrap();
        for c in '\0'..=char::MAX {
            let matches = set.is_match(c.encode_utf8(&mut [0; 4])).unwrap();
            assert_eq!(matches, classes()[c as usize] == class, "{c:?} and {class:?}");
        }
    }
}

#[test]
fn contractions_and_the_long_s() {
    let (hand, _) = both(2);
    assert_eq!(
        hand.split("it's 'Twas we'LL '\u{17F}o 'x").unwrap(),
        ["it", "'s", " '", "Twas", " we", "'LL", " '", "\u{17F}o", " '", "x"]
    );
    assert_eq!(hand.split("a'\u{17F}o").unwrap(), ["a", "'\u{17F}", "o"]);
}

#[test]
fn only_the_pattern_itself_is_done_by_hand() {
    assert!(matches!(Splitter::new(&default_pattern()), Ok(Splitter::Hand(_))));
    for other in [r"\w+", "", &pattern_with_digits(0), &format!("{} ", default_pattern())] {
        assert!(matches!(Splitter::new(other), Ok(Splitter::Regex(_))), "{other}");
    }
    assert!(Splitter::new("(").is_err());
}

#[test]
fn a_long_text_in_pieces_has_the_same_chunks() {
    let (hand, _) = both(2);
    let text = "def f(x):\r\n    return x\n\n\n  # 1234\nclass é:\n\téa\n".repeat(50);
    for size in [1, 7, 64, 100_000] {
        let pieces = hand.pieces(&text, size);
        let chunks: Vec<&str> = pieces.iter().flat_map(|piece| hand.split(piece).unwrap()).collect();
        assert_eq!(chunks, hand.split(&text).unwrap());
        assert_eq!(pieces.concat(), text);
        assert_eq!(pieces.len() > 1, size < 100_000);
    }
}

/// Texts of the characters above, white space of all kinds, digits and marks of many scripts, and anything.
fn texts() -> impl Strategy<Value = String> {
    let character = prop_oneof![
        4 => prop::sample::select(CHARACTERS.to_vec()),
        2 => prop::sample::select("\u{85}\u{A0}\u{1680}\u{2003}\u{2028}\u{200B}\u{200D}\u{FEFF}\u{1F}\u{B}\u{C}".chars().collect::<Vec<_>>()),
        1 => prop::sample::select("٣५໓Ⅷ½²〇一が한ßİǅʰªא्ॐ👩🏽".chars().collect::<Vec<_>>()),
        1 => any::<char>(),
    ];
    prop::collection::vec(character, 0..40).prop_map(String::from_iter)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn random_texts_are_cut_alike(text in texts(), digits in 1..=9usize) {
        let (hand, regex) = both(digits);
        let chunks = hand.split(&text).unwrap();
        prop_assert_eq!(chunks.concat(), text.as_str());
        prop_assert_eq!(chunks, regex.split(&text).unwrap());
    }
}
