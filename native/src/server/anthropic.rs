//! Anthropic's messages, as DeepSeek serves them: the same conversation in other words. Both directions are translations; the
//! answer itself is that of a chat completion.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use lyn::chat::openai::ChatRequest;
use lyn::error::{Code, Error, Result, escape_whole, quote};
use lyn::generate::{Event, Finish, Voice};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::chat::{self, Started};
use super::refusal::{Refusal, ok};
use super::sse::{self, Pieces};
use super::worker::Cut;
use super::{Shared, Who, parsed};

/// A refusal in Anthropic's envelope.
pub(crate) struct Wrong(Refusal);

impl From<Refusal> for Wrong {
    fn from(refusal: Refusal) -> Wrong {
        Wrong(refusal)
    }
}

impl IntoResponse for Wrong {
    fn into_response(self) -> Response {
        self.0.with_body(&envelope(&self.0))
    }
}

fn envelope(refusal: &Refusal) -> Value {
    let kind = match refusal.status().as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    };
    json!({ "type": "error", "error": { "type": kind, "message": refusal.message() } })
}

/// What is honoured of a request; the rest is ignored, as DeepSeek does.
#[derive(Deserialize)]
struct MessagesRequest {
    model: String,
    messages: Vec<Turn>,
    system: Option<Value>,
    /// Absent only where tokens are counted.
    max_tokens: Option<i64>,
    stop_sequences: Option<Value>,
    stream: Option<bool>,
    temperature: Option<Value>,
    top_p: Option<Value>,
    tools: Option<Vec<ToolOffer>>,
    tool_choice: Option<Choice>,
    thinking: Option<Value>,
}

#[derive(Deserialize)]
struct Turn {
    role: String,
    content: Value,
}

#[derive(Deserialize)]
struct ToolOffer {
    name: String,
    description: Option<Value>,
    input_schema: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    r#type: String,
    name: Option<String>,
}

fn refuse(message: impl Into<String>) -> Error {
    Error::new(Code::BadRequest, message)
}

/// The same request as a chat completion's.
fn translated(server: &Shared, bytes: &[u8], counts: bool) -> Result<ChatRequest> {
    let request: MessagesRequest =
        serde_json::from_slice(bytes).map_err(|error| refuse(escape_whole(&error.to_string())))?;
    if request.max_tokens.is_none() && !counts {
        return Err(refuse("max_tokens: field required"));
    }
    let mut messages = vec![];
    if let Some(system) = &request.system {
        messages.push(json!({ "role": "system", "content": text_of("system", system)? }));
    }
    for (index, turn) in request.messages.iter().enumerate() {
        turn_messages(&format!("messages[{index}]"), turn, &mut messages)?;
    }
    let tools = request.tools.map(|tools| {
        let function = |tool: ToolOffer| {
            let function =
                json!({ "name": tool.name, "description": tool.description, "parameters": tool.input_schema });
            json!({ "type": "function", "function": function })
        };
        tools.into_iter().map(function).collect::<Vec<Value>>()
    });
    let choice = request.tool_choice.map(|choice| match (choice.r#type.as_str(), choice.name) {
        ("any", _) => json!("required"),
        ("tool", Some(name)) => json!({ "type": "function", "function": { "name": name } }),
        (word, _) => json!(word),
    });
    let body = json!({
        "model": request.model, "messages": messages, "max_tokens": request.max_tokens,
        "stop": request.stop_sequences, "stream": request.stream, "temperature": request.temperature,
        "top_p": request.top_p, "tools": tools, "tool_choice": choice, "thinking": request.thinking,
    });
    // Names of other makers' models mean the one that is here.
    ChatRequest::parse_by(&server.rules(true, true), body.to_string())
}

