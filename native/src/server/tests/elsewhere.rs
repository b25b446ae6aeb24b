//! Other engines behind routes, in every dialect. They say what recordings say, over real sockets.

use super::*;
use crate::upstream::Profile;
use crate::upstream::route::{RouteOptions, Routes};
use crate::upstream::tests::replay::{Replay, Said};

macro_rules! recorded {
    ($name:literal) => {
        include_str!(concat!("../../../tests/data/upstream/", $name))
    };
}

/// A server that hands on what these rules name; `{}` stands for the address of the other engine.
async fn routed(there: &Replay, rules_: &[&str]) -> Router {
    let rules_: Vec<String> = rules_.iter().map(|rule| rule.replace("{}", &there.url())).collect();
    let options = RouteOptions { routes: &rules_, profile: Some(Profile::Vllm), ..RouteOptions::default() };
    let settings = ServerSettings { routes: Routes::new(&options).unwrap(), parallel: 1, max_queue: 1, ..settings() };
    app(&server(settings, rules(&[]), None).await)
}

async fn proxied(said: Said, fields: Value) -> Answer {
    let there = Replay::chat(said);
    let app = routed(&there, &["mine={}"]).await;
    let body = json!({ "model": "mine", "stream": true, "messages": [{ "role": "user", "content": "1 + 1 €?" }] });
    post(&app, CHAT_PATH, &with(body, fields)).await
}

#[tokio::test]
async fn a_stream_is_in_our_shape_whoever_made_it() {
    for recording in [
        recorded!("deepseek-reasoner.sse"),
        recorded!("vllm.sse"),
        recorded!("openrouter.sse"),
        recorded!("completion.json"),
    ] {
        for apart in [false, true] {
            let answer =
                proxied(Said::stream(recording), json!({ "stream_options": { "include_usage": apart } })).await;
            assert_eq!(answer.headers["content-type"], "text/event-stream; charset=utf-8");
            assert!(answer.headers["x-upstream-model"].to_str().unwrap().contains("deepseek"));
            let (chunks, done) = answer.events();
            let id = chunks[0]["id"].as_str().unwrap();
            assert!(done && id.len() == 36);
            assert!(chunks.iter().all(|chunk| chunk["id"] == id && chunk["model"] == "mine"));
            let first = json!({ "role": "assistant", "content": null, "reasoning_content": "" });
            assert_eq!(chunks[0]["choices"][0]["delta"], first);
            let usages: Vec<usize> = (0..chunks.len()).filter(|&at| chunks[at]["usage"].is_object()).collect();
            assert_eq!(usages, [chunks.len() - 1], "counts come once, last");
            assert_eq!(chunks[chunks.len() - 1]["choices"].as_array().unwrap().is_empty(), apart);
            let said = |key| answer.deltas(key);
            assert_eq!((said("reasoning_content").as_str(), said("content").as_str()), ("Hm, two.", "It is 2 €."));
        }
    }
}

#[tokio::test]
async fn an_answer_in_one_piece() {
    let said = Said::new(200, "application/json", recorded!("completion.json"));
    let answer = proxied(said, json!({ "stream": false, "custom": 1 })).await;
    assert_eq!(answer.headers["x-upstream-model"], "deepseek-reasoner");
    let answer = answer.ok();
    assert_eq!((&answer["model"], &answer["system_fingerprint"]), (&json!("mine"), &json!("fp_0_prod")));
    assert_eq!(answer["choices"][0]["message"]["reasoning_content"], "Hm, two.");
    assert_eq!(answer["usage"]["prompt_cache_miss_tokens"], 2);
    assert!(answer.get("timings").is_none(), "the times of another engine are not known");
}

