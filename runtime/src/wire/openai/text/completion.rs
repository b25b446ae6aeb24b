//! The answer to a text completion as JSON: by chunks while it is made, or whole.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::prompt::TextAsked;
use crate::error::Error;
use crate::generate::{self, Event, Finish, Known, Logprobs, SpelledToken};
use crate::text::{Pieces, Tokenizer};
use crate::wire::openai::beside::Beside;
use crate::wire::openai::chat::error_event;
use crate::wire::openai::chunked::{Chunked, Head};
use crate::wire::openai::logprobs::finite;
use crate::wire::openai::usage::{Usage, add, together};

/// The answers to one request, in the order of [`TextAsked::requests`].
///
/// Every [`Event`] of an answer goes through [`Chunked::chunk`], whether it is streamed or not.
pub struct TextCompletion {
    head: Head,
    usage_apart: bool,
    /// What was told is not told again.
    by_chunks: bool,
    /// There where log probabilities are reported.
    listing: Option<Listing>,
    beside: Option<Beside>,
    answers: usize,
    choices: Vec<Choice>,
}

/// How log probabilities are reported.
struct Listing {
    /// Whose ids they are; none: tokens come by their bytes.
    tokenizer: Option<Arc<Tokenizer>>,
    /// Of how many of the most probable tokens.
    count: usize,
}

#[derive(Default)]
struct Choice {
    /// The prompt, where that is echoed.
    echo: String,
    /// The prompt that is told token by token, where its log probabilities are reported too.
    told: Option<Told>,
    text: String,
    /// Characters of the text, with those that have not been released.
    characters: usize,
    listed: Vec<Entry>,
    /// Of tokens whose text has not been released.
    waiting: Vec<Entry>,
    /// Whether a token ended the answer, and no text of it did.
    ended_by_token: bool,
    timings: generate::Timings,
    finish: Option<Finish>,
}

/// A prompt whose tokens are told.
struct Told {
    prompt: Vec<u32>,
    /// Tokens before it that have no text in the echo.
    added_tokens: usize,
    pieces: Pieces,
    /// The text of its first token.
    first: String,
}

struct Entry {
    token: Token,
    /// Whether its text is of the text: that of tokens that begin every text, or end the answer, is not.
    is_text: bool,
    /// Characters before it.
    offset: usize,
}

enum Token {
    /// One of the model here; without log probabilities the first of a prompt: nothing is before it.
    Own { id: u32, logprobs: Option<Logprobs> },
    /// One of an engine elsewhere.
    Spelled(SpelledToken),
}

impl Listing {
    /// Log probabilities, a row for each kind of fact.
    fn to_json(&self, entries: &[Entry]) -> Value {
        let (mut tokens, mut own, mut tops) = (vec![], vec![], vec![]);
        for entry in entries {
            let SpelledToken { bytes, logprob, top } = &*self.spelled(&entry.token);
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
            tokens.push(if entry.is_text { text(bytes) } else { String::new() });
            own.push(logprob.map(finite));
            // Nothing is before the first token of a prompt. Of tokens with one text the more probable one counts.
            let is_first = matches!(entry.token, Token::Own { logprobs: None, .. });
            let top = top.iter().rev().map(|(bytes, logprob)| (text(bytes), json!(finite(*logprob))));
            tops.push((!is_first).then(|| top.collect::<Map<_, _>>()));
        }
        let offsets: Vec<usize> = entries.iter().map(|entry| entry.offset).collect();
        json!({ "tokens": tokens, "token_logprobs": own, "top_logprobs": tops, "text_offset": offsets })
    }

