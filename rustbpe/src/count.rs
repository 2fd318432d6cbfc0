//! Chunks -> {chunk: how often it occurs}.
//!
//! This is where training spends its time once splitting is fast: 60 MB of text are 14 million
//! chunks, of which fewer than 200,000 differ. So a chunk that was seen before must cost next to nothing: no
//! allocation, no copy, and if possible no look at a second place in memory.
//!
//! - A chunk of up to 15 bytes fits, with its length, into one 128-bit number, which is its own key.
//! - The few longer ones are copied, the first time, to the end of one long list of bytes.
//!
//! Each thread counts on its own; the counts are added up at the end.

use crate::split::Splitter;
use hashbrown::hash_table::{Entry, HashTable};
use rayon::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Longer texts are shared out between threads in pieces of about this many bytes.
const PIECE: usize = 1 << 16;

/// A chunk of at most 15 bytes: `key` holds the bytes and, as its highest byte, their number.
struct Short {
    key: u128,
    count: u64,
}

/// A longer chunk: its bytes are `bytes[start..start + len]`.
struct Long {
    start: usize,
    len: usize,
    count: u64,
}

/// How often each chunk occurs. Counts have 64 bits: 32 are too few for the spaces of a large corpus.
#[derive(Default)]
pub struct ChunkCounts {
    short: HashTable<Short>,
    long: HashTable<Long>,
    bytes: Vec<u8>,
}

impl ChunkCounts {
    /// Count the chunks of `text`.
    pub fn add_text(&mut self, splitter: &Splitter, text: &str) -> Result<(), String> {
        let bytes = text.as_bytes();
        splitter.for_each(text, |start, end| {
            if end - start <= 15 {
                self.add_short(pack(bytes, start, end), 1);
            } else {
                self.add_long(&bytes[start..end], 1);
            }
        })
    }

    /// The chunk `bytes` occurs `count` times more.
    pub fn add(&mut self, bytes: &[u8], count: u64) {
        if bytes.len() <= 15 {
            self.add_short(pack(bytes, 0, bytes.len()), count);
        } else {
            self.add_long(bytes, count);
        }
    }

    #[inline]
    fn add_short(&mut self, key: u128, count: u64) {
        let same = |known: &Short| known.key == key;
        match self.short.entry(hash_short(key), same, |known| hash_short(known.key)) {
            Entry::Occupied(mut known) => known.get_mut().count += count,
            Entry::Vacant(place) => {
                place.insert(Short { key, count });
            }
        }
    }

    #[inline(never)] // rare: keep it out of the hot loop
    fn add_long(&mut self, chunk: &[u8], count: u64) {
        let bytes = &mut self.bytes;
        let same = |known: &Long| &bytes[known.start..known.start + known.len] == chunk;
        let rehash = |known: &Long| hash_long(&bytes[known.start..known.start + known.len]);
        match self.long.entry(hash_long(chunk), same, rehash) {
            Entry::Occupied(mut known) => known.get_mut().count += count,
            Entry::Vacant(place) => {
                place.insert(Long { start: bytes.len(), len: chunk.len(), count });
                bytes.extend_from_slice(chunk);
            }
        }
    }

    /// Call `visit(chunk, count)` for every chunk, in no particular order.
    pub fn for_each(&self, mut visit: impl FnMut(&[u8], u64)) {
        for short in self.short.iter() {
            let bytes = short.key.to_le_bytes();
            visit(&bytes[..usize::from(bytes[15])], short.count);
        }
        for long in self.long.iter() {
            visit(&self.bytes[long.start..long.start + long.len], long.count);
        }
    }

    /// How many different chunks there are.
    pub fn len(&self) -> usize {
        self.short.len() + self.long.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Count the chunks of `texts` with as many threads as there are `counts`; each adds to its own.
///
/// The threads take the next piece of text when they are done with one, so that none waits long.
pub fn count_texts(counts: &mut [ChunkCounts], splitter: &Splitter, texts: &[&str]) -> Result<(), String> {
    let pieces: Vec<&str> = texts.iter().flat_map(|text| splitter.pieces(text, PIECE)).collect();
    let next = AtomicUsize::new(0);
    counts.par_iter_mut().try_for_each(|mine| {
        while let Some(piece) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
            mine.add_text(splitter, piece)?;
        }
        Ok(())
    })
}

/// All `parts` added up.
pub fn total(parts: Vec<ChunkCounts>) -> ChunkCounts {
    // Begin with the largest: its chunks need not be inserted again.
    let mut parts = parts;
    parts.sort_by_key(ChunkCounts::len);
    let mut all = parts.pop().unwrap_or_default();
    for part in parts {
        part.for_each(|chunk, count| all.add(chunk, count));
    }
    all
}

/// The chunk `text[start..end]`, of at most 15 bytes, as a number: its bytes, zeros, its length.
#[inline]
fn pack(text: &[u8], start: usize, end: usize) -> u128 {
    let len = end - start;
    let window: [u8; 16] = match text.get(start..start + 16) {
        // Sixteen bytes at once, then blank what is not ours: quicker than copying `len` bytes.
        Some(window) => window.try_into().expect("16 bytes are 16 bytes"),
        None => {
            let mut window = [0; 16];
            window[..len].copy_from_slice(&text[start..end]);
            window
        }
    };
    let ours = (1u128 << (8 * len)) - 1;
    u128::from_le_bytes(window) & ours | (len as u128) << 120
}

/// Multiply the two halves and fold the product: every bit of the key has a say in every bit of the hash.
#[inline]
fn hash_short(key: u128) -> u64 {
    const A: u64 = 0x9E37_79B9_7F4A_7C15;
    const B: u64 = 0xD6E8_FEB8_6659_FD93;
    let product = u128::from(key as u64 ^ A) * u128::from((key >> 64) as u64 ^ B);
    product as u64 ^ (product >> 64) as u64
}

/// The same, 15 bytes at a time.
fn hash_long(chunk: &[u8]) -> u64 {
    let mut hash = 0;
    for i in (0..chunk.len()).step_by(15) {
        let part = pack(chunk, i, chunk.len().min(i + 15));
        hash = hash_short(part ^ u128::from(hash));
    }
    hash
}
