//! Folders as users have them, and names that are not harmless.

use std::fs;
use std::path::Path;

use super::{command, copy_of_stories, ended, folder, lyn, stories};

/// Links to the files of stories, with other names for some.
#[cfg(unix)]
fn links(folder: &Path, names: &[(&str, &str)]) {
    fs::create_dir_all(folder).unwrap();
    for (from, to) in names {
        std::os::unix::fs::symlink(stories().canonicalize().unwrap().join(from), folder.join(to)).unwrap();
    }
}

const WHOLE: [(&str, &str); 5] = [
    ("config.json", "config.json"),
    ("generation_config.json", "generation_config.json"),
    ("model.safetensors", "model.safetensors"),
    ("tokenizer.json", "tokenizer.json"),
    ("tokenizer_config.json", "tokenizer_config.json"),
];

#[cfg(unix)]
#[test]
fn a_hub_s_cache_stands_for_its_snapshot() {
    let root = folder("hub-cache").join("models--org--name");
    let commit = "0123456789abcdef";
    links(&root.join("snapshots").join(commit), &WHOLE);
    let show = || lyn([Path::new("show"), &root]);
    assert!(show().expect_code(0).out.contains("models--org--name"));
    // Of several, the one that is called main.
    fs::create_dir(root.join("snapshots/ffff")).unwrap();
    show().expect_code(3).says(&["several snapshots", "snapshots/ffff"]);
    fs::create_dir(root.join("refs")).unwrap();
    fs::write(root.join("refs/main"), format!("{commit}\n")).unwrap();
    show().expect_code(0);
    // A reference that leaves the folder is none.
    fs::write(root.join("refs/main"), "../../other").unwrap();
    show().expect_code(3);
    lyn([Path::new("show"), root.parent().unwrap()]).expect_code(3).says(&["give \"", "models--org--name"]);
}

#[cfg(unix)]
#[test]
fn shards_without_an_index_are_read_or_asked_for() {
    let only = folder("only");
    links(&only, &[("config.json", "config.json"), ("model.safetensors", "model-00001-of-00001.safetensors")]);
    lyn([Path::new("show"), &only]).expect_code(0);
    lyn([Path::new("show"), &only.join("model-00001-of-00001.safetensors")]).expect_code(0);
    let some = folder("some");
    links(&some, &[("config.json", "config.json"), ("model.safetensors", "model-00001-of-00003.safetensors")]);
    lyn([Path::new("show"), &some]).expect_code(3).says(&["model.safetensors.index.json", "shards 2, 3"]);
    let named = folder("named");
    links(&named, &[("config.json", "config.json"), ("model.safetensors", "weights.safetensors")]);
    lyn([Path::new("show"), &named]).expect_code(3).says(&["\"weights.safetensors\"", "rename the file"]);
}

#[test]
fn folders_say_what_they_hold_in_place_of_a_model() {
    let holding = |name: &str, files: &[&str]| {
        let folder = folder(name);
        files.iter().for_each(|file| fs::write(folder.join(file), "{}").unwrap());
        let run = lyn([Path::new("show"), &folder]).expect_code(3);
        // Nothing is damaged.
        assert!(!run.err.contains("checksum") && !run.err.contains("again"), "{}", run.err);
        run.err
    };
    let two = holding("gguf", &["a-Q4_K.gguf", "a-Q8_0.gguf"]);
    assert!(two.contains("several GGUF models") && two.contains("a-Q4_K.gguf"), "{two}");
    assert!(holding("torch", &["pytorch_model.bin"]).contains("a PyTorch file"));
    assert!(holding("torch-config", &["config.json", "pytorch_model.bin"]).contains("a PyTorch file"));
    assert!(holding("weights", &["model.safetensors"]).contains("put it beside them"));
    assert!(holding("config", &["config.json"]).contains("download the weights too"));
    assert!(holding("nothing", &[]).contains("config.json"));
    let outer = folder("outer");
    fs::create_dir(outer.join("inner")).unwrap();
    fs::write(outer.join("inner/config.json"), "{}").unwrap();
    lyn([Path::new("show"), &outer]).expect_code(3).says(&["give \"", "outer/inner"]);
    // Of a model's files, those that name it.
    lyn([Path::new("show"), &stories().join("config.json")]).expect_code(0);
    lyn([Path::new("show"), &stories().join("tokenizer.json")]).expect_code(3).says(&["is not a .safetensors file"]);
}

#[cfg(unix)]
#[test]
fn names_reach_the_terminal_escaped_and_in_one_line() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let model = folder("names").join(OsStr::from_bytes(b"m\x1b[31mX\nline2 \xc2\x9b\xe2\x80\xa8 caf\xe9"));
    links(&model, &WHOLE);
    let plain = |text: &str| {
        assert!(!text.chars().any(|c| c != '\n' && (c.is_control() || c == '\u{2028}')), "{text:?}");
        assert!(!text.lines().any(|line| line.starts_with("line2")), "{text:?}");
    };
    for verb in ["show", "plan", "verify"] {
        for more in [&[][..], &["--json"]] {
            let run = ended(command([OsStr::new(verb), model.as_os_str()]).args(more));
            plain(&run.out);
            plain(&run.err);
            let run = run.expect_code(0);
            assert!(verb != "show" || !more.is_empty() || run.out.contains("m\\u{1b}[31mX\\nline2"), "{}", run.out);
        }
    }
    let mut generate = command([OsStr::new("generate"), OsStr::new("-m"), model.as_os_str()]);
    let run = ended(generate.args(["--raw", "-n", "2", "-t", "0", "--json", "Once"]));
    plain(&run.expect_code(0).err);
    let missing = model.join("not here\x1b");
    let run = lyn([Path::new("show"), &missing]).expect_code(3);
    plain(&run.err);
    assert!(run.err.contains("caf\\xe9") && run.err.contains("not here\\u{1b}"), "{}", run.err);
}

#[test]
fn text_of_a_checkpoint_s_files_reaches_no_terminal_raw() {
    let model = copy_of_stories("strings");
    let config = fs::read_to_string(model.join("config.json")).unwrap();
    fs::write(model.join("config.json"), config.replace("\"deepseek_v32\"", "\"\\u001b[2Jx\\u2028\"")).unwrap();
    let run = lyn([Path::new("show"), &model]).expect_code(3);
    assert!(
        !run.err.contains('\u{1b}') && !run.err.contains('\u{2028}') && run.err.contains("\\u{1b}[2J"),
        "{}",
        run.err
    );
}

#[test]
fn defaults_of_a_checkpoint_that_are_out_of_range_are_its_fault() {
    for (text, field) in
        [("{\"temperature\":5}", "temperature"), ("{\"top_p\":0}", "top_p"), ("{\"top_p\":1.5}", "top_p")]
    {
        let model = copy_of_stories("defaults");
        fs::write(model.join("generation_config.json"), text).unwrap();
        let run = lyn(["generate", "-m", model.to_str().unwrap(), "--raw", "-q", "-n", "2", "Once"]).expect_code(3);
        let expected = format!("E-CONFIG: generation_config.json: {field}: expected a number");
        assert!(run.err.contains(&expected), "{}", run.err);
    }
}
