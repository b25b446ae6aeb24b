//! Requests as they leave, and answers as they come, over a real socket. Oracle: the requests that the other side saw.

use std::sync::mpsc::{Receiver, channel};

use super::*;
use crate::upstream::Reply;

const FOUND: &str = "POST /chat/completions";
const BELOW: &str = "POST /v1/chat/completions";

fn lines(server: &Replay) -> Vec<String> {
    server.asked().into_iter().map(|asked| asked.line).collect()
}

fn impatient(url: &str, profile: Option<Profile>, patience: Patience) -> Upstream {
    Upstream::new(Address::parse(url).unwrap(), &ApiKeys::default(), profile, patience).unwrap()
}

/// An answer of one word.
fn word(text: &str) -> String {
    let choice = json!({ "index": 0, "delta": { "content": text }, "finish_reason": "stop" });
    format!("data: {}\n\n", json!({ "choices": [choice] }))
}

/// A server whose first answers wait until the test ends.
fn waiting(from: usize, said: Said) -> (Replay, std::sync::mpsc::Sender<()>) {
    let (end, ends): (_, Receiver<()>) = channel();
    let ends = std::sync::Mutex::new(ends);
    let server = Replay::start(move |_, before| {
        if before >= from {
            let _ = ends.lock().unwrap().recv();
        }
        said.clone()
    });
    (server, end)
}

#[test]
fn a_request_carries_what_it_needs_and_no_more() {
    let server = Replay::chat(Said::stream(word("x")));
    run(ask(&upstream(&server.url(), None, Some("k")), json!({}))).unwrap();
    for (place, asked) in server.asked().iter().enumerate() {
        let has = |line: &str| asked.headers.iter().any(|header| header == line);
        assert!(has(&format!("user-agent: lyn/{}", env!("CARGO_PKG_VERSION"))), "{asked:?}");
        assert!(has("accept: text/event-stream, application/json") && has("authorization: Bearer k"), "{asked:?}");
        assert_eq!(has("content-type: application/json"), place == 1, "{asked:?}");
    }
    assert_eq!(lines(&server), ["GET /models", FOUND]);
}

#[test]
fn v1_is_tried_where_the_address_names_only_a_host() {
    let missing = || Said::new(404, "text/plain", "nothing here");
    // It is at neither place: each request looks at both, and nothing is remembered.
    let server = Replay::start(move |_, _| missing());
    let engine = upstream(&server.url(), Some(Profile::Vllm), None);
    for _ in 0..2 {
        let error = run(ask(&engine, json!({}))).unwrap_err();
        assert!(error.message().ends_with("answered 404: nothing here"), "{error}");
    }
    assert_eq!(lines(&server), [FOUND, BELOW, FOUND, BELOW]);
    // An address with a path means what it says.
    let server = Replay::start(move |_, _| missing());
    run(ask(&upstream(&format!("{}/api", server.url()), Some(Profile::Vllm), None), json!({}))).unwrap_err();
    assert_eq!(lines(&server), ["POST /api/chat/completions"]);
    // Once found there, it is asked there first, also where it then has nothing.
    let server = Replay::start(move |asked, before| match (asked.line.as_str(), before) {
        (BELOW, 0..4) => Said::stream(word("x")),
        _ => missing(),
    });
    let engine = upstream(&server.url(), Some(Profile::Vllm), None);
    run(async {
        for _ in 0..3 {
            ask(&engine, json!({})).await.unwrap();
        }
        ask(&engine, json!({})).await.unwrap_err();
    });
    assert_eq!(lines(&server), [FOUND, BELOW, BELOW, BELOW, BELOW]);
    // Any other refusal is not about the place.
    let server = Replay::start(move |_, _| Said::new(405, "text/plain", "no"));
    run(ask(&upstream(&server.url(), Some(Profile::Vllm), None), json!({}))).unwrap_err();
    assert_eq!(lines(&server), [FOUND]);
}

