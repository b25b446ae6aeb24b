//! Limits of prompts and their answers that chats and texts have alike.

use super::rules::{ensure, invalid};
use crate::error::{Code, Error, Result};
use crate::generate::room;

/// Log probabilities of prompts in one answer: some 40 MB of JSON.
const MAX_SCORED: usize = 1 << 19;

/// vLLM's `prompt_logprobs`, which chats and texts take alike.
pub(super) fn check_prompt_logprobs(count: Option<i64>, streams: bool) -> Result<()> {
    let Some(count) = count else { return Ok(()) };
    if !(0..=20).contains(&count) {
        return Err(invalid("prompt_logprobs", "[0, 20]", count));
    }
    ensure(!streams, "prompt_logprobs", "prompt_logprobs: not available with stream = true")
}

/// Refuses log probabilities of so many tokens of prompts, those of the most probable ones counted.
pub(super) fn check_scored(field: &str, entries: usize) -> Result<()> {
    let message = format_args!(
        "{field}: expected at most {MAX_SCORED} log probabilities of prompts in an answer, found {entries}; ask for those of \
        fewer tokens (logprobs, prompt_logprobs), or send fewer or shorter prompts in a request"
    );
    ensure(entries <= MAX_SCORED, field, message)
}

/// The tokens that an answer to `prompt` may have: `most`, or what the context holds, unless that is to be refused.
pub(super) fn fit(prompt: &[u32], most: u32, context: u32, refuse_more: bool) -> Result<u32> {
    let room = match room(prompt, context) {
        Ok(room) if most <= room || !refuse_more => return Ok(most.min(room)),
        Err(error) if error.code() != Code::ContextOverflow => return Err(error),
        room => room,
    };
    let tokens = prompt.len();
    let sum = tokens.saturating_add(most as usize);
    let message = format!(
        "This model's maximum context length is {context} tokens. However, you requested {sum} tokens ({tokens} in the \
        messages, {most} in the completion). Please reduce the length of the messages or completion."
    );
    let help = match room {
        Ok(_) => "lower max_tokens, or shorten the messages".to_owned(),
        Err(_) => format!("raise --context above {tokens}, or shorten the messages"),
    };
    Err(Error::new(Code::ContextOverflow, message)
        .with_help(help)
        .with_detail("param", "messages")
        .with_detail("prompt_tokens", tokens)
        .with_detail("context", context))
}
