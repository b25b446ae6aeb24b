//! docs/errors.md has an entry with the exit code of every error code, and a row for every class of refused files.

use lyn::Code;

const ERRORS: &str = include_str!("../../docs/errors.md");

/// Oracle: the one table of codes in `error.rs`.
#[test]
fn every_code_has_its_entry() {
    let entries: Vec<(&str, &str)> =
        ERRORS.split("\n## ").skip(1).filter_map(|entry| entry.split_once("\n\n")).collect();
    let headings: Vec<&str> = entries.iter().map(|(heading, _)| *heading).collect();
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.name()).collect();
    assert_eq!(headings, codes, "headings of docs/errors.md against the codes, in order");
    for (code, (heading, text)) in Code::ALL.iter().zip(entries) {
        let said = format!("Exit code {}.", code.exit_code());
        assert!(text.starts_with(&said), "{heading}: expected {said:?}, found {:?}", text.lines().next());
    }
}

/// Oracle: the names that `Class::name` gives, as its source has them.
#[test]
fn every_class_has_its_row() {
    let rows: Vec<&str> = ERRORS.lines().filter_map(|line| line.strip_prefix("| E-")?.split(' ').next()).collect();
    let arms = include_str!("../src/error.rs").lines();
    let classes: Vec<&str> = arms.filter_map(|line| line.split_once("=> \"E-")?.1.strip_suffix("\",")).collect();
    assert!(!classes.is_empty());
    assert_eq!(rows, classes, "rows of docs/errors.md against the classes, in order");
}
