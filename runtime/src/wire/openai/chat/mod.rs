//! Chat completions.

mod ask;
mod check;
mod completion;
mod request;

pub use ask::Asked;
pub use completion::Completion;
pub(crate) use completion::error_event;
pub use request::{
    ChatRequest, FunctionName, NamedTool, Reasoning, Thinking, ThinkingType, ToolChoiceField, ToolChoiceWord,
};
pub(crate) use request::{Effort, StreamOptions};
