//! Counts of an answer, as far as an engine tells them.

use serde_json::{Map, Value};

/// What is known; a count that nobody named stays unknown and is never taken for 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Tokens of the prompt.
    pub(crate) prompt: Option<u64>,
    /// Tokens of the answer, the thought included.
    pub(crate) completion: Option<u64>,
    /// Of the prompt, found in a cache.
    pub(crate) cached: Option<u64>,
    /// Of the answer, tokens of the thought.
    pub(crate) reasoning: Option<u64>,
}

impl Usage {
    /// Takes a report. It replaces what earlier ones said, because engines repeat themselves: on every chunk, on the last,
    /// in one of its own. Adding them up would count twice.
    pub(super) fn update(&mut self, report: &Value) {
        let count = |pointer: &str| report.pointer(pointer).and_then(Value::as_u64);
        let first = |pointers: &[&str]| pointers.iter().find_map(|pointer| count(pointer));
        let known = Usage {
            prompt: count("/prompt_tokens"),
            completion: count("/completion_tokens"),
            cached: first(&["/prompt_cache_hit_tokens", "/prompt_tokens_details/cached_tokens"]),
            reasoning: first(&["/completion_tokens_details/reasoning_tokens", "/reasoning_tokens"]),
        };
        self.prompt = known.prompt.or(self.prompt);
        self.completion = known.completion.or(self.completion);
        self.cached = known.cached.or(self.cached);
        self.reasoning = known.reasoning.or(self.reasoning);
    }

    /// Prompt and answer together, where both are known.
    pub(crate) fn total(&self) -> Option<u64> {
        self.prompt?.checked_add(self.completion?)
    }

    /// As in an answer of ours; null where nothing is known.
    pub(crate) fn to_json(self) -> Value {
        let mut fields = Map::new();
        let mut put = |name: &str, count: Option<u64>| {
            if let Some(count) = count {
                fields.insert(name.to_owned(), count.into());
            }
        };
        put("prompt_tokens", self.prompt);
        put("completion_tokens", self.completion);
        put("total_tokens", self.total());
        if let (Some(prompt), Some(cached)) = (self.prompt, self.cached) {
            put("prompt_cache_hit_tokens", Some(cached));
            put("prompt_cache_miss_tokens", Some(prompt.saturating_sub(cached)));
        }
        let details = [
            ("prompt_tokens_details", "cached_tokens", self.cached),
            ("completion_tokens_details", "reasoning_tokens", self.reasoning),
        ];
        for (name, count, value) in details {
            if let Some(value) = value {
                fields.insert(name.to_owned(), serde_json::json!({ count: value }));
            }
        }
        if fields.is_empty() { Value::Null } else { Value::Object(fields) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn after(reports: &[Value]) -> Usage {
        let mut usage = Usage::default();
        reports.iter().for_each(|report| usage.update(report));
        usage
    }

    #[test]
    fn reports_replace_each_other() {
        let running = json!({ "prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11 });
        let last = json!({ "prompt_tokens": 10, "completion_tokens": 7, "total_tokens": 17 });
        let usage = after(&[running, last.clone(), last]);
        assert_eq!((usage.prompt, usage.completion, usage.total()), (Some(10), Some(7), Some(17)));
        // One count at the beginning, the other at the end.
        let usage = after(&[json!({ "prompt_tokens": 10 }), json!({ "completion_tokens": 3 })]);
        assert_eq!(usage.total(), Some(13));
    }

    #[test]
    fn cached_tokens_have_two_names_and_may_be_unknown() {
        let both = json!({ "prompt_tokens": 339, "completion_tokens": 83, "prompt_tokens_details": { "cached_tokens": 5 },
            "completion_tokens_details": { "reasoning_tokens": 39 }, "prompt_cache_hit_tokens": 320 });
        let usage = after(&[both]);
        assert_eq!((usage.cached, usage.reasoning), (Some(320), Some(39)));
        assert_eq!(usage.to_json()["prompt_cache_miss_tokens"], 19);
        let plain = after(&[json!({ "prompt_tokens": 4, "completion_tokens": 2, "prompt_tokens_details": null })]);
        assert_eq!(plain.to_json(), json!({ "prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 6 }));
    }

    #[test]
    fn nothing_known_is_null_and_nonsense_is_unknown() {
        assert_eq!(Usage::default().to_json(), Value::Null);
        let odd = after(&[json!({ "prompt_tokens": -1, "completion_tokens": "7" }), json!([]), json!("x")]);
        assert_eq!(odd, Usage::default());
        let huge = after(&[json!({ "prompt_tokens": u64::MAX, "completion_tokens": 1 })]);
        assert_eq!(huge.total(), None);
    }
}
