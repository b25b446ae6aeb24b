//! The messages of a request, as OpenAI's clients send them. Unknown fields are ignored, null means absent.

use std::borrow::Cow;
use std::sync::LazyLock;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::json::spaced;
use crate::error::{Code, Error, Result, quote};
use crate::json::text_or_list;

const MAX_MESSAGES: usize = 1024;
const MAX_TOOLS: usize = 512;
/// Some agents name their tools after whole servers.
const MAX_TOOL_NAME: usize = 128;
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

impl Role {
    /// The name in requests and templates.
    #[must_use]
    pub const fn name(self) -> &'static str {
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
    /// Text; absent, it is empty.
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

/// What the arguments of a call are, whoever wrote them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum CallArguments<'a> {
    /// An object; an empty one where there is nothing.
    Object(Cow<'a, Map<String, Value>>),
    /// Text that holds no object, such as one that was cut.
    Text(&'a str),
    /// Another kind of JSON.
    Other(&'a Value),
}

impl FunctionCall {
    /// The arguments: some clients send the object itself, or nothing for a function without parameters.
    pub(crate) fn arguments(&self) -> CallArguments<'_> {
        match &self.arguments {
            None | Some(Value::Null) => CallArguments::Object(Cow::Owned(Map::new())),
            Some(Value::Object(object)) => CallArguments::Object(Cow::Borrowed(object)),
            Some(Value::String(text)) if text.trim().is_empty() => CallArguments::Object(Cow::Owned(Map::new())),
            Some(Value::String(text)) => match crate::json::read(text.as_bytes()) {
                Ok((object, _)) => CallArguments::Object(Cow::Owned(object)),
                Err(_) => CallArguments::Text(text),
            },
            Some(other) => CallArguments::Other(other),
        }
    }

    /// The arguments as text: as they were written, where they were.
    pub(crate) fn arguments_text(&self) -> Cow<'_, str> {
        match (&self.arguments, self.arguments()) {
            (Some(Value::String(text)), CallArguments::Object(_) | CallArguments::Text(_))
                if !text.trim().is_empty() =>
            {
                text.into()
            }
            (_, CallArguments::Object(object)) => spaced(&Value::Object(object.into_owned())).into(),
            (_, CallArguments::Text(text)) => text.into(),
            (_, CallArguments::Other(value)) => spaced(value).into(),
        }
    }
}

/// A refusal that names a message.
pub(crate) fn refuse(index: usize, message: impl std::fmt::Display) -> Error {
    literal(index, format!("messages[{index}]: {message}"))
}

/// A refusal whose text is fixed by the API; the index is in its details.
pub(crate) fn literal(index: usize, message: impl Into<String>) -> Error {
    Error::new(Code::BadRequest, message)
        .with_detail("param", format!("messages[{index}]"))
        .with_detail("message_index", index)
}

impl Message {
    /// A message that is nothing but text.
    pub(crate) fn of(role: Role, text: impl Into<String>) -> Message {
        Message { role, content: Some(Content::Text(text.into())), ..Message::default() }
    }

    /// The whole text, without separators between parts; `None` when absent.
    pub(crate) fn text(&self, index: usize) -> Result<Option<Cow<'_, str>>> {
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

    /// As [`Message::text`]; nothing is an empty text.
    pub(crate) fn text_or_empty(&self, index: usize) -> Result<Cow<'_, str>> {
        Ok(self.text(index)?.unwrap_or_default())
    }

    /// The thought, where there is one that is not empty.
    pub(crate) fn thought(&self) -> Option<&str> {
        self.reasoning_content.as_deref().or(self.reasoning.as_deref()).filter(|text| !text.is_empty())
    }

    /// Whether a thought is told, be it an empty one.
    pub(crate) fn has_thought(&self) -> bool {
        self.reasoning_content.is_some() || self.reasoning.is_some()
    }

    /// The calls; an empty list is none.
    pub(crate) fn calls(&self) -> &[ToolCall] {
        self.tool_calls.as_deref().unwrap_or_default()
    }
}

impl Tool {
    pub(crate) fn field(&self, name: &str) -> Option<&Value> {
        self.function.get(name).filter(|value| !value.is_null())
    }

    /// The function's name, checked by [`check_tools`].
    pub(crate) fn name(&self) -> &str {
        self.field("name").and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether arguments have to fit the function's schema.
    pub(crate) fn is_strict(&self) -> bool {
        self.field("strict").and_then(Value::as_bool) == Some(true)
    }
}

impl Conversation {
    pub(crate) fn tools(&self) -> &[Tool] {
        self.tools.as_deref().unwrap_or_default()
    }

    /// As [`turns`], with the tools checked too.
    pub(crate) fn turns(&self) -> Result<Vec<Turn<'_>>> {
        check_tools(self.tools())?;
        turns(&self.messages)
    }
}

