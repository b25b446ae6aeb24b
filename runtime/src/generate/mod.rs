//! From logits to tokens, and when to stop.
//!
//! In: rows of logits, released text. Out: ids, text before a stop string. Never: a chat format, or HTTP.

pub mod sampler;
pub mod stop;

pub use sampler::{Logprobs, Sampled, Sampler, SamplingParams, Step};
pub use stop::{Released, StopStrings};
