//! Dialects: what clients send, and what they get back, as pure data.
//!
//! In: the JSON of a request in a client's dialect; the events of an answer. Out: a [`generate::Request`] or the request of
//! another dialect; JSON, whole or by pieces. Never: HTTP, a socket, or a field that is neither honoured nor refused by its
//! name.
//!
//! [`generate::Request`]: crate::generate::Request

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

pub mod anthropic;
mod calls;
pub mod llama_cpp;
pub mod ollama;
pub mod openai;
#[cfg(all(test, feature = "embedded-stories"))]
mod tests;
pub mod time;

use serde_json::Value;

use crate::error::{Code, Error};

/// An object, then the fields of another.
fn merged(mut object: Value, more: Value) -> Value {
    if let (Value::Object(object), Value::Object(more)) = (&mut object, more) {
        object.extend(more);
    }
    object
}

/// A refusal of what stands at a place of a request.
fn refuse(place: &str, message: impl std::fmt::Display) -> Error {
    Error::new(Code::BadRequest, format!("{place}: {message}")).with_detail("param", place)
}
