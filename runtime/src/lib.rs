//! lyn's runtime: from checkpoint files to text, every arithmetic step a WGSL kernel.
//!
//! ```no_run
//! use lyn::{Engine, Event, FolderSource, Options, Request, platform};
//!
//! # fn main() -> lyn::Result<()> {
//! platform::block_on(async {
//!     let files = std::sync::Arc::new(FolderSource::new("models/stories")?);
//!     let mut engine = Engine::load(files, &Options::default(), &mut |_| true).await?;
//!     let prompt = engine.raw_prompt("Once upon a time")?;
//!     let mut answer = engine.generate(Request { max_tokens: Some(64), ..Request::new(prompt) })?;
//!     while let Some(event) = answer.next().await? {
//!         if let Event::Text { text, .. } = event {
//!             print!("{text}");
//!         }
//!     }
//!     Ok(())
//! })
//! # }
//! ```
#![cfg_attr(
    target_arch = "wasm32",
    allow(
        clippy::arc_with_non_send_sync,
        reason = "a browser's worker is one thread; natively these are Send and Sync"
    )
)]

mod blocks;
pub mod cancel;
pub mod chat;
pub mod checkpoint;
pub mod engine;
pub mod error;
pub mod executor;
pub mod generate;
pub mod gpu;
mod host;
pub mod inspect;
pub mod json;
pub mod language;
mod layout;
pub mod limits;
pub mod memory;
mod model;
#[cfg(feature = "embedded-stories")]
pub mod models;
pub mod platform;
pub mod quantize;
pub mod record;
pub mod text;
mod upload;
pub mod wire;

#[cfg(not(target_arch = "wasm32"))]
pub use checkpoint::FolderSource;
pub use checkpoint::{Checkpoint, Source};
pub use engine::{Attention, Engine, Options, Place, Progress};
pub use error::{Class, Code, Error, Result};
pub use generate::{Event, Generation, Request, SamplingParams};
pub use language::Language;
pub use memory::ContextSize;
