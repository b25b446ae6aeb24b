//! `lyn generate`: what goes to which stream, and when it stops. Oracle of the texts: transformers' golden.json.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{command, copy_of_stories, finished, folder, golden, lyn, lyn_with, started, stories};

const ONCE: [&str; 8] = ["generate", "--raw", "Once upon a time", "-n", "64", "--temperature", "0", "--stats=never"];

#[test]
fn stdout_is_exactly_the_text() {
    let run = lyn(ONCE).expect_code(0);
    assert_eq!(run.out, golden("once"));
    assert!(run.err.contains("--max-tokens 64 was reached"), "{}", run.err);
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
fn another_format_is_rendered_by_its_own_template() {
    let folder = copy_of_stories("template");
    let model = folder.to_str().unwrap();
    let template = "{{ bos_token }}{% for m in messages %}<｜User｜>{{ m.content }}{% endfor %}<｜Assistant｜></think>";
    std::fs::write(folder.join("chat_template.jinja"), template).unwrap();
    assert!(lyn(["show", model]).expect_code(0).out.contains("its own Jinja template"));
    let run = lyn_with(&["generate", "-m", model, "-t", "0"], "Hello!").expect_code(0);
    assert_eq!(run.out, golden("hello"));
    let chat = lyn_with(&["chat", "-m", model, "-t", "0"], "Hello!\n").expect_code(0);
    assert_eq!(chat.out.trim_end(), golden("hello").trim_end());

    // A broken one says where, and plain prompts go on working.
    std::fs::write(folder.join("chat_template.jinja"), "a\n{% for %}").unwrap();
    lyn(["generate", "-m", model, "Hello!"]).expect_code(3).says(&["chat_template.jinja: line 2", "--raw"]);
    lyn(["generate", "-m", model, "--raw", "Once", "-n", "1"]).expect_code(0);
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
fn stdout_is_json_where_json_is_asked_for() {
    let asked = |shape: &[&str], seed: &str| {
        let arguments =
            ["generate", "Tell me about a cat, as JSON.", "-t", "1.5", "-n", "300", "--seed", seed, "--quiet"];
        lyn(arguments.iter().chain(shape).copied()).expect_code(0).out
    };
    let folder = folder("json");
    let file = folder.join("schema.json");
    let schema = r#"{"type": "object", "properties": {"name": {"enum": ["Tom", "Lily"]}, "age": {"type": "integer", "minimum": 1, "maximum": 5}}}"#;
    std::fs::write(&file, schema).unwrap();
    for seed in ["1", "2", "3"] {
        for given in [schema, file.to_str().unwrap()] {
            let value: Value = serde_json::from_str(&asked(&["--json-schema", given], seed)).unwrap();
            assert!(value["name"] == "Tom" || value["name"] == "Lily", "{value}");
            assert!(
                (1..=5).contains(&value["age"].as_u64().unwrap()) && value.as_object().unwrap().len() == 2,
                "{value}"
            );
        }
    }
    // Any object may be longer than the limit: then it is cut, and said so.
    let ended = (0..8).filter(|seed: &u32| {
        let out = asked(&["--response-format", "json", "--json"], &seed.to_string());
        let last: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
        let value = serde_json::from_str::<Value>(last["text"].as_str().unwrap());
        assert!(last["finish_reason"] == "length" || value.is_ok_and(|value| value.is_object()), "{last}");
        last["finish_reason"] == "stop"
    });
    assert!(ended.count() > 0);
}

#[test]
fn schemas_that_cannot_be_held_to_are_refused() {
    let refused = |schema: &str| lyn(["generate", "x", "--json-schema", schema]).expect_code(2).err;
    let err = refused(r#"{"type": "object", "properties": {"a": {"type": "array", "contains": {"const": 1}}}}"#);
    assert!(err.contains("error[invalid_schema]") && err.contains("$.properties.a"), "{err}");
    // What can be let go is named.
    let loose = r#"{"type": "array", "uniqueItems": true}"#;
    let err = lyn(["generate", "x", "-n", "2", "--json-schema", loose]).expect_code(0).err;
    assert!(err.contains("warning[loosened]: not enforced: $.uniqueItems"), "{err}");
    assert!(refused("{").contains("--json-schema: expected a JSON schema"), "cut");
    assert!(lyn(["generate", "x", "--json-schema", "nosuch.json"]).expect_code(6).err.contains("nosuch.json"));
    lyn(["generate", "x", "--response-format", "json", "--ignore-eos"]).expect_code(2).says(&["ignore_eos"]);
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

/// Lines of a trace: header, tokens, selections.
fn trace(arguments: &[&str], name: &str) -> (Value, Vec<Value>, Vec<Value>) {
    let file = folder(name).join("trace.jsonl");
    let run = lyn(arguments.iter().copied().chain(["--trace", file.to_str().unwrap()])).expect_code(0);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.ends_with('\n'), "{}", run.err);
    let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let header = lines.next().unwrap();
    let (tokens, selections) = lines.partition(|line| line.get("id").is_some());
    (header, tokens, selections)
}

#[test]
fn a_trace_has_a_line_for_each_token_and_selection() {
    let arguments = ["generate", "--raw", "Once upon a time", "-n", "4", "-t", "0", "--trace-layers", "5,0,5"];
    let (header, tokens, selections) = trace(&arguments, "trace");
    let expected =
        r#"{"schema":"lyn.trace/1","model_type":"deepseek_v32","num_hidden_layers":6,"index_topk":64,"layers":[0,5]}"#;
    assert_eq!(header.to_string(), expected);
    let texts: Vec<&str> = tokens.iter().map(|token| token["text"].as_str().unwrap()).collect();
    assert_eq!(texts[0], "<｜begin▁of▁sentence｜>", "special tokens by their content");
    let said = lyn(["generate", "--raw", "Once upon a time", "-n", "4", "-t", "0", "--stats=never"]).expect_code(0).out;
    assert_eq!(texts[1..].concat(), format!("Once upon a time{said}"));
    let ids = lyn(["tokenize", "Once upon a time", "--json"]).json();
    for (position, token) in tokens.iter().enumerate() {
        assert_eq!(token["position"], position);
        assert!((1..5).all(|i| tokens[i]["id"] == ids["ids"][i - 1]), "{ids}");
        assert_eq!(token.as_object().unwrap().len(), 3);
    }
    // Five prompt tokens, and the three answer tokens that another one follows.
    assert_eq!((tokens.len(), selections.len()), (9, 2 * 8));
    for line in &selections {
        let (position, indices) = (line["position"].as_u64().unwrap(), line["indices"].as_array().unwrap());
        let all: Vec<Value> = (0..=position).map(Value::from).collect();
        assert_eq!(indices, &all, "below index_topk every position is read");
        let scores = line["scores"].as_array().unwrap();
        assert_eq!(scores.len(), indices.len());
        assert!(scores.iter().all(|score| score.is_number() && score.to_string().len() <= 12), "{line}");
        assert!(line["layer"] == 0 || line["layer"] == 5);
        assert_eq!(line.as_object().unwrap().len(), 4, "no weights unless asked for");
    }
    let wrong = ["generate", "x", "--trace", "trace.jsonl", "--trace-layers", "6"];
    assert!(lyn(wrong).expect_code(2).err.contains("numbers below 6"));
}

#[test]
fn a_trace_may_have_the_weights_of_dense_attention() {
    let prompt = "The cat sat on the mat. ".repeat(12);
    let arguments = ["generate", "--raw", &prompt, "-n", "0", "--trace-dense", "--trace-layers", "1"];
    let (header, tokens, selections) = trace(&arguments, "trace-dense");
    assert_eq!((header["index_topk"].as_u64(), tokens.len()), (Some(64), selections.len()));
    let (mut left_out, mut shares) = (0, 0.0);
    for line in &selections {
        let numbers = |field: &str| -> Vec<f64> {
            line[field].as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
        };
        let (indices, dense) = (line["indices"].as_array().unwrap(), numbers("dense"));
        assert_eq!(dense.len() as u64, line["position"].as_u64().unwrap() + 1);
        assert!((dense.iter().sum::<f64>() - 1.0).abs() < 1e-4, "{line}");
        if indices.len() < dense.len() {
            left_out += 1;
            shares += indices.iter().map(|index| dense[usize::try_from(index.as_u64().unwrap()).unwrap()]).sum::<f64>();
        }
    }
    assert!(left_out > 0 && shares > 0.0 && shares < f64::from(left_out), "some positions were not read");

    let dense = ["generate", "--raw", "The cat", "-n", "1", "--attention", "dense"];
    let (header, _, selections) = trace(&[&dense[..], &["--trace-dense"]].concat(), "trace-all");
    assert_eq!(header["index_topk"], Value::Null);
    assert!(selections.iter().all(|line| line["scores"] == Value::Array(vec![]) && line["dense"].is_array()));
    lyn(dense.iter().copied().chain(["--trace", "trace.jsonl"]))
        .expect_code(2)
        .says(&["dense attention has none", "--trace-dense"]);
}

/// A long answer, read as far as `bytes`, then hit by a signal: exit code, all of stdout, stderr.
fn interrupted(signal: &str, bytes: usize) -> (Option<i32>, String, String) {
    let arguments = ["generate", "--raw", "Once upon a time", "--ignore-eos", "-t", "0.9", "--stats", "always"];
    let mut child = started(&mut command(arguments));
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
    let mut child = started(&mut command(arguments));
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
