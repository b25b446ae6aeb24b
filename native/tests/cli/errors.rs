//! Every exit code that can be had without a broken GPU, and the form of errors.

use std::fs;

use super::{Run, command, copy_of_stories, ended, folder, lyn};

/// An error has its code, a remedy and its place in the documents; stdout stays empty.
#[track_caller]
fn expect_error(run: Run, exit: i32, code: &str, says: &str) {
    let run = run.expect_code(exit);
    assert!(run.err.contains(&format!("error[{code}]: ")), "{}", run.err);
    run.says(&["\n  help: ", &format!("\n  docs: docs/errors.md#{code}\n")]);
    assert!(run.err.contains(says), "{}", run.err);
    assert_eq!(run.out, "");
}

#[test]
fn models_that_are_not_there() {
    expect_error(lyn(["generate", "-m", "/nonexistent/model", "x"]), 3, "model_not_found", "neither a folder");
    expect_error(lyn(["show", "storys"]), 3, "model_not_found", "did you mean \"stories\"?");
    expect_error(lyn(["show", "deepseek-ai/DeepSeek-V3.2"]), 3, "model_not_found", "not in the cache of the Hub");
    let other = folder("kinds").join("model.bin");
    fs::write(&other, "x").unwrap();
    expect_error(lyn(["show", other.to_str().unwrap()]), 3, "model_not_found", "is not a .safetensors file");
    expect_error(lyn(["show", folder("empty").to_str().unwrap()]), 3, "bad_checkpoint", "config.json");
}

#[test]
fn a_shard_cut_short() {
    let model = copy_of_stories("cut");
    let file = model.join("model.safetensors");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let model = model.to_str().unwrap();
    expect_error(lyn(["generate", "-m", model, "x"]), 3, "bad_checkpoint", "model.safetensors");
    let run = lyn(["verify", model]).expect_code(8);
    assert!(run.out.contains("FAILED") && run.err.contains("error[bad_checkpoint]"), "{}{}", run.out, run.err);
}

