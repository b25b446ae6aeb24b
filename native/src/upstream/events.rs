//! Chunks of any engine to events of one kind.
//!
//! In: the JSON of chunks, or of a whole answer, in whatever variant. Out: thought, answer, calls, ends and counts, in order.
//! Thoughts come in a field of their own under two names, or at the beginning of the text between `<think>` marks.

use std::collections::BTreeMap;

use lyn::Error;
use lyn::chat::control::{END_THINK, THINK};
use lyn::error::Result;
use lyn::generate::Voice;
use serde_json::Value;

use super::error;
use super::thought::Splitter;
use super::usage::Usage;

/// Choices and calls of an answer beyond which an engine is not believed.
const MOST_CHOICES: u64 = 128;
const MOST_CALLS: usize = 1024;
/// Text that waits for the mark that would make it a thought.
const HELD_BYTES: usize = 1 << 20;

/// Something new in an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    /// Text of a choice, never empty.
    Text {
        /// The choice.
        index: u32,
        /// Thought or answer.
        voice: Voice,
        /// What is added.
        text: String,
        /// As the engine reports them.
        logprobs: Option<Value>,
    },
    /// A call of a function begins.
    Call {
        /// The choice.
        index: u32,
        /// Counts the calls of the choice, from 0.
        call: usize,
        /// The engine's own, or drawn where it has none.
        id: String,
        /// The function.
        name: String,
    },
    /// Arguments of a call, more of the JSON text.
    Arguments {
        /// The choice.
        index: u32,
        /// The call.
        call: usize,
        /// What is added.
        text: String,
    },
    /// A choice is complete.
    Finish {
        /// The choice.
        index: u32,
        /// `stop`, `length`, `tool_calls`, `content_filter`, or what the engine says.
        reason: String,
    },
    /// The counts, once, after everything else; absent where the engine tells none.
    Usage(Usage),
}

/// The state of one answer.
#[derive(Debug)]
pub(super) struct Normaliser {
    host: String,
    /// Whether thinking was asked for; none: the engine decides.
    thinking: Option<bool>,
    choices: BTreeMap<u32, Choice>,
    usage: Option<Usage>,
    model: Option<String>,
    fingerprint: Option<String>,
}

#[derive(Debug)]
struct Choice {
    index: u32,
    text: Text,
    /// The engine keeps thoughts apart.
    apart: bool,
    calls: Vec<Call>,
    /// The call that deltas without id and index belong to.
    current: Option<usize>,
    finished: bool,
    logprobs: Option<Value>,
}

/// What text of the field `content` is.
#[derive(Debug)]
enum Text {
    /// Not clear yet: it may begin a thought.
    Held(String),
    /// The answer.
    Plain,
    /// A thought between marks, then the answer. `begun`: whether either voice has said something.
    Marked { splitter: Splitter, begun: [bool; 2] },
}

#[derive(Debug)]
struct Call {
    /// The engine's number.
    number: Option<u64>,
    id: Option<String>,
    has_arguments: bool,
}

impl Normaliser {
    /// `thinking`: what the request asked for, where it did.
    pub(super) fn new(host: &str, thinking: Option<bool>) -> Normaliser {
        Normaliser {
            host: host.to_owned(),
            thinking,
            choices: BTreeMap::new(),
            usage: None,
            model: None,
            fingerprint: None,
        }
    }

    /// The model that the engine names.
    pub(super) fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// The fingerprint that the engine names.
    pub(super) fn fingerprint(&self) -> Option<&str> {
        self.fingerprint.as_deref()
    }

