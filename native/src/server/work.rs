//! Work that takes its time: large bodies are parsed, texts become tokens, prompts are made ready.
//!
//! In: closures. Out: their results, from threads that no connection waits for. A few run at once, so that what they take in
//! memory has a bound; others wait, for a while. Work whose client has left is not begun, and ends at its next step.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use lyn::cancel;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::refusal::Refusal;

/// How long work waits for its turn.
const WAIT: Duration = Duration::from_secs(30);
/// Work at once at most: some 30 bytes for each byte of a body.
const MOST: usize = 4;

/// Turns of all work, and of that whose texts need not fit a context: some of the others shall always go on.
static ALL: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(most())));
static LONG: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(most() - 1)));

fn most() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).clamp(2, MOST)
}

/// Tells the work when nobody waits for it any more.
struct Waiting(Arc<AtomicBool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Does `work` where no connection waits. Errors: 503 where it is not its turn for long; what `work` says.
pub(super) async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> lyn::Result<T> + Send + 'static,
) -> Result<T, Refusal> {
    let late = || Refusal::unavailable("overloaded", "too many requests are being prepared; try again later");
    let turn = timeout(WAIT, Arc::clone(&ALL).acquire_owned()).await.ok().and_then(Result::ok).ok_or_else(late)?;
    let waiting = Waiting(Arc::default());
    let unwanted = Arc::clone(&waiting.0);
    let done = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        cancel::unless(unwanted, || cancel::check().and_then(|()| work()))
    });
    let done = done.await;
    drop(waiting);
    Ok(done.map_err(|_| Refusal::internal())??)
}

/// As [`apart`], for texts of any length. Errors: as [`apart`].
pub(super) async fn long<T: Send + 'static>(
    work: impl FnOnce() -> lyn::Result<T> + Send + 'static,
) -> Result<T, Refusal> {
    let late = || Refusal::unavailable("overloaded", "too many texts are being tokenized; try again later");
    let turn = timeout(WAIT, Arc::clone(&LONG).acquire_owned()).await.ok().and_then(Result::ok).ok_or_else(late)?;
    let done = apart(move || {
        let _turn = turn;
        work()
    });
    done.await
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn work_ends_when_its_client_has_left() {
        let (begun, begins) = tokio::sync::oneshot::channel();
        let (ended, ends) = tokio::sync::oneshot::channel();
        let work = apart(move || {
            let _ = begun.send(());
            let patience = std::time::Instant::now() + Duration::from_secs(10);
            while cancel::check().is_ok() && std::time::Instant::now() < patience {
                std::thread::sleep(Duration::from_millis(1));
            }
            let _ = ended.send(cancel::check().is_err());
            Ok(())
        });
        let client = tokio::spawn(work);
        begins.await.unwrap();
        client.abort();
        assert!(ends.await.unwrap(), "it goes on for nobody");
    }

    /// The most that ran at once, of many.
    async fn most_at_once(is_long: bool) -> usize {
        static COUNTS: [(AtomicUsize, AtomicUsize); 2] = [const { (AtomicUsize::new(0), AtomicUsize::new(0)) }; 2];
        let (now, seen) = &COUNTS[usize::from(is_long)];
        let work = || {
            seen.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(5));
            now.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        };
        let all = (0..24).map(|_| async { if is_long { long(work).await } else { apart(work).await } });
        assert!(join_all(all).await.into_iter().all(|done| done.is_ok()));
        seen.load(Ordering::SeqCst)
    }

    #[tokio::test]
    async fn a_few_work_at_once_and_long_texts_leave_a_turn() {
        assert!(most_at_once(false).await <= most());
        assert!(most_at_once(true).await < most());
    }

    #[tokio::test(start_paused = true)]
    async fn work_waits_half_a_minute_for_its_turn() {
        for (turns, count, is_long, says) in [
            (&*ALL, most(), false, "too many requests are being prepared; try again later"),
            (&*LONG, most() - 1, true, "too many texts are being tokenized; try again later"),
        ] {
            let all = turns.acquire_many(u32::try_from(count).unwrap()).await.unwrap();
            let began = tokio::time::Instant::now();
            let refused = if is_long { long(|| Ok(())).await } else { apart(|| Ok(())).await }.unwrap_err();
            assert_eq!((refused.status().as_u16(), refused.message()), (503, says));
            assert_eq!(began.elapsed().as_secs(), 30);
            drop(all);
        }
    }

    #[tokio::test]
    async fn what_work_says_is_told_and_a_panic_is_not() {
        let failed = |code| lyn::Error::new(code, "x");
        let refused = apart(move || Err::<(), _>(failed(lyn::Code::BadRequest))).await.unwrap_err();
        assert_eq!((refused.status().as_u16(), refused.message()), (400, "x"));
        let refused = long(|| -> lyn::Result<()> { panic!("a test's own") }).await.unwrap_err();
        assert_eq!((refused.status().as_u16(), refused.message()), (500, "internal error; see the server log"));
        assert_eq!(apart(|| Ok(7)).await.unwrap(), 7);
    }
}
