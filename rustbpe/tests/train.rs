//! Training, counting and encoding against slow twins that can be read at a glance.

use mini_rustbpe::count::{count_texts, total, ChunkCounts};
use mini_rustbpe::encode::Model;
use mini_rustbpe::split::{default_pattern, Splitter};
use mini_rustbpe::train::{train, Pair, Words};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};

fn counts_of(chunks: &[(&str, u64)]) -> ChunkCounts {
    let mut counts = ChunkCounts::default();
    for (chunk, count) in chunks {
        counts.add(chunk.as_bytes(), *count);
    }
    counts
}

/// The merges and the counts at which they were learned.
fn learn(counts: &ChunkCounts, vocab_size: u32) -> Vec<(Pair, u64)> {
    let mut log = Vec::new();
    let merges = train(Words::new(counts), vocab_size, |pair, count| {
        log.push((pair, count));
        Ok::<(), ()>(())
    });
    assert_eq!(merges.unwrap(), log.iter().map(|&(pair, _)| pair).collect::<Vec<_>>());
    log
}

fn replace(word: &[u32], pair: Pair, new_id: u32) -> Vec<u32> {
    let mut out = Vec::new();
    let mut i = 0;
    while i < word.len() {
        if i + 1 < word.len() && (word[i], word[i + 1]) == pair {
            out.push(new_id);
            i += 2;
        } else {
            out.push(word[i]);
            i += 1;
        }
    }
    out
}

/// `bpe.train` of lesson 0.2: count everything anew at each step.
fn learn_slowly(counts: &ChunkCounts, vocab_size: u32) -> Vec<(Pair, u64)> {
    let mut words = Vec::new();
    counts.for_each(|chunk, count| {
        words.push((chunk.iter().map(|&byte| u32::from(byte)).collect::<Vec<_>>(), count));
    });
    let mut log = Vec::new();
    for new_id in 256..vocab_size {
        let mut pairs: BTreeMap<Pair, u64> = BTreeMap::new();
        for (word, count) in &words {
            for two in word.windows(2) {
                *pairs.entry((two[0], two[1])).or_default() += count;
            }
        }
        let best = pairs.iter().max_by_key(|&(&pair, &count)| (count, std::cmp::Reverse(pair)));
        let Some((&pair, &count)) = best else { break };
        log.push((pair, count));
        for (word, _) in &mut words {
            *word = replace(word, pair, new_id);
        }
    }
    log
}

/// Encoding as lesson 0.2 does it.
fn encode_slowly(chunk: &str, merges: &[Pair]) -> Vec<u32> {
    let mut ids: Vec<u32> = chunk.bytes().map(u32::from).collect();
    for (&pair, new_id) in merges.iter().zip(256..) {
        ids = replace(&ids, pair, new_id);
    }
    ids
}

#[test]
fn ties_go_to_the_smaller_pair() {
    let log = learn(&counts_of(&[("cd", 2), ("ab", 2), ("ef", 3)]), 300);
    let pair = |text: &str| (u32::from(text.as_bytes()[0]), u32::from(text.as_bytes()[1]));
    assert_eq!(log, [(pair("ef"), 3), (pair("ab"), 2), (pair("cd"), 2)]);
}

#[test]
fn overlapping_pairs_count_and_merge_from_the_left() {
    // a a a holds the pair a a twice; merged it is x a, and not a x.
    assert_eq!(learn(&counts_of(&[("aaa", 1)]), 300), [((97, 97), 2), ((256, 97), 1)]);
}

#[test]
fn counts_do_not_overflow_32_bits() {
    let log = learn(&counts_of(&[("ab", 5_000_000_000), ("cd", 4_999_999_999)]), 257);
    assert_eq!(log, [((97, 98), 5_000_000_000)]);
}

#[test]
fn an_error_from_on_merge_ends_the_training() {
    let mut calls = 0;
    let result = train(Words::new(&counts_of(&[("abcdef", 1)])), 300, |_, _| {
        calls += 1;
        if calls == 2 {
            Err("stop")
        } else {
            Ok(())
        }
    });
    assert_eq!((result, calls), (Err("stop"), 2));
}

#[test]
fn chunks_of_every_length_are_counted_on_any_number_of_threads() {
    // 14, 15, 16 and 17 bytes lie around the border between short and long; zero bytes are bytes too.
    let lengths = [1, 2, 14, 15, 16, 17, 40];
    let words: Vec<String> = lengths.iter().map(|&n| "w".repeat(n)).collect();
    let text = words.join("\n") + "\n\0\0\0\0";
    let texts = vec![text.as_str(); 10];
    let splitter = Splitter::new(&default_pattern()).unwrap();
    for threads in 1..4 {
        let mut parts = Vec::new();
        parts.resize_with(threads, ChunkCounts::default);
        count_texts(&mut parts, &splitter, &texts).unwrap();
        let mut found = HashMap::new();
        total(parts).for_each(|chunk, count| assert_eq!(found.insert(chunk.to_vec(), count), None));
        assert_eq!(found.len(), lengths.len() + 2);
        for word in &words {
            assert_eq!(found[word.as_bytes()], 10);
        }
        assert_eq!(found[&b"\0\0\0\0"[..]], 10);
        assert_eq!(found[&b"\n"[..]], 70);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_same_merges_as_the_slow_twin(chunks in prop::collection::vec(("[ab]{1,12}|[a-d]{1,20}", 1..5u64), 1..12)) {
        let chunks: Vec<(&str, u64)> = chunks.iter().map(|(chunk, count)| (chunk.as_str(), *count)).collect();
        let counts = counts_of(&chunks);
        let log = learn(&counts, 300);
        prop_assert_eq!(&log, &learn_slowly(&counts, 300));

        let merges: Vec<Pair> = log.iter().map(|&(pair, _)| pair).collect();
        let model = Model::new(default_pattern(), Splitter::new(&default_pattern()).unwrap(), &merges);
        for chunk in ["abab", "aaaaaaa", "bbabbab", "abcdabcd", "zz"] {
            prop_assert_eq!(model.encode(chunk).unwrap(), encode_slowly(chunk, &merges));
        }
        for (id, token) in model.tokens().iter().enumerate().skip(256) {
            let token = std::str::from_utf8(token).unwrap();
            prop_assert_eq!(model.encode(token).unwrap(), vec![id as u32]);
        }
    }
}
