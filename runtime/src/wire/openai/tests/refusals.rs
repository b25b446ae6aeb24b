//! Oracle: the ranges of the references, at their ends and one step beyond.

use serde_json::{Map, Value, json};

use super::{refused, request, request_by, stories, strict, tool, user};
use crate::chat::{Content, Message};
use crate::error::Code;
use crate::wire::openai::limits::{check_prompt_logprobs, check_scored, fit};
use crate::wire::openai::{ChatRequest, Rules, TextRequest};

/// Each row: a field, values at the ends of its range, values beyond.
#[test]
fn ranges_hold_both_of_their_ends() {
    let named = |length: usize| json!([tool(&"f".repeat(length))]);
    let biases = |count: u32| (0..count).map(|id| (id.to_string(), json!(1))).collect::<Map<String, Value>>();
    for (field, inside, outside) in [
        ("temperature", json!([0, 2]), json!([-0.01, 2.01])),
        ("top_p", json!([1e-9, 1]), json!([0, -1, 1.01])),
        ("min_p", json!([0, 1]), json!([-0.01, 1.01])),
        ("presence_penalty", json!([-2, 2]), json!([-2.01, 2.01])),
        ("frequency_penalty", json!([-2, 2]), json!([-2.01, 2.01])),
        ("repetition_penalty", json!([0.01, 10]), json!([0.009, 10.01])),
        ("top_k", json!([-1, 0, u32::MAX]), json!([-2, 4_294_967_296_u64])),
        ("n", json!([1, 8]), json!([0, 9, -1])),
        ("seed", json!([i64::MIN, -1, 0, u64::MAX]), json!([0.5])),
        ("logit_bias", json!([{ "1": -100, "2": 100 }]), json!([{ "1": -100.1 }, { "2": 100.1 }])),
        ("logit_bias", json!([biases(1024)]), json!([biases(1025)])),
        ("stop_token_ids", json!([[], vec![1; 16]]), json!([vec![1; 17]])),
        ("stop", json!(["", "x".repeat(256), vec!["x"; 16]]), json!(["x".repeat(257), vec!["x"; 17]])),
        ("prompt_logprobs", json!([0, 20]), json!([-1, 21])),
        ("user_id", json!(["a", "x".repeat(512), "aZ09_-"]), json!(["", "x".repeat(513), "a b", "a.b"])),
        ("max_tokens", json!([0, 1, i64::MAX]), json!([-1])),
        ("max_completion_tokens", json!([0, 1, i64::MAX]), json!([-1])),
        ("tools", json!([named(1), named(128), [], vec![tool("f"); 1]]), json!([named(129)])),
    ] {
        for value in inside.as_array().unwrap() {
            let found = request(json!({ field: value })).map(|_| ()).map_err(|error| error.to_string());
            assert_eq!(found, Ok(()), "{field}: {value}");
        }
        for value in outside.as_array().unwrap() {
            let error = request(json!({ field: value })).map(|_| ()).expect_err(&format!("{field}: {value}"));
            assert_eq!((error.code(), &error.details()["param"]), (Code::BadRequest, &json!(field)), "{value}");
        }
    }
    let ids = "Invalid stop_token_ids value, at most 16 ids";
    refused(&Rules::default(), &[(json!({ "stop_token_ids": vec![1; 17] }), "stop_token_ids", ids)]);
}

