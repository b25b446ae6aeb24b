//! `lyn generate`: what goes to which stream, and when it stops. Oracle of the texts: transformers' golden.json.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{command, finished, folder, golden, lyn, lyn_with, stories};

const ONCE: [&str; 8] = ["generate", "--raw", "Once upon a time", "-n", "64", "--temperature", "0", "--stats=never"];

#[test]
fn stdout_is_exactly_the_text() {
    let run = lyn(ONCE).expect_code(0);
    assert_eq!(run.out, golden("once"));
    assert!(run.err.contains("--max-tokens 64 is reached"), "{}", run.err);
    assert!(!run.err.contains('\u{1b}') && run.err.lines().count() <= 12, "{}", run.err);
    // Again, from a folder and with one more flag that changes nothing.
    let folder = stories();
    let again = lyn(ONCE.iter().copied().chain(["-m", folder.to_str().unwrap(), "--quiet"])).expect_code(0);
    assert_eq!((again.out, again.err.as_str()), (run.out, ""));
}

#[test]
fn the_chat_format_is_used_where_there_is_one() {
    let run = lyn_with(&["generate", "-t", "0"], "Hello!").expect_code(0);
    assert_eq!(run.out, golden("hello"));
    let system = ["generate", "--system", "You are a helpful assistant.", "-t", "0", "-n", "64"];
    let prompt = "Write a story with the words tree, bird and cake.";
    let run = lyn(system.iter().copied().chain([prompt])).expect_code(0);
    assert_eq!(run.out, golden("system"));
}

#[test]
fn thoughts_go_where_they_are_sent() {
    let (thought, answer) = golden("think").split_once("</think>").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let prompt = "Tell me a story about a little cat named Tom.";
    let arguments = ["generate", "--thinking", "on", "-t", "0", "-n", "64", prompt];
    let run = lyn(arguments).expect_code(0);
    assert_eq!(run.out, answer);
    assert!(run.err.contains(&thought), "{}", run.err);
    let run = lyn(arguments.iter().copied().chain(["--reasoning", "hide"])).expect_code(0);
    assert_eq!(run.out, answer);
    assert!(!run.err.contains(&thought), "{}", run.err);
}

#[test]
fn json_lines_end_with_the_whole() {
    let run = lyn(ONCE.iter().copied().chain(["--json", "--seed", "71"])).expect_code(0);
    let lines: Vec<Value> = run.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (last, deltas) = lines.split_last().unwrap();
    let joined: String = deltas.iter().map(|line| line["delta"]["content"].as_str().unwrap()).collect();
    assert_eq!(joined, golden("once"));
    assert_eq!(last["schema"], "lyn.generate/1");
    assert_eq!(last["text"], joined);
    assert_eq!(last["reasoning_content"], Value::Null);
    assert_eq!(last["finish_reason"], "length");
    assert_eq!(last["seed"], 71);
    let usage = &last["usage"];
    assert_eq!(usage["prompt_tokens"], 5);
    assert_eq!(usage["completion_tokens"], 64);
    assert_eq!(usage["total_tokens"], 69);
    assert_eq!(usage["prompt_cache_hit_tokens"], 0);
    assert_eq!(usage["completion_tokens_details"]["reasoning_tokens"], 0);
    for name in ["prompt_ms", "prompt_per_second", "predicted_ms", "predicted_per_second", "first_token_ms"] {
        assert!(last["timings"][name].as_f64().unwrap() > 0.0, "{name}: {last}");
    }
    assert!(last["adapter"].is_string());
}

#[test]
fn a_seed_makes_a_text_again() {
    let sampled = ["generate", "--raw", "Once upon a time", "-n", "24", "-t", "1", "--seed", "5", "--stats", "always"];
    let (a, b) = (lyn(sampled).expect_code(0), lyn(sampled).expect_code(0));
    assert_eq!(a.out, b.out);
    assert!(a.err.contains("24 tokens · ") && a.err.contains(" · seed 5"), "{}", a.err);
}

