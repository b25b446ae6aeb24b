//! Chunks of any engine to the events of an answer.
//!
//! In: the JSON of chunks, or of a whole answer, of a chat or a text, in whatever variant. Out: what [`generate`](crate::generate) says of
//! an answer made here, a choice's end after everything else of all choices, because only then its counts are known. Thoughts
//! come in a field of their own under two names, or at the beginning of the text between `<think>` marks.

use std::collections::BTreeMap;

use serde_json::Value;

use super::choice::{Choice, MOST_CALLS};
use super::counts;
use super::error::{in_stream, one_line, upstream};
use crate::error::{Error, Result};
use crate::generate::{Event, Known, Timings};

/// Choices of an answer beyond which an engine is not believed.
const MOST_CHOICES: u64 = 128;

/// The state of one answer.
#[derive(Default)]
pub struct Normaliser {
    host: String,
    /// Whether thinking was asked for; none: the engine decides.
    thinking: Option<bool>,
    choices: BTreeMap<u32, Choice>,
    timings: Timings,
    model: Option<String>,
    fingerprint: Option<String>,
}

impl Normaliser {
    /// For an answer of the engine at `host`. `thinking`: what the request asked for, where it did.
    pub fn new(host: &str, thinking: Option<bool>) -> Normaliser {
        Normaliser {
            host: host.to_owned(),
            thinking,
            timings: Timings { known: Known::NOTHING, ..Timings::default() },
            ..Normaliser::default()
        }
    }

    /// The model that the engine names.
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// The fingerprint that the engine names.
    pub fn fingerprint(&self) -> Option<&str> {
        self.fingerprint.as_deref()
    }

    /// Takes a chunk, or a whole answer. Every event has its choice.
    ///
    /// # Errors
    /// `upstream` where it is an error, or no chunk at all.
    pub fn chunk(&mut self, chunk: &Value) -> Result<Vec<(u32, Event)>> {
        let refused = chunk.get("error").is_some_and(|error| !error.is_null())
            || chunk.get("object").and_then(Value::as_str) == Some("error");
        if refused {
            return Err(in_stream(&self.host, chunk));
        }
        if !chunk.is_object() {
            return Err(self.broken(format!("sent {} instead of a chunk", one_line(&chunk.to_string()))));
        }
        for (name, kept) in [("model", &mut self.model), ("system_fingerprint", &mut self.fingerprint)] {
            if let (None, Some(said)) = (&kept, chunk.get(name).and_then(Value::as_str)) {
                *kept = Some(said.to_owned());
            }
        }
        if let Some(report) = chunk.get("usage").filter(|usage| usage.is_object()) {
            counts::update(&mut self.timings, report);
        }
        let mut told = vec![];
        for choice in chunk.get("choices").and_then(Value::as_array).into_iter().flatten() {
            let number = choice.get("index").and_then(Value::as_u64).unwrap_or(0);
            let index = u32::try_from(number).ok().filter(|_| number < MOST_CHOICES);
            let index = index.ok_or_else(|| self.broken(format!("sent a choice number {number}")))?;
            let state = self.choices.entry(index).or_insert_with(Choice::new);
            if state.take(choice, self.thinking).is_none() {
                return Err(self.broken(format!("sent more than {MOST_CALLS} calls")));
            }
            told.extend(state.events.drain(..).map(|event| (index, event)));
        }
        Ok(told)
    }

    /// What is left where the answer breaks off: text that still waited, and the ends of choices that are complete. Whether
    /// all are.
    pub fn cut(&mut self) -> (Vec<(u32, Event)>, bool) {
        let mut told = vec![];
        for (&index, choice) in self.choices.iter_mut().filter(|(_, choice)| choice.finish.is_none()) {
            choice.release(self.thinking);
            told.extend(choice.events.drain(..).map(|event| (index, event)));
        }
        let mut timings = self.timings;
        for (&index, choice) in &self.choices {
            if let Some(finish) = choice.finish {
                told.push((index, Event::End { finish, stop: None, timings }));
                // The counts are those of all choices together: they are told once.
                timings = Timings { known: timings.known, ..Timings::default() };
            }
        }
        (told, !self.choices.is_empty() && self.choices.values().all(|choice| choice.finish.is_some()))
    }

