//! One answer: reads the prompt in chunks, decodes token by token, releases text as events.
//!
//! Greedy decoding feeds its choice to the next step on the GPU and runs one step ahead of what the host has seen.

use std::collections::VecDeque;
use std::sync::Arc;

use super::runner::{Chunk, Runner, SequenceId, Wanted};
use super::sampler::{Logprobs, Sampler, SamplingParams, Step};
use super::stop::StopStrings;
use crate::chat::{Delta, ReasoningSplitter};
use crate::error::{Code, Error, Result};
use crate::executor::Read;
use crate::platform::Instant;
use crate::record::Tap;
use crate::text::{Pieces, Tokenizer};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The prompt, at least one id.
    pub prompt: Vec<u32>,
    /// How to sample.
    pub sampling: SamplingParams,
    /// Tokens of the answer at most; none: as many as the context holds.
    pub max_tokens: Option<u32>,
    /// Texts that end the answer.
    pub stop: Vec<String>,
    /// Whether the prompt ended by opening a thought.
    pub thinking: bool,
    /// Whether ids that end a text are sampled as others are.
    pub ignore_eos: bool,
    /// Layers whose selections are reported; empty: none.
    pub trace_layers: Vec<u32>,
}

impl Request {
    /// Plain sampling from a prompt, until the model ends its text or the context is full.
    #[must_use]
    pub fn new(prompt: Vec<u32>) -> Request {
        Request {
            prompt,
            sampling: SamplingParams::default(),
            max_tokens: None,
            stop: Vec::new(),
            thinking: false,
            ignore_eos: false,
            trace_layers: Vec::new(),
        }
    }
}

/// Whose text it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice {
    /// The answer.
    Content,
    /// The thought before it.
    Reasoning,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The model ended it, or a stop text did.
    Stop,
    /// `max_tokens` or the context did.
    Length,
}

/// What one layer's indexer chose for one token.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    /// The layer.
    pub layer: u32,
    /// Place of the token in the sequence.
    pub position: u32,
    /// Positions that attention read, ascending.
    pub indices: Vec<u32>,
    /// The indexer's scores of them.
    pub scores: Vec<f32>,
}

/// What happens while an answer is made.
#[derive(Clone, Debug)]
pub enum Event {
    /// Prompt tokens read so far, of all; the first `cached` were known.
    Prompt {
        /// Tokens read.
        done: u32,
        /// Tokens of the prompt.
        total: u32,
        /// Tokens that an earlier request had left in the cache.
        cached: u32,
    },
    /// A token was chosen. Its text comes when it is whole.
    Token {
        /// The id.
        id: u32,
        /// Log probabilities, where asked for.
        logprobs: Option<Logprobs>,
    },
    /// Text that may be shown.
    Text {
        /// Whose.
        voice: Voice,
        /// At least one character.
        text: String,
    },
    /// Selections of a step, where asked for.
    Trace(Vec<Selection>),
    /// The end.
    End {
        /// Why.
        finish: Finish,
        /// Counts and times.
        timings: Timings,
    },
}

/// Counts and times of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Timings {
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Of these, found in the cache.
    pub cached_tokens: u32,
    /// Tokens of the answer.
    pub completion_tokens: u32,
    /// Of these, tokens of the thought.
    pub reasoning_tokens: u32,
    /// Reading the prompt.
    pub prompt_ms: f64,
    /// From the request to the first token.
    pub first_token_ms: f64,
    /// From the first token to the last.
    pub decode_ms: f64,
}

/// Positions that a context has for an answer to `prompt`.
///
/// # Errors
/// `bad_request` for an empty prompt; `context_overflow` where there are none.
pub(crate) fn room(prompt: &[u32], context: u32) -> Result<u32> {
    if prompt.is_empty() {
        return Err(Error::new(Code::BadRequest, "the prompt is empty"));
    }
    let tokens = u32::try_from(prompt.len()).unwrap_or(u32::MAX);
    context.checked_sub(tokens).filter(|&room| room > 0).ok_or_else(|| {
        Error::new(Code::ContextOverflow, format!("the prompt has {tokens} tokens, the context holds {context}"))
            .with_help(format!("raise --context above {tokens}, or shorten the prompt"))
            .with_detail("prompt_tokens", tokens)
            .with_detail("context", context)
    })
}

