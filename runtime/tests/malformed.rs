//! Malformed checkpoints are refused with the right class, and odd but valid ones load. Every file is built here.

#[path = "checkpoint/files.rs"]
mod files;

use std::sync::Arc;

use files::{Files, Model, SHARDS, Stored, config, container, index, parts, refused, safetensors};
use lyn::checkpoint::{Checkpoint, FolderSource, HEADER_BYTES, MemorySource, Source, names};
use serde_json::{Value, json};

const WEIGHTS: &str = "model.safetensors";

fn weights(bytes: impl Into<Vec<u8>>) -> Files {
    Model::tiny().files().with(WEIGHTS, bytes)
}

#[track_caller]
fn refused_weights(what: &str, bytes: impl Into<Vec<u8>>, classes: &[&str]) {
    refused(what, &weights(bytes), classes, WEIGHTS);
}

/// A header length, then `{`, then nothing that it promises.
fn long(length: u64) -> Vec<u8> {
    [&length.to_le_bytes()[..], b"{\"a\":"].concat()
}

#[test]
fn lengths_of_headers() {
    let valid = Model::tiny().files().0[WEIGHTS].clone();
    let length = u64::from_le_bytes(*valid.first_chunk().unwrap());
    let with_length = |length: u64| [&length.to_le_bytes(), &valid[8..]].concat();
    refused_weights("an empty file", vec![], &["E-LEN"]);
    refused_weights("seven bytes", vec![1; 7], &["E-LEN"]);
    refused_weights("seven zeros", vec![0; 7], &["E-LEN"]);
    refused_weights("length 0, alone", vec![0; 8], &["E-LEN"]);
    refused_weights("length 0", with_length(0), &["E-LEN", "E-JSON"]);
    for length in [u64::MAX, 1 << 63, (1 << 32) + length, HEADER_BYTES + 1] {
        refused_weights(&format!("length {length}"), with_length(length), &["E-LIMIT"]);
        refused_weights(&format!("length {length}, no more"), long(length), &["E-LIMIT"]);
    }
    refused_weights("a length past the end", long(HEADER_BYTES), &["E-LEN"]);
    refused_weights("a length too small by one", with_length(length - 1), &["E-JSON"]);
    refused_weights("a length too large by one", with_length(length + 1), &["E-JSON"]);
    refused_weights("a length in big-endian", with_length(length.swap_bytes()), &["E-LIMIT"]);
}

