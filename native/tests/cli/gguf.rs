//! Models in GGUF: a small random one in Q8_0, with the built-in model's vocabulary.

use std::fs;
use std::path::{Path, PathBuf};

use super::{folder, lyn};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/golden/n_gguf_q8_0/model-Q8_0.gguf")
}

#[test]
fn a_file_and_a_folder_with_one_are_models() {
    let alone = folder("one-gguf");
    fs::copy(golden(), alone.join("model.gguf")).unwrap();
    let with_config = folder("gguf-with-config");
    fs::copy(golden(), with_config.join("model.gguf")).unwrap();
    // The original's, of which nothing else is there.
    fs::write(with_config.join("config.json"), "{}").unwrap();
    for model in [golden(), alone, with_config] {
        let shown = lyn([Path::new("show"), &model]).expect_code(0).out;
        assert!(shown.contains("deepseek_v32") && shown.contains("Q8_0") && shown.contains("dsml"), "{shown}");
        let checked = lyn([Path::new("verify"), &model]).expect_code(0).out;
        assert!(!checked.contains("FAILED"), "{checked}");
        lyn([Path::new("plan"), &model]).expect_code(0);
    }
}

/// Oracle: the same vocabulary in tokenizer.json.
#[test]
fn its_tokenizer_is_that_of_the_lists() {
    let text = "Once upon a time, 12345 dragons said: \"Ünïcode\n\n  and 龍\"<think>";
    let ids = |model: &Path| {
        let run =
            lyn([Path::new("tokenize"), Path::new("--json"), Path::new("-m"), model, Path::new(text)]).expect_code(0);
        run.json()["ids"].clone()
    };
    let found = ids(&golden());
    assert!(found.as_array().is_some_and(|ids| ids.len() > 10), "{found}");
    assert_eq!(found, ids(Path::new("stories")));
}

#[test]
fn it_answers() {
    let model = golden();
    let arguments = ["generate", "--raw", "-n", "4", "-t", "0", "--device", "cpu", "Once", "-m"].map(Path::new);
    let said = lyn(arguments.into_iter().chain([model.as_path()])).expect_code(0).out;
    assert!(!said.trim().is_empty());
}

#[test]
fn a_damaged_file_is_refused_by_its_place() {
    let broken = folder("broken-gguf");
    let mut bytes = fs::read(golden()).unwrap();
    bytes.truncate(bytes.len() / 2);
    fs::write(broken.join("cut.gguf"), &bytes).unwrap();
    lyn([Path::new("show"), &broken.join("cut.gguf")]).expect_code(3).says(&[
        "E-OFFSET",
        "cut.gguf",
        "the file is cut",
    ]);
    fs::write(broken.join("text.gguf"), "no model").unwrap();
    lyn([Path::new("show"), &broken.join("text.gguf")])
        .expect_code(3)
        .says(&["E-KIND", "expected GGUF as first bytes"]);
}
