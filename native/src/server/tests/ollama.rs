//! Ollama's API over HTTP.

use super::*;

/// A short, greedy request in one piece.
fn request_with(asked: Value, fields: Value) -> Value {
    let options = json!({ "temperature": 0, "num_predict": 8 });
    with(with(json!({ "model": "deepseek-chat", "stream": false, "options": options }), asked), fields)
}

fn asking(fields: Value) -> Value {
    request_with(json!({ "messages": [{ "role": "user", "content": "Tell me about a dog" }] }), fields)
}

fn generating(fields: Value) -> Value {
    request_with(json!({ "prompt": "Tell me about a dog" }), fields)
}

/// The envelope: one sentence.
#[track_caller]
fn wrong(answer: &Answer, status: u16) -> String {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.text);
    let body = answer.json();
    assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
    body["error"].as_str().unwrap().to_owned()
}

fn weather() -> Value {
    let parameters = json!({
        "type": "object", "properties": { "city": { "type": "string", "enum": ["Oslo"] } }, "required": ["city"],
    });
    json!([{ "type": "function", "function": { "name": "weather", "description": "It.", "parameters": parameters } }])
}

#[tokio::test]
async fn every_refusal_is_in_ollama_s_envelope() {
    let server = server(settings(), rules(&[KEY]), None).await;
    let app = app(&server);
    let key = ("authorization", &*format!("Bearer {KEY}"));
    let ask = |method, path: &'static str, headers: &[(&str, &str)], body: String| {
        let (app, request) = (app.clone(), request(method, path, headers, body));
        async move { send(&app, request).await }
    };
    let model = || json!({ "model": "deepseek-chat" }).to_string();
    wrong(&ask("GET", "/api/tags", &[], String::new()).await, 401);
    wrong(&ask("POST", "/api/chat", &[], model()).await, 401);
    wrong(&ask("POST", "//api/chat/", &[], model()).await, 401);
    wrong(&ask("POST", "/api/chat", &[key, ("host", "evil.example")], model()).await, 403);
    wrong(&ask("POST", "/api/chat", &[key], "{".to_owned()).await, 400);
    wrong(&ask("POST", "/api/chat", &[key], "x".repeat(9 << 20)).await, 413);
    wrong(&ask("GET", "/api/nothing", &[key], String::new()).await, 404);
    assert_eq!(ask("GET", "/api/chat", &[key], String::new()).await.headers["allow"], "POST");
    wrong(&ask("GET", "/api/chat", &[key], String::new()).await, 405);
    for path in ["/api/embed", "/api/embeddings", "/api/push", "/api/create", "/api/copy"] {
        let verb = path.trim_start_matches("/api/");
        assert!(wrong(&ask("POST", path, &[key], model()).await, 501).contains(verb));
    }
    wrong(&ask("DELETE", "/api/delete", &[key], model()).await, 501);
    server.drain();
    wrong(&ask("POST", "/api/chat", &[key], model()).await, 503);
}

#[tokio::test]
async fn what_cannot_be_honoured_is_refused_by_its_name() {
    let app = app(&open_server().await);
    let user = json!({ "role": "user", "content": "Hi" });
    let call = json!({ "role": "assistant", "content": "", "tool_calls": [{ "function": { "name": "weather", "arguments": {} } }] });
    for (fields, says) in [
        (json!({ "messages": [{ "role": "user", "content": "x", "images": ["aGk="] }] }), "messages[0].images: images"),
        (json!({ "messages": [user, { "role": "tool", "content": "x" }] }), "messages[1]: a tool result"),
        (
            json!({ "messages": [user, call] }),
            "messages[1].tool_calls: expected a following message of role tool with the result of \"weather\"",
        ),
        (json!({ "format": "xml" }), "format: expected json or a schema"),
        (json!({ "format": 5 }), "format: expected json or a schema"),
        (json!({ "think": "some" }), "think: expected true, false, low"),
        (json!({ "options": { "num_predict": 8.5 } }), "options.num_predict: expected a whole number, found 8.5"),
        (json!({ "options": { "top_k": 1e300 } }), "options.top_k"),
        (json!({ "options": { "temperature": 5 } }), "temperature"),
        (json!({ "messages": [{ "role": "user", "content": "word ".repeat(3000) }] }), "context"),
        (json!({ "messages": [{ "role": "user", "content": 5 }] }), "messages[0].content: expected a string"),
    ] {
        let message = wrong(&post(&app, "/api/chat", &asking(fields.clone())).await, 400);
        assert!(message.contains(says), "{fields}: {message}");
    }
    for (fields, says) in [
        (json!({ "images": ["aGk="] }), "images: images are not supported"),
        (json!({ "template": "{{ .Prompt }}" }), "template"),
        (json!({ "context": [1, 2] }), "context"),
        (json!({ "raw": true, "format": "json" }), "format"),
        (json!({ "suffix": "end" }), "suffix"),
    ] {
        let message = wrong(&post(&app, "/api/generate", &generating(fields.clone())).await, 400);
        assert!(message.contains(says), "{fields}: {message}");
    }
}