    /// The end of the stream. `marked`: the engine said that it is the end.
    ///
    /// # Errors
    /// `upstream` where it is an end in the middle.
    pub fn finish(&mut self, marked: bool) -> Result<Vec<(u32, Event)>> {
        if self.choices.is_empty() {
            return Err(self.broken("sent no answer"));
        }
        if !marked && self.choices.values().any(|choice| choice.finish.is_none()) {
            return Err(self.broken("broke off in the middle of an answer"));
        }
        let mut told = vec![];
        for (&index, choice) in self.choices.iter_mut().filter(|(_, choice)| choice.finish.is_none()) {
            choice.end("stop", self.thinking);
            told.extend(choice.events.drain(..).map(|event| (index, event)));
        }
        told.extend(self.cut().0);
        Ok(told)
    }

    fn broken(&self, what: impl std::fmt::Display) -> Error {
        upstream(&self.host, what)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::generate::{Finish, SpelledToken, Voice};

    /// Thought, answer, calls (name and arguments), reasons.
    type Whole = (String, String, Vec<(String, String)>, Vec<Finish>);

    fn whole(events: &[(u32, Event)]) -> Whole {
        let mut whole = Whole::default();
        let mut open = None;
        for (_, event) in events {
            match event {
                Event::Text { voice: Voice::Reasoning, text } => whole.0 += text,
                Event::Text { voice: Voice::Content, text } => whole.1 += text,
                Event::Call { index, name, .. } => {
                    assert_eq!(open.replace(*index), None, "a call ends before the next begins");
                    whole.2.push((name.clone(), String::new()));
                }
                Event::Arguments { index, text } => whole.2[*index as usize].1 += text,
                Event::CallEnd { index } => assert_eq!(open.take(), Some(*index)),
                Event::End { finish, .. } => whole.3.push(*finish),
                _ => {}
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
        assert_eq!(reasons, [Finish::ToolCalls]);
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
        assert!(error(json!([1])).contains("instead of a chunk"));
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
    fn a_call_that_was_cut_is_not_complete_and_counts_come_once() {
        for (reason, complete) in [("length", false), ("error", false), ("tool_calls", true), ("stop", true)] {
            let mut normaliser = Normaliser::new("h", None);
            let call = json!({ "index": 0, "id": "x", "function": { "name": "f", "arguments": "{\"a\"" } });
            let choice =
                |index: u32| json!({ "index": index, "delta": { "tool_calls": [call] }, "finish_reason": reason });
            let usage = json!({ "prompt_tokens": 3, "completion_tokens": 5 });
            let mut told = normaliser.chunk(&json!({ "choices": [choice(0), choice(1)] })).unwrap();
            told.extend(normaliser.chunk(&json!({ "choices": [], "usage": usage })).unwrap());
            told.extend(normaliser.finish(true).unwrap());
            let ended = told.iter().filter(|(_, event)| matches!(event, Event::CallEnd { .. })).count();
            assert_eq!(ended, if complete { 2 } else { 0 }, "{reason}");
            let counts: Vec<(u32, u32)> = told
                .iter()
                .filter_map(|(index, event)| match event {
                    Event::End { timings, .. } => Some((*index, timings.completion_tokens)),
                    _ => None,
                })
                .collect();
            assert_eq!(counts, [(0, 5), (1, 0)]);
        }
    }

    #[test]
    fn log_probabilities_wait_for_their_text() {
        let mut normaliser = Normaliser::new("h", Some(false));
        let entry = json!({ "token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": [] });
        let chunk = json!({ "delta": {}, "logprobs": { "content": [entry] } });
        assert!(normaliser.chunk(&json!({ "choices": [chunk] })).unwrap().is_empty());
        let told = normaliser.chunk(&json!({ "choices": [{ "delta": { "content": "a" } }] })).unwrap();
        let token = SpelledToken { bytes: b"a".to_vec(), logprob: Some(-0.5), top: vec![] };
        assert_eq!(told.len(), 2);
        assert!(matches!(&told[0], (0, Event::Spelled(spelled)) if *spelled == token), "{told:?}");
    }
}
