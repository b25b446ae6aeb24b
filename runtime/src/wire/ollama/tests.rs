//! Oracles: Ollama's API reference and its clients' habits; what a chat or text completion with the same words holds.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::Lines;
use super::request::OllamaTask;
use super::request::{What, asked, plain_name};
use crate::error::Result;
use crate::generate::{Event, Finish, Timings, Voice};
use crate::wire::openai::{ChatRequest, Compat, Rules, TextRequest};

/// A request with these fields, by chat or by generate.
fn task(rules: &Rules, fields: &Value, generates: bool) -> Result<OllamaTask> {
    let mut body = json!({ "model": "m:latest" });
    match generates {
        true => body["prompt"] = json!("a"),
        false => body["messages"] = json!([{ "role": "user", "content": "a" }]),
    }
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    asked(rules, body.to_string().as_bytes(), generates)
}

fn chat(fields: &Value, generates: bool) -> Result<ChatRequest> {
    task(&Rules::default(), fields, generates).map(|task| match task.what {
        What::Chat(chat) => *chat,
        _ => panic!("no chat: {fields}"),
    })
}

fn text(fields: &Value) -> Result<TextRequest> {
    task(&Rules::default(), fields, true).map(|task| match task.what {
        What::Text(text) => *text,
        _ => panic!("no text: {fields}"),
    })
}

/// As the body of a chat completion.
fn body(fields: &Value, generates: bool) -> Value {
    Value::Object(chat(fields, generates).unwrap().to_body())
}

#[test]
fn the_tag_of_the_latest_is_none() {
    for (name, plain) in
        [("m:latest", "m"), ("m", "m"), ("m:8b", "m:8b"), (":latest", ""), ("m:latest:latest", "m:latest")]
    {
        assert_eq!(plain_name(name), plain);
    }
}

#[test]
fn every_field_has_its_place_in_a_chat_completion() {
    let tools = json!([{ "type": "function", "function": { "name": "f" } }]);
    let options = json!({
        "temperature": 0.5, "top_p": 0.25, "top_k": 3, "min_p": 0.125, "seed": 5, "stop": ["x"], "num_predict": 7,
        "repeat_penalty": 1.5, "presence_penalty": 1.0, "frequency_penalty": -1.0,
    });
    let found = body(&json!({ "tools": tools, "stream": false, "think": false, "options": options }), false);
    let mut expected = json!({
        "model": "m", "messages": [{ "role": "user", "content": "a" }], "tools": tools, "stream": false,
        "thinking": { "type": "disabled" }, "temperature": 0.5, "top_p": 0.25, "top_k": 3, "min_p": 0.125, "seed": 5,
        "stop": ["x"], "max_tokens": 7, "repetition_penalty": 1.5, "presence_penalty": 1.0, "frequency_penalty": -1.0,
    });
    assert_eq!(found, expected);
    expected.as_object_mut().unwrap().remove("tools");
    expected["messages"] = json!([{ "role": "system", "content": "s" }, { "role": "user", "content": "a" }]);
    let fields = json!({ "system": "s", "stream": false, "think": false, "options": options });
    assert_eq!(body(&fields, true), expected);
    let empty = json!({ "system": "", "images": [], "template": "", "context": [], "suffix": "", "raw": false });
    let plain = json!({ "model": "m", "messages": [{ "role": "user", "content": "a" }] });
    assert_eq!(body(&empty, true), plain);
}

#[test]
fn thinking_has_levels_that_are_one() {
    for (think, kind) in [
        (json!(true), "enabled"),
        (json!("low"), "enabled"),
        (json!("medium"), "enabled"),
        (json!("high"), "enabled"),
        (json!("max"), "enabled"),
        (json!(false), "disabled"),
    ] {
        assert_eq!(body(&json!({ "think": think }), false)["thinking"], json!({ "type": kind }), "{think}");
    }
    for think in [json!("none"), json!(1), json!([])] {
        let error = chat(&json!({ "think": think }), false).unwrap_err();
        assert!(error.message().contains("think: expected true, false, low, medium, high or max"), "{error}");
    }
}

#[test]
fn forms_are_asked_for_by_a_word_or_a_schema() {
    let form = |format: Value| body(&json!({ "format": format }), false).get("response_format").cloned();
    assert_eq!((form(Value::Null), form(json!(""))), (None, None));
    assert_eq!(form(json!("json")).unwrap(), json!({ "type": "json_object", "json_schema": null, "schema": null }));
    let schema = form(json!({ "title": "a" })).unwrap();
    assert_eq!((&schema["type"], &schema["json_schema"]["schema"]), (&json!("json_schema"), &json!({ "title": "a" })));
}