    /// Takes a chunk, or a whole answer.
    ///
    /// # Errors
    /// `upstream` where it is an error, or no chunk at all.
    pub(super) fn chunk(&mut self, chunk: &Value) -> Result<Vec<Event>> {
        let refused = chunk.get("error").is_some_and(|error| !error.is_null())
            || chunk.get("object").and_then(Value::as_str) == Some("error");
        if refused {
            return Err(error::in_stream(&self.host, chunk));
        }
        if !chunk.is_object() {
            return Err(self.broken(format!("sent {} in place of a chunk", error::one_line(&chunk.to_string()))));
        }
        for (name, kept) in [("model", &mut self.model), ("system_fingerprint", &mut self.fingerprint)] {
            if let (None, Some(said)) = (&kept, chunk.get(name).and_then(Value::as_str)) {
                *kept = Some(said.to_owned());
            }
        }
        if let Some(report) = chunk.get("usage").filter(|usage| usage.is_object()) {
            self.usage.get_or_insert_default().update(report);
        }
        let mut events = vec![];
        for choice in chunk.get("choices").and_then(Value::as_array).into_iter().flatten() {
            let number = choice.get("index").and_then(Value::as_u64).unwrap_or(0);
            let index = u32::try_from(number).ok().filter(|_| number < MOST_CHOICES);
            let index = index.ok_or_else(|| self.broken(format!("sent a choice number {number}")))?;
            let state = self.choices.entry(index).or_insert_with(|| Choice::new(index));
            if state.take(choice, self.thinking, &mut events).is_none() {
                return Err(self.broken(format!("sent more than {MOST_CALLS} calls")));
            }
        }
        Ok(events)
    }

    /// Text that still waited when the answer broke off.
    pub(super) fn release(&mut self) -> Vec<Event> {
        let mut events = vec![];
        for choice in self.choices.values_mut().filter(|choice| !choice.finished) {
            choice.release(self.thinking, &mut events);
        }
        events
    }

    /// The end of the stream. `marked`: the engine said that it is the end.
    ///
    /// # Errors
    /// `upstream` where it is an end in the middle.
    pub(super) fn finish(&mut self, marked: bool) -> Result<Vec<Event>> {
        if self.choices.is_empty() {
            return Err(self.broken("sent no answer"));
        }
        if !marked && self.choices.values().any(|choice| !choice.finished) {
            return Err(self.broken("broke off in the middle of an answer"));
        }
        let mut events = self.release();
        let open = self.choices.values_mut().filter(|choice| !choice.finished);
        events.extend(open.map(|choice| choice.end("stop")));
        events.extend(self.usage.filter(|usage| *usage != Usage::default()).map(Event::Usage));
        Ok(events)
    }

    fn broken(&self, what: impl std::fmt::Display) -> Error {
        error::upstream(&self.host, what)
    }
}

impl Choice {
    fn new(index: u32) -> Choice {
        Choice {
            index,
            text: Text::Held(String::new()),
            apart: false,
            calls: vec![],
            current: None,
            finished: false,
            logprobs: None,
        }
    }

