//! What a model writes, while it is being written, as thought, answer and calls.
//!
//! In: whole characters, in any pieces. Out: [`Event`]s that may be shown at once; the result never depends on how the text
//! was split. Never: a call that the model did not write, a marker shown as text.

use std::mem;
use std::sync::Arc;

use serde_json::Value;

use super::control::{END_THINK, THINK};
use super::formats::CallSyntax;
use super::kinds::Kinds;
use super::markup::{Markup, Tags};
use crate::generate::{Callable, Event, Parser, Voice};
use crate::text::held::held_bytes;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    ThoughtStart,
    Thought,
    /// Where a thought may begin.
    Start,
    Content,
    /// Among calls, in none.
    Block,
    /// The name of a call, with what else its opening tag holds.
    Name,
    /// Arguments that are one JSON text.
    Arguments,
    /// Among the parameters of a call.
    Parameters,
    /// The opening tag of a parameter.
    Tag,
    /// A parameter that is text.
    Text,
    /// A parameter that is JSON; where only its function's schema can tell, if it is of one of these kinds.
    Json(Option<Kinds>),
    /// Behind all calls.
    After,
}

/// In thinking mode text is reasoning until `</think>`, then content; otherwise all is content, until calls begin. Markers
/// may be split between pieces of text: the end of the text waits while it may begin one.
///
/// Where a checkpoint's own template made the prompt, the model may open the thought itself, by `<think>` before anything else.
///
/// A thought that is never closed is all reasoning, whatever is in it; one repeated `<think>` at its very start is dropped,
/// and so is every further `</think>`. Between calls anything is skipped, and behind them too. Where an answer ends within
/// a call, what there is of the call has been told, and what there is of its markup is dropped.
///
/// Parameters in tags become one JSON object. Text is escaped as it comes; a value that claims to be JSON, or whose function's
/// schema allows it to be, waits for its end, because one that is not becomes a string.
///
/// ```
/// # use lyn::chat::{CallSyntax, OutputParser};
/// # use lyn::generate::{Event, Parser, Voice};
/// let mut parser = OutputParser::new(Some(CallSyntax::Exp), true);
/// let text = |voice, text: &str| Event::Text { voice, text: text.to_owned() };
/// assert_eq!(parser.push("hm</thi"), [text(Voice::Reasoning, "hm")]);
/// assert_eq!(parser.push("nk>Yes<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f"), [text(Voice::Content, "Yes")]);
/// let call = Event::Call { index: 0, name: "f".to_owned(), id: None };
/// assert_eq!(parser.push("<｜tool▁sep｜>{}"), [call, Event::Arguments { index: 0, text: "{}".to_owned() }]);
/// assert_eq!(parser.push("<｜tool▁call▁end｜>"), [Event::CallEnd { index: 0 }]);
/// assert_eq!((parser.finish(), parser.calls()), (vec![], 1));
/// ```
#[derive(Clone)]
pub struct OutputParser {
    markup: Option<&'static Markup>,
    state: State,
    held: String,
    /// Part of a name or a tag, a value that waits for its end, or white space that may be the last.
    partial: String,
    /// Calls that are complete, and so the place of the next.
    calls: u32,
    /// Of the call in progress: parameters or other text, whichever came first, or nothing yet.
    any_parameter: bool,
    any_text: bool,
    /// Functions on offer, and the arguments of the one that is called.
    functions: Arc<[Callable]>,
    parameters: Option<usize>,
}

impl OutputParser {
    /// `calls`: how the calls that are looked for are spelled; none: all text is content. `thinking`: whether the prompt ended in
    /// `<think>`.
    pub fn new(calls: Option<CallSyntax>, thinking: bool) -> Self {
        OutputParser {
            markup: calls.map(CallSyntax::markup),
            state: if thinking { State::ThoughtStart } else { State::Content },
            held: String::new(),
            partial: String::new(),
            calls: 0,
            any_parameter: false,
            any_text: false,
            functions: Arc::default(),
            parameters: None,
        }
    }

    /// With the schemas of the functions on offer, which some formats need to tell text from other values.
    #[must_use]
    pub fn calling(self, functions: Arc<[Callable]>) -> Self {
        OutputParser { functions, ..self }
    }

    /// For an answer that may open a thought itself, unless the prompt did.
    #[must_use]
    pub fn may_think(self) -> Self {
        let state = if self.state == State::Content { State::Start } else { self.state };
        OutputParser { state, ..self }
    }
}

impl Parser for OutputParser {
    fn is_thinking(&self) -> bool {
        matches!(self.state, State::ThoughtStart | State::Thought)
    }