#[test]
fn texts_of_headers() {
    let one = r#""a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}"#;
    let two = r#""a":{"dtype":"I8","shape":[1],"data_offsets":[1,2]}"#;
    for (what, header, data, class) in [
        ("a space before the header", format!(" {{{one}}}"), 1, "E-JSON"),
        ("a byte order mark before the header", format!("\u{feff}{{{one}}}"), 1, "E-JSON"),
        ("a lone surrogate", one.replacen("\"a\"", r#"{"\ud800""#, 1) + "}", 1, "E-JSON"),
        ("a lone surrogate in metadata", format!(r#"{{"__metadata__":{{"x":"\udfff"}},{one}}}"#), 1, "E-JSON"),
        ("a list", "[]".into(), 0, "E-JSON"),
        ("null", "null".into(), 0, "E-JSON"),
        ("spaces", "    ".into(), 0, "E-JSON"),
        ("two objects", format!("{{{one}}}{{}}"), 1, "E-JSON"),
        ("NUL behind the header", format!("{{{one}}}\0\0"), 1, "E-JSON"),
        ("a trailing comma", format!("{{{one},}}"), 1, "E-JSON"),
        ("an entry twice", format!("{{{one},{one}}}"), 1, "E-DUP"),
        ("a name twice", format!("{{{one},{two}}}"), 2, "E-DUP"),
        ("a name twice, once escaped", format!("{{{one},{}}}", two.replace("\"a\"", r#""\u0061""#)), 2, "E-DUP"),
        ("metadata twice", format!(r#"{{"__metadata__":{{}},"__metadata__":{{}},{one}}}"#), 1, "E-JSON"),
        ("a number in metadata", format!(r#"{{"__metadata__":{{"x":1}},{one}}}"#), 1, "E-JSON"),
        ("a list as metadata", format!(r#"{{"__metadata__":[],{one}}}"#), 1, "E-JSON"),
        ("deep lists", format!("{{\"a\":{}", "[".repeat(100_000)), 0, "E-JSON"),
        ("deep objects", "{\"a\":".repeat(100_000), 0, "E-JSON"),
        ("deep lists, closed", format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000)), 0, "E-JSON"),
        ("no tensor", "{}".into(), 0, "E-MISSING"),
    ] {
        refused_weights(what, container(&header, &vec![0; data]), &[class]);
    }
    let mut invalid = container(&format!("{{{one}}}"), &[0]);
    invalid[10] = 0xff;
    refused_weights("not UTF-8", invalid, &["E-JSON"]);
    let many: Vec<String> =
        (0..120_000).map(|i| format!(r#""t{i}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#)).collect();
    refused_weights("empty tensors", container(&format!("{{{}}}", many.join(",")), &[]), &["E-MISSING", "E-LIMIT"]);
}

#[test]
fn entries_of_headers() {
    let bytes = "\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]";
    let with = |from: &str, to: &str| {
        assert!(bytes.contains(from), "{from}");
        format!("{{{}}}", bytes.replace(from, to))
    };
    let dims = |dims: &str| with("[4]", dims);
    let offsets = |offsets: &str| with("[0,4]", offsets);
    let rows: Vec<(&str, String, &[&str])> = vec![
        ("nine dimensions", dims("[1,1,1,1,1,1,1,1,4]"), &["E-SHAPE"]),
        ("a million dimensions", dims(&format!("[{}4]", "1,".repeat(1_000_000))), &["E-SHAPE"]),
        ("entry: no dtype", with("\"dtype\":\"U8\",", ""), &["E-ENTRY"]),
        ("entry: no shape", with("\"shape\":[4],", ""), &["E-ENTRY"]),
        ("entry: no offsets", with(",\"data_offsets\":[0,4]", ""), &["E-ENTRY"]),
        ("entry: null dtype", with("\"U8\"", "null"), &["E-ENTRY"]),
        ("entry: null shape", dims("null"), &["E-ENTRY"]),
        ("entry: null offsets", offsets("null"), &["E-ENTRY"]),
        ("entry: unknown key", with("\"dtype\"", "\"x\":1,\"dtype\""), &["E-ENTRY"]),
        ("entry: key twice", with("\"dtype\"", "\"dtype\":\"U8\",\"dtype\""), &["E-JSON"]),
        ("an entry as a list", "[\"U8\",[4],[0,4]]".into(), &["E-ENTRY"]),
        ("a null entry", "null".into(), &["E-ENTRY"]),
        ("dtype: unknown", with("U8", "F7"), &["E-DTYPE"]),
        ("dtype: case", with("U8", "u8"), &["E-DTYPE"]),
        ("dtype: number", with("\"U8\"", "8"), &["E-DTYPE"]),
        ("a dtype of another width", with("U8", "F32"), &["E-OFFSET"]),
        ("dimension: negative", dims("[-4]"), &["E-SHAPE"]),
        ("dimension: fraction", dims("[4.0]"), &["E-SHAPE"]),
        ("dimension: string", dims("[\"4\"]"), &["E-SHAPE"]),
        ("dimension: 2^64", dims("[18446744073709551616]"), &["E-SHAPE"]),
        ("elements: 2^64", dims("[4294967296,4294967296]"), &["E-SHAPE"]),
        ("elements: bits", with("\"U8\",\"shape\":[4]", "\"F64\",\"shape\":[2305843009213693952]"), &["E-SHAPE"]),
        ("elements: wraps in 32", dims("[4294967297,4]"), &["E-SHAPE", "E-OFFSET"]),
        (
            "an overflow behind a zero",
            with("[4],\"data_offsets\":[0,4]", "[0,4294967296,4294967296],\"data_offsets\":[0,0]"),
            &["E-SHAPE"],
        ),
        ("offsets: reversed", offsets("[4,0]"), &["E-OFFSET"]),
        ("offsets: negative", offsets("[-4,0]"), &["E-OFFSET"]),
        ("offsets: fraction", offsets("[0,4.5]"), &["E-OFFSET"]),
        ("offsets: three", offsets("[0,4,4]"), &["E-OFFSET"]),
        ("offsets: one", offsets("[4]"), &["E-OFFSET"]),
        ("offsets: past the end", offsets("[4,8]"), &["E-OFFSET"]),
        ("offsets: far", offsets("[18446744073709551611,18446744073709551615]"), &["E-OFFSET"]),
        ("offsets: 2^64-1", offsets("[0,18446744073709551615]"), &["E-OFFSET"]),
        ("half a byte", with("\"U8\",\"shape\":[4]", "\"F4\",\"shape\":[7]"), &["E-SHAPE"]),
    ];
    for (what, entry, classes) in rows {
        let error =
            refused(what, &weights(container(&format!("{{\"the.tensor\":{entry}}}"), &[0; 4])), classes, WEIGHTS);
        assert!(error.message().contains("the.tensor"), "{what}: {error}");
    }
}

#[test]
fn what_tensors_cover_and_where_files_are_cut() {
    let entry = |name: &str, begin, end| {
        format!(r#""{name}":{{"dtype":"U8","shape":[{}],"data_offsets":[{begin},{end}]}}"#, end - begin)
    };
    let header = |list: &[(&str, usize, usize)]| {
        format!("{{{}}}", list.iter().map(|(name, begin, end)| entry(name, *begin, *end)).collect::<Vec<_>>().join(","))
    };
    for (what, list) in [
        ("the same bytes", &[("a", 0, 4), ("b", 0, 4)][..]),
        ("an overlap", &[("a", 0, 4), ("b", 2, 8)]),
        ("an empty tensor inside another", &[("a", 0, 8), ("b", 4, 4)]),
        ("a hole before the first tensor", &[("a", 2, 8)]),
        ("hole", &[("a", 0, 2), ("b", 4, 8)]),
        ("bytes after the last tensor", &[("a", 0, 4)]),
    ] {
        refused_weights(what, container(&header(list), &[0; 8]), &["E-COVER"]);
    }
    let valid = Model::tiny().files().0[WEIGHTS].clone();
    let header_end = 8 + usize::try_from(u64::from_le_bytes(*valid.first_chunk().unwrap())).unwrap();
    for end in [valid.len() - 1, (valid.len() + header_end) / 2, header_end, header_end - 1, header_end / 2, 9] {
        refused_weights("a cut file", &valid[..end], &["E-LEN"]);
    }
    let strange = "\\u001b[31m\\n\\u202e";
    let error =
        refused("escape codes", &weights(container(&header(&[(strange, 2, 4)]), &[0; 4])), &["E-COVER"], WEIGHTS);
    assert!(error.message().contains("\\u{1b}[31m\\n\\u{202e}"), "{error}");
    let error =
        refused("1 MB", &weights(container(&header(&[(&"x".repeat(1 << 20), 2, 4)]), &[0; 4])), &["E-LIMIT"], WEIGHTS);
    assert!(error.message().len() < 400);
    for name in ["\\u0000", "/etc/passwd", "../../x", ".."] {
        let files = Model::tiny().put(&name.replace("\\u0000", "\0"), Stored::new("U8", &[3])).files();
        assert_eq!(files.check().expect("names are labels").unused_count, 1);
    }
}

#[test]
fn files_of_other_kinds() {
    let lfs = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
    for start in [
        lfs.as_bytes(),
        b"<!DOCTYPE html><html><body>404</body></html>",
        b"\n <html><head></head></html>",
        b"PK\x03\x04\x14\0\0\0\x08\0and more of it",
        b"GGUF\x03\0\0\0\x10\0\0\0\0\0\0\0",
        b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M",
        b"\x80\x04\x95\x10\0\0\0\0\0\0\0}\x94\x8c\x01a\x94K\x01s.",
        &[0; 4096],
    ] {
        refused_weights("another kind of file", start, &["E-KIND"]);
    }
    refused("a git-lfs pointer as config", &Model::tiny().files().with("config.json", lfs), &["E-KIND"], "config.json");
    // A true header whose length begins like a pickle (0x0280) or like '<' (0x3c) is no such file.
    for length in [0x280usize, 0x23c] {
        let header = format!("{{\"__metadata__\":{{\"x\":\"{}\"}}}}", "y".repeat(length - 26));
        let padded = format!("{header}{}", " ".repeat(length - header.len()));
        refused_weights("no pickle", container(&padded, &[]), &["E-MISSING"]);
    }
}

#[cfg(unix)]
#[test]
fn what_is_no_regular_file() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("irregular-{}", std::process::id()));
    let path = folder.join(WEIGHTS);
    let check =
        || pollster::block_on(async { Checkpoint::open(Arc::new(FolderSource::new(&folder)?)).await.map(drop) });
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("config.json"), config().to_string()).unwrap();
    assert_eq!(check().unwrap_err().class(), Some("E-IO"), "missing");
    std::fs::create_dir(&path).unwrap();
    assert_eq!(check().unwrap_err().class(), Some("E-IO"), "a folder");
    std::fs::remove_dir(&path).unwrap();
    std::os::unix::fs::symlink(WEIGHTS, &path).unwrap();
    assert_eq!(check().unwrap_err().class(), Some("E-IO"), "a link to itself");
    std::fs::remove_file(&path).unwrap();
    for file in [WEIGHTS, "config.json"] {
        std::fs::remove_file(folder.join(file)).ok();
        assert!(std::process::Command::new("mkfifo").arg(folder.join(file)).status().unwrap().success());
        let error = check().unwrap_err();
        assert!(
            error.class() == Some("E-IO") && error.message().contains("not a regular file"),
            "a named pipe: {error}"
        );
    }
    let source = FolderSource::new(&folder).unwrap();
    for name in ["../irregular", "/etc/hostname", "a/b", "..", ""] {
        assert_eq!(pollster::block_on(source.read(name, 0, 1)).unwrap_err().class(), Some("E-PATH"), "{name}");
    }
    for file in [WEIGHTS, "config.json"] {
        std::fs::remove_file(folder.join(file)).unwrap();
    }
    let tiny = Model::tiny().files();
    for (file, bytes) in &tiny.0 {
        std::fs::write(folder.join(file), bytes).unwrap();
    }
    check().expect("the valid model from a folder");
    assert_eq!(pollster::block_on(source.read("config.json", 1 << 40, 16)).unwrap_err().class(), Some("E-LEN"));
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(FolderSource::new(&folder).unwrap_err().code().name(), "model_not_found");
}

#[test]
fn weights_that_the_config_does_not_describe() {
    let tiny = Model::tiny();
    for name in tiny.tensors.keys() {
        let mut model = tiny.clone();
        model.tensors.remove(name);
        let error = refused("a tensor left out", &model.files(), &["E-MISSING"], WEIGHTS);
        assert!(error.message().contains(name) && error.code().name() == "missing_tensor", "{error}");
    }
    let mut lost = tiny.clone();
    lost.tensors.retain(|name, _| !name.starts_with("model.layers.1."));
    refused("a layer left out", &lost.files(), &["E-MISSING"], "model.layers.1.");
    let mut moved = tiny.clone();
    moved.tensors = tiny.tensors.iter().map(|(name, tensor)| (format!("other.{name}"), tensor.clone())).collect();
    refused("another prefix", &moved.files(), &["E-MISSING"], names::EMBED);

    let q_a = "model.layers.0.self_attn.q_b_proj.weight";
    let gate = "model.layers.1.mlp.gate.weight";
    for (name, shape) in [
        (q_a, vec![8, 16]),
        (q_a, vec![16, 8, 1]),
        (q_a, vec![0, 8]),
        (names::EMBED, vec![17, 8]),
        (names::HEAD, vec![15, 8]),
        (gate, vec![5, 8]),
        (gate, vec![3, 8]),
        (names::NORM, vec![8, 1]),
        (names::NORM, vec![]),
    ] {
        let error =
            refused("another shape", &tiny.clone().put(name, Stored::new("BF16", &shape)).files(), &["E-SHAPE"], name);
        assert!(error.message().contains(&format!("{shape:?}")), "{error}");
    }
    for name in [q_a, names::NORM, names::EMBED, gate] {
        for dtype in ["I64", "U8", "BOOL", "C64"] {
            let shape = tiny.tensors[name].shape.clone();
            refused("no floats", &tiny.clone().put(name, Stored::new(dtype, &shape)).files(), &["E-DTYPE"], name);
        }
    }
    refused("a gate in FP8", &tiny.clone().put(gate, Stored::new("F8_E4M3", &[4, 8])).files(), &["E-DTYPE"], gate);

    let fp8 = Model::fp8();
    fp8.files().check().expect("the valid FP8 model");
    let scale = &names::scale(q_a);
    let mut no_scale = fp8.clone();
    no_scale.tensors.remove(scale);
    refused("scales: no scale", &no_scale.files(), &["E-QUANT"], q_a);
    refused("scales: shape", &fp8.clone().put(scale, Stored::new("F32", &[1, 2])).files(), &["E-QUANT"], scale);
    refused("scales: dtype", &fp8.clone().put(scale, Stored::new("I64", &[1, 1])).files(), &["E-QUANT"], scale);
    refused(
        "scales: NaN",
        &fp8.clone().change(scale, |scale| scale.bytes = f32::NAN.to_le_bytes().into()).files(),
        &["E-VALUE"],
        scale,
    );
    refused(
        "scales: no quantization_config",
        &fp8.clone().set("quantization_config", json!(null)).files(),
        &["E-QUANT"],
        "quantization_config",
    );
    refused("weight in E5M2", &fp8.clone().put(q_a, Stored::new("F8_E5M2", &[16, 8])).files(), &["E-QUANT"], q_a);
    refused("scale of BF16", &tiny.clone().put(scale, Stored::new("F32", &[1, 1])).files(), &["E-QUANT"], scale);
    for exponent in [0, 255] {
        let broken = fp8.clone().put(scale, Stored { bytes: vec![exponent], ..Stored::new("U8", &[1, 1]) });
        refused("exponent", &broken.files(), &["E-VALUE"], scale);
    }
    let exponent =
        fp8.clone().put(scale, Stored { bytes: vec![128], ..Stored::new("F8_E8M0", &[1, 1]) }).files().check();
    assert_eq!(pollster::block_on(exponent.unwrap().read_f32(scale)).unwrap(), [2.0]);

    for sizes in [json!([0, 0]), json!([128]), json!(["128", "128"]), json!([64, 64]), json!(null), json!(128)] {
        let mut model = fp8.clone();
        model.config["quantization_config"]["weight_block_size"] = sizes;
        refused("weight_block_size", &model.files(), &["E-QUANT"], "quantization_config.weight_block_size");
    }
    let last = |bits: u16| {
        move |tensor: &mut Stored| {
            let length = tensor.bytes.len();
            tensor.bytes[length - 2..].copy_from_slice(&bits.to_le_bytes());
        }
    };
    refused("not finite: norm", &tiny.clone().change(names::NORM, last(0x7fc0)).files(), &["E-VALUE"], names::NORM);
    refused("not finite: head", &tiny.clone().change(names::HEAD, last(0xff80)).files(), &["E-VALUE"], "value 127");
    let bias = &names::router_bias(1);
    refused("not finite: bias", &tiny.clone().change(bias, last(0x7fc0)).files(), &["E-VALUE"], bias);
    let tied = tiny.clone().set("tie_word_embeddings", json!(true)).change(names::EMBED, last(0x7f80));
    refused("not finite: tied head", &tied.files(), &["E-VALUE"], names::EMBED);

    // Tensors that speak for another config.
    for (name, shape) in [
        ("model.layers.0.self_attn.q_proj.weight", vec![16, 8]),
        ("model.layers.1.mlp.experts.4.up_proj.weight", vec![4, 8]),
        ("model.layers.0.self_attn.q_a_proj.bias", vec![8]),
        ("model.layers.2.input_layernorm.weight", vec![8]),
        ("lm_head.bias", vec![16]),
        ("model.layers.1.mlp.up_proj.weight", vec![12, 8]),
    ] {
        refused("left over", &tiny.clone().put(name, Stored::new("BF16", &shape)).files(), &["E-CONFIG"], name);
    }
    refused("left over", &tiny.clone().set("model_type", json!("deepseek_v3")).files(), &["E-CONFIG"], "indexer");
}

#[test]
fn texts_of_configs() {
    let text = config().to_string();
    let cases: Vec<(&str, Vec<u8>, &[&str])> = vec![
        ("empty", vec![], &["E-JSON"]),
        ("cut", text.as_bytes()[..text.len() / 2].into(), &["E-JSON"]),
        ("not JSON", b"hello".into(), &["E-JSON"]),
        ("list", b"[1]".into(), &["E-JSON"]),
        ("two", format!("{text}{text}").into(), &["E-JSON"]),
        ("not UTF-8", b"{\"model_type\":\"\xff\"}".into(), &["E-JSON"]),
        ("deep", format!("{{\"x\":{}", "[".repeat(100_000)).into(), &["E-JSON"]),
        ("key twice", b"{\"vocab_size\":1,\"vocab_size\":2}".into(), &["E-JSON"]),
        ("8 MB", vec![b' '; 8 << 20], &["E-LIMIT"]),
        ("no model_type", b"{}".into(), &["E-ARCH"]),
        ("another model_type", text.replace("deepseek_v32", "llama").into(), &["E-ARCH"]),
        ("model_type in another case", text.replace("deepseek_v32", "DeepSeek_V32").into(), &["E-ARCH"]),
        ("model_type as a number", text.replace("\"deepseek_v32\"", "32").into(), &["E-ARCH"]),
        ("NaN", text.replace("0.000001", "NaN").replace("1e-6", "NaN").into(), &["E-JSON"]),
        ("1e400", text.replacen('{', "{\"x\":{\"y\":[1e400]},", 1).into(), &["E-JSON"]),
    ];
    for (what, bytes, classes) in cases {
        refused(what, &Model::tiny().files().with("config.json", bytes), classes, "config.json");
    }
    refused("no config", &Model::tiny().files().without("config.json"), &["E-IO"], "config.json");
}

#[test]
fn fields_of_configs() {
    let sizes = [
        "vocab_size",
        "hidden_size",
        "num_hidden_layers",
        "intermediate_size",
        "num_attention_heads",
        "q_lora_rank",
        "kv_lora_rank",
        "qk_nope_head_dim",
        "qk_rope_head_dim",
        "v_head_dim",
        "max_position_embeddings",
        "index_n_heads",
        "index_head_dim",
        "index_topk",
        "moe_intermediate_size",
        "n_routed_experts",
        "n_shared_experts",
        "num_experts_per_tok",
    ];
    let values =
        ["null", "true", "\"64\"", "64.5", "0", "-1", "2147483648", "1099511627776", "1180591620717411303424", "[64]"];
    let refused_field = |field: &str, value: &str, classes: &[&str]| {
        let model = Model::tiny().set(field.split('.').next().unwrap(), serde_json::from_str(value).unwrap());
        refused(&format!("{field} = {value}"), &model.files(), classes, field);
    };
    for field in sizes {
        for value in values {
            refused_field(field, value, &["E-CONFIG"]);
        }
        let mut model = Model::tiny();
        model.config.as_object_mut().unwrap().shift_remove(field);
        refused(&format!("no {field}"), &model.files(), &["E-CONFIG"], field);
    }
    let yarn = |fields: &str| format!("{{\"type\":\"yarn\",\"original_max_position_embeddings\":64{fields}}}");
    for (field, value) in [
        ("num_hidden_layers", "1000000000"),
        ("n_group", "0"),
        ("n_group", "3"),
        ("topk_group", "0"),
        ("topk_group", "3"),
        ("num_experts_per_tok", "0"),
        ("num_experts_per_tok", "5"),
        ("num_experts_per_tok", "3"), // more than the kept groups hold
        ("n_group", "4"),             // groups of one
        ("index_topk", "0"),
        ("index_n_heads", "-2"),
        ("index_head_dim", "2"), // below qk_rope_head_dim
        ("qk_rope_head_dim", "3"),
        ("qk_rope_head_dim", "0"),
        ("rms_norm_eps", "-1e-6"),
        ("rms_norm_eps", "\"1e-6\""),
        ("rope_theta", "0"),
        ("rope_theta", "-10000"),
        ("rope_scaling.type", "{\"type\":\"linear\",\"factor\":2}"),
        ("rope_parameters.rope_type", "{\"rope_type\":\"llama3\"}"),
        ("rope_scaling", "\"yarn\""),
        ("rope_scaling.factor", &yarn("")),
        ("rope_scaling.factor", &yarn(",\"factor\":0")),
        ("rope_scaling.factor", &yarn(",\"factor\":\"40\"")),
        ("hidden_act", "\"gelu\""),
        ("eos_token_id", "-1"),
        ("eos_token_id", "16"),
        ("eos_token_id", "[1,16]"),
        ("bos_token_id", "16"),
        ("bos_token_id", "-1"),
        ("attention_bias", "true"),
        ("hidden_size", "10"),
        ("v_head_dim", "3"),
        ("kv_lora_rank", "6"),
        ("mlp_layer_types", "[\"dense\"]"),
        ("mlp_layer_types", "[\"dense\",\"wide\"]"),
        ("indexer_types", "[\"shared\",\"full\"]"),
        ("index_topk_pattern", "\"FX\""),
    ] {
        refused_field(field, value, &["E-CONFIG"]);
    }
    refused_field("quantization_config", "\"fp8\"", &["E-QUANT"]);
    refused_field("quantization_config.quant_method", "{\"quant_method\":\"gptq\"}", &["E-QUANT"]);
    let error =
        refused("hidden_size doubled", &Model::tiny().set("hidden_size", json!(16)).files(), &["E-SHAPE"], "tensor ");
    assert!(error.message().contains("[16, 16]") && error.message().contains("[16, 8]"), "{error}");
    for text in [
        "{\"temperature\":-1}",
        "{\"temperature\":5}",
        "{\"top_p\":0}",
        "{\"top_p\":\"x\"}",
        "{\"eos_token_id\":1000000000}",
        "{\"eos_token_id\":[1,-1]}",
    ] {
        let files = Model::tiny().files().with("generation_config.json", text);
        refused("generation_config", &files, &["E-CONFIG"], "generation_config.json");
    }
    let ignored = Model::tiny().files().with("generation_config.json", "{\"max_length\":1000000000000000000}");
    ignored.check().expect("a field that is not used");
}

#[test]
fn marks_of_encodings() {
    let files = Model::tiny().files();
    let marked = |file: &str, mark: &[u8]| {
        let text = [mark, &files.0[file][..]].concat();
        files.clone().with(file, text)
    };
    marked("config.json", b"\xef\xbb\xbf").check().expect("UTF-8 with a byte order mark is UTF-8");
    let (sharded, map) = Model::tiny().sharded();
    let index = format!("\u{feff}{}", index(&map));
    sharded.with("model.safetensors.index.json", index).check().expect("the index too");
    for mark in [&b"\xff\xfe"[..], b"\xfe\xff"] {
        let error = refused("UTF-16", &marked("config.json", mark), &["E-KIND"], "this is UTF-16 text");
        assert_eq!(error.help(), ["save it as UTF-8"]);
    }
    // One mark only: a second one is a character like any other.
    refused("two marks", &marked("config.json", b"\xef\xbb\xbf\xef\xbb\xbf"), &["E-JSON"], "config.json");
}

#[test]
fn the_only_shard_needs_no_index() {
    let files = Model::tiny().files();
    let weights = files.0[WEIGHTS].clone();
    let only = files.without(WEIGHTS).with("model-00001-of-00001.safetensors", weights.clone());
    only.check().expect("it is the whole model");
    let error = refused("cut", &only.with("model-00001-of-00001.safetensors", &weights[..100]), &["E-LEN"], "00001-of");
    assert!(error.help()[0].contains("download the file again"), "{error}");
}

/// To download again helps where a file is damaged, and nowhere else.
#[test]
fn remedies_fit_their_faults() {
    let files = Model::tiny().files();
    let (sharded, map) = Model::tiny().sharded();
    let sharded = sharded.with("model.safetensors.index.json", index(&map));
    for (what, files, class) in [
        ("no config", files.clone().without("config.json"), "E-IO"),
        ("no weights", files.clone().without(WEIGHTS), "E-IO"),
        ("a field", Model::tiny().set("rope_theta", json!("x")).files(), "E-CONFIG"),
        ("another model", Model::tiny().set("hidden_size", json!(16)).files(), "E-SHAPE"),
        ("a default", files.with("generation_config.json", "{\"temperature\":5}"), "E-CONFIG"),
        ("a shard", sharded.without(SHARDS[0]), "E-IO"),
    ] {
        let error = refused(what, &files, &[class], "");
        assert!(!error.help().is_empty(), "{error}");
        assert!(
            !error.help().iter().any(|help| help.contains("again") || help.contains("checksum")),
            "{what}: {error}"
        );
    }
}

#[test]
fn indices_of_shards() {
    let (files, map) = Model::tiny().sharded();
    let listed = |text: &str| files.clone().with("model.safetensors.index.json", text);
    listed(&index(&map)).check().expect("the valid sharded model");
    for text in [
        "",
        "hello",
        "[]",
        "{}",
        "{\"weight_map\":{}}",
        "{\"weight_map\":[]}",
        "{\"weight_map\":{\"a\":1}}",
        "{\"weight_map\":null}",
    ] {
        refused("no index", &listed(text), &["E-INDEX"], "model.safetensors.index.json");
    }
    for name in [
        "../x.safetensors",
        "/etc/hostname",
        "..\\x",
        "http://x/y.safetensors",
        "a\0.safetensors",
        "",
        ".",
        "config.json",
    ] {
        let mut map = map.clone();
        map.insert("extra".into(), json!(name));
        refused("no name of a shard", &listed(&index(&map)), &["E-PATH"], "model.safetensors.index.json");
    }
    let files = listed(&index(&map));
    refused("a shard is missing", &files.clone().without(SHARDS[1]), &["E-IO"], SHARDS[1]);
    refused("an empty shard", &files.clone().with(SHARDS[1], vec![]), &["E-LEN"], SHARDS[1]);
    refused("a cut shard", &files.clone().with(SHARDS[1], &files.0[SHARDS[1]][..900]), &["E-LEN"], SHARDS[1]);
    let name = map.keys().next().unwrap().clone();
    let mut wrong = map.clone();
    wrong[&name] = json!(SHARDS[1]);
    refused("listed in another shard", &listed(&index(&wrong)), &["E-INDEX"], &name);
    wrong.shift_remove(&name);
    refused("not listed", &listed(&index(&wrong)), &["E-INDEX"], &name);
    let mut more = map.clone();
    more.insert("nowhere".into(), json!(SHARDS[0]));
    refused("listed, in no shard", &listed(&index(&more)), &["E-INDEX"], "nowhere");
    let model = Model::tiny();
    let both: Vec<(&String, &Stored)> = model.tensors.iter().collect();
    refused("a tensor in two shards", &files.clone().with(SHARDS[1], safetensors(&both)), &["E-DUP"], SHARDS[1]);
    let many: serde_json::Map<String, Value> =
        (0..50_000).map(|i| (format!("t{i}"), json!(format!("s{i}.safetensors")))).collect();
    refused("many shards", &listed(&index(&many)), &["E-LIMIT", "E-IO"], "model.safetensors.index.json");
}

/// The same tensors with the same bytes come out, whatever the files look like.
#[track_caller]
fn same(what: &str, model: &Model, files: &Files) -> Checkpoint {
    let checkpoint = files.check().unwrap_or_else(|error| panic!("{what}: {error}"));
    for (name, tensor, _) in checkpoint.tensors() {
        let bytes = pollster::block_on(checkpoint.read(tensor, 0, usize::try_from(tensor.bytes).unwrap())).unwrap();
        assert_eq!(
            (tensor.dtype.name(), &tensor.shape),
            (model.tensors[name].dtype, &model.tensors[name].shape),
            "{what}: {name}"
        );
        assert_eq!(bytes, model.tensors[name].bytes, "{what}: {name}");
    }
    checkpoint
}

#[test]
fn odd_but_valid_files_load() {
    let model = Model::tiny();
    let in_order: Vec<(&String, &Stored)> = model.tensors.iter().collect();
    let (header, data) = parts(&in_order);
    let text = Value::Object(header.clone()).to_string();
    let with_header = |text: &str| weights(container(text, &data));
    same("a pretty header", &model, &with_header(&serde_json::to_string_pretty(&header).unwrap()));
    same("4,096 spaces", &model, &with_header(&format!("{text}{}", " ".repeat(4096))));
    for padding in 0..8 {
        same("padding", &model, &with_header(&format!("{text}{}", " ".repeat(padding))));
    }
    let reversed: serde_json::Map<String, Value> = header.clone().into_iter().rev().collect();
    same("keys in another order", &model, &with_header(&Value::Object(reversed).to_string()));
    same("data in another order", &model, &weights(safetensors(&in_order.iter().rev().copied().collect::<Vec<_>>())));
    let metadata = |bytes| text.replacen('{', &format!("{{\"__metadata__\":{{\"x\":\"{}\"}},", "y".repeat(bytes)), 1);
    same("1 MB of metadata", &model, &with_header(&metadata(1 << 20)));

    let unused = ["BOOL", "C64", "I64", "F64", "F8_E5M2"].iter().enumerate();
    let extra = unused
        .fold(model.clone(), |model, (place, dtype)| model.put(&format!("unused.{place}"), Stored::new(dtype, &[3])));
    let extra = extra
        .put("empty", Stored::new("F32", &[0, 7]))
        .put("scalar", Stored::new("F32", &[]))
        .put("øé", Stored::new("U8", &[1]));
    let extra = extra.put("model.layers.0.self_attn.rotary_emb.inv_freq", Stored::new("F32", &[2]));
    let checkpoint = same("unused tensors", &extra, &extra.files());
    assert_eq!((checkpoint.unused_count, checkpoint.unused.len()), (9, 9));

    let mut published = config();
    published["num_nextn_predict_layers"] = json!(1);
    let mut with_prediction = Model::with_config(published);
    let parsed = with_prediction.files().check().expect("a config that speaks of a module the files lack").config;
    for expected in names::expected_prediction(&parsed, 2) {
        with_prediction.tensors.insert(expected.name, Stored::new("BF16", &expected.shape));
    }
    for copy in ["embed_tokens", "shared_head.head"] {
        with_prediction.tensors.insert(names::layer(2, copy), Stored::new("BF16", &[16, 8]));
    }
    let checkpoint = same("a prediction module", &with_prediction, &with_prediction.files());
    assert_eq!((checkpoint.prediction_layers, checkpoint.unused_count), (1, 0));
    assert!(checkpoint.tensor(&names::layer(2, "eh_proj")).is_ok());
    let silent = with_prediction.clone().set("num_nextn_predict_layers", json!(0));
    assert_eq!(same("a prediction module, not in the config", &silent, &silent.files()).prediction_layers, 0);

    let mixed =
        model.clone().put(&names::router_bias(1), Stored::new("F32", &[4])).put(names::NORM, Stored::new("F16", &[8]));
    same("mixed dtypes", &mixed, &mixed.files());
    let spelled = model.clone().set("auto_map", json!({"AutoModel": "evil.py"})).set("dtype", json!("bfloat16"));
    let spelled = spelled
        .set("unknown", json!([{"deep": [null]}]))
        .set("rope_parameters", json!({"rope_type": "default", "rope_theta": 10000.0}));
    assert_eq!(same("unused fields", &spelled, &spelled.files()).config, model.files().check().unwrap().config);
    let (files, map) = model.sharded();
    same("shards", &model, &files.with("model.safetensors.index.json", index(&map)));

    let mut nested = model.clone();
    nested.config = json!({"model_type": "kimi_k25", "text_config": config()});
    nested.tensors =
        model.tensors.iter().map(|(name, tensor)| (format!("language_model.{name}"), tensor.clone())).collect();
    let checkpoint = same("text_config", &model, &nested.put("vision_tower.x", Stored::new("BF16", &[4])).files());
    assert_eq!(checkpoint.unused, ["vision_tower.x"]);
}

/// An unused tensor of 8 GiB in a sparse file is never read.
#[cfg(unix)]
#[test]
fn an_unused_giant_is_never_read() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("giant-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let model = Model::tiny();
    let (mut header, data) = parts(&model.tensors.iter().collect::<Vec<_>>());
    let giant = 8u64 << 30;
    let end = data.len() as u64 + giant;
    header.insert("giant".into(), json!({"dtype": "U8", "shape": [giant], "data_offsets": [data.len(), end]}));
    let bytes = container(&Value::Object(header).to_string(), &data);
    std::fs::write(folder.join("config.json"), model.config.to_string()).unwrap();
    std::fs::write(folder.join(WEIGHTS), &bytes).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(folder.join(WEIGHTS)).unwrap();
    file.set_len(bytes.len() as u64 + giant).unwrap();
    let checkpoint = pollster::block_on(Checkpoint::open(Arc::new(FolderSource::new(&folder).unwrap()))).unwrap();
    assert_eq!(checkpoint.unused, ["giant"]);
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Oracle: the `safetensors` crate. Whatever we accept, it reads the same.
fn as_the_safetensors_crate_reads(checkpoint: &Checkpoint, bytes: &[u8]) {
    let theirs = safetensors::SafeTensors::deserialize(bytes).expect("they accept what we accept");
    assert_eq!(theirs.len(), checkpoint.tensors().count() + checkpoint.unused_count);
    for (name, tensor, _) in checkpoint.tensors() {
        let view = theirs.tensor(name).expect("the same name");
        let shape: Vec<u64> = view.shape().iter().map(|&size| size as u64).collect();
        let start = usize::try_from(tensor.offset).unwrap();
        assert_eq!((tensor.dtype.name(), &tensor.shape), (view.dtype().to_string().as_str(), &shape), "{name}");
        assert_eq!(view.data(), &bytes[start..start + usize::try_from(tensor.bytes).unwrap()], "{name}");
    }
}

/// Every single-byte change of a small file is answered, by loading or by an error: no panic, no hang.
#[test]
fn every_changed_byte_is_answered() {
    let files = Model::fp8().files();
    as_the_safetensors_crate_reads(&files.check().unwrap(), &files.0[WEIGHTS]);
    for file in ["config.json", WEIGHTS] {
        let valid = files.0[file].clone();
        for place in 0..valid.len().min(1500) {
            for byte in [0, b'"', b'9', b'{', 0xff, valid[place].wrapping_add(1)] {
                let mut changed = valid.clone();
                changed[place] = byte;
                match files.clone().with(file, changed.clone()).check() {
                    Err(error) => assert!(error.class().is_some(), "{file} {place} {byte}: {error}"),
                    Ok(checkpoint) if file == WEIGHTS => as_the_safetensors_crate_reads(&checkpoint, &changed),
                    Ok(_) => {}
                }
            }
        }
    }
}

#[test]
fn reads_are_bounded() {
    let files = Model::tiny().files();
    let checkpoint = files.check().unwrap();
    let norm = checkpoint.tensor(names::NORM).unwrap();
    for (offset, length) in [(0, 17), (16, 1), (u64::MAX, 1), (0, lyn::checkpoint::SLICE_BYTES + 1)] {
        assert_eq!(pollster::block_on(checkpoint.read(norm, offset, length)).unwrap_err().code().name(), "internal");
    }
    assert!(checkpoint.tensor("model.layers.9.input_layernorm.weight").is_err());
    let source = MemorySource::new().with("a", vec![1, 2, 3]);
    assert_eq!(pollster::block_on(source.read("a", 2, 2)).unwrap_err().class(), Some("E-LEN"));
    assert_eq!(pollster::block_on(source.size("b")).unwrap(), None);
}
