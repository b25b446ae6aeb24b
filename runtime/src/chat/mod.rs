//! Conversations to prompts, and model text back to thought, answer and calls.
//!
//! In: the messages of a request, as OpenAI's clients send them. Out: a [`Prompt`] of control tokens and ordinary text
//! kept apart, so that no text of a user can become a role. Never: a device, a tokenizer file, or a branch on a model's
//! name; the name that a request asks for only chooses between thinking and not.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

pub mod control;
pub mod formats;
pub mod grammar;
pub mod json;
mod kinds;
mod markup;
pub mod message;
pub mod parse;
pub mod parsed;
pub mod prompt;
pub mod schema;
pub mod shape;
#[cfg(test)]
mod tests;

pub(crate) use formats::CheckpointFiles;
pub use formats::template::ChatTemplate;
pub use formats::{CallSyntax, ChatFormat, Detected, encode};
pub use grammar::Grammars;
pub use message::{Content, Conversation, FunctionCall, FunctionType, Message, Part, Role, Tool, ToolCall};
pub use parse::OutputParser;
pub use parsed::Parsed;
pub use prompt::{Prompt, RenderOptions, Segment};
pub use schema::Dialect;
pub use shape::{AnswerShape, ResponseShape, ToolChoice, ToolSpec};
