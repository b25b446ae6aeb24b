//! Oracles: the safetensors format; sizes by hand.

use serde_json::{Value, json};

use crate::checkpoint::safetensors::header::NAME_BYTES;
use crate::checkpoint::{Dtype, MemorySource, SLICE_BYTES, Tensor, read_header, slices};
use crate::platform::block_on;

fn container(header: &str, data: usize) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![1; data]].concat()
}

fn entry(dtype: &str, shape: &Value, offsets: &Value) -> Value {
    json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets })
}

fn read(header: &Value, data: usize) -> Result<Vec<Tensor>, String> {
    let source = MemorySource::new().with("f", container(&header.to_string(), data));
    block_on(read_header(&source, "f")).map_err(|error| error.message().to_owned())
}

#[test]
fn tensors_come_in_the_order_of_their_bytes() {
    let header = json!({
        "__metadata__": { "format": "pt", "x": "" },
        "b": entry("F32", &json!([2, 3]), &json!([3, 27])),
        "a": entry("U8", &json!([3]), &json!([0, 3])),
        "empty": entry("F64", &json!([0, 5]), &json!([3, 3])),
        "one": entry("F16", &json!([]), &json!([27, 29])),
        "half": entry("F4", &json!([2]), &json!([29, 30])),
        "deep": entry("U8", &json!([1, 1, 1, 1, 1, 1, 1, 1]), &json!([30, 31])),
    });
    let start = 8 + header.to_string().len() as u64;
    let tensors = read(&header, 31).unwrap();
    let tensor = |name: &str, dtype, shape: &[u64], offset, bytes| Tensor {
        name: name.to_owned(),
        file: "f".into(),
        dtype,
        shape: shape.to_vec(),
        offset: start + offset,
        bytes,
        packed: None,
    };
    let expected = [
        tensor("a", Dtype::U8, &[3], 0, 3),
        tensor("empty", Dtype::F64, &[0, 5], 3, 0),
        tensor("b", Dtype::F32, &[2, 3], 3, 24),
        tensor("one", Dtype::F16, &[], 27, 2),
        tensor("half", Dtype::F4, &[2], 29, 1),
        tensor("deep", Dtype::U8, &[1; 8], 30, 1),
    ];
    assert_eq!(tensors, expected);
    let elements: Vec<u64> = tensors.iter().map(Tensor::elements).collect();
    assert_eq!(elements, [3, 0, 6, 1, 2, 1]);
}

