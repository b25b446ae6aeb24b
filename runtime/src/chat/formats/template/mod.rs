//! A checkpoint's own chat template, for the checkpoints whose format lyn does not render itself.
//!
//! In: the Jinja source that a checkpoint brings, and a conversation. Out: a prompt. A template is a program by a stranger: it
//! sees the conversation and nothing else, and its fuel, depth and output are bounded. The texts of a conversation are by
//! another stranger, and no text of theirs may become a control token, whatever the template does to it: lower it, cut it,
//! replace parts of it, put it between brackets.
//!
//! So it is not the texts that are searched, but the template. Before it is compiled, each control token in its own text and
//! in its strings becomes a private-use character, a *mark*. Marks in the output are control tokens, all else is text. No
//! filter makes a mark of other characters, marks in texts of a conversation are covered by other private-use characters, and
//! what `replace` puts into a text is unmarked.
//!
//! Some templates compose a token, `'<|' + message.role + '|>'`. Where the output holds the text of a token without being a
//! mark, it is rendered once more, with covers for all characters of the conversation that could be part of a token, one
//! for each. Only if both outputs are the same character by character but for covers, and the second one holds the same
//! token there, was it the template that wrote all of it. Where the outputs differ otherwise, it stays text.

mod clock;

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Kwargs;
use minijinja::{Environment, ErrorKind, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;
use serde_json::Value as Json;

use crate::chat::control;
use crate::chat::json::{indented, spaced};
use crate::chat::message::{CallArguments, Conversation, Message, Role, Tool, ToolCall, Turn, refuse};
use crate::chat::prompt::{Options, Prompt};
use crate::error::{Class, Code, Error, Result, escape, escape_whole};
use crate::text::Tokenizer;

/// A unit pays for one instruction or 64 bytes, so that no template makes more than 64 MB, or runs for a second.
const FUEL: u64 = 1_000_000;
/// Several times the longest template that is published: a chain of operators compiles in the square of its length.
const MAX_SOURCE_BYTES: usize = 64 << 10;
const MAX_OUTPUT_BYTES: usize = 16 << 20;
const MAX_RECURSION: usize = 100;
const MAX_JSON_DEPTH: usize = 128;
/// Fuel allows lists within lists some hundred thousand deep, which take a frame each to drop. Only touched pages count.
const STACK_BYTES: usize = 512 << 20;
/// Private-use planes: characters that stand for others while a template runs.
const COVERS: std::ops::RangeInclusive<char> = '\u{f0000}'..='\u{10fffd}';

type Jinja<T> = std::result::Result<T, minijinja::Error>;

/// A compiled template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    file: String,
    marks: Arc<Marks>,
}

/// The characters that stand for control tokens.
#[derive(Debug, Default)]
struct Marks {
    /// The token of each mark, and of each character that stands for the same as text.
    tokens: HashMap<char, String>,
    texts: HashMap<char, String>,
    /// The mark of each token, and the text of each mark.
    by_token: HashMap<String, char>,
    unmarked: HashMap<char, char>,
    /// Characters that tokens consist of, in small letters.
    alphabet: HashSet<char>,
    /// Covers any character that a template puts into a text.
    put: Option<char>,
    /// Private-use characters that mean themselves: the source holds them.
    taken: HashSet<char>,
    /// The first character without a meaning.
    next: u32,
}

impl Marks {
    fn new(source: &str, tokenizer: &Tokenizer) -> Option<Marks> {
        let taken = source.chars().filter(|character| COVERS.contains(character)).collect();
        let mut marks = Marks { taken, next: u32::from(*COVERS.start()), ..Marks::default() };
        for (token, _) in tokenizer.added_tokens() {
            let (mark, text) = (marks.fresh()?, marks.fresh()?);
            marks.tokens.insert(mark, token.to_owned());
            marks.texts.insert(text, token.to_owned());
            marks.by_token.insert(token.to_owned(), mark);
            marks.unmarked.insert(mark, text);
            marks.alphabet.extend(token.chars().flat_map(char::to_lowercase));
        }
        marks.put = Some(marks.fresh()?);
        Some(marks)
    }

