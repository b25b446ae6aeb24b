//! Text to token ids and back.
//!
//! In: a checkpoint's `tokenizer.json` or `tiktoken.model` (untrusted), texts, ids. Out: ids, the bytes of each id, and text that never
//! holds half a character. Never: a chat format, or a regular expression that can take more than linear time.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod alphabet;
mod file;
pub(crate) mod held;
mod lists;
mod merge;
pub mod pieces;
mod refusal;
mod split;
mod tiktoken;
pub mod tokenizer;

pub(crate) use file::{MAX_TOKENIZER_BYTES, MAX_TOKENIZER_CONFIG_BYTES};
pub(crate) use lists::Lists;
pub use pieces::Pieces;
pub(crate) use tiktoken::KIMI_K2;
pub use tokenizer::Tokenizer;
