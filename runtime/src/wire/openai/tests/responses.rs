//! Oracles: OpenAI's reference of the events of a response, in their order; its items, which a client sends back.

use serde_json::{Value, json};

use super::{TIMINGS, said, user};
use crate::error::{Code, Error};
use crate::generate::{Event, Finish, Known, Logprobs, SpelledToken, Timings, Voice};
use crate::wire::openai::{Compat, Response, ResponsesRequest, Rules};

fn request(fields: &Value) -> ResponsesRequest {
    let mut body = json!({ "input": "x" });
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    ResponsesRequest::parse(Compat::Local, body.to_string()).unwrap()
}

fn response(fields: &Value) -> Response {
    Response::new(7, "m", &request(fields))
}

fn end(finish: Finish) -> Event {
    Event::End { finish, stop: None, timings: TIMINGS }
}

fn all(response: &mut Response, events: &[Event]) -> Vec<Value> {
    events.iter().flat_map(|event| response.events(event)).collect()
}

fn kinds(told: &[Value]) -> Vec<&str> {
    told.iter().map(|event| event["type"].as_str().unwrap().strip_prefix("response.").unwrap()).collect()
}

fn call(complete: bool) -> Vec<Event> {
    let mut events = vec![
        Event::Call { index: 0, name: "f".to_owned(), id: None },
        Event::Arguments { index: 0, text: "{\"a\":".to_owned() },
        Event::Arguments { index: 0, text: " 1}".to_owned() },
    ];
    events.extend(complete.then_some(Event::CallEnd { index: 0 }));
    events
}

