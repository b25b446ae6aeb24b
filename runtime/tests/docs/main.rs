//! docs/errors.md has an entry with the exit code of every error code, and a row for every class of refused files; a public type
//! has a name of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lyn::Code;

mod models;

const ERRORS: &str = include_str!("../../../docs/errors.md");

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

/// Oracle: the one table of classes in `error.rs`.
#[test]
fn every_class_has_its_row() {
    let rows: Vec<&str> = ERRORS.lines().filter_map(|line| line.strip_prefix("| E-")?.split(' ').next()).collect();
    let lines = include_str!("../../src/error.rs").lines();
    let classes: Vec<&str> =
        lines.filter_map(|line| Some(line.split_once(" = \"E-")?.1.split_once("\", ")?.0)).collect();
    assert!(!classes.is_empty());
    assert_eq!(rows, classes, "rows of docs/errors.md against the classes, in order");
}

/// One word per thing: a type's name is given once among those that the library, its shaders and the program show.
///
/// Oracle: the sources. Where two types are faces of one thing, the pair is listed with the reason.
#[test]
fn types_have_names_of_their_own() {
    // The executor that the engine holds, and the two that stand behind it, one of them chosen when it is opened.
    const FACES: [&str; 3] = ["Executor", "Prepared", "Read"];
    let mut homes: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = root.join("../native/src");
    let mut folders = vec![root.join("src"), root.join("../shaders"), program.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source");
                // A program shows nothing outside: there, what a file shows to others counts.
                let views: &[&str] =
                    if path.starts_with(&program) { &["pub(crate) ", "pub(super) "] } else { &["pub "] };
                let shown = text.lines().filter_map(|line| views.iter().find_map(|view| line.strip_prefix(view)));
                let kinds = ["struct ", "enum ", "trait ", "type "];
                for rest in shown.filter_map(|line| kinds.iter().find_map(|kind| line.strip_prefix(kind))) {
                    let end = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
                    homes.entry(rest[..end].to_owned()).or_default().push(path.clone());
                }
            }
        }
    }
    assert!(homes.len() > 100, "types were found");
    // Twins of one file are the native and the browser's form of one type.
    let twice = |(name, homes): (String, Vec<PathBuf>)| {
        let alike = homes.iter().all(|home| home == &homes[0]);
        (homes.len() > 1 && !alike && !FACES.contains(&name.as_str())).then(|| format!("{name}: {homes:?}"))
    };
    let twice: Vec<String> = homes.into_iter().filter_map(twice).collect();
    assert!(twice.is_empty(), "names of two types:\n{}", twice.join("\n"));
}