#[tokio::test]
async fn an_id_that_takes_the_place_of_the_client_s_keeps_its_mode_and_other_fields_go_on() {
    let there = Replay::chat(Said::stream(recorded!("vllm.sse")));
    let app = routed(&there, &["*={}#a/b"]).await;
    let body = asked(json!({ "model": "deepseek-reasoner", "custom": { "x": 1 }, "stream": true }));
    let (chunks, _) = post(&app, CHAT_PATH, &body).await.events();
    let sent = there.chats()[0].json();
    assert_eq!((&sent["model"], &sent["chat_template_kwargs"]["thinking"]), (&json!("a/b"), &json!(true)));
    assert_eq!((&sent["custom"]["x"], &chunks[0]["model"]), (&json!(1), &json!("deepseek-reasoner")));
}

#[tokio::test]
async fn refusals_reach_clients_in_our_envelope() {
    for (status, here, kind) in [
        (400, 400, "invalid_request_error"),
        (401, 502, "server_error"),
        (402, 502, "server_error"),
        (404, 404, "invalid_request_error"),
        (429, 429, "rate_limit_error"),
        (500, 502, "server_error"),
        (503, 503, "server_error"),
    ] {
        let said = Said::new(status, "text/html", "<title>No</title>").with_header("retry-after", "0");
        let answer = proxied(said, json!({})).await;
        assert!(answer.refused(here).contains("an HTML page, No"));
        assert!(answer.json()["error"]["type"] == kind && answer.headers["retry-after"] == "0", "{status}");
    }
}

#[tokio::test]
async fn a_stream_that_breaks_keeps_its_text_and_ends() {
    let answer = proxied(Said::stream(recorded!("cut.sse")), json!({})).await;
    let (chunks, done) = answer.events();
    let last = &chunks[chunks.len() - 1];
    assert!(done && answer.deltas("content") == "It is ");
    assert_eq!(last["choices"][0]["finish_reason"], "insufficient_system_resource");
    assert_eq!(last["usage"], Value::Null, "what nobody counted is not told");
    // Half an answer is no answer to someone who has seen nothing yet.
    proxied(Said::stream(recorded!("cut.sse")), json!({ "stream": false })).await.refused(502);
}

#[tokio::test]
async fn log_probabilities_are_those_of_the_other_engine() {
    let entry = json!({ "token": "Y", "logprob": -0.5, "bytes": [89], "top_logprobs": [
        { "token": "N", "logprob": -1.0, "bytes": [78] },
    ] });
    let choice = json!({ "message": { "content": "Y" }, "finish_reason": "stop", "logprobs": { "content": [entry] } });
    let said = Said::new(200, "application/json", json!({ "choices": [choice] }).to_string());
    let answer = proxied(said, json!({ "stream": false, "logprobs": true, "top_logprobs": 1 })).await.ok();
    assert_eq!(answer["choices"][0]["logprobs"], json!({ "content": [entry] }));
}

#[tokio::test]
async fn every_dialect_is_led_elsewhere() {
    let there = Replay::start(|asked, _| match asked.line.as_str() {
        "POST /completions" => {
            let choice = json!({ "index": 0, "text": " upon a time", "finish_reason": "length" });
            let usage = json!({ "prompt_tokens": 1, "completion_tokens": 3 });
            Said::new(200, "application/json", json!({ "choices": [choice], "usage": usage }).to_string())
        }
        _ => Said::stream(recorded!("deepseek-tools.sse")),
    });
    let app = routed(&there, &["far*={}#m"]).await;
    let user = json!([{ "role": "user", "content": "Weather?" }]);
    let parameters = json!({ "type": "object", "properties": { "city": { "type": "string", "default": null } } });
    let tool = json!({ "name": "weather", "input_schema": parameters });
    let body = json!({ "model": "far-away", "max_tokens": 9, "messages": user, "tools": [tool] });
    let message = post(&app, "/v1/messages", &body).await.ok();
    assert_eq!((&message["stop_reason"], &message["model"]), (&json!("tool_use"), &json!("far-away")));
    let call = message["content"].as_array().unwrap().iter().find(|block| block["type"] == "tool_use").unwrap();
    assert_eq!((&call["name"], &call["input"]), (&json!("weather"), &json!({ "city": "Oslo" })));
    let sent = there.chats()[0].json();
    assert_eq!((&sent["model"], &sent["max_tokens"]), (&json!("m"), &json!(9)));
    assert_eq!((&sent["tools"][0]["function"]["parameters"], &sent["messages"]), (&parameters, &user));
    assert_eq!(sent["tools"][0]["type"], "function");

    let function = json!({ "type": "function", "function": { "name": "weather", "parameters": parameters } });
    let body = json!({ "model": "far-away", "messages": user, "tools": [function], "stream": false });
    let message = post(&app, "/api/chat", &body).await.ok();
    assert_eq!(message["message"]["tool_calls"][0]["function"]["arguments"]["city"], "Oslo", "{message}");

    let body = json!({ "model": "far-away", "prompt": "Once", "max_tokens": 3 });
    let text = post(&app, "/v1/completions", &body).await.ok();
    assert_eq!((&text["choices"][0]["text"], &text["object"]), (&json!(" upon a time"), &json!("text_completion")));
    assert_eq!((&text["usage"]["total_tokens"], &text["choices"][0]["finish_reason"]), (&json!(4), &json!("length")));
}