    /// Takes a choice of a chunk; none where it has too many calls. What comes after its end is ignored.
    fn take(&mut self, choice: &Value, thinking: Option<bool>, events: &mut Vec<Event>) -> Option<()> {
        if self.finished {
            return Some(());
        }
        if let Some(logprobs) = choice.get("logprobs").filter(|logprobs| logprobs.is_object()) {
            self.logprobs = Some(logprobs.clone());
        }
        let said = ["delta", "message"].iter().find_map(|name| choice.get(*name)).unwrap_or(&Value::Null);
        let field = |name: &str| said.get(name).and_then(Value::as_str);
        if let Some(thought) = field("reasoning_content").or_else(|| field("reasoning")) {
            self.apart = true;
            if !thought.is_empty() {
                self.release(thinking, events);
                self.say(Voice::Reasoning, thought.to_owned(), events);
            }
        }
        if let Some(text) = said.get("content").and_then(content).filter(|text| !text.is_empty()) {
            self.content(&text, thinking, events);
        }
        for call in said.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
            self.release(thinking, events);
            self.call(call, events)?;
        }
        if let Some(reason) = choice.get("finish_reason").and_then(Value::as_str).filter(|reason| !reason.is_empty()) {
            self.release(thinking, events);
            events.push(self.end(reason));
        }
        Some(())
    }

    fn say(&mut self, voice: Voice, text: String, events: &mut Vec<Event>) {
        events.push(Event::Text { index: self.index, voice, text, logprobs: self.logprobs.take() });
    }

    fn content(&mut self, text: &str, thinking: Option<bool>, events: &mut Vec<Event>) {
        match &mut self.text {
            Text::Plain => self.say(Voice::Content, text.to_owned(), events),
            Text::Marked { splitter, .. } => {
                let parts = splitter.push(text);
                self.marked(parts, events);
            }
            Text::Held(held) => {
                held.push_str(text);
                self.decide(thinking, false, events);
            }
        }
    }

    /// Decides what held text is, where that is clear. A template may have put the opening mark into the prompt: where
    /// thinking was asked for and no thought has come apart, all text waits for the closing mark.
    fn decide(&mut self, thinking: Option<bool>, at_end: bool, events: &mut Vec<Event>) {
        let Text::Held(held) = &mut self.text else { return };
        let begin = held.trim_start();
        let opens = begin.starts_with(THINK);
        let closes = thinking != Some(false) && held.contains(END_THINK);
        let may_open = THINK.starts_with(begin) && !begin.is_empty();
        let may_close = thinking == Some(true) && held.len() < HELD_BYTES;
        if !self.apart && (opens || closes) {
            let mut splitter = Splitter::default();
            let parts = splitter.push(begin);
            self.text = Text::Marked { splitter, begun: [false; 2] };
            return self.marked(parts, events);
        }
        if !self.apart && !at_end && (may_open || may_close || begin.is_empty()) {
            return;
        }
        let held = std::mem::take(held);
        self.text = Text::Plain;
        if !held.is_empty() {
            self.say(Voice::Content, held, events);
        }
    }

    /// Says what the marks released. Line breaks between marks and text belong to neither.
    fn marked(&mut self, parts: Vec<(Voice, String)>, events: &mut Vec<Event>) {
        for (voice, text) in parts {
            let Text::Marked { begun, .. } = &mut self.text else { return };
            let begun = &mut begun[usize::from(voice == Voice::Content)];
            let text = if *begun { text } else { text.trim_start_matches('\n').to_owned() };
            *begun |= !text.is_empty();
            if !text.is_empty() {
                self.say(voice, text, events);
            }
        }
    }

    /// Lets go of everything that waits: something else follows.
    fn release(&mut self, thinking: Option<bool>, events: &mut Vec<Event>) {
        self.decide(thinking, true, events);
        if let Text::Marked { splitter, .. } = &mut self.text {
            let parts = splitter.finish();
            self.marked(parts, events);
        }
    }

    fn call(&mut self, delta: &Value, events: &mut Vec<Event>) -> Option<()> {
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
            let call = &self.calls[call];
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
                self.calls.push(Call { number, id: id.map(str::to_owned), has_arguments: false });
                let call = self.calls.len() - 1;
                let id = id.map_or_else(|| call_id(call), str::to_owned);
                let name = name.unwrap_or_default().to_owned();
                events.push(Event::Call { index: self.index, call, id, name });
                call
            }
        };
        self.current = Some(call);
        if !arguments.is_empty() {
            self.calls[call].has_arguments = true;
            events.push(Event::Arguments { index: self.index, call, text: arguments });
        }
        Some(())
    }

    fn end(&mut self, reason: &str) -> Event {
        self.finished = true;
        // Engines say `stop` where a certain call was asked for; clients look at the reason to know that there is one.
        let reason = match reason {
            "stop" | "function_call" if !self.calls.is_empty() => "tool_calls",
            "eos" | "eos_token" | "end_turn" => "stop",
            "max_tokens" => "length",
            other => other,
        };
        Event::Finish { index: self.index, reason: reason.to_owned() }
    }
}

/// Text, or parts of text.
fn content(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => Some(parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str)).collect()),
        _ => None,
    }
}

