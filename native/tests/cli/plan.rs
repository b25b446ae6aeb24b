//! `lyn plan` of what is not there yet: a config alone, and a file that quantizing would write.

use std::fs;
use std::path::Path;

use super::{folder, lyn, stories};

#[test]
fn a_config_is_enough() {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/models/youtu-llm-2b.json");
    let plan = |more: &[&str]| {
        let start = ["plan", config.to_str().unwrap(), "--device", "cpu", "-c", "512", "--json"];
        // Whether it fits is the machine's affair.
        lyn(start.iter().chain(more)).json()
    };
    let published = plan(&[]);
    assert_eq!(published["plan"]["stored_bytes"], 3_923_120_128_u64, "1.96 B parameters in bf16");
    assert!(published["file_bytes"].is_null());
    let quantized = plan(&["--type", "Q4_K_M"]);
    let formats = quantized["plan"]["formats"].to_string();
    assert!(["Q4_K", "Q6_K", "Q5_0"].iter().all(|kind| formats.contains(kind)), "{formats}");
    assert!(quantized["file_bytes"].as_u64().unwrap() < 1_300_000_000, "{quantized}");
}

#[test]
fn a_planned_file_is_the_written_one() {
    let folder = folder("plan-type");
    let file = folder.join("stories.gguf");
    let path = file.to_str().unwrap();
    lyn(["quantize", "stories", path, "--type", "mxfp4"]).expect_code(0);
    let planned = lyn(["plan", "stories", "--type", "mxfp4", "--device", "cpu", "--json"]).expect_code(0).json();
    let written = lyn(["plan", path, "--device", "cpu", "--json"]).expect_code(0).json();
    assert_eq!(planned["file_bytes"].as_u64(), Some(fs::metadata(&file).unwrap().len()));
    for field in ["parameters", "formats", "stored_bytes", "weights_bytes", "total_bytes"] {
        assert_eq!(planned["plan"][field], written["plan"][field], "{field}");
    }
    let shown = lyn(["plan", "stories", "--type", "mxfp4", "--device", "cpu"]).expect_code(0).out;
    assert!(shown.contains("to be written by lyn quantize"), "{shown}");
}

#[test]
fn a_config_that_says_too_little_is_refused() {
    let folder = folder("plan-config");
    let config = folder.join("config.json");
    let text = fs::read_to_string(stories().join("config.json")).unwrap();
    let with = |fields: &str| {
        fs::write(&config, text.replacen('{', &format!("{{{fields},"), 1)).unwrap();
        lyn(["plan", config.to_str().unwrap(), "--device", "cpu"])
    };
    with("\"quantization\": {\"group_size\": 64, \"bits\": 4}").expect_code(3).says(&["only the files say"]);
    fs::write(&config, "[]").unwrap();
    lyn(["plan", config.to_str().unwrap(), "--device", "cpu"])
        .expect_code(3)
        .says(&["config.json", "expected an object"]);
}