#[tokio::test]
async fn an_answer_that_is_not_made_is_not_said_to_be_whole() {
    let body = json!({ "stream": false, "n": 2 });
    let choice = json!({ "index": 0, "message": { "content": "Y" }, "finish_reason": "stop" });
    let said = Said::new(200, "application/json", json!({ "choices": [choice] }).to_string());
    let answer = proxied(said, body).await.ok();
    let reasons: Vec<&Value> = answer["choices"].as_array().unwrap().iter().map(|it| &it["finish_reason"]).collect();
    assert_eq!(reasons, ["stop", "insufficient_system_resource"]);
}

#[tokio::test]
async fn answers_of_other_engines_take_places_of_their_own() {
    let there = Replay::chat(Said::stream(recorded!("cut.sse")).held());
    let app = routed(&there, &["far={}"]).await;
    let held = || begun_chat(&app, json!({ "model": "far" }), 0);
    let two = [held().await, held().await];
    assert!(chat(&app, json!({ "model": "far", "stream": true })).await.refused(503).contains("the queue is full"));
    let here = chat(&app, json!({ "stream": true, "max_tokens": 1 })).await;
    assert_eq!(here.status, StatusCode::OK, "the engine here is free");
    drop(two);
    drop(held().await);
}

/// One figure of the metrics with these labels; 0 where there is none.
async fn figure(app: &Router, name: &str, labels: &[&str]) -> f64 {
    let text = get(app, "/metrics").await.text;
    let found = text.lines().filter(|line| line.split('{').next() == Some(name));
    let mut found = found.filter(|line| labels.iter().all(|label| line.contains(label)));
    found.next().and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0.0)
}

