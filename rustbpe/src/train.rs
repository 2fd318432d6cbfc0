//! {chunk: how often} -> merges: find the commonest pair, give it a new id, replace it, repeat.
//!
//! `bpe.py` counts all pairs anew at each step. Here three ideas make a step cost what it changes:
//!
//! 1. **Where.** Each pair knows the words it occurs in, so a merge visits only those.
//! 2. **Deltas.** A merge changes the counts of few pairs: in `l a b r` with `a b -> x` the pairs
//!    `l a` and `b r` lose what the new pairs `l x` and `x r` gain. So it is enough to know how often
//!    each `l` stood to the left and each `r` to the right.
//! 3. **A lazy heap.** Counts of known pairs only ever fall (a new pair always holds the new id). So
//!    the heap may keep an old count: it is too high at worst, and is put right when it comes to the top.
//!
//! One total order decides: the higher count first, then the smaller pair, compared by ids. So the
//! merges depend neither on the order of the text nor on the number of threads.

use crate::count::ChunkCounts;
use hashbrown::HashMap;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

pub type Pair = (u32, u32);

/// The different chunks as lists of ids, one after another in one long list.
pub struct Words {
    ids: Vec<u32>,
    spans: Vec<Span>,
}

/// One word: it is `ids[start..start + len]`, and occurs `count` times in the text.
struct Span {
    start: u32,
    len: u32,
    count: u64,
}

impl Span {
    /// Where the word is in the list of ids.
    #[inline]
    fn range(&self) -> Range<usize> {
        let start = self.start as usize;
        start..start + self.len as usize
    }
}

impl Words {
    /// The words of `counts`. Those of one byte are left out: they hold no pair.
    pub fn new(counts: &ChunkCounts) -> Words {
        let mut words = Words { ids: Vec::new(), spans: Vec::with_capacity(counts.len()) };
        counts.for_each(|chunk, count| {
            if chunk.len() > 1 {
                words.spans.push(Span { start: small(words.ids.len()), len: small(chunk.len()), count });
                words.ids.extend(chunk.iter().map(|&byte| u32::from(byte)));
            }
        });
        words
    }
}

/// Positions have 32 bits: half the memory to wait for. The *different* chunks of a text never come near.
fn small(n: usize) -> u32 {
    u32::try_from(n).expect("the different chunks have fewer than 2**32 bytes together")
}

/// What is known of a pair: how often it occurs, and the words it may occur in (it does not any more in
/// those where another merge has used it up).
#[derive(Default)]
struct PairInfo {
    count: u64,
    words: Vec<u32>,
}

/// All pairs, and a heap that finds the commonest one.
#[derive(Default)]
struct Pairs {
    known: HashMap<Pair, PairInfo>,
    // The largest comes first. Reverse turns the order of pairs around: of equal counts the smaller pair.
    heap: BinaryHeap<(u64, Reverse<Pair>)>,
}

impl Pairs {
    /// The pairs of `words`. Overlapping pairs all count: 7 7 7 holds the pair 7 7 twice.
    fn new(words: &Words) -> Pairs {
        // [lesson 0.3] begin count_pairs
        let mut pairs = Pairs::default();
        for (index, span) in words.spans.iter().enumerate() {
            let word = &words.ids[span.range()];
            for two in word.windows(2) {
                let info = pairs.known.entry((two[0], two[1])).or_default();
                info.count += span.count;
                push_new(&mut info.words, index as u32);
            }
        }
        pairs.heap = pairs.known.iter().map(|(&pair, info)| (info.count, Reverse(pair))).collect();
        pairs
        // end
    }

    /// Take out the commonest pair. None if there is no pair left.
    fn take_best(&mut self) -> Option<(Pair, PairInfo)> {
        // [lesson 0.3] begin take_best
        while let Some((count, Reverse(pair))) = self.heap.pop() {
            match self.known.get(&pair) {
                Some(info) if info.count == count => {
                    return self.known.remove(&pair).map(|info| (pair, info));
                }
                // The count has fallen since: back into the heap, to where it belongs now.
                Some(info) => self.heap.push((info.count, Reverse(pair))),
                // It has fallen to nothing.
                None => {}
            }
        }
        None
        // end
    }

    /// A pair that was never seen before.
    fn insert(&mut self, pair: Pair, info: PairInfo) {
        self.heap.push((info.count, Reverse(pair)));
        self.known.insert(pair, info);
    }

