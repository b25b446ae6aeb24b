//! Ollama's chat and generate, for the editors that speak it: the same conversation, answered in lines of JSON.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use lyn::chat::openai::ChatRequest;
use lyn::error::{Code, Error, Result, escape_whole};
use lyn::generate::{Event, Finish, Timings, Voice};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::chat::{self, Started};
use super::refusal::{Refusal, ok};
use super::sse::{self, Pieces};
use super::worker::Cut;
use super::{Shared, Who, parsed, unix_seconds};

/// A refusal in Ollama's envelope.
pub(crate) struct Wrong(Refusal);

impl From<Refusal> for Wrong {
    fn from(refusal: Refusal) -> Wrong {
        Wrong(refusal)
    }
}

impl IntoResponse for Wrong {
    fn into_response(self) -> Response {
        self.0.with_body(&json!({ "error": self.0.message() }))
    }
}

/// Both routes' fields.
#[derive(Deserialize)]
struct OllamaRequest {
    model: String,
    messages: Option<Vec<Value>>,
    prompt: Option<String>,
    system: Option<String>,
    stream: Option<bool>,
    format: Option<Value>,
    think: Option<bool>,
    tools: Option<Value>,
    options: Option<Sampling>,
}

#[derive(Default, Deserialize)]
struct Sampling {
    temperature: Option<Value>,
    top_p: Option<Value>,
    top_k: Option<Value>,
    min_p: Option<Value>,
    seed: Option<Value>,
    stop: Option<Value>,
    num_predict: Option<i64>,
    repeat_penalty: Option<Value>,
    presence_penalty: Option<Value>,
    frequency_penalty: Option<Value>,
}

/// The same request as a chat completion's.
fn translated(server: &Shared, bytes: &[u8], generates: bool) -> Result<ChatRequest> {
    let refuse = |message: String| Error::new(Code::BadRequest, message);
    let request: OllamaRequest =
        serde_json::from_slice(bytes).map_err(|error| refuse(escape_whole(&error.to_string())))?;
    let messages = if generates {
        let prompt = request.prompt.ok_or_else(|| refuse("prompt: field required".to_owned()))?;
        let system = request.system.map(|system| json!({ "role": "system", "content": system }));
        system.into_iter().chain([json!({ "role": "user", "content": prompt })]).collect()
    } else {
        request.messages.ok_or_else(|| refuse("messages: field required".to_owned()))?
    };
    let options = request.options.unwrap_or_default();
    let format = request.format.map(|format| match format {
        Value::String(word) if word == "json" => json!({ "type": "json_object" }),
        schema => json!({ "type": "json_schema", "json_schema": { "name": "format", "schema": schema } }),
    });
    let thinking = request.think.map(|think| json!({ "type": if think { "enabled" } else { "disabled" } }));
    let body = json!({
        "model": request.model, "messages": messages, "stream": request.stream.unwrap_or(true),
        "response_format": format, "thinking": thinking, "tools": request.tools,
        // Below 1 means as many as there is room for.
        "max_tokens": options.num_predict.filter(|&most| most > 0),
        "temperature": options.temperature, "top_p": options.top_p, "top_k": options.top_k, "min_p": options.min_p,
        "seed": options.seed, "stop": options.stop, "repetition_penalty": options.repeat_penalty,
        "presence_penalty": options.presence_penalty, "frequency_penalty": options.frequency_penalty,
    });
    ChatRequest::parse_by(&server.rules(true, true), body.to_string())
}

/// `POST /api/chat`
pub(crate) async fn chat(server: State<Shared>, who: Who, body: Body) -> Result<Response, Wrong> {
    respond(server, who, body, false).await
}

/// `POST /api/generate`
pub(crate) async fn generate(server: State<Shared>, who: Who, body: Body) -> Result<Response, Wrong> {
    respond(server, who, body, true).await
}

async fn respond(
    State(server): State<Shared>,
    Extension(visitor): Who,
    body: Body,
    generates: bool,
) -> Result<Response, Wrong> {
    server.check_open()?;
    let rules = Shared::clone(&server);
    let request = parsed(&server, body, move |bytes| translated(&rules, bytes, generates)).await?;
    let model = request.model.clone().unwrap_or_default();
    let streams = request.is_stream();
    let Started { mut answer, .. } = chat::start(&server, visitor, request).await?;
    let mut lines = Lines { model, generates, content: String::new(), thought: String::new(), calls: vec![] };
    if streams {
        return Ok(sse::stream(answer, lines));
    }
    let mut end = Map::new();
    while let Some((_, event)) = answer.next().await.map_err(Refusal::from)? {
        match event {
            Event::End { finish, timings, .. } => end = lines.last(finish, &timings, true),
            event => drop(lines.take(&event)),
        }
    }
    Ok(ok(&Value::Object(end)))
}

