//! What differs between a native process and a browser tab: the clock, and how errors in futures are awaited. With `gpu/`
//! and `checkpoint/source.rs` the only home of `cfg(target_arch = "wasm32")`.

pub use web_time::Instant;

/// Runs a future to its end in this thread, parking while it waits.
#[cfg(not(target_arch = "wasm32"))]
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    pollster::block_on(future)
}