/// One turn as the messages that it stands for: results of tools come before what the user says.
fn turn_messages(place: &str, turn: &Turn, messages: &mut Vec<Value>) -> Result<()> {
    let blocks = match &turn.content {
        Value::String(_) => {
            messages.push(json!({ "role": turn.role, "content": turn.content }));
            return Ok(());
        }
        Value::Array(blocks) => blocks,
        _ => return Err(refuse(format!("{place}.content: expected a string or an array of blocks"))),
    };
    let (mut text, mut thought, mut calls) = (String::new(), None::<String>, vec![]);
    for (index, block) in blocks.iter().enumerate() {
        let place = format!("{place}.content[{index}]");
        let field = |name: &str| {
            let missing = || refuse(format!("{place}.{name}: expected a string"));
            block.get(name).and_then(Value::as_str).ok_or_else(missing)
        };
        match (field("type")?, turn.role.as_str()) {
            ("text", _) => text += field("text")?,
            ("thinking", "assistant") => *thought.get_or_insert_default() += field("thinking")?,
            ("tool_use", "assistant") => {
                let arguments = block.get("input").unwrap_or(&Value::Null).to_string();
                let function = json!({ "name": field("name")?, "arguments": arguments });
                calls.push(json!({ "id": field("id")?, "type": "function", "function": function }));
            }
            ("tool_result", "user") => {
                let content = block.get("content").map_or(Ok(String::new()), |content| text_of(&place, content))?;
                messages.push(json!({ "role": "tool", "tool_call_id": field("tool_use_id")?, "content": content }));
            }
            (kind, role) => {
                let message = format!("{place}: a block {} of role {} is not supported", quote(kind), quote(role));
                return Err(refuse(message));
            }
        }
    }
    let only_results = turn.role == "user" && text.is_empty() && !blocks.is_empty();
    if !only_results {
        let calls = (!calls.is_empty()).then_some(calls);
        let message = json!({ "role": turn.role, "content": text, "reasoning_content": thought, "tool_calls": calls });
        messages.push(message);
    }
    Ok(())
}

/// A string, or the texts of an array of blocks.
fn text_of(place: &str, content: &Value) -> Result<String> {
    let wrong = || refuse(format!("{place}: expected a string or an array of text blocks"));
    match content {
        Value::String(text) => Ok(text.clone()),
        Value::Array(blocks) => {
            blocks.iter().map(|block| block.get("text").and_then(Value::as_str).ok_or_else(wrong)).collect()
        }
        _ => Err(wrong()),
    }
}

/// `POST /v1/messages`
pub(crate) async fn messages(
    State(server): State<Shared>,
    Extension(visitor): Who,
    body: Body,
) -> Result<Response, Wrong> {
    server.check_open()?;
    let rules = Shared::clone(&server);
    let request = parsed(&server, body, move |bytes| translated(&rules, bytes, false)).await?;
    let model = request.model.clone().unwrap_or_default();
    let streams = request.is_stream();
    let Started { mut answer, prompt_tokens, .. } = chat::start(&server, visitor, request).await?;
    let mut message = Message::new(model, prompt_tokens);
    if streams {
        return Ok(sse::stream(answer, message));
    }
    while let Some((_, event)) = answer.next().await.map_err(Refusal::from)? {
        message.take(&event);
    }
    Ok(ok(&message.whole()))
}

/// `POST /v1/messages/count_tokens`
pub(crate) async fn count_tokens(State(server): State<Shared>, body: Body) -> Result<Response, Wrong> {
    server.loaded()?;
    let rules = Shared::clone(&server);
    let request = parsed(&server, body, move |bytes| translated(&rules, bytes, true)).await?;
    let counted = server.with_language(move |language| Ok(request.to_request(language)?.request.prompt.len()));
    let counted = counted.await?;
    Ok(ok(&json!({ "input_tokens": counted })))
}

/// A part of an answer.
enum Block {
    Thinking(String),
    Text(String),
    Call { id: String, name: String, arguments: String },
}

/// An answer in Anthropic's words.
struct Message {
    id: String,
    model: String,
    prompt_tokens: u32,
    cached_tokens: u32,
    output_tokens: u32,
    blocks: Vec<Block>,
    finish: Option<Finish>,
}

impl Message {
    fn new(model: String, prompt_tokens: u32) -> Message {
        let id = format!("msg_{}", uuid::Uuid::new_v4().simple());
        Message { id, model, prompt_tokens, cached_tokens: 0, output_tokens: 0, blocks: vec![], finish: None }
    }

    /// Takes an event, and says it as events of a stream.
    fn take(&mut self, event: &Event) -> String {
        let mut said = String::new();
        match event {
            Event::Prompt { cached, .. } => self.cached_tokens = *cached,
            Event::Token { .. } => self.output_tokens += 1,
            Event::Text { voice, text } => {
                let fits = matches!(
                    (self.blocks.last(), voice),
                    (Some(Block::Thinking(_)), Voice::Reasoning) | (Some(Block::Text(_)), Voice::Content)
                );
                if !fits {
                    let block = match voice {
                        Voice::Reasoning => Block::Thinking(String::new()),
                        Voice::Content => Block::Text(String::new()),
                    };
                    self.open(block, &mut said);
                }
                let delta = match self.blocks.last_mut() {
                    Some(Block::Thinking(all)) => {
                        all.push_str(text);
                        json!({ "type": "thinking_delta", "thinking": text })
                    }
                    Some(Block::Text(all)) => {
                        all.push_str(text);
                        json!({ "type": "text_delta", "text": text })
                    }
                    _ => return said,
                };
                self.delta(&delta, &mut said);
            }
            Event::Call { name, .. } => {
                let id = format!("toolu_{}", uuid::Uuid::new_v4().simple());
                self.open(Block::Call { id, name: name.clone(), arguments: String::new() }, &mut said);
            }
            Event::Arguments { text, .. } => {
                if let Some(Block::Call { arguments, .. }) = self.blocks.last_mut() {
                    arguments.push_str(text);
                }
                self.delta(&json!({ "type": "input_json_delta", "partial_json": text }), &mut said);
            }
            Event::End { finish, timings, .. } => {
                self.output_tokens = timings.completion_tokens;
                self.close(&mut said);
                self.finish(*finish, &mut said);
            }
            _ => {}
        }
        said
    }

