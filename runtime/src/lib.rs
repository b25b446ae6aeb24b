//! lyn's runtime: from checkpoint files to text, every arithmetic step a WGSL kernel.

pub mod checkpoint;
pub mod error;

pub use error::{Class, Code, Error, Result};
