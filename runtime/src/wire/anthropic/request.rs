//! Anthropic's requests, as requests of a chat completion.

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use super::message::signature;
use crate::chat::{FunctionCall, Message, Role, Tool, ToolCall};
use crate::error::{Error, Result, quote};
use crate::json::text_or_list;
use crate::wire::openai::{
    ChatRequest, ResponseFormat, Rules, Stop, Thinking, ThinkingType, ToolChoiceField, ToolChoiceWord,
};
use crate::wire::refuse;

/// A request as that of a chat completion, checked. `counts`: its tokens are only counted.
///
/// ```
/// use lyn::wire::{anthropic, openai::Rules};
/// let body = r#"{"model": "claude", "max_tokens": 8, "system": "Be brief.", "messages": [{"role": "user", "content": "Hi"}]}"#;
/// assert_eq!(anthropic::chat_request(&Rules::default(), body.as_bytes(), false)?.messages.len(), 2);
/// # Ok::<(), lyn::Error>(())
/// ```
///
/// # Errors
/// `bad_request`, with the field in its details as `param`.
pub fn chat_request(rules: &Rules, body: &[u8], counts: bool) -> Result<ChatRequest> {
    let (request, ignored) = crate::json::read::<MessagesRequest>(body)?;
    request.into_chat(counts)?.checked(rules, ignored)
}

/// What is honoured of a request.
#[derive(Deserialize)]
struct MessagesRequest {
    model: String,
    messages: Vec<Turn>,
    system: Option<Text>,
    /// Absent only where tokens are counted.
    max_tokens: Option<i64>,
    stop_sequences: Option<Vec<String>>,
    stream: Option<bool>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_k: Option<i64>,
    tools: Option<Vec<Offer>>,
    tool_choice: Option<Choice>,
    thinking: Option<Thinking>,
    output_config: Option<OutputConfig>,
    /// The older place of `output_config.format`.
    output_format: Option<Format>,
    metadata: Option<Metadata>,
    /// Servers whose tools Anthropic calls.
    mcp_servers: Option<Vec<Value>>,
}

#[derive(Deserialize)]
struct Turn {
    role: String,
    content: Text,
}

/// A string, or blocks.
enum Text {
    Plain(String),
    Blocks(Vec<Block>),
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        text_or_list(deserializer, "a string or a list of blocks", Text::Plain, Text::Blocks)
    }
}

/// A block of any kind, with the fields of those kinds that are known.
#[derive(Deserialize)]
struct Block {
    r#type: String,
    text: Option<String>,
    thinking: Option<String>,
    id: Option<String>,
    name: Option<String>,
    input: Option<Value>,
    tool_use_id: Option<String>,
    /// What it may be depends on the kind.
    content: Option<Value>,
}

#[derive(Deserialize)]
struct Offer {
    r#type: Option<String>,
    name: Option<String>,
    description: Option<String>,
    input_schema: Option<Value>,
    strict: Option<bool>,
}

#[derive(Deserialize)]
struct Choice {
    r#type: String,
    name: Option<String>,
    disable_parallel_tool_use: Option<bool>,
}

#[derive(Deserialize)]
struct OutputConfig {
    format: Option<Format>,
}

#[derive(Deserialize)]
struct Format {
    r#type: String,
    schema: Option<Value>,
}

#[derive(Deserialize)]
struct Metadata {
    user_id: Option<String>,
}

