//! Introduces the rooms to each other: a checkpoint, an executor, a runner, a tokenizer, a chat format.

mod options;

use std::sync::Arc;

pub use options::{Attention, Options, Progress, Trial};

use lyn_shaders::cache_row::CacheType;

use crate::chat::Detected;
use crate::checkpoint::{Checkpoint, GenerationDefaults, Source};
use crate::error::{Code, Error, Result};
use crate::executor::Executor;
use crate::generate::{AnswerId, Block, Event, Generation, Key, Occupancy, Request, Runner, Scheduler};
use crate::gpu::{AdapterInfo, Device, adapter, self_check};

use crate::gpu;
use crate::host;
use crate::language::{Language, no_tokenizer};
use crate::limits::Limits;
use crate::memory::{Plan, Planned, Wanted};
use crate::model::{Dims, Settings};
use crate::text::Tokenizer;
use crate::upload::upload;

/// Tokens of a step at most.
const MAX_CHUNK: u32 = 4096;
/// Workgroups that WebGPU allows in one dimension of a grid; each expert of each token is one.
const MAX_GROUPS: u32 = 65_535;
/// Logits of a step, where prompts are scored.
const MAX_SCORED_LOGITS: u32 = 8 << 20;

/// A device to compute on.
pub enum Place {
    /// A GPU.
    Gpu(Box<Device>),
    /// The references on the host.
    Host,
}

impl Place {
    /// The device that a selection means.
    ///
    /// # Errors
    /// `no_adapter`, `adapter_not_found`, `limit_too_small`.
    pub async fn open(selection: &str) -> Result<Place> {
        if selection == "cpu" {
            return Ok(Place::Host);
        }
        let adapter = adapter::choose(selection).await?;
        Device::open(&adapter, false).await.map(|device| Place::Gpu(Box::new(device)))
    }

    /// The adapter; none on the host.
    pub fn adapter(&self) -> Option<&AdapterInfo> {
        match self {
            Place::Gpu(device) => Some(device.info()),
            Place::Host => None,
        }
    }

    fn executor(self, trial: Trial) -> Executor {
        match self {
            Place::Gpu(device) => Executor::Gpu(Box::new(gpu::Executor::new(*device))),
            Place::Host => Executor::Host(host::Executor::new(trial.limits.unwrap_or(Limits::HOST))),
        }
    }
}

fn is_software(adapter: Option<&AdapterInfo>) -> bool {
    adapter.is_none_or(|info| info.kind == "software")
}

/// What a callback's answer means.
fn go_on(answer: bool) -> Result<()> {
    if answer { Ok(()) } else { Err(Error::new(Code::Cancelled, "loading was stopped")) }
}

/// A loaded model.
pub struct Engine {
    runner: Runner,
    plan: Plan,
    adapter: Option<AdapterInfo>,
    defaults: GenerationDefaults,
    /// None where the checkpoint has no tokenizer: then there are steps, and no answers.
    answers: Option<Answers>,
}

/// What makes answers.
struct Answers {
    language: Arc<Language>,
    scheduler: Scheduler,
}

impl Engine {
    /// What loading would use on an adapter; none: the host. No weights are read, and a plan that does not fit is no error.
    ///
    /// # Errors
    /// `bad_request` for a context or a chunk that the model does not have.
    pub fn plan_for(checkpoint: &Checkpoint, adapter: Option<&AdapterInfo>, options: &Options) -> Result<Plan> {
        let dims = Dims::new(&checkpoint.config, u32::MAX);
        Ok(Engine::planned(checkpoint, &dims, adapter, options, Trial::default())?.plan)
    }