#[test]
fn a_shape_that_the_config_does_not_want() {
    let model = copy_of_stories("swapped");
    let file = model.join("model.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    let place = bytes.windows(10).position(|window| window == b"[2048,192]").expect("the embedding has this shape");
    bytes[place..place + 10].copy_from_slice(b"[192,2048]");
    fs::write(&file, bytes).unwrap();
    let run = lyn(["plan", model.to_str().unwrap()]);
    assert!(run.err.contains("[192, 2048]") && run.err.contains("[2048, 192]"), "{}", run.err);
    expect_error(run, 3, "bad_checkpoint", "E-SHAPE");
}

#[test]
fn a_model_of_another_family() {
    let model = copy_of_stories("family");
    let config = fs::read_to_string(model.join("config.json")).unwrap().replace("\"deepseek_v32\"", "\"qwen3\"");
    fs::write(model.join("config.json"), config).unwrap();
    for verb in ["show", "verify"] {
        expect_error(lyn([verb, model.to_str().unwrap()]), 3, "unsupported_model", "qwen3");
    }
}

#[test]
fn texts_longer_than_the_context() {
    let prompt = "Once upon a time there was a little girl named Lily who had a dog and a cat";
    let run = lyn(["generate", "--raw", "-c", "8", prompt]);
    assert!(run.err.contains("the context holds 8"), "{}", run.err);
    expect_error(run, 2, "context_overflow", "--context");
    expect_error(
        lyn(["generate", "--raw", "-n", "4000", "Once"]),
        2,
        "context_overflow",
        "answer 4,000 > context 2,048",
    );
    expect_error(lyn(["plan", "-c", "999999"]), 2, "bad_request", "the model allows 1 to 2048");
}

#[test]
fn requests_that_cannot_be_honoured() {
    expect_error(lyn(["generate"]), 2, "bad_request", "give a prompt, or start a conversation with: lyn chat");
    expect_error(lyn(["generate", "-f", "/nonexistent/file"]), 6, "io", "/nonexistent/file");
    expect_error(lyn(["generate", "--raw", "--system", "s", "x"]), 2, "bad_request", "chat format");
    expect_error(lyn(["generate", "-t", "9", "x"]), 2, "bad_request", "temperature");
    expect_error(lyn(["conform", "--device", "cpu"]), 2, "bad_request", "references");
    expect_error(lyn(["conform", "--kernel", "nothing*"]), 2, "bad_request", "no kernel matches");
    expect_error(lyn(["tokenize", "--decode", "1 99999"]), 2, "bad_request", "expected 0 to 2047");
}

#[test]
fn no_adapter_and_the_wrong_one() {
    let blind = |arguments: &[&str]| {
        let nowhere = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"].map(|name| (name, "/nonexistent"));
        ended(command(arguments).envs(nowhere).env("WGPU_BACKEND", "vulkan"))
    };
    expect_error(blind(&["devices"]), 4, "no_adapter", "no GPU adapter found");
    expect_error(blind(&["generate", "x"]), 4, "no_adapter", "--device cpu");
    blind(&["plan"]).expect_code(0);
    expect_error(lyn(["generate", "--device", "no such card", "x"]), 4, "adapter_not_found", "available: #0");
}

#[test]
fn memory_that_is_short() {
    // 180 GB of cache: the model's size, with another number for its context.
    let model = copy_of_stories("long");
    let config = fs::read_to_string(model.join("config.json")).unwrap();
    fs::write(model.join("config.json"), config.replace(": 2048,\n  \"model_type\"", ": 67108864,\n  \"model_type\""))
        .unwrap();
    let model = model.to_str().unwrap();
    let run = lyn(["plan", model, "-c", "67108864", "--device", "cpu"]).expect_code(5);
    assert!(run.out.contains("DOES NOT FIT") && run.out.contains("remedies"), "{}", run.out);
    let run = lyn(["generate", "-m", model, "-c", "67108864", "--device", "cpu", "x"]);
    expect_error(run, 5, "out_of_memory", "--context");
}

#[test]
fn errors_are_json_for_programs() {
    let run = lyn(["show", "storys", "--json"]).expect_code(3);
    assert_eq!(run.json()["error"]["code"], "model_not_found");
    assert!(run.err.contains("error[model_not_found]"));
}

/// What the parser of the command line finds is an error like any other.
#[test]
fn mistakes_of_the_command_line_are_json_for_programs_too() {
    for (arguments, says) in [
        (&["generate", "--json", "--no-such-option", "x"][..], "unknown option or argument \"--no-such-option\""),
        (
            &["generate", "--json", "-c", "none", "x"],
            "--context: expected a number above 0, auto or max, found \"none\"",
        ),
        (&["generate", "--temperature", "warm", "--json"], "--temperature: expected a number, found \"warm\""),
        (&["serve", "--json", "--port", "70000"], "--port: expected a whole number from 0 to 65535, found \"70000\""),
        (
            &["generate", "--json", "--color", "\u{1b}[31m"],
            "--color: expected auto, always or never, found \"\\u{1b}[31m\"",
        ),
        (&["--json", "generat"], "unknown verb \"generat\""),
        (&["--json", "completions"], "missing argument <SHELL>"),
        (&["--json", "config"], "expected a subcommand"),
        (&["show", "--json", "-q", "-v"], "cannot be used with"),
        (&["show", "--json", "--device", "a", "--device", "b"], "--device was given more than once"),
        (&["generate", "x", "--json", "--seed"], "--seed: expected a value, found nothing"),
    ] {
        let run = lyn(arguments).expect_code(2);
        let last: serde_json::Value = serde_json::from_str(run.out.lines().last().unwrap_or_default()).unwrap();
        let error = &last["error"];
        assert_eq!(error["code"], "bad_request", "{arguments:?}");
        assert!(error["message"].as_str().unwrap().contains(says), "{arguments:?}: {error}");
        assert!(!error["help"].as_array().unwrap().is_empty(), "{error}");
        assert!(run.err.contains("error[bad_request]: ") && !run.err.contains('\u{1b}'), "{}", run.err);
    }
    // The switch may come from the environment, and the fault too.
    let run = ended(command(["generate", "x"]).env("LYN_JSON", "1").env("LYN_TEMPERATURE", "warm"));
    assert_eq!(run.expect_code(2).json()["error"]["code"], "bad_request");
    // After -- it is text.
    assert_eq!(lyn(["show", "--", "--json"]).expect_code(3).out, "");
}

#[test]
fn values_may_begin_with_a_hyphen() {
    let run = |more: &[&str]| lyn(["generate", "--raw", "-q", "-t", "0", "Once"].iter().chain(more));
    let two = run(&["-n", "2"]).expect_code(0).out;
    for more in [
        &["-n", "2", "--stop", "---"][..],
        &["-n", "2", "--stop", "-x"],
        &["-s", "-1", "-n", "2"],
        &["--seed", "-1", "-n", "2"],
    ] {
        assert_eq!(run(more).expect_code(0).out, two, "{more:?}");
    }
    // No limit, as other programs have it: the context ends the text.
    let all = run(&["-n", "-1", "-c", "32"]).expect_code(0).out;
    assert!(all.len() > two.len() && all.starts_with(&two), "{all}");
    expect_error(
        run(&["-s", "-2"]),
        2,
        "bad_request",
        "--seed: expected a whole number from 0 to 18446744073709551615, or -1",
    );
    expect_error(
        run(&["-n", "-2"]),
        2,
        "bad_request",
        "--max-tokens: expected a whole number from 0 to 4294967295, or -1",
    );
    expect_error(lyn(["generate", "-t", "-1", "x"]), 2, "bad_request", "temperature");
    expect_error(lyn(["serve", "--port", "-1"]), 2, "bad_request", "--port: expected a whole number from 0 to 65535");
    expect_error(lyn(["plan", "-c", "-1"]), 2, "bad_request", "--context: expected a number above 0");
    assert_eq!(lyn(["tokenize", "--json", "-1"]).expect_code(0).json()["text"], "-1");
    expect_error(lyn(["generate", "- a list"]), 2, "bad_request", "unknown option or argument");
}

#[cfg(unix)]
#[test]
fn arguments_need_not_be_utf_8() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let name = OsStr::from_bytes(b"caf\xe9\x1b");
    let shown = "caf\\xe9\\u{1b}";
    for (arguments, code, exit) in [
        (vec![OsStr::new("show"), name], "model_not_found", 3),
        (vec![OsStr::new("generate"), OsStr::new("-m"), name, OsStr::new("x")], "model_not_found", 3),
        (vec![OsStr::new("generate"), OsStr::new("-f"), name], "io", 6),
        (vec![OsStr::new("generate"), OsStr::new("--json-schema"), name, OsStr::new("x")], "io", 6),
        (vec![OsStr::new("generate"), name], "bad_request", 2),
        (vec![OsStr::new("generate"), OsStr::new("--stop"), name], "bad_request", 2),
        (vec![name], "bad_request", 2),
        (vec![OsStr::new("show"), OsStr::new("--config"), name], "bad_config", 2),
        (vec![OsStr::new("serve"), OsStr::new("--port"), OsStr::new("0"), OsStr::new("--api-key-file"), name], "io", 6),
    ] {
        expect_error(lyn(&arguments), exit, code, shown);
    }
}

