//! The one thread that owns the engine.
//!
//! In: jobs over a channel, run between two steps. Out: events into feeds, and a [`Stage`] that everyone can see. When the
//! device is lost or the engine panics, its answers end, the model is loaded again, and the process lives on. Never: waiting
//! for a connection.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, TryRecvError};
use std::task::{Context, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lyn::error::{Code, Error, Result};
use lyn::generate::{Block, Request};
use tokio::sync::{oneshot, watch};

use super::cut::Cut;
use super::feed::Reader;
use super::floor::{AnswerLimits, Floor};
use super::loaded::{Loaded, ServedModel};
use super::metrics::Metrics;
use super::refusal::Refusal;

/// As many losses within [`LOSS_WINDOW`] end the server: its supervisor may do better.
const MOST_LOSSES: usize = 3;
const LOSS_WINDOW: Duration = Duration::from_secs(600);
/// How often an idle thread looks whether its device is still there.
const IDLE_TICK: Duration = Duration::from_millis(500);

/// What the engine's thread is about.
#[derive(Clone)]
pub(crate) enum Stage {
    /// The model is loaded, or loaded again.
    Loading,
    /// Requests are served.
    Ready(Arc<Loaded>),
    /// It cannot be loaded, or is lost too often.
    Failed(Error),
    /// The thread has ended because it was asked to.
    Stopped,
}

/// How the model is loaded, and loaded again.
pub(crate) type Load = Box<dyn FnMut() -> Result<ServedModel> + Send>;

type Job = Box<dyn FnOnce(&mut Floor) + Send>;

/// The way to the engine's thread.
#[derive(Clone)]
pub(crate) struct Worker {
    jobs: mpsc::Sender<Option<Job>>,
    stage: watch::Receiver<Stage>,
}

impl Worker {
    /// Starts the thread, which loads the model first. Errors: `internal` where the system has no thread to give.
    pub(crate) fn start(load: Load, limits: AnswerLimits, metrics: Arc<Metrics>) -> Result<(Worker, JoinHandle<()>)> {
        let (jobs, inbox) = mpsc::channel();
        let (stage, seen) = watch::channel(Stage::Loading);
        let work = move || {
            let mut thread = Thread { inbox, stage, load, limits, metrics, losses: VecDeque::new() };
            let last = thread.run();
            thread.stage.send_replace(last);
        };
        let handle = std::thread::Builder::new().name("engine".to_owned()).spawn(work);
        let handle = handle.map_err(|error| Error::new(Code::Internal, format!("the engine's thread: {error}")))?;
        Ok((Worker { jobs, stage: seen }, handle))
    }

    /// What the thread is about, now and later.
    pub(crate) fn stage(&self) -> watch::Receiver<Stage> {
        self.stage.clone()
    }

    /// The model, while requests are served. Errors: 503 while they are not.
    pub(crate) fn loaded(&self) -> Result<Arc<Loaded>, Refusal> {
        match &*self.stage.borrow() {
            Stage::Ready(loaded) => Ok(Arc::clone(loaded)),
            Stage::Loading => Err(Refusal::unavailable("loading", "the model is being loaded")),
            Stage::Failed(_) | Stage::Stopped => Err(Cut::Stopping.into()),
        }
    }

    /// Whether there is no engine yet, or none any more for a while.
    pub(crate) fn is_loading(&self) -> bool {
        matches!(&*self.stage.borrow(), Stage::Loading)
    }

    /// Ends the thread after the step in progress; its answers end with [`Cut::Stopping`].
    pub(crate) fn stop(&self) {
        // A thread that has ended needs no telling.
        let _ = self.jobs.send(None);
    }

    /// Has answers made: all of these, or none. Errors: what the engine says of them, and 503 while there is no engine.
    pub(crate) async fn answer(&self, requests: Vec<Request>) -> Result<Reader, Refusal> {
        let accepted = Instant::now();
        let requests = self.bring_blocks(requests).await?;
        self.run(move |floor| floor.accept(requests, accepted)).await?.map_err(Refusal::from)
    }

    /// Gives the first request the blocks of its prompt that only the disk has; where others have the same prompt, they
    /// wait for it. What is not found is read anew.
    async fn bring_blocks(&self, mut requests: Vec<Request>) -> Result<Vec<Request>, Refusal> {
        let Some(store) = self.loaded()?.blocks.clone() else { return Ok(requests) };
        let look = move |floor: &mut Floor| {
            let missing = requests.first().map(|request| floor.engine.missing_blocks(request)).unwrap_or_default();
            (requests, missing)
        };
        let missing;
        (requests, missing) = self.run(look).await?;
        let Some(first) = requests.first_mut() else { return Ok(requests) };
        let scope = first.scope.clone();
        let load = move || {
            let found = missing.into_iter().map_while(|(key, ids)| {
                let words = store.load(key.bytes(), &ids)?;
                Some(Block { key, ids, scope: scope.clone(), words })
            });
            found.collect()
        };
        first.blocks = tokio::task::spawn_blocking(load).await.map_err(|_| Refusal::internal())?;
        Ok(requests)
    }

    /// Breaks the engine's thread, to see what comes of it.
    #[cfg(test)]
    pub(crate) async fn crash(&self) {
        let crash: Result<(), Refusal> = self.run(|_| panic!("a test's own")).await;
        assert!(crash.is_err());
    }

    async fn run<T: Send + 'static>(&self, job: impl FnOnce(&mut Floor) -> T + Send + 'static) -> Result<T, Refusal> {
        self.loaded()?;
        let (done, result) = oneshot::channel();
        let job: Job = Box::new(move |floor| {
            // A client that is gone has no use for the result, and what it holds stops by being dropped.
            let _ = done.send(job(floor));
        });
        let gone = || Refusal::unavailable("loading", "the model is being loaded again");
        self.jobs.send(Some(job)).map_err(|_| Refusal::from(Cut::Stopping))?;
        result.await.map_err(|_| gone())
    }
}

