//! lyn's runtime: from checkpoint files to text, every arithmetic step a WGSL kernel.

pub mod error;
pub mod executor;
pub mod gpu;
pub mod host;
pub mod inspect;
pub mod platform;
pub mod record;

pub use error::{Class, Code, Error, Result};