#[test]
fn faults_of_a_header_are_told_word_by_word() {
    let a = |entry: Value| json!({ "a": entry });
    let byte = |offsets: Value| entry("U8", &json!([1]), &offsets);
    let long = "x".repeat(NAME_BYTES + 1);
    for (header, data, says) in [
        (
            json!({ "a": byte(json!([1, 2])) }),
            2,
            "E-COVER: f: tensor \"a\": begins at 1, follows bytes that no tensor owns, which end at 0",
        ),
        (
            json!({ "a": byte(json!([0, 1])), "b": byte(json!([0, 1])) }),
            1,
            "E-COVER: f: tensor \"b\": begins at 0, overlaps the tensor before it, which end at 1",
        ),
        (
            json!({ "a": byte(json!([0, 1])), "b": byte(json!([2, 3])) }),
            2,
            "E-OFFSET: f: tensor \"b\": ends at 3, the data has 2 bytes",
        ),
        (
            json!({ "a": byte(json!([0, 1])), "b": byte(json!([1, 2])) }),
            1,
            "E-LEN: f: expected 2 bytes of data, found 1: the file is cut",
        ),
        (json!({ "a": byte(json!([0, 1])) }), 3, "E-COVER: f: 2 bytes after the last tensor that no tensor owns"),
        (
            a(json!([1])),
            0,
            "E-ENTRY: f: tensor \"a\": expected an object of dtype, shape and data_offsets, found a list",
        ),
        (a(json!({ "dtype": null })), 0, "E-ENTRY: f: tensor \"a\": dtype: expected a string, found null"),
        (a(json!({ "dtype": 5 })), 0, "E-DTYPE: f: tensor \"a\": dtype: expected a string, found a number"),
        (a(json!({ "dtype": "u8" })), 0, "E-DTYPE: f: tensor \"a\": unknown dtype \"u8\""),
        (a(json!({ "shape": "x" })), 0, "E-ENTRY: f: tensor \"a\": shape: expected a list, found a string"),
        (a(json!({ "data_offsets": 5 })), 0, "E-ENTRY: f: tensor \"a\": data_offsets: expected a list, found a number"),
        (a(json!({ "x": 5 })), 0, "E-ENTRY: f: tensor \"a\": unknown key \"x\""),
        (a(json!({ "shape": [], "data_offsets": [0, 0] })), 0, "E-ENTRY: f: tensor \"a\": dtype is absent"),
        (a(json!({ "dtype": "U8", "data_offsets": [0, 0] })), 0, "E-ENTRY: f: tensor \"a\": shape is absent"),
        (a(json!({ "dtype": "U8", "shape": [] })), 0, "E-ENTRY: f: tensor \"a\": data_offsets is absent"),
        (
            a(entry("U8", &json!([1, 1, 1, 1, 1, 1, 1, 1, 1]), &json!([0, 1]))),
            1,
            "E-SHAPE: f: tensor \"a\": shape: expected at most 8 whole numbers below 2^64, found more",
        ),
        (
            a(entry("U8", &json!(["x"]), &json!([0, 1]))),
            1,
            "E-SHAPE: f: tensor \"a\": shape: expected at most 8 whole numbers below 2^64, found another kind of value",
        ),
        (
            a(entry("U8", &json!([-1, "x"]), &json!([0, 1]))),
            1,
            "E-SHAPE: f: tensor \"a\": shape: expected at most 8 whole numbers below 2^64, found -1",
        ),
        (a(byte(json!([1]))), 1, "E-OFFSET: f: tensor \"a\": data_offsets: expected [begin, end], found [1]"),
        (a(byte(json!([1, 0]))), 1, "E-OFFSET: f: tensor \"a\": data_offsets: expected [begin, end], found [1, 0]"),
        (a(byte(json!([0, 1, 1]))), 1, "E-OFFSET: f: tensor \"a\": data_offsets: expected [begin, end], found more"),
        (
            a(entry("F32", &json!([2]), &json!([0, 4]))),
            4,
            "E-OFFSET: f: tensor \"a\": data_offsets [0, 4] are 4 bytes, shape [2] of F32 needs 8",
        ),
        (
            a(entry("F4", &json!([3]), &json!([0, 2]))),
            2,
            "E-SHAPE: f: tensor \"a\": shape [3] of F4 does not fill whole bytes",
        ),
        (
            a(entry("F64", &json!([0, 1_u64 << 60]), &json!([0, 0]))),
            0,
            "E-SHAPE: f: tensor \"a\": shape [0, 1152921504606846976] of F64 overflows 64 bits",
        ),
        (json!({ long.as_str(): 5 }), 0, "longer than 1024 bytes"),
    ] {
        let found = read(&header, data).unwrap_err();
        assert!(found == says || (header.to_string().len() > 1024 && found.contains(says)), "{found}\n{says}");
    }
    assert!(read(&json!({ "x".repeat(NAME_BYTES): byte(json!([0, 1])) }), 1).is_ok());
    let whole = |bytes: Vec<u8>| {
        let source = MemorySource::new().with("f", bytes);
        block_on(read_header(&source, "f")).map(|_| ()).unwrap_err().message().to_owned()
    };
    assert_eq!(whole(vec![1; 7]), "E-LEN: f: expected at least 8 bytes, found 7");
    assert_eq!(whole(container("{}", 0)[..9].to_vec()), "E-LEN: f: a header of 2 bytes in a file of 9 bytes");
    assert_eq!(whole(container("[]", 0)), "E-JSON: f: expected '{' as first byte of the header");
    let long = [&((16_u64 << 20) + 1).to_le_bytes()[..], b"{}"].concat();
    assert_eq!(whole(long), "E-LIMIT: f: expected a header of at most 16777216 bytes, found a length of 16777217");
    let fits = [&(16_u64 << 20).to_le_bytes()[..], b"{}"].concat();
    assert_eq!(whole(fits), "E-LEN: f: a header of 16777216 bytes in a file of 10 bytes");
}

