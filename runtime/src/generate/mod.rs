//! From tokens to tokens: steps over sequences, sampling, and when to stop.
//!
//! In: prompts as ids. Out: events with text that may be shown. Never: a chat format, or HTTP.

mod answer;
pub mod constraint;
pub mod pages;
pub mod request;
pub mod runner;
pub mod sampler;
pub mod scheduler;
mod sequences;
pub mod session;
pub mod stop;
#[cfg(test)]
mod tests;
pub mod trace;

pub use answer::Parser;
pub(crate) use answer::Vocabulary;
pub use constraint::{Constraint, Form};
pub(crate) use constraint::{Free, Lexicon};
pub use pages::{Block, Key};
pub(crate) use request::room;
pub use request::{Callable, Event, Finish, Known, Request, SpelledToken, Timings, Voice};
pub use runner::{Chunk, Runner, Wanted};
pub use sampler::{Logprobs, Sampler, SamplingParams};
pub(crate) use scheduler::Scheduler;
pub use scheduler::{AnswerId, Occupancy};
pub use sequences::SequenceId;
pub use session::Generation;
pub use stop::StopStrings;
pub use trace::{Selection, TraceRequest};