#[test]
fn beta_routes_of_deepseek_have_their_own_path() {
    let server = Replay::chat(Said::stream(word("x")));
    let engine = upstream(&format!("{}/v1", server.url()), Some(Profile::Deepseek), None);
    run(async {
        ask(&engine, json!({ "messages": [{ "role": "assistant", "content": "{", "prefix": true }] })).await.unwrap();
        ask(&engine, json!({})).await.unwrap();
        drop(engine.ask(Kind::Text, body(json!({ "prompt": "x" }))).await);
    });
    assert_eq!(lines(&server), ["POST /beta/chat/completions", BELOW, "POST /beta/completions"]);
}

#[test]
fn an_engine_that_lists_nothing_is_taken_as_openai_s() {
    let refuses = Replay::start(|_, _| Said::new(403, "text/plain", "no"));
    let engine = upstream(&refuses.url(), None, None);
    let asked_twice = async { (engine.profile().await, engine.profile().await) };
    assert_eq!(run(asked_twice), (Profile::Openai, Profile::Openai));
    assert_eq!(refuses.asked().len(), 1, "it has said what it will say");
    // One that was not there may be there the next time.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let engine = upstream(&format!("http://{address}"), None, None);
    assert_eq!(run(engine.profile()), Profile::Openai);
    let listener = std::net::TcpListener::bind(address).unwrap();
    let seen = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let list = json!({ "data": [{ "id": "m", "owned_by": "vllm" }] }).to_string();
        std::io::Read::read(&mut stream, &mut [0; 1024]).unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", list.len());
        std::io::Write::write_all(&mut stream, (head + &list).as_bytes()).unwrap();
    });
    assert_eq!(run(engine.profile()), Profile::Vllm);
    seen.join().unwrap();
}

#[test]
fn a_list_of_models_may_fail_in_its_own_ways() {
    let text = Replay::start(|_, _| Said::new(200, "text/plain", "hello"));
    let error = run(upstream(&text.url(), None, None).models()).unwrap_err();
    assert!(
        error.message().contains("sent a model list that is not JSON: expected value at line 1 column 1"),
        "{error}"
    );
    let (slow, _end) = waiting(0, Said::new(200, "application/json", "{}"));
    let patience = Patience { probe: Duration::from_millis(50), ..patience() };
    let error = run(impatient(&slow.url(), None, patience).models()).unwrap_err();
    assert!(error.message().ends_with("did not list its models in time"), "{error}");
}

#[test]
fn the_model_is_the_wanted_one_then_the_address_s_then_the_only_one() {
    let listing = |ids: &[&str]| {
        let models: Vec<Value> = ids.iter().map(|id| json!({ "id": id })).collect();
        Replay::start(move |_, _| Said::new(200, "application/json", json!({ "data": models }).to_string()))
    };
    let choose = |url: &str, wanted| run(upstream(url, None, None).choose_model(wanted));
    let one = listing(&["only"]);
    let named = format!("{}#named", one.url());
    assert_eq!(choose(&named, Some("wanted")).unwrap(), "wanted");
    assert_eq!(choose(&named, None).unwrap(), "named");
    assert_eq!((one.asked().len(), choose(&one.url(), None).unwrap()), (0, "only".to_owned()));
    for nothing in [json!({ "data": [] }), json!({}), json!({ "data": [{ "name": "x" }] })] {
        let none = Replay::start(move |_, _| Said::new(200, "application/json", nothing.to_string()));
        let error = choose(&none.url(), None).unwrap_err();
        assert!(error.message().ends_with("lists no models"), "{error}");
        assert!(error.help().contains(&"name one with --model".to_owned()), "{error:?}");
    }
    let ids = ["1", "2", "3", "4", "5", "6", "7", "8", "9"];
    for count in [2, 8, 9] {
        let many = listing(&ids[..count]);
        let quoted: Vec<String> = ids[..count.min(8)].iter().map(|id| format!("\"{id}\"")).collect();
        let error = choose(&many.url(), None).unwrap_err();
        let more = if count > 8 { ", …" } else { "" };
        assert!(error.message().ends_with(&format!("has several models: {}{more}", quoted.join(", "))), "{error}");
    }
    // Names of one model are no choice; two models with a root each are one, and so is a root that nobody lists.
    for (roots, chosen) in [
        ([("x", Some("x")), ("y", Some("x"))], Some("x")),
        ([("x", Some("x")), ("y", Some("y"))], None),
        ([("y", Some("x")), ("z", Some("x"))], None),
        ([("x", Some("x")), ("y", None)], None),
    ] {
        let models: Vec<Value> = roots.iter().map(|(id, root)| json!({ "id": id, "root": root })).collect();
        let server =
            Replay::start(move |_, _| Said::new(200, "application/json", json!({ "data": models }).to_string()));
        assert_eq!(choose(&server.url(), None).ok().as_deref(), chosen, "{roots:?}");
    }
}

