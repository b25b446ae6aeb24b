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
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "a failing test may panic"
    )
)]

pub mod anthropic;
mod calls;
pub mod llama_cpp;
pub mod ollama;
pub mod openai;
#[cfg(all(test, feature = "embedded-stories"))]
mod tests;
pub mod time;
