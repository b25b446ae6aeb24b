//! Jobs whose results are made while those before them are consumed: by threads in a process, one by one in a browser tab.

use super::Shareable;
use crate::error::Result;

/// Work that needs nothing but itself.
pub(crate) trait Job: Shareable + 'static {
    /// What comes of it.
    type Done: Shareable + 'static;

    /// Does it; natively in a thread that may block.
    async fn run(self) -> Self::Done;
}

/// Results of jobs, in the order in which they are done. Dropping it ends the work at the next job.
pub(crate) struct Ahead<J: Job>(Jobs<J>);

#[cfg(target_arch = "wasm32")]
type Jobs<J> = std::iter::Enumerate<std::vec::IntoIter<J>>;
#[cfg(not(target_arch = "wasm32"))]
type Jobs<J> = native::Threads<J>;

impl<J: Job> Ahead<J> {
    /// Begins.
    pub(crate) fn new(jobs: Vec<J>) -> Ahead<J> {
        #[cfg(target_arch = "wasm32")]
        return Ahead(jobs.into_iter().enumerate());
        #[cfg(not(target_arch = "wasm32"))]
        Ahead(native::Threads::new(jobs))
    }

    /// Begins no further job.
    pub(crate) fn stop(&mut self) {
        #[cfg(target_arch = "wasm32")]
        self.0.by_ref().for_each(drop);
        #[cfg(not(target_arch = "wasm32"))]
        self.0.stop();
    }

    /// A result and the number of its job; none after the last. Jobs are begun in their order, so that all before a result's have
    /// been begun too.
    ///
    /// # Errors
    /// `internal`: a job panicked.
    #[cfg_attr(not(target_arch = "wasm32"), expect(clippy::unused_async, reason = "a tab does the work here"))]
    pub(crate) async fn next(&mut self) -> Result<Option<(usize, J::Done)>> {
        #[cfg(target_arch = "wasm32")]
        return Ok(match self.0.next() {
            Some((number, job)) => Some((number, job.run().await)),
            None => None,
        });
        #[cfg(not(target_arch = "wasm32"))]
        self.0.next()
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
    use std::sync::{Arc, Mutex, PoisonError};

    use super::Job;
    use crate::error::{Code, Error, Result};
    use crate::platform::block_on;

    /// Threads at most: more of them wait for the disk or for each other, and each holds a result.
    const THREADS: usize = 4;

    type Queue<J> = Arc<Mutex<std::iter::Enumerate<std::vec::IntoIter<J>>>>;

    pub(super) struct Threads<J: Job> {
        queue: Queue<J>,
        results: Receiver<(usize, J::Done)>,
        /// Results to come.
        left: usize,
        threads: usize,
    }

    fn take<J>(queue: &Queue<J>) -> Option<(usize, J)> {
        queue.lock().unwrap_or_else(PoisonError::into_inner).next()
    }

    fn work<J: Job>(queue: &Queue<J>, results: &SyncSender<(usize, J::Done)>) {
        while let Some((number, job)) = take(queue) {
            if results.send((number, block_on(job.run()))).is_err() {
                break; // nobody waits any more
            }
        }
    }

    impl<J: Job> Threads<J> {
        pub(super) fn new(jobs: Vec<J>) -> Threads<J> {
            let left = jobs.len();
            let queue: Queue<J> = Arc::new(Mutex::new(jobs.into_iter().enumerate()));
            let (sender, results) = sync_channel(1);
            let wanted = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS).min(left);
            let spawned = (0..wanted).map(|_| {
                let (queue, sender) = (Arc::clone(&queue), sender.clone());
                std::thread::Builder::new().name("ahead".to_owned()).spawn(move || work(&queue, &sender))
            });
            let threads = spawned.filter(Result::is_ok).count();
            Threads { queue, results, left, threads }
        }

        pub(super) fn stop(&mut self) {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            self.left = self.left.saturating_sub(queue.by_ref().count());
        }

        pub(super) fn next(&mut self) -> Result<Option<(usize, J::Done)>> {
            if self.threads == 0 {
                // The system has no thread to give.
                return Ok(take(&self.queue).map(|(number, job)| (number, block_on(job.run()))));
            }
            if self.left == 0 {
                return Ok(None);
            }
            self.left -= 1;
            let result = self.results.recv();
            result.map(Some).map_err(|_| Error::new(Code::Internal, "a thread that works ahead has ended"))
        }
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::error::Code;
    use crate::platform::block_on;

    struct Double(u32, Arc<AtomicU32>);

    impl Job for Double {
        type Done = u32;

        async fn run(self) -> u32 {
            assert!(self.0 != 13, "a test's own");
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0 * 2
        }
    }

    fn ahead(numbers: std::ops::Range<u32>) -> (Ahead<Double>, Arc<AtomicU32>) {
        let done = Arc::new(AtomicU32::new(0));
        (Ahead::new(numbers.map(|number| Double(number, Arc::clone(&done))).collect()), done)
    }

    #[test]
    fn every_job_is_done_once() {
        let (mut ahead, _) = ahead(100..300);
        let mut results = vec![];
        while let Some((number, result)) = block_on(ahead.next()).unwrap() {
            assert_eq!(result as usize, 2 * (number + 100));
            results.push(result);
        }
        results.sort_unstable();
        assert!(results.into_iter().eq((100..300).map(|number| number * 2)));
    }

    /// What is not consumed is not made: memory stays bounded, and a load that is stopped stops.
    #[test]
    fn few_are_done_before_they_are_wanted() {
        let (mut ahead, done) = ahead(100..300);
        block_on(ahead.next()).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(done.load(Ordering::Relaxed) < 10);
        drop(ahead);
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(done.load(Ordering::Relaxed) < 20);
    }

    #[test]
    fn after_a_stop_come_those_that_were_begun() {
        let (mut ahead, done) = ahead(100..300);
        block_on(ahead.next()).unwrap();
        ahead.stop();
        let mut results = 1;
        while block_on(ahead.next()).unwrap().is_some() {
            results += 1;
        }
        assert_eq!(done.load(Ordering::Relaxed), results);
        assert!(results < 10);
    }

    #[test]
    fn a_panic_is_an_error() {
        let (mut ahead, _) = ahead(13..14);
        assert_eq!(block_on(ahead.next()).unwrap_err().code(), Code::Internal);
    }
}
