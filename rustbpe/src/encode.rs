//! Text -> ids and ids -> text, with the merges that training has learned.

use crate::split::Splitter;
use crate::train::Pair;

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::BuildHasher;

/// A trained tokenizer. It never changes: training makes a new one.
pub struct Model {
    pub pattern: String,
    splitter: Option<Splitter>,
    merges: HashMap<Pair, u32>,
    /// The bytes of every id: first the 256 bytes, then each merge.
    tokens: Vec<Vec<u8>>,
    /// bytes -> id, as a table of ids whose key is `tokens[id]`: nothing is stored twice.
    ids: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Model {
    /// The model before any training: 256 ids, one a byte, and no pattern.
    pub fn untrained() -> Model {
        Model::build(String::new(), None, &[])
    }

    pub fn new(pattern: String, splitter: Splitter, merges: &[Pair]) -> Model {
        Model::build(pattern, Some(splitter), merges)
    }

    fn build(pattern: String, splitter: Option<Splitter>, merges: &[Pair]) -> Model {
        let hasher = DefaultHashBuilder::default();
        let tokens = vocabulary(merges);
        let mut ids = HashTable::with_capacity(tokens.len());
        for (id, token) in tokens.iter().enumerate() {
            let rehash = |&id: &u32| hasher.hash_one(&tokens[id as usize][..]);
            ids.insert_unique(hasher.hash_one(&token[..]), id as u32, rehash);
        }
        let merges = merges.iter().zip(256..).map(|(&pair, id)| (pair, id)).collect();
        Model { pattern, splitter, merges, tokens, ids, hasher }
    }

    /// The bytes of every id; its length is the vocabulary size.
    pub fn tokens(&self) -> &[Vec<u8>] {
        &self.tokens
    }

    /// The ids of `text`.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, String> {
        let mut ids = Vec::with_capacity(text.len() / 3);
        let bytes = text.as_bytes();
        match &self.splitter {
            None => ids.extend(bytes.iter().map(|&byte| u32::from(byte))),
            Some(splitter) => {
                let mut chain = Chain::default();
                splitter.for_each(text, |start, end| {
                    self.encode_chunk(&bytes[start..end], &mut chain, &mut ids);
                })?;
            }
        }
        Ok(ids)
    }

    /// Append the ids of one chunk. Most chunks are a token as they are: then one look is enough.
    /// (It is safe: the merges that made a token make it again out of its bytes standing alone.)
    fn encode_chunk(&self, chunk: &[u8], chain: &mut Chain, ids: &mut Vec<u32>) {
        match self.id_of(chunk) {
            Some(id) => ids.push(id),
            None => chain.encode(chunk, &self.merges, ids),
        }
    }

    fn id_of(&self, token: &[u8]) -> Option<u32> {
        let same = |&id: &u32| self.tokens[id as usize] == token;
        self.ids.find(self.hasher.hash_one(token), same).copied()
    }

    /// The bytes of `ids`, joined. The error is the first id that is not in the vocabulary.
    pub fn decode(&self, ids: &[i64]) -> Result<Vec<u8>, i64> {
        let mut bytes = Vec::new();
        for &id in ids {
            let token = usize::try_from(id).ok().and_then(|i| self.tokens.get(i)).ok_or(id)?;
            bytes.extend_from_slice(token);
        }
        Ok(bytes)
    }
}

/// The bytes of every id that `merges` give.
fn vocabulary(merges: &[Pair]) -> Vec<Vec<u8>> {
    let mut tokens: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
    for &(left, right) in merges {
        let token = [&tokens[left as usize][..], &tokens[right as usize][..]].concat();
        tokens.push(token);
    }
    tokens
}

/// The ids of one chunk as a chain, where a merge costs the same wherever it happens, and a heap of the
/// merges that are possible. So encoding n bytes takes about n log n steps; looking for the best pair
/// again and again would take n * n. Kept between chunks, for its memory.
#[derive(Default)]
struct Chain {
    links: Vec<Link>,
    // (new id, position): the merge that was learned first, and of its places the leftmost, comes out first.
    possible: BinaryHeap<Reverse<(u32, u32)>>,
}

#[derive(Clone, Copy)]
struct Link {
    id: u32,
    previous: u32,
    next: u32,
}

/// The position before the first link and after the last; also the id of a link that was merged away.
const NONE: u32 = u32::MAX;

impl Chain {
    /// Append the ids of `chunk`: of all its pairs the one learned first is merged first.
    fn encode(&mut self, chunk: &[u8], merges: &HashMap<Pair, u32>, ids: &mut Vec<u32>) {
        // [lesson 0.3] begin encode
        self.fill(chunk);
        for position in 0..self.links.len() as u32 {
            self.offer(position, merges);
        }
        while let Some(Reverse((new_id, position))) = self.possible.pop() {
            // Other merges may have changed this place since: then the offer is void.
            if self.merged_id(position, merges) == Some(new_id) {
                self.merge(position, new_id);
                self.offer(position, merges);
                self.offer(self.links[position as usize].previous, merges);
            }
        }
        ids.extend(self.links.iter().map(|link| link.id).filter(|&id| id != NONE));
        // end
    }

    fn fill(&mut self, chunk: &[u8]) {
        self.links.clear();
        let mut previous = NONE;
        for (position, &byte) in (0u32..).zip(chunk) {
            self.links.push(Link { id: u32::from(byte), previous, next: position + 1 });
            previous = position;
        }
        if let Some(last) = self.links.last_mut() {
            last.next = NONE;
        }
    }

    /// What the link at `position` and the next one would become. None if nothing.
    fn merged_id(&self, position: u32, merges: &HashMap<Pair, u32>) -> Option<u32> {
        let link = self.links.get(position as usize)?;
        let next = self.links.get(link.next as usize)?;
        merges.get(&(link.id, next.id)).copied()
    }

    fn offer(&mut self, position: u32, merges: &HashMap<Pair, u32>) {
        if let Some(new_id) = self.merged_id(position, merges) {
            self.possible.push(Reverse((new_id, position)));
        }
    }

    /// The link at `position` becomes `new_id` and takes the place of the next one too.
    fn merge(&mut self, position: u32, new_id: u32) {
        let gone = self.links[position as usize].next;
        let after = self.links[gone as usize].next;
        self.links[position as usize].id = new_id;
        self.links[position as usize].next = after;
        self.links[gone as usize].id = NONE;
        if let Some(link) = self.links.get_mut(after as usize) {
            link.previous = position;
        }
    }
}
