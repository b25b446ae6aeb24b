//! Counts and times of an answer under the names that clients know.

use serde::Serialize;
use serde_json::{Value, json};

use crate::generate;

/// Tokens of a request, with DeepSeek's counts of the prompt cache; none: nobody told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "each is its own name")]
pub struct Usage {
    pub prompt_tokens: Option<u32>,
    pub completion_tokens: Option<u32>,
    pub total_tokens: Option<u32>,
    pub prompt_tokens_details: Option<PromptDetails>,
    pub completion_tokens_details: Option<CompletionDetails>,
    /// Of the prompt, found in the cache.
    pub prompt_cache_hit_tokens: Option<u32>,
    /// Of the prompt, read now.
    pub prompt_cache_miss_tokens: Option<u32>,
}

impl Usage {
    /// As answers have it; null where nothing is known.
    pub fn to_json(&self) -> Value {
        let mut fields = json!(self);
        if let Value::Object(fields) = &mut fields {
            fields.retain(|_, count| !count.is_null());
        }
        if *self == Usage::default() { Value::Null } else { fields }
    }
}

/// What the tokens of a prompt were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PromptDetails {
    /// Tokens found in the cache.
    pub cached_tokens: u32,
}

/// What the tokens of an answer were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CompletionDetails {
    /// Tokens of the thought.
    pub reasoning_tokens: u32,
}

/// Times, by the names of llama-server, which front ends know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct SpeedReport {
    /// Prompt tokens found in the cache.
    pub cache_n: u32,
    /// Prompt tokens read.
    pub prompt_n: u32,
    /// Reading the prompt.
    pub prompt_ms: f64,
    /// Of the tokens read; 0 where there is nothing to divide.
    pub prompt_per_second: f64,
    /// Tokens of the answer.
    pub predicted_n: u32,
    /// From the first token to the last.
    pub predicted_ms: f64,
    /// The first token belongs to the prompt.
    pub predicted_per_second: f64,
    /// From the request to the first token.
    pub first_token_ms: f64,
}

impl From<&generate::Timings> for Usage {
    fn from(timings: &generate::Timings) -> Usage {
        let known = timings.known;
        let prompt = known.prompt.then_some(timings.prompt_tokens);
        let completion = known.completion.then_some(timings.completion_tokens);
        let cached = known.cached.then_some(timings.cached_tokens);
        let reasoning = known.reasoning.then_some(timings.reasoning_tokens);
        Usage {
            prompt_tokens: prompt,
            completion_tokens: completion,
            total_tokens: prompt.zip(completion).map(|(prompt, completion)| prompt.saturating_add(completion)),
            prompt_tokens_details: cached.map(|cached_tokens| PromptDetails { cached_tokens }),
            completion_tokens_details: reasoning.map(|reasoning_tokens| CompletionDetails { reasoning_tokens }),
            prompt_cache_hit_tokens: prompt.and(cached),
            prompt_cache_miss_tokens: prompt.zip(cached).map(|(prompt, cached)| prompt.saturating_sub(cached)),
        }
    }
}

impl From<&generate::Timings> for SpeedReport {
    fn from(timings: &generate::Timings) -> SpeedReport {
        let prompt_n = timings.prompt_tokens.saturating_sub(timings.cached_tokens);
        SpeedReport {
            cache_n: timings.cached_tokens,
            prompt_n,
            prompt_ms: timings.prompt_ms,
            prompt_per_second: speed(prompt_n, timings.prompt_ms),
            predicted_n: timings.completion_tokens,
            predicted_ms: timings.decode_ms,
            predicted_per_second: speed(timings.completion_tokens.saturating_sub(1), timings.decode_ms),
            first_token_ms: timings.first_token_ms,
        }
    }
}

/// Counts and times of several answers to one prompt, which run side by side: the prompt counts once, as the first answer
/// found it.
pub(super) fn together<'t>(mut answers: impl Iterator<Item = &'t generate::Timings>) -> generate::Timings {
    let first = answers.next().copied().unwrap_or_default();
    answers.fold(first, |sum, one| generate::Timings {
        completion_tokens: sum.completion_tokens.saturating_add(one.completion_tokens),
        reasoning_tokens: sum.reasoning_tokens.saturating_add(one.reasoning_tokens),
        prompt_ms: sum.prompt_ms.max(one.prompt_ms),
        first_token_ms: sum.first_token_ms.min(one.first_token_ms),
        decode_ms: sum.decode_ms.max(one.decode_ms),
        ..sum
    })
}

/// Counts of two prompts and their answers.
pub(super) fn add(sum: generate::Timings, one: generate::Timings) -> generate::Timings {
    generate::Timings {
        prompt_tokens: sum.prompt_tokens.saturating_add(one.prompt_tokens),
        cached_tokens: sum.cached_tokens.saturating_add(one.cached_tokens),
        completion_tokens: sum.completion_tokens.saturating_add(one.completion_tokens),
        ..sum
    }
}

/// Tokens in a second; 0 where there is nothing to divide.
fn speed(tokens: u32, ms: f64) -> f64 {
    if ms > 0.0 { f64::from(tokens) / ms * 1e3 } else { 0.0 }
}
