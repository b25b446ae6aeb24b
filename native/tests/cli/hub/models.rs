//! Which files are a model, which of several is chosen, and what is done with those that are there.

use super::server::Fault;
use super::*;

fn golden_folder() -> Vec<Hosted> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/stories");
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    vec![
        Hosted::small("config.json", &read("config.json")),
        Hosted::small("tokenizer.json", &read("tokenizer.json")),
        Hosted::small("tokenizer_config.json", &read("tokenizer_config.json")),
        Hosted::large("model.safetensors", &read("model.safetensors")),
    ]
}

/// As `huggingface_hub` lays files out, byte for byte.
#[cfg(unix)]
#[test]
fn a_folder_of_safetensors_is_got_whole_and_nothing_else() {
    let wanted = golden_folder();
    let others = [
        "README.md",
        "pytorch_model.bin",
        "onnx/model.onnx",
        "original/model.safetensors",
        "modeling.py",
        "tf_model.h5",
    ];
    let others = others.map(|path| Hosted::large(path, path.as_bytes()));
    let place = Place::new("folder", &[&wanted[..], &others].concat());
    let run = place.run(&["pull", NAME, "--json"]).expect_code(0);
    assert_eq!(run.json()["path"], place.snapshot().to_str().unwrap());
    assert_eq!(run.json()["revision"], COMMIT);
    for file in &wanted {
        place.expect(file);
        let target = fs::read_link(place.snapshot().join(&file.path)).unwrap();
        assert_eq!(target, Path::new("../../blobs").join(file.hash()));
    }
    assert_eq!(fs::read_dir(place.snapshot()).unwrap().count(), wanted.len());
    assert_eq!(fs::read_to_string(place.repository().join("refs/main")).unwrap(), COMMIT);
    assert!(place.cache.join(format!(".locks/models--org--tiny/{}.lock", wanted[3].hash())).is_file());
    assert!(place.cache.join("CACHEDIR.TAG").is_file());
    // Its name is a model now, without a network, for every verb.
    let mut show = place.command(["show", NAME]);
    let shown = ended(show.env("HF_ENDPOINT", "http://127.0.0.1:1").env("HF_HUB_OFFLINE", "1")).expect_code(0).out;
    assert!(shown.contains("4.44 M parameters"), "{shown}");
    place.run(&["verify", "hf:org/tiny"]).expect_code(0);
    let mut pull = place.command(["pull", NAME]);
    let run = ended(pull.env("HF_HUB_OFFLINE", "1")).expect_code(0);
    assert_eq!(run.out.trim(), place.snapshot().to_str().unwrap());
    run.says(&["not compared with the Hub"]);
    let list = place.run(&["list", "--json"]).expect_code(0).json();
    assert_eq!((&list["models"][0]["name"], list["models"].as_array().unwrap().len()), (&NAME.into(), 1));
    let size: usize = wanted.iter().map(|file| file.bytes.len()).sum();
    assert_eq!(list["models"][0]["bytes"], size);
}

#[test]
fn shards_are_those_of_the_index() {
    let index = br#"{"metadata":{},"weight_map":{"a":"m-1.safetensors","b":"m-2.safetensors"}}"#;
    let mut files = vec![
        Hosted::small("config.json", b"{}"),
        Hosted::small("model.safetensors.index.json", index),
        Hosted::large("m-1.safetensors", b"one"),
        Hosted::large("m-2.safetensors", b"two"),
        Hosted::large("m-3.safetensors", b"three"),
    ];
    let place = Place::new("shards", &files);
    place.run(&["pull", NAME]).expect_code(0);
    files[..4].iter().for_each(|file| place.expect(file));
    assert!(!place.snapshot().join("m-3.safetensors").exists());
    files.remove(3);
    place.hub.host(&files);
    place.run(&["pull", NAME]).expect_code(3).says(&["has no \"m-2.safetensors\""]);
}

