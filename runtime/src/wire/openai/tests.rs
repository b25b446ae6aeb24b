//! Oracles: DeepSeek's documented requests and recorded streams; for answers, that chunks add up to the whole.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Alias, ChatRequest, Chunked, Compat, Completion, ModelIds, Response, ResponsesRequest, Rules};
use crate::chat::{AnswerShape, ChatFormat, ResponseShape, ToolChoice, ToolSpec};
use crate::engine::{Engine, Options};
use crate::error::Code;
use crate::generate::{self, Event, Finish, Logprobs, Voice};
use crate::memory::ContextSize;
use crate::platform::block_on;
use crate::text::Tokenizer;

mod asking;
mod beside;
mod completions;
mod counts;
mod forms;
mod refusals;
mod responses;
mod text;

fn request(fields: Value) -> crate::error::Result<ChatRequest> {
    request_by(&Rules::default(), fields)
}

fn request_by(rules: &Rules, fields: Value) -> crate::error::Result<ChatRequest> {
    let mut body = json!({ "messages": [{ "role": "user", "content": "Tell me a story about a dragon." }] });
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    ChatRequest::parse_by(rules, body.to_string())
}

fn strict() -> Rules {
    Rules { compat: Compat::DeepSeek, ..Rules::default() }
}

fn tool(name: &str) -> Value {
    json!({ "type": "function", "function": { "name": name } })
}

fn user(text: &str) -> Value {
    json!({ "role": "user", "content": text })
}

fn calls(ids: &[&str]) -> Value {
    let call = |id: &&str| json!({ "id": id, "type": "function", "function": { "name": "f", "arguments": "{}" } });
    json!({ "role": "assistant", "content": null, "tool_calls": ids.iter().map(call).collect::<Vec<_>>() })
}

fn result(id: &str) -> Value {
    json!({ "role": "tool", "tool_call_id": id, "content": id })
}

#[test]
fn good_requests_are_taken() {
    // DeepSeek's own sample, with its nulls.
    let sample = request(json!({
        "model": "deepseek-chat", "thinking": { "type": "disabled", "budget_tokens": 5 }, "frequency_penalty": 0,
        "max_tokens": 4096, "presence_penalty": 0, "response_format": { "type": "text" }, "stop": null, "stream": false,
        "stream_options": null, "temperature": 1, "top_p": 1, "tools": null, "tool_choice": "none", "logprobs": false,
        "top_logprobs": null, "unknown": { "a": [1] },
    }))
    .unwrap();
    assert!(!sample.mode() && !sample.is_stream());
    for fields in [
        json!({}),
        json!({ "max_tokens": 0, "max_completion_tokens": 70000, "temperature": 0, "top_p": 0.01, "top_k": -1 }),
        json!({ "seed": -5, "stop": ["a", ""], "logprobs": true, "top_logprobs": 20, "n": 8 }),
        json!({ "stop": vec!["x"; 16], "top_p": 1, "temperature": 2, "presence_penalty": -2, "frequency_penalty": 2 }),
        json!({ "model": "whatever", "stream_options": { "include_usage": true }, "user_id": "a-Z_9", "min_tokens": 3 }),
        json!({ "tools": (0..128).map(|i| tool(&i.to_string())).collect::<Vec<_>>(), "tool_choice": "required" }),
        json!({ "tools": [tool("f")], "tool_choice": { "type": "function", "function": { "name": "f" } } }),
        json!({ "tools": null, "tool_choice": "none", "parallel_tool_calls": null, "response_format": null }),
        json!({ "messages": [user("as JSON, please")], "response_format": { "type": "json_object" } }),
        json!({ "response_format": { "type": "json_schema", "json_schema": { "name": "x", "schema": { "a": 1.50 } } } }),
        json!({ "messages": [user("a"), calls(&["1", "2"]), result("2"), result("1")] }),
        json!({ "messages": [user("a"), calls(&["1"])], "add_generation_prompt": false }),
        json!({ "thinking": { "type": "enabled" }, "logprobs": true, "tools": [tool("f")], "tool_choice": "required" }),
        json!({ "seed": u64::MAX, "stop": "a", "stream": true, "stream_options": { "include_usage": true } }),
        json!({ "tools": [], "tool_choice": "auto", "logit_bias": { "foo": 0, "5": -100 } }),
        json!({ "tools": [{ "type": "function", "function": { "name": "f" } }], "tool_choice": "none" }),
    ] {
        assert_eq!(request(fields.clone()).err().map(|error| error.to_string()), None, "{fields}");
    }
}

/// Each row: what is sent, which field is named, and the end of what is said.
fn refused(rules: &Rules, rows: &[(Value, &str, &str)]) {
    for (fields, param, expected) in rows {
        let error = request_by(rules, fields.clone()).map(|_| ()).expect_err(&fields.to_string());
        assert_eq!(error.code(), Code::BadRequest, "{fields}");
        let message = error.message();
        let shape = message.starts_with("Failed to deserialize the JSON body into the target type: ");
        assert!(if shape { message.contains(expected) } else { message == *expected }, "{fields}: {error}");
        assert_eq!(error.details().get("param"), Some(&json!(param)), "{fields}: {error}");
        let status = (rules.compat == Compat::DeepSeek422 && shape).then(|| json!(422));
        assert_eq!(error.details().get("status"), status.as_ref(), "{fields}: {error}");
    }
}