impl MessagesRequest {
    /// The same request of a chat completion, not yet checked.
    fn into_chat(self, counts: bool) -> Result<ChatRequest> {
        match self.max_tokens {
            None if !counts => return Err(refuse("max_tokens", "field required")),
            Some(most) if most < 1 => {
                return Err(refuse("max_tokens", format_args!("expected 1 or more, found {most}")));
            }
            _ => {}
        }
        if self.mcp_servers.is_some_and(|servers| !servers.is_empty()) {
            let message = "lyn does not call MCP servers; pass their tools in `tools` and run them yourself";
            return Err(refuse("mcp_servers", message));
        }
        let format = response_format(self.output_config.and_then(|config| config.format), self.output_format)?;
        let mut messages = vec![];
        if let Some(system) = self.system {
            messages.push(Message::of(Role::System, system.joined("system")?));
        }
        conversation(self.messages, &mut messages)?;
        let mut thinking = self.thinking;
        let continued = messages.last_mut().filter(|last| last.role == Role::Assistant);
        if let Some(last) = continued {
            if thinking.is_some_and(|thinking| thinking.r#type == ThinkingType::Enabled) {
                let message = "a prefilled answer cannot be combined with thinking; omit one of them";
                return Err(refuse("thinking", message));
            }
            if format.is_some() {
                let message = "a prefilled answer cannot be combined with a schema; omit one of them";
                return Err(refuse("output_config.format", message));
            }
            last.prefix = Some(true);
            thinking = Some(Thinking { r#type: ThinkingType::Disabled });
        }
        let (choice, parallel) = match self.tool_choice {
            Some(choice) => tool_choice(choice)?,
            None => (None, None),
        };
        let tools = self.tools.map(|tools| tools.into_iter().enumerate().map(offered).collect::<Result<Vec<Tool>>>());
        Ok(ChatRequest {
            messages,
            model: Some(self.model),
            max_tokens: self.max_tokens,
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: self.top_k,
            stop: self.stop_sequences.map(Stop::Several),
            stream: self.stream,
            thinking,
            tools: tools.transpose()?,
            tool_choice: choice,
            parallel_tool_calls: parallel,
            response_format: format,
            user_id: self.metadata.and_then(|metadata| metadata.user_id).as_deref().and_then(scope),
            ..ChatRequest::default()
        })
    }
}

/// A user's id may be any text; what separates caches is short.
fn scope(user: &str) -> Option<String> {
    (!user.is_empty()).then(|| signature(user))
}

fn response_format(format: Option<Format>, older: Option<Format>) -> Result<Option<ResponseFormat>> {
    let place = if format.is_some() { "output_config.format" } else { "output_format" };
    let Some(format) = format.or(older) else { return Ok(None) };
    if format.r#type != "json_schema" {
        return Err(refuse(place, format_args!("expected type json_schema, found {}", quote(&format.r#type))));
    }
    match format.schema {
        Some(schema) if schema.is_object() => Ok(Some(ResponseFormat::of(&format.r#type, Some(schema)))),
        _ => Err(refuse(place, "expected a schema, an object")),
    }
}

/// Whether a tool is used, and whether several may be.
fn tool_choice(choice: Choice) -> Result<(Option<ToolChoiceField>, Option<bool>)> {
    let field = match (choice.r#type.as_str(), choice.name) {
        ("auto", _) => ToolChoiceField::Word(ToolChoiceWord::Auto),
        ("any", _) => ToolChoiceField::Word(ToolChoiceWord::Required),
        ("none", _) => ToolChoiceField::Word(ToolChoiceWord::None),
        ("tool", Some(name)) => ToolChoiceField::named(name),
        ("tool", None) => return Err(refuse("tool_choice.name", "field required")),
        (other, _) => {
            let found = quote(other);
            return Err(refuse("tool_choice.type", format_args!("expected auto, any, tool or none, found {found}")));
        }
    };
    Ok((Some(field), choice.disable_parallel_tool_use.map(|disabled| !disabled)))
}

/// A tool of the client's own. Those that Anthropic defines have neither a schema nor somebody here to run them.
fn offered((index, offer): (usize, Offer)) -> Result<Tool> {
    let place = format!("tools[{index}]");
    if let Some(kind) = offer.r#type.filter(|kind| kind != "custom") {
        let message = format_args!(
            "{} is an Anthropic-defined tool and not supported; expected type custom, with a name and an input_schema",
            quote(&kind)
        );
        return Err(refuse(&place, message));
    }
    let name = offer.name.ok_or_else(|| refuse(&format!("{place}.name"), "field required"))?;
    let mut function = Map::new();
    function.insert("name".to_owned(), json!(name));
    let rest = [
        ("description", offer.description.map(Value::String)),
        ("parameters", offer.input_schema),
        ("strict", offer.strict.map(Value::Bool)),
    ];
    for (key, value) in rest {
        function.extend(value.map(|value| (key.to_owned(), value)));
    }
    Ok(Tool { r#type: None, function })
}

/// Turns as messages. Turns of one role that follow each other are one, so Anthropic says; results of tools come before what
/// the user says.
fn conversation(turns: Vec<Turn>, messages: &mut Vec<Message>) -> Result<()> {
    let mut turns = turns.into_iter().enumerate().peekable();
    // Calls that wait for their results, with the place of their turn.
    let mut open: Option<(usize, Vec<String>)> = None;
    while let Some((index, turn)) = turns.next() {
        let mut said = Said::default();
        let role = turn.role;
        said.take(index, &role, turn.content)?;
        while let Some((index, turn)) = turns.next_if(|(_, next)| next.role == role) {
            said.take(index, &role, turn.content)?;
        }
        match role.as_str() {
            "user" => {
                let results = said.results.iter().filter_map(|result| result.tool_call_id.clone()).collect::<Vec<_>>();
                check_results(index, &open.take().map_or(vec![], |(_, ids)| ids), &results)?;
                let only_results = said.text.is_empty() && !said.results.is_empty();
                messages.append(&mut said.results);
                if !only_results {
                    messages.push(Message::of(Role::User, said.text));
                }
            }
            "assistant" => {
                let ids: Vec<String> = said.calls.iter().filter_map(|call| call.id.clone()).collect();
                open = (!ids.is_empty()).then_some((index, ids));
                messages.push(Message {
                    reasoning_content: said.thought,
                    tool_calls: (!said.calls.is_empty()).then_some(said.calls),
                    ..Message::of(Role::Assistant, said.text)
                });
            }
            _ => messages.push(Message::of(Role::System, said.text)),
        }
    }
    match open {
        None => Ok(()),
        Some((index, ids)) => {
            let ids: Vec<String> = ids.iter().map(|id| quote(id)).collect();
            let message =
                format_args!("expected the next turn to have a tool_result for every tool_use: {}", ids.join(", "));
            Err(refuse(&format!("messages[{index}]"), message))
        }
    }
}

/// Refuses results without calls. Calls without results are for whoever renders them.
fn check_results(index: usize, calls: &[String], results: &[String]) -> Result<()> {
    match results.iter().find(|id| !calls.contains(id)) {
        None => Ok(()),
        Some(id) => {
            let message = format_args!("tool_result {} matches no tool_use of the preceding turn", quote(id));
            Err(refuse(&format!("messages[{index}]"), message))
        }
    }
}

/// What turns of one role say together.
#[derive(Default)]
struct Said {
    text: String,
    thought: Option<String>,
    calls: Vec<ToolCall>,
    results: Vec<Message>,
}

impl Said {
    fn take(&mut self, index: usize, role: &str, content: Text) -> Result<()> {
        let place = format!("messages[{index}]");
        if !matches!(role, "user" | "assistant" | "system") {
            let found = quote(role);
            return Err(refuse(&format!("{place}.role"), format_args!("expected user or assistant, found {found}")));
        }
        let before = std::mem::take(&mut self.text);
        match content {
            Text::Plain(text) => self.text = text,
            Text::Blocks(blocks) => {
                for (at, block) in blocks.into_iter().enumerate() {
                    self.block(&format!("{place}.content[{at}]"), role, block)?;
                }
            }
        }
        if !before.is_empty() {
            let between = if self.text.is_empty() { "" } else { "\n\n" };
            self.text = [&before, between, &self.text].concat();
        }
        Ok(())
    }

    fn block(&mut self, place: &str, role: &str, block: Block) -> Result<()> {
        let field = |name: &str, value: Option<String>| {
            value.ok_or_else(|| refuse(&format!("{place}.{name}"), "expected a string, found none"))
        };
        match (block.r#type.as_str(), role) {
            ("text", _) => self.text += &field("text", block.text)?,
            ("thinking", "assistant") => {
                *self.thought.get_or_insert_default() += &field("thinking", block.thinking)?;
            }
            // What was kept from the client says nothing to this model either.
            ("redacted_thinking", "assistant") => {}
            ("tool_use", "assistant") => {
                let arguments = block.input.filter(|input| !input.is_null()).unwrap_or_else(|| json!({}));
                if !arguments.is_object() {
                    return Err(refuse(&format!("{place}.input"), "expected an object"));
                }
                let function = FunctionCall { name: field("name", block.name)?, arguments: Some(arguments) };
                self.calls.push(ToolCall { id: Some(field("id", block.id)?), function });
            }
            ("tool_result", "user") => {
                let content = result(&format!("{place}.content"), block.content)?;
                let id = field("tool_use_id", block.tool_use_id)?;
                self.results.push(Message { tool_call_id: Some(id), ..Message::of(Role::Tool, content) });
            }
            (kind, role) => return Err(unsupported(place, kind, role)),
        }
        Ok(())
    }
}

impl Text {
    /// The text, where there is nothing else.
    fn joined(self, place: &str) -> Result<String> {
        let blocks = match self {
            Text::Plain(text) => return Ok(text),
            Text::Blocks(blocks) => blocks,
        };
        let mut joined = String::new();
        for (at, block) in blocks.into_iter().enumerate() {
            match block.text.filter(|_| block.r#type == "text") {
                Some(text) => joined += &text,
                None => return Err(unsupported(&format!("{place}[{at}]"), &block.r#type, "system")),
            }
        }
        Ok(joined)
    }
}

/// What a tool said: a string, blocks of text, or nothing.
fn result(place: &str, content: Option<Value>) -> Result<String> {
    let blocks = match content {
        None | Some(Value::Null) => return Ok(String::new()),
        Some(Value::String(text)) => return Ok(text),
        Some(Value::Array(blocks)) => blocks,
        Some(_) => return Err(refuse(place, "expected a string or a list of blocks")),
    };
    let mut joined = String::new();
    for (at, block) in blocks.iter().enumerate() {
        let word = |key: &str| block.get(key).and_then(Value::as_str);
        match (word("type"), word("text")) {
            (Some("text"), Some(text)) => joined += text,
            (kind, _) => return Err(unsupported(&format!("{place}[{at}]"), kind.unwrap_or_default(), "tool_result")),
        }
    }
    Ok(joined)
}

fn unsupported(place: &str, kind: &str, within: &str) -> Error {
    let why = match kind {
        "image" | "document" | "search_result" | "container_upload" => "this model reads text only",
        _ => "it is unknown here",
    };
    refuse(place, format_args!("a block of type {} in {within} is not supported: {why}", quote(kind)))
}
