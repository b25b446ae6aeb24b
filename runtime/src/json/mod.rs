//! Strict JSON of strangers: files of a checkpoint, bodies of requests.
//!
//! In: bytes. Out: values of Rust's types, or an error that names the place, what was expected and what was found. Two readers
//! can never read a text differently: a key stands once in its object, a list is never taken for an object, numbers are
//! finite. Never: nesting beyond 64 levels, memory beyond what the caller keeps, a name of Rust's types in a message.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::string_slice
)]

mod fault;
mod fields;
mod reader;
mod typed;

pub(crate) use fields::{at_most, text_or_list, text_or_object};
pub(crate) use reader::{Json, Kind, Reader};
pub use typed::read;
pub(crate) use typed::{Misread, misshapen, read_typed};
