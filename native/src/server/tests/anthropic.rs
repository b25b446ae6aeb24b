//! Anthropic's messages over HTTP.

use super::*;

const PATH: &str = "/v1/messages";

fn asking(fields: Value) -> Value {
    let body = json!({
        "model": "claude-any", "max_tokens": 8, "temperature": 0,
        "messages": [{ "role": "user", "content": "Tell me about a dog" }],
    });
    with(body, fields)
}

/// The envelope, whose id is that of the header.
#[track_caller]
fn wrong(answer: &Answer, status: u16, kind: &str) -> String {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.text);
    let body = answer.json();
    expect(&body, json!({ "type": "error", "request_id": answer.headers["request-id"].to_str().unwrap() }));
    assert_eq!(body["error"]["type"], kind, "{body}");
    assert_eq!(answer.headers["request-id"], answer.headers["x-request-id"]);
    body["error"]["message"].as_str().unwrap().to_owned()
}

fn tool(name: &str) -> Value {
    json!({
        "name": name, "description": "It is a tool.",
        "input_schema": {
            "type": "object", "properties": { "a": { "type": "string", "enum": ["Oslo", "Rome"] }, "b": { "enum": ["x", "y"] } },
            "required": ["a", "b"], "additionalProperties": false,
        },
    })
}

