//! Recorded streams and refusals over a real socket. Oracle: what the recordings say, whoever sends them and however.

use std::sync::Arc;
use std::time::Duration;

use lyn::Error;
use lyn::error::Code;
use lyn::generate::{Event, Finish, Voice};
use lyn::wire::openai::Usage;
use serde_json::{Map, Value, json};

use super::client::{Patience, Upstream};
use super::{Address, ApiKeys, Kind, Profile};
use replay::{Replay, Said, models};

mod doors;
mod profiles;
#[path = "../../tests/cli/replay.rs"]
pub(crate) mod replay;
mod scores;
mod wire;

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
    let keys = ApiKeys::of_text(key.unwrap_or_default());
    Arc::new(Upstream::new(Address::parse(url).unwrap(), &keys, profile, patience()).unwrap())
}

/// What comes of a future. One that hangs fails its test.
fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let limited = async { tokio::time::timeout(Duration::from_secs(60), future).await };
    runtime.block_on(limited).expect("an engine answers within 60 s")
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
    finish: Option<Finish>,
    usage: Value,
    failed: Option<String>,
}

async fn ask(upstream: &Upstream, fields: Value) -> Result<Whole, Error> {
    let mut reply = upstream.ask(Kind::Chat, body(fields)).await?;
    let mut whole = Whole::default();
    loop {
        match reply.next().await {
            Ok(None) => return Ok(whole),
            Ok(Some((_, event))) => match event {
                Event::Text { voice: Voice::Reasoning, text } => whole.thought += &text,
                Event::Text { text, .. } => whole.answer += &text,
                Event::Call { id, name, .. } => whole.calls.push((id.unwrap(), name, String::new())),
                Event::Arguments { index, text } => whole.calls[index as usize].2 += &text,
                Event::End { finish, timings, .. } => {
                    assert_eq!(whole.finish.replace(finish), None, "an answer ends once");
                    whole.usage = Usage::from(&timings).to_json();
                }
                _ => {}
            },
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

fn counted(cached: Option<u32>, reasoning: Option<u32>) -> Value {
    let mut usage = json!({ "prompt_tokens": 18, "completion_tokens": 9, "total_tokens": 27 });
    if let Some(cached) = cached {
        usage["prompt_tokens_details"] = json!({ "cached_tokens": cached });
        usage["prompt_cache_hit_tokens"] = json!(cached);
        usage["prompt_cache_miss_tokens"] = json!(18 - cached);
    }
    if let Some(reasoning) = reasoning {
        usage["completion_tokens_details"] = json!({ "reasoning_tokens": reasoning });
    }
    usage
}

fn two(usage: Value) -> Whole {
    Whole {
        thought: "Hm, two.".to_owned(),
        answer: "It is 2 €.".to_owned(),
        finish: Some(Finish::Stop),
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
            assert_eq!(answer_of(said, thinking.clone()), two(usage.clone()), "{name}, {way}");
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
    assert_eq!((whole.calls, whole.finish), (vec![call("call_00_abc")], Some(Finish::ToolCalls)));
    let whole = answer_of(Said::stream(recorded!("sglang.sse")), json!({}));
    assert_eq!((whole.thought.as_str(), whole.answer.as_str()), ("Hm, two.", "It is 2 €."));
    assert_eq!((whole.calls, whole.usage), (vec![call("call_x")], Value::Null));
}

#[test]
fn what_was_said_before_a_break_is_kept() {
    // With a thought asked for, the text has waited for the mark that would close it.
    for fields in [json!({}), json!({ "thinking": { "type": "enabled" } })] {
        let whole = answer_of(Said::stream(recorded!("cut.sse")), fields);
        assert_eq!((whole.answer.as_str(), whole.finish), ("It is ", None));
    }
    let whole = answer_of(Said::stream(recorded!("cut.sse")), json!({}));
    assert!(whole.failed.unwrap().contains("broke off in the middle"));
    let error =
        format!("{}data: {{\"error\":{{\"message\":\"out of\\nmemory\",\"code\":500}}}}\n\n", recorded!("cut.sse"));
    let whole = answer_of(Said::stream(error), json!({}));
    assert!(whole.failed.unwrap().ends_with("broke off: out of memory"));
    let whole = answer_of(Said::stream(format!("{}data: oops\n\n", recorded!("cut.sse"))), json!({}));
    assert!(whole.failed.unwrap().ends_with("sent oops instead of a chunk"));
}

#[test]
fn nothing_at_all_is_tried_again_and_then_named() {
    for (said, says) in [
        (Said::stream(""), "sent nothing"),
        (Said::stream(": keep-alive\n\n"), "sent no answer"),
        (Said::new(200, "application/json", "{\"choices\":[]}"), "sent no answer"),
        (Said::new(200, "application/json", "{\"choices\":"), "not JSON"),
    ] {
        let server = Replay::chat(said);
        let error = run(ask(&upstream(&server.url(), Some(Profile::Vllm), None), json!({}))).unwrap_err();
        assert!(error.message().contains(says), "{error}");
        assert_eq!(server.chats().len(), 3, "{error}");
    }
    let page = Replay::chat(Said::new(200, "text/html", "<!doctype html><title>Welcome</title>"));
    let error = run(ask(&upstream(&page.url(), Some(Profile::Vllm), None), json!({}))).unwrap_err();
    assert!(error.message().contains("a web page") && page.chats().len() == 1, "{error}");
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

/// Nothing, and a head without a body: a wait for either ends.
#[test]
fn an_engine_that_says_nothing_is_left() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap();
    // A try that was given up may be followed by another one.
    std::thread::spawn(move || {
        let mut open = vec![];
        let heads = ["", "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n"];
        for head in heads.into_iter().cycle() {
            let Ok((mut stream, _)) = listener.accept() else { break };
            // The other side may have left.
            let _ = std::io::Write::write_all(&mut stream, head.as_bytes());
            open.push(stream);
        }
    });
    assert_eq!(Patience::scoring().idle, Duration::from_secs(300), "as docs/performance.md says");
    let patience = Patience { idle: Duration::from_millis(100), ..patience() };
    let url = format!("http://{place}/v1");
    let engine = || {
        let address = Address::parse(&url).unwrap();
        Upstream::new(address, &ApiKeys::of_text(""), Some(Profile::Openai), patience).unwrap()
    };
    for _ in 0..2 {
        let engine = engine();
        let error = run(engine.post(engine.address(), "/completions", &json!({}), 1000)).unwrap_err();
        assert!(error.message().contains(&place.to_string()) && error.message().contains("sent nothing"), "{error}");
        assert!(error.help()[0].contains("check that an engine answers"), "{error}");
    }
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
        let mut reply =
            upstream(&server.url(), Some(Profile::Vllm), None).ask(Kind::Chat, body(json!({}))).await.unwrap();
        assert!(matches!(reply.next().await, Ok(Some((_, Event::Text { .. })))));
        drop(reply);
        tokio::task::spawn_blocking(move || server.wait_until_left()).await.unwrap();
    });
}