#[test]
fn bodies_of_another_form_are_refused_by_their_path() {
    let rows = [
        (json!({ "messages": null }), "messages", "messages: expected a list, found null"),
        (
            json!({ "messages": [{ "role": "wizard" }] }),
            "messages[0].role",
            "messages[0].role: unknown variant `wizard`",
        ),
        (json!({ "messages": [{ "role": "function" }] }), "messages[0].role", "unknown variant `function`"),
        (
            json!({ "messages": [{ "role": "user", "content": 5 }] }),
            "messages[0].content",
            "expected a string or a list of parts, found 5",
        ),
        (json!({ "model": 5 }), "model", "model: expected a string, found 5"),
        (json!({ "max_tokens": 1.5 }), "max_tokens", "max_tokens: expected a whole number, found 1.5"),
        (json!({ "temperature": "hot" }), "temperature", "temperature: expected a number, found a string"),
        (json!({ "stop": 7 }), "stop", "expected a string or an array of strings"),
        (json!({ "logprobs": 1 }), "logprobs", "expected true or false, found"),
        (
            json!({ "logprobs": true, "top_logprobs": -1 }),
            "top_logprobs",
            "expected a whole number from 0 to 18446744073709551615, found -1",
        ),
        (json!({ "stream": "yes" }), "stream", "expected true or false, found"),
        (
            json!({ "stream_options": { "include_usage": 1 } }),
            "stream_options.include_usage",
            "expected true or false, found",
        ),
        (
            json!({ "thinking": { "type": "x" } }),
            "thinking.type",
            "thinking.type: unknown variant `x`, expected one of `adaptive`, `enabled`, `disabled`",
        ),
        (
            json!({ "reasoning_effort": "x" }),
            "reasoning_effort",
            "unknown variant `x`, expected one of `none`, `minimal`, `low`, `medium`, `high`, `xhigh`, `max`",
        ),
        (json!({ "tools": [{ "type": "custom" }] }), "tools[0].type", "unknown variant `custom`, expected `function`"),
        (json!({ "tools": [{ "type": "function" }] }), "tools[0]", "missing field `function`"),
        (
            json!({ "tool_choice": "maybe" }),
            "tool_choice",
            "tool_choice: expected one of `none`, `auto`, `required` or a tool",
        ),
        (
            json!({ "tool_choice": { "type": "custom" } }),
            "tool_choice.type",
            "unknown variant `custom`, expected `function`",
        ),
        (json!({ "response_format": {} }), "response_format", "missing field `type`"),
    ];
    refused(&Rules::default(), &rows);
    refused(&Rules { compat: Compat::DeepSeek422, ..Rules::default() }, &rows);
    let deep = |depth| format!("{{\"x\": {}{}}}", "[".repeat(depth), "]".repeat(depth));
    for (body, expected) in [
        ("{", "Failed to parse the request body as JSON: byte 1 (the end): expected '\"'"),
        ("{\"messages\": []} x", "Failed to parse the request body as JSON: byte 17: expected the end of the JSON"),
        ("{}", "target type: missing field `messages`"),
        ("[\"\u{1b}\"]", "Failed to "),
        (&deep(64), "nested deeper than 64"),
        (&deep(63), "missing field `messages`"),
    ] {
        let error = ChatRequest::parse(body).map(|_| ()).unwrap_err();
        assert!(error.code() == Code::BadRequest && error.message().contains(expected), "{body}: {error}");
        assert!(!error.message().contains('\u{1b}'));
    }
}

#[test]
fn values_out_of_range_are_refused_in_the_words_of_deepseek() {
    let schema = |schema: Value| json!({ "response_format": { "type": "json_schema", "json_schema": schema } });
    let biases: serde_json::Map<String, Value> = (0..1025).map(|id| (id.to_string(), json!(0))).collect();
    let named = |name: &str| json!({ "type": "function", "function": { "name": name } });
    refused(
        &Rules::default(),
        &[
            (
                json!({ "max_tokens": -1 }),
                "max_tokens",
                "Invalid max_tokens value, the valid range of max_tokens is [1, 65536]",
            ),
            (
                json!({ "max_completion_tokens": -2 }),
                "max_completion_tokens",
                "Invalid max_completion_tokens value, the valid range of max_completion_tokens is [1, 65536]",
            ),
            (
                json!({ "temperature": 2.1 }),
                "temperature",
                "Invalid temperature value, the valid range of temperature is [0, 2]",
            ),
            (
                json!({ "temperature": -0.1 }),
                "temperature",
                "Invalid temperature value, the valid range of temperature is [0, 2]",
            ),
            (json!({ "top_p": 0 }), "top_p", "Invalid top_p value, the valid range of top_p is (0, 1.0]"),
            (json!({ "top_p": 1.01 }), "top_p", "Invalid top_p value, the valid range of top_p is (0, 1.0]"),
            (json!({ "top_k": -2 }), "top_k", "Invalid top_k value, the valid range of top_k is [-1, 4294967295]"),
            (json!({ "min_p": 1.1 }), "min_p", "Invalid min_p value, the valid range of min_p is [0, 1]"),
            (json!({ "seed": 1.5 }), "seed", "Invalid seed value, expected an integer of 64 bits, found 1.5"),
            (json!({ "stop": vec!["x"; 17] }), "stop", "Invalid stop value, at most 16 stop sequences"),
            (
                json!({ "stop": "x".repeat(257) }),
                "stop",
                "Invalid stop value, at most 256 bytes in a sequence, found 257",
            ),
            (
                json!({ "presence_penalty": 2.1 }),
                "presence_penalty",
                "Invalid presence_penalty value, the valid range of presence_penalty is [-2, 2]",
            ),
            (
                json!({ "frequency_penalty": -2.1 }),
                "frequency_penalty",
                "Invalid frequency_penalty value, the valid range of frequency_penalty is [-2, 2]",
            ),
            (
                json!({ "repetition_penalty": 0 }),
                "repetition_penalty",
                "Invalid repetition_penalty value, the valid range of repetition_penalty is [0.01, 10]",
            ),
            (
                json!({ "logit_bias": { "5": 101 } }),
                "logit_bias",
                "Invalid logit_bias value, the valid range of logit_bias is [-100, 100]",
            ),
            (json!({ "logit_bias": biases }), "logit_bias", "Invalid logit_bias value, at most 1024 entries"),
            (
                json!({ "logprobs": true, "top_logprobs": 21 }),
                "top_logprobs",
                "Invalid top_logprobs value, the valid range of top_logprobs is [0, 20].",
            ),
            (
                json!({ "top_logprobs": 3 }),
                "top_logprobs",
                "Invalid top_logprobs and logprobs value, logprobs must be set to true if top_logprobs is used.",
            ),
            (json!({ "n": 9 }), "n", "Invalid n value, the valid range of n is [1, 8]"),
            (json!({ "n": 0 }), "n", "Invalid n value, the valid range of n is [1, 8]"),
            (
                json!({ "user_id": "ø" }),
                "user_id",
                "Invalid user_id value, expected 1 to 512 of A-Z, a-z, 0-9, _ and -",
            ),
            (
                json!({ "continue_final_message": true, "add_generation_prompt": true }),
                "continue_final_message",
                "continue_final_message and add_generation_prompt cannot both be true",
            ),
            (
                json!({ "response_format": { "type": "xml" } }),
                "response_format",
                "This response_format type is unavailable now",
            ),
            (
                schema(json!({ "name": "x" })),
                "response_format",
                "response_format.json_schema.schema: expected a schema, an object",
            ),
            (
                schema(json!({ "schema": [] })),
                "response_format",
                "response_format.json_schema.schema: expected a schema, an object",
            ),
            (
                json!({ "tools": [tool("f")], "tool_choice": "required", "ignore_eos": true }),
                "ignore_eos",
                "ignore_eos: cannot be combined with response_format or tool_choice",
            ),
            (
                json!({ "tools": [tool("f")], "tool_choice": "none", "min_tokens": 1 }),
                "min_tokens",
                "min_tokens: cannot be combined with response_format or tool_choice",
            ),
            (json!({ "tools": vec![tool("f"); 513] }), "tools", "tools: at most 512, found 513"),
            (
                json!({ "tools": [tool("f"), tool("a b")] }),
                "tools",
                "tools[1].function.name: expected 1 to 128 of A-Z, a-z, 0-9, _ and -, found \"a b\"",
            ),
            (json!({ "tools": [tool("f"), tool("f")] }), "tools", "tools[1].function.name: duplicate name \"f\""),
            (
                json!({ "tools": [{ "function": { "name": "f", "parameters": 5 } }] }),
                "tools",
                "tools[0].function.parameters: expected a schema, an object",
            ),
            (
                json!({ "tools": [{ "function": { "name": "f", "strict": 1 } }] }),
                "tools",
                "tools[0].function.strict: expected true or false",
            ),
            (
                json!({ "tool_choice": "required" }),
                "tool_choice",
                "tool_choice: expected `none` or `auto` without tools",
            ),
            (
                json!({ "tool_choice": named("f"), "tools": [] }),
                "tool_choice",
                "tool_choice: expected `none` or `auto` without tools",
            ),
            (
                json!({ "tool_choice": named("g"), "tools": [tool("f")] }),
                "tool_choice",
                "tool_choice: \"g\" is not among the tools",
            ),
        ],
    );
}

