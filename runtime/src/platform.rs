//! What differs between a native process and a browser tab: the clock, threads, and how futures are awaited. With `gpu/`
//! and `checkpoint/source.rs` the only home of `cfg(target_arch = "wasm32")`.

mod ahead;

pub(crate) use ahead::{Ahead, Job};
pub use web_time::Instant;

/// `Send + Sync` where there are threads, nothing in a browser, whose file handles belong to one worker.
#[cfg(not(target_arch = "wasm32"))]
pub trait Shareable: Send + Sync {}
#[cfg(not(target_arch = "wasm32"))]
impl<T: Send + Sync + ?Sized> Shareable for T {}
/// `Send + Sync` where there are threads, nothing in a browser, whose file handles belong to one worker.
#[cfg(target_arch = "wasm32")]
pub trait Shareable {}
#[cfg(target_arch = "wasm32")]
impl<T: ?Sized> Shareable for T {}

/// A seed that nobody chose, short enough to be typed again. It need not be secret.
pub fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    use std::sync::atomic::{AtomicU64, Ordering};
    // In a browser `RandomState` is the same each time: the clock and the count make the difference.
    static DRAWN: AtomicU64 = AtomicU64::new(0);
    let since = web_time::SystemTime::now().duration_since(web_time::UNIX_EPOCH).unwrap_or_default();
    RandomState::new().hash_one((since, DRAWN.fetch_add(1, Ordering::Relaxed))) >> 32
}

/// Letters and digits that nobody was given before. They need not be secret.
pub fn name(length: usize) -> String {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let letter = |_| char::from(ALPHABET[usize::try_from(seed() % 62).unwrap_or(0)]);
    (0..length).map(letter).collect()
}

/// Year, month and day of a day since 1970: Howard Hinnant's `civil_from_days`, whose years begin in March.
pub(crate) fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    (era * 400 + year + u64::from(month <= 2), month, day)
}

/// Runs a future to its end in this thread, parking while it waits.
#[cfg(not(target_arch = "wasm32"))]
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    pollster::block_on(future)
}

/// Does work that may need so much of the stack: in a process on a thread of its own; none where there is no thread, or it
/// panicked. In a browser the stack is what it is: there `web/npm/trial.ts` has the same work done by another worker first.
pub(crate) fn on_stack<T: Send>(name: &str, bytes: usize, work: impl FnOnce() -> T + Send) -> Option<T> {
    #[cfg(target_arch = "wasm32")]
    {
        let _ = (name, bytes);
        Some(work())
    }
    #[cfg(not(target_arch = "wasm32"))]
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(name.to_owned()).stack_size(bytes);
        thread.spawn_scoped(scope, work).ok()?.join().ok()
    })
}

/// Work with what a stranger sent, done apart: in a process on a thread of its own, with a stack that is known, within a
/// time, a few at once, and a panic is its own. In a browser there are no threads: there `web/npm/trial.ts` has the same work
/// done by another worker first.
#[derive(Debug, Default)]
pub(crate) struct Apart {
    #[cfg(not(target_arch = "wasm32"))]
    room: std::sync::Arc<native::Room>,
}

/// Why work that was done apart has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(target_arch = "wasm32", expect(dead_code, reason = "a tab does the work in its own thread"))]
pub(crate) enum Undone {
    /// It took too long. It goes on, and keeps its place until it ends.
    Late,
    /// It panicked, or the system has no thread to give.
    Broken,
    /// All places are taken, and none became free in time.
    Full,
}

