//! What is asked for, and what happens while it is answered.

use std::sync::Arc;

use serde_json::Value;

use super::constraint::Constraint;
use super::pages::Block;
use super::sampler::{Logprobs, SamplingParams};
use super::trace::{Selection, TraceRequest};
use crate::error::{Code, Error, Result};

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The prompt, at least one id.
    pub prompt: Vec<u32>,
    /// How to sample.
    pub sampling: SamplingParams,
    /// Tokens of the answer at most; none: as many as the context holds. With 0 the prompt is read and that is all.
    pub max_tokens: Option<u32>,
    /// Texts that end the answer.
    pub stop: Vec<String>,
    /// Whether the prompt ended by opening a thought.
    pub thinking: bool,
    /// Whether the answer may begin by opening one.
    pub may_think: bool,
    /// Whether calls are looked for; if not, all text of the answer is content.
    pub calls: bool,
    /// What may be called, for the formats in which only a function's schema tells text from other values.
    pub functions: Arc<[Callable]>,
    /// Ids that end the answer, beside those that end a text. They have no text.
    pub stop_ids: Vec<u32>,
    /// Tokens before which no id ends the answer.
    pub min_tokens: u32,
    /// Whether ids that end a text are sampled as others are.
    pub ignore_eos: bool,
    /// What is reported of attention; none: nothing. A traced answer runs alone.
    pub trace: Option<TraceRequest>,
    /// Report log probabilities of the prompt's tokens, and of this many of the most probable in their places, 20 at most.
    /// All of the prompt is read then, whatever is cached.
    pub prompt_logprobs: Option<u32>,
    /// The form that the answer is held to; none: any text.
    pub constraint: Option<Constraint>,
    /// Whose texts this one may share cached rows with: those of the same scope.
    pub scope: Vec<u8>,
    /// Blocks of the prompt that the cache may lack, from where it ends: see [`Engine::missing_blocks`](crate::engine::Engine).
    pub blocks: Vec<Block>,
}

impl Request {
    /// Plain sampling from a prompt, until the model ends its text or the context is full.
    pub fn new(prompt: Vec<u32>) -> Request {
        Request { prompt, ..Request::default() }
    }
}

/// A function that an answer may call.
#[derive(Clone, Debug, PartialEq)]
pub struct Callable {
    /// Its name.
    pub name: String,
    /// JSON schema of its arguments.
    pub parameters: Value,
}

/// Whose text it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice {
    /// The answer.
    Content,
    /// The thought before it.
    Reasoning,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The model ended it, or a stop text did.
    Stop,
    /// `max_tokens` or the context did.
    Length,
    /// The model ended it, and at least one call in it is complete.
    ToolCalls,
    /// A filter of an engine elsewhere did.
    Filtered,
    /// The server ended it: it is shutting down, or the engine failed after text was shown.
    Aborted,
}

impl Finish {
    /// The reason's name in answers: DeepSeek's `finish_reason`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Finish::Stop => "stop",
            Finish::Length => "length",
            Finish::ToolCalls => "tool_calls",
            Finish::Filtered => "content_filter",
            Finish::Aborted => "insufficient_system_resource",
        }
    }
}

