//! Recorded streams and refusals over a real socket. Oracle: what the recordings say, whoever sends them and however.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use lyn::Error;
use lyn::error::Code;
use lyn::generate::Voice;
use serde_json::{Map, Value, json};

use super::client::{Patience, Upstream};
use super::events::Event;
use super::proxy::{KEEP_ALIVE, Proxied, proxy};
use super::{Address, Keys, Profile, Usage};
use replay::{Replay, Said, models};

#[path = "../../tests/cli/replay.rs"]
mod replay;

macro_rules! recorded {
    ($name:literal) => {
        include_str!(concat!("../../tests/data/upstream/", $name))
    };
}

/// As in use, but nobody waits for retries.
fn patience() -> Patience {
    Patience { pause: Duration::ZERO, ..Patience::default() }
}

fn upstream(url: &str, profile: Option<Profile>, key: Option<&str>) -> Arc<Upstream> {
    let keys = Keys::of_text(key.unwrap_or_default());
    Arc::new(Upstream::new(Address::parse(url).unwrap(), &keys, profile, patience()).unwrap())
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn body(fields: Value) -> Map<String, Value> {
    let mut body = json!({ "model": "m", "stream": true, "messages": [{ "role": "user", "content": "1 + 1 €?" }] });
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body.as_object().unwrap().clone()
}

/// An answer, read to its end.
#[derive(Debug, Default, PartialEq)]
struct Whole {
    thought: String,
    answer: String,
    calls: Vec<(String, String, String)>,
    reasons: Vec<String>,
    usage: Option<Usage>,
    failed: Option<String>,
}

async fn ask(upstream: &Upstream, fields: Value) -> Result<Whole, Error> {
    let mut reply = upstream.chat(body(fields)).await?;
    let mut whole = Whole::default();
    loop {
        match reply.next().await {
            Ok(None) => return Ok(whole),
            Ok(Some(Event::Text { voice: Voice::Reasoning, text, .. })) => whole.thought += &text,
            Ok(Some(Event::Text { text, .. })) => whole.answer += &text,
            Ok(Some(Event::Call { id, name, .. })) => whole.calls.push((id, name, String::new())),
            Ok(Some(Event::Arguments { call, text, .. })) => whole.calls[call].2 += &text,
            Ok(Some(Event::Finish { reason, .. })) => whole.reasons.push(reason),
            Ok(Some(Event::Usage(usage))) => assert_eq!(whole.usage.replace(usage), None, "counts come once"),
            Err(error) => {
                whole.failed = Some(error.message().to_owned());
                return Ok(whole);
            }
        }
    }
}

fn answer_of(said: Said, fields: Value) -> Whole {
    let server = Replay::chat(said);
    run(ask(&upstream(&server.url(), Some(Profile::Vllm), None), fields)).unwrap()
}

fn counted(cached: Option<u64>, reasoning: Option<u64>) -> Option<Usage> {
    Some(Usage { prompt: Some(18), completion: Some(9), cached, reasoning })
}

fn two(usage: Option<Usage>) -> Whole {
    Whole {
        thought: "Hm, two.".to_owned(),
        answer: "It is 2 €.".to_owned(),
        reasons: vec!["stop".to_owned()],
        usage,
        ..Whole::default()
    }
}

#[test]
fn every_engine_says_the_same() {
    let thinking = json!({ "thinking": { "type": "enabled" } });
    for (name, recording, usage) in [
        ("deepseek-reasoner", recorded!("deepseek-reasoner.sse"), counted(Some(16), Some(4))),
        ("vllm", recorded!("vllm.sse"), counted(Some(16), None)),
        ("vllm-inline", recorded!("vllm-inline.sse"), counted(None, None)),
        ("openrouter", recorded!("openrouter.sse"), counted(Some(16), Some(4))),
        ("completion", recorded!("completion.json"), counted(Some(16), None)),
    ] {
        let crlf = recording.replace('\n', "\r\n");
        for (way, said) in [
            ("bytes", Said::stream(recording)),
            ("crlf", Said::stream(crlf)),
            ("whole", Said::new(200, "application/json", recording)),
            ("no space", Said::stream(recording.replace("data: ", "data:"))),
            ("no mark", Said::stream(recording.replace("data: [DONE]\n\n", ""))),
        ] {
            assert_eq!(answer_of(said, thinking.clone()), two(usage), "{name}, {way}");
        }
    }
}

#[test]
fn an_end_without_a_mark_and_without_a_thought() {
    let whole = answer_of(Said::stream(recorded!("no-done.sse")), json!({}));
    assert_eq!(whole, Whole { thought: String::new(), ..two(counted(None, None)) });
}

#[test]
fn calls_whole_and_in_pieces() {
    let whole = answer_of(Said::stream(recorded!("deepseek-tools.sse")), json!({}));
    let call = |id: &str| (id.to_owned(), "weather".to_owned(), "{\"city\": \"Oslo\"}".to_owned());
    assert_eq!((whole.calls, whole.reasons), (vec![call("call_00_abc")], vec!["tool_calls".to_owned()]));
    let whole = answer_of(Said::stream(recorded!("sglang.sse")), json!({}));
    assert_eq!((whole.thought.as_str(), whole.answer.as_str()), ("Hm, two.", "It is 2 €."));
    assert_eq!((whole.calls, whole.usage), (vec![call("call_x")], None));
}

#[test]
fn what_was_said_before_a_break_is_kept() {
    // With a thought asked for, the text has waited for the mark that would close it.
    for fields in [json!({}), json!({ "thinking": { "type": "enabled" } })] {
        let whole = answer_of(Said::stream(recorded!("cut.sse")), fields);
        assert_eq!((whole.answer.as_str(), whole.reasons.len()), ("It is ", 0));
    }
    let whole = answer_of(Said::stream(recorded!("cut.sse")), json!({}));
    assert!(whole.failed.unwrap().contains("broke off in the middle"));
    let error =
        format!("{}data: {{\"error\":{{\"message\":\"out of\\nmemory\",\"code\":500}}}}\n\n", recorded!("cut.sse"));
    let whole = answer_of(Said::stream(error), json!({}));
    assert!(whole.failed.unwrap().ends_with("broke off: out of memory"));
    let whole = answer_of(Said::stream(format!("{}data: oops\n\n", recorded!("cut.sse"))), json!({}));
    assert!(whole.failed.unwrap().ends_with("sent oops in place of a chunk"));
}

#[test]
fn nothing_at_all_is_tried_again_and_then_named() {
    for (said, says) in [
        (Said::stream(""), "sent nothing"),
        (Said::stream(": keep-alive\n\n"), "sent no answer"),
        (Said::new(200, "application/json", "{\"choices\":[]}"), "sent no answer"),
        (Said::new(200, "application/json", "{\"choices\":"), "no JSON"),
    ] {
        let server = Replay::chat(said);
        let error = run(ask(&upstream(&server.url(), Some(Profile::Vllm), None), json!({}))).unwrap_err();
        assert!(error.message().contains(says), "{error}");
        assert_eq!(server.chats().len(), 3, "{error}");
    }
    let page = Replay::chat(Said::new(200, "text/html", "<!doctype html><title>Welcome</title>"));
    let error = run(ask(&upstream(&page.url(), Some(Profile::Vllm), None), json!({}))).unwrap_err();
    assert!(error.message().contains("a page") && page.chats().len() == 1, "{error}");
}

#[test]
fn a_passing_refusal_is_tried_again_and_a_lasting_one_is_not() {
    for (status, tries) in
        [(408, 3), (429, 3), (500, 3), (502, 3), (503, 3), (504, 3), (400, 1), (401, 1), (402, 1), (422, 1)]
    {
        let server = Replay::chat(Said::new(status, "text/plain", "no").with_header("retry-after", "0"));
        let error = run(ask(&upstream(&server.url(), Some(Profile::Vllm), None), json!({}))).unwrap_err();
        assert_eq!((server.chats().len(), &error.details()["status"]), (tries, &json!(status)));
    }
    let server = Replay::chat(Said::new(500, "text/plain", "no").with_header("x-should-retry", "false"));
    assert!(run(ask(&upstream(&server.url(), Some(Profile::Vllm), None), json!({}))).is_err());
    assert_eq!(server.chats().len(), 1, "the engine knows better");
    let server = Replay::chat(Said::new(429, "text/plain", "no").with_header("retry-after", "3600"));
    let error = run(ask(&upstream(&server.url(), Some(Profile::Vllm), None), json!({}))).unwrap_err();
    assert_eq!((server.chats().len(), &error.details()["retry_after_ms"]), (1, &json!(3_600_000)));
}

#[test]
fn a_second_try_can_succeed_and_nothing_is_seen_of_the_first() {
    let gave_up = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n\
        data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"insufficient_system_resource\"}]}\n\ndata: [DONE]\n\n";
    let overloaded = "data: {\"error\":{\"message\":\"busy\",\"code\":503}}\n\ndata: [DONE]\n\n";
    for first in
        [Said::stream(gave_up), Said::stream(overloaded), Said::stream(""), Said::new(503, "text/html", "<p>busy")]
    {
        let server = Replay::start(
            move |_, before| if before == 0 { first.clone() } else { Said::stream(recorded!("vllm.sse")) },
        );
        let whole = run(ask(&upstream(&server.url(), Some(Profile::Vllm), None), json!({}))).unwrap();
        assert_eq!((whole, server.chats().len()), (two(counted(Some(16), None)), 2));
    }
}

#[test]
fn an_engine_that_is_not_there() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = run(ask(&upstream(&url, Some(Profile::Vllm), None), json!({}))).unwrap_err();
    assert_eq!(error.code(), Code::Upstream);
    assert!(error.message().contains("cannot be reached"), "{error}");
}