    fn calls(&self) -> u32 {
        self.calls
    }

    fn push(&mut self, text: &str) -> Vec<Event> {
        self.held.push_str(text);
        let mut out = vec![];
        while self.step(&mut out) {}
        out
    }

    fn finish(&mut self) -> Vec<Event> {
        let rest = mem::take(&mut self.held);
        let part = match mem::replace(&mut self.state, State::After) {
            State::ThoughtStart | State::Thought => thought(rest),
            State::Start | State::Content => content(rest),
            // What waits may begin a marker: it is none of the arguments.
            _ => return vec![],
        };
        let mut out = vec![];
        emit(part, &mut out);
        out
    }

    fn cut(&mut self) -> Vec<Event> {
        let markers = self.markup.map_or(&[][..], |markup| markup.content);
        let mut calls = markers.iter().filter(|marker| **marker != END_THINK);
        if matches!(self.state, State::Start | State::Content)
            && calls.any(|marker| marker.starts_with(self.held.as_str()))
        {
            self.held.clear();
        }
        self.finish()
    }
}

impl OutputParser {
    /// One state's share of the text that waits; true where another state goes on with the rest.
    fn step(&mut self, out: &mut Vec<Event>) -> bool {
        match self.state {
            State::ThoughtStart => {
                if let Some(rest) = self.held.strip_prefix(THINK) {
                    self.held = rest.to_owned();
                } else if THINK.starts_with(self.held.as_str()) {
                    return false;
                }
                self.go(State::Thought)
            }
            State::Thought => {
                let (text, marker) = self.take_until(&[END_THINK]);
                emit(thought(text), out);
                marker.is_some() && self.go(State::Content)
            }
            State::Start => {
                let text = self.held.trim_start();
                if let Some(thought) = text.strip_prefix(THINK) {
                    self.held = thought.to_owned();
                    return self.go(State::Thought);
                }
                !THINK.starts_with(text) && self.go(State::Content)
            }
            State::Content => self.content(out),
            State::After => {
                self.held.clear();
                false
            }
            // Only markup leads to the other states.
            _ => self.markup.is_some_and(|markup| self.call(markup, out)),
        }
    }

    fn content(&mut self, out: &mut Vec<Event>) -> bool {
        let (text, marker) = self.take_until(self.markup.map_or(&[END_THINK], |markup| markup.content));
        emit(content(text), out);
        if marker.is_some_and(|marker| marker != END_THINK) {
            // Without a block it is a call that has been opened.
            let in_block = self.markup.is_some_and(|markup| markup.block_end.is_some());
            self.state = if in_block { State::Block } else { State::Name };
        }
        marker.is_some()
    }

    fn call(&mut self, markup: &Markup, out: &mut Vec<Event>) -> bool {
        match self.state {
            State::Block => match self.take_until(&[markup.call, markup.block_end.unwrap_or(markup.call)]).1 {
                Some(marker) if marker == markup.call => self.go(State::Name),
                Some(_) => self.go(State::After),
                None => false,
            },
            State::Name => {
                let Some((written, marker)) = self.whole(markup.name_end) else { return false };
                let (name, id) = (markup.name)(&written);
                let name = name.trim();
                self.parameters = self.functions.iter().position(|function| function.name == name);
                out.push(Event::Call { index: self.calls, name: name.to_owned(), id: id.map(str::to_owned) });
                (self.any_parameter, self.any_text) = (false, false);
                if marker == markup.call_end || markup.tags.as_ref().is_some_and(|tags| marker == tags.parameter) {
                    self.held.insert_str(0, marker);
                }
                self.go(if markup.tags.is_some() { State::Parameters } else { State::Arguments })
            }
            State::Arguments => {
                let (text, end) = self.take_until(&[markup.call_end]);
                self.trimmed(&text, out);
                end.is_some() && self.end_call(out)
            }
            // Only tags lead to the other states.
            _ => markup.tags.as_ref().is_some_and(|tags| self.tagged(markup, tags, out)),
        }
    }