/// Each row: the number as written, and the whole number that it is.
#[test]
fn whole_numbers_may_be_written_with_a_fraction() {
    for (written, whole) in [
        ("8", Some(8)),
        ("8.0", Some(8)),
        ("8e0", Some(8)),
        ("8.5", None),
        ("1e300", None),
        ("9007199254740992.0", Some(9_007_199_254_740_992)),
        ("9007199254740994.0", None),
        ("18446744073709551615", None),
    ] {
        let body = format!(r#"{{"model": "m", "prompt": "a", "options": {{"num_predict": {written}}}}}"#);
        match (asked(&Rules::default(), body.as_bytes(), true), whole) {
            (Ok(OllamaTask { what: What::Chat(chat), .. }), Some(whole)) => assert_eq!(chat.max_tokens, Some(whole)),
            (Err(error), None) => {
                let says = "options.num_predict: expected a whole number, found ";
                assert!(error.message().starts_with(says), "{error}");
                assert_eq!(error.details()["param"], "options.num_predict");
            }
            _ => panic!("{written}"),
        }
    }
    for (options, field, found) in [
        (json!({ "top_k": -1.0, "seed": -7.0 }), "top_k", json!(-1)),
        (json!({ "seed": -7.0 }), "seed", json!(-7)),
        (json!({ "seed": u64::MAX }), "seed", json!(u64::MAX)),
    ] {
        assert_eq!(body(&json!({ "options": options }), false)[field], found);
    }
    let error = chat(&json!({ "options": { "seed": 0.5 } }), false).unwrap_err();
    assert_eq!(error.message(), "options.seed: expected a whole number, found 0.5");
}

/// Oracle: Ollama's −1 (no bound) and −2 (what the context holds); DeepSeek's rules know no such number.
#[test]
fn no_bound_is_as_many_tokens_as_there_is_room_for() {
    let strict = Rules { compat: Compat::DeepSeek, ..Rules::default() };
    for (rules, most, expected) in [
        (Rules::default(), json!(-2), Some(i64::MAX)),
        (Rules::default(), json!(-1), Some(i64::MAX)),
        (Rules::default(), json!(0), Some(i64::MAX)),
        (Rules::default(), json!(1), Some(1)),
        (Rules::default(), Value::Null, None),
        (strict.clone(), json!(-1), None),
        (strict.clone(), json!(0), None),
        (strict, json!(1), Some(1)),
    ] {
        let task = task(&rules, &json!({ "options": { "num_predict": most } }), false).unwrap();
        let What::Chat(chat) = task.what else { panic!() };
        assert_eq!(chat.max_tokens, expected, "{most}");
    }
}

#[test]
fn a_penalty_over_no_tokens_is_none() {
    for (last, penalty, ignored) in [
        (Value::Null, Some(1.5), vec![]),
        (json!(0), None, vec![]),
        (json!(0.0), None, vec![]),
        (json!(64), Some(1.5), vec!["options.repeat_last_n"]),
        (json!(-1), Some(1.5), vec!["options.repeat_last_n"]),
    ] {
        let chat = chat(&json!({ "options": { "repeat_penalty": 1.5, "repeat_last_n": last } }), false).unwrap();
        assert_eq!(chat.repetition_penalty, penalty, "{last}");
        assert_eq!(chat.ignored(), ignored, "{last}");
    }
}

/// Each row: how long to keep the model, and what the answer to a request without words says.
#[test]
fn a_request_without_words_loads_or_unloads() {
    for (keep, reason) in [
        (Value::Null, "load"),
        (json!(0), "unload"),
        (json!(0.0), "unload"),
        (json!("0"), "unload"),
        (json!("0s"), "unload"),
        (json!("0h"), "unload"),
        (json!("5m"), "load"),
        (json!(-1), "load"),
        (json!("s"), "load"),
        (json!(false), "load"),
        (json!([0]), "load"),
    ] {
        for (fields, generates) in
            [(json!({ "messages": [] }), false), (json!({ "messages": null }), false), (json!({ "prompt": "" }), true)]
        {
            let mut fields = fields.clone();
            fields["keep_alive"] = keep.clone();
            let task = task(&Rules::default(), &fields, generates).unwrap();
            assert!(matches!(task.what, What::Load { done_reason } if done_reason == reason), "{fields}");
            assert_eq!((task.model.as_str(), task.streams), ("m:latest", true));
        }
    }
    // With words it is a request like others, and a hole is filled though nothing is before it.
    assert!(chat(&json!({ "keep_alive": 0 }), false).is_ok());
    assert!(text(&json!({ "prompt": "", "suffix": "b" })).is_ok());
    assert!(!task(&Rules::default(), &json!({ "stream": false }), true).unwrap().streams);
}

#[test]
fn raw_prompts_and_holes_are_texts() {
    let raw = text(&json!({ "raw": true, "options": { "num_predict": 5 } })).unwrap();
    assert_eq!((raw.parse_special, raw.suffix.as_deref(), raw.max_tokens), (Some(true), None, Some(5)));
    let hole = text(&json!({ "suffix": "b" })).unwrap();
    assert_eq!((hole.parse_special, hole.suffix.as_deref()), (Some(false), Some("b")));
    let both = text(&json!({ "raw": true, "suffix": "b" })).unwrap();
    assert_eq!((both.parse_special, both.suffix.as_deref()), (Some(true), Some("b")));
}

#[test]
fn what_cannot_be_honoured_is_refused_by_its_name() {
    for (fields, place, says) in [
        (json!({ "images": ["x"] }), "images", "images are not supported: this model reads text only"),
        (json!({ "template": "x" }), "template", "not supported; send the whole prompt with raw: true"),
        (json!({ "context": [1] }), "context", "not supported; send the messages to /api/chat"),
        (json!({ "raw": true, "format": "json" }), "format", "cannot be combined with raw or suffix"),
        (json!({ "suffix": "b", "format": "json" }), "format", "cannot be combined with raw or suffix"),
        (json!({ "format": "xml" }), "format", "expected json or a schema, found \"\\\"xml\\\"\""),
        (json!({ "format": [1] }), "format", "expected json or a schema, found \"[1]\""),
    ] {
        let error = task(&Rules::default(), &fields, true).map(|_| ()).expect_err(&fields.to_string());
        assert_eq!(error.message(), format!("{place}: {says}"), "{fields}");
        assert_eq!(error.details()["param"], place);
    }
}

/// Role, text, thought, calls (id and function) and whose result it is.
fn told(turns: &Value) -> Result<Value> {
    let chat = chat(&json!({ "messages": turns }), false)?;
    let message = |message: &Value| {
        let calls = message["tool_calls"].as_array().into_iter().flatten();
        let calls: Vec<String> = calls
            .map(|call| format!("{} {}", call["id"].as_str().unwrap(), call["function"]["name"].as_str().unwrap()))
            .collect();
        let mut told = vec![message["role"].clone(), message["content"].clone()];
        told.extend(message.get("reasoning_content").cloned());
        if !calls.is_empty() {
            told.push(json!(calls));
        }
        told.extend(message.get("tool_call_id").cloned());
        Value::Array(told)
    };
    Ok(Value::Object(chat.to_body())["messages"].as_array().unwrap().iter().map(message).collect())
}

#[test]
fn results_go_to_their_calls_by_id_by_name_or_in_order() {
    let call = |name: &str| json!({ "function": { "name": name, "arguments": {} } });
    let named = |id: &str, name: &str| json!({ "id": id, "function": { "name": name, "arguments": {} } });
    let said = |text: &str, calls: Value| json!({ "role": "assistant", "content": text, "tool_calls": calls });
    let thought = |text: &str, thinking: &str, calls: Value| json!({ "role": "assistant", "content": text, "thinking": thinking, "tool_calls": calls });
    let user = json!({ "role": "user", "content": "u" });
    let result = |text: &str, fields: Value| {
        let mut message = json!({ "role": "tool", "content": text });
        message.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        message
    };
    for (turns, expected) in [
        (
            json!([user, said("", json!([call("f"), call("g")])), result("1", json!({})), result("2", json!({}))]),
            json!([
                ["user", "u"],
                ["assistant", "", ["call_1 f", "call_2 g"]],
                ["tool", "1", "call_1"],
                ["tool", "2", "call_2"]
            ]),
        ),
        (
            json!([
                user,
                said("", json!([call("f"), call("g")])),
                result("1", json!({ "tool_name": "g" })),
                result("2", json!({ "name": "f" })),
            ]),
            json!([
                ["user", "u"],
                ["assistant", "", ["call_1 f", "call_2 g"]],
                ["tool", "1", "call_2"],
                ["tool", "2", "call_1"]
            ]),
        ),
        // An id says more than a name, and an empty one is none.
        (
            json!([
                user,
                said("", json!([named("x", "f"), named("", "g")])),
                result("1", json!({ "tool_call_id": "call_1", "tool_name": "f" })),
                result("2", json!({})),
            ]),
            json!([["user", "u"], ["assistant", "", ["x f", "call_1 g"]], ["tool", "1", "call_1"], ["tool", "2", "x"]]),
        ),
        // Two turns with calls are one; so are their thoughts and texts.
        (
            json!([
                user,
                thought("a", "hm", json!([call("f")])),
                thought("b", "so", json!([call("g")])),
                result("1", json!({})),
                result("2", json!({})),
            ]),
            json!([
                ["user", "u"],
                ["assistant", "ab", "hm", ["call_1 f", "call_2 g"]],
                ["tool", "1", "call_1"],
                ["tool", "2", "call_2"],
            ]),
        ),
        (
            json!([
                user,
                said("a", json!([call("f")])),
                thought("b", "so", json!([call("g")])),
                result("1", json!({})),
                result("2", json!({})),
            ]),
            json!([
                ["user", "u"],
                ["assistant", "ab", "so", ["call_1 f", "call_2 g"]],
                ["tool", "1", "call_1"],
                ["tool", "2", "call_2"],
            ]),
        ),
        // Numbers go on over turns, and turns without calls stay apart.
        (
            json!([
                user,
                said("a", json!([call("f")])),
                result("1", json!({})),
                said("b", json!([call("f")])),
                result("2", json!({})),
                said("c", json!([])),
                said("d", Value::Null),
                user,
            ]),
            json!([
                ["user", "u"],
                ["assistant", "a", ["call_1 f"]],
                ["tool", "1", "call_1"],
                ["assistant", "b", ["call_2 f"]],
                ["tool", "2", "call_2"],
                ["assistant", "c"],
                ["assistant", "d"],
                ["user", "u"],
            ]),
        ),
        // Calls that nobody answered wait no longer once the user speaks.
        (
            json!([user, said("a", json!([call("f")])), user, said("b", json!([])), user]),
            json!([["user", "u"], ["assistant", "a", ["call_1 f"]], ["user", "u"], ["assistant", "b"], ["user", "u"]]),
        ),
    ] {
        assert_eq!(told(&turns).unwrap(), expected, "{turns}");
    }
    for (turns, message, place) in [
        (json!([user, result("1", json!({}))]), "messages[1]: a tool result without a preceding call", "messages[1]"),
        (
            json!([user, said("", json!([call("f")])), result("1", json!({})), result("2", json!({}))]),
            "messages[3]: a tool result without a preceding call",
            "messages[3]",
        ),
        (
            json!([user, said("", json!([call("f"), call("g")])), result("1", json!({}))]),
            "messages[1].tool_calls: expected a following message of role tool with the result of \"g\"",
            "messages[1].tool_calls",
        ),
        (
            json!([user, said("", json!([call("f")])), user, result("1", json!({}))]),
            "messages[3]: a tool result without a preceding call",
            "messages[3]",
        ),
        (
            json!([{ "role": "user", "content": "u", "images": ["x"] }]),
            "messages[0].images: images are not supported: this model reads text only",
            "messages[0].images",
        ),
    ] {
        let error = told(&turns).expect_err(message);
        assert_eq!((error.message(), &error.details()["param"]), (message, &json!(place)));
    }
}

#[test]
fn a_begun_answer_goes_on_without_a_thought() {
    let turns = json!([{ "role": "user", "content": "a" }, { "role": "assistant", "content": "b" }]);
    for think in [Value::Null, json!(true), json!(false)] {
        let body = body(&json!({ "messages": turns, "think": think }), false);
        assert_eq!(body["messages"][1]["prefix"], true, "{think}");
        assert_eq!(body["thinking"], json!({ "type": "disabled" }), "{think}");
    }
    let ended = json!({ "messages": [turns[0], turns[1], turns[0]] });
    assert!(body(&ended, false)["messages"][1].get("prefix").is_none());
}

fn said(voice: Voice, text: &str) -> Event {
    Event::Text { voice, text: text.to_owned() }
}

const NOW: Duration = Duration::new(1_764_664_568, 5_000);

/// Every line of an answer, by lines or whole.
fn lines(generates: bool, whole: bool, events: &[Event]) -> Vec<Map<String, Value>> {
    let mut lines = Lines::new("m".to_owned(), generates);
    events.iter().filter_map(|event| lines.take(event, whole, NOW)).collect()
}

/// Oracle: the fields of Ollama's reference; durations in nanoseconds.
#[test]
fn lines_say_parts_and_the_last_one_the_counts() {
    let timings = Timings {
        queue_ms: 1.0,
        prompt_tokens: 10,
        cached_tokens: 4,
        completion_tokens: 5,
        prompt_ms: 2.5,
        first_token_ms: 4.0,
        decode_ms: 8.0,
        ..Timings::default()
    };
    let events = [
        Event::Prompt { done: 10, total: 10, cached: 4, elapsed_ms: 1.0 },
        said(Voice::Reasoning, "hm"),
        said(Voice::Content, "a"),
        said(Voice::Content, "b"),
        Event::Call { index: 0, name: "f".to_owned(), id: Some("x".to_owned()) },
        Event::Arguments { index: 0, text: "{\"k\": 1}".to_owned() },
        Event::CallEnd { index: 0 },
        Event::Call { index: 1, name: "g".to_owned(), id: None },
        Event::CallEnd { index: 1 },
        Event::End { finish: Finish::ToolCalls, stop: None, timings },
    ];
    let told = lines(false, false, &events);
    let own = told[4]["message"]["tool_calls"][0]["id"].as_str().unwrap();
    assert_eq!(own.strip_prefix("call_").unwrap().len(), 32);
    let head = json!({ "model": "m", "created_at": "2025-12-02T08:36:08.000005Z", "done": false });
    let line = |said: Value| {
        let mut line = head.clone();
        line.as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
        line
    };
    let message = |fields: Value| {
        let mut message = json!({ "role": "assistant", "content": "" });
        message.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        line(json!({ "message": message }))
    };
    let call = |index: u32, id: &str, name: &str, arguments: Value| json!({ "id": id, "function": { "index": index, "name": name, "arguments": arguments } });
    let counts = json!({
        "done": true, "done_reason": "stop", "total_duration": 13_000_000, "load_duration": 0, "prompt_eval_count": 10,
        "prompt_eval_duration": 2_500_000, "eval_count": 5, "eval_duration": 8_000_000,
    });
    let ended = |mut line: Value| {
        line.as_object_mut().unwrap().extend(counts.as_object().unwrap().clone());
        line
    };
    let calls = [call(0, "x", "f", json!({ "k": 1 })), call(1, own, "g", json!({}))];
    let expected = [
        message(json!({ "thinking": "hm" })),
        message(json!({ "content": "a" })),
        message(json!({ "content": "b" })),
        message(json!({ "tool_calls": [calls[0]] })),
        message(json!({ "tool_calls": [calls[1]] })),
        ended(message(json!({}))),
    ];
    assert_eq!(json!(told), json!(expected));
    let whole = lines(false, true, &events[..7].iter().chain(&events[9..]).cloned().collect::<Vec<_>>());
    let all = json!({ "content": "ab", "thinking": "hm", "tool_calls": [calls[0]] });
    assert_eq!(json!(whole), json!([ended(message(all))]));
    // Where text is generated it has another name, and calls are not looked for.
    let generated = lines(true, true, &[events[1].clone(), events[2].clone(), events[9].clone()]);
    assert_eq!(json!(generated), json!([ended(line(json!({ "response": "a", "thinking": "hm" })))]));
    let parts = lines(true, false, &events[1..3]);
    assert_eq!(
        json!(parts),
        json!([line(json!({ "response": "", "thinking": "hm" })), line(json!({ "response": "a" }))])
    );
}

#[test]
fn an_answer_without_words_says_why() {
    let empty = Lines::new("m".to_owned(), true).empty("unload", NOW);
    let expected = json!({
        "model": "m", "created_at": "2025-12-02T08:36:08.000005Z", "response": "", "done": true, "done_reason": "unload",
    });
    assert_eq!(Value::Object(empty), expected);
}

#[test]
fn times_that_nobody_took_are_none_and_a_cut_is_named() {
    for (finish, reason) in
        [(Finish::Stop, "stop"), (Finish::Length, "length"), (Finish::Filtered, "stop"), (Finish::ToolCalls, "stop")]
    {
        let timings = Timings { decode_ms: -1.0, prompt_ms: -1.0, ..Timings::default() };
        let told = lines(true, true, &[Event::End { finish, stop: None, timings }]);
        assert_eq!(told[0]["done_reason"], reason, "{finish:?}");
        assert_eq!((&told[0]["eval_duration"], &told[0]["prompt_eval_duration"]), (&json!(0), &json!(0)));
    }
}
