//! One answer: its tokens, how the next one is chosen, and what of its text may be shown.

use std::ops::Range;
use std::sync::Arc;

use super::constraint::Constraint;
use super::pages::Block;
use super::request::{Event, Finish, Request, Timings, Voice, room};
use super::sampler::{Logprobs, MAX_TOP_LOGPROBS, Sampler, Step};
use super::stop::{Released, StopStrings};
use crate::error::{Code, Error, Result};
use crate::model::Settings;
use crate::platform::Instant;
use crate::text::{Pieces, Tokenizer};

/// What turns the ids of a model into text.
pub(crate) struct Vocabulary {
    pub(crate) tokenizer: Arc<Tokenizer>,
    /// Ids that end a text.
    pub eos: Vec<u32>,
    /// Ids that mark thoughts and calls: they have a text for the parser even where the tokenizer says that they have none.
    pub(crate) markup: Vec<u32>,
    /// `[vocab_size]`: ids that may ever be sampled.
    pub(crate) allowed: Arc<[bool]>,
    /// How the text of an answer to a request is read.
    pub(crate) parser: MakeParser,
}

/// Makes the parser for the answer to a request.
pub(crate) type MakeParser = Box<dyn Fn(&Request) -> Box<dyn Parser> + Send + Sync>;

/// Tells the parts of a text apart while the model writes it. Whoever knows the model's markup is one.
pub trait Parser: Send {
    /// The text and calls that `text` releases, as [`Event::Text`], [`Event::Call`] and the like. None of the texts is
    /// empty, but a name may be.
    fn push(&mut self, text: &str) -> Vec<Event>;

    /// What still waits, at the end of generation.
    fn finish(&mut self) -> Vec<Event>;

    /// What still waits, where the end was not the model's: what may begin a call then is none of the text.
    fn cut(&mut self) -> Vec<Event>;

    /// Whether the thought has not been closed yet.
    fn is_thinking(&self) -> bool;

    /// Calls that are complete.
    fn calls(&self) -> u32;
}

/// An answer in the making.
pub(crate) struct Answer {
    vocabulary: Arc<Vocabulary>,
    pub(super) request: Request,
    /// The prompt, then the answer.
    pub(super) tokens: Vec<u32>,
    sampler: Sampler,
    stop: StopStrings,
    pieces: Pieces,
    parser: Box<dyn Parser>,
    /// The stop string that ended the answer.
    stopped_by: Option<String>,
    /// Whether a token without text ended the answer.
    ended_by_token: bool,
    budget: u32,
    /// The GPU may choose the next id; else the host does, which knows which ids may be.
    pub(super) greedy: bool,
    events: Vec<Event>,
    pub(super) ended: bool,
    started: Instant,
    admitted: Option<Instant>,
    first_token: Option<Instant>,
    timings: Timings,
}

impl Answer {
    pub(crate) fn new(vocabulary: Arc<Vocabulary>, request: Request, settings: &Settings) -> Result<Answer> {
        // A whole text may be read again where nothing is to follow it.
        let room = match request.max_tokens {
            Some(0) if request.prompt.len() == settings.context as usize => 0,
            _ => room(&request.prompt, settings.context)?,
        };
        let sampler =
            Sampler::new(request.sampling.clone(), Arc::clone(&vocabulary.allowed), vocabulary.tokenizer.size())?;
        if request.ignore_eos && request.constraint.is_some() {
            let message =
                "ignore_eos cannot be combined with structured output, which determines where the answer ends";
            return Err(Error::new(Code::BadRequest, message).with_detail("param", "ignore_eos"));
        }
        if request.prompt_logprobs.is_some_and(|count| count > MAX_TOP_LOGPROBS) {
            let message = format!("prompt_logprobs: expected at most {MAX_TOP_LOGPROBS}");
            return Err(Error::new(Code::BadRequest, message).with_detail("param", "prompt_logprobs"));
        }
        let prompt_tokens = settings.context - room;
        Ok(Answer {
            tokens: request.prompt.clone(),
            sampler,
            stop: StopStrings::new(request.stop.clone())?,
            pieces: Pieces::default(),
            parser: (vocabulary.parser)(&request),
            stopped_by: None,
            ended_by_token: false,
            budget: request.max_tokens.unwrap_or(room).min(room),
            // The GPU knows of no id that must not be sampled.
            greedy: request.sampling.is_greedy()
                && !request.ignore_eos
                && request.min_tokens == 0
                && request.constraint.is_none(),
            events: Vec::new(),
            ended: false,
            started: Instant::now(),
            admitted: None,
            first_token: None,
            timings: Timings { prompt_tokens, ..Timings::default() },
            vocabulary,
            request,
        })
    }

