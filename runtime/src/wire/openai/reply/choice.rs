//! One choice of an answer: what its chunks say, as events.

use serde_json::Value;

use super::counts;
use crate::chat::OutputParser;
use crate::chat::control::{END_THINK, THINK};
use crate::generate::{Event, Finish, Parser, SpelledToken, Voice};

/// Calls of an answer beyond which an engine is not believed.
pub(super) const MOST_CALLS: usize = 1024;
/// Text that waits for the mark that would make it a thought.
const HELD_BYTES: usize = 1 << 20;
/// Tokens with log probabilities that wait for their text.
const HELD_TOKENS: usize = 1 << 16;

/// One of the answers.
pub(super) struct Choice {
    text: Text,
    /// The engine keeps thoughts apart.
    apart: bool,
    calls: Vec<Call>,
    /// The call that deltas without id and index belong to.
    current: Option<usize>,
    /// The last call may still get arguments.
    in_call: bool,
    /// Why it ended, where it did.
    pub(super) finish: Option<Finish>,
    /// Tokens whose text has not been said.
    spelled: Vec<SpelledToken>,
    /// What was said and nobody has yet.
    pub(super) events: Vec<Event>,
}

/// What text of the field `content` is.
enum Text {
    /// Not clear yet: it may begin a thought.
    Held(String),
    /// The answer.
    Plain,
    /// A thought between marks, then the answer.
    Marked { parser: OutputParser, begun: Begun },
}

/// Which voices have said something.
#[derive(Default)]
struct Begun {
    thought: bool,
    answer: bool,
}

struct Call {
    /// The engine's number.
    number: Option<u64>,
    id: Option<String>,
    has_arguments: bool,
}

impl Choice {
    pub(super) fn new() -> Choice {
        Choice {
            text: Text::Held(String::new()),
            apart: false,
            calls: vec![],
            current: None,
            in_call: false,
            finish: None,
            spelled: vec![],
            events: vec![],
        }
    }

