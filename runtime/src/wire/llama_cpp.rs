//! llama.cpp's own completions, which editors ask for: of a text, and of the hole between two texts.

#[cfg(all(test, feature = "embedded-stories"))]
mod tests;

use serde::Deserialize;
use serde_json::{Number, Value, json};

use super::merged;
use super::openai::{PromptField, Rules, SpeedReport, Stop, TextRequest};
use crate::chat::control;
use crate::error::{Code, Error, Result};
use crate::generate::{self, Event, Finish, Request};
use crate::language::Language;

/// What llama.cpp puts between the texts of other files.
const SNIPPET: &str = "\n\n--- snippet ---\n\n";
/// Room for the answer beside texts of other files, where a request sets no bound.
const ROOM: usize = 256;

/// What is honoured of a request.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct LlamaRequest {
    prompt: Option<PromptField>,
    input_prefix: Option<String>,
    input_suffix: Option<String>,
    input_extra: Option<Vec<Extra>>,
    n_predict: Option<i64>,
    stream: Option<bool>,
    temperature: Option<f64>,
    top_k: Option<i64>,
    top_p: Option<f64>,
    min_p: Option<f64>,
    repeat_penalty: Option<f64>,
    presence_penalty: Option<f64>,
    frequency_penalty: Option<f64>,
    seed: Option<Number>,
    stop: Option<Stop>,
    ignore_eos: Option<bool>,
    return_tokens: Option<bool>,
    return_progress: Option<bool>,
    #[serde(skip)]
    fills: bool,
    #[serde(skip)]
    ignored: Vec<String>,
}

/// Text of another file.
#[derive(Deserialize)]
struct Extra {
    filename: Option<String>,
    text: String,
}

fn refuse(message: &str) -> Error {
    Error::new(Code::BadRequest, message).with_detail("param", "prompt")
}

/// The prompt of a hole: texts of other files as far as there is room for them, then the hole between its texts.
fn fill(language: &Language, request: &LlamaRequest) -> Result<Vec<u32>> {
    let tokenizer = language.tokenizer();
    let encode = |text: &str| {
        language.check_length(text.len())?;
        tokenizer.encode(text, false)
    };
    let before = encode(request.input_prefix.as_deref().unwrap_or_default())?;
    let behind = encode(request.input_suffix.as_deref().unwrap_or_default())?;
    let begun = match &request.prompt {
        Some(PromptField::Text(text)) => encode(text)?,
        _ => vec![],
    };
    let mut hole = language.around_hole(&before, &behind).unwrap_or(before);
    hole.extend(begun);
    let mut extra = vec![];
    for Extra { filename, text } in request.input_extra.iter().flatten() {
        let name = filename.as_ref().map(|name| format!("{name}\n")).unwrap_or_default();
        let text = format!("{SNIPPET}{name}{text}");
        // One that has no room even alone says nothing here.
        if language.check_length(text.len()).is_ok() {
            extra.extend(tokenizer.encode(&text, false)?);
        }
    }
    let start = language.raw_prompt("")?;
    let wanted = request.n_predict.and_then(|most| usize::try_from(most).ok()).unwrap_or(ROOM);
    let taken = start.len().saturating_add(hole.len()).saturating_add(wanted);
    let room = (language.context() as usize).saturating_sub(taken);
    // The last ones are nearest.
    let extra = extra.split_off(extra.len().saturating_sub(room));
    Ok([start, extra, hole].concat())
}

impl LlamaRequest {
    /// Parses a request: to fill the hole between two texts (`fills`), or to go on with one.
    ///
    /// # Errors
    /// `bad_request`.
    pub fn parse(body: &[u8], fills: bool) -> Result<LlamaRequest> {
        let (request, ignored) = crate::json::read::<LlamaRequest>(body)?;
        match (&request.prompt, fills) {
            (None | Some(PromptField::Text(_)), true) => {}
            (_, true) => return Err(refuse("prompt: expected a string, the text before the gap")),
            (Some(PromptField::Text(_) | PromptField::Ids(_)), false) => {}
            (Some(_), false) => return Err(refuse("prompt: expected one prompt, as a string or as ids")),
            (None, false) => return Err(refuse("prompt: expected a string or ids, found none")),
        }
        Ok(LlamaRequest { fills, ignored, ..request })
    }

    /// Whether the answer is to come by parts.
    pub fn is_stream(&self) -> bool {
        self.stream == Some(true)
    }

    /// Names of fields that mean nothing here, or not to this model.
    pub fn ignored(&self, language: &Language) -> Vec<String> {
        let mut ignored = self.ignored.clone();
        let has_suffix = self.input_suffix.as_ref().is_some_and(|suffix| !suffix.is_empty());
        if self.fills && has_suffix && !language.has_hole() {
            // The text before the hole is continued; what is behind it cannot be shown to this model.
            ignored.push("input_suffix".to_owned());
        }
        ignored
    }