    /// The blocks that the request brought along.
    pub(crate) fn take_blocks(&mut self) -> Vec<Block> {
        std::mem::take(&mut self.request.blocks)
    }

    /// Tokens of the prompt.
    pub(crate) fn prompt_length(&self) -> usize {
        self.request.prompt.len()
    }

    /// Tokens of the answer so far.
    fn generated(&self) -> &[u32] {
        &self.tokens[self.request.prompt.len()..]
    }

    /// Positions that prompt and answer need at most.
    pub(crate) fn most_positions(&self) -> u32 {
        self.timings.prompt_tokens + self.budget
    }

    /// Tokens that may still come.
    pub(crate) fn budget_left(&self) -> usize {
        (self.budget as usize).saturating_sub(self.generated().len())
    }

    /// What happened since this was last asked.
    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    pub(crate) fn report(&mut self, event: Event) {
        self.events.push(event);
    }

    /// The answer got its place; the first `cached` tokens of its prompt are known.
    pub(crate) fn admit(&mut self, cached: u32) {
        self.admitted = Some(Instant::now());
        self.timings.queue_ms = milliseconds(self.started);
        self.timings.cached_tokens = cached;
    }

    /// Tokens of the prompt were read, up to `done`.
    pub(crate) fn read(&mut self, done: usize) {
        let (done, total) = (u32::try_from(done).unwrap_or(u32::MAX), self.timings.prompt_tokens);
        let elapsed_ms = self.admitted.map_or(0.0, milliseconds);
        self.events.push(Event::Prompt { done, total, cached: self.timings.cached_tokens, elapsed_ms });
        if done == total && self.budget == 0 {
            self.timings.prompt_ms = elapsed_ms;
            self.end(Finish::Length);
        }
    }

    /// The places of the prompt whose log probabilities come from the logits of tokens from `done` on.
    pub(crate) fn unscored(&self, done: usize) -> Range<usize> {
        let end = if self.request.prompt_logprobs.is_some() { self.prompt_length() } else { 0 };
        (done + 1).min(end)..end
    }