#[test]
fn settings_are_read_and_mistakes_in_them_are_named() {
    let folder = folder("settings");
    let file = folder.join("config.toml");
    let file = file.to_str().unwrap();
    fs::write(file, "temperature = 0.25\n[generate]\nmax_tokens = 7\n").unwrap();
    let run = lyn(["config", "show", "--config", file, "--json"]).expect_code(0);
    let values = run.json()["values"].as_array().unwrap().clone();
    let value = |verb: &str, key: &str| {
        let row = values.iter().find(|row| row["verb"] == verb && row["key"] == key).unwrap();
        (row["value"].clone(), row["source"].clone())
    };
    assert_eq!(value("generate", "max_tokens"), ("7".into(), "settings".into()));
    assert_eq!(value("chat", "temperature"), ("0.25".into(), "settings".into()));
    assert_eq!(value("chat", "model"), ("stories".into(), "default".into()));
    let run = ended(command(["config", "show"]).env("LYN_CONTEXT", "512")).expect_code(0);
    let found =
        run.out.lines().any(|line| line.starts_with("chat") && line.contains("512") && line.ends_with("environment"));
    assert!(found, "{}", run.out);
    fs::write(file, "temprature = 0.25\n").unwrap();
    expect_error(lyn(["show", "--config", file]), 2, "bad_config", "did you mean temperature?");
    fs::write(file, "temperature = \"warm\"\n").unwrap();
    let run = lyn(["generate", "--config", file, "--json", "x"]).expect_code(2);
    let message = run.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("config.toml\": temperature: expected a number, found \"warm\""), "{message}");
    expect_error(lyn(["show", "--config", "/nonexistent.toml"]), 2, "bad_config", "/nonexistent.toml");
}