    /// A token by its bytes.
    fn spelled<'t>(&self, token: &'t Token) -> Cow<'t, SpelledToken> {
        let (id, logprobs) = match token {
            Token::Spelled(token) => return Cow::Borrowed(token),
            Token::Own { id, logprobs } => (*id, logprobs.as_ref()),
        };
        let bytes = |id: u32| self.tokenizer.as_ref().map_or(vec![], |tokenizer| tokenizer.piece_bytes(id).to_vec());
        let top = logprobs.iter().flat_map(|at| at.top.iter().take(self.count).copied());
        // The token itself is always among them.
        let all = top.chain(logprobs.map(|at| (id, at.sampled))).map(|(id, logprob)| (bytes(id), logprob)).collect();
        Cow::Owned(SpelledToken { bytes: bytes(id), logprob: logprobs.map(|at| at.sampled), top: all })
    }

    fn bytes<'t>(&'t self, token: &'t Token) -> &'t [u8] {
        match (token, &self.tokenizer) {
            (Token::Spelled(token), _) => &token.bytes,
            (Token::Own { id, .. }, Some(tokenizer)) => tokenizer.piece_bytes(*id),
            (Token::Own { .. }, None) => &[],
        }
    }
}

impl Choice {
    /// An entry for the token after the text so far.
    fn entry(&mut self, listing: &Listing, token: Token, is_text: bool) -> Entry {
        // Each character begins with one byte that continues none.
        let bytes = if is_text { listing.bytes(&token) } else { &[] };
        let begun = bytes.iter().filter(|&&byte| byte & 0xc0 != 0x80).count();
        let offset = self.characters;
        self.characters = self.characters.saturating_add(begun);
        Entry { token, is_text, offset }
    }

    /// Tokens of the prompt from place `first` on: their text, and their entries.
    fn tell_prompt(
        &mut self,
        listing: &Listing,
        first: usize,
        logprobs: impl Iterator<Item = Option<Logprobs>>,
    ) -> (String, Vec<Entry>) {
        let (Some(mut told), Some(tokenizer)) = (self.told.take(), &listing.tokenizer) else {
            return (String::new(), vec![]);
        };
        let (mut text, mut entries) = (String::new(), vec![]);
        for ((place, &id), logprobs) in told.prompt.iter().enumerate().skip(first).zip(logprobs) {
            let is_text = place >= told.added_tokens;
            if is_text {
                text += &told.pieces.push(tokenizer, id);
            }
            entries.push(self.entry(listing, Token::Own { id, logprobs }, is_text));
        }
        if first.saturating_add(entries.len()) == told.prompt.len() {
            text += &std::mem::take(&mut told.pieces).finish();
            self.characters = self.echo.chars().count();
        }
        self.told = Some(told);
        (text, entries)
    }
}

impl TextCompletion {
    /// Answers without text yet. `created`: Unix seconds.
    pub fn new(id: impl Into<String>, created: u64, model: impl Into<String>, asked: &TextAsked) -> TextCompletion {
        let choice =
            |echo: &String| Choice { echo: echo.clone(), characters: echo.chars().count(), ..Choice::default() };
        TextCompletion {
            head: Head { id: id.into(), created, model: model.into(), fingerprint: None },
            usage_apart: false,
            by_chunks: false,
            listing: None,
            beside: None,
            answers: asked.answers.max(1) as usize,
            choices: asked.echoes.iter().map(choice).collect(),
        }
    }

    /// Names what made the answer: `system_fingerprint`.
    #[must_use]
    pub fn with_fingerprint(mut self, fingerprint: impl Into<String>) -> TextCompletion {
        self.head.fingerprint = Some(fingerprint.into());
        self
    }

    /// Sends counts in a chunk of their own, after the last: `stream_options.include_usage`.
    #[must_use]
    pub fn with_usage_apart(self) -> TextCompletion {
        TextCompletion { usage_apart: true, ..self }
    }

    /// Reports the log probabilities that come with tokens, and of so many of the most probable ones. `tokenizer`: whose ids
    /// they are.
    #[must_use]
    pub fn with_logprobs(self, tokenizer: impl Into<Option<Arc<Tokenizer>>>, count: usize) -> TextCompletion {
        TextCompletion { listing: Some(Listing { tokenizer: tokenizer.into(), count }), ..self }
    }

