//! lyn's runtime: from checkpoint files to text, every arithmetic step a WGSL kernel.

pub mod chat;
pub mod error;
pub mod executor;
pub mod generate;
pub mod gpu;
pub mod host;
pub mod inspect;
pub mod platform;
pub mod record;
pub mod text;

pub use error::{Class, Code, Error, Result};
