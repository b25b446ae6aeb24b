//! Servers that mean harm, or are broken beyond use: bounded, refused, and nothing outside the cache.

use serde_json::json;

use super::server::Fault;
use super::*;

fn listed(path: &str) -> serde_json::Value {
    json!({ "type": "file", "path": path, "size": 1, "oid": "a".repeat(40) })
}

#[test]
fn lists_that_leave_the_repository_are_refused() {
    let place = Place::new("lists", &[weights()]);
    let large = |oid: &str, size: u64| json!([{ "type": "file", "path": "a-Q8_0.gguf", "size": 1, "oid": "a".repeat(40), "lfs": { "oid": oid, "size": size } }]);
    for (list, says) in [
        (json!([listed("../../evil-Q8_0.gguf")]), "which is not below the repository"),
        (json!([listed("/etc/evil-Q8_0.gguf")]), "which is not below the repository"),
        (json!([listed("a/../../evil.gguf")]), "which is not below the repository"),
        (json!([listed("a.gguf"), listed("a.gguf")]), "twice"),
        (large("../../../evil", 1), "without a hash"),
        (large(&"a".repeat(64), u64::MAX), "impossible size"),
        (json!({ "error": "no" }), "expected a list of files"),
        (json!(["a", "b"]), "expected a list of files"),
    ] {
        place.hub.fails("/tree/", Fault::Says(list.to_string()));
        place.run(&["pull", NAME]).expect_code(6).says(&["error[network]", says]);
    }
    // Names that are harmless and useless are passed over.
    place.hub.fails("/tree/", Fault::Says(json!([listed("a\u{1b}[2J-Q8_0.gguf"), listed("c:\\x.gguf")]).to_string()));
    place.run(&["pull", NAME]).expect_code(3).says(&["has no model that lyn reads"]);
    let commit = json!({ "sha": "../../evil" }).to_string();
    place.hub.fails("/revision/", Fault::Says(commit));
    place.run(&["pull", NAME]).expect_code(3);
    assert!(fs::read_dir(&place.cache).unwrap().next().is_none(), "nothing was written");
}

#[test]
fn lists_without_end_are_left() {
    let place = Place::new("endless", &[weights()]);
    place.hub.fails("/tree/", Fault::Endless);
    place.run(&["pull", NAME]).expect_code(6).says(&["sent an answer of more than 16777216 bytes"]);
    let many: Vec<_> = (0..60_000).map(|number| listed(&number.to_string())).collect();
    place.hub.fails("/tree/", Fault::Says(json!(many).to_string()));
    place.run(&["pull", NAME]).expect_code(6).says(&["more than 50000 files"]);
    place.hub.fails("/tree/", Fault::Says("[".repeat(100_000)));
    place.run(&["pull", NAME]).expect_code(6).says(&["expected a list of files"]);
}

#[test]
fn names_are_no_paths() {
    let place = Place::new("names", &[weights()]);
    for name in ["../x", "org/..", "org/a:../../x", "org/tiny@../../x", "org", "/etc/passwd", "org/a/b", "org/a--b"] {
        for verb in [&["pull"][..], &["rm", "--yes"]] {
            let run = place.run(&[verb, &[name]].concat()).expect_code(2);
            run.says(&["error[bad_request]", "is not a Hub model", "write org/name"]);
        }
    }
    assert!(place.hub.heard("").is_empty());
}

#[test]
fn a_file_that_is_no_model_is_not_called_ready() {
    let place = Place::new("no-model", &[weights()]);
    let run = place.run(&["pull", NAME]).expect_code(0);
    run.says(&["downloaded, as the Hub has it: org/tiny:Q8_0", "warning", "lyn cannot run it: E-"]);
    assert!(!run.err.contains("lyn generate"), "{}", run.err);
    place.run(&["pull", NAME]).expect_code(0).says(&["already there", "lyn cannot run it"]);
    let model = Place::new("a-model", &[Hosted::large("tiny-Q8_0.gguf", &golden_gguf())]);
    model.run(&["pull", NAME]).expect_code(0).says(&["downloaded: lyn generate -m org/tiny"]);
}

#[test]
fn a_server_without_ranges_is_named_as_that() {
    // Longer than what is read at first; bytes behind the last tensor are nobody's.
    let long = [golden_gguf(), vec![0; 2 << 20]].concat();
    let place = Place::new("no-ranges", &[Hosted::large("tiny-Q8_0.gguf", &long)]);
    place.hub.fails("/resolve/", Fault::Says("all of it".to_owned()));
    let run = place.run(&["plan", "org/tiny:Q8_0"]).expect_code(6);
    run.says(&["sends whole files only", "supports Range requests"]);
}
