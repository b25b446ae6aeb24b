//! A checkpoint's own chat template, for the checkpoints whose format lyn does not render itself.
//!
//! In: the Jinja source that a checkpoint brings, and a conversation. Out: ids. A template is a program by a stranger: it
//! sees the conversation and nothing else, and its fuel, depth and output are bounded. The texts of a conversation are by
//! another stranger: what could become a control token in them goes through the template as a private-use character, and
//! comes back as text.

use std::collections::{HashMap, HashSet};
use std::io;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Kwargs;
use minijinja::{Environment, ErrorKind, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;
use serde_json::Value as Json;

use super::json::{indented, spaced};
use super::message::{Conversation, Message, Role, Tool, ToolCall, Turn, refuse};
use super::{Options, control};
use crate::error::{Class, Code, Error, Result, escape, escape_whole};
use crate::text::Tokenizer;

/// A unit pays for one instruction or 64 bytes, so that no template makes more than 64 MB, or runs for a second.
const FUEL: u64 = 1_000_000;
const MAX_OUTPUT_BYTES: usize = 16 << 20;
const MAX_RECURSION: usize = 100;
const MAX_JSON_DEPTH: usize = 128;
/// Fuel allows lists within lists some hundred thousand deep, which take a frame each to drop. Only touched pages count.
const STACK_BYTES: usize = 512 << 20;
/// Private-use planes: a character for each text that goes through a template under cover.
const COVERS: std::ops::RangeInclusive<char> = '\u{f0000}'..='\u{10fffd}';

type Jinja<T> = std::result::Result<T, minijinja::Error>;

/// A compiled template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    file: String,
    /// Characters that the source itself holds.
    taken: HashSet<char>,
}

/// What a template may say besides the conversation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ends<'a> {
    /// Text of the token that begins a prompt; templates write it themselves.
    pub bos: &'a str,
    /// Text of the token that ends a turn.
    pub eos: &'a str,
}

impl ChatTemplate {
    /// Compiles `source`, which `file` of the checkpoint holds.
    ///
    /// # Errors
    /// `bad_checkpoint` of class `E-TEMPLATE`, with the line, where `source` is not Jinja that lyn knows.
    pub fn new(file: &str, source: &str) -> Result<ChatTemplate> {
        let broken = |error: &minijinja::Error| {
            let line = error.line().unwrap_or_default();
            let message = format!("line {line}: {}", escape_whole(&reason(error)));
            Error::file(Class::Template, file, message).with_help("use: lyn generate --raw")
        };
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        let mut environment = Environment::new();
        environment.set_syntax(syntax.map_err(|error| broken(&error))?);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(MAX_RECURSION);
        environment.set_unknown_method_callback(unknown_method_callback);
        environment.add_filter("tojson", tojson);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", super::clock::strftime_now);
        // No file name: its ending would choose an escaping.
        environment.add_template_owned("chat", source.to_owned()).map_err(|error| broken(&error))?;
        let taken = source.chars().filter(|character| COVERS.contains(character)).collect();
        Ok(ChatTemplate { environment, file: file.to_owned(), taken })
    }

    /// A conversation as ids: added tokens of the template's own text by id, all else as text without any.
    ///
    /// # Errors
    /// `bad_request` where the conversation is not sound, or the template refuses it or exceeds a limit.
    pub fn render(
        &self,
        conversation: &Conversation,
        options: Options,
        tokenizer: &Tokenizer,
        ends: Ends<'_>,
    ) -> Result<Vec<u32>> {
        let turns = conversation.turns()?;
        let has_arguments =
            turns.iter().flat_map(|(_, message)| message.calls()).any(|call| call.arguments().is_some());
        // Most templates take arguments as an object, V3's and R1's only as the text that clients send.
        match self.render_with(conversation, &turns, options, tokenizer, ends, Arguments::Object) {
            Err(_) if has_arguments => {
                self.render_with(conversation, &turns, options, tokenizer, ends, Arguments::Text)
            }
            rendered => rendered,
        }
    }

