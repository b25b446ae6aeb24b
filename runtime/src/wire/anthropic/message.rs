//! An answer in Anthropic's words: a whole message, or the events of a stream.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::generate::{Event, Finish, Voice};
use crate::platform;
use crate::wire::calls::{Call, Pending};
use crate::wire::merged;

/// A part of an answer.
enum Block {
    Thinking(String),
    Text(String),
    /// A whole call.
    Call {
        id: String,
        name: String,
        input: Map<String, Value>,
    },
}

/// The answer so far. Every [`Event`] goes through [`AnthropicMessage::events`], whether the answer is streamed or not.
#[derive(Default)]
pub struct AnthropicMessage {
    id: String,
    model: String,
    prompt_tokens: u32,
    cached_tokens: u32,
    output_tokens: u32,
    blocks: Vec<Block>,
    /// Whether the last block can still grow.
    open: bool,
    /// A block that has begun cannot be taken back: these are in none.
    pending: Pending,
    begun: bool,
    stop_reason: Option<&'static str>,
    stop_sequence: Option<String>,
    /// Events that nobody has yet.
    said: Vec<Value>,
}

impl AnthropicMessage {
    /// An answer without blocks yet. `model`: as the request names it.
    pub fn new(model: String) -> AnthropicMessage {
        AnthropicMessage { id: format!("msg_{}", platform::name(32)), model, ..AnthropicMessage::default() }
    }

    /// The events of a stream that an event of the answer is. Each has its name as `type`.
    pub fn events(&mut self, event: &Event) -> Vec<Value> {
        if let Event::Prompt { total, cached, .. } = event {
            (self.prompt_tokens, self.cached_tokens) = (*total, *cached);
        }
        if !std::mem::replace(&mut self.begun, true) {
            self.said.push(named("message_start", json!({ "message": self.whole() })));
        }
        match event {
            Event::Token { .. } => self.output_tokens = self.output_tokens.saturating_add(1),
            Event::Text { voice, text } => self.text(*voice, text),
            Event::Call { .. } => self.close(),
            Event::End { finish, stop, timings } => {
                self.prompt_tokens = timings.prompt_tokens;
                self.cached_tokens = timings.cached_tokens;
                self.output_tokens = timings.completion_tokens;
                self.close();
                self.finish(*finish, stop.as_deref());
            }
            _ => {}
        }
        if let Some(call) = self.pending.take(event) {
            self.call(call);
        }
        std::mem::take(&mut self.said)
    }

    fn text(&mut self, voice: Voice, text: &str) {
        let grows = self.open
            && matches!(
                (self.blocks.last(), voice),
                (Some(Block::Thinking(_)), Voice::Reasoning) | (Some(Block::Text(_)), Voice::Content)
            );
        if !grows {
            let block = match voice {
                Voice::Reasoning => Block::Thinking(String::new()),
                Voice::Content => Block::Text(String::new()),
            };
            self.push(block);
        }
        let delta = match self.blocks.last_mut() {
            Some(Block::Thinking(all)) => {
                all.push_str(text);
                json!({ "type": "thinking_delta", "thinking": text })
            }
            Some(Block::Text(all)) => {
                all.push_str(text);
                json!({ "type": "text_delta", "text": text })
            }
            _ => return,
        };
        self.delta(&delta);
    }

    fn call(&mut self, Call { id, name, written, arguments: input }: Call) {
        let id = id.unwrap_or_else(|| format!("toolu_{}", platform::name(32)));
        self.push(Block::Call { id, name, input });
        self.delta(&json!({ "type": "input_json_delta", "partial_json": written }));
        self.close();
    }

    fn push(&mut self, block: Block) {
        self.close();
        let start = match &block {
            Block::Thinking(_) => json!({ "type": "thinking", "thinking": "", "signature": "" }),
            Block::Text(_) => json!({ "type": "text", "text": "" }),
            Block::Call { id, name, .. } => json!({ "type": "tool_use", "id": id, "name": name, "input": {} }),
        };
        let index = self.blocks.len();
        self.said.push(named("content_block_start", json!({ "index": index, "content_block": start })));
        self.blocks.push(block);
        self.open = true;
    }

    fn close(&mut self) {
        if !std::mem::take(&mut self.open) {
            return;
        }
        if let Some(Block::Thinking(thought)) = self.blocks.last() {
            self.delta(&json!({ "type": "signature_delta", "signature": signature(thought) }));
        }
        let index = self.blocks.len().saturating_sub(1);
        self.said.push(named("content_block_stop", json!({ "index": index })));
    }

    fn delta(&mut self, delta: &Value) {
        let index = self.blocks.len().saturating_sub(1);
        self.said.push(named("content_block_delta", json!({ "index": index, "delta": delta })));
    }

    fn finish(&mut self, finish: Finish, stop: Option<&str>) {
        let calls = self.blocks.iter().any(|block| matches!(block, Block::Call { .. }));
        self.stop_sequence = stop.map(str::to_owned);
        self.stop_reason = Some(match finish {
            // An answer that ends within a call was cut, by whatever.
            _ if !self.pending.is_empty() => "max_tokens",
            Finish::Filtered => "refusal",
            Finish::Length | Finish::Aborted => "max_tokens",
            _ if stop.is_some() => "stop_sequence",
            _ if calls => "tool_use",
            _ => "end_turn",
        });
        let delta = json!({ "stop_reason": self.stop_reason, "stop_sequence": self.stop_sequence });
        self.said.push(named("message_delta", json!({ "delta": delta, "usage": self.usage() })));
        self.said.push(named("message_stop", json!({})));
    }

