//! Models of the Hugging Face Hub: names, the cache that is shared with its own tools, listings, downloads.
//!
//! In: a name such as `org/name:Q8_0`, the variables of `huggingface_hub`, and whatever a server answers, all of it untrusted.
//! Out: files below the cache, in the layout of `huggingface_hub`, each with the length and the hash that were listed. Never: a
//! path outside the cache, a file that is only partly there under its own name, a token for another host than the endpoint's, an
//! answer without a bound.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::string_slice
)]

pub(crate) mod cache;
pub(crate) mod choice;
mod client;
mod download;
mod endpoint;
mod hash;
pub(crate) mod listing;
pub(crate) mod name;
pub(crate) mod prune;
mod refusal;
pub(crate) mod selection;
pub(crate) mod session;
mod source;
pub(crate) mod surroundings;

pub(crate) use name::HubName;
pub(crate) use session::Session;
pub(crate) use surroundings::Surroundings;
