//! Verbs about models and adapters.

use std::path::Path;

use super::{command, copy_of_stories, ended, folder, lyn, lyn_with, stories};

#[test]
fn devices_are_listed_with_the_default_marked() {
    let run = lyn(["devices"]).expect_code(0);
    assert!(run.out.lines().next().unwrap().contains("backend") && run.out.contains("0 *"), "{}", run.out);
    assert!(!run.out.contains('\u{1b}'));
    let json = lyn(["devices", "--json"]).expect_code(0).json();
    assert_eq!((&json["schema"], &json["default"]), (&"lyn.devices/1".into(), &0.into()));
    assert!(json["adapters"][0]["max_binding_bytes"].as_u64().unwrap() >= 128 << 20);
    // A software adapter has the machine's memory, and none of its own.
    assert!(json["adapters"][0].as_object().unwrap().contains_key("memory"));
    assert!(run.out.contains("the machine's") || run.out.contains(" free of ") || run.out.contains("unknown"));
}

#[test]
fn a_model_is_described_from_its_headers() {
    let run = lyn(["show"]).expect_code(0);
    assert!(run.out.contains("deepseek_v32 · 4.44 M parameters") && run.out.contains("keeps 64 tokens"), "{}", run.out);
    let folder = stories();
    let json = lyn(["show", folder.to_str().unwrap(), "--json"]).expect_code(0).json();
    assert_eq!((&json["tensors"], &json["chat_format"]), (&235.into(), &"dsml".into()));
    // A weights file stands for its folder.
    lyn([std::path::Path::new("show"), &folder.join("model.safetensors")]).expect_code(0);
}

#[test]
fn memory_is_planned() {
    let run = lyn(["plan", "-c", "1024"]).expect_code(0);
    assert!(run.out.contains("1,024 tokens × 6 layers × (64 + 16 + 32) × 4 bytes"), "{}", run.out);
    let plan = &lyn(["plan", "-c", "1024", "--json"]).expect_code(0).json()["plan"];
    assert_eq!(plan["cache_bytes"], 1024 * 6 * (64 + 16 + 32) * 4);
}

#[test]
fn whole_files_verify() {
    let run = lyn(["verify", stories().to_str().unwrap(), "--json"]).expect_code(0);
    let json = run.json();
    assert_eq!(json["passed"], true);
    assert_eq!(json["checks"].as_array().unwrap().len(), 3);
}

/// What only a conversation or a far layer would show.
#[test]
fn values_and_templates_verify() {
    let model = super::copy_of_stories("verify-all");
    for (template, says) in [
        ("{{ messages[0].content }}", None),
        ("{% for x in %}", Some("E-TEMPLATE: chat_template.jinja")),
        ("{{ messages | zzz }}", Some("filter zzz is unknown")),
    ] {
        std::fs::write(model.join("chat_template.jinja"), template).unwrap();
        let run = lyn(["verify", model.to_str().unwrap()]).expect_code(if says.is_none() { 0 } else { 8 });
        run.says(says.as_slice());
    }
    std::fs::remove_file(model.join("chat_template.jinja")).unwrap();
    // The last value of the last tensor.
    let file = model.join("model.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    let end = bytes.len();
    bytes[end - 2..].copy_from_slice(&0x7fc0u16.to_le_bytes());
    std::fs::write(&file, bytes).unwrap();
    lyn(["verify", model.to_str().unwrap()]).expect_code(8).says(&["E-VALUE: model.safetensors", "model.norm.weight"]);
}

#[test]
fn text_becomes_ids_and_ids_text() {
    let run = lyn(["tokenize", "Once upon a time"]).expect_code(0);
    assert_eq!(run.out, "ids     440 450 275 415\npieces  Once│ upon│ a│ time\ncount   4\n");
    assert_eq!(lyn(["tokenize", "--decode", "440 450, 275 415"]).expect_code(0).out, "Once upon a time");
    assert_eq!(lyn_with(&["tokenize", "--json"], "Once").expect_code(0).json()["ids"], serde_json::json!([440]));
    let control = "<｜User｜>";
    assert_eq!(lyn(["tokenize", control, "--special", "--json"]).json()["count"], 1);
    assert!(lyn(["tokenize", control, "--json"]).json()["count"].as_u64().unwrap() > 1);
}

#[test]
fn kernels_conform_and_the_report_says_so() {
    let report = folder("conform").join("report.json");
    let run = lyn(["conform", "--kernel", "r*", "--report", report.to_str().unwrap()]).expect_code(0);
    assert!(run.out.contains("rms_norm") && !run.out.contains("linear"), "{}", run.out);
    let json: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(report).unwrap()).unwrap();
    assert_eq!((&json["schema"], &json["passed"]), (&"lyn.conform/1".into(), &true.into()));
}

