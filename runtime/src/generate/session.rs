//! One answer: reads the prompt in chunks, decodes token by token, releases text as events.
//!
//! Greedy decoding feeds its choice to the next step on the GPU and runs one step ahead of what the host has seen.

use std::collections::VecDeque;
use std::sync::Arc;

use super::constraint::Constraint;
use super::runner::{Chunk, Runner, SequenceId, Wanted};
use super::sampler::{Logprobs, Sampler, SamplingParams, Step};
use super::stop::StopStrings;
use super::trace::{Selection, TraceRequest, selections};
use crate::chat::{Delta, ReasoningSplitter};
use crate::error::{Code, Error, Result};
use crate::executor::{Read, Tapped};
use crate::platform::Instant;
use crate::record::Taps;
use crate::text::{Pieces, Tokenizer};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The prompt, at least one id.
    pub prompt: Vec<u32>,
    /// How to sample.
    pub sampling: SamplingParams,
    /// Tokens of the answer at most; none: as many as the context holds. With 0 the prompt is read and that is all.
    pub max_tokens: Option<u32>,
    /// Texts that end the answer.
    pub stop: Vec<String>,
    /// Whether the prompt ended by opening a thought.
    pub thinking: bool,
    /// Whether ids that end a text are sampled as others are.
    pub ignore_eos: bool,
    /// What is reported of attention; none: nothing.
    pub trace: Option<TraceRequest>,
    /// The form that the answer is held to; none: any text.
    pub constraint: Option<Constraint>,
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
            trace: None,
            constraint: None,
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
    /// What attention read for the tokens of a step, where asked for: after their own [`Event::Token`], before that of the
    /// token chosen from them. The last token of an answer is not read.
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
    /// Greedy steps on their way, oldest first.
    in_flight: VecDeque<Ahead>,
    greedy: bool,
    taps: Taps,
    /// Steps that begin before this position are not traced: nobody asked, or they were traced before.
    trace_from: u32,
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

/// A greedy step whose results the host has not seen.
struct Ahead {
    /// Where it is traced: position of its first token, and how many it has.
    traced: Option<(u32, u32)>,
    tapped: Tapped,
    chosen: Read,
}

/// Steps in flight while decoding greedily: one computes while the host looks at the other.
const AHEAD: usize = 2;

