//! Oracles: sums by hand; OpenAI's and llama-server's names.

use serde_json::{Value, json};

use crate::generate::{Known, Timings};
use crate::wire::openai::usage::{add, together};
use crate::wire::openai::{SpeedReport, Usage};

fn timings(tokens: [u32; 4], times: [f64; 3]) -> Timings {
    let [prompt_tokens, cached_tokens, completion_tokens, reasoning_tokens] = tokens;
    let [prompt_ms, first_token_ms, decode_ms] = times;
    Timings {
        prompt_tokens,
        cached_tokens,
        completion_tokens,
        reasoning_tokens,
        prompt_ms,
        first_token_ms,
        decode_ms,
        queue_ms: 0.5,
        ..Timings::default()
    }
}

/// The prompt counts once, answers add up, and times are those of the slowest; the first token is the first one's.
#[test]
fn answers_side_by_side_have_one_prompt() {
    let one = timings([10, 4, 3, 2], [5.0, 7.0, 9.0]);
    let two = timings([10, 10, 4, 1], [6.0, 3.0, 8.0]);
    assert_eq!(together([&one, &two].into_iter()), timings([10, 4, 7, 3], [6.0, 3.0, 9.0]));
    assert_eq!(together([&two, &one].into_iter()), timings([10, 10, 7, 3], [6.0, 3.0, 9.0]));
    assert_eq!(together([&one].into_iter()), one);
    assert_eq!(together(std::iter::empty()), Timings::default());
}

#[test]
fn prompts_and_their_answers_add_up() {
    let one = timings([10, 4, 3, 2], [5.0, 7.0, 9.0]);
    let two = timings([20, 8, 5, 1], [6.0, 3.0, 8.0]);
    let sum = add(one, two);
    assert_eq!((sum.prompt_tokens, sum.cached_tokens, sum.completion_tokens), (30, 12, 8));
}

#[test]
fn speeds_are_tokens_in_a_second() {
    for (tokens, times, prompt, predicted) in [
        // 6 tokens in 3 ms, and 4 after the first in 2 ms.
        ([10, 4, 5, 0], [3.0, 4.0, 2.0], 2000.0, 2000.0),
        ([10, 10, 1, 0], [3.0, 4.0, 2.0], 0.0, 0.0),
        ([10, 0, 5, 0], [0.0, 0.0, 0.0], 0.0, 0.0),
        ([10, 0, 0, 0], [5.0, 0.0, 0.0], 2000.0, 0.0),
        ([4, 10, 3, 0], [1.0, 2.0, 4.0], 0.0, 500.0),
    ] {
        let report = SpeedReport::from(&timings(tokens, times));
        assert_eq!(
            (report.prompt_per_second, report.predicted_per_second),
            (prompt, predicted),
            "{tokens:?} {times:?}"
        );
        assert_eq!((report.cache_n, report.prompt_n), (tokens[1], tokens[0].saturating_sub(tokens[1])));
        assert_eq!((report.predicted_n, report.prompt_ms), (tokens[2], times[0]));
        assert_eq!((report.first_token_ms, report.predicted_ms), (times[1], times[2]));
    }
}

/// Each row: which of the counts of prompt, cache, answer and thought are known, and what is told.
#[test]
fn only_known_counts_are_told() {
    let details = |cached: u32| json!({ "cached_tokens": cached });
    for (known, expected) in [
        ([false; 4], Value::Null),
        ([true, false, false, false], json!({ "prompt_tokens": 10 })),
        ([false, false, true, false], json!({ "completion_tokens": 5 })),
        ([true, false, true, false], json!({ "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15 })),
        ([false, true, false, false], json!({ "prompt_tokens_details": details(4) })),
        ([false, false, false, true], json!({ "completion_tokens_details": { "reasoning_tokens": 2 } })),
        (
            [true, true, false, false],
            json!({
                "prompt_tokens": 10, "prompt_tokens_details": details(4), "prompt_cache_hit_tokens": 4,
                "prompt_cache_miss_tokens": 6,
            }),
        ),
    ] {
        let [prompt, cached, completion, reasoning] = known;
        let known = Known { prompt, cached, completion, reasoning };
        let usage = Usage::from(&Timings { known, ..timings([10, 4, 5, 2], [0.0; 3]) });
        assert_eq!(usage.to_json(), expected);
    }
}
