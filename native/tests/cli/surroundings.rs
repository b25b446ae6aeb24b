//! What surrounds the process: an environment with nothing in it, empty variables, no home, no desktop, other encodings.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::{command, copy_of_stories, ended, folder, lyn, lyn_with};

/// Every variable that stands for an option, as the document of the command line lists them.
fn twins() -> Vec<String> {
    let document = lyn(["docs"]).expect_code(0).out;
    let options = document
        .split("--")
        .skip(1)
        .filter_map(|text| text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next());
    let mut names: Vec<String> = options
        .filter(|name| name.len() > 2 && name.starts_with(|c: char| c.is_ascii_lowercase()))
        .map(|name| format!("LYN_{}", name.trim_end_matches('-').to_uppercase().replace('-', "_")))
        .collect();
    names.sort_unstable();
    names.dedup();
    for wanted in ["LYN_SEED", "LYN_PORT", "LYN_CACHE_DIR", "LYN_STOP", "LYN_CONFIG", "LYN_ROUTE"] {
        assert!(names.iter().any(|name| name == wanted), "{wanted} is not in {names:?}");
    }
    names
}

/// `lyn` with nothing around it but every variable of its own, empty, and what the drivers of a test need.
fn bare(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lyn"));
    command.env_clear().args(arguments).stdin(Stdio::null());
    for name in ["VK_DRIVER_FILES", "VK_ICD_FILENAMES", "VK_ADD_DRIVER_FILES", "LD_LIBRARY_PATH"] {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    let others = ["LYN_API_KEY", "LYN_UPSTREAM_KEY", "LYN_LOG", "WGPU_BACKEND", "WGPU_ADAPTER_NAME", "WGPU_POWER_PREF"];
    command.envs(twins().iter().map(String::as_str).chain(others).map(|name| (name, "")));
    command
}

#[test]
fn a_bare_environment_is_enough() {
    let run = ended(&mut bare(&["generate", "--raw", "-q", "-n", "2", "-t", "0", "Once"])).expect_code(0);
    assert!(!run.out.is_empty());
    // Neither a driver's word on the missing desktop, nor a warning on the missing home.
    assert_eq!(run.err, "");
    assert!(ended(&mut bare(&["show"])).expect_code(0).out.contains("stories"));
    let run = ended(&mut bare(&["devices"])).expect_code(0);
    assert_eq!(run.err, "");

    let mut server = bare(&["serve", "--port", "0"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(server.stderr.take().unwrap()).lines().map(Result::unwrap);
    let first = lines.next().unwrap_or_default();
    let rest: Vec<String> = lines.by_ref().take_while(|line| !line.contains("curl")).collect();
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(first.starts_with("listening on http://127.0.0.1:"), "{first}");
    assert!(rest.iter().any(|line| line.starts_with("model stories on ")), "{rest:?}");
    assert!(!rest.iter().any(|line| line.contains("XDG_RUNTIME_DIR")), "{rest:?}");
}

#[test]
fn a_home_that_is_none_is_as_no_home() {
    for home in ["/dev/null", "", "relative", "/nonexistent"] {
        let mut show = command(["show"]);
        show.env_remove("XDG_CONFIG_HOME").env_remove("XDG_CACHE_HOME").env("HOME", home);
        let run = ended(&mut show).expect_code(0);
        assert_eq!(run.err, "", "HOME={home}");
        ended(command(["config", "path"]).env_remove("XDG_CONFIG_HOME").env("HOME", home)).expect_code(0);
    }
}

#[test]
fn values_of_the_environment_are_named_by_their_variable() {
    for (name, value, expected) in [
        ("LYN_TEMPERATURE", "warm", "LYN_TEMPERATURE: expected a number, found \"warm\""),
        (
            "LYN_MAX_TOKENS",
            "1.5",
            "LYN_MAX_TOKENS: expected a whole number from 0 to 4294967295, or -1 for the default",
        ),
        ("LYN_COLOR", "blue", "LYN_COLOR: expected auto, always or never, found \"blue\""),
        ("LYN_CHUNK", "5000", "LYN_CHUNK: expected a whole number from 1 to 4096, found \"5000\""),
    ] {
        ended(command(["generate", "x"]).env(name, value)).expect_code(2).says(&["error[bad_request]: ", expected]);
    }
    // What the command line says comes first.
    let mut command = command(["generate", "--raw", "-n", "1", "-t", "0", "x"]);
    ended(command.env("LYN_TEMPERATURE", "warm")).expect_code(0);
}

#[test]
fn byte_order_marks_are_left_out() {
    let folder = folder("marks");
    fs::create_dir(folder.join("other")).unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let settings = write("config.toml", b"\xef\xbb\xbfmax_tokens = 2\n");
    let prompt = write("prompt.txt", b"\xef\xbb\xbfOnce upon a time");
    let plain = write("other/prompt.txt", b"Once upon a time");
    let schema =
        write("schema.json", b"\xef\xbb\xbf{\"type\":\"object\",\"properties\":{},\"additionalProperties\":false}");
    let tokens = |path: &str| {
        let run = lyn(["generate", "--config", &settings, "--json", "-t", "0", "-f", path]).expect_code(0);
        let last: serde_json::Value = serde_json::from_str(run.out.lines().last().unwrap()).unwrap();
        (last["usage"]["prompt_tokens"].clone(), last["text"].clone())
    };
    assert_eq!(tokens(&prompt), tokens(&plain));
    lyn(["generate", "--json-schema", &schema, "-n", "8", "-t", "0", "x"]).expect_code(0);
    let ids = |text: &str| lyn_with(&["tokenize", "--json"], text).expect_code(0).json()["ids"].clone();
    assert_eq!(ids("\u{feff}Once"), ids("Once"));

    let model = copy_of_stories("marks-model");
    for file in ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"] {
        let bytes = fs::read(model.join(file)).unwrap();
        fs::write(model.join(file), [b"\xef\xbb\xbf", &bytes[..]].concat()).unwrap();
    }
    let run =
        lyn(["generate", "-m", model.to_str().unwrap(), "--raw", "-q", "-n", "2", "-t", "0", "Once"]).expect_code(0);
    assert_eq!(run.out, lyn(["generate", "--raw", "-q", "-n", "2", "-t", "0", "Once"]).expect_code(0).out);
}

#[test]
fn other_encodings_are_named() {
    let folder = folder("encodings");
    let wide: Vec<u8> = [0xfeff].into_iter().chain("{\"a\": 1}".encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let file = folder.join("wide.txt");
    fs::write(&file, &wide).unwrap();
    let path = file.to_str().unwrap();
    for (arguments, code) in [
        (vec!["generate", "-f", path], 2),
        (vec!["generate", "--json-schema", path, "x"], 2),
        (vec!["show", "--config", path], 2),
        (vec!["serve", "--port", "0", "--api-key-file", path], 2),
    ] {
        let run = lyn(&arguments).expect_code(code);
        assert!(run.err.contains("UTF-16") && run.err.contains("wide.txt"), "{arguments:?}: {}", run.err);
    }
    let model = copy_of_stories("wide-model");
    fs::write(model.join("config.json"), &wide).unwrap();
    let run = lyn(["show", model.to_str().unwrap()]).expect_code(3);
    assert!(run.err.contains("this is UTF-16 text") && run.err.contains("save it as UTF-8"), "{}", run.err);
    assert!(!run.err.contains("download"), "{}", run.err);
}

#[cfg(unix)]
#[test]
fn text_of_another_code_page_is_the_same_mistake_everywhere() {
    for verb in ["generate", "chat", "tokenize"] {
        let run = lyn_with(&[verb], b"caf\xe9\nhi\n").expect_code(2);
        assert!(
            run.err.contains("stdin: expected UTF-8 text, found an invalid byte at offset 3"),
            "{verb:?}: {}",
            run.err
        );
        assert!(!run.err.contains("check the path"), "{}", run.err);
    }
}