#[test]
fn histories_of_others_are_served_unless_deepseek_s_refusals_are_wanted() {
    let insufficient = "An assistant message with 'tool_calls' must be followed by tool messages responding to each \
        'tool_call_id'. (insufficient tool messages following tool_calls message)";
    let no_call = "Messages with role 'tool' must be a response to a preceding message with 'tool_calls'";
    let called = |arguments: Value| {
        let call = json!({ "id": "1", "type": "function", "function": { "name": "f", "arguments": arguments } });
        json!([user("a"), { "role": "assistant", "content": null, "tool_calls": [call] }, result("1")])
    };
    let no_object = "messages[1]: tool_calls: arguments are not a JSON object";
    let rows: Vec<(Value, &str, &str)> = vec![
        (json!([{ "role": "user" }]), "messages[0]", "messages[0]: content is missing"),
        (json!([{ "role": "system", "content": null }, user("a")]), "messages[0]", "messages[0]: content is missing"),
        (json!([user("a"), { "role": "assistant" }, user("b")]), "messages[1]", "messages[1]: content is missing"),
        (called(json!("")), "messages[1]", no_object),
        (called(json!(" \n")), "messages[1]", no_object),
        (called(json!("{\"a\": \"b")), "messages[1]", no_object),
        (called(json!("[1]")), "messages[1]", no_object),
        (called(json!([1])), "messages[1]", no_object),
        (json!([user("a"), calls(&["1", "2"]), result("1")]), "messages[1]", insufficient),
        (json!([user("a"), calls(&["1"]), user("b")]), "messages[1]", insufficient),
        (json!([user("a"), result("1")]), "messages[1]", no_call),
        (json!([user("a"), calls(&["1"]), result("1"), user("b"), result("1")]), "messages[4]", no_call),
        (
            json!([user("a"), calls(&["1", "1"]), result("1"), result("1")]),
            "messages[1]",
            "messages[1]: tool_calls: duplicate id \"1\"",
        ),
        (
            json!([user("a"), calls(&["1"]), result("2")]),
            "messages[2]",
            "messages[2]: tool_call_id \"2\" matches no pending call of the preceding turn",
        ),
    ];
    let rows: Vec<_> =
        rows.into_iter().map(|(messages, at, said)| (json!({ "messages": messages }), at, said)).collect();
    for (fields, ..) in &rows {
        assert_eq!(request(fields.clone()).err().map(|error| error.to_string()), None, "{fields}");
    }
    refused(&Rules { compat: Compat::DeepSeek, ..Rules::default() }, &rows);
}

#[test]
fn messages_that_do_not_go_together_are_refused() {
    let insufficient = "An assistant message with 'tool_calls' must be followed by tool messages responding to each \
        'tool_call_id'. (insufficient tool messages following tool_calls message)";
    let mut rows: Vec<(Value, &str, &str)> = [
        (json!([]), "messages", "Empty input messages"),
        (json!(vec![user("a"); 1025]), "messages", "messages: at most 1024, found 1025"),
        (
            json!([user(&"x".repeat((4 << 20) + 1))]),
            "messages[0]",
            "messages[0]: content: at most 4194304 bytes, found 4194305",
        ),
        (
            json!([{ "role": "user", "content": [{ "type": "image_url", "image_url": { "url": "x" } }] }]),
            "messages[0]",
            "This model does not support image",
        ),
        (
            json!([{ "role": "user", "content": [{ "type": "input_audio" }] }]),
            "messages[0]",
            "messages[0]: part type \"input_audio\" is not supported",
        ),
        (json!([user("a"), calls(&["1"])]), "messages[1]", insufficient),
    ]
    .into_iter()
    .map(|(messages, param, text)| (json!({ "messages": messages }), param, text))
    .collect();
    rows.push((
        json!({ "response_format": { "type": "json_object" } }),
        "messages",
        "Prompt must contain the word 'json' in some form to use 'response_format' of type 'json_object'.",
    ));
    refused(&Rules::default(), &rows);
    let relaxed = Rules { json_word: false, ..Rules::default() };
    assert!(request_by(&relaxed, json!({ "response_format": { "type": "json_object" } })).is_ok());
}

#[test]
fn what_deepseek_refuses_is_served_unless_it_is_to_be_refused() {
    let thinking = json!({ "type": "enabled" });
    let prefix = json!([user("a"), { "role": "assistant", "content": "b", "prefix": true }]);
    let rows = [
        (
            json!({ "max_tokens": 0 }),
            "max_tokens",
            "Invalid max_tokens value, the valid range of max_tokens is [1, 8192]",
        ),
        (
            json!({ "max_tokens": 8193 }),
            "max_tokens",
            "Invalid max_tokens value, the valid range of max_tokens is [1, 8192]",
        ),
        (
            json!({ "thinking": thinking, "max_tokens": 65537 }),
            "max_tokens",
            "Invalid max_tokens value, the valid range of max_tokens is [1, 65536]",
        ),
        (
            json!({ "stream_options": { "include_usage": true } }),
            "stream_options",
            "stream_options should be set along with stream = true",
        ),
        (json!({ "thinking": thinking, "logprobs": true }), "logprobs", "Thinking mode does not support logprobs"),
        (
            json!({ "thinking": thinking, "tools": [tool("f")], "tool_choice": "required" }),
            "tool_choice",
            "Thinking mode does not support this tool_choice",
        ),
        (
            json!({ "response_format": { "type": "json_schema", "json_schema": { "schema": {} } } }),
            "response_format",
            "This response_format type is unavailable now",
        ),
        (
            json!({ "messages": [{ "role": "developer", "content": "a" }] }),
            "messages[0].role",
            "messages[0].role: unknown variant `developer`, expected one of `system`, `user`, `assistant`, `tool`",
        ),
        (
            json!({ "messages": prefix }),
            "messages[1]",
            "prefix: continuing a message is a beta feature, expected the base path /beta",
        ),
        (
            json!({ "tools": (0..129).map(|i| tool(&i.to_string())).collect::<Vec<_>>() }),
            "tools",
            "tools: at most 128, found 129",
        ),
        (
            json!({ "tools": [tool("f"), tool(&"g".repeat(65))] }),
            "tools",
            "tools[1].function.name: expected 1 to 64 of A-Z, a-z, 0-9, _ and -",
        ),
    ];
    refused(&strict(), &rows);
    for (fields, ..) in rows {
        assert_eq!(request(fields.clone()).err().map(|error| error.to_string()), None, "{fields}");
    }
    let beta = Rules { beta: true, ..strict() };
    assert!(request_by(&beta, json!({ "messages": prefix })).is_ok());
    let strictly = json!({ "type": "function", "function": { "name": "f", "strict": true } });
    let mixed = json!({ "tools": [strictly, tool("g")] });
    let message = "tools: expected strict on all functions or on none, found it on 1 of 2";
    refused(&beta, &[(mixed.clone(), "tools", message)]);
    assert!(request(mixed).is_ok());
    for fields in [json!({ "max_tokens": 8192 }), json!({ "thinking": thinking, "max_tokens": 65536 })] {
        assert!(request_by(&strict(), fields).is_ok());
    }
}