#[test]
fn the_key_travels_and_is_never_shown() {
    let key = "sk-0123456789abcdef";
    let echo = format!("{{\"error\":{{\"message\":\"Incorrect API key: {key}\"}}}}");
    let event = format!("data: {echo}\n\n");
    for said in [Said::new(401, "application/json", echo), Said::stream(event)] {
        let server = Replay::chat(said);
        let error = run(ask(&upstream(&server.url(), Some(Profile::Vllm), Some(key)), json!({}))).unwrap_err();
        assert!(error.message().ends_with("Incorrect API key: ****"), "{error}");
        assert!(!format!("{error:?} {}", error.to_json()).contains(key));
        assert!(server.chats()[0].headers.contains(&format!("authorization: Bearer {key}")));
    }
    let server = Replay::chat(Said::stream(recorded!("vllm.sse")));
    run(ask(&upstream(&server.url(), Some(Profile::Vllm), None), json!({}))).unwrap();
    assert!(!server.chats()[0].headers.iter().any(|header| header.starts_with("authorization")));
}

#[test]
fn a_redirect_is_not_followed() {
    let server = Replay::chat(Said::new(307, "text/plain", "").with_header("location", "http://elsewhere.example/"));
    let error = run(ask(&upstream(&server.url(), Some(Profile::Vllm), Some("key")), json!({}))).unwrap_err();
    assert!(error.message().ends_with("answered 307: redirects to http://elsewhere.example/"), "{error}");
}

