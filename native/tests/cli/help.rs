//! Help, version, completions, man pages, docs/cli.md.

use std::path::Path;

use super::{folder, lyn};

#[test]
fn lyn_alone_shows_three_examples_in_twelve_lines() {
    let run = lyn::<&str>([]).expect_code(0);
    assert_eq!(run.out.lines().count(), 12);
    assert!(run.out.lines().take(3).all(|line| line.trim_start().starts_with("lyn ")), "{}", run.out);
    assert_eq!(run.err, "");
}

#[test]
fn version_names_wgpu_and_target() {
    let run = lyn(["--version"]).expect_code(0);
    assert!(run.out.starts_with(concat!("lyn ", env!("CARGO_PKG_VERSION"))), "{}", run.out);
    assert!(run.out.contains("wgpu 30.") && run.out.contains(std::env::consts::ARCH), "{}", run.out);
}

#[test]
fn help_begins_with_examples_and_ends_with_docs() {
    for verb in [
        "generate", "chat", "pull", "list", "rm", "devices", "show", "plan", "verify", "conform", "tokenize", "doctor",
        "bench", "man",
    ] {
        let run = lyn([verb, "--help"]).expect_code(0);
        assert!(run.out.starts_with("Examples:\n  lyn"), "{}", run.out);
        let last = run.out.trim_end().lines().last().unwrap();
        assert_eq!(last, format!("Docs: https://github.com/lyn-run/lyn/blob/main/docs/cli.md#lyn-{verb}"));
    }
}

#[test]
fn mistakes_in_words_are_answered_with_the_nearest() {
    let run = lyn(["generat"]).expect_code(2);
    assert!(run.err.contains("did you mean generate?") && run.out.is_empty(), "{}", run.err);
    lyn(["generate", "--temperatur", "1"]).expect_code(2).says(&["did you mean --temperature?"]);
    lyn(["compare"]).expect_code(2);
}

/// `LYN_UPDATE=1 cargo test -p lyn-cli` writes the file anew.
#[test]
fn the_document_of_the_command_line_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli.md");
    let made = lyn(["docs"]).expect_code(0).out;
    // The commit changes without a change of the flags.
    if std::env::var_os("LYN_UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == made, "docs/cli.md is not what `lyn docs` prints; run: LYN_UPDATE=1 cargo test -p lyn-cli");
}

#[test]
fn shells_and_man_are_served() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let run = lyn(["completions", shell]).expect_code(0);
        assert!(run.out.contains("generate") && run.err.is_empty());
    }
    assert!(lyn(["man"]).expect_code(0).out.contains(".TH lyn 1"));
    let pages = folder("man");
    lyn([Path::new("man"), &pages]).expect_code(0);
    assert!(pages.join("lyn-generate.1").is_file());
}
