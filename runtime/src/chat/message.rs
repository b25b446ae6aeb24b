//! The messages of a request, as OpenAI's clients send them. Unknown fields are ignored, null means absent.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::error::{Code, Error, Result, quote};
use crate::json::text_or_list;

const MAX_MESSAGES: usize = 1024;
const MAX_TOOLS: usize = 128;
const MAX_TEXT_BYTES: usize = 4 << 20;

/// What a prompt is made from: the messages, the tools on offer, the shape asked of the answer.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Conversation {
    /// In the order of the request.
    pub messages: Vec<Message>,
    /// Functions the model may call.
    pub tools: Option<Vec<Tool>>,
    /// Rendered as it is, by the formats that have a place for it (DSML). Give it for `json_schema` only: for
    /// `json_object` the caller's own prompt says what is wanted.
    pub response_format: Option<Value>,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each is its own name")]
pub enum Role {
    System,
    /// Search agents' layout in DSML, a system message elsewhere. A server makes it [`Role::System`] first.
    Developer,
    #[default]
    User,
    Assistant,
    Tool,
}

#[cfg(feature = "chat-template")]
impl Role {
    /// The name in requests and templates.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::Developer => "developer",
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Tool => "tool",
        }
    }
}

/// One message.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// Text; may be absent only beside `tool_calls` or a thought.
    pub content: Option<Content>,
    /// Accepted, never rendered.
    pub name: Option<String>,
    /// The thought of an assistant turn.
    pub reasoning_content: Option<String>,
    /// vLLM's name for the same.
    pub reasoning: Option<String>,
    /// Calls of an assistant turn.
    pub tool_calls: Option<Vec<ToolCall>>,
    /// Which call a tool message answers.
    pub tool_call_id: Option<String>,
    /// On the last assistant message: continue it.
    pub prefix: Option<bool>,
    /// Tools of a developer message (DSML).
    pub tools: Option<Vec<Tool>>,
}

/// `content`: a string, or parts that are joined without a separator.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
#[expect(missing_docs, reason = "each is its own name")]
pub enum Content {
    Text(String),
    Parts(Vec<Part>),
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Content, D::Error> {
        text_or_list(deserializer, "a string or a list of parts", Content::Text, Content::Parts)
    }
}

/// A part of a message; only `text` can be rendered.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Part {
    /// `text`, or what this model does not support.
    pub r#type: String,
    /// The text of a `text` part.
    pub text: Option<String>,
}

/// A call that an assistant turn made.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ToolCall {
    /// Named by the tool message that answers.
    pub id: Option<String>,
    /// What is called.
    pub function: FunctionCall,
}

/// Name and arguments of a call.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct FunctionCall {
    /// The function's name.
    pub name: String,
    /// A string that holds a JSON object; some clients send the object itself.
    pub arguments: Option<Value>,
}

/// The kind of a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "it is its own name")]
pub enum FunctionType {
    Function,
}

/// A function on offer.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Tool {
    /// There is only one.
    pub r#type: Option<FunctionType>,
    /// Name, description, parameters, strict, in the caller's order.
    pub function: Map<String, Value>,
}

/// A refusal that names a message.
pub(super) fn refuse(index: usize, message: impl std::fmt::Display) -> Error {
    literal(index, format!("messages[{index}]: {message}"))
}

/// A refusal whose text is fixed by the API; the index is in its details.
pub(super) fn literal(index: usize, message: impl Into<String>) -> Error {
    Error::new(Code::BadRequest, message)
        .with_detail("param", format!("messages[{index}]"))
        .with_detail("message_index", index)
}

impl Message {
    /// The whole text, without separators between parts; `None` when absent.
    pub(super) fn text(&self, index: usize) -> Result<Option<Cow<'_, str>>> {
        let text: Cow<'_, str> = match &self.content {
            None => return Ok(None),
            Some(Content::Text(text)) => text.into(),
            Some(Content::Parts(parts)) => {
                let mut joined = String::new();
                for part in parts {
                    match (part.r#type.as_str(), &part.text) {
                        ("text", Some(text)) => joined.push_str(text),
                        ("text", None) => return Err(refuse(index, "a text part has no text")),
                        ("image_url", _) => return Err(literal(index, "This model does not support image")),
                        (other, _) => {
                            return Err(refuse(index, format_args!("part type {} is not supported", quote(other))));
                        }
                    }
                }
                joined.into()
            }
        };
        if text.len() > MAX_TEXT_BYTES {
            let found = format_args!("content: at most {MAX_TEXT_BYTES} bytes, found {}", text.len());
            return Err(refuse(index, found));
        }
        Ok(Some(text))
    }

    /// As [`Message::text`], where absence is an error unless the turn holds calls or a thought.
    pub(super) fn required_text(&self, index: usize) -> Result<Cow<'_, str>> {
        let may_lack = self.role == Role::Assistant && (!self.calls().is_empty() || self.thought().is_some());
        match self.text(index)? {
            Some(text) => Ok(text),
            None if may_lack => Ok(Cow::Borrowed("")),
            None => Err(refuse(index, "content is missing")),
        }
    }

    /// The thought, where there is one that is not empty.
    pub(super) fn thought(&self) -> Option<&str> {
        self.reasoning_content.as_deref().or(self.reasoning.as_deref()).filter(|text| !text.is_empty())
    }

    /// Whether a thought is told, be it an empty one.
    pub(super) fn has_thought(&self) -> bool {
        self.reasoning_content.is_some() || self.reasoning.is_some()
    }

    /// The calls; an empty list is none.
    pub(super) fn calls(&self) -> &[ToolCall] {
        self.tool_calls.as_deref().unwrap_or_default()
    }
}

