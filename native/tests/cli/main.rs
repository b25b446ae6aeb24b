//! The command line as people and programs meet it: streams, exit codes, texts. One binary: the transcripts share helpers.

mod chat;
mod compare;
mod errors;
mod generate;
mod gguf;
mod help;
mod hub;
mod names;
mod plan;
mod quantize;
mod replay;
mod surroundings;
mod tools;
mod upstream;

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// How a run ended.
struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

/// `lyn` with no settings and no environment of its own.
fn command<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lyn"));
    for (name, _) in std::env::vars_os() {
        if ["LYN_", "HF_", "HUGGING"].iter().any(|start| name.to_string_lossy().starts_with(start)) {
            command.env_remove(name);
        }
    }
    // Mesa's layer that asks the desktop for a device complains on stderr where there is no desktop.
    command.env("NODEVICE_SELECT", "1").env("XDG_CONFIG_HOME", "/nonexistent");
    // One cache for all tests: adapters are checked once.
    command.env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn finished(output: Output) -> Run {
    let text = |bytes| String::from_utf8(bytes).expect("the streams hold UTF-8");
    Run { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// Runs a command to its end.
fn ended(command: &mut Command) -> Run {
    finished(command.output().expect("lyn starts"))
}

/// Starts a command whose streams the test reads.
fn started(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("lyn starts")
}

fn lyn<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Run {
    ended(&mut command(arguments))
}

/// `lyn` with text on stdin.
fn lyn_with(arguments: &[&str], stdin: impl AsRef<[u8]>) -> Run {
    let mut child = started(command(arguments).stdin(Stdio::piped()));
    child.stdin.take().expect("stdin is piped").write_all(stdin.as_ref()).expect("lyn reads stdin");
    finished(child.wait_with_output().expect("lyn ends"))
}

impl Run {
    #[track_caller]
    fn expect_code(self, code: i32) -> Run {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.out, self.err);
        self
    }

    /// Fails where one of these texts is not on stderr.
    #[track_caller]
    fn says(&self, texts: &[&str]) {
        for text in texts {
            assert!(self.err.contains(text), "{text:?} is not in {}", self.err);
        }
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

/// An empty folder of a test.
fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).expect("a test may write below target");
    path
}

fn stories() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/stories")
}

/// A copy of stories, for damage.
fn copy_of_stories(name: &str) -> PathBuf {
    let target = folder(name);
    for file in
        ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    {
        std::fs::copy(stories().join(file), target.join(file)).expect("stories are there");
    }
    target
}

/// What transformers wrote for a prompt, greedily.
fn golden(name: &str) -> String {
    let text = std::fs::read_to_string(stories().join("golden.json")).expect("goldens are there");
    let golden: serde_json::Value = serde_json::from_str(&text).expect("goldens are JSON");
    let mut cases = golden["cases"].as_array().expect("goldens have cases").iter();
    let case = cases.find(|case| case["name"] == name).expect("the case is there");
    case["text"].as_str().expect("a case has a text").replace("<｜end▁of▁sentence｜>", "")
}