/// Random letters and digits.
fn random_text(length: usize) -> String {
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut text = String::with_capacity(length);
    while text.len() < length {
        let mut bits = lyn::platform::seed();
        // A seed has 32 bits: five letters.
        for _ in 0..5.min(length - text.len()) {
            let place = usize::try_from(bits % 62).unwrap_or(0);
            text.push(char::from(LETTERS[place]));
            bits /= 62;
        }
    }
    text
}

/// An id as DeepSeek writes it.
fn call_id(call: usize) -> String {
    format!("call_{call:02}_{}", random_text(24))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Thought, answer, calls (name and arguments), reasons.
    type Whole = (String, String, Vec<(String, String)>, Vec<String>);

    fn whole(events: &[Event]) -> Whole {
        let mut whole = Whole::default();
        for event in events {
            match event {
                Event::Text { voice: Voice::Reasoning, text, .. } => whole.0 += text,
                Event::Text { voice: Voice::Content, text, .. } => whole.1 += text,
                Event::Call { name, .. } => whole.2.push((name.clone(), String::new())),
                Event::Arguments { call, text, .. } => whole.2[*call].1 += text,
                Event::Finish { reason, .. } => whole.3.push(reason.clone()),
                Event::Usage(_) => {}
            }
        }
        whole
    }

    fn read(thinking: Option<bool>, deltas: &[Value]) -> Result<Whole> {
        let mut normaliser = Normaliser::new("h", thinking);
        let mut events = vec![];
        for delta in deltas {
            events.extend(normaliser.chunk(&json!({ "choices": [{ "index": 0, "delta": delta }] }))?);
        }
        events.extend(normaliser.finish(true)?);
        Ok(whole(&events))
    }

    fn texts(thinking: Option<bool>, texts: &[&str]) -> (String, String) {
        let deltas: Vec<Value> = texts.iter().map(|text| json!({ "content": text })).collect();
        let (thought, answer, ..) = read(thinking, &deltas).unwrap();
        (thought, answer)
    }

    #[test]
    fn thoughts_between_marks_are_found_wherever_the_text_is_cut() {
        let (on, off, unknown) = (Some(true), Some(false), None);
        for (thinking, text, thought, answer) in [
            (on, "<think>\nhm\n</think>\n\nYes.", "hm\n", "Yes."),
            (unknown, "\n<think>hm</think>Yes.", "hm", "Yes."),
            (off, "<think></think>Yes.", "", "Yes."),
            (on, "hm</think>Yes.", "hm", "Yes."),
            (on, "Yes, without a thought.", "", "Yes, without a thought."),
            (off, "Say </think> to close.", "", "Say </think> to close."),
            (unknown, "<thin ice", "", "<thin ice"),
            (on, "<think>never closed", "never closed", ""),
            (off, "  indented", "", "  indented"),
            (off, " \n", "", " \n"),
        ] {
            for cut in (0..=text.len()).filter(|cut| text.is_char_boundary(*cut)) {
                let found = texts(thinking, &[&text[..cut], &text[cut..]]);
                assert_eq!(found, (thought.to_owned(), answer.to_owned()), "{thinking:?} {text:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn text_streams_as_soon_as_it_is_clear() {
        let mut normaliser = Normaliser::new("h", Some(true));
        let mut chunk = |delta: Value| normaliser.chunk(&json!({ "choices": [{ "delta": delta }] })).unwrap().len();
        // An engine that keeps thoughts apart, even empty ones, writes no marks: nothing waits.
        assert_eq!(chunk(json!({ "role": "assistant", "content": null, "reasoning_content": "" })), 0);
        assert_eq!(chunk(json!({ "content": "<think" })), 1);
    }

    #[test]
    fn both_names_of_a_thought_and_either_first() {
        for name in ["reasoning_content", "reasoning"] {
            let deltas = [json!({ "role": "assistant", name: "h" }), json!({ name: "m" }), json!({ "content": "Y" })];
            let (thought, answer, ..) = read(None, &deltas).unwrap();
            assert_eq!((thought.as_str(), answer.as_str()), ("hm", "Y"));
        }
        let both = read(None, &[json!({ "reasoning": "hm", "reasoning_content": "hm" })]).unwrap();
        assert_eq!(both.0, "hm");
        let parts = read(None, &[json!({ "content": [{ "type": "text", "text": "Y" }] })]).unwrap();
        assert_eq!(parts.1, "Y");
    }

    fn calls(deltas: &[Value]) -> Vec<(String, String)> {
        let deltas: Vec<Value> = deltas.iter().map(|call| json!({ "tool_calls": [call] })).collect();
        let (_, _, calls, reasons) = read(None, &deltas).unwrap();
        assert_eq!(reasons, ["tool_calls"]);
        calls
    }

    #[test]
    fn calls_are_put_together_from_every_kind_of_delta() {
        let expected = [("f".to_owned(), "{\"a\":1}".to_owned()), ("g".to_owned(), "{}".to_owned())];
        let function = |name: &str, arguments: &str| json!({ "name": name, "arguments": arguments });
        let usual = [
            json!({ "index": 0, "id": "x", "type": "function", "function": function("f", "") }),
            json!({ "index": 0, "function": { "arguments": "{\"a\":" } }),
            json!({ "index": 0, "function": { "arguments": "1}" } }),
            json!({ "index": 1, "id": "y", "function": function("g", "{}") }),
        ];
        let whole = [
            json!({ "index": 0, "id": "x", "function": function("f", "{\"a\":1}") }),
            json!({ "index": 1, "id": "y", "function": function("g", "{}") }),
        ];
        let no_index = [
            json!({ "id": "x", "function": function("f", "{\"a\":") }),
            json!({ "id": "x", "function": { "arguments": "1}" } }),
            json!({ "id": "y", "function": function("g", "{}") }),
        ];
        let no_id = [
            json!({ "index": 0, "function": function("f", "{\"a\":") }),
            json!({ "index": 0, "function": function("f", "1}") }),
            json!({ "index": 1, "function": function("g", "{}") }),
        ];
        let neither = [
            json!({ "function": function("f", "{\"a\":1}") }),
            json!({ "function": { "name": "g", "arguments": {} } }),
        ];
        let always_zero = [
            json!({ "index": 0, "id": "x", "function": function("f", "{\"a\":1}") }),
            json!({ "index": 0, "id": "y", "function": function("g", "{}") }),
        ];
        for deltas in [&usual[..], &whole, &no_index, &no_id, &neither, &always_zero] {
            assert_eq!(calls(deltas), expected, "{deltas:?}");
        }
    }

    #[test]
    fn engines_are_not_believed_without_bound() {
        let error = |chunk: Value| Normaliser::new("h", None).chunk(&chunk).unwrap_err().to_string();
        assert!(error(json!({ "choices": [{ "index": 4_000_000_000_u32 }] })).contains("choice number"));
        assert!(error(json!([1])).contains("in place of a chunk"));
        let many: Vec<Value> = (0..=MOST_CALLS).map(|index| json!({ "index": index })).collect();
        assert!(error(json!({ "choices": [{ "delta": { "tool_calls": many } }] })).contains("calls"));
    }

    #[test]
    fn an_end_in_the_middle_is_an_error_unless_it_is_marked() {
        let text = json!({ "choices": [{ "delta": { "content": "Y" } }] });
        for (marked, reason) in [(true, true), (true, false), (false, true), (false, false)] {
            let mut normaliser = Normaliser::new("h", None);
            normaliser.chunk(&text).unwrap();
            if reason {
                normaliser.chunk(&json!({ "choices": [{ "delta": {}, "finish_reason": "length" }] })).unwrap();
            }
            assert_eq!(normaliser.finish(marked).is_ok(), marked || reason);
        }
        assert!(Normaliser::new("h", None).finish(true).is_err(), "an answer without a choice is none");
    }

    #[test]
    fn drawn_ids_differ() {
        assert_eq!(random_text(24).len(), 24);
        assert_ne!(call_id(3), call_id(3));
        assert!(call_id(3).starts_with("call_03_"));
    }
}
