//! `--upstream`: answers of recorded engines, shown as those of the engine here.

use serde_json::{Value, json};

use super::replay::{Replay, Said, models};
use super::{command, ended, finished, folder, lyn, started};

macro_rules! recorded {
    ($name:literal) => {
        include_str!(concat!("../data/upstream/", $name))
    };
}

fn generate(server: &Replay, more: &[&str]) -> super::Run {
    let url = server.url();
    let mut arguments = vec!["generate", "--upstream", &url, "--thinking", "on", "1 + 1 €?"];
    arguments.extend(more);
    lyn(arguments)
}

#[test]
fn thought_and_answer_go_apart_whoever_made_them() {
    for (recording, counts) in [
        (recorded!("deepseek-reasoner.sse"), "9 tokens"),
        (recorded!("vllm.sse"), "9 tokens"),
        (recorded!("vllm-inline.sse"), "9 tokens"),
        (recorded!("openrouter.sse"), "9 tokens"),
        (recorded!("sglang.sse"), "tokens unknown"),
    ] {
        let run = generate(&Replay::chat(Said::stream(recording)), &["--stats", "always"]).expect_code(0);
        assert_eq!(run.out, "It is 2 €.");
        assert!(run.err.contains("Hm, two.") && run.err.contains(counts), "{}", run.err);
        assert!(!run.err.contains("leave this machine"), "a loopback address is this machine: {}", run.err);
    }
}

#[test]
fn the_last_line_of_json_says_what_is_known() {
    let run = generate(&Replay::chat(Said::stream(recorded!("vllm.sse"))), &["--json", "-s", "7"]).expect_code(0);
    let lines: Vec<Value> = run.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = lines.last().unwrap();
    assert_eq!((&last["schema"], &last["text"]), (&json!("lyn.generate/1"), &json!("It is 2 €.")));
    assert_eq!((&last["reasoning_content"], &last["finish_reason"]), (&json!("Hm, two."), &json!("stop")));
    assert_eq!((&last["usage"]["total_tokens"], &last["seed"]), (&json!(27), &json!(7)));
    assert_eq!(last["model"], "deepseek-ai/DeepSeek-V3.2");
    let run = generate(&Replay::chat(Said::stream(recorded!("sglang.sse"))), &["--json"]).expect_code(0);
    let last: Value = serde_json::from_str(run.out.lines().last().unwrap()).unwrap();
    assert_eq!(last["usage"], Value::Null);
}

#[test]
fn a_request_says_what_was_asked_for_and_notes_what_is_not_known_there() {
    let server = Replay::start(|asked, _| match asked.line.as_str() {
        "GET /models" => models("vllm"),
        _ => Said::stream(recorded!("vllm.sse")),
    });
    generate(&server, &["-t", "0.7", "--top-k", "5", "-n", "9", "--stop", "x", "--system", "s"]).expect_code(0);
    let body = server.chats()[0].json();
    assert_eq!((&body["model"], &body["temperature"], &body["top_k"]), (&json!("m"), &json!(0.7), &json!(5)));
    assert_eq!((&body["max_tokens"], &body["stop"]), (&json!(9), &json!(["x"])));
    assert_eq!(body["messages"][0], json!({ "role": "system", "content": "s" }));
    assert_eq!(body["chat_template_kwargs"]["thinking"], true);
    for absent in ["thinking", "top_p", "min_p", "seed", "presence_penalty", "ignore_eos"] {
        assert_eq!(body.get(absent), None);
    }
    let more = ["--upstream-profile", "openai", "--top-k", "5", "-c", "512", "--model", "other"];
    generate(&server, &more)
        .expect_code(0)
        .says(&["not supported by the upstream engine: --top-k, --thinking", "--context"]);
    let body = server.chats()[1].json();
    assert_eq!((&body["model"], body.get("top_k"), body.get("thinking")), (&json!("other"), None, None));
}

