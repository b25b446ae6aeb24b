//! OpenAI's chat completions, for every transport: what a client sends, and what it gets back.
//!
//! In: the JSON of a request; the events of an answer. Out: a [`generate::Request`](crate::generate::Request); chunks and
//! completions as JSON. Never: HTTP, a clock, or a field that is neither honoured nor refused by its name.

mod completion;
mod request;
mod shape;
#[cfg(all(test, feature = "embedded-stories"))]
mod tests;
mod usage;

pub use completion::Completion;
pub use request::{
    ChatRequest, Effort, Reasoning, ResponseFormat, Stop, StreamOptions, TemplateArguments, Thinking, ThinkingType,
};
pub use shape::{ResponseShape, Shape, ToolChoice, ToolSpec};
pub use usage::{CompletionDetails, Timings, Usage};
