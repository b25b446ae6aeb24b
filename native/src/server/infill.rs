//! llama.cpp's own completions, which editors ask for: of a text, and of the hole between two texts.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::response::Response;
use lyn::Language;
use lyn::chat::control;
use lyn::error::{Code, Error};
use lyn::generate::{self, Event, Finish};
use lyn::wire::openai::{self, Compat, PromptField, Stop, TextRequest, Timings};
use serde::Deserialize;
use serde_json::{Number, Value, json};

use super::answer::Answer;
use super::body::parsed;
use super::chat::{SEED, ignored};
use super::cut::Cut;
use super::guard::{Visitor, Who};
use super::refusal::{Refusal, ok};
use super::shared::{Server, Shared};
use super::sse::{self, Pieces};

/// What llama.cpp puts between the texts of other files.
const SNIPPET: &str = "\n\n--- snippet ---\n\n";
/// Room for the answer beside texts of other files, where a request sets no bound.
const ROOM: usize = 256;

#[derive(Default, Deserialize)]
#[serde(default)]
struct LlamaRequest {
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
    ignored: Vec<String>,
}

/// Text of another file.
#[derive(Deserialize)]
struct Extra {
    filename: Option<String>,
    text: String,
}

/// `POST /completion`
pub(crate) async fn completion(
    State(server): State<Shared>,
    Extension(visitor): Who,
    body: Body,
) -> Result<Response, Refusal> {
    let (request, fields) = parsed(&server, body, |bytes| lyn::json::read::<LlamaRequest>(bytes)).await?;
    let prompt = match &request.prompt {
        Some(prompt @ (PromptField::Text(_) | PromptField::Ids(_))) => prompt.clone(),
        Some(_) => return Err(refuse("prompt: expected one prompt, as a string or as ids").into()),
        None => return Err(refuse("prompt: expected a string or ids, found none").into()),
    };
    answer(&server, visitor, LlamaRequest { ignored: fields, ..request }, |_, _| Ok(prompt)).await
}

/// `POST /infill`
pub(crate) async fn infill(
    State(server): State<Shared>,
    Extension(visitor): Who,
    body: Body,
) -> Result<Response, Refusal> {
    let (request, fields) = parsed(&server, body, |bytes| lyn::json::read::<LlamaRequest>(bytes)).await?;
    if !matches!(request.prompt, None | Some(PromptField::Text(_))) {
        return Err(refuse("prompt: expected a string, the text before the gap").into());
    }
    let mut request = LlamaRequest { ignored: fields, ..request };
    let language = server.loaded()?.language()?;
    if !language.has_hole() && request.input_suffix.as_ref().is_some_and(|suffix| !suffix.is_empty()) {
        // The text before the hole is continued; what is behind it cannot be shown to this model.
        request.ignored.push("input_suffix".to_owned());
    }
    answer(&server, visitor, request, |language, request| fill(language, request).map(PromptField::Ids)).await
}

fn refuse(message: &str) -> Error {
    Error::new(Code::BadRequest, message).with_detail("param", "prompt")
}

/// The prompt of a hole: texts of other files as far as there is room for them, then the hole between its texts.
fn fill(language: &Language, request: &LlamaRequest) -> lyn::Result<Vec<u32>> {
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

async fn answer(
    server: &Server,
    visitor: Visitor,
    request: LlamaRequest,
    prompt: impl FnOnce(&Language, &LlamaRequest) -> lyn::Result<PromptField> + Send + 'static,
) -> Result<Response, Refusal> {
    let rules = openai::Rules { compat: Compat::Local, ..server.rules(false, true) };
    let scope = server.guard.scope(visitor.key);
    let (headers, streams) = (ignored(&request.ignored), request.stream == Some(true));
    let model = server.settings.models.loaded.clone();
    let (answer, (mut told, seed)) = Answer::ask(server, visitor.key, 1, move |language| {
        let text = request.to_text(prompt(language, &request)?).checked(&rules, vec![])?;
        let mut requests = text.to_requests(language)?.requests;
        for asked in &mut requests {
            asked.scope.clone_from(&scope);
            // What fills a hole ends with a token of its own.
            asked.stop_ids.extend(language.tokenizer().token_id(control::EOT));
            if request.n_predict == Some(0) {
                // The prompt is read, so that it is known when it is asked about.
                asked.max_tokens = Some(0);
            }
        }
        let first = requests.first().map_or(&[][..], |asked| &asked.prompt);
        let told = Told {
            model,
            prompt: language.tokenizer().decode(first),
            returns_tokens: request.return_tokens == Some(true),
            tells_progress: request.return_progress == Some(true),
            ..Told::default()
        };
        let seed = requests.first().map_or(0, |asked| asked.sampling.seed);
        Ok((requests, (told, seed)))
    })
    .await?;
    let mut response = if streams { sse::stream(answer, told) } else { ok(&told.whole(answer).await?) };
    response.headers_mut().extend(headers);
    response.headers_mut().insert(SEED, HeaderValue::from(seed));
    Ok(response)
}

/// An answer in llama.cpp's shape.
#[derive(Default)]
struct Told {
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

impl Told {
    async fn whole(&mut self, mut answer: Answer) -> Result<Value, Refusal> {
        while let Some((_, event)) = answer.next().await? {
            self.hear(&event);
        }
        Ok(self.last())
    }

    fn hear(&mut self, event: &Event) {
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
    fn part(&mut self) -> Value {
        json!({
            "index": 0, "content": std::mem::take(&mut self.content), "tokens": std::mem::take(&mut self.tokens),
            "stop": false, "id_slot": 0, "tokens_predicted": self.counts.completion_tokens,
            "tokens_evaluated": self.counts.prompt_tokens,
        })
    }

    fn last(&mut self) -> Value {
        let why = match self.finish {
            Some(Finish::Length) => "limit",
            Some(Finish::Stop) if self.ended_by_token => "eos",
            Some(Finish::Stop) => "word",
            _ => "none",
        };
        let mut last = self.part();
        let rest = json!({
            "stop": true, "model": self.model, "prompt": self.prompt, "has_new_line": self.has_new_line,
            "truncated": false, "stop_type": why, "stopping_word": self.stopping_word, "tokens_cached": self.counts.cached_tokens,
            "timings": Timings::from(&self.counts),
        });
        if let (Value::Object(last), Value::Object(rest)) = (&mut last, rest) {
            last.extend(rest);
        }
        last
    }
}

impl Pieces for Told {
    const KIND: &'static str = sse::EVENT_STREAM;
    const KEEP_ALIVE: &'static str = sse::COMMENT;

    fn begin(&mut self) -> String {
        String::new()
    }

    fn event(&mut self, _: u32, event: &Event) -> String {
        self.hear(event);
        match event {
            Event::Prompt { done, total, cached, elapsed_ms } if self.tells_progress => {
                let mut part = self.part();
                if let Some(fields) = part.as_object_mut() {
                    let progress =
                        json!({ "total": total, "cache": cached, "processed": done, "time_ms": elapsed_ms.round() });
                    fields.insert("prompt_progress".to_owned(), progress);
                }
                sse::data(&part)
            }
            Event::Text { .. } => sse::data(&self.part()),
            Event::End { .. } => sse::data(&self.last()),
            _ => String::new(),
        }
    }

    fn end(&mut self, cut: Option<Cut>) -> String {
        cut.map_or(String::new(), |cut| sse::data(&Refusal::from(cut).to_json()))
    }
}
