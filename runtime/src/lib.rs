//! lyn's runtime: from checkpoint files to text, every arithmetic step a WGSL kernel.

pub mod chat;
pub mod error;
pub mod generate;
pub mod text;

pub use error::{Class, Code, Error, Result};