/// DeepSeek's own caps: of answers by the mode, of names and functions.
#[test]
fn deepseek_s_ranges_hold_both_of_their_ends() {
    let tools = |count: u32| (0..count).map(|at| tool(&at.to_string())).collect::<Vec<_>>();
    for (fields, refused) in [
        (json!({ "max_tokens": 1 }), false),
        (json!({ "max_tokens": 0 }), true),
        (json!({ "max_completion_tokens": 8192 }), false),
        (json!({ "max_completion_tokens": 8193 }), true),
        (json!({ "thinking": { "type": "enabled" }, "max_tokens": 65_536 }), false),
        (json!({ "thinking": { "type": "enabled" }, "max_tokens": 65_537 }), true),
        (json!({ "tools": tools(128) }), false),
        (json!({ "tools": tools(129) }), true),
        (json!({ "tools": [tool(&"f".repeat(64))] }), false),
        (json!({ "tools": [tool(&"f".repeat(65))] }), true),
        (json!({ "stream_options": {} }), true),
        (json!({ "stream_options": {}, "stream": true }), false),
        (json!({ "logprobs": true, "top_logprobs": 20 }), false),
        (json!({ "thinking": { "type": "enabled" }, "top_logprobs": 1 }), true),
        (json!({ "thinking": { "type": "enabled" }, "logprobs": false, "top_logprobs": 0 }), false),
    ] {
        assert_eq!(request_by(&strict(), fields.clone()).is_err(), refused, "{fields}");
    }
    let said = |fields: Value| request_by(&strict(), fields).map(|_| ()).unwrap_err().message().to_owned();
    let thinking = json!({ "thinking": { "type": "enabled" }, "top_logprobs": 1 });
    assert_eq!(said(thinking), "Thinking mode does not support logprobs");
    // On the beta path functions are strict all together, or not at all.
    let strictly = |name: &str| json!({ "type": "function", "function": { "name": name, "strict": true } });
    let beta = Rules { beta: true, ..strict() };
    for (rules, tools, refused) in [
        (&beta, json!([strictly("f"), strictly("g")]), false),
        (&beta, json!([tool("f"), tool("g")]), false),
        (&beta, json!([tool("f"), strictly("g")]), true),
        (&strict(), json!([tool("f"), strictly("g")]), false),
        (&Rules { beta: true, ..Rules::default() }, json!([tool("f"), strictly("g")]), false),
    ] {
        assert_eq!(request_by(rules, json!({ "tools": tools })).is_err(), refused, "{tools}");
    }
}

#[test]
fn the_older_form_of_functions_is_refused_where_it_says_something() {
    let message = |field: &str, instead: &str| {
        format!(
            "{field}: this older form of function calls is not supported; send {instead}, and read tool_calls from the answer"
        )
    };
    for (fields, refusal) in [
        (json!({ "functions": null, "function_call": null }), None),
        (json!({ "functions": [] }), None),
        (json!({ "functions": [{ "name": "f" }] }), Some(("functions", "tools"))),
        (json!({ "functions": {} }), Some(("functions", "tools"))),
        (json!({ "function_call": "none" }), None),
        (json!({ "function_call": "auto" }), None),
        (json!({ "function_call": "f" }), Some(("function_call", "tool_choice"))),
        (json!({ "function_call": { "name": "f" } }), Some(("function_call", "tool_choice"))),
        (json!({ "functions": [{}], "function_call": "f" }), Some(("functions", "tools"))),
        (json!({ "functions": [{}], "tools": [] }), Some(("functions", "tools"))),
        (json!({ "functions": [{}], "function_call": "f", "tools": [tool("f")] }), None),
    ] {
        let found = request(fields.clone()).err().map(|error| error.message().to_owned());
        assert_eq!(found, refusal.map(|(field, instead)| message(field, instead)), "{fields}");
    }
    // A program that makes the request itself may say null where a body says nothing.
    let hello = Message { content: Some(Content::Text("a".to_owned())), ..Message::default() };
    let request = ChatRequest { messages: vec![hello], functions: Some(Value::Null), ..ChatRequest::default() };
    assert!(request.checked(&Rules::default(), vec![]).is_ok());
}

#[test]
fn ends_and_forms_go_together_or_not() {
    for (fields, refusal) in [
        (json!({ "ignore_eos": true }), None),
        (json!({ "min_tokens": 5 }), None),
        (json!({ "ignore_eos": true, "tools": [tool("f")] }), None),
        (json!({ "ignore_eos": true, "guided_regex": "a" }), Some("ignore_eos")),
        (json!({ "ignore_eos": false, "guided_regex": "a" }), None),
        (json!({ "min_tokens": 1, "guided_regex": "a" }), Some("min_tokens")),
        (json!({ "min_tokens": 0, "guided_regex": "a" }), None),
        (json!({ "min_tokens": 1, "ignore_eos": true, "guided_regex": "a" }), Some("ignore_eos")),
    ] {
        let found = request(fields.clone()).err().map(|error| error.details()["param"].clone());
        assert_eq!(found, refusal.map(|field| json!(field)), "{fields}");
    }
}

