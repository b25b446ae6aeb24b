//! Events of an answer in lyn's own JSON: chunks, or one whole answer, whoever made them.

use std::collections::BTreeMap;

use lyn::generate::Voice;
use serde_json::{Map, Value, json};

use super::events::Event;
use super::usage::Usage;

/// What stays the same in every chunk of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// Of the answer.
    pub(crate) id: String,
    /// Unix seconds.
    pub(crate) created: u64,
    /// As the request names it.
    pub(crate) model: String,
}

impl Head {
    /// The head of a new answer.
    pub(crate) fn new(model: impl Into<String>) -> Head {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Head { id: uuid::Uuid::new_v4().to_string(), created: since.as_secs(), model: model.into() }
    }
}

/// One answer on its way into JSON.
#[derive(Debug)]
pub(crate) struct Shape {
    head: Head,
    /// What the request asked for; none: a thought decides.
    thinking: Option<bool>,
    /// Counts come in a chunk of their own.
    usage_apart: bool,
    fingerprint: Option<String>,
    choices: BTreeMap<u32, Choice>,
    usage: Option<Usage>,
    /// Last chunks that wait for the counts.
    waiting: Vec<Value>,
}

#[derive(Debug, Default)]
struct Choice {
    thinking: bool,
    content: String,
    reasoning: String,
    calls: Vec<(String, String, String)>,
    logprobs: Map<String, Value>,
    reason: Option<String>,
}

impl Shape {
    /// `usage_apart`: `stream_options.include_usage`.
    pub(crate) fn new(head: Head, thinking: Option<bool>, usage_apart: bool) -> Shape {
        let (fingerprint, usage) = (None, None);
        Shape { head, thinking, usage_apart, fingerprint, choices: BTreeMap::new(), usage, waiting: vec![] }
    }

    /// Keeps the fingerprint that the engine names.
    pub(crate) fn set_fingerprint(&mut self, fingerprint: Option<&str>) {
        self.fingerprint = fingerprint.map(str::to_owned);
    }

    /// The chunks that an event is; the first of a choice says whose it is.
    pub(crate) fn chunks(&mut self, event: Event) -> Vec<Value> {
        let index = match &event {
            Event::Text { index, .. }
            | Event::Call { index, .. }
            | Event::Arguments { index, .. }
            | Event::Finish { index, .. } => *index,
            Event::Usage(usage) => {
                self.usage = Some(*usage);
                return vec![];
            }
        };
        let mut chunks = vec![];
        if !self.choices.contains_key(&index) {
            let thought = matches!(event, Event::Text { voice: Voice::Reasoning, .. });
            let thinking = thought || self.thinking == Some(true);
            self.choices.insert(index, Choice { thinking, ..Choice::default() });
            let delta = match thinking {
                true => json!({ "role": "assistant", "content": null, "reasoning_content": "" }),
                false => json!({ "role": "assistant", "content": "" }),
            };
            chunks.push(self.chunk(index, delta, Value::Null, None));
        }
        let choice = self.choices.entry(index).or_default();
        let (delta, logprobs) = choice.take(&event);
        let reason = choice.reason.clone();
        let chunk = self.chunk(index, delta, logprobs, reason.as_deref());
        if reason.is_some() && !self.usage_apart {
            self.waiting.push(chunk);
        } else {
            chunks.push(chunk);
        }
        chunks
    }

    /// The last chunks. An answer that was cut short gets its ends here: the text so far stays usable.
    pub(crate) fn end(&mut self) -> Vec<Value> {
        let open: Vec<u32> =
            self.choices.iter().filter(|(_, it)| it.reason.is_none()).map(|(index, _)| *index).collect();
        let mut chunks = vec![];
        for index in open {
            chunks.extend(self.chunks(Event::Finish { index, reason: CUT.to_owned() }));
        }
        chunks.append(&mut self.waiting);
        let usage = self.usage.map_or(Value::Null, Usage::to_json);
        if self.usage_apart {
            let mut chunk = self.base("chat.completion.chunk");
            chunk.insert("choices".to_owned(), json!([]));
            chunk.insert("usage".to_owned(), usage);
            chunks.push(Value::Object(chunk));
        } else if let Some(last) = chunks.last_mut() {
            last["usage"] = usage;
        }
        chunks
    }

    /// Whether something has been said that a client can use.
    pub(crate) fn has_begun(&self) -> bool {
        !self.choices.is_empty()
    }

