//! What a model writes, while it is being written, as thought, answer and calls.
//!
//! In: whole characters, in any pieces. Out: [`Event`]s that may be shown at once; the result never depends on how the text
//! was split. Never: a call that the model did not write, a marker shown as text.

use std::mem;

use super::control::{END_THINK, THINK};
use super::formats::ChatFormat;
use super::markup::{Markup, Tags};
use crate::generate::{Event, Parser, Voice};
use crate::text::held::held_bytes;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    ThoughtStart,
    Thought,
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
    /// A parameter that is JSON.
    Json,
    /// Behind all calls.
    After,
}

/// In thinking mode text is reasoning until `</think>`, then content; otherwise all is content, until calls begin. Markers
/// may be split between pieces of text: the end of the text waits while it may begin one.
///
/// A thought that is never closed is all reasoning, whatever is in it; one repeated `<think>` at its very start is dropped,
/// and so is every further `</think>`. Between calls anything is skipped, and behind them too. Where an answer ends within
/// a call, what there is of the call has been told, and what there is of its markup is dropped.
///
/// Parameters in tags become one JSON object. Text is escaped as it comes; a value that claims to be JSON waits for its end,
/// because one that is not becomes a string.
///
/// ```
/// # use lyn::chat::{ChatFormat, OutputParser};
/// # use lyn::generate::{Event, Parser, Voice};
/// let mut parser = OutputParser::new(Some(ChatFormat::Exp), true);
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
}

impl OutputParser {
    /// `format`: whose calls are looked for; none: all text is content. `thinking`: whether the prompt ended in `<think>`.
    pub fn new(format: Option<ChatFormat>, thinking: bool) -> Self {
        OutputParser {
            markup: format.map(ChatFormat::markup),
            state: if thinking { State::ThoughtStart } else { State::Content },
            held: String::new(),
            partial: String::new(),
            calls: 0,
            any_parameter: false,
            any_text: false,
        }
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
            State::Content => content(rest),
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
        if self.state == State::Content && calls.any(|marker| marker.starts_with(self.held.as_str())) {
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
            self.state = State::Block;
        }
        marker.is_some()
    }

    fn call(&mut self, markup: &Markup, out: &mut Vec<Event>) -> bool {
        match self.state {
            State::Block => match self.take_until(&[markup.call, markup.block_end]).1 {
                Some(marker) if marker == markup.call => self.go(State::Name),
                Some(_) => self.go(State::After),
                None => false,
            },
            State::Name => {
                let Some(written) = self.whole(markup.name_end) else { return false };
                let name = markup.tags.as_ref().map_or(&*written, |tags| behind(&written, tags.name));
                out.push(Event::Call { index: self.calls, name: name.trim().to_owned(), id: None });
                (self.any_parameter, self.any_text) = (false, false);
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
                let Some(tag) = self.whole(tags.tag_end) else { return false };
                let written = behind(&tag, tags.name);
                let (key, is_text) = written.split_once(tags.is_text).unwrap_or((written, ""));
                let before = if mem::replace(&mut self.any_parameter, true) { ", " } else { "{" };
                let is_text = is_text == "true";
                let quote = if is_text { "\"" } else { "" };
                self.arguments(format!("{before}\"{}\": {quote}", escaped(key)), out);
                self.go(if is_text { State::Text } else { State::Json })
            }
            State::Text => {
                let (text, end) = self.take_until(&[tags.parameter_end]);
                let quote = if end.is_some() { "\"" } else { "" };
                self.arguments(escaped(&text) + quote, out);
                end.is_some() && self.go(State::Parameters)
            }
            State::Json => {
                let Some(value) = self.whole(tags.parameter_end) else { return false };
                let is_json = serde_json::from_str::<serde::de::IgnoredAny>(&value).is_ok();
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

    /// All text up to `marker`, once that has come.
    fn whole(&mut self, marker: &'static str) -> Option<String> {
        let (text, end) = self.take_until(&[marker]);
        self.partial.push_str(&text);
        end.map(|_| mem::take(&mut self.partial))
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

/// What a tag says behind an attribute's beginning.
fn behind<'t>(tag: &'t str, attribute: &str) -> &'t str {
    tag.split_once(attribute).map_or(tag, |(_, value)| value)
}

/// The inside of a JSON string. Characters are escaped one by one, so texts can be joined afterwards.
fn escaped(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
