//! What a request's bytes may be, and what is done before it has a place in the queue.

use super::*;

#[tokio::test]
async fn json_that_two_readers_read_differently_is_refused_on_every_route() {
    let app = app(&open_server().await);
    let messages = r#""model": "stories", "messages": [{"role": "user", "content": "hi"}]"#;
    let bodies = [
        (CHAT_PATH, format!(r#"{{{messages}, "max_tokens": 1, "max_tokens": 2}}"#)),
        (CHAT_PATH, format!(r#"{{{messages}, "other": {{"a": 1, "a": 2}}}}"#)),
        (CHAT_PATH, r#"{"messages": [["user", "hi"]]}"#.to_owned()),
        (CHAT_PATH, r#"{"messages": [{"role": "user", "content": [["text", "hi"]]}]}"#.to_owned()),
        (CHAT_PATH, format!(r#"{{{messages}, "thinking": ["enabled"]}}"#)),
        (CHAT_PATH, format!(r#"{{{messages}, "tools": [[null, {{"name": "f"}}]]}}"#)),
        (CHAT_PATH, format!(r#"{{{messages}, "tools": [{{"function": {{"name": "f", "name": "g"}}}}]}}"#)),
        (CHAT_PATH, format!(r#"{{{messages}, "stop": 1e999}}"#)),
        ("/v1/completions", r#"{"prompt": "a", "prompt": "b"}"#.to_owned()),
        ("/v1/completions", r#"["a"]"#.to_owned()),
        ("/tokenize", r#"{"content": "a", "content": "b"}"#.to_owned()),
        ("/tokenize", r#"["a"]"#.to_owned()),
        ("/detokenize", r#"[[1]]"#.to_owned()),
        ("/apply-template", r#"{"messages": [["user", "hi"]]}"#.to_owned()),
    ];
    for (path, body) in bodies {
        let message = send(&app, request("POST", path, &[], body.clone())).await.refused(400);
        assert!(!message.contains("struct") && !message.contains('\\'), "{body}: {message}");
    }
    let marked = format!("\u{feff}{{{messages}, \"max_tokens\": 1}}");
    send(&app, request("POST", CHAT_PATH, &[], marked)).await.ok();
    let message = chat(&app, json!({ "max_tokens": "8" })).await.refused(400);
    assert!(message.ends_with("max_tokens: expected a whole number, found a string"), "{message}");
    let hidden = json!({ "messages": [{ "role": "a\u{2028}b\u{61c}\u{e0041}", "content": "x" }] });
    let message = chat(&app, hidden).await.refused(400);
    assert!(message.contains("a\\u{2028}b\\u{61c}\\u{e0041}"), "{message}");
}

#[tokio::test]
async fn what_cannot_fit_is_refused_before_it_is_made_tokens() {
    let app = app(&open_server().await);
    // "At least": its tokens were not counted.
    let long = "xq".repeat(1 << 20);
    let message = chat(&app, json!({ "messages": [{ "role": "user", "content": long }] })).await.refused(400);
    assert!(message.contains("maximum context length is 1024 tokens") && message.contains("at least"), "{message}");
    let message = post(&app, "/v1/completions", &json!({ "model": "stories", "prompt": "xq".repeat(1 << 20) }))
        .await
        .refused(400);
    assert!(message.contains("at least"), "{message}");
}

#[tokio::test]
async fn tool_loops_of_other_programs_are_served() {
    let app = app(&open_server().await);
    for arguments in [json!(""), json!(" \n"), json!(null), json!("{\"a\": \"b"), json!({ "a": 1 })] {
        let call = json!({ "type": "function", "function": { "name": "f", "arguments": arguments } });
        let messages = json!([
            { "role": "user", "content": "hi" },
            { "role": "assistant", "content": null, "tool_calls": [call] },
            { "role": "tool", "content": "ok" },
        ]);
        chat(&app, json!({ "messages": messages, "max_tokens": 2 })).await.ok();
    }
}

#[tokio::test]
async fn methods_are_shown_escaped() {
    let app = app(&open_server().await);
    let message = send(&app, request(&"M".repeat(500), "/health", &[], "")).await.refused(405);
    assert!(message.len() < 250, "{message}");
}