    /// Reports the log probabilities of prompts that are echoed.
    pub(super) fn with_scored_echoes(mut self, asked: &TextAsked) -> TextCompletion {
        let Some(listing) = &self.listing else { return self };
        for (choice, request) in self.choices.iter_mut().zip(&asked.requests) {
            // Without an echo the prompt is none of the text.
            if choice.echo.is_empty() || request.prompt_logprobs.is_none() {
                continue;
            }
            choice.characters = 0;
            choice.told = Some(Told {
                prompt: request.prompt.clone(),
                added_tokens: asked.added_tokens,
                pieces: Pieces::default(),
                first: String::new(),
            });
            let (first, entries) = choice.tell_prompt(listing, 0, std::iter::once(None));
            choice.listed = entries;
            if let Some(told) = &mut choice.told {
                told.first = first;
            }
        }
        self
    }

    /// Tells more than text.
    pub(super) fn with_beside(self, beside: Option<Beside>) -> TextCompletion {
        TextCompletion { beside, ..self }
    }

    /// Tells the answers of an engine elsewhere, with those counts only that it knows.
    #[must_use]
    pub fn of_elsewhere(mut self) -> TextCompletion {
        self.choices.iter_mut().for_each(|choice| choice.timings.known = Known::NOTHING);
        self
    }

    fn tell(&mut self, choice: u32, event: &Event) -> Option<Value> {
        let listing = self.listing.as_ref();
        let state = self.choices.get_mut(choice as usize)?;
        match event {
            Event::Prompt { total, cached, .. } => {
                (state.timings.prompt_tokens, state.timings.cached_tokens) = (*total, *cached);
                None
            }
            Event::PromptLogprobs { first, logprobs } => {
                let listing = listing?;
                state.told.as_ref()?;
                let (text, entries) = state.tell_prompt(listing, *first as usize, logprobs.iter().cloned().map(Some));
                if !self.by_chunks {
                    state.listed.extend(entries);
                    return None;
                }
                let logprobs = listing.to_json(&entries);
                Some(self.part(choice, &text, logprobs, None))
            }
            Event::Token { id, logprobs } | Event::EndToken { id, logprobs } => {
                let is_text = matches!(event, Event::Token { .. });
                let counted = state.timings.completion_tokens.saturating_add(u32::from(is_text));
                (state.timings.completion_tokens, state.ended_by_token) = (counted, !is_text);
                if let (Some(listing), Some(logprobs)) = (listing, logprobs) {
                    let token = Token::Own { id: *id, logprobs: Some(logprobs.clone()) };
                    let entry = state.entry(listing, token, is_text);
                    state.waiting.push(entry);
                }
                None
            }
            Event::Spelled(token) => {
                if let Some(listing) = listing {
                    let entry = state.entry(listing, Token::Spelled(token.clone()), true);
                    state.waiting.push(entry);
                }
                None
            }
            Event::Text { text, .. } => {
                let released = std::mem::take(&mut state.waiting);
                let logprobs = listing.map_or(Value::Null, |listing| listing.to_json(&released));
                if !self.by_chunks {
                    state.text.push_str(text);
                    state.listed.extend(released);
                }
                Some(self.part(choice, text, logprobs, None))
            }
            Event::End { finish, timings, .. } => {
                state.timings = *timings;
                Some(self.end(choice, *finish))
            }
            Event::Call { .. } | Event::Arguments { .. } | Event::CallEnd { .. } | Event::Trace(_) => None,
        }
    }

    fn end(&mut self, choice: u32, finish: Finish) -> Value {
        let mut last = vec![];
        if let Some(state) = self.choices.get_mut(choice as usize) {
            state.finish = Some(finish);
            // Each token is listed, also one without text; but those of a stop text are none of the answer.
            if finish != Finish::Stop || state.ended_by_token {
                last = std::mem::take(&mut state.waiting);
            }
        }
        let listing = self.listing.as_ref().filter(|_| !last.is_empty());
        let logprobs = listing.map_or(Value::Null, |listing| listing.to_json(&last));
        let mut chunk = self.part(choice, "", logprobs, Some(finish));
        if let Some(state) = self.choices.get_mut(choice as usize).filter(|_| !self.by_chunks) {
            state.listed.extend(last);
        }
        if let (Value::Object(chunk), true, false) = (&mut chunk, self.has_ended(), self.usage_apart) {
            chunk.insert("usage".to_owned(), self.usage().to_json());
        }
        chunk
    }