    fn render_with(
        &self,
        conversation: &Conversation,
        turns: &[Turn<'_>],
        options: Options,
        tokenizer: &Tokenizer,
        ends: Ends<'_>,
        arguments: Arguments,
    ) -> Result<Vec<u32>> {
        let mut cover = Cover::new(tokenizer, &self.taken);
        let end = if options.continue_final { Some(cover.fresh(String::new())?) } else { None };
        let mut messages = vec![];
        for (place, turn) in turns.iter().enumerate() {
            let end = end.filter(|_| Some(place) == turns.len().checked_sub(1));
            messages.push(cover.message(turn, arguments, end)?);
        }
        let mut context = vec![
            ("messages", Value::from(messages)),
            ("add_generation_prompt", Value::from(options.add_generation_prompt && !options.continue_final)),
            ("thinking", Value::from(options.thinking)),
            ("enable_thinking", Value::from(options.thinking)),
            ("bos_token", Value::from(ends.bos)),
            ("eos_token", Value::from(ends.eos)),
        ];
        if !conversation.tools().is_empty() {
            context.push(("tools", cover.tools(conversation.tools())?));
        }
        let mut text = self.run(context).map_err(|error| self.refused(&error, &cover))?;
        if let Some(end) = end {
            let length = text.rfind(end).ok_or_else(|| {
                Error::new(Code::BadRequest, format!("{}: the last message cannot be continued", escape(&self.file)))
            })?;
            text.truncate(length);
        }
        cover.ids(&text)
    }

    /// Renders on a thread whose stack holds what fuel can build.
    fn run(&self, context: Vec<(&str, Value)>) -> Jinja<String> {
        let render = || {
            let mut output = Output(vec![]);
            let context = Value::from_pairs(context);
            self.environment.get_template("chat")?.render_captured_to(context, &mut output)?;
            String::from_utf8(output.0).map_err(|_| minijinja::Error::new(ErrorKind::BadSerialization, "not UTF-8"))
        };
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("chat-template".into()).stack_size(STACK_BYTES);
            let failed = |message| minijinja::Error::new(ErrorKind::InvalidOperation, message);
            let thread = thread.spawn_scoped(scope, render).map_err(|_| failed("no thread to render on"))?;
            thread.join().unwrap_or_else(|_| Err(failed("the renderer panicked")))
        })
    }

    fn refused(&self, error: &minijinja::Error, cover: &Cover<'_>) -> Error {
        let reason = match error.kind() {
            ErrorKind::OutOfFuel => "it takes more than its limit of work or memory".to_owned(),
            ErrorKind::WriteFailure => format!("it writes more than {MAX_OUTPUT_BYTES} bytes"),
            _ => cover.uncovered(&reason(error)),
        };
        let line = error.line().unwrap_or_default();
        let message = format!("{}: line {line}: {}", escape(&self.file), escape_whole(&reason));
        Error::new(Code::BadRequest, message)
            .with_help("the checkpoint's own chat template cannot render this conversation; or use: lyn generate --raw")
            .with_detail("class", Class::Template.name())
            .with_detail("file", escape(&self.file))
    }
}

/// What a template says, or what minijinja says of it.
fn reason(error: &minijinja::Error) -> String {
    error.detail().map_or_else(|| error.kind().to_string(), str::to_owned)
}

/// How a template gets the arguments of calls.
#[derive(Clone, Copy)]
enum Arguments {
    Object,
    Text,
}

impl ToolCall {
    /// Arguments that are an object, also where a string holds it.
    fn arguments(&self) -> Option<Json> {
        match self.function.arguments.as_ref()? {
            Json::String(text) => serde_json::from_str(text).ok().filter(Json::is_object),
            value => Some(value.clone()).filter(Json::is_object),
        }
    }
}

/// Texts that go through a template as single characters.
struct Cover<'t> {
    tokenizer: &'t Tokenizer,
    /// Of added tokens: what a text could continue or begin, next to another.
    beginnings: HashSet<&'t str>,
    endings: HashSet<&'t str>,
    longest: usize,
    taken: &'t HashSet<char>,
    unused: std::ops::RangeInclusive<char>,
    characters: HashMap<String, char>,
    texts: HashMap<char, String>,
}