#[test]
fn a_refusal_s_headers_say_when_to_come_back() {
    for (headers, wait, tries) in [
        (vec![("retry-after-ms", "1"), ("retry-after", "3600")], Some(1), 3),
        (vec![("retry-after", "61")], Some(61_000), 1),
        (vec![("x-should-retry", "true")], None, 3),
        (vec![("x-should-retry", "false"), ("retry-after", "0")], Some(0), 1),
    ] {
        let mut said = Said::new(503, "text/plain", "no");
        for (name, value) in &headers {
            said = said.with_header(name, value);
        }
        let server = Replay::chat(said);
        let error = run(ask(&upstream(&server.url(), Some(Profile::Vllm), None), json!({}))).unwrap_err();
        assert_eq!(error.details().get("retry_after_ms"), wait.map(|wait| json!(wait)).as_ref(), "{headers:?}");
        assert_eq!(server.chats().len(), tries, "{headers:?}");
    }
    // What says that it should be tried again but cannot pass is not.
    let server = Replay::chat(Said::new(400, "text/plain", "no").with_header("x-should-retry", "true"));
    run(ask(&upstream(&server.url(), Some(Profile::Vllm), None), json!({}))).unwrap_err();
    assert_eq!(server.chats().len(), 1);
}

#[test]
fn a_redirect_without_a_place_and_a_refusal_without_an_end_are_refusals() {
    let server = Replay::chat(Said::new(302, "text/plain", "moved"));
    let error = run(ask(&upstream(&server.url(), Some(Profile::Vllm), None), json!({}))).unwrap_err();
    assert!(error.message().ends_with("answered 302: moved"), "{error}");
    let server = Replay::chat(Said::new(200, "text/plain", "x").with_header("location", "http://elsewhere"));
    let error = run(ask(&upstream(&server.url(), Some(Profile::Vllm), None), json!({}))).unwrap_err();
    assert!(!error.message().contains("redirects"), "{error}");
    for (bytes, says) in [(256 << 10, "answered 400: xxx"), ((256 << 10) + 1, "answered 400 without a message")] {
        let server = Replay::chat(Said::new(400, "text/plain", "x".repeat(bytes)));
        let error = run(ask(&upstream(&server.url(), Some(Profile::Vllm), None), json!({}))).unwrap_err();
        assert!(error.message().contains(says), "{bytes}: {error}");
    }
}

#[test]
fn an_engine_that_falls_silent_is_given_up_with_504() {
    let patience = Patience { idle: Duration::from_millis(300), ..patience() };
    // Before its answer, and in the middle of it.
    let (before, _end) = waiting(0, Said::stream(word("x")));
    let half = format!("data: {}\n\n", json!({ "choices": [{ "index": 0, "delta": { "content": "It" } }] }));
    let within = Replay::chat(Said::stream(half).held());
    for (server, begins) in [(before, false), (within, true)] {
        let engine = impatient(&server.url(), Some(Profile::Vllm), patience);
        let error = run(async {
            let mut reply = engine.ask(Kind::Chat, body(json!({}))).await?;
            loop {
                let Some((_, event)) = reply.next().await? else { panic!("an end that nobody said") };
                assert!(begins && matches!(event, Event::Text { .. }), "{event:?}");
            }
            #[expect(unreachable_code, reason = "names the type")]
            Ok::<Reply, Error>(reply)
        });
        let error = error.err().unwrap();
        assert!(error.message().ends_with("sent nothing for 0 s"), "{error}");
        assert_eq!(error.details()["status"], 504, "{error}");
        assert!(server.chats().len() <= 1, "one who is silent for so long is not asked again");
    }
}