    /// What the engine is to do, and the answer as it will be told. `model`: its name.
    ///
    /// # Errors
    /// As [`TextRequest::checked`] and [`TextRequest::to_requests`].
    pub fn to_requests(
        &self,
        language: &Language,
        rules: &Rules,
        model: String,
    ) -> Result<(Vec<Request>, LlamaAnswer)> {
        let prompt = match &self.prompt {
            Some(prompt) if !self.fills => prompt.clone(),
            _ => PromptField::Ids(fill(language, self)?),
        };
        let mut requests = self.to_text(prompt).checked(rules, vec![])?.to_requests(language)?.requests;
        for asked in &mut requests {
            // What fills a hole ends with a token of its own.
            asked.stop_ids.extend(language.tokenizer().token_id(control::EOT));
            if self.n_predict == Some(0) {
                // The prompt is read, so that it is known when it is asked about.
                asked.max_tokens = Some(0);
            }
        }
        let first = requests.first().map_or(&[][..], |asked| &asked.prompt);
        let answer = LlamaAnswer {
            model,
            prompt: language.tokenizer().decode(first),
            returns_tokens: self.return_tokens == Some(true),
            tells_progress: self.return_progress == Some(true),
            ..LlamaAnswer::default()
        };
        Ok((requests, answer))
    }

    /// The same in the words of a text completion.
    fn to_text(&self, prompt: PromptField) -> TextRequest {
        TextRequest {
            prompt,
            // llama.cpp's −1: as many as there is room for.
            max_tokens: Some(self.n_predict.filter(|&most| most >= 0).unwrap_or(i64::from(u32::MAX))),
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p.map(|share| if share > 0.0 { share } else { f64::MIN_POSITIVE }),
            min_p: self.min_p,
            repetition_penalty: self.repeat_penalty,
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            seed: self.seed.clone().filter(|seed| seed.as_i64() != Some(-1)),
            stop: self.stop.clone(),
            ignore_eos: self.ignore_eos,
            ..TextRequest::default()
        }
    }
}

/// An answer in llama.cpp's shape. Every [`Event`] goes through [`LlamaAnswer::part`] where it is streamed, else through
/// [`LlamaAnswer::take`].
#[derive(Default)]
pub struct LlamaAnswer {
    model: String,
    prompt: String,
    returns_tokens: bool,
    tells_progress: bool,
    content: String,
    tokens: Vec<u32>,
    has_new_line: bool,
    ended_by_token: bool,
    stopping_word: String,
    finish: Option<Finish>,
    counts: generate::Timings,
}

impl LlamaAnswer {
    /// Takes an event.
    pub fn take(&mut self, event: &Event) {
        match event {
            Event::Prompt { total, cached, .. } => {
                (self.counts.prompt_tokens, self.counts.cached_tokens) = (*total, *cached);
            }
            Event::Token { id, .. } => {
                self.counts.completion_tokens = self.counts.completion_tokens.saturating_add(1);
                if self.returns_tokens {
                    self.tokens.push(*id);
                }
            }
            Event::EndToken { .. } => self.ended_by_token = true,
            Event::Text { text, .. } => {
                self.content.push_str(text);
                self.has_new_line |= text.contains('\n');
            }
            Event::End { finish, timings, stop } => {
                (self.finish, self.counts) = (Some(*finish), *timings);
                self.stopping_word = stop.clone().unwrap_or_default();
            }
            _ => {}
        }
    }

    /// The text since the last part.
    fn rest(&mut self) -> Value {
        json!({
            "index": 0, "content": std::mem::take(&mut self.content), "tokens": std::mem::take(&mut self.tokens),
            "stop": false, "id_slot": 0, "tokens_predicted": self.counts.completion_tokens,
            "tokens_evaluated": self.counts.prompt_tokens,
        })
    }

    /// The last part: the whole, where nothing was told before it.
    pub fn last(&mut self) -> Value {
        let why = match self.finish {
            Some(Finish::Length) => "limit",
            Some(Finish::Stop) if self.ended_by_token => "eos",
            Some(Finish::Stop) => "word",
            _ => "none",
        };
        let told = json!({
            "stop": true, "model": self.model, "prompt": self.prompt, "has_new_line": self.has_new_line,
            "truncated": false, "stop_type": why, "stopping_word": self.stopping_word, "tokens_cached": self.counts.cached_tokens,
            "timings": SpeedReport::from(&self.counts),
        });
        merged(self.rest(), told)
    }

    /// Takes an event; the part of a stream that it is.
    pub fn part(&mut self, event: &Event) -> Option<Value> {
        self.take(event);
        match event {
            Event::Prompt { done, total, cached, elapsed_ms } if self.tells_progress => {
                let mut part = self.rest();
                let progress =
                    json!({ "total": total, "cache": cached, "processed": done, "time_ms": elapsed_ms.round() });
                part.as_object_mut()?.insert("prompt_progress".to_owned(), progress);
                Some(part)
            }
            Event::Text { .. } => Some(self.rest()),
            Event::End { .. } => Some(self.last()),
            _ => None,
        }
    }
}