    pub(crate) fn planned<'a>(
        checkpoint: &'a Checkpoint,
        dims: &Dims,
        adapter: Option<&AdapterInfo>,
        options: &Options,
        trial: Trial,
    ) -> Result<Planned<'a>> {
        let software = is_software(adapter);
        let chunk = options.chunk.unwrap_or(if software { 128 } else { 256 });
        let entries = dims.router.as_ref().map_or(1, |router| router.experts_per_token + 1);
        let most = MAX_CHUNK.min(MAX_GROUPS / entries);
        if !(1..=most).contains(&chunk) {
            let message = format!("a chunk of {chunk} tokens; expected 1 to {most}");
            return Err(Error::new(Code::BadRequest, message));
        }
        let sequences = options.sequences.max(1);
        let scored = MAX_SCORED_LOGITS / dims.vocab_size.max(1);
        let rows = match (trial.all_logits, options.scores_prompts) {
            (true, _) => chunk.max(sequences),
            (false, true) => chunk.min(scored).max(sequences),
            (false, false) => sequences,
        };
        let index_topk = options.attention.index_topk(dims, options.index_topk);
        let limits = adapter.map_or(trial.limits.unwrap_or(Limits::HOST), |info| info.limits);
        let wanted = Wanted {
            context: options.context,
            cache_type: options.cache_type,
            settings: Settings { context: 0, sequences, chunk, rows, index_topk, cache_type: CacheType::F32 },
            prediction: options.prediction,
            shard_bytes: limits.shard_bytes().min(trial.shard_bytes.unwrap_or(u64::MAX)),
            limits,
            place: adapter.map_or(host::NAME, |info| &info.name),
            available_bytes: match adapter {
                Some(info) if !software => info.memory.map(|memory| memory.available_bytes()),
                _ => options.memory_bytes,
            },
        };
        Planned::new(checkpoint, dims, &wanted)
    }

    /// Opens a checkpoint and loads it. `progress` returns false to stop.
    ///
    /// # Errors
    /// Everything that can be wrong with files, adapter and memory, by its code.
    pub async fn load(
        source: Arc<dyn Source>,
        options: &Options,
        progress: &mut dyn FnMut(Progress) -> bool,
    ) -> Result<Engine> {
        let checkpoint = Checkpoint::open(source).await?;
        let place = Place::open(&options.device).await?;
        Engine::load_on(checkpoint, place, options, progress).await
    }

    /// Loads an open checkpoint on an open device.
    ///
    /// # Errors
    /// As [`Engine::load`]; `self_check_failed` where [`Options::self_check`] asks for the check.
    pub async fn load_on(
        checkpoint: Checkpoint,
        place: Place,
        options: &Options,
        progress: &mut dyn FnMut(Progress) -> bool,
    ) -> Result<Engine> {
        Engine::load_trial(checkpoint, place, options, Trial::default(), progress).await
    }

    /// As [`Engine::load_on`], for goldens and tests.
    #[doc(hidden)]
    pub async fn load_trial(
        checkpoint: Checkpoint,
        place: Place,
        options: &Options,
        trial: Trial,
        progress: &mut dyn FnMut(Progress) -> bool,
    ) -> Result<Engine> {
        let language = Language::open(&checkpoint).await?;
        let vocab_limit = language.as_ref().map_or(usize::MAX, |language| language.tokenizer().size());
        let dims = Dims::new(&checkpoint.config, u32::try_from(vocab_limit).unwrap_or(u32::MAX));
        let planned = Engine::planned(&checkpoint, &dims, place.adapter(), options, trial)?;
        let Planned { plan, layout, tensors, settings } = planned;
        plan.check_limits()?;
        if !options.force {
            plan.check()?;
        }
        let adapter = place.adapter().cloned();
        if let (true, Place::Gpu(device)) = (options.self_check, &place) {
            go_on(progress(Progress::Check))?;
            let passed = self_check::run(device).await?;
            tracing::debug!(cases = passed.cases(), "the adapter passed the self-check");
        }
        let mut executor = place.executor(trial);
        let total_bytes = checkpoint.totals(options.prediction).stored_bytes;
        // Vectors are widened and scales are read apart: what the loader counts is near the stored bytes, not equal.
        let mut report = |done: u64| progress(Progress::Upload { done_bytes: done.min(total_bytes), total_bytes });
        upload(&layout, &mut executor, &mut report).await?;
        go_on(progress(Progress::Upload { done_bytes: total_bytes, total_bytes }))?;
        let mut runner = Runner::new(executor, dims, tensors, settings);
        runner.warm(&mut |done, total| progress(Progress::Compile { done, total })).await?;
        let answers = language.map(|language| {
            let language = Arc::new(language.with_context(plan.context));
            Answers { scheduler: Scheduler::new(language.vocabulary()), language }
        });
        Ok(Engine { runner, plan, adapter, defaults: checkpoint.generation.clone(), answers })
    }

    /// Memory in use, and sizes of the model.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Positions that attention reads for each token; none: all visible ones.
    pub fn index_topk(&self) -> Option<u32> {
        self.runner.settings().index_topk
    }

    pub(crate) fn dims(&self) -> &Dims {
        self.runner.dims()
    }

    /// The adapter; none on the host.
    pub fn adapter(&self) -> Option<&AdapterInfo> {
        self.adapter.as_ref()
    }

    /// Sampling that the checkpoint recommends.
    pub(crate) fn defaults(&self) -> &GenerationDefaults {
        &self.defaults
    }

    /// Steps over sequences, for whoever needs tokens instead of text.
    pub fn runner(&mut self) -> &mut Runner {
        &mut self.runner
    }

    /// All of the model that needs no device: for prompts and requests, on any thread.
    ///
    /// # Errors
    /// `bad_checkpoint` where the folder has no tokenizer.
    pub fn language(&self) -> Result<&Arc<Language>> {
        self.answers.as_ref().map(|answers| &answers.language).ok_or_else(no_tokenizer)
    }

    /// The tokenizer.
    ///
    /// # Errors
    /// As [`Engine::language`].
    pub fn tokenizer(&self) -> Result<&Tokenizer> {
        self.language().map(|language| &**language.tokenizer())
    }

    /// The prompt format that the checkpoint was trained on, or why there is none.
    pub fn chat_format(&self) -> Detected {
        let raw = Detected::Raw("the checkpoint has no tokenizer");
        self.language().map_or(raw, |language| language.chat_format())
    }

    /// Plain text as ids, after the token that begins every text.
    ///
    /// # Errors
    /// `bad_checkpoint` without a tokenizer; `bad_request` for text that it cannot encode.
    pub fn raw_prompt(&self, text: &str) -> Result<Vec<u32>> {
        self.language()?.raw_prompt(text)
    }

    /// The token that begins every text; none where there is none.
    pub fn begin(&self) -> Option<u32> {
        self.answers.as_ref().and_then(|answers| answers.language.begin())
    }

    /// Switches attention without loading again. What is cached was computed with the old one, and is forgotten.
    pub fn set_attention(&mut self, attention: Attention, index_topk: Option<u32>) {
        let index_topk = attention.index_topk(self.runner.dims(), index_topk);
        self.runner.set_index_topk(index_topk);
        self.reset();
    }

    /// Ends all answers and forgets what was cached: the next prompt is read from its first token.
    pub fn reset(&mut self) {
        match &mut self.answers {
            Some(answers) => answers.scheduler.clear(&mut self.runner),
            None => self.runner.sequences_mut().forget(),
        }
    }

    /// Frees all memory of the device at once. In a browser dropping is not enough: buffers stay until they are collected.
    /// [`Engine::device_lost`] resolves, and clones of the device are of no use any more.
    pub fn close(self) {
        if let Some(device) = self.runner.executor().device() {
            device.destroy();
        }
    }

    /// Resolves with the reason once the device is lost; never on the host. It does not borrow the engine.
    pub fn device_lost(&self) -> impl Future<Output = Error> + Send + use<> {
        let device = self.runner.executor().device().map(Device::lost);
        async {
            match device {
                Some(lost) => lost.await,
                None => std::future::pending().await,
            }
        }
    }

    /// Starts an answer and gives its events one by one. The longest beginning of the prompt, in pages of 64 tokens, that is
    /// left in the cache is not read again.
    ///
    /// # Errors
    /// `context_overflow`, `bad_request`.
    pub fn generate(&mut self, request: Request) -> Result<Generation<'_>> {
        let Answers { language, scheduler } = self.answers.as_mut().ok_or_else(no_tokenizer)?;
        Generation::new(scheduler, &mut self.runner, Arc::clone(language.tokenizer()), request)
    }

    /// Queues an answer beside others: [`Engine::step`] makes it. What is wrong with the request is said here.
    ///
    /// # Errors
    /// `context_overflow`, `bad_request`.
    pub fn submit(&mut self, request: Request) -> Result<AnswerId> {
        self.answers.as_mut().ok_or_else(no_tokenizer)?.scheduler.submit(request, &self.runner)
    }

    /// Does one step's worth of work for all answers, and says what happened, in order; nothing where there are none. An
    /// inner error ended its answer only.
    ///
    /// # Errors
    /// `device_lost`, `out_of_memory`: every answer is gone.
    pub async fn step(&mut self) -> Result<Vec<(AnswerId, Result<Event>)>> {
        let Some(Answers { scheduler, .. }) = &mut self.answers else { return Ok(Vec::new()) };
        scheduler.step(&mut self.runner).await?;
        Ok(scheduler.take_events())
    }

    /// Ends an answer: its place and its pages are free. Nothing more is heard of it.
    pub fn cancel(&mut self, id: AnswerId) {
        if let Some(Answers { scheduler, .. }) = &mut self.answers {
            scheduler.cancel(id, &mut self.runner);
        }
    }

    /// From now on, whole pages of what is read and written wait for [`Engine::take_blocks`], to be kept elsewhere.
    pub fn keep_blocks(&mut self) {
        if let Some(Answers { scheduler, .. }) = &mut self.answers {
            scheduler.keep_blocks();
        }
    }

    /// The blocks that became known since, as far as their rows have been read back.
    pub fn take_blocks(&mut self) -> Vec<Block> {
        self.answers.as_mut().map(|answers| answers.scheduler.take_blocks()).unwrap_or_default()
    }

    /// The blocks of a request's prompt that are not in the cache, from where it ends: what [`Request::blocks`] may bring.
    pub fn missing_blocks(&self, request: &Request) -> Vec<(Key, Vec<u32>)> {
        Scheduler::missing_blocks(request, &self.runner)
    }

    /// Whether no answer runs, waits, or has something left to say.
    pub fn is_idle(&self) -> bool {
        self.answers.as_ref().is_none_or(|answers| answers.scheduler.is_idle())
    }

    /// How busy it is.
    pub fn occupancy(&self) -> Occupancy {
        self.answers.as_ref().map(|answers| answers.scheduler.occupancy(&self.runner)).unwrap_or_default()
    }
}