    /// Whether every choice has ended.
    fn has_ended(&self) -> bool {
        self.choices.iter().all(|choice| choice.finish.is_some())
    }

    fn whole(&self, choices: &[Value]) -> Value {
        let mut whole = self.head.of("text_completion");
        whole.insert("choices".to_owned(), json!(choices));
        whole.insert("usage".to_owned(), self.usage().to_json());
        Value::Object(whole)
    }

    fn part(&self, choice: u32, text: &str, logprobs: Value, finish: Option<Finish>) -> Value {
        let mut chunk = self.head.of("text_completion");
        let finish = finish.map(Finish::name);
        let choice = json!({ "text": text, "index": choice, "logprobs": logprobs, "finish_reason": finish });
        chunk.insert("choices".to_owned(), json!([choice]));
        chunk.insert("usage".to_owned(), Value::Null);
        Value::Object(chunk)
    }

    /// Counts of all answers: each prompt counts once.
    pub fn usage(&self) -> Usage {
        let prompts =
            self.choices.chunks(self.answers).map(|group| together(group.iter().map(|choice| &choice.timings)));
        Usage { completion_tokens_details: None, ..Usage::from(&prompts.reduce(add).unwrap_or_default()) }
    }
}

impl Chunked for TextCompletion {
    fn tell_by_chunks(&mut self) {
        self.by_chunks = true;
    }

    fn first_chunk(&self, choice: u32) -> Option<Value> {
        let state = self.choices.get(choice as usize)?;
        let tells_ids = self.beside.as_ref().is_some_and(Beside::tells_ids);
        if state.echo.is_empty() && !tells_ids {
            return None;
        }
        let mut chunk = match (&state.told, &self.listing) {
            (Some(told), Some(listing)) => self.part(choice, &told.first, listing.to_json(&state.listed), None),
            _ => self.part(choice, &state.echo, Value::Null, None),
        };
        if let Some(beside) = &self.beside {
            beside.begin(choice, &mut chunk);
        }
        Some(chunk)
    }

    fn chunk(&mut self, choice: u32, event: &Event) -> Option<Value> {
        let chunk = self.tell(choice, event);
        let Some(mut beside) = self.beside.take() else { return chunk };
        let chunk = beside.hear(choice, event, chunk, || self.part(choice, "", Value::Null, None));
        self.beside = Some(beside);
        chunk
    }

    fn has_begun(&self) -> bool {
        self.choices.iter().any(|choice| choice.timings.completion_tokens > 0)
    }

    fn abort(&mut self, error: &Error) -> Vec<Value> {
        let begun = self.has_begun();
        let open = (0_u32..).zip(&self.choices).filter(|(_, choice)| choice.finish.is_none()).map(|(at, _)| at);
        let open: Vec<u32> = open.collect();
        let ends: Vec<Value> = open.into_iter().map(|choice| self.end(choice, Finish::Aborted)).collect();
        if begun { ends.into_iter().chain(self.usage_chunk()).collect() } else { vec![error_event(error)] }
    }

    fn usage_chunk(&self) -> Option<Value> {
        let chunk = || self.whole(&[]);
        (self.usage_apart && self.has_ended()).then(chunk)
    }

    fn response(&self) -> Value {
        let choice = |(index, choice): (u32, &Choice)| {
            let logprobs = self.listing.as_ref().map_or(Value::Null, |listing| listing.to_json(&choice.listed));
            let (text, finish) = (format!("{}{}", choice.echo, choice.text), choice.finish.map(Finish::name));
            json!({ "text": text, "index": index, "logprobs": logprobs, "finish_reason": finish })
        };
        let mut whole = self.whole(&(0_u32..).zip(&self.choices).map(choice).collect::<Vec<_>>());
        if let Some(beside) = &self.beside {
            beside.whole(&mut whole);
        }
        whole
    }
}
