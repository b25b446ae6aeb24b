//! `lyn chat` by piped stdin: each line is a turn or a command.

use serde_json::Value;

use super::{folder, golden, lyn_with};

#[test]
fn two_turns_with_the_conversation_between_them() {
    let run =
        lyn_with(&["chat", "-t", "0", "-n", "64", "--json"], "Hi!\nA story about a boat, please.\n").expect_code(0);
    let lines: Vec<Value> = run.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let answers: Vec<&Value> = lines.iter().filter(|line| line["schema"] == "lyn.chat/1").collect();
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[0]["text"], "Hello! Shall I tell you a story?");
    assert_eq!(answers[1]["text"], golden("two_turns"));
}

#[test]
fn what_was_said_is_not_read_again() {
    let run = lyn_with(&["chat", "-t", "0", "-n", "100", "--json"], "A story about a boat, please.\nAnd then?\n");
    let run = run.expect_code(0);
    let lines = run.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let answer = lines.filter(|line| line["schema"] == "lyn.chat/1").nth(1).expect("two answers");
    // The second prompt begins with the first and its answer, in pages of 64 tokens.
    let hits = answer["usage"]["prompt_cache_hit_tokens"].as_u64().unwrap();
    assert!(hits >= 64 && hits % 64 == 0, "{answer}");
}

#[test]
fn commands_shape_the_conversation() {
    let file = folder("chat").join("saved.json");
    let path = file.to_str().unwrap();
    let script = format!(
        "/set temperature 0\n/set max_tokens 12\n/system You are a helpful assistant.\nHello!\n/regen\n/stats\n/context\n/save {path}\n\
         /undo\n/save {path}.undone\n/load {path}\n/help\n/exit\nnever said\n"
    );
    let run = lyn_with(&["chat"], &script).expect_code(0);
    let lines: Vec<&str> = run.out.lines().collect();
    assert_eq!(lines.len(), 2, "{}", run.out);
    assert_eq!(lines[0], lines[1], "greedy answers are the same again");
    run.says(&[" tok/s · prompt ", "/thinking", "in use"]);
    let saved: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let roles: Vec<_> = saved["messages"].as_array().unwrap().iter().map(|message| message["role"].clone()).collect();
    assert_eq!(roles, ["system", "user", "assistant"]);
    assert_eq!(saved["messages"][2]["content"], lines[0]);
    let undone: Value = serde_json::from_str(&std::fs::read_to_string(format!("{path}.undone")).unwrap()).unwrap();
    assert_eq!(undone["messages"].as_array().unwrap().len(), 1);
}

#[test]
fn mistakes_in_commands_are_named() {
    for (line, says) in [
        ("/hlep", "did you mean /help?"),
        ("/set temperature warm", "is not a number"),
        ("/set temperature 9", "temperature"),
        ("/undo", "no turn"),
        ("/thinking maybe", "expected on or off"),
    ] {
        lyn_with(&["chat"], format!("{line}\n")).expect_code(2).says(&[says]);
    }
}