/// The golden with a type of tensors that no program of llama.cpp's writes.
fn foreign_gguf() -> Vec<u8> {
    let mut bytes = golden_gguf();
    let name = b"blk.0.attn_kv_a_mqa.weight";
    let at = bytes.windows(name.len()).position(|window| window == name).unwrap() + name.len();
    let dimensions = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let kind = at + 4 + 8 * dimensions;
    assert_eq!(bytes[kind..kind + 4], 8_u32.to_le_bytes());
    bytes[kind..kind + 4].copy_from_slice(&137_u32.to_le_bytes());
    // Larger than the one that runs, so that it is looked at before.
    bytes.resize(bytes.len() + 1000, 0);
    bytes
}

/// Oracle: docs/models-and-memory.md. The largest that lyn runs, that fits, and is worth it.
#[test]
fn of_three_quantisations_the_one_that_suits_the_device() {
    let chosen = Hosted::large("tiny-Q8_0.gguf", &golden_gguf());
    let files = [
        Hosted { listed_size: Some(1 << 49), ..Hosted::large("tiny-BF16.gguf", b"never read") },
        Hosted::large("tiny-IQ4_KS.gguf", &foreign_gguf()),
        chosen.clone(),
        Hosted::large("mmproj-F16.gguf", b"an image encoder"),
        Hosted::small("config.json", b"{}"),
    ];
    let place = Place::new("choice", &files);
    let run = place.run(&["pull", NAME]).expect_code(0);
    run.says(&["org/tiny:Q8_0", "passed over BF16: its 524288.0 GiB exceed", "passed over IQ4_KS", "ik_llama.cpp"]);
    place.expect(&chosen);
    assert_eq!(fs::read_dir(place.snapshot()).unwrap().count(), 1);
    for name in ["org/tiny", "org/tiny:q8_0", "hf.co/org/tiny:tiny-Q8_0.gguf"] {
        let shown = place.run(&["show", name]).expect_code(0).out;
        assert!(shown.contains("Q8_0"), "{shown}");
    }
    let said = place.run(&["generate", "-m", "org/tiny", "--raw", "-n", "2", "-t", "0", "Once"]).expect_code(0).out;
    assert!(!said.is_empty());
    place.run(&["pull", "org/tiny:Q5_K_M"]).expect_code(3).says(&["no such quantisation", "BF16 (", "Q8_0 ("]);
    place.run(&["show", "org/tiny:BF16"]).expect_code(3).says(&["lyn pull org/tiny:BF16"]);
}

#[test]
fn parts_in_a_folder_are_one_model() {
    let parts = [
        Hosted::large("Q4_0/tiny-Q4_0-00001-of-00002.gguf", b"first"),
        Hosted::large("Q4_0/tiny-Q4_0-00002-of-00002.gguf", b"second"),
    ];
    let other = Hosted::large("Q8_0/tiny-Q8_0-00001-of-00002.gguf", b"its second part is missing");
    let place = Place::new("parts", &[&parts[..], &[other]].concat());
    place.run(&["pull", NAME]).expect_code(0);
    parts.iter().for_each(|part| place.expect(part));
    assert!(!place.snapshot().join("Q8_0").exists());
}

