//! Chat completions.

mod check;
mod completion;
mod request;

pub use completion::{Completion, error_event};
pub(super) use completion::{entry, finite, listed};
pub use request::{
    Asked, ChatRequest, Effort, FunctionName, Given, NamedTool, Reasoning, StreamOptions, TemplateArguments, Thinking,
    ThinkingType, ToolChoiceField, ToolChoiceWord,
};
pub(super) use request::{check_prompt_logprobs, check_scored, fit, resolve};