impl Apart {
    /// Does `work`, and waits for it.
    pub(crate) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Undone> {
        #[cfg(target_arch = "wasm32")]
        return Ok(work());
        #[cfg(not(target_arch = "wasm32"))]
        native::run(&self.room, native::LIMITS, work)
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::mpsc::{self, RecvTimeoutError};
    use std::sync::{Arc, Condvar, Mutex, PoisonError};
    use std::time::Duration;

    use super::Undone;

    /// Works at once; one that is late keeps its place.
    pub(super) const PLACES: usize = 4;
    const STACK_BYTES: usize = 64 << 20;
    /// Work is bounded by its input and takes milliseconds: this is for what nobody has thought of.
    pub(super) const LIMITS: Limits = Limits { time: Duration::from_secs(5), wait: Duration::from_secs(10) };

    /// How long work may take, and wait for a place.
    #[derive(Clone, Copy)]
    pub(super) struct Limits {
        pub(super) time: Duration,
        pub(super) wait: Duration,
    }

    #[derive(Debug, Default)]
    pub(super) struct Room {
        taken: Mutex<usize>,
        freed: Condvar,
    }

    /// One place, given back when the work ends.
    struct Place(Arc<Room>);

    impl Drop for Place {
        fn drop(&mut self) {
            let mut taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
            *taken = taken.saturating_sub(1);
            self.0.freed.notify_one();
        }
    }

    fn enter(room: &Arc<Room>, wait: Duration) -> Option<Place> {
        let taken = room.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = room.freed.wait_timeout_while(taken, wait, |taken| *taken >= PLACES);
        let (mut taken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            return None;
        }
        *taken = taken.saturating_add(1);
        Some(Place(Arc::clone(room)))
    }

    pub(super) fn run<T: Send + 'static>(
        room: &Arc<Room>,
        limits: Limits,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Undone> {
        let place = enter(room, limits.wait).ok_or(Undone::Full)?;
        let (done, result) = mpsc::channel();
        let work = move || {
            let found = catch_unwind(AssertUnwindSafe(work));
            drop(place);
            // Whoever asked may have gone.
            let _ = done.send(found.map_err(|_| Undone::Broken));
        };
        let thread = std::thread::Builder::new().name("apart".to_owned()).stack_size(STACK_BYTES).spawn(work);
        thread.map_err(|_| Undone::Broken)?;
        match result.recv_timeout(limits.time) {
            Ok(found) => found,
            Err(RecvTimeoutError::Timeout) => Err(Undone::Late),
            Err(RecvTimeoutError::Disconnected) => Err(Undone::Broken),
        }
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;

    #[test]
    fn work_apart_keeps_its_panics_and_its_stack() {
        fn deep(left: u32) -> u64 {
            let ballast = std::hint::black_box([u64::from(left); 64]);
            if left == 0 { ballast[0] } else { deep(left - 1) + ballast[1] }
        }
        let apart = Apart::default();
        assert_eq!(apart.run(|| 7), Ok(7));
        assert_eq!(apart.run(|| -> u32 { panic!("a test's own") }), Err(Undone::Broken));
        assert!(apart.run(|| deep(20_000)).is_ok(), "more than a thread has by itself");
        let all: Vec<_> = (0..20).map(|n| apart.run(move || n)).collect();
        assert_eq!(all, (0..20).map(Ok).collect::<Vec<_>>(), "places are given back");
    }

    /// Work that never ends may not make whoever asked wait, nor may more of it run than there are places.
    #[test]
    fn late_work_is_left_alone_and_keeps_its_place() {
        use std::sync::{Arc, mpsc};
        use std::time::Duration;

        let room = Arc::default();
        let limits = native::Limits { time: Duration::from_millis(20), wait: Duration::from_millis(20) };
        let run = |work: Box<dyn FnOnce() + Send>| native::run(&room, limits, work);
        let ends: Vec<mpsc::Sender<()>> = (0..native::PLACES)
            .map(|_| {
                let (end, ended) = mpsc::channel::<()>();
                let work = move || {
                    let _ = ended.recv_timeout(Duration::from_secs(60));
                };
                assert_eq!(run(Box::new(work)), Err(Undone::Late));
                end
            })
            .collect();
        assert_eq!(run(Box::new(|| ())), Err(Undone::Full), "all places are taken");
        drop(ends);
        let patient = native::Limits { time: Duration::from_secs(60), wait: Duration::from_secs(60) };
        assert_eq!(native::run(&room, patient, || 7), Ok(7), "places are given back at the end");
        for _ in 0..=native::PLACES {
            assert_eq!(native::run(&room, patient, || -> u32 { panic!("a test's own") }), Err(Undone::Broken));
        }
        assert_eq!(native::run(&room, patient, || 7), Ok(7), "and after a panic");
    }
}