#[test]
fn refusals_are_one_line_without_the_key() {
    let key = "sk-0123456789abcdef";
    for (status, said, says) in [
        (401, format!("{{\"error\":{{\"message\":\"bad key {key}\"}}}}"), "answered 401: bad key ****"),
        (402, "{\"error\":{\"message\":\"Insufficient Balance\"}}".to_owned(), "answered 402: Insufficient Balance"),
        (429, "{\"detail\":\"slow\\ndown\"}".to_owned(), "answered 429: slow down"),
        (500, "<html><title>Oops</title></html>".to_owned(), "answered 500: an HTML page, Oops"),
    ] {
        let server = Replay::chat(Said::new(status, "text/plain", said).with_header("retry-after", "0"));
        let url = server.url();
        let mut generate = command(["generate", "--upstream", &url, "x"]);
        let run = ended(generate.env("LYN_UPSTREAM_KEY", key)).expect_code(6);
        assert!(run.err.starts_with("error[upstream]: ") && run.err.contains(says), "{}", run.err);
        assert!(!run.err.contains(key) && run.out.is_empty());
        assert_eq!(server.chats().len(), if status < 429 { 1 } else { 3 });
        assert!(server.chats()[0].headers.contains(&format!("authorization: Bearer {key}")));
    }
}

#[test]
fn a_break_keeps_what_was_said() {
    let run = generate(&Replay::chat(Said::stream(recorded!("cut.sse"))), &[]).expect_code(6);
    assert_eq!(run.out, "It is ");
    assert!(run.err.contains("broke off in the middle of an answer"), "{}", run.err);
}

#[test]
fn keys_come_from_a_file_too() {
    let file = folder("upstream").join("keys");
    std::fs::write(&file, "127.0.0.1 file-key\nother.example other-key\n").unwrap();
    let server = Replay::chat(Said::stream(recorded!("vllm.sse")));
    generate(&server, &["--upstream-key-file", file.to_str().unwrap()]).expect_code(0);
    assert!(server.asked().iter().all(|asked| asked.headers.contains(&"authorization: Bearer file-key".to_owned())));
    generate(&server, &["--upstream-key-file", "/nonexistent/keys"])
        .expect_code(6)
        .says(&["error[io]: \"/nonexistent/keys\""]);
}

#[test]
fn what_needs_an_engine_here_is_refused() {
    let server = Replay::chat(Said::stream(recorded!("vllm.sse")));
    generate(&server, &["--raw"]).expect_code(2).says(&["--raw and --trace need a local engine"]);
    let run = lyn(["generate", "--upstream", "https://me:secret@host", "x"]).expect_code(2);
    assert!(run.err.contains("credentials") && !run.err.contains("secret"), "{}", run.err);
    assert_eq!(server.chats().len(), 0);
}

#[test]
fn a_conversation_there() {
    let server = Replay::chat(Said::stream(recorded!("deepseek-reasoner.sse")));
    let url = server.url();
    let script = "1 + 1?\n/stats\n/context\n/regen\nAnd 2 + 2?\n";
    let run = super::lyn_with(&["chat", "--upstream", &url, "--thinking", "on"], script).expect_code(0);
    assert_eq!(run.out, "It is 2 €.\n".repeat(3));
    assert!(run.err.contains("prompt 18 (16 cached)") && run.err.contains("unknown"), "{}", run.err);
    let chats = server.chats();
    let roles = |at: usize| -> Vec<Value> {
        let body: Value = chats[at].json();
        body["messages"].as_array().unwrap().iter().map(|message| message["role"].clone()).collect()
    };
    assert_eq!((roles(0), roles(1)), (vec![json!("user")], vec![json!("user")]));
    assert_eq!(roles(2), ["user", "assistant", "user"]);
    // The thought of an older turn stays here.
    assert_eq!(chats[2].json()["messages"][1], json!({ "role": "assistant", "content": "It is 2 €." }));
}

#[test]
#[cfg(unix)]
fn ctrl_c_keeps_the_text_and_ends_the_request() {
    use std::io::Read;
    let server = Replay::chat(Said::stream(recorded!("cut.sse")).held());
    let url = server.url();
    let mut child = started(&mut command(["generate", "--upstream", &url, "--stats", "always", "x"]));
    let mut begin = [0; 6];
    child.stdout.as_mut().unwrap().read_exact(&mut begin).unwrap();
    assert_eq!(&begin, b"It is ");
    let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let run = finished(child.wait_with_output().unwrap()).expect_code(130);
    server.wait_until_left();
    assert!(run.err.contains("stopped"), "{}", run.err);
}