/// Calls without ids are answered in order, or by name.
#[tokio::test]
async fn tool_loops_need_no_ids() {
    let app = app(&open_server().await);
    let call = |name: &str, arguments: Value| json!({ "function": { "name": name, "arguments": arguments } });
    let calls = |calls: Value| json!({ "role": "assistant", "content": "", "tool_calls": calls });
    let user = json!({ "role": "user", "content": "Hi" });
    let (f, g) = (call("f", json!({ "a": 1 })), call("g", json!({})));
    for messages in [
        json!([user, calls(json!([f])), { "role": "tool", "tool_name": "f", "content": "1" }]),
        json!([user, calls(json!([f])), { "role": "tool", "content": "1" }, calls(json!([f])), { "role": "tool", "content": "1" }]),
        json!([user, calls(json!([f, g])), { "role": "tool", "name": "g", "content": "2" }, { "role": "tool", "content": "1" }]),
        json!([user, calls(json!([f, f])), { "role": "tool", "tool_name": "f", "content": "1" }, { "role": "tool", "tool_name": "f", "content": "2" }, user]),
        json!([user, calls(json!([f])), calls(json!([g])), { "role": "tool", "content": "1" }, { "role": "tool", "content": "2" }]),
        json!([user, calls(json!([{ "id": "x", "function": { "index": 0, "name": "f", "arguments": {} } }])),
            { "role": "tool", "tool_call_id": "x", "content": "1" }]),
        json!([user, { "role": "assistant", "thinking": "Hm", "content": "Yes" }, { "role": "user", "content": null, "images": [] }]),
    ] {
        let answer = post(&app, "/api/chat", &asking(json!({ "messages": messages, "tools": weather() }))).await;
        assert_eq!(answer.status, StatusCode::OK, "{messages}: {}", answer.text);
    }
}

/// Results go to their calls, whatever order they come in.
#[tokio::test]
async fn results_by_name_are_results_in_order() {
    let app = app(&open_server().await);
    let call = |name: &str| json!({ "function": { "name": name, "arguments": {} } });
    let counted = |results: Value| {
        let mut messages = vec![
            json!({ "role": "user", "content": "Hi" }),
            json!({ "role": "assistant", "content": "", "tool_calls": [call("f"), call("g")] }),
        ];
        messages.extend(results.as_array().unwrap().clone());
        let app = app.clone();
        let body = asking(json!({ "messages": messages, "options": { "num_predict": 12, "temperature": 0 } }));
        async move { post(&app, "/api/chat", &body).await.ok()["message"].clone() }
    };
    let (f, g) = ("Sunny, and very warm for a day in spring", "No");
    let in_order = json!([{ "role": "tool", "content": f }, { "role": "tool", "content": g }]);
    let by_name =
        json!([{ "role": "tool", "tool_name": "g", "content": g }, { "role": "tool", "tool_name": "f", "content": f }]);
    assert_eq!(counted(in_order).await, counted(by_name).await);
}

#[tokio::test]
async fn forms_and_thoughts_are_asked_for_in_ollama_s_words() {
    let app = app(&open_server().await);
    let same = post(&app, "/api/chat", &asking(json!({}))).await.ok()["message"]["content"].clone();
    let empty = asking(json!({ "format": "", "keep_alive": "5m", "tools": [], "think": null }));
    assert_eq!(post(&app, "/api/chat", &empty).await.ok()["message"]["content"], same);
    let options = json!({ "num_predict": 300, "temperature": 0 });
    let schema = json!({ "type": "object", "properties": { "a": { "enum": ["x"] } }, "required": ["a"], "additionalProperties": false });
    for format in [json!("json"), schema] {
        let chat = asking(json!({ "format": format, "options": options }));
        let chat = post(&app, "/api/chat", &chat).await.ok();
        let generate = generating(json!({ "format": format, "options": options }));
        let generate = post(&app, "/api/generate", &generate).await.ok();
        for (text, reason) in
            [(&chat["message"]["content"], &chat["done_reason"]), (&generate["response"], &generate["done_reason"])]
        {
            let text = text.as_str().unwrap();
            assert!(text.trim_start().starts_with('{'), "{text}");
            assert!(reason == "length" || serde_json::from_str::<Value>(text).is_ok(), "{text}");
        }
    }
    for (think, thinks) in [(json!(true), true), (json!("low"), true), (json!("high"), true), (json!(false), false)] {
        let message = post(&app, "/api/chat", &asking(json!({ "think": think }))).await.ok()["message"].clone();
        assert_eq!(message["thinking"].is_string(), thinks, "{think}: {message}");
    }
    let reasoner = asking(json!({ "model": "deepseek-reasoner:latest" }));
    let reasoner = post(&app, "/api/chat", &reasoner).await.ok();
    assert!(reasoner["message"]["thinking"].is_string() && reasoner["model"] == "deepseek-reasoner:latest");
}