#[test]
fn an_adapter_is_checked_at_its_first_use() {
    let cache = folder("cache");
    let checked = |cache: &Path| {
        let arguments = ["generate", "Once", "--max-tokens", "1", "-v"];
        let run = ended(command(arguments).env("XDG_CACHE_HOME", cache)).expect_code(0);
        run.err.contains("passed the self-check")
    };
    assert_eq!((checked(&cache), checked(&cache)), (true, false));
    let known = std::fs::read_to_string(cache.join("lyn/self-check")).unwrap();
    assert!(known.contains(env!("CARGO_PKG_VERSION")), "{known}");
    // Another driver is another adapter.
    std::fs::write(cache.join("lyn/self-check"), known.replace('\t', "x\t")).unwrap();
    assert!(checked(&cache));
    // Where nothing can be remembered the check runs each time.
    assert_eq!((checked(Path::new("/dev/null")), checked(Path::new("/dev/null"))), (true, true));
}

#[test]
fn the_doctor_tells_a_story() {
    let json = lyn(["doctor", "--json"]).expect_code(0).json();
    assert_eq!(json["passed"], true);
    assert_eq!(json["facts"]["story"], "Once upon a time, there was a little girl named Lily");
}

#[test]
fn speeds_are_measured_sparse_against_dense() {
    let run = lyn(["bench", "-p", "8", "-n", "4", "-d", "16", "-r", "1", "--json"]).expect_code(0);
    let json = run.json();
    let tests = json["tests"].as_array().unwrap();
    let named: Vec<_> =
        tests.iter().map(|test| (test["test"].as_str().unwrap(), test["attention"].as_str().unwrap())).collect();
    let expected = ["pp8 @ d16", "tg4 @ d16"].map(|test| [(test, "sparse"), (test, "dense")]);
    assert_eq!(named, [expected[0][0], expected[1][0], expected[0][1], expected[1][1]]);
    assert!(tests.iter().all(|test| test["tokens_per_second"].as_f64().unwrap() > 0.0));
    assert!(tests[0]["vs_dense"].is_number() && tests[2]["vs_dense"].is_null());
    let run = lyn(["bench", "-p", "0", "-n", "2", "-r", "1", "--attention", "dense", "-o", "md"]).expect_code(0);
    assert!(run.out.contains("| test ") && run.out.contains("| tg2 @ d0 | dense "), "{}", run.out);
}

/// Random weights in the sizes of a config, as stored and in fewer bits.
#[test]
fn speeds_are_measured_by_type_without_a_checkpoint() {
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/golden/j_v2_lite/config.json");
    let bench = ["bench", "-p", "4", "-n", "2", "-r", "1", "--attention", "dense", "--synthetic", config];
    let json = lyn(bench.iter().chain(&["--type", "stored,q8_0", "--json"])).expect_code(0).json();
    let tests = json["tests"].as_array().unwrap();
    let types: Vec<_> = tests.iter().map(|test| test["weights"].as_str().unwrap()).collect();
    assert_eq!(types, ["stored", "stored", "q8_0", "q8_0"]);
    assert!(tests[0]["vs_first"].is_null() && tests[2]["vs_first"].as_f64().unwrap() > 0.0, "{json}");
    let run = lyn(bench.iter().chain(&["--type", "q4_0", "-o", "md"])).expect_code(0);
    assert!(run.out.contains("| pp4 @ d0 | q4_0    | dense "), "{}", run.out);
    let refused = lyn(["bench", "--synthetic", "9b"]).expect_code(2);
    assert!(refused.err.contains("--synthetic: expected 0.5b or a config.json, found \"9b\""), "{}", refused.err);
}