    /// A private-use character that nothing else has.
    fn fresh(&mut self) -> Option<char> {
        loop {
            let character = char::from_u32(self.next).filter(|character| COVERS.contains(character));
            // Between the planes lie two that are no characters.
            if character.is_none() && self.next > u32::from(*COVERS.end()) {
                return None;
            }
            self.next = self.next.saturating_add(1);
            if let Some(character) = character.filter(|character| !self.taken.contains(character)) {
                return Some(character);
            }
        }
    }

    /// A source with marks in its text and in its strings. What is neither cannot write a token.
    fn mark(&self, source: &str, tokenizer: &Tokenizer) -> String {
        let mut marked = String::with_capacity(source.len());
        let mut rest = source;
        while let Some(at) = rest.find('{') {
            let (data, code) = rest.split_at(at);
            self.mark_text(data, tokenizer, &mut marked);
            let close = match code.as_bytes() {
                [_, b'{', ..] => "}}",
                [_, b'%', ..] => "%}",
                [_, b'#', ..] => "#}",
                _ => {
                    marked.push('{');
                    rest = code.get(1..).unwrap_or_default();
                    continue;
                }
            };
            rest = match close {
                "#}" => code.split_once(close).map_or("", |(_, rest)| rest),
                _ => self.mark_code(code, close, tokenizer, &mut marked),
            };
        }
        self.mark_text(rest, tokenizer, &mut marked);
        marked
    }

    /// Marks the strings of code, up to its end; the result is what follows.
    fn mark_code<'s>(&self, code: &'s str, close: &str, tokenizer: &Tokenizer, marked: &mut String) -> &'s str {
        let mut rest = code;
        loop {
            let Some(at) = rest.find(['\'', '"', '}', '%']) else {
                marked.push_str(rest);
                return "";
            };
            let (before, found) = rest.split_at(at);
            marked.push_str(before);
            if let Some(behind) = found.strip_prefix(close) {
                marked.push_str(close);
                return behind;
            }
            let Some(quote) = found.chars().next() else { return "" };
            marked.push(quote);
            rest = found.get(quote.len_utf8()..).unwrap_or_default();
            if matches!(quote, '\'' | '"') {
                let mut escaped = false;
                let end = rest.find(|character| match character {
                    _ if escaped => {
                        escaped = false;
                        false
                    }
                    '\\' => {
                        escaped = true;
                        false
                    }
                    character => character == quote,
                });
                let (string, behind) = rest.split_at(end.unwrap_or(rest.len()));
                self.mark_text(string, tokenizer, marked);
                if behind.starts_with(quote) {
                    marked.push(quote);
                }
                rest = behind.get(quote.len_utf8()..).unwrap_or_default();
            }
        }
    }

    fn mark_text(&self, text: &str, tokenizer: &Tokenizer, marked: &mut String) {
        let mut rest = 0;
        for (range, _) in tokenizer.added_in(text) {
            marked.push_str(text.get(rest..range.start).unwrap_or_default());
            marked.extend(text.get(range.clone()).and_then(|token| self.by_token.get(token)));
            rest = range.end;
        }
        marked.push_str(text.get(rest..).unwrap_or_default());
    }

    /// What `replace` puts into a text: its marks are no control tokens any more, and it counts as part of the conversation.
    fn unmark(&self, text: &str) -> String {
        let covers = COVERING.get();
        let unmark = |character: char| match self.unmarked.get(&character) {
            Some(&text) => text,
            None if covers && self.is_of_tokens(character) => self.put.unwrap_or(character),
            None => character,
        };
        text.chars().map(unmark).collect()
    }

    /// Whether a token could hold a character, as it is or after a change of its case.
    fn is_of_tokens(&self, character: char) -> bool {
        character.to_lowercase().any(|small| self.alphabet.contains(&small))
    }
}