#[tokio::test]
async fn a_route_may_rename_and_take_a_share_that_keeps_to_conversations() {
    let there = Replay::chat(Said::stream(recorded!("vllm.sse")));
    let app = routed(&there, &["renamed={}#other", "deepseek-chat={}#other@50%"]).await;
    let renamed = chat(&app, json!({ "model": "renamed" })).await.ok();
    assert_eq!((&renamed["model"], &there.chats()[0].json()["model"]), (&json!("renamed"), &json!("other")));

    let turn = |story: u32, more: bool| {
        let mut messages = vec![json!({ "role": "user", "content": format!("Story {story}") })];
        if more {
            messages.push(json!({ "role": "assistant", "content": "Once." }));
            messages.push(json!({ "role": "user", "content": "More" }));
        }
        json!({ "messages": messages, "max_tokens": 1 })
    };
    let is_far = |answer: &Answer| answer.headers.contains_key("x-upstream-model");
    let mut far = 0;
    for story in 0..24 {
        let first = is_far(&chat(&app, turn(story, false)).await);
        far += u32::from(first);
        assert_eq!(is_far(&chat(&app, turn(story, true)).await), first, "a conversation stays where it began");
    }
    assert!((4..=20).contains(&far), "{far} of 24");
    let mut users = std::collections::BTreeSet::new();
    for story in 0..8 {
        users.insert(is_far(&chat(&app, with(turn(story, false), json!({ "user": "somebody" }))).await));
    }
    assert_eq!(users.len(), 1, "a user stays, whatever the conversation");
    let host = there.url().replace("http://", "");
    let labels = ["route=\"deepseek-chat\"", &format!("upstream=\"{host}\"")];
    let requests = figure(&app, "lyn_route_requests_total", &labels).await;
    assert!(requests >= f64::from(2 * far), "{requests}");
    let counted = figure(&app, "lyn_route_completion_tokens_total", &labels).await;
    assert!((counted - 9.0 * requests).abs() < 0.5);
    assert!((figure(&app, "lyn_route_cached_tokens_total", &labels).await - 16.0 * requests).abs() < 0.5);
    assert!((figure(&app, "lyn_route_first_token_seconds_count", &labels).await - requests).abs() < 0.5);
    assert!(figure(&app, "lyn_route_requests_total", &["route=\"local\""]).await > 0.0);
}