#[test]
fn stop_texts_end_an_answer_before_them() {
    let run = lyn(ONCE.iter().copied().chain(["--stop", "Lily", "--stop", "toys"])).expect_code(0);
    assert_eq!(run.out, golden("once").split_once("Lily").unwrap().0);
}

#[test]
fn files_and_stdin_join_the_prompt() {
    let folder = folder("files");
    let file = folder.join("note.txt");
    std::fs::write(&file, "a red ball").unwrap();
    let file = file.to_str().unwrap();
    let run = lyn_with(&["generate", "--raw", "Read this", "-f", file, "-n", "1", "-t", "0", "--json"], "the end");
    let last: Value = serde_json::from_str(run.expect_code(0).out.lines().last().unwrap()).unwrap();
    let prompt = "Read this\n\nnote.txt:\n```\na red ball\n```\n\nthe end";
    let tokens = lyn(["tokenize", prompt, "--json"]).json()["count"].as_u64().unwrap();
    assert_eq!(last["usage"]["prompt_tokens"], tokens + 1);
}

#[test]
fn a_trace_has_a_line_for_each_token_and_layer() {
    let file = folder("trace").join("trace.jsonl");
    let path = file.to_str().unwrap();
    let traced =
        ["generate", "--raw", "Once upon a time", "-n", "4", "-t", "0", "--trace", path, "--trace-layers", "0,5"];
    lyn(traced).expect_code(0);
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // Five prompt tokens, and the three answer tokens that another one follows.
    assert_eq!(lines.len(), 2 * (5 + 3));
    for line in &lines {
        let (position, indices) = (line["position"].as_u64().unwrap(), line["indices"].as_array().unwrap());
        let all: Vec<Value> = (0..=position).map(Value::from).collect();
        assert_eq!(indices, &all, "below index_topk every position is read");
        assert_eq!(line["scores"].as_array().unwrap().len(), indices.len());
        assert!(line["layer"] == 0 || line["layer"] == 5);
    }
    let wrong = ["generate", "x", "--trace", path, "--trace-layers", "6"];
    assert!(lyn(wrong).expect_code(2).err.contains("numbers below 6"));
    let dense = ["generate", "x", "--trace", path, "--attention", "dense"];
    assert!(lyn(dense).expect_code(2).err.contains("dense attention has none"));
}

/// A long answer, read as far as `bytes`, then hit by a signal: exit code, all of stdout, stderr.
fn interrupted(signal: &str, bytes: usize) -> (Option<i32>, String, String) {
    let arguments = ["generate", "--raw", "Once upon a time", "--ignore-eos", "-t", "0.9", "--stats", "always"];
    let mut child = command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut begin = vec![0; bytes];
    out.read_exact(&mut begin).unwrap();
    let killed = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let mut text = String::from_utf8_lossy(&begin).into_owned();
    out.read_to_string(&mut text).unwrap();
    let run = finished(child.wait_with_output().unwrap());
    (run.code, text, run.err)
}

#[test]
fn signals_keep_the_text_so_far() {
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let (exit, text, err) = interrupted(signal, 40);
        assert_eq!(exit, Some(code), "{err}");
        assert!(text.len() >= 40 && !text.ends_with('\n'), "{text}");
        assert!(err.trim_end().ends_with("stopped") && !err.contains("error["), "{err}");
    }
}

#[test]
fn a_reader_that_leaves_ends_it_quietly() {
    let arguments = ["generate", "--raw", "Once upon a time", "--ignore-eos", "--quiet"];
    let mut child = command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let run = finished(child.wait_with_output().unwrap());
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""));
}

#[test]
fn text_comes_as_it_is_made() {
    let mut child = command(["generate", "--raw", "Once upon a time", "--ignore-eos", "--json", "-t", "0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert!(first["delta"]["content"].is_string());
    assert!(child.try_wait().unwrap().is_none(), "two thousand tokens cannot be done yet");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_references_write_the_same_text() {
    let run = lyn(["generate", "--raw", "Once upon a time", "-n", "8", "-t", "0", "--device", "cpu"]).expect_code(0);
    assert!(golden("once").starts_with(&run.out) && run.out.len() > 8, "{}", run.out);
}
