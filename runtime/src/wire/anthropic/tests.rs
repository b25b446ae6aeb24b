//! Oracles: Anthropic's API reference for requests, events and errors; what a chat completion with the same words holds.

use serde_json::{Value, json};

use super::{AnthropicMessage, chat_request, error, model, models};
use crate::generate::{Event, Finish, Timings, Voice};
use crate::wire::openai::Rules;

/// A request with these fields, as the body of a chat completion.
fn asked(fields: &Value) -> crate::error::Result<Value> {
    let mut body = json!({ "model": "m", "max_tokens": 8, "messages": [{ "role": "user", "content": "a" }] });
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    chat_request(&Rules::default(), body.to_string().as_bytes(), false).map(|chat| Value::Object(chat.to_body()))
}

/// The messages of a conversation, as those of a chat completion.
fn messages(turns: &Value) -> Value {
    asked(&json!({ "messages": turns })).unwrap()["messages"].clone()
}

fn user(content: Value) -> Value {
    json!({ "role": "user", "content": content })
}

fn assistant(content: Value) -> Value {
    json!({ "role": "assistant", "content": content })
}

fn text(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

/// Oracle: the table of errors in Anthropic's reference.
#[test]
fn every_status_has_anthropic_s_name() {
    for (status, kind) in [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "invalid_request_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (405, "invalid_request_error"),
        (413, "request_too_large"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (499, "invalid_request_error"),
        (500, "api_error"),
        (501, "api_error"),
        (502, "api_error"),
        (503, "overloaded_error"),
        (504, "api_error"),
    ] {
        let body = json!({ "type": "error", "error": { "type": kind, "message": "no" } });
        assert_eq!(error(status, "no", None, None), body);
    }
    let told = error(400, "no", Some((30, 20)), Some("req_1"));
    let message = "prompt is too long: 30 tokens > 20 maximum";
    let body = json!({ "type": "error", "error": { "type": "invalid_request_error", "message": message } });
    assert_eq!((&told["error"], &told["request_id"]), (&body["error"], &json!("req_1")));
}

#[test]
fn models_are_on_one_page() {
    let one = json!({
        "type": "model", "id": "a", "display_name": "a", "created_at": "2000-02-29T00:00:00Z", "max_input_tokens": 9,
        "max_tokens": 9,
    });
    assert_eq!(model("a", 951_782_400, &json!(9)), one);
    let page = models(&["a", "b"], 951_782_400, &json!(9));
    let ends = (&page["has_more"], &page["first_id"], &page["last_id"]);
    assert_eq!(ends, (&json!(false), &json!("a"), &json!("b")));
    assert_eq!((page["data"].as_array().unwrap().len(), &page["data"][0]), (2, &one));
}

#[test]
fn every_field_has_its_place_in_a_chat_completion() {
    let schema = json!({ "type": "object" });
    let body = asked(&json!({
        "system": [text("b"), text("c")], "stop_sequences": ["x"], "stream": true, "temperature": 0.5, "top_p": 0.25,
        "top_k": 3, "thinking": { "type": "enabled", "budget_tokens": 5 }, "metadata": { "user_id": "somebody" },
        "tools": [
            { "type": "custom", "name": "f", "description": "It.", "input_schema": schema, "strict": true },
            { "name": "g" },
        ],
        "tool_choice": { "type": "auto", "disable_parallel_tool_use": true },
    }));
    // By sha256sum.
    let somebody = "729d7d638cef1b476c9ad1d5d275dc91fc253a026e0924d45b8995bcf828b01b";
    let function = json!({ "name": "f", "description": "It.", "parameters": schema, "strict": true });
    let expected = json!({
        "model": "m", "max_tokens": 8, "temperature": 0.5, "top_p": 0.25, "top_k": 3, "stop": ["x"], "stream": true,
        "thinking": { "type": "enabled" }, "tool_choice": "auto", "parallel_tool_calls": false,
        "user_id": somebody,
        "messages": [{ "role": "system", "content": "bc" }, { "role": "user", "content": "a" }],
        "tools": [{ "type": "function", "function": function }, { "type": "function", "function": { "name": "g" } }],
    });
    assert_eq!(body.unwrap(), expected);
    let users = |user: &str| {
        let body = asked(&json!({ "metadata": { "user_id": user } })).unwrap();
        body.get("user_id").cloned().unwrap_or_default()
    };
    assert_eq!((users(""), users("a") == users("b")), (Value::Null, false));
}

#[test]
fn a_tool_is_chosen_in_other_words() {
    let named = json!({ "type": "function", "function": { "name": "f" } });
    for (choice, expected, parallel) in [
        (json!({ "type": "auto" }), json!("auto"), Value::Null),
        (json!({ "type": "any" }), json!("required"), Value::Null),
        (json!({ "type": "none" }), json!("none"), Value::Null),
        (json!({ "type": "any", "disable_parallel_tool_use": false }), json!("required"), json!(true)),
        (json!({ "type": "tool", "name": "f", "disable_parallel_tool_use": true }), named, json!(false)),
    ] {
        let body = asked(&json!({ "tools": [{ "name": "f" }], "tool_choice": choice })).unwrap();
        assert_eq!(body["tool_choice"], expected, "{choice}");
        assert_eq!(body.get("parallel_tool_calls").cloned().unwrap_or_default(), parallel, "{choice}");
    }
}

#[test]
fn a_form_is_asked_for_in_either_place() {
    let format = |schema: &str| json!({ "type": "json_schema", "schema": { "title": schema } });
    let title = |fields: Value| {
        let body = asked(&fields).unwrap();
        assert_eq!(body["response_format"]["type"], "json_schema");
        body["response_format"]["json_schema"]["schema"]["title"].clone()
    };
    assert_eq!(title(json!({ "output_config": { "format": format("a") } })), "a");
    assert_eq!(title(json!({ "output_format": format("b") })), "b");
    assert_eq!(title(json!({ "output_config": { "format": format("a") }, "output_format": format("b") })), "a");
    assert!(asked(&json!({ "output_config": {} })).unwrap().get("response_format").is_none());
}

#[test]
fn turns_of_one_role_are_one_message() {
    for (turns, expected) in [
        (json!([user(json!("a")), user(json!("b"))]), json!([["user", "a\n\nb"]])),
        (json!([user(json!("")), user(json!("b"))]), json!([["user", "b"]])),
        (json!([user(json!("a")), user(json!("")), user(json!("c"))]), json!([["user", "a\n\nc"]])),
        (json!([user(json!([text("a"), text("b")]))]), json!([["user", "ab"]])),
        (
            json!([user(json!("a")), assistant(json!("b")), assistant(json!("c")), user(json!("d"))]),
            json!([["user", "a"], ["assistant", "b\n\nc"], ["user", "d"]]),
        ),
        (json!([{ "role": "system", "content": "s" }, user(json!("a"))]), json!([["system", "s"], ["user", "a"]])),
    ] {
        let told: Value =
            messages(&turns).as_array().unwrap().iter().map(|said| json!([said["role"], said["content"]])).collect();
        assert_eq!(told, expected, "{turns}");
    }
}

#[test]
fn thoughts_calls_and_results_have_messages_of_their_own() {
    let call = |id: &str, input: Value| json!({ "type": "tool_use", "id": id, "name": "f", "input": input });
    let result = |id: &str, content: Value| json!({ "type": "tool_result", "tool_use_id": id, "content": content });
    let thought = |text: &str| json!({ "type": "thinking", "thinking": text, "signature": "" });
    let turns = json!([
        user(json!("a")),
        assistant(json!([
            thought("h"), thought("m"), { "type": "redacted_thinking", "data": "x" }, text("b"), call("1", json!({ "k": 1 })),
            call("2", Value::Null),
        ])),
        user(json!([text("c"), result("1", json!([text("d"), text("e")])), result("2", Value::Null)])),
        assistant(json!([call("3", json!({}))])),
        user(json!([result("3", json!("f"))])),
        assistant(json!([call("4", json!({}))])),
        user(json!([result("4", json!("")), text("g")])),
    ]);
    let told = |id: &str, arguments: Value| json!({ "id": id, "type": "function", "function": { "name": "f", "arguments": arguments } });
    let expected = json!([
        { "role": "user", "content": "a" },
        {
            "role": "assistant", "content": "b", "reasoning_content": "hm",
            "tool_calls": [told("1", json!({ "k": 1 })), told("2", json!({}))],
        },
        { "role": "tool", "content": "de", "tool_call_id": "1" },
        { "role": "tool", "content": "", "tool_call_id": "2" },
        { "role": "user", "content": "c" },
        { "role": "assistant", "content": "", "tool_calls": [told("3", json!({}))] },
        { "role": "tool", "content": "f", "tool_call_id": "3" },
        { "role": "assistant", "content": "", "tool_calls": [told("4", json!({}))] },
        { "role": "tool", "content": "", "tool_call_id": "4" },
        { "role": "user", "content": "g" },
    ]);
    assert_eq!(messages(&turns), expected);
}

#[test]
fn a_begun_answer_goes_on_without_a_thought() {
    let begun = json!({ "messages": [user(json!("a")), assistant(json!("b"))] });
    let with = |fields: Value| {
        let mut all = begun.clone();
        all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        asked(&all)
    };
    for thinking in [Value::Null, json!({ "type": "disabled" }), json!({ "type": "adaptive" })] {
        let body = with(json!({ "thinking": thinking })).unwrap();
        assert_eq!(body["messages"][1], json!({ "role": "assistant", "content": "b", "prefix": true }), "{thinking}");
        assert_eq!(body["thinking"], json!({ "type": "disabled" }), "{thinking}");
    }
    let refused = with(json!({ "thinking": { "type": "enabled" } })).unwrap_err();
    let message = "thinking: a prefilled answer cannot be combined with thinking; omit one of them";
    assert_eq!((refused.message(), &refused.details()["param"]), (message, &json!("thinking")));
    let ended = asked(&json!({ "messages": [user(json!("a")), assistant(json!("b")), user(json!("c"))] })).unwrap();
    assert!(ended.get("thinking").is_none() && ended["messages"][1].get("prefix").is_none());
}

/// Each row: what is sent, the field, and what is said of it.
#[test]
fn refusals_name_the_place_and_say_why() {
    let block = |block: Value| json!({ "messages": [user(json!("a")), assistant(json!([text("b"), block]))] });
    let called = assistant(json!([{ "type": "tool_use", "id": "1", "name": "f" }]));
    let results = |results: Value| json!({ "messages": [user(json!("a")), called, user(results)] });
    let result = |content: Value| json!([{ "type": "tool_result", "tool_use_id": "1", "content": content }]);
    let reads_text = "this model reads text only";
    let schema = json!({ "type": "json_schema", "schema": {} });
    for (fields, place, says) in [
        (json!({ "max_tokens": null }), "max_tokens", "field required"),
        (json!({ "max_tokens": 0 }), "max_tokens", "expected 1 or more, found 0"),
        (json!({ "max_tokens": -1 }), "max_tokens", "expected 1 or more, found -1"),
        (
            json!({ "mcp_servers": [{}] }),
            "mcp_servers",
            "lyn does not call MCP servers; pass their tools in `tools` and run them yourself",
        ),
        (block(json!({ "type": "text" })), "messages[1].content[1].text", "expected a string, found none"),
        (block(json!({ "type": "thinking" })), "messages[1].content[1].thinking", "expected a string, found none"),
        (
            block(json!({ "type": "tool_use", "name": "f" })),
            "messages[1].content[1].id",
            "expected a string, found none",
        ),
        (
            block(json!({ "type": "tool_use", "id": "1" })),
            "messages[1].content[1].name",
            "expected a string, found none",
        ),
        (
            block(json!({ "type": "tool_use", "id": "1", "name": "f", "input": [1] })),
            "messages[1].content[1].input",
            "expected an object",
        ),
        (
            block(json!({ "type": "tool_result", "tool_use_id": "1" })),
            "messages[1].content[1]",
            "a block of type \"tool_result\" in assistant is not supported: it is unknown here",
        ),
        (
            json!({ "messages": [user(json!([{ "type": "thinking", "thinking": "x" }]))] }),
            "messages[0].content[0]",
            "a block of type \"thinking\" in user is not supported: it is unknown here",
        ),
        (
            json!({ "messages": [user(json!([{ "type": "redacted_thinking" }]))] }),
            "messages[0].content[0]",
            "a block of type \"redacted_thinking\" in user is not supported: it is unknown here",
        ),
        (
            json!({ "messages": [user(json!([text("a"), { "type": "document" }]))] }),
            "messages[0].content[1]",
            &format!("a block of type \"document\" in user is not supported: {reads_text}"),
        ),
        (
            json!({ "messages": [user(json!([{ "type": "container_upload" }]))] }),
            "messages[0].content[0]",
            &format!("a block of type \"container_upload\" in user is not supported: {reads_text}"),
        ),
        (
            results(result(json!([text("x"), { "type": "image" }]))),
            "messages[2].content[0].content[1]",
            &format!("a block of type \"image\" in tool_result is not supported: {reads_text}"),
        ),
        (
            results(result(json!([{ "text": "x" }]))),
            "messages[2].content[0].content[0]",
            "a block of type \"\" in tool_result is not supported: it is unknown here",
        ),
        (results(result(json!(5))), "messages[2].content[0].content", "expected a string or a list of blocks"),
        (
            results(json!([{ "type": "tool_result" }])),
            "messages[2].content[0].tool_use_id",
            "expected a string, found none",
        ),
        (
            results(json!([{ "type": "tool_result", "tool_use_id": "2" }])),
            "messages[2]",
            "tool_result \"2\" matches no tool_use of the preceding turn",
        ),
        (
            json!({ "messages": [user(json!("a")), called] }),
            "messages[1]",
            "expected the next turn to have a tool_result for every tool_use: \"1\"",
        ),
        (
            json!({ "messages": [{ "role": "tool", "content": "x" }] }),
            "messages[0].role",
            "expected user or assistant, found \"tool\"",
        ),
        (
            json!({ "system": [text("a"), { "type": "image" }] }),
            "system[1]",
            &format!("a block of type \"image\" in system is not supported: {reads_text}"),
        ),
        (
            json!({ "system": [{ "type": "text" }] }),
            "system[0]",
            "a block of type \"text\" in system is not supported: it is unknown here",
        ),
        (
            json!({ "tools": [{ "name": "f" }, { "type": "bash_1", "name": "bash" }] }),
            "tools[1]",
            "\"bash_1\" is an Anthropic-defined tool and not supported; expected type custom, with a name and an input_schema",
        ),
        (json!({ "tools": [{ "input_schema": {} }] }), "tools[0].name", "field required"),
        (json!({ "tool_choice": { "type": "tool" } }), "tool_choice.name", "field required"),
        (
            json!({ "tool_choice": { "type": "some", "name": "f" } }),
            "tool_choice.type",
            "expected auto, any, tool or none, found \"some\"",
        ),
        (
            json!({ "output_config": { "format": { "type": "x" } } }),
            "output_config.format",
            "expected type json_schema, found \"x\"",
        ),
        (json!({ "output_format": { "type": "x" } }), "output_format", "expected type json_schema, found \"x\""),
        (
            json!({ "output_format": { "type": "json_schema", "schema": [] } }),
            "output_format",
            "expected a schema, an object",
        ),
        (
            json!({ "messages": [user(json!("a")), assistant(json!("b"))], "output_format": schema }),
            "output_config.format",
            "a prefilled answer cannot be combined with a schema; omit one of them",
        ),
    ] {
        let error = asked(&fields).expect_err(&fields.to_string());
        assert_eq!(error.message(), format!("{place}: {says}"), "{fields}");
        assert_eq!(error.details()["param"], place, "{fields}");
    }
    assert!(asked(&json!({ "mcp_servers": [] })).is_ok());
    // Where tokens are only counted nobody says how many are to come; a number that is none is still wrong.
    let counted = |most: Value| {
        let body = json!({ "model": "m", "max_tokens": most, "messages": [user(json!("a"))] });
        chat_request(&Rules::default(), body.to_string().as_bytes(), true).is_ok()
    };
    assert_eq!((counted(Value::Null), counted(json!(1)), counted(json!(0))), (true, true, false));
}

/// Counts come with the first event as far as they are known, and with the last as they are.
#[test]
fn events_hold_places_counts_and_marks() {
    let mut message = AnthropicMessage::new("m".to_owned());
    let prompt = Event::Prompt { done: 64, total: 100, cached: 64, elapsed_ms: 1.0 };
    let started = message.events(&prompt);
    let usage = |input: u32, cached: u32, output: u32| {
        json!({
            "input_tokens": input, "cache_creation_input_tokens": 0, "cache_read_input_tokens": cached,
            "output_tokens": output,
        })
    };
    let whole = &started[0]["message"];
    assert_eq!((started.len(), &started[0]["type"]), (1, &json!("message_start")));
    assert_eq!(
        (&whole["usage"], &whole["content"], &whole["stop_reason"]),
        (&usage(36, 64, 0), &json!([]), &Value::Null)
    );
    assert_eq!(
        (&whole["type"], &whole["role"], &whole["model"]),
        (&json!("message"), &json!("assistant"), &json!("m"))
    );
    let id = whole["id"].as_str().unwrap().strip_prefix("msg_").unwrap();
    assert_eq!(id.len(), 32);
    let mut told = vec![];
    for event in [
        Event::Token { id: 1, logprobs: None },
        Event::Text { voice: Voice::Reasoning, text: "hm".to_owned() },
        Event::Token { id: 2, logprobs: None },
    ] {
        told.extend(message.events(&event));
    }
    assert_eq!(message.whole()["usage"], usage(36, 64, 2));
    for event in [
        Event::Text { voice: Voice::Content, text: "a".to_owned() },
        Event::Call { index: 0, name: "f".to_owned(), id: None },
        Event::Arguments { index: 0, text: "{\"k\":".to_owned() },
        Event::Arguments { index: 0, text: " 1}".to_owned() },
        Event::CallEnd { index: 0 },
        Event::Text { voice: Voice::Content, text: "b".to_owned() },
        Event::End {
            finish: Finish::Stop,
            stop: None,
            timings: Timings { prompt_tokens: 101, cached_tokens: 1, completion_tokens: 7, ..Timings::default() },
        },
    ] {
        told.extend(message.events(&event));
    }
    // Of "hm", by sha256sum.
    let signature = "b82e2178ecf4d0c5859dc2e169d7fed8673f9f6eeb9f3591bed5f253b7742408";
    let call_id = told[7]["content_block"]["id"].clone();
    assert_eq!(call_id.as_str().unwrap().strip_prefix("toolu_").unwrap().len(), 32);
    let start =
        |index: u32, block: Value| json!({ "type": "content_block_start", "index": index, "content_block": block });
    let delta = |index: u32, delta: Value| json!({ "type": "content_block_delta", "index": index, "delta": delta });
    let stop = |index: u32| json!({ "type": "content_block_stop", "index": index });
    let call = |input: Value| json!({ "type": "tool_use", "id": call_id, "name": "f", "input": input });
    let ended = json!({ "stop_reason": "tool_use", "stop_sequence": null });
    let expected = [
        start(0, json!({ "type": "thinking", "thinking": "", "signature": "" })),
        delta(0, json!({ "type": "thinking_delta", "thinking": "hm" })),
        delta(0, json!({ "type": "signature_delta", "signature": signature })),
        stop(0),
        start(1, text("")),
        delta(1, json!({ "type": "text_delta", "text": "a" })),
        stop(1),
        start(2, call(json!({}))),
        delta(2, json!({ "type": "input_json_delta", "partial_json": "{\"k\": 1}" })),
        stop(2),
        start(3, text("")),
        delta(3, json!({ "type": "text_delta", "text": "b" })),
        stop(3),
        json!({ "type": "message_delta", "delta": ended, "usage": usage(100, 1, 7) }),
        json!({ "type": "message_stop" }),
    ];
    assert_eq!(told, expected);
    let whole = message.whole();
    let thought = json!({ "type": "thinking", "thinking": "hm", "signature": signature });
    assert_eq!(whole["content"], json!([thought, text("a"), call(json!({ "k": 1 })), text("b")]));
    assert_eq!((&whole["usage"], &whole["stop_reason"]), (&usage(100, 1, 7), &json!("tool_use")));
}

#[test]
fn the_reason_to_stop_is_the_first_that_holds() {
    for (finish, stop, reason) in [
        (Finish::Stop, None, "end_turn"),
        (Finish::Stop, Some("x"), "stop_sequence"),
        (Finish::Length, None, "max_tokens"),
        (Finish::Length, Some("x"), "max_tokens"),
        (Finish::Aborted, None, "max_tokens"),
        (Finish::Filtered, Some("x"), "refusal"),
        (Finish::ToolCalls, Some("x"), "stop_sequence"),
    ] {
        let mut message = AnthropicMessage::new("m".to_owned());
        let told = message.events(&Event::End { finish, stop: stop.map(str::to_owned), timings: Timings::default() });
        let kinds: Vec<&str> = told.iter().map(|event| event["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["message_start", "message_delta", "message_stop"]);
        let delta = json!({ "stop_reason": reason, "stop_sequence": stop });
        assert_eq!(told[1]["delta"], delta, "{finish:?}");
    }
}