#[tokio::test]
async fn a_shadow_is_asked_the_same_and_changes_nothing() {
    let there = Replay::chat(Said::stream(recorded!("vllm.sse")));
    let app = routed(&there, &["shadow:deepseek-reasoner={}#twin"]).await;
    let silent = app_without_routes().await;
    let fields = json!({ "model": "deepseek-reasoner", "max_tokens": 4 });
    let answer = chat(&app, fields.clone()).await;
    assert!(!answer.headers.contains_key("x-upstream-model"));
    assert_eq!(answer.ok()["choices"], chat(&silent, fields).await.ok()["choices"]);
    chat(&app, json!({})).await.ok();
    let host = there.url().replace("http://", "");
    let labels = ["route=\"shadow:deepseek-reasoner\"", &format!("upstream=\"{host}\"")];
    for _ in 0..200 {
        if figure(&app, "lyn_route_completion_tokens_total", &labels).await > 0.0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!((figure(&app, "lyn_route_completion_tokens_total", &labels).await - 9.0).abs() < 0.5);
    let sent = there.chats();
    assert_eq!(sent.len(), 1, "one request is for that model");
    assert_eq!(sent[0].json()["model"], "twin");
}

async fn app_without_routes() -> Router {
    app(&open_server().await)
}

#[tokio::test]
async fn copies_that_are_too_many_or_too_long_are_not_made() {
    let there = Replay::chat(Said::stream(recorded!("cut.sse")).held());
    let app = routed(&there, &["shadow:deepseek-chat={}"]).await;
    let host = there.url().replace("http://", "");
    let labels = ["route=\"shadow:deepseek-chat\"", &format!("upstream=\"{host}\"")];
    for _ in 0..40 {
        chat(&app, json!({ "max_tokens": 1 })).await.ok();
    }
    assert!((figure(&app, "lyn_route_requests_total", &labels).await - 40.0).abs() < 0.5);
    assert!((figure(&app, "lyn_route_errors_total", &labels).await - 8.0).abs() < 0.5);
}

#[tokio::test]
async fn errors_of_a_route_are_counted_and_a_name_that_nobody_has_is_refused_here() {
    let there = Replay::chat(Said::new(400, "text/plain", "no"));
    let app = routed(&there, &["far={}@0%", "broken={}"]).await;
    chat(&app, json!({ "model": "broken" })).await.refused(400);
    let host = there.url().replace("http://", "");
    let labels = ["route=\"broken\"", &format!("upstream=\"{host}\"")];
    assert!((figure(&app, "lyn_route_errors_total", &labels).await - 1.0).abs() < 0.5);
    let body = json!({ "model": "far", "input": "x" });
    assert!(post(&app, "/v1/responses", &body).await.refused(400).contains("Model Not Exist"));
}

#[tokio::test]
async fn responses_are_led_elsewhere_too() {
    let there = Replay::chat(Said::stream(recorded!("deepseek-tools.sse")));
    let app = routed(&there, &["far={}#m"]).await;
    let tool = json!({ "type": "function", "name": "weather", "parameters": { "type": "object" } });
    let body = json!({ "model": "far", "input": "Weather?", "tools": [tool], "instructions": "Be brief." });
    let answer = post(&app, "/v1/responses", &body).await.ok();
    let call = answer["output"].as_array().unwrap().iter().find(|item| item["type"] == "function_call").unwrap();
    assert_eq!((&call["call_id"], &call["arguments"]), (&json!("call_00_abc"), &json!("{\"city\": \"Oslo\"}")));
    assert_eq!((&answer["status"], &answer["model"]), (&json!("completed"), &json!("far")));
    let sent = there.chats()[0].json();
    assert_eq!(sent["messages"][0], json!({ "role": "system", "content": "Be brief." }));
}

#[tokio::test]
async fn every_prompt_of_a_text_is_an_answer_and_ids_are_one_prompt() {
    let choice = json!({ "index": 0, "text": "x", "finish_reason": "stop" });
    let said = json!({ "choices": [choice], "usage": { "prompt_tokens": 1, "completion_tokens": 1 } }).to_string();
    let there = Replay::chat(Said::new(200, "application/json", said));
    let app = routed(&there, &["far={}"]).await;
    for (prompt, n, choices) in [
        (json!("a"), Value::Null, 1),
        (json!("a"), json!(0), 1),
        (json!("a"), json!(2), 2),
        (json!(["a", "b"]), Value::Null, 2),
        (json!(["a", 1]), json!(1), 2),
        (json!([1, "a", 3]), json!(1), 1),
        (json!([1, 2, 3]), json!(2), 2),
        (json!([[1, 2], [3]]), Value::Null, 2),
        (Value::Null, json!("2"), 1),
    ] {
        let body = json!({ "model": "far", "prompt": prompt, "n": n });
        let answer = post(&app, "/v1/completions", &body).await.ok();
        let told: Vec<&Value> = answer["choices"].as_array().unwrap().iter().map(|it| &it["finish_reason"]).collect();
        let expected = ["stop", "insufficient_system_resource"];
        assert_eq!(told, expected[..choices], "{body}: only one was made");
        assert_eq!(there.chats().last().unwrap().json(), body, "it goes on as it came");
    }
    // As many as there are places, and no more.
    let sent = there.chats().len();
    for (prompt, n, answers) in [(json!(["a", "b"]), 2, 4), (json!("a"), 3, 3), (json!([[1], [2], [3]]), 1, 3)] {
        let body = json!({ "model": "far", "prompt": prompt, "n": n });
        let says = format!("{answers} answers requested; this server allows at most 2");
        assert_eq!(post(&app, "/v1/completions", &body).await.refused(400), says);
    }
    assert_eq!(there.chats().len(), sent);
}

#[tokio::test]
async fn log_probabilities_of_a_text_are_told_where_they_were_asked_for() {
    let logprobs = json!({ "tokens": ["x"], "token_logprobs": [-0.5], "top_logprobs": [{ "x": -0.5, "y": -1.5 }] });
    let choice = json!({ "index": 0, "text": "x", "finish_reason": "stop", "logprobs": logprobs });
    let there = Replay::chat(Said::new(200, "application/json", json!({ "choices": [choice] }).to_string()));
    let app = routed(&there, &["far={}"]).await;
    for (asked, told) in [
        (json!(2), true),
        (json!(0), true),
        (json!(true), true),
        (json!(false), false),
        (Value::Null, false),
        (json!("2"), false),
    ] {
        let body = json!({ "model": "far", "prompt": "a", "logprobs": asked });
        let answer = post(&app, "/v1/completions", &body).await.ok();
        let found = &answer["choices"][0]["logprobs"];
        assert_eq!(found.is_object(), told, "{asked}: {answer}");
        if told {
            let rows = (&found["tokens"], &found["token_logprobs"], &found["top_logprobs"][0]);
            assert_eq!(rows, (&json!(["x"]), &json!([-0.5]), &json!({ "x": -0.5, "y": -1.5 })));
        }
    }
}

#[tokio::test]
async fn counts_come_apart_only_in_a_stream_that_asks_for_it() {
    let choice = json!({ "index": 0, "text": "x", "finish_reason": "stop" });
    let usage = json!({ "prompt_tokens": 3, "completion_tokens": 1 });
    let said = json!({ "choices": [choice], "usage": usage }).to_string();
    let there = Replay::chat(Said::new(200, "application/json", said));
    let app = routed(&there, &["far={}"]).await;
    for (options, apart) in [
        (json!({ "include_usage": true }), true),
        (json!({ "include_usage": false }), false),
        (json!({ "include_usage": "true" }), false),
        (json!({}), false),
        (Value::Null, false),
    ] {
        let body = json!({ "model": "far", "prompt": "a", "stream": true, "stream_options": options });
        let (chunks, done) = post(&app, "/v1/completions", &body).await.events();
        let last = &chunks[chunks.len() - 1];
        let counted = chunks.iter().filter(|chunk| chunk["usage"]["total_tokens"] == 4).count();
        assert!(done && counted == 1 && last["usage"]["total_tokens"] == 4, "{options}: {chunks:?}");
        assert_eq!(last["choices"].as_array().unwrap().is_empty(), apart, "{options}");
    }
}

/// Waits until a figure of a route is there.
async fn until(app: &Router, name: &str, labels: &[&str], count: f64) {
    for _ in 0..500 {
        if figure(app, name, labels).await >= count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{name} is {}, not {count}", figure(app, name, labels).await);
}

#[tokio::test]
async fn a_copy_that_fails_or_is_too_long_is_an_error_of_its_route() {
    let there = Replay::start(|asked, _| match asked.json()["prompt"].as_str() {
        Some("refused") => Said::new(400, "text/plain", "no"),
        Some("broken") => Said::stream("data: {\"choices\":[{\"index\":0,\"text\":\"a\"}]}\n\ndata: oops\n\n"),
        _ => Said::stream("data: {\"choices\":[{\"index\":0,\"text\":\"a\",\"finish_reason\":\"stop\"}]}\n\n"),
    });
    let app = routed(&there, &["shadow:*={}"]).await;
    let host = there.url().replace("http://", "");
    let labels = ["route=\"shadow:*\"", &format!("upstream=\"{host}\"")];
    let ask = async |prompt: &str| {
        let body = json!({ "model": "deepseek-chat", "prompt": prompt, "max_tokens": 1 });
        post(&app, "/v1/completions", &body).await.status
    };
    for (prompt, errors) in [("refused", 1.0), ("broken", 2.0)] {
        assert_eq!(ask(prompt).await, StatusCode::OK, "the answer here does not depend on it");
        until(&app, "lyn_route_errors_total", &labels, errors).await;
    }
    // The texts of the model and of the prompt, and a number.
    let most = (1 << 20) - "deepseek-chat".len() - 8;
    for (bytes, errors) in [(most, 2.0), (most + 1, 3.0)] {
        assert_eq!(ask(&"x".repeat(bytes)).await, StatusCode::BAD_REQUEST, "it is too long for the engine here");
        assert!((figure(&app, "lyn_route_errors_total", &labels).await - errors).abs() < 0.5, "{bytes} bytes");
    }
    assert!((figure(&app, "lyn_route_requests_total", &labels).await - 4.0).abs() < 0.5);
    for _ in 0..500 {
        if there.chats().len() == 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(there.chats().len(), 3, "one was too long to be copied");
}