/// What a generation needs of the engine.
pub(crate) struct Context<'a> {
    pub(crate) runner: &'a mut Runner,
    pub(crate) tokenizer: &'a Tokenizer,
    pub(crate) sequence: SequenceId,
    /// Ids whose cache rows the sequence holds; kept true whatever happens.
    pub(crate) cached: &'a mut Vec<u32>,
    pub(crate) eos: &'a [u32],
    pub(crate) allowed: Arc<[bool]>,
}

/// An answer in the making. Dropping it stops the work after the steps already submitted.
pub struct Generation<'a> {
    context: Context<'a>,
    request: Request,
    sampler: Sampler,
    stop: StopStrings,
    pieces: Pieces,
    splitter: ReasoningSplitter,
    thought_open: bool,
    generated: Vec<u32>,
    budget: u32,
    /// Greedy choices on their way, oldest first.
    in_flight: VecDeque<Read>,
    greedy: bool,
    events: VecDeque<Event>,
    stage: Stage,
    started: Instant,
    first_token: Option<Instant>,
    timings: Timings,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Prompt,
    Decode,
    Ended,
}

/// Steps in flight while decoding greedily: one computes while the host looks at the other.
const AHEAD: usize = 2;

impl<'a> Generation<'a> {
    pub(crate) fn new(context: Context<'a>, request: Request) -> Result<Generation<'a>> {
        let settings = *context.runner.settings();
        let room = room(&request.prompt, settings.context)?;
        let prompt = settings.context - room;
        let budget = request.max_tokens.unwrap_or(room).min(room);
        let sampler = Sampler::new(request.sampling.clone(), Arc::clone(&context.allowed), context.tokenizer.size())?;
        // At least one prompt token is read again: its logits are needed.
        let known = context.cached.iter().zip(&request.prompt[..request.prompt.len() - 1]).take_while(|(a, b)| a == b);
        let cached = u32::try_from(known.count()).unwrap_or(0);
        context.runner.truncate(context.sequence, cached);
        context.cached.truncate(cached as usize);
        let greedy = request.sampling.is_greedy() && request.trace_layers.is_empty() && !request.ignore_eos;
        Ok(Generation {
            stop: StopStrings::new(request.stop.clone())?,
            splitter: ReasoningSplitter::new(request.thinking),
            thought_open: request.thinking,
            pieces: Pieces::default(),
            generated: Vec::new(),
            budget,
            in_flight: VecDeque::new(),
            greedy,
            events: VecDeque::new(),
            stage: Stage::Prompt,
            started: Instant::now(),
            first_token: None,
            timings: Timings { prompt_tokens: prompt, cached_tokens: cached, ..Timings::default() },
            context,
            request,
            sampler,
        })
    }

    /// The seed in use.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.request.sampling.seed
    }

    /// Counts and times so far.
    #[must_use]
    pub fn timings(&self) -> Timings {
        let mut timings = self.timings;
        timings.completion_tokens = u32::try_from(self.generated.len()).unwrap_or(u32::MAX);
        timings.decode_ms = self.first_token.map_or(0.0, |first| first.elapsed().as_secs_f64() * 1e3);
        timings
    }

    /// The ids chosen so far.
    #[must_use]
    pub fn ids(&self) -> &[u32] {
        &self.generated
    }

