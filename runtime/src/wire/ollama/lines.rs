//! An answer in Ollama's words: lines of JSON, or all of it in one.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::generate::{Event, Finish, Timings, Voice};
use crate::platform;
use crate::wire::calls::{Call, Pending};
use crate::wire::time::timestamp;

/// The answer so far. Times are since 1970.
#[derive(Default)]
pub struct Lines {
    model: String,
    generates: bool,
    content: String,
    thought: String,
    /// Those that are complete.
    calls: Vec<Value>,
    /// Those that are not.
    pending: Pending,
}

impl Lines {
    /// An answer without text yet. `generates`: to a request to generate, else to chat.
    pub fn new(model: String, generates: bool) -> Lines {
        Lines { model, generates, ..Lines::default() }
    }

    /// The answer to a request that says nothing.
    pub fn empty(&self, done_reason: &str, now: Duration) -> Map<String, Value> {
        let mut line = self.line("", "", &[], now);
        line.extend(fields(json!({ "done": true, "done_reason": done_reason })));
        line
    }

    fn line(&self, content: &str, thought: &str, calls: &[Value], now: Duration) -> Map<String, Value> {
        let thought = (!thought.is_empty()).then_some(thought);
        let calls = (!calls.is_empty()).then_some(calls);
        let said = match self.generates {
            true => json!({ "response": content, "thinking": thought }),
            false => {
                let message = fields(json!({
                    "role": "assistant", "content": content, "thinking": thought, "tool_calls": calls,
                }));
                json!({ "message": message })
            }
        };
        let created = timestamp(now.as_secs(), Some(now.subsec_micros()));
        let mut line = fields(json!({ "model": self.model, "created_at": created }));
        line.extend(fields(said));
        line.insert("done".to_owned(), json!(false));
        line
    }

    /// Takes an event; text, whole calls and the end are lines. `whole`: the end says all that was said.
    pub fn take(&mut self, event: &Event, whole: bool, now: Duration) -> Option<Map<String, Value>> {
        match event {
            Event::Text { voice: Voice::Content, text } => {
                self.content.push_str(text);
                (!whole).then(|| self.line(text, "", &[], now))
            }
            Event::Text { voice: Voice::Reasoning, text } => {
                self.thought.push_str(text);
                (!whole).then(|| self.line("", text, &[], now))
            }
            Event::Call { .. } | Event::Arguments { .. } | Event::CallEnd { .. } => {
                let Call { id, name, arguments, .. } = self.pending.take(event)?;
                let id = id.unwrap_or_else(|| format!("call_{}", platform::name(32)));
                let function = json!({ "index": self.calls.len(), "name": name, "arguments": arguments });
                self.calls.push(json!({ "id": id, "function": function }));
                let last = self.calls.last().map(std::slice::from_ref)?;
                (!whole).then(|| self.line("", "", last, now))
            }
            Event::End { finish, timings, .. } => Some(self.last(*finish, timings, whole, now)),
            _ => None,
        }
    }

    fn last(&self, finish: Finish, timings: &Timings, whole: bool, now: Duration) -> Map<String, Value> {
        let mut line = match whole {
            true => self.line(&self.content, &self.thought, &self.calls, now),
            false => self.line("", "", &[], now),
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "times of answers are short")]
        let nanoseconds = |ms: f64| (ms.max(0.0) * 1e6) as u64;
        // An answer that ends within a call was cut, by whatever.
        let cut = finish == Finish::Length || !self.pending.is_empty();
        line.extend(fields(json!({
            "done": true,
            "done_reason": if cut { "length" } else { "stop" },
            "total_duration": nanoseconds(timings.queue_ms + timings.first_token_ms + timings.decode_ms),
            "load_duration": 0,
            "prompt_eval_count": timings.prompt_tokens,
            "prompt_eval_duration": nanoseconds(timings.prompt_ms),
            "eval_count": timings.completion_tokens,
            "eval_duration": nanoseconds(timings.decode_ms),
        })));
        line
    }
}

/// The fields of an object that are not null.
pub fn fields(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(fields) => fields.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(index: u32, arguments: &str, ends: bool) -> Vec<Event> {
        let mut events = vec![
            Event::Call { index, name: format!("f{index}"), id: None },
            Event::Arguments { index, text: arguments.to_owned() },
        ];
        events.extend(ends.then_some(Event::CallEnd { index }));
        events
    }

    /// Calls are told whole, with an object; what is cut or could not be run is not told.
    #[test]
    fn only_whole_calls_are_told() {
        let end = |finish| Event::End { finish, stop: None, timings: Timings::default() };
        for (mut events, finish, reason, told) in [
            (
                call(0, "{\"a\": 1}", true),
                Finish::ToolCalls,
                "stop",
                json!([{ "index": 0, "name": "f0", "arguments": { "a": 1 } }]),
            ),
            (call(0, " ", true), Finish::ToolCalls, "stop", json!([{ "index": 0, "name": "f0", "arguments": {} }])),
            (call(0, "{\"a\": 1", false), Finish::Length, "length", json!([])),
            (call(0, "{\"a\": 1}", false), Finish::Stop, "length", json!([])),
            (call(0, "[1]", true), Finish::ToolCalls, "stop", json!([])),
            (
                [call(0, "{}", true), call(1, "{", false)].concat(),
                Finish::ToolCalls,
                "length",
                json!([{ "index": 0, "name": "f0", "arguments": {} }]),
            ),
        ] {
            events.push(end(finish));
            for whole in [true, false] {
                let mut lines = Lines::new("x".to_owned(), false);
                let all: Vec<_> = events.iter().filter_map(|event| lines.take(event, whole, Duration::ZERO)).collect();
                let calls = all.iter().filter_map(|line| line["message"]["tool_calls"].as_array()).flatten();
                let functions: Vec<Value> = calls.map(|call| call["function"].clone()).collect();
                assert_eq!(json!(functions), told);
                let last = all.last().unwrap();
                assert_eq!((&last["done"], &last["done_reason"]), (&json!(true), &json!(reason)));
                assert!(!whole || all.len() == 1);
            }
        }
    }
}