    /// Takes a choice of a chunk; none where it has too many calls. What comes after its end is ignored.
    pub(super) fn take(&mut self, choice: &Value, thinking: Option<bool>) -> Option<()> {
        if self.finish.is_some() {
            return Some(());
        }
        if let Some(logprobs) = choice.get("logprobs").filter(|_| self.spelled.len() < HELD_TOKENS) {
            self.spelled.extend(counts::spelled(logprobs));
        }
        let said = ["delta", "message"].iter().find_map(|name| choice.get(*name)).unwrap_or(&Value::Null);
        let field = |name: &str| said.get(name).and_then(Value::as_str);
        if let Some(thought) = field("reasoning_content").or_else(|| field("reasoning")) {
            self.apart = true;
            if !thought.is_empty() {
                self.release(thinking);
                self.say(Voice::Reasoning, thought.to_owned());
            }
        }
        if let Some(text) = said.get("content").and_then(content).filter(|text| !text.is_empty()) {
            self.content(&text, thinking);
        }
        // A text completion has no thoughts.
        if let Some(text) = choice.get("text").and_then(Value::as_str).filter(|text| !text.is_empty()) {
            self.say(Voice::Content, text.to_owned());
        }
        for call in said.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
            self.release(thinking);
            self.call(call)?;
        }
        if let Some(reason) = choice.get("finish_reason").and_then(Value::as_str).filter(|reason| !reason.is_empty()) {
            self.end(reason, thinking);
        }
        Some(())
    }

    fn say(&mut self, voice: Voice, text: String) {
        self.end_call();
        self.events.extend(self.spelled.drain(..).map(Event::Spelled));
        self.events.push(Event::Text { voice, text });
    }

    /// The last call is complete: something else follows.
    fn end_call(&mut self) {
        if let (true, Some(last)) = (self.in_call, self.calls.len().checked_sub(1)) {
            self.events.push(Event::CallEnd { index: place(last) });
        }
        self.in_call = false;
    }

    fn content(&mut self, text: &str, thinking: Option<bool>) {
        match &mut self.text {
            Text::Plain => self.say(Voice::Content, text.to_owned()),
            Text::Marked { parser, .. } => {
                let parts = parser.push(text);
                self.marked(parts);
            }
            Text::Held(held) => {
                held.push_str(text);
                self.decide(thinking, false);
            }
        }
    }

    /// Decides what held text is, where that is clear. A template may have put the opening mark into the prompt: where
    /// thinking was asked for and no thought has come apart, all text waits for the closing mark.
    fn decide(&mut self, thinking: Option<bool>, at_end: bool) {
        let Text::Held(held) = &mut self.text else { return };
        let begin = held.trim_start();
        let opens = begin.starts_with(THINK);
        let closes = thinking != Some(false) && held.contains(END_THINK);
        let may_open = THINK.starts_with(begin) && !begin.is_empty();
        let may_close = thinking == Some(true) && held.len() < HELD_BYTES;
        if !self.apart && (opens || closes) {
            let mut parser = OutputParser::new(None, true);
            let parts = parser.push(begin);
            self.text = Text::Marked { parser, begun: Begun::default() };
            return self.marked(parts);
        }
        if !self.apart && !at_end && (may_open || may_close || begin.is_empty()) {
            return;
        }
        let held = std::mem::take(held);
        self.text = Text::Plain;
        if !held.is_empty() {
            self.say(Voice::Content, held);
        }
    }

    /// Says what the marks released. Line breaks between marks and text belong to neither.
    fn marked(&mut self, parts: Vec<Event>) {
        for part in parts {
            let (Event::Text { voice, text }, Text::Marked { begun, .. }) = (part, &mut self.text) else { return };
            let begun = if voice == Voice::Content { &mut begun.answer } else { &mut begun.thought };
            let text = if *begun { text } else { text.trim_start_matches('\n').to_owned() };
            *begun |= !text.is_empty();
            if !text.is_empty() {
                self.say(voice, text);
            }
        }
    }

    /// Lets go of everything that waits: something else follows.
    pub(super) fn release(&mut self, thinking: Option<bool>) {
        self.decide(thinking, true);
        if let Text::Marked { parser, .. } = &mut self.text {
            let parts = parser.finish();
            self.marked(parts);
        }
    }

    fn call(&mut self, delta: &Value) -> Option<()> {
        let id = delta.get("id").and_then(Value::as_str).filter(|id| !id.is_empty());
        let name = delta.pointer("/function/name").and_then(Value::as_str).filter(|name| !name.is_empty());
        let number = delta.get("index").and_then(Value::as_u64);
        let arguments = match delta.pointer("/function/arguments") {
            Some(Value::String(text)) => text.clone(),
            // Some engines send the object itself.
            Some(object @ Value::Object(_)) => object.to_string(),
            _ => String::new(),
        };
        let known = match number {
            Some(number) => self.calls.iter().rposition(|call| call.number == Some(number)),
            None => self.current,
        };
        let known = known.filter(|&call| {
            let Some(call) = self.calls.get(call) else { return false };
            // Another id under the same number is another call; without any id, a new name after arguments is one.
            match (&call.id, id) {
                (Some(known), Some(id)) => known == id,
                (None, Some(_)) => !call.has_arguments,
                (_, None) => number.is_some() || name.is_none() || !call.has_arguments,
            }
        });
        let call = match known {
            Some(call) => call,
            None if self.calls.len() == MOST_CALLS => return None,
            None => {
                self.end_call();
                let call = self.calls.len();
                self.calls.push(Call { number, id: id.map(str::to_owned), has_arguments: false });
                self.in_call = true;
                let (name, id) = (name.unwrap_or_default().to_owned(), id.map(str::to_owned));
                self.events.push(Event::Call { index: place(call), name, id });
                call
            }
        };
        self.current = Some(call);
        if let (false, Some(state)) = (arguments.is_empty(), self.calls.get_mut(call)) {
            state.has_arguments = true;
            self.events.push(Event::Arguments { index: place(call), text: arguments });
        }
        Some(())
    }

    /// Keeps the end until all counts are known.
    pub(super) fn end(&mut self, reason: &str, thinking: Option<bool>) {
        self.release(thinking);
        let finish = match reason {
            "length" | "max_tokens" => Finish::Length,
            "content_filter" => Finish::Filtered,
            // They say nothing about the answer: the engine ran out of something.
            "insufficient_system_resource" | "aborted" | "abort" | "error" => Finish::Aborted,
            "tool_calls" => Finish::ToolCalls,
            // Engines say `stop` where a certain call was asked for; clients look at the reason to know that there is one.
            "stop" | "function_call" if !self.calls.is_empty() => Finish::ToolCalls,
            _ => Finish::Stop,
        };
        // A call that was cut is none.
        if !matches!(finish, Finish::Length | Finish::Aborted) {
            self.end_call();
        }
        self.finish = Some(finish);
    }
}

/// A place among at most [`MOST_CALLS`].
fn place(call: usize) -> u32 {
    u32::try_from(call).unwrap_or(u32::MAX)
}

/// Text, or parts of text.
fn content(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => Some(parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str)).collect()),
        _ => None,
    }
}