#[test]
fn removal_keeps_what_others_use() {
    let shared = Hosted::large("tiny-Q4_0.gguf", &noise(5000));
    let old = Hosted::large("tiny-Q8_0.gguf", &noise(9000));
    let place = Place::new("rm", &[old.clone(), shared.clone()]);
    place.run(&["pull", "org/tiny:Q8_0"]).expect_code(0);
    place.run(&["pull", "org/tiny:Q4_0"]).expect_code(0);
    // An older commit has the same file, under another name.
    let older = place.repository().join("snapshots").join("f".repeat(40));
    fs::create_dir(&older).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(format!("../../blobs/{}", shared.hash()), older.join("other-Q4_0.gguf")).unwrap();
    place.run(&["rm", "org/tiny:Q4_0"]).expect_code(2).says(&["nobody can be asked", "--yes"]);
    place.run(&["rm", "org/tiny:Q2_K", "--yes"]).expect_code(3).says(&["is not in the cache", "lyn list"]);
    let list = place.run(&["list"]).expect_code(0).out;
    assert!(list.contains("org/tiny:Q8_0") && list.contains("org/tiny:Q4_0"), "{list}");
    place.run(&["rm", "org/tiny:tiny-Q4_0.gguf", "--yes"]).expect_code(0);
    assert!(place.blob(&shared).exists() && !place.snapshot().join(&shared.path).exists());
    let removed = place.run(&["rm", "org/tiny:Q8_0", "--yes"]).expect_code(0).out;
    assert!(removed.contains("8.8 KiB") && !place.blob(&old).exists() && !place.snapshot().exists(), "{removed}");
    assert!(!place.repository().join("refs/main").exists() && older.exists());
    place.run(&["rm", NAME, "--yes"]).expect_code(0);
    assert!(!place.repository().exists() && !place.cache.join(".locks/models--org--tiny").exists());
    place.run(&["list"]).expect_code(0).says(&["no models in"]);
    place.run(&["rm", NAME, "--yes"]).expect_code(3);
}

#[test]
fn what_is_being_downloaded_is_not_removed() {
    let file = weights();
    let place = Place::new("busy", std::slice::from_ref(&file));
    place.hub.fails("/resolve/", Fault::Stall(1000));
    let mut child = place
        .command(["pull", NAME])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    while !place.incomplete(&file).exists() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let run = place.run(&["rm", NAME, "--yes"]);
    child.kill().unwrap();
    child.wait().unwrap();
    run.expect_code(6).says(&["another process is downloading"]);
    place.run(&["rm", NAME, "--yes"]).expect_code(0);
}

/// Plans read headers: not a byte of a weight.
#[test]
fn a_model_is_planned_before_it_is_downloaded() {
    let mut large = golden_gguf();
    large.resize(8 << 20, 0);
    let files = [Hosted::large("tiny-Q8_0.gguf", &large), Hosted::large("tiny-IQ4_KS.gguf", &foreign_gguf())];
    let place = Place::new("plan", &files);
    let table = place.run(&["plan", NAME]).expect_code(0).out;
    let line = |label: &str| table.lines().find(|line| line.starts_with(label)).unwrap().to_owned();
    assert!(line("Q8_0").contains("8.0 MiB") && line("Q8_0").ends_with("FITS"), "{table}");
    assert!(line("IQ4_KS").contains("bad_checkpoint") && table.contains("longest context"), "{table}");
    let one = place.run(&["plan", "org/tiny:Q8_0", "--json"]).expect_code(0).json();
    assert_eq!((&one["plan"]["model_type"], &one["plan"]["fit"]), (&"deepseek_v32".into(), &"fits".into()));
    let several = place.run(&["plan", NAME, "--json"]).expect_code(0).json();
    assert_eq!(several["quantisations"][0]["plan"]["total_bytes"], one["plan"]["total_bytes"]);
    assert!(several["quantisations"][1]["error"]["code"] == "bad_checkpoint", "{several}");
    // The first megabyte of each is enough.
    assert!(place.hub.sent() < 6 << 20, "{}", place.hub.sent());
    assert!(!place.repository().exists());
    let mut offline = place.command(["plan", NAME]);
    ended(offline.env("HF_HUB_OFFLINE", "1")).expect_code(3).says(&["not in the cache"]);
}

#[test]
fn safetensors_are_planned_from_afar_too() {
    let files = golden_folder();
    let place = Place::new("plan-folder", &files);
    let plan = place.run(&["plan", NAME, "--json"]).expect_code(0).json();
    let here = place.run(&["plan", "stories", "--json"]).expect_code(0).json();
    assert_eq!(plan["plan"]["weights_bytes"], here["plan"]["weights_bytes"]);
    assert!(place.hub.sent() < 1 << 20, "{}", place.hub.sent());
}