#[test]
fn every_event_has_its_number_and_its_item() {
    let fields =
        json!({ "reasoning": { "effort": "low", "summary": "auto" }, "include": ["reasoning.encrypted_content"] });
    let mut response = response(&fields);
    let mut told = response.begin();
    told.extend(all(
        &mut response,
        &[said(Voice::Reasoning, "h"), said(Voice::Reasoning, "m"), said(Voice::Content, "a")],
    ));
    told.extend(all(&mut response, &call(true)));
    told.extend(all(&mut response, &[said(Voice::Content, "b"), end(Finish::ToolCalls)]));
    let expected = [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ];
    assert_eq!(kinds(&told), expected);
    let numbers: Vec<u64> = told.iter().map(|event| event["sequence_number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..told.len() as u64).collect::<Vec<_>>());
    let whole = response.whole();
    let output = whole["output"].as_array().unwrap();
    let ids: Vec<&str> = output.iter().map(|item| item["id"].as_str().unwrap()).collect();
    for (id, prefix) in ids.iter().zip(["rs_", "msg_", "fc_", "msg_"]) {
        assert_eq!(id.strip_prefix(prefix).unwrap().len(), 32, "{id}");
    }
    for (event, place) in told[2..31].iter().zip([0; 12].into_iter().chain([1; 6]).chain([2; 5]).chain([3; 6])) {
        assert_eq!(event["output_index"], place, "{event}");
        let id = event.get("item_id").unwrap_or(&event["item"]["id"]);
        assert_eq!(id, ids[place], "{event}");
    }
    let call_id = output[2]["call_id"].as_str().unwrap();
    assert_eq!(call_id.strip_prefix("call_00_").unwrap().len(), 24);
    let part = |kind: &str, text: &str| json!([{ "type": kind, "text": text }]);
    let text = |text: &str| json!([{ "type": "output_text", "text": text, "annotations": [], "logprobs": [] }]);
    let expected = json!([
        {
            "id": ids[0], "type": "reasoning", "status": "completed", "encrypted_content": "lyn1:hm",
            "summary": part("summary_text", "hm"), "content": part("reasoning_text", "hm"),
        },
        { "id": ids[1], "type": "message", "role": "assistant", "status": "completed", "content": text("a") },
        {
            "id": ids[2], "type": "function_call", "status": "completed", "call_id": call_id, "name": "f",
            "arguments": "{\"a\": 1}",
        },
        { "id": ids[3], "type": "message", "role": "assistant", "status": "completed", "content": text("b") },
    ]);
    assert_eq!(whole["output"], expected);
    // What is being said is not in the item that opens; what was said is in the one that closes.
    let opened = json!({
        "id": ids[0], "type": "reasoning", "status": "in_progress", "encrypted_content": null, "summary": [], "content": [],
    });
    assert_eq!((&told[2]["item"], &told[13]["item"]), (&opened, &expected[0]));
    assert_eq!((&told[14]["item"]["content"], &told[14]["item"]["status"]), (&json!([]), &json!("in_progress")));
    let deltas: Vec<(Value, Value)> = told
        .iter()
        .filter(|event| event.get("delta").is_some())
        .map(|event| (event["delta"].clone(), event["content_index"].clone()))
        .collect();
    let (zero, none) = (json!(0), Value::Null);
    let delta = |text: &str, index: &Value| (json!(text), index.clone());
    assert_eq!(
        deltas,
        [
            delta("h", &zero),
            delta("h", &none),
            delta("m", &zero),
            delta("m", &none),
            delta("a", &zero),
            delta("{\"a\":", &none),
            delta(" 1}", &none),
            delta("b", &zero),
        ]
    );
    assert_eq!(
        (&told[6]["summary_index"], &told[11]["text"], &told[12]["part"]),
        (&zero, &json!("hm"), &part("summary_text", "hm")[0])
    );
    assert_eq!((&told[9]["text"], &told[10]["part"]), (&json!("hm"), &part("reasoning_text", "hm")[0]));
    assert_eq!((&told[17]["text"], &told[18]["part"]), (&json!("a"), &text("a")[0]));
    assert_eq!((&told[23]["name"], &told[23]["arguments"]), (&json!("f"), &json!("{\"a\": 1}")));
    assert_eq!(told[31]["response"], whole);
    let usage = json!({
        "input_tokens": 10, "input_tokens_details": { "cached_tokens": 4 }, "output_tokens": 5,
        "output_tokens_details": { "reasoning_tokens": 2 }, "total_tokens": 15,
    });
    assert_eq!((&whole["usage"], &whole["status"]), (&usage, &json!("completed")));
    let started = &told[0]["response"];
    assert_eq!(
        (&started["status"], &started["usage"], &started["output"]),
        (&json!("in_progress"), &Value::Null, &json!([]))
    );
}

/// Each row: how it ended, its status and details, and the events of its end.
#[test]
fn an_end_is_told_as_what_it_was() {
    for (finish, status, reason, state, ends) in [
        (Finish::Stop, "completed", None, "completed", &["completed"][..]),
        (Finish::ToolCalls, "completed", None, "completed", &["completed"]),
        (Finish::Length, "incomplete", Some("max_output_tokens"), "incomplete", &["incomplete", "completed"]),
        (Finish::Filtered, "incomplete", Some("content_filter"), "incomplete", &["incomplete", "completed"]),
        (Finish::Aborted, "failed", None, "incomplete", &["failed"]),
    ] {
        let mut response = response(&json!({}));
        let told = all(&mut response, &[said(Voice::Content, "a"), end(finish)]);
        let last: Vec<&str> = kinds(&told).split_off(told.len() - ends.len());
        assert_eq!(last, ends, "{finish:?}");
        let whole = response.whole();
        let details = reason.map_or(Value::Null, |reason| json!({ "reason": reason }));
        assert_eq!((&whole["status"], &whole["incomplete_details"]), (&json!(status), &details));
        assert_eq!(whole["output"][0]["status"], state);
        let error = match finish {
            Finish::Aborted => json!({ "code": "server_error", "message": "the answer was cut" }),
            _ => Value::Null,
        };
        assert_eq!(whole["error"], error);
    }
    // An answer without words has a message, unless it was cut.
    for (finish, messages) in [(Finish::Stop, 1), (Finish::ToolCalls, 0), (Finish::Length, 0), (Finish::Aborted, 0)] {
        let mut response = response(&json!({}));
        let told = response.events(&end(finish));
        let whole = response.whole();
        assert_eq!(whole["output"].as_array().unwrap().len(), messages, "{finish:?}");
        if messages > 0 {
            let expected = [
                "output_item.added",
                "content_part.added",
                "output_text.done",
                "content_part.done",
                "output_item.done",
                "completed",
            ];
            assert_eq!(kinds(&told), expected);
            assert_eq!(whole["output"][0]["content"][0]["text"], "");
        }
    }
}

#[test]
fn a_failure_ends_what_was_begun_once() {
    let error = Error::new(Code::DeviceLost, "gone");
    for events in [vec![], vec![said(Voice::Content, "a")], call(false)] {
        let mut response = response(&json!({}));
        all(&mut response, &events);
        let told = response.fail("server_error", &error);
        assert_eq!(kinds(&told).last(), Some(&"failed"));
        let whole = response.whole();
        assert_eq!(told.last().unwrap()["response"], whole);
        let failed = json!({ "code": "server_error", "message": "gone" });
        assert_eq!((&whole["status"], &whole["error"], &whole["usage"]), (&json!("failed"), &failed, &Value::Null));
        for item in whole["output"].as_array().unwrap() {
            assert_eq!(item["status"], "incomplete");
        }
        assert_eq!(kinds(&told).contains(&"output_item.done"), !events.is_empty());
        assert!(!kinds(&told).contains(&"function_call_arguments.done"), "a call that was cut is not done");
        assert!(response.fail("server_error", &error).is_empty(), "it has ended");
    }
    let mut ended = response(&json!({}));
    ended.events(&end(Finish::Stop));
    assert!(ended.fail("server_error", &error).is_empty() && ended.whole()["status"] == "completed");
}

#[test]
fn text_within_a_call_is_the_markup_of_one_that_was_cut() {
    let mut response = response(&json!({}));
    all(&mut response, &call(false));
    assert!(response.events(&said(Voice::Content, "<｜tool")).is_empty());
    let told = response.events(&end(Finish::Stop));
    assert_eq!(kinds(&told), ["output_item.done", "incomplete", "completed"]);
    let whole = response.whole();
    assert_eq!((&whole["output"][0]["status"], &whole["status"]), (&json!("incomplete"), &json!("incomplete")));
    let mut cut = super::responses::response(&json!({}));
    all(&mut cut, &call(false));
    cut.events(&end(Finish::Aborted));
    assert_eq!(cut.whole()["status"], "failed");
}

#[test]
fn log_probabilities_go_with_text_only() {
    let spelled =
        |text: &str| Event::Spelled(SpelledToken { bytes: text.as_bytes().to_vec(), logprob: Some(-0.5), top: vec![] });
    let entry = |text: &str| json!({ "token": text, "logprob": -0.5, "bytes": text.as_bytes(), "top_logprobs": [] });
    for reports in [true, false] {
        let mut response = response(&json!({}));
        if reports {
            response = response.with_logprobs(None);
        }
        let mut events =
            vec![spelled("h"), said(Voice::Reasoning, "h"), spelled("a"), said(Voice::Content, "a"), spelled("<c>")];
        events.extend(call(true));
        events.extend([spelled("b"), spelled("c"), said(Voice::Content, "bc"), end(Finish::Stop)]);
        // Ids of no vocabulary here say nothing.
        let own = Some(Logprobs { sampled: -0.5, rank: 1, top: vec![] });
        events.insert(0, Event::Token { id: 1, logprobs: own });
        let told = all(&mut response, &events);
        let deltas = told.iter().filter(|event| event["type"] == "response.output_text.delta");
        let found: Vec<Value> = deltas.map(|event| event["logprobs"].clone()).collect();
        let expected = match reports {
            true => [json!([entry("a")]), json!([entry("b"), entry("c")])],
            false => [json!([]), json!([])],
        };
        assert_eq!(found, expected);
        let whole = response.whole();
        assert_eq!(
            (&whole["output"][1]["content"][0]["logprobs"], &whole["output"][3]["content"][0]["logprobs"]),
            (&expected[0], &expected[1])
        );
        assert!(!whole["output"][0].to_string().contains("logprob"));
        let done: Vec<Value> = told
            .iter()
            .filter(|event| event["type"] == "response.output_text.done")
            .map(|event| event["logprobs"].clone())
            .collect();
        assert_eq!(done, expected);
    }
}

#[test]
fn counts_that_nobody_told_are_no_usage() {
    for (prompt, completion, known) in
        [(false, false, false), (true, false, true), (false, true, true), (true, true, true)]
    {
        let mut response = response(&json!({}));
        let known_counts = Known { prompt, completion, ..Known::NOTHING };
        response.events(&Event::End {
            finish: Finish::Stop,
            stop: None,
            timings: Timings { known: known_counts, ..TIMINGS },
        });
        assert_eq!(response.whole()["usage"].is_object(), known, "{prompt} {completion}");
    }
}

#[test]
fn a_response_repeats_its_request() {
    let format = json!({ "type": "json_schema", "name": "n", "schema": {}, "strict": true, "description": "d" });
    let tools = json!([{ "type": "function", "name": "f" }]);
    let fields = json!({
        "instructions": "i", "max_output_tokens": 9, "metadata": { "a": "b" }, "parallel_tool_calls": false,
        "prompt_cache_key": "k", "reasoning": { "effort": "low", "generate_summary": "auto" }, "safety_identifier": "s",
        "temperature": 0.5, "text": { "format": format }, "tool_choice": "none", "tools": tools, "top_logprobs": 2,
        "top_p": 0.25, "user": "u", "store": true, "service_tier": "flex", "truncation": "auto",
    });
    let whole = response(&fields).whole();
    let mut expected = fields.clone();
    let repeated = expected.as_object_mut().unwrap();
    for (name, value) in [
        ("background", json!(false)),
        ("created_at", json!(7)),
        ("error", Value::Null),
        ("id", whole["id"].clone()),
        ("incomplete_details", Value::Null),
        ("max_tool_calls", Value::Null),
        ("model", json!("m")),
        ("object", json!("response")),
        ("output", json!([])),
        ("previous_response_id", Value::Null),
        ("reasoning", json!({ "effort": "low", "summary": "auto" })),
        ("service_tier", json!("default")),
        ("status", json!("in_progress")),
        ("store", json!(false)),
        ("text", json!({ "format": { "type": "json_schema", "name": "n", "schema": {}, "strict": true } })),
        ("truncation", json!("disabled")),
        ("usage", Value::Null),
    ] {
        repeated.insert(name.to_owned(), value);
    }
    assert_eq!(whole, expected);
    assert_eq!(whole["id"].as_str().unwrap().strip_prefix("resp_").unwrap().len(), 32);
    let plain = response(&json!({})).whole();
    for (name, value) in [
        ("metadata", json!({})),
        ("parallel_tool_calls", json!(true)),
        ("reasoning", json!({ "effort": null, "summary": null })),
        ("text", json!({ "format": { "type": "text" } })),
        ("tool_choice", json!("auto")),
        ("tools", json!([])),
        ("top_logprobs", json!(0)),
        ("instructions", Value::Null),
    ] {
        assert_eq!(plain[name], value, "{name}");
    }
    let object = response(&json!({ "text": { "format": { "type": "json_object" } } })).whole();
    assert_eq!(object["text"], json!({ "format": { "type": "json_object" } }));
    // Either name of a summary asks for one, and nothing else does.
    for (reasoning, summary) in [
        (json!({ "summary": "auto" }), true),
        (json!({ "generate_summary": "auto" }), true),
        (json!({ "effort": "low" }), false),
        (Value::Null, false),
    ] {
        let mut response = response(&json!({ "reasoning": reasoning }));
        all(&mut response, &[said(Voice::Reasoning, "hm"), end(Finish::Stop)]);
        let item = &response.whole()["output"][0];
        assert_eq!((item["summary"] == json!([]), &item["encrypted_content"]), (!summary, &Value::Null), "{reasoning}");
    }
}

#[test]
fn every_field_has_its_place_in_a_chat_completion() {
    let fields = json!({
        "model": "m", "instructions": "i", "max_output_tokens": 9, "temperature": 0.5, "top_p": 0.25, "stream": true,
        "include": ["message.output_text.logprobs"], "top_logprobs": 3, "parallel_tool_calls": false, "user_id": "u",
        "reasoning": { "effort": "none" }, "tool_choice": { "type": "function", "name": "f" },
        "tools": [
            { "type": "function", "name": "f", "description": "d", "parameters": { "a": 1 }, "strict": false, "x": 1 },
            { "type": "function", "function": { "name": "g" } },
        ],
        "text": { "format": { "type": "json_object" } }, "input": "as JSON",
    });
    let chat = request(&fields).to_chat(&Rules::default()).unwrap();
    let function = json!({ "name": "f", "description": "d", "parameters": { "a": 1 }, "strict": false });
    let expected = json!({
        "messages": [{ "role": "system", "content": "i" }, user("as JSON")], "model": "m", "max_completion_tokens": 9,
        "temperature": 0.5, "top_p": 0.25, "logprobs": true, "top_logprobs": 3, "stream": true, "user_id": "u",
        "reasoning": { "enabled": null, "effort": "none" }, "parallel_tool_calls": false,
        "tools": [{ "type": "function", "function": function }, { "type": "function", "function": { "name": "g" } }],
        "tool_choice": { "type": "function", "function": { "name": "f" } },
        "response_format": { "type": "json_object", "json_schema": null, "schema": null },
    });
    assert_eq!(Value::Object(chat.to_body()), expected);
    let plain = |fields: Value| Value::Object(request(&fields).to_chat(&Rules::default()).unwrap().to_body());
    // Without their own word log probabilities are not asked for, and empty instructions are none.
    assert_eq!(plain(json!({ "top_logprobs": 3, "instructions": "" })), json!({ "messages": [user("x")] }));
    let schema = plain(json!({ "text": { "format": { "type": "json_schema", "name": "n", "schema": { "a": 1 } } } }));
    assert_eq!(schema["response_format"]["json_schema"]["schema"], json!({ "a": 1 }));
    for (word, expected) in [("none", "none"), ("auto", "auto"), ("required", "required")] {
        let tools = json!([{ "type": "function", "name": "f" }]);
        assert_eq!(plain(json!({ "tools": tools, "tool_choice": word }))["tool_choice"], expected);
    }
    let two = json!([{ "type": "function", "name": "f" }, { "type": "function", "name": "g" }]);
    let allowed = json!({ "type": "allowed_tools", "tools": [{ "name": "g" }, {}] });
    let some = plain(json!({ "tools": two, "tool_choice": allowed }));
    assert_eq!((&some["tool_choice"], some["tools"].as_array().unwrap().len()), (&json!("auto"), 1));
}

/// Each row: fields, the field that is named, and what is said.
#[test]
fn what_cannot_be_done_is_refused_by_its_name() {
    let stateless = "this server is stateless: send the whole conversation as input";
    let input = |item: Value| json!({ "input": [user("a"), item] });
    let choice = |found: &str| format!("tool_choice: expected none, auto, required or a function, found \"{found}\"");
    for (fields, param, says) in [
        (json!({ "previous_response_id": "r" }), "previous_response_id", format!("previous_response_id: {stateless}")),
        (json!({ "conversation": "c" }), "conversation", format!("conversation: {stateless}")),
        (json!({ "prompt": {} }), "prompt", format!("prompt: {stateless}")),
        (json!({ "background": true }), "background", "background: not supported; omit it".to_owned()),
        (json!({ "tool_choice": "some" }), "tool_choice", choice("some")),
        (json!({ "tool_choice": { "type": "hosted" } }), "tool_choice", choice("hosted")),
        (json!({ "tool_choice": { "type": "function" } }), "tool_choice", choice("function")),
        (json!({ "tool_choice": {} }), "tool_choice", choice("")),
        (json!({ "tool_choice": { "type": "allowed_tools", "mode": "x" } }), "tool_choice", choice("x")),
        (
            json!({ "tools": [{ "type": "function", "name": "f" }, { "type": "web_search" }] }),
            "tools",
            "tools[1].type: \"web_search\" is not supported: only function tools are; omit it".to_owned(),
        ),
        (
            json!({ "tools": [{ "name": "f" }] }),
            "tools",
            "tools[0].type: \"\" is not supported: only function tools are; omit it".to_owned(),
        ),
        (
            input(json!({ "type": "item_reference", "id": "i" })),
            "input",
            "input[1].type: this server is stateless: send the item itself instead of an item_reference".to_owned(),
        ),
        (
            input(json!({ "type": "computer_call" })),
            "input",
            "input[1].type: \"computer_call\" is not supported".to_owned(),
        ),
        (input(json!({})), "input", "input[1].type: \"\" is not supported".to_owned()),
        (
            input(json!({ "role": "wizard", "content": "a" })),
            "input",
            "input[1].role: expected user, system, developer or assistant, found \"wizard\"".to_owned(),
        ),
        (
            input(json!({ "type": "message", "content": "a" })),
            "input",
            "input[1].role: expected user, system, developer or assistant, found \"\"".to_owned(),
        ),
        (
            input(json!({ "role": "user" })),
            "input",
            "input[1].content: expected a string or an array of parts".to_owned(),
        ),
        (
            input(
                json!({ "role": "user", "content": [{ "type": "input_text", "text": "a" }, { "type": "input_image" }] }),
            ),
            "input",
            "input[1].content[1].type: \"input_image\" is not supported: this model reads text only".to_owned(),
        ),
        (
            input(json!({ "role": "user", "content": [{ "type": "input_text" }] })),
            "input",
            "input[1].content[0].text: expected a string".to_owned(),
        ),
        (
            input(json!({ "role": "user", "content": [{ "type": "rich_text", "text": "a" }] })),
            "input",
            "input[1].content[0].type: \"rich_text\" is not supported: this model reads text only".to_owned(),
        ),
        (
            input(json!({ "type": "function_call", "call_id": "1" })),
            "input",
            "input[1].name: expected a string".to_owned(),
        ),
        (
            input(json!({ "type": "function_call", "name": "f" })),
            "input",
            "input[1].call_id: expected a string".to_owned(),
        ),
        (
            input(json!({ "type": "function_call_output", "output": "a" })),
            "input",
            "input[1].call_id: expected a string".to_owned(),
        ),
        (
            input(json!({ "type": "function_call_output", "call_id": "1" })),
            "input",
            "input[1].output: expected a string or an array of parts".to_owned(),
        ),
    ] {
        let error = request(&fields).to_chat(&Rules::default()).map(|_| ()).expect_err(&says);
        assert_eq!((error.message(), &error.details()["param"]), (says.as_str(), &json!(param)), "{fields}");
    }
    for fields in [json!({ "background": false }), json!({ "previous_response_id": null, "store": true, "user": 5 })] {
        assert!(request(&fields).to_chat(&Rules::default()).is_ok(), "{fields}");
    }
    let named = request(&json!({ "top_k": 5, "store": false })).to_chat(&Rules::default()).unwrap();
    assert_eq!(named.ignored(), ["top_k"]);
}

/// Each row: items, and the messages that they are: role, thought, text, calls.
#[test]
fn items_of_one_turn_are_one_message() {
    let call = |id: &str| json!({ "type": "function_call", "call_id": id, "name": id, "arguments": "{}" });
    let output = |id: &str| json!({ "type": "function_call_output", "call_id": id, "output": id });
    let thought = |text: &str| json!({ "type": "reasoning", "content": [{ "type": "reasoning_text", "text": text }] });
    let said = |text: &str| json!({ "role": "assistant", "content": text });
    let refusal = json!({ "role": "assistant", "content": [{ "type": "refusal", "refusal": "no" }] });
    let user = user("u");
    for (items, expected) in [
        (
            json!([user, said("a"), said("b")]),
            json!([["user", null, "u", []], ["assistant", null, "a", []], ["assistant", null, "b", []]]),
        ),
        (
            json!([user, call("f"), said("a"), output("f")]),
            json!([
                ["user", null, "u", []],
                ["assistant", null, null, ["f"]],
                ["assistant", null, "a", []],
                ["tool", null, "f", []],
            ]),
        ),
        (
            json!([user, thought("h"), thought("m"), said("a")]),
            json!([["user", null, "u", []], ["assistant", "h", null, []], ["assistant", "m", "a", []],]),
        ),
        (
            json!([user, said("a"), thought("h"), said("b")]),
            json!([["user", null, "u", []], ["assistant", null, "a", []], ["assistant", "h", "b", []],]),
        ),
        (
            json!([user, said("a"), call("f"), call("g"), output("f"), output("g"), user]),
            json!([
                ["user", null, "u", []],
                ["assistant", null, "a", ["f", "g"]],
                ["tool", null, "f", []],
                ["tool", null, "g", []],
                ["user", null, "u", []],
            ]),
        ),
        (
            json!([user, call("f"), thought("h"), call("g"), output("g"), user]),
            json!([
                ["user", null, "u", []],
                ["assistant", null, null, ["f"]],
                ["assistant", "h", null, ["g"]],
                ["tool", null, "g", []],
                ["user", null, "u", []],
            ]),
        ),
        (json!([user, thought("h")]), json!([["user", null, "u", []]])),
        (
            json!([user, thought("h"), user]),
            json!([["user", null, "u", []], ["assistant", "h", null, []], ["user", null, "u", []]]),
        ),
        (json!([user, refusal]), json!([["user", null, "u", []], ["assistant", null, "no", []]])),
        (json!([user, { "type": "reasoning", "content": [], "summary": [] }]), json!([["user", null, "u", []]])),
        (
            json!([user, { "type": "reasoning", "content": [], "summary": [{ "type": "summary_text", "text": "s" }] }, said("a")]),
            json!([["user", null, "u", []], ["assistant", "s", "a", []]]),
        ),
    ] {
        let body = json!({ "input": items, "add": 1 }).to_string();
        let request = ResponsesRequest::parse(Compat::Local, body).unwrap();
        let mut chat = match request.to_chat(&Rules::default()) {
            Ok(chat) => chat.messages,
            Err(error) => panic!("{items}: {error}"),
        };
        let told: Value = chat
            .drain(..)
            .map(|message| {
                let calls: Vec<&str> = message.calls().iter().map(|call| call.function.name.as_str()).collect();
                json!([message.role, message.reasoning_content, message.content, calls])
            })
            .collect();
        assert_eq!(told, expected, "{items}");
    }
}
