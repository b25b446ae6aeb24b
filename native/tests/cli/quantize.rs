//! `lyn quantize`: from the built-in model to files that answer as it does.

use std::fs;

use super::{copy_of_stories, folder, lyn};

#[test]
fn eight_bits_answer_as_sixteen() {
    let folder = folder("quantize");
    let file = folder.join("stories-Q8_0.gguf");
    let _ = fs::remove_file(&file);
    let (out, path) = (folder.to_str().unwrap(), file.to_str().unwrap());
    let json = lyn(["quantize", "stories", out, "--type", "q8_0", "--json"]).expect_code(0).json();
    assert_eq!(
        (&json["schema"], &json["file"], &json["type"]),
        (&"lyn.quantize/1".into(), &path.into(), &"q8_0".into())
    );
    assert_eq!(json["bytes"].as_u64(), Some(fs::metadata(&file).unwrap().len()));
    assert!((8.5..8.7).contains(&json["bits_per_weight"].as_f64().unwrap()), "{json}");
    lyn(["verify", path]).expect_code(0);
    let answer = |model: &str| {
        let run = lyn(["generate", "--raw", "-n", "12", "-t", "0", "--device", "cpu", "Once upon a time", "-m", model]);
        run.expect_code(0).out
    };
    assert_eq!(answer(path), answer("stories"));
    let ids =
        |model: &str| lyn(["tokenize", "--json", "-m", model, "It's 12,345 ドル\n\n <think>"]).expect_code(0).json();
    assert_eq!(ids(path)["ids"], ids("stories")["ids"]);
    // The file itself as the source: every block as it was.
    let again = folder.join("again.gguf");
    lyn(["quantize", path, again.to_str().unwrap(), "--type", "q8_0", "--force", "--threads", "1"])
        .expect_code(0)
        .says(&["quantised already"]);
    assert_eq!(fs::metadata(&again).unwrap().len(), fs::metadata(&file).unwrap().len());
}

#[test]
fn nothing_is_replaced_unasked_and_nothing_half_is_left() {
    let folder = folder("quantize-refused");
    let file = folder.join("kept.gguf");
    fs::write(&file, "mine").unwrap();
    let path = file.to_str().unwrap();
    lyn(["quantize", "stories", path]).expect_code(6).says(&["exists already", "--force"]);
    assert_eq!(fs::read(&file).unwrap(), b"mine");
    lyn(["quantize", "stories", path, "--type", "q9_0"]).expect_code(2).says(&["q9_0", "q4_k_m"]);
    lyn(["quantize", "nowhere", path]).expect_code(3);
    lyn(["quantize", "stories", folder.join("none/x.gguf").to_str().unwrap()]).expect_code(6).says(&["x.gguf"]);
    lyn(["quantize", "stories", path, "--force", "--type", "q4_k_m"]).expect_code(0);
    assert!(fs::read(&file).unwrap().starts_with(b"GGUF"));
    let names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["kept.gguf"]);
}

/// Each is left as it was, whatever is asked for.
#[cfg(unix)]
#[test]
fn only_regular_files_are_replaced() {
    use std::os::unix::fs::{FileTypeExt, symlink};
    let folder = folder("quantize-special");
    let place = |name: &str| folder.join(name);
    let quantize = |name: &str, more: &[&str]| {
        lyn([&["quantize", "stories", place(name).to_str().unwrap(), "--type", "q4_0"], more].concat())
    };
    for name in ["pipe.gguf", "p.gguf.part"] {
        let _ = fs::remove_file(place(name));
        assert!(std::process::Command::new("mkfifo").arg(place(name)).status().unwrap().success());
    }
    for name in ["link.gguf", "dangling.gguf", "l.gguf.part"] {
        let _ = fs::remove_file(place(name));
        symlink(if name == "dangling.gguf" { "nowhere" } else { "target" }, place(name)).unwrap();
    }
    fs::write(place("target"), "mine").unwrap();
    fs::create_dir_all(place("d.gguf.part")).unwrap();
    for (name, says) in [
        ("pipe.gguf", ["pipe.gguf\" is a device, a pipe", "another name"]),
        ("link.gguf", ["link.gguf\" is a symbolic link", "another name"]),
        ("dangling.gguf", ["dangling.gguf\" is a symbolic link", "another name"]),
        ("p.gguf", ["p.gguf.part\" is a device, a pipe", "another name"]),
        ("l.gguf", ["l.gguf.part\" is a symbolic link", "remove it"]),
        ("d.gguf", ["d.gguf.part\" is a folder", "another name"]),
    ] {
        quantize(name, &[]).expect_code(6);
        quantize(name, &["--force"]).expect_code(6).says(&says);
    }
    assert!(fs::symlink_metadata(place("pipe.gguf")).unwrap().file_type().is_fifo());
    assert!(fs::symlink_metadata(place("link.gguf")).unwrap().is_symlink() && !place("nowhere").exists());
    assert_eq!(fs::read(place("target")).unwrap(), b"mine");
    // A file of the user's that has the name of one in the making.
    let _ = fs::remove_file(place("u.gguf"));
    fs::write(place("u.gguf.part"), "mine").unwrap();
    quantize("u.gguf", &[]).expect_code(6).says(&["u.gguf.part\" exists already", "--force"]);
    assert_eq!(fs::read(place("u.gguf.part")).unwrap(), b"mine");
    fs::hard_link(place("u.gguf.part"), place("other name")).unwrap();
    quantize("u.gguf", &["--force"]).expect_code(0);
    assert_eq!(fs::read(place("other name")).unwrap(), b"mine", "it had two names and lost one");
    fs::remove_file(place("other name")).unwrap();
    assert!(!place("u.gguf.part").exists() && place("u.gguf").is_file());
}

