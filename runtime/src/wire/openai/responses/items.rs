//! The items of an input, as messages: what the model said in one turn is one of them.

use serde_json::{Map, Value};

use crate::chat::{Content, FunctionCall, Message, Role, ToolCall};
use crate::error::{Result, quote};
use crate::wire::openai::rules::refuse;

/// What a thought begins with that a client sends back as `encrypted_content`. It is not encrypted: it is the client's own.
pub(super) const ENCRYPTED: &str = "lyn1:";

pub(super) struct Item<'r> {
    pub(super) index: usize,
    pub(super) fields: &'r Map<String, Value>,
}

impl Item<'_> {
    fn refuse(&self, what: impl std::fmt::Display) -> crate::error::Error {
        refuse("input", format!("input[{}]{what}", self.index))
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).and_then(Value::as_str)
    }

    fn required(&self, name: &str) -> Result<String> {
        self.field(name).map(str::to_owned).ok_or_else(|| self.refuse(format_args!(".{name}: expected a string")))
    }

    /// A string, or the texts of an array of parts.
    fn text(&self, name: &str) -> Result<String> {
        match self.fields.get(name) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(Value::Array(parts)) => {
                let part = |(at, part): (usize, &Value)| -> Result<String> {
                    let kind = part.get("type").and_then(Value::as_str).unwrap_or_default();
                    let text = if kind == "refusal" { part.get("refusal") } else { part.get("text") };
                    match (kind, text.and_then(Value::as_str)) {
                        (
                            "input_text" | "output_text" | "text" | "summary_text" | "reasoning_text" | "refusal",
                            Some(text),
                        ) => Ok(text.to_owned()),
                        (kind, None) if kind.ends_with("text") => {
                            Err(self.refuse(format_args!(".{name}[{at}].text: expected a string")))
                        }
                        (kind, _) => Err(self.refuse(format_args!(
                            ".{name}[{at}].type: {} is not supported: this model reads text only",
                            quote(kind)
                        ))),
                    }
                };
                parts.iter().enumerate().map(part).collect()
            }
            _ => Err(self.refuse(format_args!(".{name}: expected a string or an array of parts"))),
        }
    }

    /// The thought of a reasoning item: as we wrote it, else its text, else its summary.
    fn thought(&self) -> Result<Option<String>> {
        if let Some(thought) = self.field("encrypted_content").and_then(|text| text.strip_prefix(ENCRYPTED)) {
            return Ok(Some(thought.to_owned()));
        }
        for name in ["content", "summary"] {
            if self.fields.get(name).is_some_and(|it| it.as_array().is_some_and(|parts| !parts.is_empty())) {
                return self.text(name).map(Some);
            }
        }
        Ok(None)
    }
}

/// Messages in the making. The model's last turn is open: more of it may follow.
#[derive(Default)]
pub(super) struct Turns {
    messages: Vec<Message>,
    open: Option<Message>,
}

impl Turns {
    /// Adds a message that is not the model's.
    pub(super) fn push(&mut self, message: Message) {
        self.messages.extend(self.open.take());
        self.messages.push(message);
    }

    /// The model's open turn; a new one where the open one has what would go before it.
    fn open(&mut self, fits: impl Fn(&Message) -> bool) -> &mut Message {
        if self.open.as_ref().is_some_and(|open| !fits(open)) {
            self.messages.extend(self.open.take());
        }
        self.open.get_or_insert_with(|| Message { role: Role::Assistant, ..Message::default() })
    }

    pub(super) fn take(&mut self, item: &Item<'_>) -> Result<()> {
        let kind = item.field("type").unwrap_or(if item.fields.contains_key("role") { "message" } else { "" });
        match kind {
            "message" => {
                let content = Some(Content::Text(item.text("content")?));
                let role = match item.field("role").unwrap_or_default() {
                    "user" => Role::User,
                    "system" => Role::System,
                    "developer" => Role::Developer,
                    "assistant" => {
                        self.open(|open| open.content.is_none() && open.tool_calls.is_none()).content = content;
                        return Ok(());
                    }
                    other => {
                        let expected = "expected user, system, developer or assistant";
                        return Err(item.refuse(format_args!(".role: {expected}, found {}", quote(other))));
                    }
                };
                self.push(Message { role, content, ..Message::default() });
            }
            "reasoning" => {
                if let Some(thought) = item.thought()? {
                    let empty = |open: &Message| {
                        open.content.is_none() && open.tool_calls.is_none() && open.reasoning_content.is_none()
                    };
                    self.open(empty).reasoning_content = Some(thought);
                }
            }
            // One that was cut has not been run, and has no result.
            "function_call" if item.field("status") == Some("incomplete") => {}
            "function_call" => {
                let arguments = Some(Value::String(item.field("arguments").unwrap_or_default().to_owned()));
                let function = FunctionCall { name: item.required("name")?, arguments };
                let call = ToolCall { id: Some(item.required("call_id")?), function };
                self.open(|_| true).tool_calls.get_or_insert_default().push(call);
            }
            "function_call_output" => {
                let message = Message::of(Role::Tool, item.text("output")?);
                self.push(Message { tool_call_id: Some(item.required("call_id")?), ..message });
            }
            "item_reference" => {
                let what = ".type: this server is stateless: send the item itself instead of an item_reference";
                return Err(item.refuse(what));
            }
            other => return Err(item.refuse(format_args!(".type: {} is not supported", quote(other)))),
        }
        Ok(())
    }

    /// All messages.
    pub(super) fn finish(mut self) -> Vec<Message> {
        // A thought that nothing followed is no turn.
        let said = |open: &Message| open.content.is_some() || open.tool_calls.is_some();
        self.messages.extend(self.open.filter(said));
        self.messages
    }
}