/// What happens while an answer is made.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Prompt tokens read so far, of all; the first `cached` were known: whole pages of 64 tokens.
    Prompt {
        /// Tokens read.
        done: u32,
        /// Tokens of the prompt.
        total: u32,
        /// Tokens that an earlier request had left in the cache.
        cached: u32,
        /// Milliseconds since the first of them was read.
        elapsed_ms: f64,
    },
    /// Log probabilities of tokens of the prompt that were read, where asked for. The first token has none: nothing is before
    /// it.
    PromptLogprobs {
        /// Place of the first one in the prompt, from 1.
        first: u32,
        /// Of tokens that follow each other.
        logprobs: Vec<Logprobs>,
    },
    /// A token was chosen. Its text comes when it is whole.
    Token {
        /// The id.
        id: u32,
        /// Log probabilities, where asked for.
        logprobs: Option<Logprobs>,
    },
    /// A token of an engine elsewhere, where its log probabilities are known: ids of another vocabulary mean nothing here.
    Spelled(SpelledToken),
    /// Text that may be shown.
    Text {
        /// Whose.
        voice: Voice,
        /// At least one character.
        text: String,
    },
    /// A call begins.
    Call {
        /// Its place among the calls of the answer, from 0.
        index: u32,
        /// The function, as the model wrote it.
        name: String,
        /// As an engine elsewhere names the call; none: whoever tells the answer draws an id.
        id: Option<String>,
    },
    /// Part of the arguments of the call that began last; all parts together are JSON.
    Arguments {
        /// The call's place.
        index: u32,
        /// At least one character.
        text: String,
    },
    /// The call is complete. A call without this is dropped from a whole answer: it was cut.
    CallEnd {
        /// The call's place.
        index: u32,
    },
    /// What attention read for the tokens of a step, where asked for: after their own [`Event::Token`], before that of the
    /// token chosen from them. The last token of an answer is not read.
    Trace(Vec<Selection>),
    /// The token that ends the answer was chosen. It has no text.
    EndToken {
        /// The id.
        id: u32,
        /// Log probabilities, where asked for.
        logprobs: Option<Logprobs>,
    },
    /// The end.
    End {
        /// Why.
        finish: Finish,
        /// The stop string that ended it, where one did.
        stop: Option<String>,
        /// Counts and times.
        timings: Timings,
    },
}

/// A token by its bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpelledToken {
    /// What it adds to the text.
    pub bytes: Vec<u8>,
    /// Its log probability; none: not known.
    pub logprob: Option<f32>,
    /// The most probable tokens at its place.
    pub top: Vec<(Vec<u8>, f32)>,
}

/// Which counts of an answer are known: all of one made here; of one made elsewhere, what its engine tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "one for each count")]
#[expect(missing_docs, reason = "each is a count's own name")]
pub struct Known {
    pub prompt: bool,
    pub cached: bool,
    pub completion: bool,
    pub reasoning: bool,
}

impl Known {
    /// Nothing is.
    pub const NOTHING: Known = Known { prompt: false, cached: false, completion: false, reasoning: false };
}

impl Default for Known {
    fn default() -> Known {
        Known { prompt: true, cached: true, completion: true, reasoning: true }
    }
}

/// Counts and times of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Timings {
    /// Which of the counts are known; the others are 0.
    pub known: Known,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Of these, found in the cache.
    pub cached_tokens: u32,
    /// Tokens of the answer, with the one that ended it.
    pub completion_tokens: u32,
    /// Of these, tokens of the thought, without its end.
    pub reasoning_tokens: u32,
    /// Waiting for a place among the answers that run.
    pub queue_ms: f64,
    /// Reading the prompt.
    pub prompt_ms: f64,
    /// From the request to the first token.
    pub first_token_ms: f64,
    /// From the first token to the last.
    pub decode_ms: f64,
}

/// Positions that a context has for an answer to `prompt`.
///
/// # Errors
/// `bad_request` for an empty prompt; `context_overflow` where there are none.
pub(crate) fn room(prompt: &[u32], context: u32) -> Result<u32> {
    if prompt.is_empty() {
        return Err(Error::new(Code::BadRequest, "the prompt is empty"));
    }
    let tokens = u32::try_from(prompt.len()).unwrap_or(u32::MAX);
    context.checked_sub(tokens).filter(|&room| room > 0).ok_or_else(|| {
        Error::new(Code::ContextOverflow, format!("the prompt has {tokens} tokens, the context holds {context}"))
            .with_help(format!("raise --context above {tokens}, or shorten the prompt"))
            .with_detail("prompt_tokens", tokens)
            .with_detail("context", context)
    })
}