impl<'t> Cover<'t> {
    fn new(tokenizer: &'t Tokenizer, taken: &'t HashSet<char>) -> Cover<'t> {
        let tokens = || tokenizer.added_tokens().map(|(token, _)| token);
        let cuts = || tokens().flat_map(|token| token.char_indices().skip(1).map(move |(at, _)| token.split_at(at)));
        Cover {
            tokenizer,
            beginnings: cuts().map(|(beginning, _)| beginning).collect(),
            endings: cuts().map(|(_, ending)| ending).collect(),
            longest: tokens().map(str::len).max().unwrap_or_default(),
            taken,
            unused: COVERS,
            characters: HashMap::new(),
            texts: HashMap::new(),
        }
    }

    fn fresh(&mut self, text: String) -> Result<char> {
        let taken = self.taken;
        let character = self.unused.find(|character| !taken.contains(character)).ok_or_else(|| {
            Error::new(Code::BadRequest, "messages: too many different private-use characters")
                .with_detail("param", "messages")
        })?;
        self.texts.insert(character, text);
        Ok(character)
    }

    fn character(&mut self, text: &str) -> Result<char> {
        if let Some(&known) = self.characters.get(text) {
            return Ok(known);
        }
        let character = self.fresh(text.to_owned())?;
        self.characters.insert(text.to_owned(), character);
        Ok(character)
    }

    /// `text` without added tokens, and without characters that stand for others.
    fn key(&mut self, text: &str) -> Result<String> {
        let mut covered = String::with_capacity(text.len());
        let mut rest = 0;
        for (range, _) in self.tokenizer.added_in(text) {
            self.plain(text.get(rest..range.start).unwrap_or_default(), &mut covered)?;
            rest = range.end;
            covered.push(self.character(text.get(range).unwrap_or_default())?);
        }
        self.plain(text.get(rest..).unwrap_or_default(), &mut covered)?;
        Ok(covered)
    }

    fn plain(&mut self, text: &str, covered: &mut String) -> Result<()> {
        let mut buffer = [0; 4];
        for character in text.chars() {
            let is_cover = COVERS.contains(&character);
            covered.push(if is_cover { self.character(character.encode_utf8(&mut buffer))? } else { character });
        }
        Ok(())
    }

    /// As [`Cover::key`], and with ends that make no token together with what a template writes next to them.
    fn text(&mut self, text: &str) -> Result<String> {
        let mut covered = self.key(text)?;
        let core = covered.trim();
        let start = covered.len().saturating_sub(covered.trim_start().len());
        let short = |from: &str| from.len() < self.longest;
        let begins =
            core.char_indices().map(|(at, character)| core.split_at(at.saturating_add(character.len_utf8())).0);
        let ends = core.char_indices().rev().map(|(at, _)| core.split_at(at).1);
        let within = |token: &str| token.contains(core);
        let closes = begins.take_while(|head| short(head)).any(|head| self.endings.contains(head))
            || (!core.is_empty() && short(core) && self.tokenizer.added_tokens().any(|(token, _)| within(token)));
        let opens = ends.take_while(|tail| short(tail)).any(|tail| self.beginnings.contains(tail));
        let last = core.char_indices().next_back().map_or(start, |(at, _)| start.saturating_add(at));
        // The last first: a cover may be longer than what it covers.
        if opens {
            self.cover_at(&mut covered, last)?;
        }
        if closes {
            self.cover_at(&mut covered, start)?;
        }
        Ok(covered)
    }

    fn cover_at(&mut self, text: &mut String, at: usize) -> Result<()> {
        let found = text.get(at..).and_then(|rest| rest.chars().next());
        if let Some(character) = found.filter(|character| !COVERS.contains(character)) {
            let cover = self.character(character.encode_utf8(&mut [0; 4]))?;
            let after = at.saturating_add(character.len_utf8());
            text.replace_range(at..after, cover.encode_utf8(&mut [0; 4]));
        }
        Ok(())
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

    fn tools(&mut self, tools: &[Tool]) -> Result<Value> {
        let tools = tools.iter().map(|tool| {
            let function = self.json(&Json::Object(tool.function.clone()))?;
            Ok(Value::from_pairs([("type", Value::from("function")), ("function", function)]))
        });
        Ok(tools.collect::<Result<Vec<Value>>>()?.into())
    }

    fn message(&mut self, &(index, message): &Turn<'_>, arguments: Arguments, end: Option<char>) -> Result<Value> {
        let content = message.required_text(index)?;
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
        let arguments = match (arguments, &call.function.arguments) {
            (Arguments::Object, Some(given)) => self.json(&call.arguments().unwrap_or_else(|| given.clone()))?,
            (Arguments::Text, Some(Json::String(text))) => Value::from(self.text(text)?),
            (Arguments::Text, Some(given)) => Value::from(self.text(&spaced(given))?),
            (Arguments::Object, None) => Value::from_pairs(std::iter::empty::<(Value, Value)>()),
            (Arguments::Text, None) => Value::from("{}"),
        };
        let name = Value::from(self.text(&call.function.name)?);
        let function = Value::from_pairs([("name", name), ("arguments", arguments)]);
        let mut fields = vec![("type", Value::from("function")), ("function", function)];
        if let Some(id) = &call.id {
            fields.push(("id", Value::from(self.text(id)?)));
        }
        Ok(Value::from_pairs(fields))
    }

    fn uncovered(&self, text: &str) -> String {
        let mut plain = String::with_capacity(text.len());
        for character in text.chars() {
            match self.texts.get(&character) {
                Some(text) => plain.push_str(text),
                None => plain.push(character),
            }
        }
        plain
    }

    /// Ids of what a template wrote.
    fn ids(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = vec![];
        let mut rest = 0;
        let plain = |from: usize, to: usize, ids: &mut Vec<u32>| -> Result<()> {
            let text = self.uncovered(text.get(from..to).unwrap_or_default());
            ids.extend(self.tokenizer.encode(&text, false)?);
            Ok(())
        };
        for (range, id) in self.tokenizer.added_in(text) {
            plain(rest, range.start, &mut ids)?;
            ids.push(id);
            rest = range.end;
        }
        plain(rest, text.len(), &mut ids)?;
        Ok(ids)
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

/// Bounded output.
struct Output(Vec<u8>);

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len().saturating_add(bytes.len()) > MAX_OUTPUT_BYTES {
            return Err(io::Error::other("too much output"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn raise_exception(message: String) -> Jinja<Value> {
    Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
}

/// JSON as `json.dumps(ensure_ascii=False)` has it: minijinja's own escapes what HTML would take for tags.
fn tojson(state: &State<'_, '_>, value: &Value, options: Kwargs) -> Jinja<String> {
    let indent: Option<usize> = options.get("indent")?;
    let _: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    let json = to_json(state, value, 0)?;
    let text = match indent {
        Some(width) => indented(&json, width.min(16)),
        None => spaced(&json),
    };
    Ok(text)
}

fn to_json(state: &State<'_, '_>, value: &Value, depth: usize) -> Jinja<Json> {
    use minijinja::value::ValueKind;
    let failed = |what: &str| minijinja::Error::new(ErrorKind::BadSerialization, format!("tojson: {what}"));
    if depth > MAX_JSON_DEPTH {
        return Err(failed("nested too deep"));
    }
    let deeper = depth.saturating_add(1);
    // Half the bytes of a slot of a list, which values of any kind take here.
    state.consume_fuel(1)?;
    Ok(match value.kind() {
        ValueKind::None => Json::Null,
        ValueKind::Bool => Json::Bool(value.is_true()),
        ValueKind::Number => {
            let number = serde_json::from_str(&value.to_string());
            Json::Number(number.map_err(|_| failed("not a number of JSON"))?)
        }
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default();
            state.consume_fuel((text.len() / 64) as u64)?;
            Json::String(text.to_owned())
        }
        ValueKind::Seq | ValueKind::Iterable => {
            value.try_iter()?.map(|item| to_json(state, &item, deeper)).collect::<Jinja<Vec<Json>>>()?.into()
        }
        ValueKind::Map => {
            let mut fields = serde_json::Map::new();
            for key in value.try_iter()? {
                fields.insert(key.to_string(), to_json(state, &value.get_item(&key)?, deeper)?);
            }
            fields.into()
        }
        kind => return Err(failed(&format!("{kind} is not JSON"))),
    })
}

#[cfg(test)]
mod tests;