/// The thread's own.
struct Thread {
    inbox: mpsc::Receiver<Option<Job>>,
    stage: watch::Sender<Stage>,
    load: Load,
    limits: AnswerLimits,
    metrics: Arc<Metrics>,
    losses: VecDeque<Instant>,
}

impl Thread {
    /// Loads and serves until it is asked to stop, or there is no engine to be had.
    fn run(&mut self) -> Stage {
        loop {
            let loaded = catch_unwind(AssertUnwindSafe(&mut self.load)).unwrap_or_else(|_| Err(panicked()));
            let mut model = match loaded {
                Ok(model) => model,
                Err(error) => return Stage::Failed(error),
            };
            if model.blocks.is_some() {
                model.engine.keep_blocks();
            }
            let loaded = Arc::new(Loaded::new(&model));
            if let Some(language) = loaded.language.clone() {
                // Beside the first requests, so that the first one with a form does not wait for it.
                let warm = move || language.grammars().lexicon().map(drop);
                let _ = std::thread::Builder::new().name("lexicon".to_owned()).spawn(warm);
            }
            let mut floor = Floor::new(model, self.limits, Arc::clone(&self.metrics));
            self.stage.send_replace(Stage::Ready(loaded));
            // Nothing of the floor is used after a panic but its feeds.
            let served = catch_unwind(AssertUnwindSafe(|| self.serve(&mut floor))).unwrap_or_else(|_| Err(panicked()));
            let error = match served {
                Ok(()) => {
                    floor.end_all(&Cut::Stopping);
                    return Stage::Stopped;
                }
                Err(error) => error,
            };
            self.stage.send_replace(Stage::Loading);
            tracing::error!(code = error.code().name(), message = error.message(), "the engine is lost");
            self.metrics.device_losses.increment(1);
            floor.end_all(&Cut::Failed(error.clone()));
            // Freeing a broken device may panic too; what it held is lost with it.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(floor)));
            if self.is_hopeless() {
                return Stage::Failed(error);
            }
        }
    }

    /// Counts a loss.
    fn is_hopeless(&mut self) -> bool {
        let now = Instant::now();
        self.losses.push_back(now);
        self.losses.retain(|loss| now.duration_since(*loss) < LOSS_WINDOW);
        self.losses.len() >= MOST_LOSSES
    }

    /// Jobs and steps in turn. Ok: asked to stop.
    fn serve(&self, floor: &mut Floor) -> Result<()> {
        let mut lost = Box::pin(floor.engine.device_lost());
        loop {
            loop {
                match self.inbox.try_recv() {
                    Ok(Some(job)) => job(floor),
                    Ok(None) | Err(TryRecvError::Disconnected) => return Ok(()),
                    Err(TryRecvError::Empty) => break,
                }
            }
            if floor.tidy() {
                floor.step()?;
                continue;
            }
            match self.inbox.recv_timeout(IDLE_TICK) {
                Ok(Some(job)) => job(floor),
                Ok(None) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => still_there(lost.as_mut())?,
            }
        }
    }
}

/// Whether a device that nobody uses is still there.
fn still_there(lost: Pin<&mut impl Future<Output = Error>>) -> Result<()> {
    match lost.poll(&mut Context::from_waker(Waker::noop())) {
        std::task::Poll::Ready(error) => Err(error),
        std::task::Poll::Pending => Ok(()),
    }
}

fn panicked() -> Error {
    Error::new(Code::Internal, "the engine panicked")
}