    /// Reports log probabilities of tokens of the prompt, from place `first` on; a row of logits for each.
    pub(crate) fn score<'l>(&mut self, first: usize, rows: impl Iterator<Item = &'l [f32]>) -> Result<()> {
        let Some(count) = self.request.prompt_logprobs else { return Ok(()) };
        let tokens = self.request.prompt.iter().enumerate().skip(first);
        let scored = tokens.zip(rows).map(|((place, &id), row)| self.sampler.score(row, id, place, count));
        let logprobs: Vec<Logprobs> = scored.collect::<Result<_>>()?;
        let first = u32::try_from(first).unwrap_or(u32::MAX);
        self.events.push(Event::PromptLogprobs { first, logprobs });
        Ok(())
    }

    /// Counts and times so far.
    pub(crate) fn timings(&self) -> Timings {
        let mut timings = self.timings;
        if !self.ended {
            let sampled = self.generated().len() + usize::from(self.ended_by_token);
            timings.completion_tokens = u32::try_from(sampled).unwrap_or(u32::MAX);
            timings.decode_ms = self.first_token.map_or(0.0, milliseconds);
        }
        timings
    }

    /// The id that the GPU chose, where it may be one.
    pub(crate) fn judge(&self, id: u32, flags: u32) -> Result<Option<u32>> {
        if flags != 0 {
            return Err(Error::new(Code::NonFinite, "a logit is NaN or infinite"));
        }
        Ok(self.vocabulary.allowed.get(id as usize).copied().unwrap_or(false).then_some(id))
    }

    /// Chooses the next id, of those that the answer's form allows.
    ///
    /// # Errors
    /// `non_finite`; `grammar_too_complex`; `internal` where nothing may come.
    pub(crate) fn choose(&mut self, logits: &[f32]) -> Result<(u32, Option<Logprobs>)> {
        let generated = &self.tokens[self.request.prompt.len()..];
        // A form has its own end.
        let in_form = self.request.constraint.as_ref().is_some_and(Constraint::is_active);
        let too_early = generated.len() < self.request.min_tokens as usize && !in_form;
        let ends: &[u32] = if self.request.ignore_eos || too_early { &self.vocabulary.eos } else { &[] };
        let stops: &[u32] = if too_early { &self.request.stop_ids } else { &[] };
        let grammar = self.request.constraint.as_mut().map(Constraint::allowed).transpose()?.flatten();
        let step = Step {
            prompt: &self.request.prompt,
            generated,
            position: generated.len() as u64,
            forbidden: &[ends, stops].concat(),
            grammar,
        };
        let sampled = self.sampler.sample(logits, &step)?;
        if let Some(constraint) = &mut self.request.constraint {
            constraint.advance(sampled.id)?;
        }
        Ok((sampled.id, sampled.logprobs))
    }

    /// Goes on by a chosen id, or ends.
    pub(crate) fn accept(&mut self, id: u32, logprobs: Option<Logprobs>) {
        if self.first_token.is_none() {
            self.timings.first_token_ms = milliseconds(self.started);
            self.timings.prompt_ms = self.admitted.map_or(0.0, milliseconds);
            self.first_token = Some(Instant::now());
        }
        let ends = !self.request.ignore_eos && self.vocabulary.eos.contains(&id);
        if ends || self.request.stop_ids.contains(&id) {
            self.ended_by_token = true;
            self.events.push(Event::EndToken { id, logprobs });
            return self.end(Finish::Stop);
        }
        self.tokens.push(id);
        self.events.push(Event::Token { id, logprobs });
        let vocabulary = &self.vocabulary;
        let text = match vocabulary.tokenizer.is_special(id) && !vocabulary.markup.contains(&id) {
            true => String::new(),
            false => self.pieces.push(&vocabulary.tokenizer, id),
        };
        let stopped = self.release(&text);
        // The token that ends a thought is none of it.
        if self.parser.is_thinking() {
            self.timings.reasoning_tokens += 1;
        }
        if stopped {
            self.end(Finish::Stop);
        } else if self.budget_left() == 0 {
            self.end(Finish::Length);
        }
    }

    /// Passes text through the parser and, where it is content, stop strings; true where one of those ends the answer.
    fn release(&mut self, text: &str) -> bool {
        let parts = self.parser.push(text);
        self.show(parts)
    }

    fn show(&mut self, parts: Vec<Event>) -> bool {
        for part in parts {
            let released = match &part {
                Event::Text { voice: Voice::Content, text } => Some(self.stop.push(text)),
                // What waited for the rest of a stop string will not get it.
                Event::Call { .. } => Some(self.stop.flush()),
                _ => None,
            };
            if released.is_some_and(|released| self.content(released)) {
                return true;
            }
            if !matches!(part, Event::Text { voice: Voice::Content, .. }) {
                self.events.push(part);
            }
        }
        false
    }

    /// Shows content; true where a stop string was found in it.
    fn content(&mut self, released: Released) -> bool {
        if !released.text.is_empty() {
            self.events.push(Event::Text { voice: Voice::Content, text: released.text });
        }
        self.stopped_by = released.stop.or(self.stopped_by.take());
        self.stopped_by.is_some()
    }

    /// Releases what was held back.
    fn end(&mut self, finish: Finish) {
        self.timings = self.timings();
        self.ended = true;
        let rest = std::mem::take(&mut self.pieces).finish();
        let mut stopped = self.release(&rest);
        let parts = if finish == Finish::Length { self.parser.cut() } else { self.parser.finish() };
        stopped |= self.show(parts);
        if !stopped {
            let released = self.stop.flush();
            stopped = self.content(released);
        }
        let finish = match finish {
            _ if stopped => Finish::Stop,
            Finish::Stop if self.parser.calls() > 0 => Finish::ToolCalls,
            other => other,
        };
        self.events.push(Event::End { finish, stop: self.stopped_by.take(), timings: self.timings });
    }
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