    /// `pair` occurs `count` times less. (The pair that is being merged is no longer known: no matter.)
    fn subtract(&mut self, pair: Pair, count: u64) {
        if let Some(info) = self.known.get_mut(&pair) {
            info.count -= count;
            if info.count == 0 {
                self.known.remove(&pair);
            }
        }
    }

    /// Pass on what a merge `pair -> new_id` has changed; both sides are empty afterwards.
    fn apply(&mut self, pair: Pair, new_id: u32, left: &mut Neighbours, right: &mut Neighbours) {
        // [lesson 0.3] begin apply_deltas
        // The right first: in a b a b -> x x the pair x a is gained on the first x's right, and lost
        // again on the second x's left.
        for r in std::mem::take(&mut right.seen) {
            let gained = right.take(r);
            self.subtract((pair.1, r), gained.count);
            self.insert((new_id, r), gained);
        }
        for l in std::mem::take(&mut left.seen) {
            let gained = left.take(l);
            self.subtract((l, pair.0), gained.count);
            self.insert((l, new_id), gained);
        }
        // end
    }
}

/// The ids that stood on one side of the pair being merged: how often, and in which words.
#[derive(Default)]
struct Neighbours {
    // Indexed by id: as quick as counting gets. All are empty but for the ids in `seen`.
    infos: Vec<PairInfo>,
    seen: Vec<u32>,
}

impl Neighbours {
    /// Make room for ids up to `max_id`.
    fn reserve(&mut self, max_id: u32) {
        let len = max_id as usize + 1;
        if self.infos.len() < len {
            self.infos.resize_with(len, PairInfo::default);
        }
    }

    #[inline]
    fn add(&mut self, id: u32, count: u64, word: u32) {
        let info = &mut self.infos[id as usize];
        if info.count == 0 {
            self.seen.push(id);
        }
        info.count += count;
        push_new(&mut info.words, word);
    }

    /// What is known of `id`, leaving it empty.
    fn take(&mut self, id: u32) -> PairInfo {
        std::mem::take(&mut self.infos[id as usize])
    }
}

/// Append `word`, unless it is already the last: words come in order, so no word is listed twice.
#[inline]
fn push_new(words: &mut Vec<u32>, word: u32) {
    if words.last() != Some(&word) {
        words.push(word);
    }
}

/// Replace each `pair` in `word` by `new_id`, from left to right: 7 7 7 with 7 7 -> x becomes x 7.
/// Returns how many ids are left; the caller forgets the rest. Tells `left` and `right` which
/// neighbours each replaced pair had: the one on the left as it is now, the one on the right as it was.
fn merge_word(
    word: &mut [u32],
    pair: Pair,
    new_id: u32,
    mut left: impl FnMut(u32),
    mut right: impl FnMut(u32),
) -> usize {
    // [lesson 0.3] begin merge_word
    let mut write = 0; // never ahead of `read`, so nothing unread is overwritten
    let mut read = 0;
    while read < word.len() {
        if read + 1 < word.len() && (word[read], word[read + 1]) == pair {
            if write > 0 {
                left(word[write - 1]);
            }
            if read + 2 < word.len() {
                right(word[read + 2]);
            }
            word[write] = new_id;
            read += 2;
        } else {
            word[write] = word[read];
            read += 1;
        }
        write += 1;
    }
    write
    // end
}

/// The merges that grow a vocabulary of 256 bytes to `vocab_size` ids, in the order learned: the first
/// has id 256. They are fewer if the words run out of pairs. `on_merge(pair, count)` is called after
/// each; an error from it ends the training.
pub fn train<E>(
    mut words: Words,
    vocab_size: u32,
    mut on_merge: impl FnMut(Pair, u64) -> Result<(), E>,
) -> Result<Vec<Pair>, E> {
    // [lesson 0.3] begin train
    let mut pairs = Pairs::new(&words);
    let mut merges = Vec::new();
    let mut left = Neighbours::default();
    let mut right = Neighbours::default();
    for new_id in 256..vocab_size {
        let Some((pair, info)) = pairs.take_best() else { break };
        left.reserve(new_id);
        right.reserve(new_id);
        for &index in &info.words {
            let span = &mut words.spans[index as usize];
            let word = &mut words.ids[span.range()];
            let len = merge_word(
                word,
                pair,
                new_id,
                |l| left.add(l, span.count, index),
                |r| right.add(r, span.count, index),
            );
            span.len = len as u32;
        }
        pairs.apply(pair, new_id, &mut left, &mut right);
        merges.push(pair);
        on_merge(pair, info.count)?;
    }
    Ok(merges)
    // end
}