    fn usage(&self) -> Value {
        json!({
            "input_tokens": self.prompt_tokens.saturating_sub(self.cached_tokens),
            "cache_creation_input_tokens": 0, "cache_read_input_tokens": self.cached_tokens,
            "output_tokens": self.output_tokens,
        })
    }

    /// The whole message.
    pub fn whole(&self) -> Value {
        let block = |block: &Block| match block {
            Block::Thinking(text) => json!({ "type": "thinking", "thinking": text, "signature": signature(text) }),
            Block::Text(text) => json!({ "type": "text", "text": text }),
            Block::Call { id, name, input } => json!({ "type": "tool_use", "id": id, "name": name, "input": input }),
        };
        let content: Vec<Value> = self.blocks.iter().map(block).collect();
        json!({
            "id": self.id, "type": "message", "role": "assistant", "model": self.model, "content": content,
            "stop_reason": self.stop_reason, "stop_sequence": self.stop_sequence, "usage": self.usage(),
        })
    }
}

/// What marks a thought as one that was thought here. Clients drop thoughts without a mark from what they send back; nothing
/// depends on it.
pub(super) fn signature(thought: &str) -> String {
    Sha256::digest(thought).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn named(name: &str, fields: Value) -> Value {
    merged(json!({ "type": name }), fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Timings;

    fn told(events: &[Event]) -> (Vec<Value>, Value) {
        let mut message = AnthropicMessage::new("x".to_owned());
        let told = events.iter().flat_map(|event| message.events(event)).collect();
        (told, message.whole())
    }

    fn text(voice: Voice, text: &str) -> Event {
        Event::Text { voice, text: text.to_owned() }
    }

    fn call(index: u32, arguments: &str, ends: bool) -> Vec<Event> {
        let mut events = vec![
            Event::Call { index, name: "f".to_owned(), id: Some(format!("id{index}")) },
            Event::Arguments { index, text: arguments.to_owned() },
        ];
        events.extend(ends.then_some(Event::CallEnd { index }));
        events
    }

    fn end(finish: Finish, stop: Option<&str>) -> Event {
        Event::End { finish, stop: stop.map(str::to_owned), timings: Timings::default() }
    }

    #[test]
    fn blocks_open_and_close_in_order() {
        let mut events = vec![text(Voice::Reasoning, "Hm"), text(Voice::Content, "a"), text(Voice::Content, "b")];
        events.extend(call(0, "{\"a\": 1}", true));
        events.push(end(Finish::ToolCalls, None));
        let (told, whole) = told(&events);
        let kinds: Vec<String> = told
            .iter()
            .map(|event| match event["type"].as_str().unwrap() {
                "content_block_delta" => event["delta"]["type"].as_str().unwrap().to_owned(),
                kind => kind.trim_start_matches("content_block_").to_owned(),
            })
            .collect();
        let expected = [
            "message_start",
            "start",
            "thinking_delta",
            "signature_delta",
            "stop",
            "start",
            "text_delta",
            "text_delta",
            "stop",
            "start",
            "input_json_delta",
            "stop",
            "message_delta",
            "message_stop",
        ];
        assert_eq!(kinds, expected);
        assert_eq!(whole["content"][2], json!({ "type": "tool_use", "id": "id0", "name": "f", "input": { "a": 1 } }));
        assert_eq!(whole["stop_reason"], "tool_use");
    }

    /// A call that is cut, or that nobody could run, is in no block.
    #[test]
    fn only_whole_calls_are_told() {
        for (mut events, finish, stop, reason, calls) in [
            (call(0, "", true), Finish::ToolCalls, None, "tool_use", 1),
            (call(0, "{\"a\": 1", false), Finish::Length, None, "max_tokens", 0),
            (call(0, "{\"a\": 1}", false), Finish::Stop, None, "max_tokens", 0),
            (call(0, "x", true), Finish::ToolCalls, None, "end_turn", 0),
            (call(0, "[]", true), Finish::ToolCalls, None, "end_turn", 0),
            ([call(0, "{}", true), call(1, "{", false)].concat(), Finish::ToolCalls, None, "max_tokens", 1),
            (vec![text(Voice::Content, "a")], Finish::Stop, Some("b"), "stop_sequence", 0),
            (vec![text(Voice::Content, "a")], Finish::Filtered, None, "refusal", 0),
            (vec![], Finish::Length, None, "max_tokens", 0),
        ] {
            events.push(end(finish, stop));
            let (told, whole) = told(&events);
            assert_eq!((&whole["stop_reason"], &whole["stop_sequence"]), (&json!(reason), &json!(stop)));
            let all = whole["content"].as_array().unwrap().iter().filter(|block| block["type"] == "tool_use").count();
            let begun = told.iter().filter(|event| event["content_block"]["type"] == "tool_use").count();
            assert_eq!((all, begun), (calls, calls), "{whole}");
            assert!(told[told.len() - 2]["usage"]["output_tokens"].is_u64());
        }
    }
}
