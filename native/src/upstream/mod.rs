//! Other engines: whatever speaks OpenAI's chat completions, as if it were lyn.
//!
//! In: the address of an engine, and requests in DeepSeek's form, as lyn's own server takes them. Out: the events of
//! [`lyn::generate`], as of an answer made here. Never: a key in a message, a log or a redirect; a request that nobody
//! asked for, but `GET /models`; a second try after something has been shown.

pub(crate) mod address;
pub(crate) mod client;
mod error;
pub(crate) mod key;
pub(crate) mod profile;
mod reply;
pub(crate) mod route;
pub(crate) mod scores;
mod sse;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use address::Address;
pub(crate) use client::{Kind, Patience, Upstream};
pub(crate) use key::ApiKeys;
pub(crate) use profile::Profile;
pub(crate) use reply::{Reply, gave_up};
