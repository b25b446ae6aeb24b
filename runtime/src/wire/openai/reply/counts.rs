//! Counts and log probabilities of an answer, as far as an engine tells them.

use serde_json::Value;

use crate::generate::{SpelledToken, Timings};

/// Takes a report of counts. It replaces what earlier ones said, because engines repeat themselves: on every chunk, on the
/// last, in one of its own. Adding them up would count twice. A count that nobody named stays unknown.
pub(super) fn update(timings: &mut Timings, report: &Value) {
    let first =
        |pointers: &[&str]| pointers.iter().find_map(|pointer| u32::try_from(report.pointer(pointer)?.as_u64()?).ok());
    let known = &mut timings.known;
    let cached = ["/prompt_cache_hit_tokens", "/prompt_tokens_details/cached_tokens"];
    let reasoning = ["/completion_tokens_details/reasoning_tokens", "/reasoning_tokens"];
    for (pointers, count, known) in [
        (&["/prompt_tokens"][..], &mut timings.prompt_tokens, &mut known.prompt),
        (&["/completion_tokens"], &mut timings.completion_tokens, &mut known.completion),
        (&cached, &mut timings.cached_tokens, &mut known.cached),
        (&reasoning, &mut timings.reasoning_tokens, &mut known.reasoning),
    ] {
        if let Some(said) = first(pointers) {
            (*count, *known) = (said, true);
        }
    }
}

/// Tokens with their log probabilities: entries of chats, or the rows of text completions.
pub(super) fn spelled(logprobs: &Value) -> Vec<SpelledToken> {
    #[expect(clippy::cast_possible_truncation, reason = "log probabilities are told with less than that")]
    let number = |value: &Value| value.as_f64().map(|value| value as f32);
    let bytes = |entry: &Value| -> Option<Vec<u8>> {
        let listed = entry
            .get("bytes")
            .and_then(Value::as_array)
            .map(|bytes| bytes.iter().filter_map(|byte| u8::try_from(byte.as_u64()?).ok()).collect());
        listed.or_else(|| Some(entry.get("token")?.as_str()?.as_bytes().to_vec()))
    };
    let list = |name: &str| logprobs.get(name).and_then(Value::as_array).into_iter().flatten();
    let entries = list("reasoning_content").chain(list("content")).filter_map(|entry| {
        let top = entry.get("top_logprobs").and_then(Value::as_array).into_iter().flatten();
        let top = top.filter_map(|entry| Some((bytes(entry)?, number(entry.get("logprob")?)?))).collect();
        Some(SpelledToken { bytes: bytes(entry)?, logprob: entry.get("logprob").and_then(number), top })
    });
    let rows = list("tokens").enumerate().filter_map(|(at, token)| {
        let row = |name: &str| logprobs.get(name)?.get(at);
        let top = row("top_logprobs").and_then(Value::as_object).into_iter().flatten();
        let top = top.filter_map(|(token, logprob)| Some((token.as_bytes().to_vec(), number(logprob)?))).collect();
        let bytes = token.as_str()?.as_bytes().to_vec();
        Some(SpelledToken { bytes, logprob: row("token_logprobs").and_then(number), top })
    });
    entries.chain(rows).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::generate::Known;
    use crate::wire::openai::Usage;

    fn after(reports: &[Value]) -> Value {
        let mut timings = Timings { known: Known::NOTHING, ..Timings::default() };
        reports.iter().for_each(|report| update(&mut timings, report));
        Usage::from(&timings).to_json()
    }

    #[test]
    fn reports_replace_each_other() {
        let running = json!({ "prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11 });
        let last = json!({ "prompt_tokens": 10, "completion_tokens": 7, "total_tokens": 17 });
        assert_eq!(after(&[running, last.clone(), last.clone()]), last);
        // One count at the beginning, the other at the end.
        let usage = after(&[json!({ "prompt_tokens": 10 }), json!({ "completion_tokens": 3 })]);
        assert_eq!(usage["total_tokens"], 13);
    }

    #[test]
    fn cached_tokens_have_two_names_and_may_be_unknown() {
        let both = json!({ "prompt_tokens": 339, "completion_tokens": 83, "prompt_tokens_details": { "cached_tokens": 5 },
            "completion_tokens_details": { "reasoning_tokens": 39 }, "prompt_cache_hit_tokens": 320 });
        let usage = after(&[both]);
        assert_eq!((&usage["prompt_cache_hit_tokens"], &usage["prompt_cache_miss_tokens"]), (&json!(320), &json!(19)));
        assert_eq!(usage["completion_tokens_details"]["reasoning_tokens"], 39);
        let plain = after(&[json!({ "prompt_tokens": 4, "completion_tokens": 2, "prompt_tokens_details": null })]);
        assert_eq!(plain, json!({ "prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 6 }));
    }

    #[test]
    fn nothing_known_is_null_and_nonsense_is_unknown() {
        assert_eq!(after(&[]), Value::Null);
        let odd = [json!({ "prompt_tokens": -1, "completion_tokens": "7" }), json!([]), json!("x")];
        assert_eq!(after(&odd), Value::Null);
        let huge = after(&[json!({ "prompt_tokens": u64::MAX, "completion_tokens": 1 })]);
        assert_eq!(huge, json!({ "completion_tokens": 1 }));
    }

    #[test]
    fn log_probabilities_have_two_forms() {
        let token = |bytes: &[u8], logprob, top: &[(&[u8], f32)]| SpelledToken {
            bytes: bytes.to_vec(),
            logprob,
            top: top.iter().map(|(bytes, logprob)| (bytes.to_vec(), *logprob)).collect(),
        };
        let entry = json!({ "token": "?", "logprob": -1, "bytes": [226, 130], "top_logprobs": [
            { "token": "b", "logprob": -0.5, "bytes": null },
        ] });
        assert_eq!(spelled(&json!({ "content": [entry] })), [token(&[226, 130], Some(-1.0), &[(b"b", -0.5)])]);
        let rows = json!({ "tokens": ["a", "b"], "token_logprobs": [null, -1], "top_logprobs": [null, { "c": -0.5 }] });
        assert_eq!(spelled(&rows), [token(b"a", None, &[]), token(b"b", Some(-1.0), &[(b"c", -0.5)])]);
        assert!(spelled(&Value::Null).is_empty());
    }
}