    /// The whole answer.
    pub(crate) fn response(self) -> Value {
        let mut response = self.base("chat.completion");
        let choices = self.choices.into_iter().map(|(index, choice)| choice.whole(index));
        response.insert("choices".to_owned(), choices.collect());
        response.insert("usage".to_owned(), self.usage.map_or(Value::Null, Usage::to_json));
        Value::Object(response)
    }

    fn base(&self, object: &str) -> Map<String, Value> {
        let Head { id, created, model } = &self.head;
        let fields = [
            ("id", json!(id)),
            ("object", json!(object)),
            ("created", json!(created)),
            ("model", json!(model)),
            ("system_fingerprint", json!(self.fingerprint)),
        ];
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn chunk(&self, index: u32, delta: Value, logprobs: Value, reason: Option<&str>) -> Value {
        let mut chunk = self.base("chat.completion.chunk");
        let choice = json!({ "index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason });
        chunk.insert("choices".to_owned(), json!([choice]));
        chunk.insert("usage".to_owned(), Value::Null);
        Value::Object(chunk)
    }
}

/// Why an answer ended that its engine did not end.
const CUT: &str = "insufficient_system_resource";

impl Choice {
    /// Remembers an event for the whole answer; its delta and log probabilities.
    fn take(&mut self, event: &Event) -> (Value, Value) {
        match event {
            Event::Text { voice, text, logprobs, .. } => {
                self.thinking |= *voice == Voice::Reasoning;
                let delta = match (voice, self.thinking) {
                    (Voice::Reasoning, _) => json!({ "content": null, "reasoning_content": text }),
                    (Voice::Content, true) => json!({ "content": text, "reasoning_content": null }),
                    (Voice::Content, false) => json!({ "content": text }),
                };
                match voice {
                    Voice::Content => self.content += text,
                    Voice::Reasoning => self.reasoning += text,
                }
                for (name, tokens) in logprobs.iter().filter_map(Value::as_object).flatten() {
                    match (self.logprobs.get_mut(name), tokens) {
                        (Some(Value::Array(kept)), Value::Array(tokens)) => kept.extend_from_slice(tokens),
                        (Some(Value::Array(_)), _) => {}
                        _ => {
                            self.logprobs.insert(name.clone(), tokens.clone());
                        }
                    }
                }
                (delta, logprobs.clone().unwrap_or(Value::Null))
            }
            Event::Call { call, id, name, .. } => {
                self.calls.push((id.clone(), name.clone(), String::new()));
                let function = json!({ "name": name, "arguments": "" });
                let call = json!({ "index": call, "id": id, "type": "function", "function": function });
                (json!({ "tool_calls": [call] }), Value::Null)
            }
            Event::Arguments { call, text, .. } => {
                if let Some((_, _, arguments)) = self.calls.get_mut(*call) {
                    arguments.push_str(text);
                }
                (json!({ "tool_calls": [{ "index": call, "function": { "arguments": text } }] }), Value::Null)
            }
            Event::Finish { reason, .. } => {
                self.reason = Some(reason.clone());
                let delta = match self.thinking {
                    true => json!({ "content": "", "reasoning_content": null }),
                    false => json!({ "content": "" }),
                };
                (delta, Value::Null)
            }
            Event::Usage(_) => (json!({}), Value::Null),
        }
    }

    fn whole(self, index: u32) -> Value {
        let mut message = json!({ "role": "assistant", "content": self.content });
        if self.thinking {
            message["reasoning_content"] = json!(self.reasoning);
        }
        if !self.calls.is_empty() {
            let calls = self.calls.into_iter().enumerate().map(|(call, (id, name, arguments))| {
                let function = json!({ "name": name, "arguments": arguments });
                json!({ "index": call, "id": id, "type": "function", "function": function })
            });
            message["tool_calls"] = calls.collect();
        }
        let logprobs = if self.logprobs.is_empty() { Value::Null } else { Value::Object(self.logprobs) };
        let reason = self.reason.unwrap_or_else(|| CUT.to_owned());
        json!({ "index": index, "message": message, "logprobs": logprobs, "finish_reason": reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(voice: Voice, text: &str) -> Event {
        Event::Text { index: 0, voice, text: text.to_owned(), logprobs: None }
    }

    fn written(thinking: Option<bool>, apart: bool, events: Vec<Event>) -> (Vec<Value>, Value) {
        let head = Head { id: "i".to_owned(), created: 7, model: "m".to_owned() };
        let mut shape = Shape::new(head, thinking, apart);
        let mut chunks: Vec<Value> = events.into_iter().flat_map(|event| shape.chunks(event)).collect();
        chunks.extend(shape.end());
        (chunks, shape.response())
    }

    fn usage() -> Event {
        Event::Usage(Usage { prompt: Some(3), completion: Some(2), ..Usage::default() })
    }

    fn deltas(chunks: &[Value]) -> Vec<Value> {
        chunks.iter().map(|chunk| chunk["choices"][0]["delta"].clone()).collect()
    }

    #[test]
    fn a_thought_then_an_answer_with_counts_on_the_last_chunk() {
        let stop = Event::Finish { index: 0, reason: "stop".to_owned() };
        let events = vec![text(Voice::Reasoning, "hm"), text(Voice::Content, "Y"), stop, usage()];
        let (chunks, response) = written(None, false, events);
        assert_eq!(
            deltas(&chunks),
            [
                json!({ "role": "assistant", "content": null, "reasoning_content": "" }),
                json!({ "content": null, "reasoning_content": "hm" }),
                json!({ "content": "Y", "reasoning_content": null }),
                json!({ "content": "", "reasoning_content": null }),
            ]
        );
        let counts: Vec<bool> = chunks.iter().map(|chunk| chunk["usage"].is_object()).collect();
        assert_eq!(counts, [false, false, false, true]);
        assert_eq!(chunks[3]["choices"][0]["finish_reason"], "stop");
        for chunk in &chunks {
            assert_eq!((&chunk["id"], &chunk["model"], &chunk["created"]), (&json!("i"), &json!("m"), &json!(7)));
        }
        let message = json!({ "role": "assistant", "content": "Y", "reasoning_content": "hm" });
        assert_eq!(response["choices"][0]["message"], message);
        assert_eq!(response["usage"]["total_tokens"], 5);
    }

    #[test]
    fn counts_come_once_and_apart_where_that_was_asked_for() {
        let stop = Event::Finish { index: 0, reason: "stop".to_owned() };
        let (chunks, _) = written(Some(false), true, vec![text(Voice::Content, "Y"), stop, usage()]);
        assert_eq!(
            deltas(&chunks[..3]),
            [json!({ "role": "assistant", "content": "" }), json!({ "content": "Y" }), json!({ "content": "" }),]
        );
        assert_eq!(chunks[3]["choices"], json!([]));
        assert_eq!(chunks.iter().filter(|chunk| chunk["usage"].is_object()).count(), 1);
    }

    #[test]
    fn a_call_has_an_opener_and_then_arguments() {
        let call = Event::Call { index: 0, call: 0, id: "x".to_owned(), name: "f".to_owned() };
        let arguments = Event::Arguments { index: 0, call: 0, text: "{}".to_owned() };
        let end = Event::Finish { index: 0, reason: "tool_calls".to_owned() };
        let (chunks, response) = written(Some(false), false, vec![call, arguments, end]);
        let opener = json!({ "index": 0, "id": "x", "type": "function", "function": { "name": "f", "arguments": "" } });
        assert_eq!(deltas(&chunks)[1], json!({ "tool_calls": [opener] }));
        assert_eq!(deltas(&chunks)[2], json!({ "tool_calls": [{ "index": 0, "function": { "arguments": "{}" } }] }));
        let message = &response["choices"][0]["message"];
        assert_eq!(message["tool_calls"][0]["function"]["arguments"], "{}");
        assert_eq!(message["content"], "");
        assert!(message.get("reasoning_content").is_none());
    }

    #[test]
    fn a_cut_answer_still_ends() {
        let (chunks, response) = written(Some(false), false, vec![text(Voice::Content, "Y")]);
        assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], CUT);
        assert_eq!(response["choices"][0]["finish_reason"], CUT);
        assert_eq!(response["usage"], Value::Null);
    }

    #[test]
    fn log_probabilities_go_on_with_the_text() {
        let with = |token: &str| Event::Text {
            index: 0,
            voice: Voice::Content,
            text: token.to_owned(),
            logprobs: Some(json!({ "content": [{ "token": token, "logprob": -0.5 }], "refusal": null })),
        };
        let (chunks, response) = written(Some(false), false, vec![with("a"), with("b")]);
        assert_eq!(chunks[1]["choices"][0]["logprobs"]["content"][0]["token"], "a");
        assert_eq!(response["choices"][0]["logprobs"]["content"].as_array().unwrap().len(), 2);
    }
}
