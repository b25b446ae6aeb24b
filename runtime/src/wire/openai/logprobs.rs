//! Tokens with their log probabilities, as chats and Responses list them.

use serde_json::{Value, json};

use crate::chat::control;
use crate::generate::{Logprobs, SpelledToken};
use crate::text::Tokenizer;

/// A token with its log probability; none for tokens that are marks and not text.
pub(super) fn listed(tokenizer: &Tokenizer, id: u32, logprobs: &Logprobs) -> Option<Value> {
    if tokenizer.is_special(id) || tokenizer.token_id(control::END_THINK) == Some(id) {
        return None;
    }
    let bytes = |id: u32| tokenizer.piece_bytes(id).to_vec();
    let top = logprobs.top.iter().map(|&(id, logprob)| (bytes(id), logprob)).collect();
    Some(entry(&SpelledToken { bytes: bytes(id), logprob: Some(logprobs.sampled), top }))
}

/// A token with its log probability.
pub(super) fn entry(SpelledToken { bytes, logprob, top }: &SpelledToken) -> Value {
    let token = |bytes| String::from_utf8_lossy(bytes);
    let top = top
        .iter()
        .map(|(bytes, logprob)| json!({ "token": token(bytes), "logprob": finite(*logprob), "bytes": bytes }));
    let (top, logprob) = (top.collect::<Vec<_>>(), logprob.map(finite));
    json!({ "token": token(bytes), "logprob": logprob, "bytes": bytes, "top_logprobs": top })
}

/// JSON has no infinity.
pub(super) fn finite(logprob: f32) -> f64 {
    if logprob.is_finite() { f64::from(logprob) } else { -9999.0 }
}
