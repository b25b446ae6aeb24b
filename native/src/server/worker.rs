//! The one thread that owns the engine.
//!
//! In: jobs over a channel, run between two steps. Out: events into feeds, and a [`Stage`] that everyone can see. When the
//! device is lost or the engine panics, its answers end, the model is loaded again, and the process lives on. Never: waiting
//! for a connection.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, TryRecvError};
use std::task::{Context, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lyn::error::{Code, Error, Result};
use lyn::generate::{AnswerId, Block, Event, Occupancy, Request};
use lyn::gpu::AdapterInfo;
use lyn::inspect::model_info::ModelInfo;
use lyn::memory::Plan;
use lyn::platform::block_on;
use lyn::{Engine, Language};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::{oneshot, watch};

use super::cut::Cut;
use super::feed::{Reader, Writer, feed};
use super::metrics::Metrics;
use super::refusal::Refusal;
use crate::block_store::BlockStore;
use crate::cli::VERSION;

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

/// What is known of a loaded model without asking the engine.
pub(crate) struct Loaded {
    language: Option<Arc<Language>>,
    /// [`ModelInfo`], as fields.
    pub(crate) model: Map<String, Value>,
    /// Memory in use.
    pub(crate) plan: Plan,
    /// Where it runs; none: on the host.
    pub(crate) adapter: Option<AdapterInfo>,
    /// What makes answers: model, version, adapter and the choices that change numbers.
    pub(crate) fingerprint: String,
    /// Where blocks of the prefix cache are kept beside the device.
    pub(crate) blocks: Option<Arc<BlockStore>>,
}

impl Loaded {
    fn new(Model { engine, blocks }: &Model) -> Loaded {
        let adapter = engine.adapter().map(|adapter| (&adapter.name, &adapter.driver, &adapter.backend));
        let facts = json!([engine.plan().model_type, engine.plan().formats, engine.index_topk(), VERSION, adapter]);
        let digest = Sha256::digest(facts.to_string());
        let hex: String = digest.iter().take(5).map(|byte| format!("{byte:02x}")).collect();
        let backend = engine.adapter().map_or("host".to_owned(), |adapter| adapter.backend.to_lowercase());
        let model = match json!(ModelInfo::of(engine)) {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        Loaded {
            language: engine.language().ok().cloned(),
            model,
            plan: engine.plan().clone(),
            adapter: engine.adapter().cloned(),
            fingerprint: format!("fp_{hex}_{backend}"),
            blocks: blocks.clone(),
        }
    }

    /// The chat format's name; empty where there is none.
    pub(crate) fn chat_format(&self) -> String {
        self.language.as_ref().and_then(|language| language.chat_format().name()).unwrap_or_default()
    }

    /// What the model knows of text.
    ///
    /// # Errors
    /// `bad_checkpoint` where it has no tokenizer.
    pub(crate) fn language(&self) -> Result<Arc<Language>> {
        let missing = || {
            let message = "the checkpoint has no tokenizer.json: text cannot be tokenized";
            Error::new(Code::BadRequest, message)
        };
        self.language.clone().ok_or_else(missing)
    }
}

/// How long answers may take; none: as long as they like.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    /// Until the prompt is read.
    pub(crate) queue: Option<Duration>,
    /// In all.
    pub(crate) total: Option<Duration>,
}

/// How the model is loaded, and loaded again.
pub(crate) type Load = Box<dyn FnMut() -> Result<Model> + Send>;

/// A loaded model.
pub(crate) struct Model {
    /// The engine.
    pub(crate) engine: Engine,
    /// Where blocks of its prefix cache are kept beside the device, for this model on this device.
    pub(crate) blocks: Option<Arc<BlockStore>>,
}

type Job = Box<dyn FnOnce(&mut Floor) + Send>;

/// The way to the engine's thread.
#[derive(Clone)]
pub(crate) struct Worker {
    jobs: mpsc::Sender<Option<Job>>,
    stage: watch::Receiver<Stage>,
}

impl Worker {
    /// Starts the thread, which loads the model first.
    ///
    /// # Errors
    /// `internal` where the system has no thread to give.
    pub(crate) fn start(load: Load, limits: Limits, metrics: Arc<Metrics>) -> Result<(Worker, JoinHandle<()>)> {
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

    /// The model, while requests are served.
    ///
    /// # Errors
    /// 503 while they are not.
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

    /// Has answers made: all of these, or none.
    ///
    /// # Errors
    /// What the engine says of them, and 503 while there is no engine.
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
    limits: Limits,
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
            let (Model { engine, blocks }, metrics) = (model, Arc::clone(&self.metrics));
            let mut floor = Floor { engine, blocks, limits: self.limits, metrics, running: HashMap::new() };
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

/// An engine with the answers that it makes.
struct Floor {
    engine: Engine,
    blocks: Option<Arc<BlockStore>>,
    limits: Limits,
    metrics: Arc<Metrics>,
    running: HashMap<AnswerId, Running>,
}

/// An answer in the making or waiting.
struct Running {
    writer: Writer,
    accepted: Instant,
    /// When its prompt was begun.
    started: Option<Instant>,
    first_token: Option<Instant>,
    tokens: u32,
}

impl Floor {
    /// Accepts all of these, or none.
    fn accept(&mut self, requests: Vec<Request>, accepted: Instant) -> Result<Reader> {
        let mut ids = vec![];
        for request in requests {
            match self.engine.submit(request) {
                Ok(id) => ids.push(id),
                Err(error) => {
                    ids.iter().for_each(|&id| self.engine.cancel(id));
                    return Err(error);
                }
            }
        }
        let (writers, reader) = feed(u32::try_from(ids.len()).unwrap_or(u32::MAX));
        for (id, writer) in ids.into_iter().zip(writers) {
            self.running.insert(id, Running { writer, accepted, started: None, first_token: None, tokens: 0 });
        }
        Ok(reader)
    }

    /// Ends what nobody waits for any more and what took too long. Whether there is still work.
    fn tidy(&mut self) -> bool {
        let late = |since: Instant, limit: Option<Duration>| limit.is_some_and(|limit| since.elapsed() > limit);
        let cuts: Vec<(AnswerId, Option<Cut>)> = self
            .running
            .iter()
            .filter_map(|(&id, answer)| match answer {
                _ if answer.writer.is_abandoned() => Some((id, None)),
                _ if late(answer.accepted, self.limits.total) => Some((id, Some(Cut::Late))),
                _ if answer.started.is_none() && late(answer.accepted, self.limits.queue) => {
                    Some((id, Some(Cut::Waited)))
                }
                _ => None,
            })
            .collect();
        for (id, cut) in cuts {
            self.engine.cancel(id);
            self.finish(id, cut.map_or(Ending::Abandoned, Ending::Cut));
        }
        self.metrics.occupancy(&self.engine.occupancy());
        !self.running.is_empty()
    }

    fn step(&mut self) -> Result<()> {
        for (id, event) in block_on(self.engine.step())? {
            match event {
                Ok(event) => self.pass_on(id, event),
                Err(error) => self.finish(id, Ending::Cut(Cut::Failed(error))),
            }
        }
        if let Some(store) = &self.blocks {
            for Block { key, ids, scope, words } in self.engine.take_blocks() {
                store.save(*key.bytes(), ids, words, Sha256::digest(scope).into());
            }
        }
        if self.engine.is_idle() && !self.running.is_empty() {
            // A promise broke: these would wait for ever.
            self.end_all(&Cut::Failed(Error::new(Code::Internal, "an answer was lost")));
        }
        Ok(())
    }

    fn pass_on(&mut self, id: AnswerId, event: Event) {
        let Some(answer) = self.running.get_mut(&id) else { return };
        let now = Instant::now();
        if answer.started.is_none() {
            answer.started = Some(now);
        }
        let mut ended = None;
        match &event {
            Event::Token { .. } => {
                answer.tokens += 1;
                self.metrics.generation_tokens.increment(1);
                if answer.first_token.is_none() {
                    answer.first_token = Some(now);
                    self.metrics.first_token_seconds.record(now.duration_since(answer.accepted).as_secs_f64());
                }
            }
            Event::End { timings, .. } => {
                let uncounted = timings.completion_tokens.saturating_sub(answer.tokens);
                self.metrics.generation_tokens.increment(uncounted.into());
                self.metrics.finished(timings);
                self.metrics.queue_seconds.record(timings.queue_ms / 1e3);
                if let (Some(first), 2..) = (answer.first_token, timings.completion_tokens) {
                    let seconds = now.duration_since(first).as_secs_f64();
                    self.metrics.token_seconds.record(seconds / f64::from(timings.completion_tokens - 1));
                }
                ended = Some(Ending::Whole);
            }
            _ => {}
        }
        if !answer.writer.send(event) {
            self.engine.cancel(id);
            let unread = if answer.writer.is_abandoned() { Ending::Abandoned } else { Ending::Cut(Cut::Unread) };
            ended.get_or_insert(unread);
        }
        if let Some(ended) = ended {
            self.finish(id, ended);
        }
    }

    fn finish(&mut self, id: AnswerId, ending: Ending) {
        let Some(answer) = self.running.remove(&id) else { return };
        self.metrics.answer_seconds.record(answer.accepted.elapsed().as_secs_f64());
        let end = match ending {
            Ending::Whole => Ok(()),
            Ending::Abandoned => {
                self.metrics.aborted("client_gone");
                Err(Cut::Unread)
            }
            Ending::Cut(cut) => {
                self.metrics.aborted(cut.reason());
                Err(cut)
            }
        };
        answer.writer.end(end);
    }

    /// Ends all answers. The engine may be broken.
    fn end_all(&mut self, cut: &Cut) {
        let ids: Vec<AnswerId> = self.running.keys().copied().collect();
        for id in ids {
            self.finish(id, Ending::Cut(cut.clone()));
        }
        self.metrics.occupancy(&Occupancy::default());
    }
}

/// How an answer ends.
enum Ending {
    Whole,
    Abandoned,
    Cut(Cut),
}