#[test]
fn v1_is_found_once_and_remembered() {
    let server = Replay::start(|asked, _| match asked.line.as_str() {
        "GET /v1/models" => models("vllm"),
        "POST /v1/chat/completions" => Said::stream(recorded!("vllm.sse")),
        _ => Said::new(404, "application/json", "{\"detail\":\"Not Found\"}"),
    });
    let engine = upstream(&server.url(), None, None);
    run(async {
        ask(&engine, json!({ "thinking": { "type": "enabled" } })).await.unwrap();
        ask(&engine, json!({})).await.unwrap();
    });
    let asked = server.asked();
    let lines: Vec<&str> = asked.iter().map(|asked| asked.line.as_str()).collect();
    let chat = "POST /v1/chat/completions";
    assert_eq!(lines, ["GET /models", "GET /v1/models", chat, chat]);
    // The list said that it is vLLM.
    assert_eq!(asked[2].json()["chat_template_kwargs"]["thinking"], true);
    assert_eq!(asked[2].json()["stream_options"]["include_usage"], true);
}

#[test]
fn the_model_is_chosen_where_there_is_no_choice() {
    let one = Replay::start(|_, _| models("vllm"));
    let choose = |server: &Replay, wanted| run(upstream(&server.url(), None, None).choose_model(wanted));
    assert_eq!(choose(&one, None).unwrap(), "m");
    assert_eq!(choose(&one, Some("other")).unwrap(), "other");
    let list = json!({ "data": [{ "id": "a" }, { "id": "b\u{1b}" }] }).to_string();
    let two = Replay::start(move |_, _| Said::new(200, "application/json", list.clone()));
    let error = choose(&two, None).unwrap_err();
    assert!(error.message().contains("\"a\", \"b\\u{1b}\"") && error.help()[0].contains("--model"), "{error}");
    let aliases = json!({ "data": [{ "id": "deepseek-chat", "root": "x" }, { "id": "x", "root": "x" }] }).to_string();
    let aliases = Replay::start(move |_, _| Said::new(200, "application/json", aliases.clone()));
    assert_eq!(choose(&aliases, None).unwrap(), "x");
    let none = Replay::start(|_, _| Said::new(404, "text/plain", "no"));
    assert!(choose(&none, None).is_err());
}