#[tokio::test]
async fn every_refusal_is_in_anthropic_s_envelope() {
    let server = server(settings(), rules(&[KEY]), None).await;
    let locked = app(&server);
    let key = ("x-api-key", KEY);
    let version = ("anthropic-version", "2023-06-01");
    let ask = |method, path, headers: &[(&str, &str)], body: String| {
        let (app, request) = (locked.clone(), request(method, path, headers, body));
        async move { send(&app, request).await }
    };
    let none = String::new;
    wrong(&ask("POST", PATH, &[], none()).await, 401, "authentication_error");
    wrong(&ask("POST", "//v1//messages/", &[], none()).await, 401, "authentication_error");
    wrong(&ask("POST", "/anthropic/v1/messages", &[], none()).await, 401, "authentication_error");
    wrong(&ask("POST", PATH, &[key, ("host", "evil.example")], none()).await, 403, "permission_error");
    wrong(&ask("POST", PATH, &[key], "{".to_owned()).await, 400, "invalid_request_error");
    wrong(&ask("POST", PATH, &[key], "x".repeat(9 << 20)).await, 413, "request_too_large");
    wrong(&ask("POST", "/v1/messages/batches", &[key], none()).await, 404, "not_found_error");
    wrong(&ask("GET", "/v1/files", &[key, version], none()).await, 404, "not_found_error");
    let method = ask("GET", PATH, &[key], none()).await;
    wrong(&method, 405, "invalid_request_error");
    assert_eq!(method.headers["allow"], "POST");
    // Others keep theirs.
    ask("POST", CHAT_PATH, &[], none()).await.refused(401);
    server.drain();
    let drained = ask("POST", PATH, &[key], asking(json!({})).to_string()).await;
    wrong(&drained, 503, "overloaded_error");
    assert!(drained.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn what_cannot_be_honoured_is_refused_by_its_name() {
    let app = app(&open_server().await);
    let content = |content: Value| json!({ "messages": [{ "role": "user", "content": content }] });
    let image = json!({ "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "aGk=" } });
    let result = json!({ "type": "tool_result", "tool_use_id": "a", "content": [image] });
    let hello = json!({ "role": "user", "content": "Hi" });
    let call = json!({ "role": "assistant", "content": [{ "type": "tool_use", "id": "a", "name": "f", "input": {} }] });
    let begun = json!([hello, { "role": "assistant", "content": "Once" }]);
    let schema = json!({ "type": "json_schema", "schema": { "type": "object" } });
    for (fields, says) in [
        (json!({ "max_tokens": null }), "max_tokens: field required"),
        (json!({ "max_tokens": 0 }), "max_tokens: expected 1 or more, found 0"),
        (json!({ "messages": [] }), "Empty input messages"),
        (json!({ "model": null }), "model"),
        (content(json!([image])), "messages[0].content[0]: a block of type \"image\""),
        (content(json!([{ "type": "document", "source": {} }])), "\"document\""),
        (content(json!([{ "type": "tool_use", "id": "a", "name": "f" }])), "\"tool_use\" in user"),
        (
            json!({ "messages": [hello, call, { "role": "user", "content": [result] }] }),
            "messages[2].content[0].content[0]",
        ),
        (json!({ "system": [image] }), "system[0]: a block of type \"image\""),
        (json!({ "messages": [{ "role": "tool", "content": "x" }] }), "messages[0].role: expected user or assistant"),
        (
            json!({ "messages": [hello, call] }),
            "messages[1]: expected the next turn to have a tool_result for every tool_use: \"a\"",
        ),
        (content(json!([{ "type": "tool_result", "tool_use_id": "b" }])), "messages[0]: tool_result \"b\""),
        (
            json!({ "tools": [{ "type": "web_search_20250305", "name": "web_search" }] }),
            "tools[0]: \"web_search_20250305\"",
        ),
        (json!({ "tools": [{ "type": "bash_20250124", "name": "bash" }] }), "\"bash_20250124\""),
        (json!({ "tools": [tool(&"x".repeat(129))] }), "tools[0]"),
        (json!({ "tools": [{ "name": "f", "input_schema": [] }] }), "parameters"),
        (json!({ "mcp_servers": [{ "type": "url" }] }), "mcp_servers"),
        (json!({ "tool_choice": { "type": "some" } }), "tool_choice.type: expected auto, any, tool or none"),
        (json!({ "tool_choice": { "type": "tool" } }), "tool_choice.name"),
        (json!({ "tool_choice": { "type": "any" } }), "tool_choice"),
        (
            json!({ "output_config": { "format": { "type": "grammar" } } }),
            "output_config.format: expected type json_schema",
        ),
        (json!({ "output_format": { "type": "json_schema" } }), "output_format: expected a schema"),
        (json!({ "messages": begun, "output_config": { "format": schema } }), "output_config.format"),
        (json!({ "messages": begun, "thinking": { "type": "enabled" } }), "thinking"),
        (json!({ "thinking": { "type": "some" } }), "thinking.type"),
    ] {
        let message = wrong(&post(&app, PATH, &asking(fields.clone())).await, 400, "invalid_request_error");
        assert!(message.contains(says), "{fields}: {message}");
    }
    let long = asking(content(json!("word ".repeat(3000))));
    let message = wrong(&post(&app, PATH, &long).await, 400, "invalid_request_error");
    let counted = post(&app, "/v1/messages/count_tokens", &long).await.ok()["input_tokens"].clone();
    assert_eq!(message, format!("prompt is too long: {counted} tokens > 1024 maximum"));
}

#[tokio::test]
async fn histories_are_read_as_clients_write_them() {
    let app = app(&open_server().await);
    let text = |text: &str| json!({ "type": "text", "text": text, "cache_control": { "type": "ephemeral" } });
    let call = |id: &str, input: Value| json!({ "type": "tool_use", "id": id, "name": "f", "input": input });
    let result =
        |id: &str| json!({ "type": "tool_result", "tool_use_id": id, "content": [text("Sunny")], "is_error": true });
    let user = |content: Value| json!({ "role": "user", "content": content });
    let assistant = |content: Value| json!({ "role": "assistant", "content": content });
    let hello = user(json!("Hi"));
    let thought = json!({ "type": "thinking", "thinking": "Hm", "signature": "abc" });
    let hidden = json!({ "type": "redacted_thinking", "data": "abc" });
    for messages in [
        json!([hello, assistant(json!([hidden, thought, text("Yes")])), hello]),
        json!([
            hello,
            assistant(json!([call("a", json!(null)), { "type": "tool_use", "id": "b", "name": "g" }])),
            user(json!([result("b"), text("So?"), result("a")]))
        ]),
        // Turns of one role that follow each other are one.
        json!([
            hello,
            hello,
            assistant(json!([call("a", json!({}))])),
            assistant(json!([call("b", json!({ "x": [1] }))])),
            user(json!([result("a"), text("")])),
            user(json!([result("b")])),
            hello
        ]),
        json!([assistant(json!("Once upon a time")), hello]),
        json!([user(json!([text(""), text("Hi"), text("")])), assistant(json!([])), user(json!(""))]),
        json!([hello, { "role": "system", "content": "Be kind." }, hello]),
        json!([user(json!("Hi")), assistant(json!("Yes")), assistant(json!(" and no"))]),
    ] {
        let answer = post(&app, PATH, &asking(json!({ "messages": messages, "tools": [tool("f"), tool("g")] }))).await;
        assert_eq!(answer.status, StatusCode::OK, "{messages}: {}", answer.text);
    }
}

/// The last message is gone on with: the answer is the rest of what a whole one would be.
#[tokio::test]
async fn a_begun_answer_goes_on() {
    let app = app(&open_server().await);
    let answer = |fields: Value| {
        let app = app.clone();
        async move { post(&app, PATH, &asking(fields)).await.ok()["content"][0]["text"].as_str().unwrap().to_owned() }
    };
    let whole = answer(json!({ "max_tokens": 12 })).await;
    let (begin, rest) = whole.split_at(whole.find(' ').unwrap());
    let messages =
        json!([{ "role": "user", "content": "Tell me about a dog" }, { "role": "assistant", "content": begin }]);
    for model in ["claude-any", "deepseek-reasoner"] {
        let goes_on = answer(json!({ "max_tokens": 12, "messages": messages, "model": model })).await;
        assert!(goes_on.starts_with(rest), "{begin:?} {goes_on:?}");
    }
}

#[tokio::test]
async fn a_stop_sequence_is_named() {
    let app = app(&open_server().await);
    let whole = post(&app, PATH, &asking(json!({ "max_tokens": 24 }))).await.ok();
    let text = whole["content"][0]["text"].as_str().unwrap();
    let stop = text.split(' ').nth(2).unwrap();
    let fields = json!({ "max_tokens": 24, "stop_sequences": ["never said", stop] });
    let cut = post(&app, PATH, &asking(fields.clone())).await.ok();
    assert_eq!((&cut["stop_reason"], &cut["stop_sequence"]), (&json!("stop_sequence"), &json!(stop)));
    assert_eq!(cut["content"][0]["text"], text[..text.find(stop).unwrap()]);
    let streamed = post(&app, PATH, &with(asking(fields), json!({ "stream": true }))).await.text;
    assert!(streamed.contains("\"stop_reason\":\"stop_sequence\""), "{streamed}");
}

/// A call that is cut is not there, whole and streamed, and neither is its markup.
#[tokio::test]
async fn a_cut_call_is_no_call() {
    let app = app(&open_server().await);
    let mut cut = 0;
    for most in [2, 8, 16, 24, 32, 40, 400] {
        let fields = json!({ "max_tokens": most, "tools": [tool("f")], "tool_choice": { "type": "any", "disable_parallel_tool_use": true } });
        let whole = post(&app, PATH, &asking(fields.clone())).await.ok();
        let streamed = post(&app, PATH, &with(asking(fields), json!({ "stream": true }))).await.text;
        let calls = whole["content"].as_array().unwrap().iter().filter(|block| block["type"] == "tool_use");
        for call in calls.clone() {
            assert!(["Oslo", "Rome"].contains(&call["input"]["a"].as_str().unwrap()), "{call}");
            assert!(["x", "y"].contains(&call["input"]["b"].as_str().unwrap()), "{call}");
        }
        assert_eq!(streamed.matches("\"type\":\"tool_use\"").count(), calls.count());
        assert!(!whole.to_string().contains("｜") && !streamed.contains("｜"), "{streamed}");
        let reason = whole["stop_reason"].as_str().unwrap();
        assert!(streamed.contains(&format!("\"stop_reason\":\"{reason}\"")), "{streamed}");
        cut += u32::from(reason == "max_tokens");
        if most == 400 {
            assert_eq!(reason, "tool_use");
        }
    }
    assert!(cut >= 2);
}

#[tokio::test]
async fn fields_are_honoured_or_named() {
    let app = app(&open_server().await);
    let schema = json!({ "type": "object", "properties": { "a": { "enum": ["x"] } }, "required": ["a"], "additionalProperties": false });
    let format = json!({ "type": "json_schema", "schema": schema });
    for fields in
        [json!({ "output_config": { "format": format, "effort": "low" } }), json!({ "output_format": format })]
    {
        let answer = post(&app, PATH, &asking(with(fields, json!({ "max_tokens": 60 })))).await.ok();
        let text: Value = serde_json::from_str(answer["content"][0]["text"].as_str().unwrap()).unwrap();
        assert_eq!(text, json!({ "a": "x" }));
    }
    let fields = json!({
        "service_tier": "auto", "top_k": 5, "thinking": { "type": "adaptive", "budget_tokens": 1024 },
        "metadata": { "user_id": "{\"device\": \"é\"}" }, "output_config": { "effort": "high" },
        "tools": [tool(&"x".repeat(128))], "tool_choice": { "type": "auto", "disable_parallel_tool_use": true },
    });
    let answer = post(&app, PATH, &asking(fields)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(ignored(&answer), ["output_config.effort", "service_tier", "thinking.budget_tokens"]);
    assert_eq!(answer.headers["request-id"], answer.headers["x-request-id"]);
    let thought = post(&app, PATH, &asking(json!({ "thinking": { "type": "adaptive" } }))).await.ok();
    assert_eq!(thought["content"][0]["type"], "thinking");
    assert_eq!(thought["content"][0]["signature"].as_str().unwrap().len(), 64);
}

#[tokio::test]
async fn models_are_listed_in_the_asking_client_s_shape() {
    let app = app(&open_server().await);
    let version = [("anthropic-version", "2023-06-01")];
    let list = send(&app, request("GET", "/v1/models?limit=20", &version, "")).await.ok();
    let first = &list["data"][0];
    assert_eq!((&first["type"], &list["has_more"]), (&json!("model"), &json!(false)));
    assert!(first["display_name"].is_string() && first["created_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!((&list["first_id"], &first["max_input_tokens"]), (&first["id"], &json!(1024)));
    let one = send(&app, request("GET", "/v1/models/deepseek-chat", &version, "")).await.ok();
    assert_eq!((&one["type"], &one["id"]), (&json!("model"), &json!("deepseek-chat")));
    wrong(&send(&app, request("GET", "/v1/models/none", &version, "")).await, 404, "not_found_error");
    assert_eq!(get(&app, "/v1/models").await.ok()["object"], "list");
}