/// `GET /api/tags`
pub(crate) async fn tags(State(server): State<Shared>) -> Response {
    let model = |name: &str| {
        json!({
            "name": name, "model": name, "modified_at": time(server.started), "size": 0, "digest": "",
            "details": { "format": "safetensors", "family": "deepseek_v32", "families": ["deepseek_v32"] },
        })
    };
    let models: Vec<Value> = server.settings.models.listed().into_iter().map(model).collect();
    ok(&json!({ "models": models }))
}

/// `GET /api/version`
pub(crate) async fn version() -> Response {
    ok(&json!({ "version": env!("CARGO_PKG_VERSION") }))
}

/// An answer as lines.
struct Lines {
    model: String,
    generates: bool,
    content: String,
    thought: String,
    /// Name and arguments of each call.
    calls: Vec<(String, String)>,
}

impl Lines {
    fn line(&self, content: &str, thought: &str, calls: &[(String, String)]) -> Map<String, Value> {
        let thought = (!thought.is_empty()).then_some(thought);
        let call = |(name, arguments): &(String, String)| {
            let arguments: Value = serde_json::from_str(arguments).unwrap_or_else(|_| json!({}));
            json!({ "function": { "name": name, "arguments": arguments } })
        };
        let calls = (!calls.is_empty()).then(|| calls.iter().map(call).collect::<Vec<Value>>());
        let said = match self.generates {
            true => json!({ "response": content, "thinking": thought }),
            false => {
                let message = fields(json!({
                    "role": "assistant", "content": content, "thinking": thought, "tool_calls": calls,
                }));
                json!({ "message": message })
            }
        };
        let mut line = fields(json!({ "model": self.model, "created_at": time(unix_seconds()) }));
        line.extend(fields(said));
        line.insert("done".to_owned(), json!(false));
        line
    }

    /// Takes an event; text and whole calls are lines.
    fn take(&mut self, event: &Event) -> Option<Map<String, Value>> {
        match event {
            Event::Text { voice: Voice::Content, text } => {
                self.content.push_str(text);
                Some(self.line(text, "", &[]))
            }
            Event::Text { voice: Voice::Reasoning, text } => {
                self.thought.push_str(text);
                Some(self.line("", text, &[]))
            }
            Event::Call { name, .. } => {
                self.calls.push((name.clone(), String::new()));
                None
            }
            Event::Arguments { text, .. } => {
                if let Some((_, arguments)) = self.calls.last_mut() {
                    arguments.push_str(text);
                }
                None
            }
            Event::CallEnd { .. } => Some(self.line("", "", self.calls.last().map(std::slice::from_ref)?)),
            _ => None,
        }
    }

    /// The last line; `whole`: with all that was said.
    fn last(&self, finish: Finish, timings: &Timings, whole: bool) -> Map<String, Value> {
        let mut line = match whole {
            true => self.line(&self.content, &self.thought, &self.calls),
            false => self.line("", "", &[]),
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "times of answers are short")]
        let nanoseconds = |ms: f64| (ms.max(0.0) * 1e6) as u64;
        line.extend(fields(json!({
            "done": true,
            "done_reason": if finish == Finish::Length { "length" } else { "stop" },
            "total_duration": nanoseconds(timings.queue_ms + timings.first_token_ms + timings.decode_ms),
            "load_duration": 0,
            "prompt_eval_count": timings.prompt_tokens,
            "prompt_eval_duration": nanoseconds(timings.prompt_ms),
            "eval_count": timings.completion_tokens,
            "eval_duration": nanoseconds(timings.decode_ms),
        })));
        line
    }
}

/// The fields of an object that are not null.
fn fields(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(fields) => fields.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        _ => Map::new(),
    }
}

impl Pieces for Lines {
    const KIND: &'static str = "application/x-ndjson";
    // An empty line is no line.
    const KEEP_ALIVE: &'static str = "\n";

    fn begin(&mut self) -> String {
        String::new()
    }

    fn event(&mut self, _choice: u32, event: &Event) -> String {
        let line = match event {
            Event::End { finish, timings, .. } => Some(self.last(*finish, timings, false)),
            event => self.take(event),
        };
        line.map_or(String::new(), |line| format!("{}\n", Value::Object(line)))
    }

    fn end(&mut self, cut: Option<Cut>) -> String {
        cut.map_or(String::new(), |cut| format!("{}\n", json!({ "error": Refusal::from(cut).message() })))
    }
}

/// Seconds since 1970 as `2026-01-02T03:04:05Z`.
fn time(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Howard Hinnant's civil_from_days, for dates after 1970: years begin in March.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_are_dates() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_764_664_568, "2025-12-02T08:36:08Z"),
        ] {
            assert_eq!(super::time(seconds), expected);
        }
    }
}