#[test]
fn a_reply_that_is_dropped_ends_the_connection() {
    let server = Replay::chat(Said::stream(recorded!("cut.sse")).held());
    run(async {
        let mut reply = upstream(&server.url(), Some(Profile::Vllm), None).chat(body(json!({}))).await.unwrap();
        assert!(matches!(reply.next().await, Ok(Some(Event::Text { .. }))));
        drop(reply);
        tokio::task::spawn_blocking(move || server.wait_until_left()).await.unwrap();
    });
}

async fn text_of(proxied: Proxied) -> (u16, hyper::HeaderMap, String) {
    let pieces: Vec<_> = proxied.body.map(|piece| piece.unwrap_or_default()).collect().await;
    (proxied.status.as_u16(), proxied.headers, String::from_utf8(pieces.concat()).unwrap())
}

fn proxied(said: Said, fields: Value) -> (u16, hyper::HeaderMap, String) {
    let server = Replay::chat(said);
    run(async {
        text_of(proxy(upstream(&server.url(), Some(Profile::Vllm), None), body(fields), KEEP_ALIVE).await).await
    })
}

fn chunks(text: &str) -> Vec<Value> {
    let events: Vec<&str> = text.split_terminator("\n\n").filter(|event| !event.starts_with(':')).collect();
    assert_eq!(events.last(), Some(&"data: [DONE]"), "{text}");
    let json = events[..events.len() - 1].iter().map(|event| event.strip_prefix("data: ").unwrap());
    json.map(|json| serde_json::from_str(json).unwrap()).collect()
}

#[test]
fn a_proxied_stream_is_in_our_shape_whoever_made_it() {
    for recording in [
        recorded!("deepseek-reasoner.sse"),
        recorded!("vllm.sse"),
        recorded!("openrouter.sse"),
        recorded!("completion.json"),
    ] {
        for apart in [false, true] {
            let fields = json!({ "model": "mine", "stream_options": { "include_usage": apart } });
            let (status, headers, text) = proxied(Said::stream(recording), fields);
            assert_eq!((status, &headers["content-type"]), (200, &"text/event-stream; charset=utf-8".parse().unwrap()));
            assert!(headers["x-upstream-model"].to_str().unwrap().contains("deepseek"));
            let chunks = chunks(&text);
            let id = chunks[0]["id"].as_str().unwrap();
            assert!(id.len() == 36 && chunks.iter().all(|chunk| chunk["id"] == id && chunk["model"] == "mine"));
            let first = json!({ "role": "assistant", "content": null, "reasoning_content": "" });
            assert_eq!(chunks[0]["choices"][0]["delta"], first);
            let usages: Vec<usize> = (0..chunks.len()).filter(|&at| chunks[at]["usage"].is_object()).collect();
            assert_eq!(usages, [chunks.len() - 1], "counts come once, last");
            assert_eq!(chunks[chunks.len() - 1]["choices"].as_array().unwrap().is_empty(), apart);
            let said = |name: &str| -> String {
                chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"][name].as_str()).collect()
            };
            assert_eq!((said("reasoning_content").as_str(), said("content").as_str()), ("Hm, two.", "It is 2 €."));
        }
    }
}

