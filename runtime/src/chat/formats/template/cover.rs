//! The texts of a conversation on their way through a template, and what comes out as a prompt.

use std::collections::HashMap;

use minijinja::Value;
use serde_json::Value as Json;

use super::marks::{COVERS, Marks, Unused};
use crate::chat::control;
use crate::chat::message::{CallArguments, Message, Role, Tool, ToolCall, Turn, refuse};
use crate::chat::prompt::Prompt;
use crate::error::{Code, Error, Result};
use crate::text::Tokenizer;

/// How a template gets the arguments of calls.
#[derive(Clone, Copy)]
pub(super) enum Arguments {
    Object,
    Text,
}

/// The texts of a conversation on their way through a template.
pub(super) struct Cover<'t> {
    tokenizer: &'t Tokenizer,
    marks: &'t Marks,
    /// Whether all characters of which tokens consist go under cover too.
    pub(super) covers_all: bool,
    unused: Unused,
    covers: HashMap<char, char>,
    covered: HashMap<char, char>,
    end: Option<char>,
}

/// Keys that templates ask for by their names. They go under cover only where a token holds them.
const KEYS: [&str; 24] = [
    "additionalProperties",
    "allOf",
    "anyOf",
    "arguments",
    "const",
    "default",
    "description",
    "enum",
    "format",
    "function",
    "id",
    "items",
    "maximum",
    "minimum",
    "name",
    "oneOf",
    "parameters",
    "pattern",
    "properties",
    "required",
    "strict",
    "title",
    "type",
    "$ref",
];