#[test]
fn the_cache_on_disk_is_shown_and_cleared() {
    let cache = folder("cache-shown");
    let blocks = cache.join("blocks");
    let of = |arguments: &[&str]| {
        ended(command(["cache"].iter().chain(arguments)).env("LYN_CACHE_DIR", &blocks)).expect_code(0)
    };
    // A folder that is not there is an empty cache, and is not made.
    assert_eq!(of(&["clear"]).out, "removed 0 blocks, 0.0 KiB\n");
    assert!(!blocks.exists());
    std::fs::create_dir(&blocks).unwrap();
    let block = blocks.join("0123456789abcdef".repeat(6));
    std::fs::write(&block, [0; 2048]).unwrap();
    std::fs::write(blocks.join("notes.txt"), "mine").unwrap();
    let shown = of(&["show"]).out;
    assert!(shown.contains("blocks  1, 2.0 KiB, oldest last used ") && shown.contains("in use  no"), "{shown}");
    let json = of(&["show", "--json"]).json();
    assert_eq!((&json["blocks"], &json["bytes"], &json["in_use"]), (&1.into(), &2048.into(), &false.into()));
    assert_eq!(of(&["clear", "--json"]).json()["cleared"], true);
    assert!(!block.exists() && blocks.join("notes.txt").exists());
    // Where no folder is named, it lies where caches do.
    let shown = ended(command(["cache", "show"]).env("XDG_CACHE_HOME", &cache)).expect_code(0);
    assert!(shown.out.contains("lyn/blocks"), "{}", shown.out);
}

/// A long continuation that goes wrong at its end: it is compared to its last id.
#[test]
fn every_id_of_a_continuation_is_compared() {
    let text = std::fs::read_to_string(stories().join("golden.json")).unwrap();
    let golden: serde_json::Value = serde_json::from_str(&text).unwrap();
    let ids = |case: &serde_json::Value, name: &str| -> Vec<i64> {
        case[name].as_array().unwrap().iter().map(|id| id.as_i64().unwrap()).collect()
    };
    let longest = golden["cases"].as_array().unwrap().iter().max_by_key(|case| ids(case, "greedy").len()).unwrap();
    let (prompt, mut greedy) = (ids(longest, "ids"), ids(longest, "greedy"));
    assert!(greedy.len() > 32, "{}", greedy.len());
    let folder = copy_of_stories("every-id");
    let conform = |greedy: &[i64]| {
        let (first, all) = (prompt.len() * 8, (prompt.len() + greedy.len()) * 8);
        let header = serde_json::json!({
            "story.ids": { "dtype": "I64", "shape": [prompt.len()], "data_offsets": [0, first] },
            "story.greedy": { "dtype": "I64", "shape": [greedy.len()], "data_offsets": [first, all] },
        });
        let mut header = header.to_string().into_bytes();
        header.resize(header.len().next_multiple_of(8), b' ');
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header);
        file.extend(prompt.iter().chain(greedy).flat_map(|id| id.to_le_bytes()));
        std::fs::write(folder.join("golden.safetensors"), file).unwrap();
        lyn(["conform", "--golden", folder.to_str().unwrap()])
    };
    conform(&greedy).expect_code(0);
    let last = greedy.len() - 1;
    greedy[last] = (greedy[last] + 7) % 2048;
    let run = conform(&greedy).expect_code(8);
    assert!(run.out.contains(&format!("FAILED story.greedy, token {last}: expected {}", greedy[last])), "{}", run.out);
}