impl Tool {
    pub(super) fn field(&self, name: &str) -> Option<&Value> {
        self.function.get(name).filter(|value| !value.is_null())
    }

    /// The function's name, checked by [`check_tools`].
    pub(super) fn name(&self) -> &str {
        self.field("name").and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether arguments have to fit the function's schema.
    pub(super) fn is_strict(&self) -> bool {
        self.field("strict").and_then(Value::as_bool) == Some(true)
    }
}

impl Conversation {
    /// The tools on offer.
    pub(super) fn tools(&self) -> &[Tool] {
        self.tools.as_deref().unwrap_or_default()
    }

    /// As [`turns`], with the tools checked too.
    pub(super) fn turns(&self) -> Result<Vec<Turn<'_>>> {
        check_tools(self.tools())?;
        turns(&self.messages)
    }
}

/// The messages with their indices, checked, the results of each assistant turn in the order of its calls: both formats
/// tell results apart by position only.
pub(super) fn turns(messages: &[Message]) -> Result<Vec<Turn<'_>>> {
    if messages.is_empty() {
        return Err(Error::new(Code::BadRequest, "Empty input messages").with_detail("param", "messages"));
    }
    if messages.len() > MAX_MESSAGES {
        let message = format!("messages: at most {MAX_MESSAGES}, found {}", messages.len());
        return Err(Error::new(Code::BadRequest, message).with_detail("param", "messages"));
    }
    let mut turns = Vec::with_capacity(messages.len());
    let mut rest = messages.iter().enumerate().peekable();
    while let Some((index, message)) = rest.next() {
        if message.role == Role::Tool {
            let text = "Messages with role 'tool' must be a response to a preceding message with 'tool_calls'";
            return Err(literal(index, text));
        }
        turns.push((index, message));
        if message.role != Role::Assistant || message.calls().is_empty() {
            continue;
        }
        let mut results = vec![];
        while let Some(result) = rest.next_if(|(_, next)| next.role == Role::Tool) {
            results.push(result);
        }
        let unanswered_end = results.is_empty() && rest.peek().is_none();
        if !unanswered_end {
            turns.extend(in_call_order(index, message.calls(), results)?);
        }
    }
    Ok(turns)
}

/// Limits and names of tools.
pub(super) fn check_tools(tools: &[Tool]) -> Result<()> {
    let refuse = |message: String| Err(Error::new(Code::BadRequest, message).with_detail("param", "tools"));
    if tools.len() > MAX_TOOLS {
        return refuse(format!("tools: at most {MAX_TOOLS}, found {}", tools.len()));
    }
    let mut names = std::collections::HashSet::new();
    for (index, tool) in tools.iter().enumerate() {
        let name = tool.name();
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        if name.is_empty() || name.len() > 64 || !plain {
            let rule = "1 to 64 of A-Z, a-z, 0-9, _ and -";
            return refuse(format!("tools[{index}].function.name: expected {rule}, found {}", quote(name)));
        }
        if !names.insert(name) {
            return refuse(format!("tools[{index}].function.name: {} is there twice", quote(name)));
        }
    }
    Ok(())
}

/// What is said of calls without their results.
pub(super) const INSUFFICIENT: &str = "An assistant message with 'tool_calls' must be followed by tool messages responding \
    to each 'tool_call_id'. (insufficient tool messages following tool_calls message)";

/// A message with its index in the request.
pub(super) type Turn<'m> = (usize, &'m Message);

fn in_call_order<'m>(index: usize, calls: &[ToolCall], results: Vec<Turn<'m>>) -> Result<Vec<Turn<'m>>> {
    let mut ids = std::collections::HashMap::new();
    for (place, call) in calls.iter().enumerate() {
        let id = call.id.as_deref().ok_or_else(|| refuse(index, format_args!("tool_calls[{place}] has no id")))?;
        if ids.insert(id, place).is_some() {
            return Err(refuse(index, format_args!("tool_calls: id {} is there twice", quote(id))));
        }
    }
    let mut placed: Vec<(usize, Turn<'m>)> = vec![];
    for (at, result) in results {
        let id = result.tool_call_id.as_deref().ok_or_else(|| refuse(at, "tool_call_id is missing"))?;
        let place = ids.remove(id).ok_or_else(|| {
            refuse(at, format_args!("tool_call_id {} answers no open call of the turn before it", quote(id)))
        })?;
        placed.push((place, (at, result)));
    }
    if !ids.is_empty() {
        return Err(literal(index, INSUFFICIENT));
    }
    placed.sort_by_key(|(place, _)| *place);
    Ok(placed.into_iter().map(|(_, turn)| turn).collect())
}
