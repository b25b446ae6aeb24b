//! lyn's runtime: from checkpoint files to text, every arithmetic step a WGSL kernel.
#![cfg_attr(
    target_arch = "wasm32",
    allow(
        clippy::arc_with_non_send_sync,
        reason = "a browser's worker is one thread; natively these are Send and Sync"
    )
)]

pub mod cancel;
pub mod chat;
pub mod checkpoint;
pub mod engine;
pub mod error;
pub mod executor;
pub mod generate;
pub mod gpu;
pub mod host;
pub mod inspect;
pub mod json;
pub mod language;
pub mod layout;
pub mod memory;
pub mod model;
#[cfg(feature = "embedded-stories")]
pub mod models;
pub mod platform;
pub mod record;
pub mod text;
mod upload;
pub mod wire;

pub use engine::{Attention, Engine, Options, Place, Progress};
pub use error::{Class, Code, Error, Result};
pub use language::Language;
