//! Other engines: whatever speaks OpenAI's chat completions, as if it were lyn.
//!
//! In: the address of an engine, and requests in DeepSeek's form, as lyn's own server takes them. Out: [`events::Event`]s, or
//! the JSON of lyn's own answers ([`shape::Shape`]). Never: a key in a message, a log or a redirect; a request that nobody
//! asked for, but `GET /models`; a second try after something has been shown.

pub(crate) mod address;
pub(crate) mod client;
mod connect;
mod error;
pub(crate) mod events;
pub(crate) mod key;
pub(crate) mod profile;
pub(crate) mod proxy;
pub(crate) mod route;
pub(crate) mod shape;
mod sse;
#[cfg(test)]
mod tests;
mod thought;
pub(crate) mod usage;

pub(crate) use address::Address;
pub(crate) use client::{Patience, Upstream, gave_up};
pub(crate) use events::Event;
pub(crate) use key::Keys;
pub(crate) use profile::Profile;
pub(crate) use usage::Usage;