#[tokio::test]
async fn options_are_honoured_or_named() {
    let app = app(&open_server().await);
    let same = post(&app, "/api/chat", &asking(json!({}))).await.ok();
    let options = json!({
        "temperature": 0, "num_predict": 8.0, "top_k": 40.0, "seed": 5.0, "num_ctx": 2048, "mirostat": 0, "stop": [],
        "repeat_penalty": 1.3, "repeat_last_n": 0,
    });
    let answer = post(&app, "/api/chat", &asking(json!({ "options": options, "truncate": true }))).await;
    assert_eq!(ignored(&answer), ["options.mirostat", "options.num_ctx", "truncate"]);
    assert_eq!(answer.ok()["message"], same["message"]);
    let text = same["message"]["content"].as_str().unwrap();
    let stop = text.split(' ').nth(1).unwrap();
    for stop in [json!([stop]), json!(stop)] {
        let options = json!({ "temperature": 0, "num_predict": 8, "stop": stop });
        let cut = post(&app, "/api/chat", &asking(json!({ "options": options }))).await.ok();
        assert_eq!((&cut["done_reason"], &cut["done"]), (&json!("stop"), &json!(true)));
        assert!(text.starts_with(cut["message"]["content"].as_str().unwrap()));
    }
    // As many as there is room for: more than the default would be is not asked of a test's model, only that it is taken.
    let options = json!({ "temperature": 0, "num_predict": -1, "stop": [stop] });
    assert_eq!(post(&app, "/api/chat", &asking(json!({ "options": options }))).await.ok()["done"], true);
}

#[tokio::test]
async fn a_request_that_says_nothing_loads() {
    let app = app(&open_server().await);
    for (path, body, reason) in [
        ("/api/generate", json!({ "model": "stories" }), "load"),
        ("/api/generate", json!({ "model": "stories", "prompt": "", "suffix": "", "stream": true }), "load"),
        ("/api/generate", json!({ "model": "stories", "keep_alive": 0 }), "unload"),
        ("/api/chat", json!({ "model": "stories", "messages": [], "keep_alive": -1 }), "load"),
        ("/api/chat", json!({ "model": "stories", "keep_alive": "0s" }), "unload"),
    ] {
        let answer = post(&app, path, &body).await.ok();
        assert_eq!((&answer["done"], &answer["done_reason"]), (&json!(true), &json!(reason)), "{body}");
        assert_eq!(answer.get("message").is_some(), path == "/api/chat");
    }
}

#[tokio::test]
async fn raw_prompts_are_texts() {
    let app = app(&open_server().await);
    let text = json!({ "model": "stories", "prompt": "Once upon a time", "max_tokens": 8, "temperature": 0 });
    let same = post(&app, "/v1/completions", &text).await.ok()["choices"][0]["text"].clone();
    let raw = generating(json!({ "prompt": "Once upon a time", "raw": true }));
    let answer = post(&app, "/api/generate", &raw).await.ok();
    assert_eq!((&answer["response"], &answer["eval_count"]), (&same, &json!(8)));
    let system = generating(json!({ "system": "Be kind.", "suffix": "", "template": "", "context": [], "raw": false }));
    let chat = asking(json!({
        "messages": [{ "role": "system", "content": "Be kind." }, { "role": "user", "content": "Tell me about a dog" }],
    }));
    let chat = post(&app, "/api/chat", &chat).await.ok();
    assert_eq!(post(&app, "/api/generate", &system).await.ok()["response"], chat["message"]["content"]);
}

#[tokio::test]
async fn models_are_described() {
    let app = app(&open_server().await);
    let tags = get(&app, "/api/tags").await.ok();
    for model in tags["models"].as_array().unwrap() {
        assert_eq!(model["digest"].as_str().unwrap().len(), 64);
        assert!(model["size"].as_u64().unwrap() > 0 && model["name"] == model["model"]);
        for field in ["format", "family", "parameter_size", "quantization_level"] {
            assert!(!model["details"][field].as_str().unwrap().is_empty(), "{model}");
        }
    }
    let show = post(&app, "/api/show", &json!({ "model": "deepseek-chat:latest", "verbose": true })).await.ok();
    let family = show["model_info"]["general.architecture"].as_str().unwrap();
    assert_eq!(show["model_info"][format!("{family}.context_length")], 1024);
    assert_eq!(show["capabilities"], json!(["completion", "tools", "thinking"]));
    for field in ["modelfile", "parameters", "template"] {
        assert!(!show[field].as_str().unwrap().is_empty(), "{field}");
    }
    assert_eq!(post(&app, "/api/show", &json!({ "name": "stories" })).await.ok()["details"], show["details"]);
    assert!(wrong(&post(&app, "/api/show", &json!({ "model": "llama3" })).await, 404).contains("deepseek-chat"));
    assert_eq!(get(&app, "/api/ps").await.ok()["models"][0]["context_length"], 1024);
    let version = get(&app, "/api/version").await.ok()["version"].as_str().unwrap().to_owned();
    let parts: Vec<u32> = version.split('.').map(|part| part.parse().unwrap()).collect();
    assert!(parts.as_slice() >= &[0, 12, 0][..], "{version}");
    for stream in [true, false] {
        let pulled = post(&app, "/api/pull", &json!({ "model": "stories", "stream": stream })).await;
        assert_eq!(pulled.ok()["status"], "success");
    }
    wrong(&post(&app, "/api/pull", &json!({ "model": "llama3" })).await, 404);
}
