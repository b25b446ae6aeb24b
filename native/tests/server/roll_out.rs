//! The staged roll-out of docs/scale-out.md, its rules taken from the document: two servers of lyn and a third engine behind
//! another server. Oracle: what each engine says that it was asked, against the metrics of the server in front.

use serde_json::{Value, json};

use super::replay::{Replay, Said};
use super::{Server, chat};

const DOCUMENT: &str = include_str!("../../../docs/scale-out.md");
/// So many that a tenth of them and a twentieth of their requests is some: a share is chosen by what a conversation says.
const CONVERSATIONS: usize = 60;

/// The `--route` rules that the document gives for a roll-out, with the addresses of running engines.
fn documented(addresses: [(&str, &str); 3]) -> Vec<String> {
    let section = DOCUMENT.split("## A staged roll-out").nth(1).expect("the document has the section");
    let rules = section.lines().filter_map(|line| Some(line.split_once("--route '")?.1.split_once('\'')?.0.to_owned()));
    let here = |rule: String| addresses.iter().fold(rule, |rule, (theirs, ours)| rule.replace(theirs, ours));
    rules.map(here).collect()
}

/// A counter's value, by the labels that it must have.
fn counted(metrics: &str, name: &str, labels: [&str; 2]) -> u64 {
    let line = metrics.lines().find(|line| line.starts_with(name) && labels.iter().all(|label| line.contains(label)));
    let line = line.unwrap_or_else(|| panic!("no {name} with {labels:?}: {metrics}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// Chats that a lyn has answered itself.
fn answered(server: &Server) -> u64 {
    let (_, metrics) = server.get("/metrics");
    counted(&metrics, "lyn_ttft_seconds_count", ["", ""])
}

#[test]
fn the_documented_roll_out_shares_conversations_and_counts_the_shadow() {
    let (current, next) = (Server::ready(&["--no-page"], &[]), Server::ready(&["--no-page"], &[]));
    let third = Replay::chat(Said::stream(include_str!("../data/upstream/vllm.sse")));
    let third_address = third.url().trim_start_matches("http://").to_owned();
    let rules = documented([
        ("127.0.0.1:8081", &current.address),
        ("127.0.0.1:8082", &next.address),
        ("127.0.0.1:8000", &third_address),
    ]);
    assert_eq!(rules.len(), 3, "{rules:?}");
    let mut arguments = vec!["--model", "stories", "--no-page"];
    arguments.extend(rules.iter().flat_map(|rule| ["--route", rule.as_str()]));
    let front = Server::ready(&arguments, &[]);
    let (mut to_next, mut requests) = (0, 0);
    for number in 0..CONVERSATIONS {
        let opening = json!({ "role": "user", "content": format!("Tell me story {number}") });
        let before = answered(&next);
        let mut messages = vec![opening];
        for turn in 0..2 {
            let (status, body) = front.post("", &chat(json!({ "max_tokens": 1, "messages": messages })));
            assert_eq!(status, 200, "{body}");
            let answer: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(answer["model"], "deepseek-chat", "the client sees the model that it named: {body}");
            messages.push(json!({ "role": "assistant", "content": answer["choices"][0]["message"]["content"] }));
            messages.push(json!({ "role": "user", "content": "And then?" }));
            requests += 1;
            let moved = answered(&next) - before;
            assert!(moved == 0 || moved == turn + 1, "story {number}: both turns go one way");
        }
        to_next += answered(&next) - before;
    }
    // A tenth, as far as chance lets 60 conversations tell: a share that was ignored would be none or all.
    assert!(
        (2..=CONVERSATIONS as u64 / 2).contains(&to_next),
        "{to_next} of {requests} requests went to the next version"
    );
    assert_eq!(answered(&next) + answered(&current), requests);
    let (_, metrics) = front.get("/metrics");
    let of = |route: &str, server: &str| {
        counted(
            &metrics,
            "lyn_route_requests_total",
            [&format!("route=\"{route}\""), &format!("upstream=\"{server}\"")],
        )
    };
    assert_eq!(of("deepseek-chat", &next.address), answered(&next));
    assert_eq!(of("deepseek-chat", &current.address), answered(&current));
    // The third engine's answers are counted and seen by nobody; copies may still be under way.
    let shadowed = third.chats();
    assert!(!shadowed.is_empty() && (shadowed.len() as u64) < requests / 2, "{} copies", shadowed.len());
    assert!(shadowed.iter().all(|asked| asked.json()["model"] == "deepseek-ai/DeepSeek-V3.2"));
    assert!(of("shadow:deepseek-chat", &third_address) <= shadowed.len() as u64);
}