#[test]
fn a_tensor_is_cut_into_pieces_without_a_rest() {
    let pieces = |bytes: u64| {
        let tensor = Tensor {
            name: "a".to_owned(),
            file: "f".into(),
            dtype: Dtype::U8,
            shape: vec![bytes],
            offset: 3,
            bytes,
            packed: None,
        };
        slices(&tensor).collect::<Vec<_>>()
    };
    let slice = SLICE_BYTES as u64;
    assert!(pieces(0).is_empty());
    assert_eq!(pieces(1), [(0, 1)]);
    assert_eq!(pieces(slice), [(0, SLICE_BYTES)]);
    assert_eq!(pieces(slice + 1), [(0, SLICE_BYTES), (slice, 1)]);
    assert_eq!(pieces(2 * slice), [(0, SLICE_BYTES), (slice, SLICE_BYTES)]);
}

/// Oracle: the widths of the safetensors crate.
#[test]
fn every_element_type_has_its_name_and_width() {
    for (name, bits) in [
        ("F64", 64),
        ("F32", 32),
        ("F16", 16),
        ("BF16", 16),
        ("F8_E4M3", 8),
        ("F8_E5M2", 8),
        ("F8_E8M0", 8),
        ("F8_E4M3FNUZ", 8),
        ("F8_E5M2FNUZ", 8),
        ("F6_E2M3", 6),
        ("F6_E3M2", 6),
        ("F4", 4),
        ("I64", 64),
        ("I32", 32),
        ("I16", 16),
        ("I8", 8),
        ("U64", 64),
        ("U32", 32),
        ("U16", 16),
        ("U8", 8),
        ("C64", 64),
        ("BOOL", 8),
    ] {
        let dtype = Dtype::parse(name).unwrap();
        assert_eq!((dtype.name(), dtype.to_string().as_str(), dtype.bits()), (name, name, bits));
        assert_eq!(dtype.is_plain_float(), ["F32", "F16", "BF16"].contains(&name), "{name}");
    }
    assert_eq!((Dtype::parse("F7"), Dtype::parse("f32"), Dtype::parse("")), (None, None, None));
}

#[test]
fn small_tensors_are_decoded_from_their_bytes() {
    assert_eq!(Dtype::F32.decode(&[0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0]).unwrap(), [1.0, -2.0]);
    assert_eq!(Dtype::BF16.decode(&[0x80, 0x3f, 0, 0xc0]).unwrap(), [1.0, -2.0]);
    assert_eq!(Dtype::F16.decode(&[0, 0x3c, 0, 0xc0]).unwrap(), [1.0, -2.0]);
    assert_eq!(Dtype::U8.decode(&[126, 129]).unwrap(), [0.5, 4.0]);
    for dtype in [Dtype::F64, Dtype::F8_E4M3, Dtype::I8, Dtype::BOOL] {
        assert_eq!(dtype.decode(&[0; 8]), None, "{dtype}");
    }
    assert_eq!((Dtype::F4.bytes(4), Dtype::F6_E2M3.bytes(4), Dtype::F6_E2M3.bytes(2)), (Some(2), Some(3), None));
    assert_eq!((Dtype::U8.bytes(u64::MAX), Dtype::F32.bytes(3)), (None, Some(12)));
}
