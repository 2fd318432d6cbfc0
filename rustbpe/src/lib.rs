//! Byte-pair encoding, trained fast: the Rust half of lesson 0.3.
//!
//! Read in this order; each file uses only the ones before it.
//!
//! 1. `split`   text -> chunks   (where may a token end?)
//! 2. `count`   chunks -> {chunk: how often}   (text repeats itself, so this is far smaller)
//! 3. `train`   {chunk: how often} -> merges   (the commonest pair, over and over)
//! 4. `encode`  merges + text -> ids, and back
//! 5. `python`  all of it as the Python module `mini_rustbpe`
//!
//! The version to understand first is `mini_nanochat/tokenizer/bpe.py`: the same merges, in Python.

pub mod count;
pub mod encode;
#[cfg(feature = "extension-module")]
mod python;
pub mod split;
pub mod train;
