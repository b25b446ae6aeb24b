//! What differs between a native process and a browser tab: the clock, and how errors in futures are awaited. With `gpu/`
//! and `checkpoint/source.rs` the only home of `cfg(target_arch = "wasm32")`.

pub use web_time::Instant;

/// A seed that nobody chose, short enough to be typed again. It need not be secret.
#[must_use]
pub fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    use std::sync::atomic::{AtomicU64, Ordering};
    // In a browser `RandomState` is the same each time: the clock and the count make the difference.
    static DRAWN: AtomicU64 = AtomicU64::new(0);
    let since = web_time::SystemTime::now().duration_since(web_time::UNIX_EPOCH).unwrap_or_default();
    RandomState::new().hash_one((since, DRAWN.fetch_add(1, Ordering::Relaxed))) >> 32
}

/// Letters and digits that nobody was given before. They need not be secret.
#[must_use]
pub fn name(length: usize) -> String {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let letter = |_| char::from(ALPHABET[usize::try_from(seed() % 62).unwrap_or(0)]);
    (0..length).map(letter).collect()
}

/// Runs a future to its end in this thread, parking while it waits.
#[cfg(not(target_arch = "wasm32"))]
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    pollster::block_on(future)
}
