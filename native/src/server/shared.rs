//! What handlers share: the engine's thread, the doors, the settings.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lyn::Language;
use lyn::wire::openai::{self, Compat, ModelIds};
use tokio::sync::{Semaphore, watch};

use super::admission::{Admission, Ticket};
use super::guard::{Guard, KeyId};
use super::loaded::Loaded;
use super::metrics::Metrics;
use super::page::Page;
use super::refusal::Refusal;
use super::work;
use super::worker::Worker;
use crate::upstream::route::Routes;

/// Copies of requests under way at most.
const COPIES: usize = 32;

/// What the server is told about itself.
#[derive(Default)]
pub(crate) struct ServerSettings {
    /// Names of the model.
    pub(crate) models: ModelIds,
    /// Whose refusals are repeated.
    pub(crate) compat: Compat,
    /// Answers at once.
    pub(crate) parallel: usize,
    /// Answers that wait.
    pub(crate) max_queue: usize,
    /// Of these, with one key, where there are several.
    pub(crate) max_queue_per_key: usize,
    /// Log what is asked and answered.
    pub(crate) log_prompts: bool,
    /// What other engines answer.
    pub(crate) routes: Routes,
}

/// All that handlers share.
pub(crate) struct Server {
    pub(super) settings: ServerSettings,
    pub(super) worker: Worker,
    pub(super) admission: Arc<Admission>,
    /// The same for answers of other engines: they take no room from those made here.
    pub(super) passing: Arc<Admission>,
    /// Room for copies of requests.
    pub(super) copies: Arc<Semaphore>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) guard: Guard,
    pub(super) page: Option<Page>,
    draining: AtomicBool,
    /// Ends all answers, whatever the engine is doing.
    pub(super) stopping: watch::Sender<bool>,
    pub(super) started: u64,
}

/// A handler's way to all of it.
pub(crate) type Shared = Arc<Server>;

impl Server {
    /// A server around an engine's thread.
    pub(crate) fn new(
        settings: ServerSettings,
        worker: Worker,
        metrics: Arc<Metrics>,
        guard: Guard,
        page: Option<Page>,
    ) -> Shared {
        let most = settings.parallel + settings.max_queue;
        let per_key = (guard.keys() > 1).then_some(settings.parallel + settings.max_queue_per_key);
        let (admission, passing) = (Admission::new(most, per_key), Admission::new(most, per_key));
        Arc::new(Server {
            settings,
            worker,
            admission,
            passing,
            copies: Arc::new(Semaphore::new(COPIES)),
            metrics,
            guard,
            page,
            draining: AtomicBool::new(false),
            stopping: watch::Sender::new(false),
            started: unix_seconds(),
        })
    }

    /// From now on nothing new is begun.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Ends all answers, and the engine's thread after its step.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
        self.worker.stop();
    }

    /// Answers in the making or waiting.
    pub(crate) fn answers(&self) -> usize {
        self.admission.answers() + self.passing.answers()
    }

    /// What histograms hold back.
    pub(crate) fn tidy(&self) {
        self.metrics.tidy();
    }

    /// How requests are judged. `beta`: those of the beta path; `any_model`: whatever model they name.
    pub(super) fn rules(&self, beta: bool, any_model: bool) -> openai::Rules {
        let ServerSettings { models, compat, .. } = &self.settings;
        let models = ModelIds { accept_any: models.accept_any || any_model, ..models.clone() };
        openai::Rules { compat: *compat, beta, checkpoint_sampling: false, models, ..openai::Rules::default() }
    }

    /// Whether requests for other engines are served: that needs no model here.
    pub(super) fn check_open(&self) -> Result<(), Refusal> {
        if self.draining.load(Ordering::Relaxed) {
            return Err(Refusal::unavailable("server_shutdown", "the server is stopping"));
        }
        Ok(())
    }

    /// Whether another engine is asked for this model, now and then.
    pub(super) fn may_lead_elsewhere(&self, model: Option<&str>) -> bool {
        self.settings.routes.may_lead(model.unwrap_or_default())
    }

    /// The model, where requests are served.
    pub(super) fn loaded(&self) -> Result<Arc<Loaded>, Refusal> {
        self.check_open()?;
        self.worker.loaded()
    }

    /// Room for answers.
    pub(super) fn enter(&self, key: Option<KeyId>, answers: usize) -> Result<Ticket, Refusal> {
        self.loaded()?;
        self.admission.enter(key, answers)
    }

    /// Works with the model's language where no connection waits for it. Errors: 503 while there is no model; what `work`
    /// says.
    pub(super) async fn with_language<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Language) -> lyn::Result<T> + Send + 'static,
    ) -> Result<T, Refusal> {
        let language = self.loaded()?.language()?;
        work::apart(move || work(&language)).await
    }

    /// As [`Server::with_language`], with texts that need not fit the context: fewer of them at once.
    pub(super) async fn with_texts<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Language) -> lyn::Result<T> + Send + 'static,
    ) -> Result<T, Refusal> {
        let language = self.loaded()?.language()?;
        work::long(move || work(&language)).await
    }
}

/// Seconds since 1970.
pub(crate) fn unix_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs()
}