/// The messages with their indices, the results of each assistant turn in the order of its calls: all formats tell results
/// apart by position only. Histories that others wrote are taken as far as it is clear what they mean: see [`in_call_order`].
pub(crate) fn turns(messages: &[Message]) -> Result<Vec<Turn<'_>>> {
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
        turns.push((index, message));
        if message.role != Role::Assistant || message.calls().is_empty() {
            continue;
        }
        let mut results = vec![];
        while let Some(result) = rest.next_if(|(_, next)| next.role == Role::Tool) {
            results.push(result);
        }
        if !results.is_empty() {
            turns.extend(in_call_order(index, message.calls(), results));
        }
    }
    Ok(turns)
}

/// What DeepSeek refuses of a history: results without their call, calls without their results, arguments that are no object,
/// messages without a text.
pub(crate) fn check_strictly(messages: &[Message]) -> Result<()> {
    let mut rest = messages.iter().enumerate().peekable();
    while let Some((index, message)) = rest.next() {
        let may_lack = message.role == Role::Assistant && (!message.calls().is_empty() || message.thought().is_some());
        if message.content.is_none() && !may_lack {
            return Err(refuse(index, "content is missing"));
        }
        if message.role == Role::Tool {
            let text = "Messages with role 'tool' must be a response to a preceding message with 'tool_calls'";
            return Err(literal(index, text));
        }
        if message.role != Role::Assistant || message.calls().is_empty() {
            continue;
        }
        let mut open = std::collections::HashSet::new();
        for (place, call) in message.calls().iter().enumerate() {
            let id = call.id.as_deref().ok_or_else(|| refuse(index, format_args!("tool_calls[{place}] has no id")))?;
            if !open.insert(id) {
                return Err(refuse(index, format_args!("tool_calls: duplicate id {}", quote(id))));
            }
            let is_text = !matches!(&call.function.arguments, Some(Value::String(text)) if text.trim().is_empty());
            if !is_text || !matches!(call.function.arguments(), CallArguments::Object(_)) {
                return Err(refuse(index, "tool_calls: arguments are not a JSON object"));
            }
        }
        let unanswered_end = rest.peek().is_none();
        while let Some((at, result)) = rest.next_if(|(_, next)| next.role == Role::Tool) {
            let id = result.tool_call_id.as_deref().ok_or_else(|| refuse(at, "tool_call_id is missing"))?;
            if !open.remove(id) {
                let what = format_args!("tool_call_id {} matches no pending call of the preceding turn", quote(id));
                return Err(refuse(at, what));
            }
            if result.content.is_none() {
                return Err(refuse(at, "content is missing"));
            }
        }
        if !open.is_empty() && !unanswered_end {
            return Err(literal(index, INSUFFICIENT));
        }
    }
    Ok(())
}

/// Limits and names of tools.
pub(crate) fn check_tools(tools: &[Tool]) -> Result<()> {
    let refuse = |message: String| Err(Error::new(Code::BadRequest, message).with_detail("param", "tools"));
    if tools.len() > MAX_TOOLS {
        return refuse(format!("tools: at most {MAX_TOOLS}, found {}", tools.len()));
    }
    let mut names = std::collections::HashSet::new();
    for (index, tool) in tools.iter().enumerate() {
        let name = tool.name();
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        if name.is_empty() || name.len() > MAX_TOOL_NAME || !plain {
            let rule = format_args!("1 to {MAX_TOOL_NAME} of A-Z, a-z, 0-9, _ and -");
            return refuse(format!("tools[{index}].function.name: expected {rule}, found {}", quote(name)));
        }
        if !names.insert(name) {
            return refuse(format!("tools[{index}].function.name: duplicate name {}", quote(name)));
        }
    }
    Ok(())
}

/// What is said of calls without their results.
pub(crate) const INSUFFICIENT: &str = "An assistant message with 'tool_calls' must be followed by tool messages responding \
    to each 'tool_call_id'. (insufficient tool messages following tool_calls message)";

/// A message with its index in the request.
pub(crate) type Turn<'m> = (usize, &'m Message);

/// Results in the order of their calls. A result belongs to the first open call of its id; one without an id that is asked for,
/// to the first call that no other result is for. A call without a result has an empty one, so that the others keep their
/// places. Results beyond the calls follow.
fn in_call_order<'m>(index: usize, calls: &[ToolCall], results: Vec<Turn<'m>>) -> Vec<Turn<'m>> {
    static NOTHING: LazyLock<Message> = LazyLock::new(|| Message { role: Role::Tool, ..Message::default() });
    let mut places: Vec<Option<Turn<'m>>> = vec![None; calls.len()];
    let mut others = vec![];
    for result in results {
        let of_id = |(call, place): (&ToolCall, &mut Option<Turn<'m>>)| {
            let same = call.id.is_some() && call.id == result.1.tool_call_id;
            (same && place.is_none()).then(|| *place = Some(result))
        };
        if calls.iter().zip(&mut places).find_map(of_id).is_none() {
            others.push(result);
        }
    }
    let mut others = others.into_iter();
    for place in &mut places {
        *place = place.or_else(|| others.next());
    }
    places.into_iter().map(|place| place.unwrap_or((index, &NOTHING))).chain(others).collect()
}

#[cfg(test)]
mod tests;