impl<'t> Cover<'t> {
    pub(super) fn new(tokenizer: &'t Tokenizer, marks: &'t Marks) -> Cover<'t> {
        Cover {
            tokenizer,
            marks,
            covers_all: false,
            unused: marks.unused.clone(),
            covers: HashMap::new(),
            covered: HashMap::new(),
            end: None,
        }
    }

    fn fresh(&mut self) -> Result<char> {
        self.unused.fresh().ok_or_else(|| {
            Error::new(Code::BadRequest, "messages: too many different private-use characters")
                .with_detail("param", "messages")
        })
    }

    /// The character that ends the last message.
    pub(super) fn end(&mut self) -> Result<char> {
        let end = self.end.map_or_else(|| self.fresh(), Ok)?;
        self.end = Some(end);
        Ok(end)
    }

    /// A text of ours, which may be a control token.
    pub(super) fn own(&self, text: &str) -> String {
        self.marks.by_token.get(text).map_or_else(|| text.to_owned(), char::to_string)
    }

    /// A text of the conversation.
    fn text(&mut self, text: &str) -> Result<String> {
        let is_plain = |character: char| !COVERS.contains(&character) && !self.covers_all;
        if text.chars().all(is_plain) {
            return Ok(text.to_owned());
        }
        text.chars().map(|character| self.character(character)).collect()
    }

    fn character(&mut self, character: char) -> Result<char> {
        let private = COVERS.contains(&character);
        if !(private || self.covers_all && self.marks.is_of_tokens(character)) {
            return Ok(character);
        }
        if let Some(&cover) = self.covers.get(&character) {
            return Ok(cover);
        }
        let cover = self.fresh()?;
        self.covers.insert(character, cover);
        self.covered.insert(cover, character);
        Ok(cover)
    }

    /// The name of a field.
    fn key(&mut self, key: &str) -> Result<String> {
        let of_token =
            || self.tokenizer.added_tokens().any(|(token, _)| token.to_lowercase().contains(&key.to_lowercase()));
        if KEYS.contains(&key) && (!self.covers_all || !of_token()) {
            return Ok(key.to_owned());
        }
        self.text(key)
    }

    fn json(&mut self, value: &Json) -> Result<Value> {
        Ok(match value {
            Json::Null => Value::from(()),
            Json::Bool(truth) => Value::from(*truth),
            Json::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(whole), _) => Value::from(whole),
                (_, Some(whole)) => Value::from(whole),
                _ => Value::from(number.as_f64().unwrap_or_default()),
            },
            Json::String(text) => Value::from(self.text(text)?),
            Json::Array(items) => items.iter().map(|item| self.json(item)).collect::<Result<Vec<Value>>>()?.into(),
            Json::Object(fields) => {
                let fields = fields.iter().map(|(key, value)| Ok((self.key(key)?, self.json(value)?)));
                Value::from_pairs(fields.collect::<Result<Vec<_>>>()?)
            }
        })
    }

    pub(super) fn tools(&mut self, tools: &[Tool]) -> Result<Value> {
        let tools = tools.iter().map(|tool| {
            let function = self.json(&Json::Object(tool.function.clone()))?;
            Ok(Value::from_pairs([("type", Value::from("function")), ("function", function)]))
        });
        Ok(tools.collect::<Result<Vec<Value>>>()?.into())
    }

    pub(super) fn message(
        &mut self,
        &(index, message): &Turn<'_>,
        arguments: Arguments,
        end: Option<char>,
    ) -> Result<Value> {
        let content = message.text_or_empty(index)?;
        let (inline, content) = inline_thought(message, &content);
        let mut content = self.text(content)?;
        if let Some(end) = end {
            if message.role != Role::Assistant || !message.calls().is_empty() {
                return Err(refuse(index, "only an assistant message without calls can be continued"));
            }
            content.push(end);
        }
        let mut fields = vec![("role", Value::from(message.role.name())), ("content", Value::from(content))];
        let texts = [
            ("name", message.name.as_deref()),
            ("reasoning_content", message.thought().or(inline)),
            ("tool_call_id", message.tool_call_id.as_deref()),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                fields.push((name, Value::from(self.text(text)?)));
            }
        }
        if let Some(prefix) = message.prefix {
            fields.push(("prefix", Value::from(prefix)));
        }
        if !message.calls().is_empty() {
            let calls: Result<Vec<Value>> = message.calls().iter().map(|call| self.call(call, arguments)).collect();
            fields.push(("tool_calls", Value::from(calls?)));
        }
        Ok(Value::from_pairs(fields))
    }

    fn call(&mut self, call: &ToolCall, arguments: Arguments) -> Result<Value> {
        let given = call.function.arguments();
        let arguments = match (arguments, &given) {
            (Arguments::Object, CallArguments::Object(object)) => {
                self.json(&Json::Object(object.clone().into_owned()))?
            }
            // As it was written, where it was text.
            _ => Value::from(self.text(&call.function.arguments_text())?),
        };
        let name = Value::from(self.text(&call.function.name)?);
        let function = Value::from_pairs([("name", name), ("arguments", arguments)]);
        let mut fields = vec![("type", Value::from("function")), ("function", function)];
        if let Some(id) = &call.id {
            fields.push(("id", Value::from(self.text(id)?)));
        }
        Ok(Value::from_pairs(fields))
    }

    fn push_uncovered(&self, character: char, plain: &mut String) {
        let (covered, texts) = (self.covered.get(&character), self.marks.texts.get(&character));
        match (covered, texts.or_else(|| self.marks.tokens.get(&character))) {
            (Some(&covered), _) => plain.push(covered),
            (None, Some(text)) => plain.push_str(text),
            (None, None) => plain.push(character),
        }
    }

    pub(super) fn uncovered(&self, text: &str) -> String {
        let mut plain = String::with_capacity(text.len());
        text.chars().for_each(|character| self.push_uncovered(character, &mut plain));
        plain
    }

    /// Whether an output holds texts of control tokens beside the marks.
    pub(super) fn has_tokens(&self, text: &str) -> bool {
        self.tokenizer.added_in(text).next().is_some()
    }

    /// What a template wrote. `covered`: the same with all texts of the conversation under cover, where that matters.
    pub(super) fn prompt(&self, text: &str, covered: &str) -> Prompt {
        let mut prompt = Prompt::default();
        let mut plain = String::new();
        let composed = self.composed(text, covered);
        let mut composed = composed.iter().peekable();
        let mut skip_to = 0;
        for (at, character) in text.char_indices() {
            if at < skip_to {
                continue;
            }
            let token = match composed.next_if(|range| range.start == at) {
                Some(range) => {
                    skip_to = range.end;
                    text.get(range.clone())
                }
                None => self.marks.tokens.get(&character).map(String::as_str),
            };
            match token {
                Some(token) => {
                    prompt.text(&std::mem::take(&mut plain));
                    prompt.control(token.to_owned());
                }
                None => self.push_uncovered(character, &mut plain),
            }
        }
        prompt.text(&plain);
        prompt
    }

    /// Where the template has composed control tokens.
    fn composed(&self, text: &str, covered: &str) -> Vec<std::ops::Range<usize>> {
        let same = |(one, other): (char, char)| {
            let is_cover = self.covered.contains_key(&other) || Some(other) == self.marks.put;
            one == other || (is_cover && !self.marks.tokens.contains_key(&one))
        };
        let aligned = text.chars().count() == covered.chars().count() && text.chars().zip(covered.chars()).all(same);
        if !aligned {
            return vec![];
        }
        // Where each character of the one stands in the other.
        let places = text.char_indices().map(|(at, _)| at).zip(covered.char_indices().map(|(at, _)| at));
        let places: HashMap<usize, usize> = places.collect();
        let by_template = |range: &std::ops::Range<usize>| {
            let token = text.get(range.clone()).unwrap_or_default();
            let there = places.get(&range.start).and_then(|&at| covered.get(at..));
            there.is_some_and(|there| !token.is_empty() && there.starts_with(token))
        };
        self.tokenizer.added_in(text).map(|(range, _)| range).filter(by_template).collect()
    }
}

/// A thought that stands in the answer of an earlier turn, and the answer. Templates cut it off at a token that they would
/// not find under cover.
fn inline_thought<'m>(message: &Message, content: &'m str) -> (Option<&'m str>, &'m str) {
    match content.split_once(control::END_THINK) {
        Some((thought, answer)) if message.role == Role::Assistant && !message.has_thought() => {
            (Some(thought.split_once(control::THINK).map_or(thought, |(_, thought)| thought)), answer)
        }
        _ => (None, content),
    }
}
