//! OpenAI's completions of chats and texts, for every transport: what a client sends, and what it gets back.
//!
//! In: the JSON of a request; the events of an answer. Out: a [`generate::Request`](crate::generate::Request); chunks and
//! completions as JSON. Never: HTTP, a clock, or a field that is neither honoured nor refused by its name.

mod beside;
mod body;
mod chat;
mod chunked;
mod form;
mod limits;
mod logprobs;
mod model_ids;
pub mod reply;
mod responses;
mod rules;
mod sampling;
#[cfg(test)]
#[cfg(feature = "embedded-stories")]
mod tests;
mod text;
mod usage;

pub use chat::{
    Asked, ChatRequest, Completion, FunctionName, NamedTool, Reasoning, Thinking, ThinkingType, ToolChoiceField,
    ToolChoiceWord,
};
pub use chunked::Chunked;
pub use form::{JsonSchema, ResponseFormat};
pub use model_ids::{Alias, ModelIds};
pub use responses::{Response, ResponsesRequest};
pub use rules::{Compat, Rules};
pub use sampling::Stop;
pub use text::{PromptField, TextAsked, TextCompletion, TextRequest};
pub use usage::{SpeedReport, Usage};