    fn open(&mut self, block: Block, said: &mut String) {
        self.close(said);
        let start = match &block {
            Block::Thinking(_) => json!({ "type": "thinking", "thinking": "", "signature": "" }),
            Block::Text(_) => json!({ "type": "text", "text": "" }),
            Block::Call { id, name, .. } => json!({ "type": "tool_use", "id": id, "name": name, "input": {} }),
        };
        let index = self.blocks.len();
        said.push_str(&named("content_block_start", json!({ "index": index, "content_block": start })));
        self.blocks.push(block);
    }

    fn close(&self, said: &mut String) {
        if let Some(index) = self.blocks.len().checked_sub(1) {
            said.push_str(&named("content_block_stop", json!({ "index": index })));
        }
    }

    fn delta(&self, delta: &Value, said: &mut String) {
        let index = self.blocks.len().saturating_sub(1);
        said.push_str(&named("content_block_delta", json!({ "index": index, "delta": delta })));
    }

    fn finish(&mut self, finish: Finish, said: &mut String) {
        self.finish = Some(finish);
        let delta = json!({ "stop_reason": self.stop_reason(), "stop_sequence": null });
        let usage = json!({ "output_tokens": self.output_tokens });
        said.push_str(&named("message_delta", json!({ "delta": delta, "usage": usage })));
        said.push_str(&named("message_stop", json!({})));
    }

    fn stop_reason(&self) -> Option<&'static str> {
        self.finish.map(|finish| match finish {
            Finish::ToolCalls => "tool_use",
            Finish::Stop => "end_turn",
            Finish::Filtered => "refusal",
            Finish::Length | Finish::Aborted => "max_tokens",
        })
    }

    fn whole(&self) -> Value {
        let content: Vec<Value> = self
            .blocks
            .iter()
            .map(|block| match block {
                Block::Thinking(text) => json!({ "type": "thinking", "thinking": text, "signature": "" }),
                Block::Text(text) => json!({ "type": "text", "text": text }),
                Block::Call { id, name, arguments } => {
                    let input = serde_json::from_str(arguments).unwrap_or_else(|_| Value::Object(Map::new()));
                    json!({ "type": "tool_use", "id": id, "name": name, "input": input })
                }
            })
            .collect();
        json!({
            "id": self.id, "type": "message", "role": "assistant", "model": self.model, "content": content,
            "stop_reason": self.stop_reason(), "stop_sequence": null,
            "usage": {
                "input_tokens": self.prompt_tokens.saturating_sub(self.cached_tokens),
                "cache_read_input_tokens": self.cached_tokens, "cache_creation_input_tokens": 0,
                "output_tokens": self.output_tokens,
            },
        })
    }
}

/// A named event; its type is also in its data.
fn named(name: &str, fields: Value) -> String {
    let mut data = json!({ "type": name });
    if let (Value::Object(data), Value::Object(fields)) = (&mut data, fields) {
        data.extend(fields);
    }
    format!("event: {name}\ndata: {data}\n\n")
}

impl Pieces for Message {
    const KIND: &'static str = sse::EVENT_STREAM;
    const KEEP_ALIVE: &'static str = "event: ping\ndata: {\"type\":\"ping\"}\n\n";

    fn begin(&mut self) -> String {
        named("message_start", json!({ "message": self.whole() }))
    }

    fn event(&mut self, _choice: u32, event: &Event) -> String {
        self.take(event)
    }

    fn end(&mut self, cut: Option<Cut>) -> String {
        let mut said = String::new();
        match cut {
            None => {}
            Some(_) if !self.blocks.is_empty() => {
                self.close(&mut said);
                self.finish(Finish::Aborted, &mut said);
            }
            Some(cut) => said = format!("event: error\ndata: {}\n\n", envelope(&cut.into())),
        }
        said
    }
}