#[test]
fn models_are_known_by_their_names() {
    let models = ModelIds {
        loaded: "stories".to_owned(),
        aliases: vec![Alias { name: "dreamer".to_owned(), thinking: true }],
        accept_any: false,
    };
    let rules = Rules { models, ..Rules::default() };
    let unknown = request_by(&rules, json!({ "model": "gpt-2", "temperature": 7 })).map(|_| ()).unwrap_err();
    assert_eq!(unknown.details()["param"], "model");
    let says = "Model Not Exist: \"gpt-2\" is not served here; the models are \"deepseek-chat\",";
    assert!(
        unknown.message().starts_with(says) && unknown.message().ends_with("\"dreamer\", \"stories\""),
        "{unknown}"
    );
    refused(&rules, &[(json!({ "model": null }), "model", "model: missing field `model`")]);
    for (model, thinks) in
        [("dreamer", true), ("dreamer-nothinking", false), ("STORIES", false), ("deepseek-reasoner", true)]
    {
        let asked = request_by(&rules, json!({ "model": model })).unwrap();
        assert_eq!((asked.mode(), asked.model.as_deref()), (thinks, Some(model)));
    }
}

#[test]
fn fields_that_mean_nothing_are_named() {
    let asked = request(json!({
        "metadata": { "a": 1.5 }, "store": true, "thinking": { "type": "disabled", "budget_tokens": 5 }, "stop": null,
        "messages": [{ "role": "user", "content": "a", "refusal": null }],
        "tools": [{ "type": "function", "function": { "name": "f", "extra": 1e3 }, "x": 1 }],
    }));
    assert_eq!(asked.unwrap().ignored(), ["metadata", "store", "thinking.budget_tokens"]);
    let many: serde_json::Map<String, Value> = (0..100).map(|id| (format!("x{id}"), json!(id))).collect();
    assert_eq!(request(Value::Object(many)).unwrap().ignored().len(), 32);
}

