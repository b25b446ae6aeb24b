//! Ollama's API, for the editors that speak it: the same conversation, answered in lines of JSON.
//!
//! In: requests to chat and to generate. Out: lines, or all of them in one. Never: a template of a request that is run.

mod lines;
mod request;
#[cfg(test)]
mod tests;

use serde_json::{Value, json};

pub use lines::{Lines, fields};
pub use request::{What, asked, plain_name};

/// A refusal.
pub fn error(message: &str) -> Value {
    json!({ "error": message })
}
