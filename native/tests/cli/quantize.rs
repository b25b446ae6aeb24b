//! `lyn quantize`: from the built-in model to files that answer as it does.

use std::fs;

use super::{folder, lyn};

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
