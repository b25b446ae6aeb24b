//! Chat completions.

mod ask;
mod check;
mod completion;
mod request;

pub use ask::Asked;
pub use completion::{Completion, error_event};
pub use request::{
    ChatRequest, Effort, FunctionName, NamedTool, Reasoning, StreamOptions, TemplateArguments, Thinking, ThinkingType,
    ToolChoiceField, ToolChoiceWord,
};