impl<'a> Generation<'a> {
    pub(crate) fn new(context: Context<'a>, request: Request) -> Result<Generation<'a>> {
        let settings = *context.runner.settings();
        // A whole text may be read again where nothing is to follow it.
        let room = match request.max_tokens {
            Some(0) if request.prompt.len() == settings.context as usize => 0,
            _ => room(&request.prompt, settings.context)?,
        };
        let prompt = settings.context - room;
        let layers = context.runner.dims().num_hidden_layers;
        let trace = request.trace.clone().unwrap_or_default();
        if let Some(layer) = trace.layers.iter().find(|&&layer| layer >= layers) {
            return Err(Error::new(Code::BadRequest, format!("a trace of layer {layer}; the model has {layers}")));
        }
        let budget = request.max_tokens.unwrap_or(room).min(room);
        let sampler = Sampler::new(request.sampling.clone(), Arc::clone(&context.allowed), context.tokenizer.size())?;
        // At least one prompt token is read again: its logits are needed.
        let known = context.cached.iter().zip(&request.prompt[..request.prompt.len() - 1]).take_while(|(a, b)| a == b);
        let mut cached = u32::try_from(known.count()).unwrap_or(0);
        let taps = trace.taps();
        if taps != Taps::None {
            cached = cached.min(trace.from);
        }
        context.runner.truncate(context.sequence, cached);
        context.cached.truncate(cached as usize);
        if request.ignore_eos && request.constraint.is_some() {
            let message = "an answer that is held to a form ends with it: ignore_eos cannot be used beside a constraint";
            return Err(Error::new(Code::BadRequest, message).with_detail("param", "ignore_eos"));
        }
        let greedy = request.sampling.is_greedy() && !request.ignore_eos && request.constraint.is_none();
        Ok(Generation {
            stop: StopStrings::new(request.stop.clone())?,
            splitter: ReasoningSplitter::new(request.thinking),
            thought_open: request.thinking,
            pieces: Pieces::default(),
            generated: Vec::new(),
            budget,
            in_flight: VecDeque::new(),
            greedy,
            taps,
            trace_from: if taps == Taps::None { 0 } else { trace.from },
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

    /// The tokenizer of the model.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        self.context.tokenizer
    }

    /// Reads one chunk of the prompt.
    async fn read_prompt(&mut self) -> Result<()> {
        let done = self.context.cached.len();
        let from = self.trace_from as usize;
        let chunk = self.context.runner.chunk(self.taps_at(done)) as usize;
        let end = self.request.prompt.len().min(done + chunk).min(if done < from { from } else { usize::MAX });
        let last = end == self.request.prompt.len();
        let answers = last && self.budget > 0;
        let ids = self.request.prompt[done..end].to_vec();
        self.submit(&ids, if answers { Wanted::Last } else { Wanted::None }).await?;
        if !answers {
            // The step must be done before the next is encoded, so that a stop acts within one chunk.
            self.context.runner.settle().await?;
        }
        let (done, total) = (u32::try_from(end).unwrap_or(u32::MAX), self.timings.prompt_tokens);
        self.events.push_back(Event::Prompt { done, total, cached: self.timings.cached_tokens });
        if answers {
            self.stage = Stage::Decode;
        } else if last {
            self.timings.prompt_ms = self.started.elapsed().as_secs_f64() * 1e3;
            self.end(Finish::Length);
        }
        Ok(())
    }

    /// What a step keeps that begins at this position.
    fn taps_at(&self, position: usize) -> Taps {
        if position < self.trace_from as usize { Taps::None } else { self.taps }
    }

    /// Submits a step over `ids`; a greedy one also starts reading its choice.
    async fn submit(&mut self, ids: &[u32], wanted: Wanted) -> Result<()> {
        let taps = self.taps_at(self.context.cached.len());
        let first = self.context.runner.length(self.context.sequence);
        let traced = (taps != Taps::None).then_some((first, u32::try_from(ids.len()).unwrap_or(u32::MAX)));
        let greedy = self.greedy && wanted == Wanted::Last;
        let chunk = [Chunk { sequence: self.context.sequence, ids, wanted }];
        let tapped = self.context.runner.step_tapped(&chunk, greedy, taps).await?;
        self.context.cached.extend_from_slice(ids);
        if greedy {
            let chosen = self.context.runner.chosen()?;
            self.in_flight.push_back(Ahead { traced, tapped, chosen });
            return Ok(());
        }
        self.report(traced, tapped).await
    }

    /// Awaits and reports what attention read in a step.
    async fn report(&mut self, traced: Option<(u32, u32)>, tapped: Tapped) -> Result<()> {
        let (Some((first, tokens)), Some(request)) = (traced, &self.request.trace) else { return Ok(()) };
        let layers = self.context.runner.dims().num_hidden_layers;
        let found = selections(&tapped.read().await?, first, tokens, request, layers);
        self.trace_from = first + tokens;
        self.events.push_back(Event::Trace(found));
        Ok(())
    }

    /// Chooses the next token and goes on from it.
    async fn decode(&mut self) -> Result<()> {
        let (id, logprobs) = match self.in_flight.pop_front() {
            Some(Ahead { traced, tapped, chosen }) => {
                self.report(traced, tapped).await?;
                (self.greedy_choice(chosen).await?, None)
            }
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
                let first = self.context.runner.length(self.context.sequence);
                let taps = self.taps_at(first as usize);
                let traced = (taps != Taps::None).then_some((first, 1));
                let tapped = self.context.runner.again_tapped(taps).await?;
                let chosen = self.context.runner.chosen()?;
                self.in_flight.push_back(Ahead { traced, tapped, chosen });
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
        let grammar = self.request.constraint.as_mut().map(Constraint::allowed).transpose()?.flatten();
        let step = Step {
            prompt: &self.request.prompt,
            generated: &self.generated,
            position: self.generated.len() as u64,
            forbidden: if self.request.ignore_eos { self.context.eos } else { &[] },
            grammar,
        };
        let sampled = self.sampler.sample(logits, &step)?;
        if let Some(constraint) = &mut self.request.constraint {
            constraint.advance(sampled.id)?;
        }
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
