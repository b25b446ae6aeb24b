//! Oracle: the embedded model, whose files are broken in one place.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::checkpoint::names;
use crate::checkpoint::safetensors::header::NAME_BYTES;
use crate::checkpoint::{Checkpoint, INDEX_FILE, MemorySource, SLICE_BYTES, Tensor, TensorRole};
use crate::error::Code;
use crate::platform::block_on;

/// The embedded model with an index beside it.
fn indexed(index: &str) -> String {
    let stories = crate::models::stories();
    let mut source = MemorySource::new();
    for file in ["config.json", "model.safetensors"] {
        let size = block_on(stories.size(file)).unwrap().unwrap();
        source = source.with(file, block_on(stories.read(file, 0, usize::try_from(size).unwrap())).unwrap());
    }
    let opened = block_on(Checkpoint::open(Arc::new(source.with(INDEX_FILE, index.as_bytes().to_vec()))));
    opened.map(|_| ()).unwrap_err().message().to_owned()
}

#[test]
fn faults_of_an_index_are_told_word_by_word() {
    let map = |map: Value| json!({ "metadata": { "total_size": 5 }, "weight_map": map }).to_string();
    let file = "model.safetensors.index.json";
    let name = |shard: &str| {
        format!("E-PATH: {file}: weight_map: expected the plain name of a .safetensors file, found \"{shard}\"")
    };
    for shard in ["x.bin", ".x.safetensors", "a/x.safetensors", "a:x.safetensors", "safetensors"] {
        assert_eq!(indexed(&map(json!({ "t": shard }))), name(shard));
    }
    let longest = format!("{}.safetensors", "x".repeat(243));
    let missing = indexed(&map(json!({ "t": longest })));
    let says = format!("…: no such file, but {file} names it");
    assert!(missing.starts_with("E-IO: xxx") && missing.ends_with(&says), "{missing}");
    assert!(indexed(&map(json!({ "t": format!("x{longest}") }))).starts_with("E-PATH"));
    assert_eq!(indexed(&map(json!({}))), format!("E-INDEX: {file}: weight_map: expected tensor names, found none"));
    for (text, says) in [
        (r#"{"a": 1, "a": 2, "weight_map": {}}"#, "the key \"a\" twice"),
        (r#"{"weight_map": {"t": "x.safetensors", "t": "y.safetensors"}}"#, "weight_map: tensor \"t\" twice"),
        (r#"{"weight_map": {"t": 5}}"#, "weight_map.\"t\": expected a file name, found a number"),
    ] {
        let found = indexed(text);
        assert!(found.starts_with(&format!("E-INDEX: {file}: ")) && found.contains(says), "{found}");
    }
    let long = "t".repeat(NAME_BYTES + 1);
    assert!(
        indexed(&map(json!({ long: "x.safetensors" })))
            .starts_with(&format!("E-LIMIT: {file}: more than 1000000 tensors"))
    );
    // A tensor that is somewhere else, nowhere, or not listed.
    let elsewhere = indexed(&map(json!({ "t": "model.safetensors" })));
    assert!(elsewhere.ends_with("not listed in model.safetensors.index.json"), "{elsewhere}");
}

#[test]
fn a_tensor_is_read_within_its_bounds() {
    let checkpoint = block_on(Checkpoint::open(crate::models::stories())).unwrap();
    let name = crate::checkpoint::names::NORM;
    let tensor = checkpoint.tensor(name).unwrap().clone();
    let read = |tensor: &Tensor, offset, length| block_on(checkpoint.read(tensor, offset, length));
    let all = usize::try_from(tensor.bytes).unwrap();
    let whole = read(&tensor, 0, all).unwrap();
    assert_eq!(read(&tensor, 2, all - 2).unwrap(), whole[2..]);
    assert!(read(&tensor, tensor.bytes, 0).unwrap().is_empty());
    for (offset, length) in [(0, all + 1), (1, all), (tensor.bytes + 1, 0), (u64::MAX, 1)] {
        let error = read(&tensor, offset, length).unwrap_err();
        let says = format!("{length} bytes from {offset} of tensor \"{name}\", which has {all}");
        assert_eq!((error.code(), error.message()), (Code::Internal, &*says));
    }
    let huge = Tensor { bytes: u64::MAX, ..tensor };
    assert_eq!(read(&huge, 0, SLICE_BYTES + 1).unwrap_err().code(), Code::Internal, "at once it is too much");
    let unknown = checkpoint.tensor("x").unwrap_err();
    assert_eq!((unknown.code(), unknown.message()), (Code::Internal, "tensor \"x\" is not one of the model"));
    // Every value of its own bytes.
    let values = block_on(checkpoint.read_f32(name)).unwrap();
    assert_eq!(values.len(), checkpoint.config.hidden_size as usize);
    let totals = checkpoint.totals(false);
    assert_eq!(totals.bytes_by_dtype.values().sum::<u64>(), totals.stored_bytes);
    let counted: u64 = checkpoint.tensors().map(|(_, tensor, _)| tensor.elements()).sum();
    assert_eq!(totals.parameters, counted);
}

/// Two tensors that are not finite: always the same one is named.
#[test]
fn the_first_tensor_by_name_is_told() {
    let stories = crate::models::stories();
    let whole = block_on(Checkpoint::open(Arc::clone(&stories))).unwrap();
    let mut source = MemorySource::new();
    for file in ["config.json", "model.safetensors"] {
        let size = block_on(stories.size(file)).unwrap().unwrap();
        let mut bytes = block_on(stories.read(file, 0, usize::try_from(size).unwrap())).unwrap();
        let vectors = whole.tensors().filter(|(_, _, role)| file != "config.json" && *role == TensorRole::Vector);
        for (_, tensor, _) in vectors {
            let (start, length) = (usize::try_from(tensor.offset).unwrap(), usize::try_from(tensor.bytes).unwrap());
            bytes[start..start + length].fill(0xff);
        }
        source = source.with(file, bytes);
    }
    let broken = block_on(Checkpoint::open(Arc::new(source))).unwrap();
    let error = block_on(broken.check_values(&mut |_, _| Ok(()))).unwrap_err();
    let vectors = whole.tensors().filter(|(_, _, role)| *role == TensorRole::Vector);
    let (first, ..) = vectors.min_by_key(|(_, tensor, _)| tensor.offset).unwrap();
    assert_eq!(error.details()["tensor"], first, "{error}");
}

/// Scales take bytes and are no parameters.
#[test]
fn scales_are_no_parameters() {
    let mut checkpoint = block_on(Checkpoint::open(crate::models::stories())).unwrap();
    let before = checkpoint.totals(false);
    let scale = Tensor { bytes: 8, shape: vec![1, 2], ..checkpoint.tensor(names::NORM).unwrap().clone() };
    Arc::make_mut(&mut checkpoint.tensors).insert(names::scale(names::NORM), (scale, TensorRole::Scale));
    let after = checkpoint.totals(false);
    assert_eq!((after.parameters, after.stored_bytes), (before.parameters, before.stored_bytes + 8));
}