thread_local! {
    /// Whether the template of this thread runs with the conversation under cover.
    static COVERING: Cell<bool> = const { Cell::new(false) };
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
    pub fn new(file: &str, source: &str, tokenizer: &Tokenizer) -> Result<ChatTemplate> {
        let broken = |error: &minijinja::Error| {
            let line = error.line().unwrap_or_default();
            let message = format!("line {line}: {}", escape_whole(&reason(error)));
            Error::file(Class::Template, file, message).with_help("use: lyn generate --raw")
        };
        if source.len() > MAX_SOURCE_BYTES {
            let message = format!("expected at most {MAX_SOURCE_BYTES} bytes, found {}", source.len());
            return Err(Error::file(Class::Template, file, message).with_help("use: lyn generate --raw"));
        }
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        let mut environment = Environment::new();
        environment.set_syntax(syntax.map_err(|error| broken(&error))?);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(MAX_RECURSION);
        let marks = Marks::new(source, tokenizer).ok_or_else(|| {
            Error::file(Class::Template, file, "the tokenizer has more added tokens than a template can tell apart")
        })?;
        let marks = Arc::new(marks);
        let of_methods = Arc::clone(&marks);
        environment.set_unknown_method_callback(move |state, value, method, arguments| match (method, arguments) {
            ("replace", [from, to, rest @ ..]) => {
                let to = to.as_str().map_or_else(|| to.clone(), |to| Value::from(of_methods.unmark(to)));
                unknown_method_callback(state, value, method, &[&[from.clone(), to][..], rest].concat())
            }
            _ => unknown_method_callback(state, value, method, arguments),
        });
        let of_filters = Arc::clone(&marks);
        environment.add_filter(
            "replace",
            move |state: &mut State<'_, '_>, text: Value, from: Value, to: Value, count: Option<i64>| {
                let as_text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let arguments = [as_text(&from).into(), of_filters.unmark(&as_text(&to)).into()];
                let count = count.map(Value::from);
                let arguments: Vec<Value> = arguments.into_iter().chain(count).collect();
                unknown_method_callback(state, &as_text(&text).into(), "replace", &arguments)
            },
        );
        environment.add_filter("tojson", tojson);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", clock::strftime_now);
        // No file name: its ending would choose an escaping.
        let marked = marks.mark(source, tokenizer);
        let compiled = deep(|| environment.add_template_owned("chat", marked));
        compiled.map_err(|error| broken(&error))?;
        Ok(ChatTemplate { environment, file: file.to_owned(), marks })
    }

    /// A conversation as a prompt: control tokens that the template writes, and text.
    ///
    /// # Errors
    /// `bad_request` where the conversation is not sound, or the template refuses it or exceeds a limit.
    pub fn render(
        &self,
        conversation: &Conversation,
        options: Options,
        tokenizer: &Tokenizer,
        ends: Ends<'_>,
    ) -> Result<Prompt> {
        let turns = conversation.turns()?;
        let is_object = |call: &ToolCall| matches!(call.function.arguments(), CallArguments::Object(_));
        let has_arguments = turns.iter().flat_map(|(_, message)| message.calls()).any(is_object);
        // Most templates take arguments as an object, V3's and R1's only as the text that clients send.
        let with = |arguments| {
            let mut cover = Cover::new(tokenizer, &self.marks);
            let text = self.render_with(conversation, &turns, options, ends, arguments, &mut cover)?;
            if !cover.has_tokens(&text) {
                return Ok(cover.prompt(&text, ""));
            }
            // Whose are they?
            cover.covers_all = true;
            let covered = self.render_with(conversation, &turns, options, ends, arguments, &mut cover);
            Ok(cover.prompt(&text, &covered.unwrap_or_default()))
        };
        match with(Arguments::Object) {
            Err(_) if has_arguments => with(Arguments::Text),
            rendered => rendered,
        }
    }

    fn render_with(
        &self,
        conversation: &Conversation,
        turns: &[Turn<'_>],
        options: Options,
        ends: Ends<'_>,
        arguments: Arguments,
        cover: &mut Cover<'_>,
    ) -> Result<String> {
        let end = if options.continue_final { Some(cover.end()?) } else { None };
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
            ("bos_token", Value::from(cover.own(ends.bos))),
            ("eos_token", Value::from(cover.own(ends.eos))),
        ];
        if !conversation.tools().is_empty() {
            context.push(("tools", cover.tools(conversation.tools())?));
        }
        let mut text = self.run(context, cover.covers_all).map_err(|error| self.refused(&error, cover))?;
        if let Some(end) = end {
            let length = text.rfind(end).ok_or_else(|| {
                Error::new(Code::BadRequest, format!("{}: the last message cannot be continued", escape(&self.file)))
            })?;
            text.truncate(length);
        }
        Ok(text)
    }

    fn run(&self, context: Vec<(&str, Value)>, covering: bool) -> Jinja<String> {
        deep(|| {
            COVERING.set(covering);
            let mut output = Output(vec![]);
            let context = Value::from_pairs(context);
            self.environment.get_template("chat")?.render_captured_to(context, &mut output)?;
            String::from_utf8(output.0).map_err(|_| minijinja::Error::new(ErrorKind::BadSerialization, "not UTF-8"))
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

/// Works on a thread whose stack holds what a source or fuel can nest.
fn deep<T: Send>(work: impl FnOnce() -> Jinja<T> + Send) -> Jinja<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("chat-template".into()).stack_size(STACK_BYTES);
        let failed = |message| minijinja::Error::new(ErrorKind::InvalidOperation, message);
        let thread = thread.spawn_scoped(scope, work).map_err(|_| failed("no thread to work on"))?;
        thread.join().unwrap_or_else(|_| Err(failed("minijinja panicked")))
    })
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

/// The texts of a conversation on their way through a template.
struct Cover<'t> {
    tokenizer: &'t Tokenizer,
    marks: &'t Marks,
    /// Whether all characters of which tokens consist go under cover too.
    covers_all: bool,
    /// The first character without a meaning.
    unused: Marks,
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
    fn new(tokenizer: &'t Tokenizer, marks: &'t Marks) -> Cover<'t> {
        Cover {
            tokenizer,
            marks,
            covers_all: false,
            unused: Marks { taken: marks.taken.clone(), next: marks.next, ..Marks::default() },
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
    fn end(&mut self) -> Result<char> {
        let end = self.end.map_or_else(|| self.fresh(), Ok)?;
        self.end = Some(end);
        Ok(end)
    }

    /// A text of ours, which may be a control token.
    fn own(&self, text: &str) -> String {
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

    fn tools(&mut self, tools: &[Tool]) -> Result<Value> {
        let tools = tools.iter().map(|tool| {
            let function = self.json(&Json::Object(tool.function.clone()))?;
            Ok(Value::from_pairs([("type", Value::from("function")), ("function", function)]))
        });
        Ok(tools.collect::<Result<Vec<Value>>>()?.into())
    }

    fn message(&mut self, &(index, message): &Turn<'_>, arguments: Arguments, end: Option<char>) -> Result<Value> {
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

    fn uncovered(&self, text: &str) -> String {
        let mut plain = String::with_capacity(text.len());
        text.chars().for_each(|character| self.push_uncovered(character, &mut plain));
        plain
    }

    /// Whether an output holds texts of control tokens beside the marks.
    fn has_tokens(&self, text: &str) -> bool {
        self.tokenizer.added_in(text).next().is_some()
    }

    /// What a template wrote. `covered`: the same with all texts of the conversation under cover, where that matters.
    fn prompt(&self, text: &str, covered: &str) -> Prompt {
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
