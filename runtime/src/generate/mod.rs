//! From tokens to tokens: steps over sequences, sampling, and when to stop.
//!
//! In: prompts as ids. Out: events with text that may be shown. Never: a chat format, or HTTP.

pub mod constraint;
pub mod runner;
pub mod sampler;
pub mod session;
pub mod stop;
pub mod trace;

pub use constraint::{Constraint, Form, Free, Vocabulary};
pub use runner::{Chunk, Runner, SequenceId, Settings, Wanted};
pub use sampler::{Logprobs, Sampled, Sampler, SamplingParams, Step};
pub(crate) use session::room;
pub use session::{Event, Finish, Generation, Request, Timings, Voice};
pub use stop::{Released, StopStrings};
pub use trace::{Selection, TraceRequest};
