//! Completions of texts, with a hole or without: no chat format.

mod completion;
mod request;

pub use completion::TextCompletion;
pub use request::{Given, PromptField, TextAsked, TextRequest};
