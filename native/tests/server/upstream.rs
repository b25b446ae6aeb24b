//! `lyn serve` in front of other engines: routes, the fallback, and their answers in lyn's own shape.

use serde_json::{Value, json};

use super::replay::{Replay, Said};
use super::{Server, chat, post, status_and_body};

const STREAM: &str = include_str!("../data/upstream/vllm.sse");

fn chunks(body: &str) -> Vec<Value> {
    let events = body.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    events.map(|json| serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"))).collect()
}

#[test]
fn a_route_leads_to_another_engine_and_the_rest_stays_here() {
    let there = Replay::chat(Said::stream(STREAM));
    let rule = format!("far*={}", there.url());
    let whole = format!("listed={}", there.url());
    let server = Server::ready(&["--route", &rule, "--route", &whole], &[]);
    let (status, body) =
        server.post("", &chat(json!({ "model": "far-away", "stream": true, "thinking": { "type": "enabled" } })));
    assert_eq!(status, 200, "{body}");
    let chunks = chunks(&body);
    let said = |name: &str| -> String {
        chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"][name].as_str()).collect()
    };
    assert_eq!((said("reasoning_content").as_str(), said("content").as_str()), ("Hm, two.", "It is 2 €."));
    assert!(chunks.iter().all(|chunk| chunk["model"] == "far-away"), "{body}");
    assert_eq!(there.chats()[0].json()["model"], "far-away");
    let (status, body) = server.post("", &chat(json!({ "max_tokens": 2 })));
    assert_eq!((status, there.chats().len()), (200, 1), "{body}");
    let (_, list) = server.get("/v1/models");
    assert!(list.contains("\"listed\"") && !list.contains("far"), "{list}");
}

#[test]
fn an_upstream_is_asked_for_everything_and_its_refusals_are_ours() {
    let said = Said::new(401, "application/json", "{\"error\":{\"message\":\"bad key secret-key\"}}");
    let there = Replay::chat(said.with_header("set-cookie", "theirs"));
    let server = Server::ready(&["--upstream", &there.url()], &[("LYN_UPSTREAM_KEY", "secret-key")]);
    let answer = server.raw(post("", &chat(json!({}))).as_bytes());
    assert!(!answer.contains("theirs"), "headers of the other side stay there: {answer}");
    let (status, body) = status_and_body(&answer);
    let error: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &error["error"]["code"]), (502, &json!("upstream_error")));
    assert!(error["error"]["message"].as_str().unwrap().ends_with("bad key ****"), "{body}");
    assert!(there.chats()[0].headers.contains(&"authorization: Bearer secret-key".to_owned()));
    assert!(!server.log.lock().unwrap().contains("secret-key"));
}

#[test]
fn a_client_that_leaves_ends_the_work_there() {
    let there = Replay::chat(Said::stream(include_str!("../data/upstream/cut.sse")).held());
    let server = Server::ready(&["--upstream", &there.url()], &[]);
    let mut stream = server.connect();
    std::io::Write::write_all(&mut stream, post("", &chat(json!({ "stream": true }))).as_bytes()).unwrap();
    // Until the first text has come.
    let mut seen = String::new();
    while !seen.contains("It is ") {
        let mut piece = [0; 512];
        let read = std::io::Read::read(&mut stream, &mut piece).unwrap();
        assert!(read > 0, "{seen}");
        seen += &String::from_utf8_lossy(&piece[..read]);
    }
    drop(stream);
    there.wait_until_left();
}