#[test]
fn a_request_says_what_its_answer_looks_like() {
    let schema: Value = serde_json::from_str(r#"{"type": "number", "multipleOf": 0.10}"#).unwrap();
    let strict_tool = json!({ "function": { "name": "g", "strict": true, "parameters": schema } });
    let spec = |name: &str, parameters: &Value, strict| ToolSpec {
        name: name.to_owned(),
        parameters: parameters.clone(),
        strict,
    };
    let free = spec("f", &json!({}), false);
    let one =
        AnswerShape { tools: vec![free.clone()], choice: ToolChoice::Auto, parallel: true, ..AnswerShape::default() };
    let named = json!({ "type": "function", "function": { "name": "f" } });
    for (fields, expected) in [
        (json!({}), AnswerShape { parallel: true, ..AnswerShape::default() }),
        (json!({ "tools": [tool("f")] }), one.clone()),
        (
            json!({ "tools": [tool("f")], "tool_choice": "none" }),
            AnswerShape { choice: ToolChoice::None, ..one.clone() },
        ),
        (
            json!({ "tools": [tool("f")], "tool_choice": "required" }),
            AnswerShape { choice: ToolChoice::Required, ..one.clone() },
        ),
        (
            json!({ "tools": [tool("f")], "tool_choice": named }),
            AnswerShape { choice: ToolChoice::Named("f".to_owned()), ..one.clone() },
        ),
        (json!({ "tools": [tool("f")], "parallel_tool_calls": false }), AnswerShape { parallel: false, ..one.clone() }),
        (json!({ "tools": [strict_tool] }), AnswerShape { tools: vec![spec("g", &schema, true)], ..one }),
        (
            json!({ "messages": [user("JSON")], "response_format": { "type": "json_object" } }),
            AnswerShape { response: ResponseShape::JsonObject, parallel: true, ..AnswerShape::default() },
        ),
        (
            json!({ "response_format": { "type": "json_schema", "json_schema": { "schema": schema } } }),
            AnswerShape {
                response: ResponseShape::JsonSchema(schema.clone()),
                parallel: true,
                ..AnswerShape::default()
            },
        ),
    ] {
        assert_eq!(request(fields.clone()).unwrap().shape(), expected, "{fields}");
    }
    // Beside functions that are free, strict ones are held.
    let mixed = request(json!({ "tools": [tool("f"), strict_tool] })).unwrap().shape();
    assert_eq!(mixed.tools, [spec("f", &json!({}), false), spec("g", &schema, true)]);
    // DeepSeek keeps to schemas by the beta path only.
    let strictness =
        |rules: &Rules| request_by(rules, json!({ "tools": [strict_tool] })).unwrap().shape().tools[0].strict;
    assert!(!strictness(&strict()) && strictness(&Rules { beta: true, ..strict() }));
}

#[test]
fn the_body_beats_the_name_in_choosing_the_mode() {
    for (fields, thinks) in [
        (json!({}), false),
        (json!({ "model": "deepseek-chat" }), false),
        (json!({ "model": " DeepSeek/DeepSeek-Reasoner" }), true),
        (json!({ "model": "deepseek-ai/deepseek-r1" }), true),
        (json!({ "model": "DeepSeek-V3.2-Exp-thinking" }), true),
        (json!({ "model": "DeepSeek-V3.2-Exp-nothinking" }), false),
        (json!({ "model": "deepseek-reasoner", "thinking": { "type": "disabled" } }), false),
        (json!({ "thinking": { "type": "adaptive" }, "reasoning_effort": "none" }), true),
        (json!({ "reasoning_effort": "low", "chat_template_kwargs": { "thinking": false } }), true),
        (json!({ "model": "deepseek-reasoner", "reasoning_effort": "none" }), false),
        (json!({ "chat_template_kwargs": { "thinking": true, "enable_thinking": false } }), true),
        (json!({ "chat_template_kwargs": { "enable_thinking": true } }), true),
        (json!({ "enable_thinking": true, "reasoning": { "enabled": false } }), true),
        (json!({ "reasoning": { "effort": "high" } }), true),
        (json!({ "model": "deepseek-reasoner", "thinking": null }), true),
    ] {
        assert_eq!(request(fields.clone()).unwrap().mode(), thinks, "{fields}");
    }
}

const TIMINGS: generate::Timings = generate::Timings {
    known: generate::Known { prompt: true, cached: true, completion: true, reasoning: true },
    queue_ms: 0.5,
    prompt_tokens: 10,
    cached_tokens: 4,
    completion_tokens: 5,
    reasoning_tokens: 2,
    prompt_ms: 3.0,
    first_token_ms: 4.0,
    decode_ms: 2.0,
};

fn said(voice: Voice, text: &str) -> Event {
    Event::Text { voice, text: text.to_owned() }
}

fn end(finish: Finish) -> Event {
    Event::End { finish, stop: None, timings: TIMINGS }
}

/// All chunks of an answer to these events.
fn chunks(completion: &mut Completion, events: &[Event]) -> Vec<Value> {
    let mut chunks = Vec::from_iter(completion.first_chunk(0));
    chunks.extend(events.iter().filter_map(|event| completion.chunk(0, event)));
    chunks.extend(completion.chunk(0, &end(Finish::Stop)));
    chunks.extend(completion.usage_chunk());
    chunks
}

#[test]
fn chunks_come_in_the_recorded_order_and_shape() {
    let events = [said(Voice::Reasoning, "hm"), said(Voice::Content, "Hi"), said(Voice::Content, "!")];
    let usage = json!({
        "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "prompt_cache_hit_tokens": 4,
        "prompt_cache_miss_tokens": 6, "prompt_tokens_details": { "cached_tokens": 4 },
        "completion_tokens_details": { "reasoning_tokens": 2 },
    });
    let timings = json!({
        "cache_n": 4, "prompt_n": 6, "prompt_ms": 3.0, "prompt_per_second": 2000.0, "predicted_n": 5,
        "predicted_ms": 2.0, "predicted_per_second": 2000.0, "first_token_ms": 4.0,
    });
    let chunk = |delta: Value, finish: Value| {
        json!({
            "id": "1", "object": "chat.completion.chunk", "created": 7, "model": "m",
            "choices": [{ "index": 0, "delta": delta, "finish_reason": finish, "logprobs": null }], "usage": null,
        })
    };
    let mut last = chunk(json!({ "content": "", "reasoning_content": null }), json!("stop"));
    last["usage"] = usage.clone();
    last["timings"] = timings.clone();
    let mut thinking = Completion::new("1", 7, "m", true);
    let expected = [
        chunk(json!({ "role": "assistant", "content": null, "reasoning_content": "" }), json!(null)),
        chunk(json!({ "content": null, "reasoning_content": "hm" }), json!(null)),
        chunk(json!({ "content": "Hi", "reasoning_content": null }), json!(null)),
        chunk(json!({ "content": "!", "reasoning_content": null }), json!(null)),
        last,
    ];
    assert_eq!(chunks(&mut thinking, &events), expected);
    let response = json!({
        "id": "1", "object": "chat.completion", "created": 7, "model": "m",
        "choices": [{
            "index": 0, "message": { "role": "assistant", "content": "Hi!", "reasoning_content": "hm" },
            "finish_reason": "stop", "logprobs": null,
        }],
        "usage": usage, "timings": timings,
    });
    assert_eq!(thinking.response(), response);

    let mut plain = Completion::new("1", 7, "m", false).with_usage_apart();
    let mut apart = json!({ "id": "1", "object": "chat.completion.chunk", "created": 7, "model": "m", "choices": [] });
    apart["usage"] = usage;
    apart["timings"] = timings;
    let expected = [
        chunk(json!({ "role": "assistant", "content": "" }), json!(null)),
        chunk(json!({ "content": "Hi" }), json!(null)),
        chunk(json!({ "content": "" }), json!("stop")),
        apart,
    ];
    assert_eq!(chunks(&mut plain, &events[1..2]), expected);
    let message = json!({ "role": "assistant", "content": "Hi" });
    assert_eq!(plain.response()["choices"][0]["message"], message);
}

#[test]
fn log_probabilities_go_with_the_text_of_their_tokens() {
    let file = json!({
        "added_tokens": [{ "id": 2, "content": "</think>" }],
        "model": { "type": "BPE", "vocab": { "a": 0, "b": 1 }, "merges": [] },
        "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "use_regex": false },
    });
    let tokenizer = Tokenizer::from_json("tokenizer.json", file.to_string().as_bytes(), 3).unwrap();
    let token = |id: u32| {
        let logprobs = Logprobs { sampled: -0.5, rank: 1, top: vec![(id, -0.5), (1, f32::NEG_INFINITY)] };
        Event::Token { id, logprobs: Some(logprobs) }
    };
    let events = [token(0), said(Voice::Reasoning, "a"), token(2), token(0), token(1), said(Voice::Content, "ab")];
    let mut completion = Completion::new("1", 7, "m", true).with_logprobs(Arc::new(tokenizer));
    let chunks = chunks(&mut completion, &events);
    let shown = |chunk: &Value, key: &str| -> Vec<String> {
        let listed = chunk["choices"][0]["logprobs"][key].as_array().cloned().unwrap_or_default();
        listed.iter().map(|entry| entry["token"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(shown(&chunks[1], "reasoning_content"), ["a"]);
    assert_eq!(shown(&chunks[2], "content"), ["a", "b"]);
    let response = completion.response();
    assert_eq!((shown(&response, "reasoning_content"), shown(&response, "content").len()), (vec!["a".to_owned()], 2));
    let entry = json!({ "token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": [
        { "token": "a", "logprob": -0.5, "bytes": [97] }, { "token": "b", "logprob": -9999.0, "bytes": [98] },
    ] });
    assert_eq!(response["choices"][0]["logprobs"]["reasoning_content"][0], entry);
}

fn stories() -> Engine {
    stories_with(128)
}

fn stories_with(context: u32) -> Engine {
    let options = Options { device: "cpu".to_owned(), context: ContextSize::Tokens(context), ..Options::default() };
    block_on(Engine::load(crate::models::stories(), &options, &mut |_| true)).unwrap()
}

fn answer(engine: &mut Engine, request: &ChatRequest) -> (Vec<Value>, Value) {
    let asked = request.to_request(engine.language().unwrap()).unwrap();
    let mut completion = request.completion(engine.language().unwrap(), &asked, "1", 7);
    let requests: Vec<generate::Request> = asked.requests().collect();
    let mut chunks = vec![];
    for (choice, request) in (0..).zip(requests) {
        let mut generation = engine.generate(request).unwrap();
        chunks.extend(completion.first_chunk(choice));
        while let Some(event) = block_on(generation.next()).unwrap() {
            chunks.extend(completion.chunk(choice, &event));
        }
    }
    chunks.extend(completion.usage_chunk());
    (chunks, completion.response())
}

#[test]
fn chunks_of_a_story_add_up_to_the_whole_answer() {
    let mut engine = stories();
    for model in ["stories", "stories-thinking"] {
        // Long enough for a page of the cache.
        let messages = [user(&"Tell me a story about a dragon. ".repeat(8))];
        let fields = json!({
            "model": model, "messages": messages, "temperature": 0, "max_tokens": 12, "logprobs": true, "top_logprobs": 2,
        });
        let asked = request(fields).unwrap();
        let (chunks, response) = answer(&mut engine, &asked);
        let choice = &response["choices"][0];
        for key in ["content", "reasoning_content"] {
            let deltas = chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"][key].as_str());
            assert_eq!(deltas.collect::<String>(), choice["message"][key].as_str().unwrap_or_default(), "{model}");
            let listed = chunks.iter().filter_map(|chunk| chunk["choices"][0]["logprobs"][key].as_array());
            let whole = choice["logprobs"][key].as_array().cloned().unwrap_or_default();
            assert_eq!(listed.flatten().cloned().collect::<Vec<_>>(), whole, "{model}");
        }
        let said = if asked.mode() { "reasoning_content" } else { "content" };
        assert!(!choice["message"][said].as_str().unwrap().is_empty(), "{response}");
        assert_eq!(choice["message"].get("reasoning_content").is_some(), asked.mode());
        assert_eq!((&response["model"], &choice["finish_reason"]), (&json!(model), &json!("length")));
        assert_eq!(response["usage"]["completion_tokens"], 12);
        assert_eq!(chunks.last().unwrap()["usage"], response["usage"]);
        // The whole answer is the same when asked for again, and its prompt is known.
        let (_, again) = answer(&mut engine, &asked);
        assert_eq!(again["choices"], response["choices"]);
        assert_eq!(again["usage"]["prompt_cache_hit_tokens"], 64);
    }
}

#[test]
fn several_answers_differ_by_their_numbers_and_share_the_counts() {
    let mut engine = stories();
    let asked = request(json!({
        "n": 3, "seed": 7, "temperature": 1.5, "max_tokens": 8, "stream": true, "stream_options": { "include_usage": true },
    }));
    let (chunks, response) = answer(&mut engine, &asked.unwrap());
    let texts: Vec<&str> = response["choices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|choice| choice["message"]["content"].as_str().unwrap())
        .collect();
    assert!(texts.len() == 3 && (texts[0] != texts[1] || texts[1] != texts[2]), "{texts:?}");
    for (index, text) in texts.iter().enumerate() {
        let own = |chunk: &&Value| chunk["choices"][0]["index"] == index;
        let deltas = chunks.iter().filter(own).filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str());
        assert_eq!(deltas.collect::<String>(), *text);
        assert_eq!(
            chunks.iter().filter(own).filter(|chunk| !chunk["choices"][0]["finish_reason"].is_null()).count(),
            1
        );
    }
    let usage = &chunks.last().unwrap()["usage"];
    assert_eq!((&response["usage"], usage["completion_tokens"].as_u64()), (usage, Some(24)));
    assert_eq!(chunks.iter().filter(|chunk| !chunk["usage"].is_null()).count(), 1);
    let prompt = usage["prompt_tokens"].as_u64().unwrap();
    assert_eq!(usage["total_tokens"].as_u64(), Some(prompt + 24));
}

#[test]
fn ids_end_an_answer_and_count() {
    let mut engine = stories();
    let tokenizer = Arc::clone(engine.language().unwrap().tokenizer());
    let id = |token: &str| tokenizer.token_id(token).unwrap();
    let greedy = json!({ "temperature": 0, "max_tokens": 6 });
    let mut run = |fields: &Value| {
        let mut all = greedy.clone();
        all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let requests =
            request(all).unwrap().to_request(engine.language().unwrap()).unwrap().requests().collect::<Vec<_>>();
        let mut generation = engine.generate(requests[0].clone()).unwrap();
        let mut finish = None;
        while let Some(event) = block_on(generation.next()).unwrap() {
            if let Event::End { finish: why, timings, .. } = event {
                finish = Some((why, timings.completion_tokens));
            }
        }
        (generation.ids().to_vec(), finish.unwrap())
    };
    let (ids, finish) = run(&json!({}));
    assert_eq!(finish, (Finish::Length, 6));
    let at = ids.iter().position(|id| *id == ids[3]).unwrap();
    let tokens = u32::try_from(at).unwrap() + 1;
    assert_eq!(run(&json!({ "stop_token_ids": [ids[3]] })), (ids[..at].to_vec(), (Finish::Stop, tokens)));
    // The end of a text and the beginning of another turn are ends, but not before their time.
    for token in [crate::chat::control::EOS, crate::chat::control::USER, crate::chat::control::ASSISTANT] {
        let bias = json!({ id(token).to_string(): 100 });
        assert_eq!(run(&json!({ "logit_bias": bias })), (vec![], (Finish::Stop, 1)), "{token}");
        let (ids, finish) = run(&json!({ "logit_bias": bias, "min_tokens": 2 }));
        assert_eq!((ids.len(), finish), (2, (Finish::Stop, 3)), "{token}");
        assert_eq!(run(&json!({ "logit_bias": bias, "ignore_eos": true })).1, (Finish::Length, 6), "{token}");
    }
    // The end of a thought is no part of it.
    let close = json!({ id("</think>").to_string(): 100 });
    let asked =
        request(json!({ "thinking": { "type": "enabled" }, "temperature": 0, "max_tokens": 3, "logit_bias": close }));
    let (_, response) = answer(&mut engine, &asked.unwrap());
    let usage = &response["usage"];
    let counts = (&usage["completion_tokens"], &usage["completion_tokens_details"]["reasoning_tokens"]);
    assert_eq!(counts, (&json!(3), &json!(0)), "{response}");
    assert_eq!(response["choices"][0]["message"]["content"], "");
}

#[test]
fn tools_are_in_the_prompt_and_may_end_thinking() {
    let engine = stories_with(512);
    let format = engine.chat_format().format().unwrap();
    let is_exp = format != ChatFormat::Dsml;
    let mut prompts = vec![];
    for (choice, calls) in [("auto", true), ("none", false)] {
        let fields = json!({ "thinking": { "type": "enabled" }, "tools": [tool("weather")], "tool_choice": choice });
        let asked = request(fields).unwrap().to_request(engine.language().unwrap()).unwrap();
        assert_eq!(asked.request.calls, calls);
        let thinking = !(is_exp && calls);
        assert_eq!((asked.thinking_disabled_by_tools, asked.thinking), (!thinking, thinking));
        let prompt = engine.tokenizer().unwrap().decode(&asked.request.prompt);
        assert!(prompt.contains("weather"), "{prompt}");
        assert!(prompt.ends_with(if thinking { "<think>" } else { "</think>" }), "{prompt}");
        prompts.push(prompt.trim_end_matches("<think>").trim_end_matches("</think>").to_owned());
        assert_eq!(asked.request.constraint.is_some(), !calls, "that none is called is enforced");
    }
    // What was cached of one is the beginning of the other.
    assert_eq!(prompts[0], prompts[1]);
}

#[test]
fn what_the_context_cannot_hold_is_cut_or_refused() {
    let engine = stories();
    let asked =
        |rules: &Rules, fields: Value| request_by(rules, fields).unwrap().to_request(engine.language().unwrap());
    let long = json!({ "max_tokens": 5, "messages": [user(&"word ".repeat(500))] });
    let error = asked(&Rules::default(), long).unwrap_err();
    let tokens = error.details()["prompt_tokens"].as_u64().unwrap();
    let sum = tokens + 5;
    let expected = format!(
        "This model's maximum context length is 128 tokens. However, you requested {sum} tokens ({tokens} in the messages, \
        5 in the completion). Please reduce the length of the messages or completion."
    );
    assert_eq!((error.message(), error.code()), (expected.as_str(), Code::ContextOverflow));
    let much = json!({ "max_tokens": 8000 });
    assert!(asked(&Rules::default(), much.clone()).unwrap().request.max_tokens < Some(128));
    assert_eq!(asked(&strict(), much).unwrap_err().code(), Code::ContextOverflow);
    assert!(asked(&strict(), json!({})).is_ok(), "nobody asked for more than there is");
}

#[test]
fn sampling_is_whose_it_should_be() {
    let engine = stories();
    let shown = |rules: &Rules, fields: &Value| {
        let asked = request_by(rules, fields.clone()).unwrap().to_request(engine.language().unwrap()).unwrap();
        let sampling = asked.request.sampling;
        (sampling.temperature, sampling.top_p, sampling.presence_penalty)
    };
    let fields = json!({ "thinking": { "type": "enabled" }, "temperature": 0.25, "presence_penalty": 1, "top_p": 0.5 });
    assert_eq!(shown(&Rules::default(), &fields), (0.25, 0.5, 1.0));
    // DeepSeek does not listen while it thinks.
    assert_eq!(shown(&strict(), &fields), (0.6, 0.95, 0.0));
    let contract = Rules { checkpoint_sampling: false, ..Rules::default() };
    assert_eq!(shown(&contract, &json!({})), (1.0, 1.0, 0.0));
}

fn call_events(complete: bool) -> Vec<Event> {
    let mut events = vec![
        said(Voice::Content, "Sure."),
        Event::Call { index: 0, name: "f".to_owned(), id: None },
        Event::Arguments { index: 0, text: "{\"a\": ".to_owned() },
        Event::Arguments { index: 0, text: "1}".to_owned() },
        Event::CallEnd { index: 0 },
        Event::Call { index: 1, name: "g".to_owned(), id: Some("call_x".to_owned()) },
        Event::Arguments { index: 1, text: "{}".to_owned() },
    ];
    events.extend(complete.then_some(Event::CallEnd { index: 1 }));
    events
}

#[test]
fn calls_are_told_by_an_opener_and_parts() {
    for (thinking, complete) in [(false, true), (true, true), (false, false)] {
        let mut completion = Completion::new("1", 7, "m", thinking).with_fingerprint("fp_1");
        for event in call_events(complete).iter().chain([&end(Finish::ToolCalls)]) {
            completion.chunk(0, event);
        }
        let message = &completion.response()["choices"][0]["message"];
        let ids: Vec<String> = message["tool_calls"]
            .as_array()
            .unwrap()
            .iter()
            .map(|call| call["id"].as_str().unwrap().to_owned())
            .collect();
        for (index, id) in ids.iter().enumerate() {
            if index == 1 {
                assert_eq!(id, "call_x", "another engine's own");
                continue;
            }
            let random = id.strip_prefix(&format!("call_0{index}_")).unwrap();
            assert!(random.len() == 24 && random.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{id}");
        }
        let whole = |index: usize, name: &str, arguments: &str| {
            let function = json!({ "name": name, "arguments": arguments });
            json!({ "index": index, "id": ids[index], "type": "function", "function": function })
        };
        // One that was cut has the arguments that there are, as in a stream; the reason says so.
        let expected = [whole(0, "f", "{\"a\": 1}"), whole(1, "g", "{}")];
        let reason = if complete { "tool_calls" } else { "length" };
        assert_eq!(completion.response()["choices"][0]["finish_reason"], reason);
        assert_eq!(message["tool_calls"], json!(expected));
        assert_eq!((&message["content"], message.get("reasoning_content").is_some()), (&json!("Sure."), thinking));
    }
    let mut completion = Completion::new("1", 7, "m", false);
    let chunks: Vec<Value> = call_events(true)
        .iter()
        .chain([&end(Finish::ToolCalls)])
        .filter_map(|event| completion.chunk(0, event))
        .collect();
    let deltas: Vec<&Value> = chunks.iter().map(|chunk| &chunk["choices"][0]["delta"]).collect();
    let opener = |index: u64, name: &str| {
        let id = &completion.response()["choices"][0]["message"]["tool_calls"][usize::try_from(index).unwrap()]["id"];
        json!({ "tool_calls": [{ "index": index, "id": id, "type": "function", "function": { "name": name, "arguments": "" } }] })
    };
    let part =
        |index: u64, text: &str| json!({ "tool_calls": [{ "index": index, "function": { "arguments": text } }] });
    let expected = [
        json!({ "content": "Sure." }),
        opener(0, "f"),
        part(0, "{\"a\": "),
        part(0, "1}"),
        opener(1, "g"),
        part(1, "{}"),
        json!({ "content": "" }),
    ];
    assert_eq!(deltas, expected.iter().collect::<Vec<_>>());
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "tool_calls");
}

#[test]
fn a_cut_call_is_told_as_what_it_was() {
    let mut completion = Completion::new("1", 7, "m", false);
    let begun = Event::Call { index: 0, name: "f".to_owned(), id: None };
    assert!(completion.chunk(0, &begun).is_some());
    assert_eq!(completion.chunk(0, &end(Finish::Stop)).unwrap()["choices"][0]["finish_reason"], "length");
    let choice = &completion.response()["choices"][0];
    assert_eq!((&choice["message"]["content"], &choice["finish_reason"]), (&json!(""), &json!("length")));
    assert_eq!(choice["message"]["tool_calls"][0]["function"], json!({ "name": "f", "arguments": "" }));
}

/// Whatever ended the answer: who runs a call that is told as complete runs half of one.
#[test]
fn a_response_that_ends_within_a_call_is_incomplete() {
    let asked = ResponsesRequest::parse(Compat::Local, br#"{"input": "x"}"#).unwrap();
    for (complete, finish, status) in [
        (true, Finish::ToolCalls, "completed"),
        (false, Finish::ToolCalls, "incomplete"),
        (false, Finish::Stop, "incomplete"),
        (false, Finish::Length, "incomplete"),
    ] {
        let mut response = Response::new(7, "m", &asked);
        response.begin();
        for event in call_events(complete).iter().chain([&end(finish)]) {
            response.events(event);
        }
        let whole = response.whole();
        let last = whole["output"].as_array().unwrap().last().unwrap();
        assert_eq!((&whole["status"], &last["status"]), (&json!(status), &json!(status)), "{whole}");
        let details = if complete { Value::Null } else { json!({ "reason": "max_output_tokens" }) };
        assert_eq!(whole["incomplete_details"], details);
    }
}

#[test]
fn a_failure_ends_what_was_begun() {
    let error = crate::error::Error::new(Code::DeviceLost, "gone");
    let mut silent = Completion::new("1", 7, "m", false);
    let told =
        json!({ "error": { "message": "gone", "type": "server_error", "param": null, "code": "internal_error" } });
    assert_eq!(silent.abort(&error), [told]);
    let mut begun = Completion::new("1", 7, "m", false).with_answers(2).with_usage_apart();
    begun.chunk(0, &Event::Prompt { done: 5, total: 5, cached: 2, elapsed_ms: 1.0 });
    begun.chunk(0, &Event::Token { id: 1, logprobs: None });
    begun.chunk(0, &said(Voice::Content, "Once"));
    begun.chunk(1, &end(Finish::Stop));
    let rest = begun.abort(&error);
    assert_eq!(rest.len(), 2);
    assert_eq!(rest[0]["choices"][0]["finish_reason"], "insufficient_system_resource");
    assert_eq!((&rest[0]["choices"][0]["index"], &rest[1]["choices"]), (&json!(0), &json!([])));
    assert_eq!((&rest[1]["usage"]["prompt_tokens"], &rest[1]["usage"]["completion_tokens"]), (&json!(5), &json!(6)));
}

#[test]
fn thoughts_have_the_names_that_clients_know() {
    let mut completion = Completion::new("1", 7, "m", true);
    let chunk = completion.chunk(0, &said(Voice::Reasoning, "hm")).unwrap();
    assert_eq!(chunk["choices"][0]["delta"], json!({ "content": null, "reasoning_content": "hm" }));
    let plain = Completion::new("1", 7, "m", false).without_empty_details().response();
    assert!(plain["usage"].get("completion_tokens_details").is_none());
}

#[test]
fn requests_take_what_the_checkpoint_and_the_context_give() {
    let engine = stories();
    let asked =
        |fields: Value| request(fields).unwrap().to_request(engine.language().unwrap()).map(|asked| asked.request);
    let plain = asked(json!({})).unwrap();
    let room = 128 - u32::try_from(plain.prompt.len()).unwrap();
    assert_eq!((plain.sampling.temperature, plain.sampling.top_p), (0.6, 0.95));
    assert_eq!((plain.max_tokens, plain.thinking), (Some(room), false));
    assert_ne!(plain.sampling.seed, asked(json!({})).unwrap().sampling.seed);
    let given = asked(json!({
        "max_tokens": 9, "max_completion_tokens": 5, "temperature": 0.25, "top_p": 0.5, "top_k": 3, "min_p": 0.1,
        "seed": -1, "stop": "x", "presence_penalty": 1, "frequency_penalty": -1, "repetition_penalty": 1.5,
        "logit_bias": { "foo": 1, "7": -2 }, "logprobs": true, "thinking": { "type": "enabled" },
    }))
    .unwrap();
    let sampling = crate::generate::SamplingParams {
        temperature: 0.25,
        top_k: 3,
        top_p: 0.5,
        min_p: 0.1,
        repetition_penalty: 1.5,
        presence_penalty: 1.0,
        frequency_penalty: -1.0,
        logit_bias: vec![(7, -2.0)],
        seed: u64::MAX,
        choice: 0,
        logprobs: Some(0),
    };
    assert_eq!((given.sampling, given.max_tokens, given.stop), (sampling, Some(5), vec!["x".to_owned()]));
    assert!(given.thinking);
    assert_eq!(asked(json!({ "max_tokens": 0 })).unwrap().max_tokens, Some(room));
    assert_eq!(asked(json!({ "max_tokens": i64::MAX })).unwrap().max_tokens, Some(room));
    let long = json!({ "messages": [{ "role": "user", "content": "word ".repeat(500) }] });
    assert_eq!(asked(long).unwrap_err().code(), Code::ContextOverflow);
}

#[test]
fn a_prefix_is_continued_and_other_ends_are_refused() {
    let engine = stories();
    let last = |message: Value, thinking: &str| {
        let messages = json!([{ "role": "user", "content": "Hi" }, message]);
        let asked = request(json!({ "messages": messages, "thinking": { "type": thinking } })).unwrap();
        let prompt = asked.to_request(engine.language().unwrap())?.request;
        Ok::<_, crate::error::Error>((engine.tokenizer()?.decode(&prompt.prompt), prompt.thinking))
    };
    let prefix = json!({ "role": "assistant", "content": "Once", "prefix": true });
    let thought = json!({ "role": "assistant", "content": "Once", "prefix": true, "reasoning_content": "hm" });
    let shown = |end: &str, opens| Ok((format!("<｜begin▁of▁sentence｜><｜User｜>Hi<｜Assistant｜>{end}"), opens));
    let told = |result: crate::error::Result<(String, bool)>| result.map_err(|error| error.message().to_owned());
    assert_eq!(told(last(prefix.clone(), "disabled")), shown("</think>Once", false));
    assert_eq!(told(last(prefix, "enabled")), shown("<think>Once", true));
    assert_eq!(told(last(thought, "enabled")), shown("<think>hm</think>Once", false));
    let unfinished = told(last(json!({ "role": "assistant", "content": "Once" }), "disabled")).unwrap_err();
    let rule = "The last message of deepseek-reasoner must be a user message, or an assistant message with prefix mode on \
        (refer to https://api-docs.deepseek.com/guides/chat_prefix_completion).";
    assert_eq!(unfinished, rule);
    let systems = request(json!({ "messages": [{ "role": "developer", "content": "Hi" }] })).unwrap();
    assert!(systems.to_request(engine.language().unwrap()).unwrap_err().message().contains("system messages only"));
}