#[test]
fn a_proxied_answer_in_one_piece() {
    let fields = json!({ "model": "mine", "stream": false });
    let (status, headers, text) = proxied(Said::new(200, "application/json", recorded!("completion.json")), fields);
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &headers["x-upstream-model"]), (200, &"deepseek-reasoner".parse().unwrap()));
    assert_eq!(answer["model"], "mine");
    assert_eq!(answer["choices"][0]["message"]["reasoning_content"], "Hm, two.");
    assert_eq!(answer["usage"]["prompt_cache_miss_tokens"], 2);
    assert_eq!(answer["system_fingerprint"], "fp_0_prod");
}

#[test]
fn an_id_that_takes_the_place_of_the_client_s_keeps_its_mode() {
    let server = Replay::chat(Said::stream(recorded!("vllm.sse")));
    let (_, _, text) = run(async {
        let there = upstream(&format!("{}#a/b", server.url()), Some(Profile::Vllm), None);
        text_of(proxy(there, body(json!({ "model": "deepseek-reasoner" })), KEEP_ALIVE).await).await
    });
    let sent = server.chats()[0].json();
    assert_eq!((&sent["model"], &sent["chat_template_kwargs"]["thinking"]), (&json!("a/b"), &json!(true)));
    assert_eq!(chunks(&text)[0]["model"], "deepseek-reasoner");
}

#[test]
fn refusals_reach_clients_in_our_envelope() {
    for (there, here, kind) in [
        (400, 400, "invalid_request_error"),
        (401, 502, "server_error"),
        (402, 502, "server_error"),
        (404, 404, "invalid_request_error"),
        (429, 429, "rate_limit_error"),
        (500, 502, "server_error"),
        (503, 503, "server_error"),
    ] {
        let said = Said::new(there, "text/html", "<title>No</title>").with_header("retry-after", "0");
        let (status, headers, text) = proxied(said, json!({}));
        let error: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((status, &error["error"]["type"]), (here, &json!(kind)), "{there}");
        assert!(error["error"]["message"].as_str().unwrap().contains("an HTML page, No"));
        assert_eq!(headers["content-type"], "application/json; charset=utf-8");
        assert_eq!(headers["retry-after"], "0");
    }
}

#[test]
fn a_proxied_stream_that_breaks_keeps_its_text_and_ends() {
    let (_, _, text) = proxied(Said::stream(recorded!("cut.sse")), json!({}));
    let chunks = chunks(&text);
    let last = &chunks[chunks.len() - 1]["choices"][0];
    assert_eq!(last["finish_reason"], "insufficient_system_resource");
    assert!(text.contains("It is "));
}

#[test]
fn a_stream_that_waits_shows_that_it_lives_and_can_still_be_refused() {
    let (seen, wait) = std::sync::mpsc::channel();
    let wait = std::sync::Mutex::new(wait);
    let server = Replay::start(move |_, _| {
        wait.lock().unwrap().recv().unwrap();
        Said::new(400, "text/plain", "too long")
    });
    run(async {
        let soon = Duration::from_millis(1);
        let mut proxied = proxy(upstream(&server.url(), Some(Profile::Vllm), None), body(json!({})), soon).await;
        assert_eq!(proxied.body.next().await.unwrap().unwrap(), ": keep-alive\n\n");
        seen.send(()).unwrap();
        let (status, _, text) = text_of(proxied).await;
        assert_eq!(status, 200);
        assert!(chunks(&text)[0]["error"]["message"].as_str().unwrap().ends_with("answered 400: too long"));
    });
}
