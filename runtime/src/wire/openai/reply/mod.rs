//! Answers of other engines, read: whatever speaks OpenAI's chat or text completions, in whatever variant.
//!
//! In: the JSON of their chunks, whole answers and refusals. Out: events, as of an answer made here, and errors of one line.
//! Never: a count that they did not tell, or a list without an end.

mod choice;
mod counts;
mod error;
mod normaliser;
#[cfg(test)]
mod tests;

pub use error::{envelope, one_line, upstream};
pub use normaliser::Normaliser;