    /// The next event; none after [`Event::End`].
    ///
    /// # Errors
    /// `device_lost`, `non_finite`, `out_of_memory`.
    pub async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            match self.stage {
                Stage::Prompt => self.read_prompt().await?,
                Stage::Decode => self.decode().await?,
                Stage::Ended => return Ok(None),
            }
        }
    }

    /// Reads one chunk of the prompt.
    async fn read_prompt(&mut self) -> Result<()> {
        let done = self.context.cached.len();
        let chunk = self.context.runner.chunk(!self.request.trace_layers.is_empty()) as usize;
        let end = self.request.prompt.len().min(done + chunk);
        let last = end == self.request.prompt.len();
        let ids = self.request.prompt[done..end].to_vec();
        self.submit(&ids, if last { Wanted::Last } else { Wanted::None }).await?;
        if !last {
            // The step must be done before the next is encoded, so that a stop acts within one chunk.
            self.context.runner.settle().await?;
        } else if self.budget == 0 {
            self.end(Finish::Length);
            return Ok(());
        } else {
            self.stage = Stage::Decode;
        }
        let (done, total) = (u32::try_from(end).unwrap_or(u32::MAX), self.timings.prompt_tokens);
        self.events.push_back(Event::Prompt { done, total, cached: self.timings.cached_tokens });
        Ok(())
    }

    /// Submits a step over `ids`; a greedy one also starts reading its choice.
    async fn submit(&mut self, ids: &[u32], wanted: Wanted) -> Result<()> {
        let sequence = self.context.sequence;
        let chunk = [Chunk { sequence, ids, wanted }];
        if self.request.trace_layers.is_empty() {
            let greedy = self.greedy && wanted == Wanted::Last;
            self.context.runner.step(&chunk, greedy).await?;
            if greedy {
                self.in_flight.push_back(self.context.runner.chosen()?);
            }
        } else {
            let first = self.context.runner.length(sequence);
            let taps = self.context.runner.step_tapped(&chunk).await?;
            self.events.push_back(Event::Trace(selections(&taps, first, &self.request.trace_layers)));
        }
        self.context.cached.extend_from_slice(ids);
        Ok(())
    }

    /// Chooses the next token and goes on from it.
    async fn decode(&mut self) -> Result<()> {
        let (id, logprobs) = match self.in_flight.pop_front() {
            Some(read) => (self.greedy_choice(read).await?, None),
            None => {
                let logits = self.context.runner.logits(0).await?;
                self.sample(&logits)?
            }
        };
        if self.first_token.is_none() {
            self.timings.first_token_ms = self.started.elapsed().as_secs_f64() * 1e3;
            self.timings.prompt_ms = self.timings.first_token_ms;
            self.first_token = Some(Instant::now());
        }
        if !self.request.ignore_eos && self.context.eos.contains(&id) {
            self.end(Finish::Stop);
            return Ok(());
        }
        self.generated.push(id);
        if self.thought_open {
            self.timings.reasoning_tokens += 1;
        }
        self.events.push_back(Event::Token { id, logprobs });
        let text = self.pieces.push(self.context.tokenizer, id);
        if self.release(&text) {
            self.end(Finish::Stop);
        } else if self.generated.len() >= self.budget as usize {
            self.end(Finish::Length);
        } else {
            self.go_on(id).await?;
        }
        Ok(())
    }

    /// Makes sure that a step from `id` is in line, and greedily one more.
    async fn go_on(&mut self, id: u32) -> Result<()> {
        if self.greedy {
            // The step that follows `id` is in flight already where steps ran ahead.
            if self.in_flight.is_empty() {
                self.submit(&[id], Wanted::Last).await?;
            } else {
                self.context.cached.push(id);
            }
            let ahead = self.generated.len() + self.in_flight.len();
            if self.in_flight.len() < AHEAD && ahead < self.budget as usize {
                self.context.runner.again().await?;
                self.in_flight.push_back(self.context.runner.chosen()?);
            }
            return Ok(());
        }
        self.submit(&[id], Wanted::Last).await
    }

    /// The id that the GPU chose. Where it is one that may not be sampled, the row is read and judged here.
    async fn greedy_choice(&mut self, read: Read) -> Result<u32> {
        let words = read.await?;
        let (id, flags) = (words.first().copied().unwrap_or(0), words.get(1).copied().unwrap_or(0));
        if flags != 0 {
            return Err(Error::new(Code::NonFinite, "a logit is NaN or infinite"));
        }
        if self.context.allowed.get(id as usize).copied().unwrap_or(false) {
            return Ok(id);
        }
        // Steps that ran ahead went on from a wrong id: forget them, and compute this row again.
        self.in_flight.clear();
        self.greedy = false;
        let last = self.context.cached.pop();
        let length = u32::try_from(self.context.cached.len()).unwrap_or(0);
        self.context.runner.truncate(self.context.sequence, length);
        if let Some(last) = last {
            self.submit(&[last], Wanted::Last).await?;
        }
        let logits = self.context.runner.logits(0).await?;
        self.sample(&logits).map(|(id, _)| id)
    }

    fn sample(&mut self, logits: &[f32]) -> Result<(u32, Option<Logprobs>)> {
        let step = Step {
            prompt: &self.request.prompt,
            generated: &self.generated,
            position: self.generated.len() as u64,
            forbidden: if self.request.ignore_eos { self.context.eos } else { &[] },
            grammar: None,
        };
        let sampled = self.sampler.sample(logits, &step)?;
        Ok((sampled.id, sampled.logprobs))
    }

    /// Passes text through thought and stop strings; true where a stop string ends the answer.
    fn release(&mut self, text: &str) -> bool {
        let deltas = self.splitter.push(text);
        self.show(deltas)
    }

    fn show(&mut self, deltas: Vec<Delta>) -> bool {
        for delta in deltas {
            match delta {
                Delta::Reasoning(text) => self.events.push_back(Event::Text { voice: Voice::Reasoning, text }),
                Delta::Content(text) => {
                    self.thought_open = false;
                    let released = self.stop.push(&text);
                    self.content(released.text);
                    if released.stop.is_some() {
                        return true;
                    }
                }
            }
        }
        false
    }

    fn content(&mut self, text: String) {
        if !text.is_empty() {
            self.events.push_back(Event::Text { voice: Voice::Content, text });
        }
    }

    /// Releases what was held back, and forgets steps that ran ahead.
    fn end(&mut self, finish: Finish) {
        self.timings = self.timings();
        let rest = std::mem::take(&mut self.pieces).finish();
        let mut stopped = self.release(&rest);
        let splitter = std::mem::replace(&mut self.splitter, ReasoningSplitter::new(false));
        stopped |= self.show(splitter.finish());
        if !stopped {
            let released = self.stop.finish();
            self.content(released.text);
            stopped = released.stop.is_some();
        }
        let finish = if stopped { Finish::Stop } else { finish };
        self.events.push_back(Event::End { finish, timings: self.timings });
        self.stage = Stage::Ended;
        self.forget_ahead();
    }

    fn forget_ahead(&mut self) {
        self.in_flight.clear();
        let length = u32::try_from(self.context.cached.len()).unwrap_or(0);
        self.context.runner.truncate(self.context.sequence, length);
    }
}

impl Drop for Generation<'_> {
    fn drop(&mut self) {
        self.forget_ahead();
    }
}

/// Selections of the traced layers from the taps of a step whose first token is at `first`.
fn selections(taps: &[(Tap, Vec<u32>)], first: u32, layers: &[u32]) -> Vec<Selection> {
    let find = |layer: u32, stage: &str| {
        let name = format!("layers.{layer}.{stage}");
        taps.iter().find(|(tap, _)| tap.name == name).map(|(tap, words)| words.chunks(tap.width as usize))
    };
    let mut found = Vec::new();
    for &layer in layers {
        let (Some(selected), Some(scores)) = (find(layer, "idx_topk"), find(layer, "idx_score")) else { continue };
        for (position, (selected, scores)) in (first..).zip(selected.zip(scores)) {
            let indices: Vec<u32> = selected.iter().copied().filter(|&index| index != u32::MAX).collect();
            let scores =
                indices.iter().filter_map(|&i| scores.get(i as usize)).map(|&bits| f32::from_bits(bits)).collect();
            found.push(Selection { layer, position, indices, scores });
        }
    }
    found
}