    fn tagged(&mut self, markup: &Markup, tags: &Tags, out: &mut Vec<Event>) -> bool {
        match self.state {
            State::Parameters => self.parameters(markup, tags, out),
            State::Tag => {
                let Some((tag, _)) = self.whole(&[tags.tag_end]) else { return false };
                let (name, is_text) = (tags.name)(&tag);
                let before = if mem::replace(&mut self.any_parameter, true) { ", " } else { "{" };
                let kinds = if is_text.is_none() { Some(self.kinds(name)) } else { None };
                let is_text = is_text.unwrap_or(kinds.is_some_and(Kinds::is_text));
                let quote = if is_text { "\"" } else { "" };
                self.arguments(format!("{before}\"{}\": {quote}", escaped(name)), out);
                self.go(if is_text { State::Text } else { State::Json(kinds) })
            }
            State::Text => {
                let (text, end) = self.take_until(&[tags.parameter_end]);
                let quote = if end.is_some() { "\"" } else { "" };
                self.arguments(escaped(&text) + quote, out);
                end.is_some() && self.go(State::Parameters)
            }
            State::Json(kinds) => {
                let Some((value, _)) = self.whole(&[tags.parameter_end]) else { return false };
                let is_json = match kinds {
                    Some(kinds) => kinds.takes_json(&value),
                    None => serde_json::from_str::<serde::de::IgnoredAny>(&value).is_ok(),
                };
                self.arguments(if is_json { value } else { format!("\"{}\"", escaped(&value)) }, out);
                self.go(State::Parameters)
            }
            _ => false,
        }
    }

    fn parameters(&mut self, markup: &Markup, tags: &Tags, out: &mut Vec<Event>) -> bool {
        // Some models write the arguments as JSON where parameters belong.
        if !self.any_parameter && !self.any_text && self.held.trim_start().starts_with('{') {
            return self.go(State::Arguments);
        }
        let (text, marker) = self.take_until(&[tags.parameter, markup.call_end]);
        self.any_text |= !text.trim().is_empty();
        match marker {
            Some(marker) if marker == tags.parameter => self.go(State::Tag),
            Some(_) => {
                self.arguments(if self.any_parameter { "}" } else { "{}" }.to_owned(), out);
                self.end_call(out)
            }
            None => false,
        }
    }

    fn end_call(&mut self, out: &mut Vec<Event>) -> bool {
        self.partial.clear();
        out.push(Event::CallEnd { index: self.calls });
        self.calls = self.calls.saturating_add(1);
        self.go(State::Block)
    }

    const fn go(&mut self, state: State) -> bool {
        self.state = state;
        true
    }

    /// Text up to the first of `markers`, which goes with it; without one, the text that begins none.
    fn take_until(&mut self, markers: &[&'static str]) -> (String, Option<&'static str>) {
        let starts = markers.iter().filter_map(|&marker| Some((self.held.find(marker)?, marker)));
        let (end, marker) = match starts.min_by_key(|&(start, _)| start) {
            Some((start, marker)) => (start, Some(marker)),
            None => (self.held.len().saturating_sub(held_bytes(&self.held, markers.iter().copied())), None),
        };
        let rest = self.held.split_off(end);
        let text = mem::replace(&mut self.held, rest);
        if let Some(marker) = marker {
            self.held.drain(..marker.len());
        }
        (text, marker)
    }

    /// All text up to one of `markers`, once that has come.
    fn whole(&mut self, markers: &[&'static str]) -> Option<(String, &'static str)> {
        let (text, end) = self.take_until(markers);
        self.partial.push_str(&text);
        end.map(|marker| (mem::take(&mut self.partial), marker))
    }

    /// What the schema of the function that is called says of an argument.
    fn kinds(&self, name: &str) -> Kinds {
        let function = self.parameters.and_then(|place| self.functions.get(place));
        function.map_or(Kinds::ANY, |function| Kinds::of(&function.parameters, name))
    }

    /// Arguments as the model wrote them, without white space at either end.
    fn trimmed(&mut self, text: &str, out: &mut Vec<Event>) {
        let text = if self.any_text { text } else { text.trim_start() };
        let shown = text.trim_end();
        if !shown.is_empty() {
            let waited = mem::take(&mut self.partial);
            self.arguments(waited + shown, out);
            self.any_text = true;
        }
        self.partial.push_str(text.get(shown.len()..).unwrap_or_default());
    }

    fn arguments(&self, text: String, out: &mut Vec<Event>) {
        emit(Event::Arguments { index: self.calls, text }, out);
    }
}

fn thought(text: String) -> Event {
    Event::Text { voice: Voice::Reasoning, text }
}

fn content(text: String) -> Event {
    Event::Text { voice: Voice::Content, text }
}

fn emit(part: Event, out: &mut Vec<Event>) {
    if let Event::Text { text, .. } | Event::Arguments { text, .. } = &part
        && text.is_empty()
    {
        return;
    }
    out.push(part);
}

/// The inside of a JSON string. Characters are escaped one by one, so texts can be joined afterwards.
fn escaped(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