/// Not even when asked for.
#[test]
fn a_model_is_not_replaced_by_what_is_made_of_it() {
    let model = copy_of_stories("quantize-own");
    let place = |name: &str| model.join(name);
    let quantize = |from: &std::path::Path, to: &std::path::Path| {
        lyn(["quantize", from.to_str().unwrap(), to.to_str().unwrap(), "--type", "q4_0", "--force", "--threads", "1"])
    };
    let before = |name: &str| fs::read(place(name)).unwrap();
    let files = ["model.safetensors", "config.json", "tokenizer.json"];
    let kept = files.map(before);
    for name in files {
        quantize(&model, &place(name)).expect_code(6).says(&["one of the model's own files", "another name"]);
        quantize(&place("model.safetensors"), &place(name)).expect_code(6);
        quantize(&model, &place("../quantize-own").join(name)).expect_code(6);
    }
    assert!(files.map(before) == kept);
    // A GGUF file in the same folder is another model, until it is the one that is read.
    quantize(&model, &place("x.gguf")).expect_code(0);
    quantize(&model, &place("x.gguf")).expect_code(0);
    let whole = before("x.gguf");
    quantize(&place("x.gguf"), &place("x.gguf")).expect_code(6).says(&["one of the model's own files"]);
    #[cfg(unix)]
    {
        let link = folder("quantize-own-link").join("l.gguf");
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(place("x.gguf"), &link).unwrap();
        quantize(&link, &place("x.gguf")).expect_code(6).says(&["one of the model's own files"]);
    }
    assert!(before("x.gguf") == whole);
}

/// An option that means something else in another verb is that verb's alone.
#[test]
fn what_is_set_for_one_verb_is_not_taken_by_another() {
    use super::{command, ended};
    let plan =
        |value: &str| ended(command(["plan", "stories", "--device", "cpu"]).env("LYN_TYPE", value)).expect_code(0).out;
    assert_eq!(plan("q4_0"), plan(""));
    let file = folder("quantize-own").join("kept.gguf");
    fs::write(&file, "mine").unwrap();
    let quantize =
        |name: &str, value: &str| ended(command(["quantize", "stories", file.to_str().unwrap()]).env(name, value));
    quantize("LYN_FORCE", "1").expect_code(6).says(&["exists already"]);
    quantize("LYN_TYPE", "q9_9")
        .expect_code(2)
        .says(&["LYN_TYPE: expected one of f32, ", "q3_k_m, q2_k, found \"q9_9\""]);
    let settings = file.with_extension("toml");
    fs::write(&settings, "type = \"q8_0\"\nforce = true\n").unwrap();
    let more = ["--config", settings.to_str().unwrap()];
    lyn([&["quantize", "stories", file.to_str().unwrap()], &more[..]].concat())
        .expect_code(6)
        .says(&["exists already"]);
    assert_eq!(lyn([&["plan", "stories", "--device", "cpu"], &more[..]].concat()).expect_code(0).out, plan(""));
    lyn(["bench", "--type", "q9_9"]).expect_code(2).says(&["expected stored or one of f32, ", "q2_k, found"]);
}
