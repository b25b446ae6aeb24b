//! What differs between a native process and a browser tab: time, spawning, `Send`. With `gpu/` and
//! `checkpoint/source.rs` the only home of `cfg(target_arch = "wasm32")`.

use std::future::Future;
use std::pin::Pin;

/// A boxed future: `Send` natively, not in a browser, where everything lives on one thread.
#[cfg(not(target_arch = "wasm32"))]
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
/// A boxed future: `Send` natively, not in a browser, where everything lives on one thread.
#[cfg(target_arch = "wasm32")]
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;
