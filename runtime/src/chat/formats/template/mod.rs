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
mod cover;
mod json;
mod marks;
mod own;

use std::io;
use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

use self::cover::{Arguments, Cover};
use self::json::{Jinja, tojson};
use self::marks::{COVERING, Marks};
pub(crate) use self::own::OwnTemplates;
use crate::chat::message::{CallArguments, Conversation, ToolCall, Turn};
use crate::chat::prompt::{Prompt, RenderOptions};
use crate::error::{Class, Code, Error, Result, escape, escape_whole};
use crate::platform::on_stack;
use crate::text::Tokenizer;

/// A unit pays for one instruction or 64 bytes, so that no template makes more than 64 MB, or runs for a second.
const FUEL: u64 = 1_000_000;
/// Several times the longest template that is published: a chain of operators compiles in the square of its length.
const MAX_SOURCE_BYTES: usize = 64 << 10;
const MAX_OUTPUT_BYTES: usize = 16 << 20;
const MAX_RECURSION: usize = 100;
/// Fuel allows lists within lists some hundred thousand deep, which take a frame each to drop. Only touched pages count.
const STACK_BYTES: usize = 512 << 20;

/// A compiled template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    file: String,
    marks: Arc<Marks>,
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
            Error::file(Class::Template, file, "the tokenizer has too many added tokens for a template")
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
        options: RenderOptions,
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
        options: RenderOptions,
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
            ErrorKind::OutOfFuel => "it exceeds its limit of work or memory".to_owned(),
            ErrorKind::WriteFailure => format!("it writes more than {MAX_OUTPUT_BYTES} bytes"),
            _ => cover.uncovered(&reason(error)),
        };
        let line = error.line().unwrap_or_default();
        let message = format!("{}: line {line}: {}", escape(&self.file), escape_whole(&reason));
        Error::new(Code::BadRequest, message)
            .with_help(
                "the checkpoint's chat template cannot render this conversation; to bypass it, use: lyn generate --raw",
            )
            .with_detail("class", Class::Template.name())
            .with_detail("file", escape(&self.file))
    }
}

/// Works on a stack that holds what a source or fuel can nest.
fn deep<T: Send>(work: impl FnOnce() -> Jinja<T> + Send) -> Jinja<T> {
    on_stack("chat-template", STACK_BYTES, work).unwrap_or_else(|| {
        Err(minijinja::Error::new(ErrorKind::InvalidOperation, "minijinja panicked, or there is no thread to work on"))
    })
}

/// What a template says, or what minijinja says of it.
fn reason(error: &minijinja::Error) -> String {
    error.detail().map_or_else(|| error.kind().to_string(), str::to_owned)
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

#[cfg(test)]
mod tests;
