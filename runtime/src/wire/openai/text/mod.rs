//! Completions of texts, with a hole or without: no chat format.

mod completion;
mod prompt;
mod request;

pub use completion::TextCompletion;
pub use prompt::{PromptField, TextAsked};
pub use request::TextRequest;