/// The word that JSON asks for, wherever it is said.
#[test]
fn messages_are_judged_as_a_whole() {
    let object = json!({ "type": "json_object" });
    for (text, refused) in [("as JSON", false), ("a .json file", false), ("as jason", true)] {
        let fields = json!({ "messages": [user(text), user("please")], "response_format": object });
        assert_eq!(request(fields).is_err(), refused, "{text}");
    }
    let both = json!({ "continue_final_message": true, "add_generation_prompt": true });
    assert!(request(both).is_err() && request(json!({ "add_generation_prompt": true })).is_ok());
}

/// Each row: tokens of the prompt, tokens wanted, whether more than there is room for is refused, and what comes of it.
#[test]
fn what_fits_into_a_context_of_ten() {
    let prompt = |tokens: usize| vec![1_u32; tokens];
    for (tokens, most, refuses, fits) in [
        (4, 6, true, Some(6)),
        (4, 7, true, None),
        (4, 7, false, Some(6)),
        (4, 5, true, Some(5)),
        (9, 1, true, Some(1)),
        (9, u32::MAX, false, Some(1)),
        (10, 1, false, None),
        (11, 1, false, None),
        (10, 0, true, None),
    ] {
        let found = fit(&prompt(tokens), most, 10, refuses);
        assert_eq!(found.as_ref().ok(), fits.as_ref(), "{tokens} {most}");
        let Err(error) = found else { continue };
        let sum = tokens + most as usize;
        let message = format!(
            "This model's maximum context length is 10 tokens. However, you requested {sum} tokens ({tokens} in the \
            messages, {most} in the completion). Please reduce the length of the messages or completion."
        );
        let help = match tokens {
            4 => "lower max_tokens, or shorten the messages".to_owned(),
            _ => format!("raise --context above {tokens}, or shorten the messages"),
        };
        assert_eq!((error.code(), error.message(), error.help()), (Code::ContextOverflow, &*message, &[help][..]));
        let details = error.details();
        assert_eq!((&details["param"], &details["prompt_tokens"]), (&json!("messages"), &json!(tokens)));
        assert_eq!(details["context"], 10);
    }
    assert_eq!(fit(&[], 1, 10, true).unwrap_err().code(), Code::BadRequest, "there is no prompt");
}

#[test]
fn log_probabilities_of_prompts_have_bounds() {
    assert!(check_scored("prompt", 1 << 19).is_ok());
    let error = check_scored("prompt", (1 << 19) + 1).unwrap_err();
    assert_eq!(error.details()["param"], "prompt");
    let says = "prompt: expected at most 524288 log probabilities of prompts in an answer, found 524289;";
    assert!(error.message().starts_with(says), "{error}");
    for (count, streams, refused) in [
        (None, true, false),
        (Some(0), false, false),
        (Some(20), false, false),
        (Some(21), false, true),
        (Some(-1), false, true),
        (Some(0), true, true),
    ] {
        assert_eq!(check_prompt_logprobs(count, streams).is_err(), refused, "{count:?} {streams}");
    }
    // A chat of 128 tokens at most never has so many; a text may have many prompts.
    let engine = stories();
    let scored = |count: u64, answers: u64| {
        let fields =
            json!({ "prompt": vec![vec![1_u32; 120]; 64], "n": answers, "prompt_logprobs": count, "max_tokens": 1 });
        let asked = TextRequest::parse_by(&Rules::default(), fields.to_string()).unwrap();
        asked.to_requests(engine.language().unwrap()).map(|asked| asked.requests.len())
    };
    // 64 · 120 · 8 · (7 + 1) = 491,520; with one more for each token the 61st prompt is too many.
    assert_eq!(scored(7, 8).unwrap(), 512);
    assert!(scored(8, 8).unwrap_err().message().contains("found 527040"));
}