#[test]
fn what_follows_the_mark_of_the_end_is_not_read() {
    for behind in [word("more"), "data: oops\n\n".to_owned(), "data: {\"error\":{\"message\":\"late\"}}\n\n".to_owned()]
    {
        // In one piece, so that all of it has come when the mark is read.
        let said = Said::new(200, "text/event-stream", format!("{}data: [DONE]\n\n{behind}", word("It")));
        let whole = answer_of(said, json!({}));
        assert_eq!((whole.answer.as_str(), whole.failed, whole.finish), ("It", None, Some(Finish::Stop)), "{behind}");
    }
    // A mark behind a chunk in one event, and several chunks in one.
    let chunk = |text: &str| json!({ "choices": [{ "index": 0, "delta": { "content": text } }] });
    let end = json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] });
    let whole = answer_of(Said::stream(format!("data: {}{}{end} [DONE]\n\n", chunk("a"), chunk("b"))), json!({}));
    assert_eq!((whole.answer.as_str(), whole.failed), ("ab", None));
}

#[test]
fn space_before_an_answer_says_nothing_of_its_form() {
    let choice = json!({ "message": { "content": "It" }, "finish_reason": "stop" });
    let json = json!({ "choices": [choice] }).to_string();
    for said in [format!("\r\n \n{json}"), format!("\n\n{}", word("It")), format!(": hello\n\n{}", word("It"))] {
        for way in [Said::stream(said.clone()), Said::new(200, "text/plain", said.clone())] {
            let whole = answer_of(way, json!({}));
            assert_eq!((whole.answer.as_str(), whole.failed), ("It", None), "{said:?}");
        }
    }
}

#[test]
fn times_of_an_answer_are_those_of_this_side() {
    let half = |text: &str| json!({ "choices": [{ "index": 0, "delta": { "content": text } }] });
    let end = json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] });
    let server = Replay::start(move |_, _| {
        std::thread::sleep(Duration::from_millis(60));
        Said::new(200, "text/event-stream", format!("data: {}\n\ndata: {}\n\ndata: {end}\n\n", half("a"), half("b")))
    });
    let began = std::time::Instant::now();
    let timings = run(async {
        let engine = upstream(&server.url(), Some(Profile::Vllm), None);
        let mut reply = engine.ask(Kind::Chat, body(json!({}))).await.unwrap();
        assert!(matches!(reply.peek(), Some(Event::Text { .. })));
        let mut timings = None;
        while let Some((_, event)) = reply.next().await.unwrap() {
            if let Event::End { timings: told, .. } = event {
                timings = Some(told);
            }
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        timings.unwrap()
    });
    let most = began.elapsed().as_secs_f64() * 1e3;
    assert!((60.0..most).contains(&timings.first_token_ms), "{timings:?}");
    assert!((40.0..most - 60.0).contains(&timings.decode_ms), "{timings:?}");
}

/// On a clock that jumps to whatever is waited for: nothing else happens here.
#[tokio::test(start_paused = true)]
async fn patience_is_ten_minutes_for_an_answer_and_five_seconds_for_a_list() {
    // The system accepts connections, and nobody reads them.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let engine = impatient(&url, Some(Profile::Vllm), Patience::default());
    let began = tokio::time::Instant::now();
    let error = engine.ask(Kind::Chat, body(json!({}))).await.err().unwrap();
    assert!(error.message().ends_with("sent nothing for 600 s"), "{error}");
    assert_eq!(began.elapsed().as_secs(), 600);
    let began = tokio::time::Instant::now();
    assert!(engine.models().await.unwrap_err().message().ends_with("did not list its models in time"));
    assert_eq!(began.elapsed().as_secs(), 5);
}
