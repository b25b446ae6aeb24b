#![allow(clippy::cast_possible_truncation, reason = "sizes of a test, and values rounded once")]

use lyn_shaders::encodings::decode_f16;

use super::*;

const BLOCKS: [Dtype; 13] = [
    Dtype::Q8_0,
    Dtype::Q4_0,
    Dtype::Q4_1,
    Dtype::Q5_0,
    Dtype::Q5_1,
    Dtype::Q2_K,
    Dtype::Q3_K,
    Dtype::Q4_K,
    Dtype::Q5_K,
    Dtype::Q6_K,
    Dtype::IQ4_NL,
    Dtype::IQ4_XS,
    Dtype::MXFP4,
];

/// Value j of a block, by the format's description, rounded once to f32.
fn value(dtype: Dtype, b: &[u8], j: usize) -> f32 {
    const IQ4: [f64; 16] =
        [-127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0, 89.0, 113.0];
    const E2M1: [f64; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];
    let h = |at: usize| f64::from(decode_f16(u16::from_le_bytes([b[at], b[at + 1]]).into()));
    let nibble = |from: usize| if j < 16 { b[from + j] & 15 } else { b[from + j - 16] >> 4 };
    let fifth = |from: usize| {
        let bits = u32::from_le_bytes([b[from], b[from + 1], b[from + 2], b[from + 3]]);
        (bits >> j & 1) as u8 * 16
    };
    let two = |from: usize| b[from + 32 * (j / 128) + j % 32] >> (2 * ((j % 128) / 32)) & 3;
    let four = |from: usize| {
        let byte = b[from + 32 * (j / 64) + j % 32];
        if (j / 32).is_multiple_of(2) { byte & 15 } else { byte >> 4 }
    };
    // The 6-bit scales and minima of Q4_K and Q5_K.
    let six = |g: usize| {
        let s = &b[4..16];
        match g {
            0..4 => (s[g] & 63, s[g + 4] & 63),
            _ => ((s[g + 4] & 15) | (s[g - 4] >> 6) << 4, (s[g + 4] >> 4) | (s[g] >> 6) << 4),
        }
    };
    let value = match dtype {
        Dtype::Q8_0 => h(0) * f64::from(b[2 + j].cast_signed()),
        Dtype::Q4_0 => h(0) * (f64::from(nibble(2)) - 8.0),
        Dtype::Q4_1 => h(0) * f64::from(nibble(4)) + h(2),
        Dtype::Q5_0 => h(0) * (f64::from(nibble(6) + fifth(2)) - 16.0),
        Dtype::Q5_1 => h(0) * f64::from(nibble(8) + fifth(4)) + h(2),
        Dtype::Q2_K => h(80) * f64::from(b[j / 16] & 15) * f64::from(two(16)) - h(82) * f64::from(b[j / 16] >> 4),
        Dtype::Q3_K => {
            let (s, g) = (&b[96..108], j / 16);
            let low = if g < 8 { s[g % 8] & 15 } else { s[g % 8] >> 4 };
            let scale = low | (s[8 + g % 4] >> (2 * (g / 4)) & 3) << 4;
            let q = two(32) + 4 * (b[j % 32] >> (j / 32) & 1);
            h(108) * (f64::from(scale) - 32.0) * (f64::from(q) - 4.0)
        }
        Dtype::Q4_K => {
            let (scale, minimum) = six(j / 32);
            h(0) * f64::from(scale) * f64::from(four(16)) - h(2) * f64::from(minimum)
        }
        Dtype::Q5_K => {
            let (scale, minimum) = six(j / 32);
            let q = four(48) + 16 * (b[16 + j % 32] >> (j / 32) & 1);
            h(0) * f64::from(scale) * f64::from(q) - h(2) * f64::from(minimum)
        }
        Dtype::Q6_K => {
            let (half, r) = (j / 128, j % 128);
            let (l, part) = (r % 32, r / 32);
            let byte = b[64 * half + 32 * (part % 2) + l];
            let low = if part < 2 { byte & 15 } else { byte >> 4 };
            let high = b[128 + 32 * half + l] >> (2 * part) & 3;
            h(208) * f64::from(b[192 + j / 16].cast_signed()) * (f64::from(low + 16 * high) - 32.0)
        }
        Dtype::IQ4_NL => h(0) * IQ4[usize::from(nibble(2))],
        Dtype::IQ4_XS => {
            let g = j / 32;
            let low = if g.is_multiple_of(2) { b[4 + g / 2] & 15 } else { b[4 + g / 2] >> 4 };
            let scale = low | ((u16::from_le_bytes([b[2], b[3]]) >> (2 * g) & 3) as u8) << 4;
            let place = if j % 32 < 16 { b[8 + 16 * g + j % 32] & 15 } else { b[8 + 16 * g + j % 32 - 16] >> 4 };
            h(0) * (f64::from(scale) - 32.0) * IQ4[usize::from(place)]
        }
        _ => {
            let sign = if nibble(1) < 8 { 1.0 } else { -1.0 };
            2f64.powi(i32::from(b[0]) - 127) * sign * E2M1[usize::from(nibble(1)) % 8]
        }
    };
    value as f32
}

fn of(rows: &[u8]) -> StoredBytes<'_> {
    StoredBytes { rows, ..StoredBytes::default() }
}

fn stored(dtype: Dtype, columns: u64) -> Tensor {
    Tensor { name: "t".to_owned(), file: "f".into(), dtype, shape: vec![3, columns], offset: 0, bytes: 0, packed: None }
}

/// Offsets of the halves of a block, and how they are made numbers below 1.
fn make_numbers(dtype: Dtype, block: &mut [u8]) {
    let halves: &[usize] = match dtype {
        Dtype::MXFP4 => {
            block[0] = 120 + block[0] % 16;
            return;
        }
        Dtype::Q4_1 | Dtype::Q5_1 | Dtype::Q4_K | Dtype::Q5_K => &[0, 2],
        Dtype::Q2_K => &[80, 82],
        Dtype::Q3_K => &[108],
        Dtype::Q6_K => &[208],
        _ => &[0],
    };
    halves.iter().for_each(|&at| block[at + 1] = (block[at + 1] & 0x80) | (block[at + 1] % 0x3c));
}

/// Oracle: the description of each block, byte by byte. Random bytes reach every code; rows of 1, 2 and 3 blocks every place of
/// scales that blocks share.
#[test]
fn what_is_taken_apart_has_the_same_values() {
    for dtype in BLOCKS {
        let (values, size) = (dtype.block().0 as usize, dtype.block().1 as usize);
        for blocks in [1, 2, 3] {
            let mut state = 1u32;
            let mut rows: Vec<u8> = (0..3 * blocks * size)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 24) as u8
                })
                .collect();
            rows.chunks_exact_mut(size).for_each(|block| make_numbers(dtype, block));
            let columns = (blocks * values) as u32;
            let tensor = stored(dtype, columns.into());
            let apart = take_apart(&tensor, columns, of(&rows)).unwrap();
            let encoding = encoding_of(&tensor).unwrap();
            assert_eq!(apart.codes.len() as u64, 3 * encoding.row_words(columns), "{dtype}");
            assert_eq!(apart.scales.len() as u64, 3 * encoding.scale_words(columns), "{dtype}");
            let decoded = encoding.decode_rows(&apart.codes, &apart.scales, 3, columns);
            for (at, &found) in decoded.iter().enumerate() {
                let expected = value(dtype, &rows[at / values * size..][..size], at % values);
                assert_eq!((found as f32).to_bits(), expected.to_bits(), "{dtype}, {blocks} blocks, value {at}");
            }
        }
    }
}

/// Rows that fill no whole piece are padded.
#[test]
fn plain_rows_are_padded_to_pieces() {
    let rows: Vec<u8> = (0..24).collect();
    let apart = take_apart(&stored(Dtype::BF16, 4), 4, of(&rows)).unwrap();
    assert_eq!(apart.codes[..4], [0x0302_0100, 0x0706_0504, 0, 0]);
    assert_eq!((apart.codes.len(), apart.codes[8], apart.scales.len()), (12, 0x1312_1110, 0));
}

#[test]
fn scales_that_are_no_numbers_are_refused() {
    for dtype in BLOCKS {
        let (values, size) = dtype.block();
        let mut good = vec![0; size as usize];
        make_numbers(dtype, &mut good);
        take_apart(&stored(dtype, values), values as u32, of(&good)).unwrap();
        let bad: &[(usize, &[u8])] = match dtype {
            Dtype::MXFP4 => &[(0, &[255]), (0, &[0, 1]), (0, &[0, 0x20])],
            Dtype::Q4_1 | Dtype::Q5_1 | Dtype::Q4_K | Dtype::Q5_K => &[(0, &[0x00, 0x7c]), (2, &[0x01, 0xfe])],
            Dtype::Q2_K => &[(80, &[0x00, 0x7c]), (82, &[0x01, 0xfe])],
            Dtype::Q3_K => &[(108, &[0x00, 0x7c])],
            Dtype::Q6_K => &[(208, &[0x01, 0xfe])],
            _ => &[(0, &[0x00, 0x7c]), (0, &[0x01, 0xfe])],
        };
        for &(at, bytes) in bad {
            let mut block = good.clone();
            block[at..at + bytes.len()].copy_from_slice(bytes);
            let error = take_apart(&stored(dtype, values), values as u32, of(&block)).map(drop).unwrap_err();
            assert!(error.to_string().contains("E-VALUE") && error.to_string().contains("\"t\""), "{dtype}: {error}");
        }
    }
    // What ggml writes for 32 zeros.
    let zeros = take_apart(&stored(Dtype::MXFP4, 32), 32, of(&[0, 0, 0x80, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
    let zeros = zeros.map(|apart| encodings::MXFP4.decode_rows(&apart.codes, &apart.scales, 1, 32)).unwrap();
    assert!(zeros.iter().all(|&value| value == 0.0), "{zeros:?}");
    assert_eq!(take_apart(&stored(Dtype::I32, 4), 4, of(&[])).map(drop).unwrap_err().code(), Code::Internal);
}

/// Oracle: each code and its group's scale and minimum by hand, for every width, type of scales and group.
#[test]
fn packed_codes_have_the_same_values() {
    let mut state = 1u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let float = |dtype: Dtype, at: usize, bytes: &[u8]| match dtype {
        Dtype::F32 => f64::from(f32::from_le_bytes(bytes[4 * at..][..4].try_into().unwrap())),
        Dtype::F16 => f64::from(decode_f16(u16::from_le_bytes([bytes[2 * at], bytes[2 * at + 1]]).into())),
        _ => f64::from(f32::from_bits(u32::from(u16::from_le_bytes([bytes[2 * at], bytes[2 * at + 1]])) << 16)),
    };
    let (rows, columns) = (3, 384);
    for (dtype, bits) in
        [(Dtype::INT2, 2), (Dtype::INT3, 3), (Dtype::INT4, 4), (Dtype::INT5, 5), (Dtype::INT6, 6), (Dtype::INT8, 8)]
    {
        for scale in [Dtype::F32, Dtype::F16, Dtype::BF16] {
            for (group, has_minima) in [(32, true), (64, true), (128, true), (32, false), (128, false)] {
                if !has_minima && !matches!(bits, 4 | 8) {
                    continue;
                }
                let groups = columns / group;
                let codes: Vec<u8> = (0..rows * columns * bits / 8).map(|_| byte()).collect();
                let mut floats = || {
                    let width = scale.block().1 as usize;
                    let mut bytes: Vec<u8> = (0..rows * groups * width).map(|_| byte()).collect();
                    // Numbers below 1 of either sign.
                    bytes.chunks_exact_mut(width).for_each(|bytes| bytes[width - 1] = bytes[width - 1] & 0x80 | 0x3a);
                    bytes
                };
                let (scales, minima) = (floats(), if has_minima { floats() } else { vec![] });
                let beside = |name: &str| Tensor { name: name.to_owned(), ..stored(scale, groups as u64) };
                let packed = crate::checkpoint::packed_for_tests(
                    group as u32,
                    beside("scales"),
                    has_minima.then(|| beside("biases")),
                );
                let tensor = Tensor { packed: Some(packed), ..stored(dtype, columns as u64) };
                let bytes = StoredBytes { rows: &codes, scales: &scales, minima: &minima };
                let apart = take_apart(&tensor, columns as u32, bytes).unwrap();
                let encoding = encoding_of(&tensor).unwrap();
                let decoded = encoding.decode_rows(&apart.codes, &apart.scales, rows as u32, columns as u32);
                for (at, &found) in decoded.iter().enumerate() {
                    let (row, column) = (at / columns, at % columns);
                    let code: u32 = (0..bits)
                        .map(|bit| {
                            let bit_at = (row * columns + column) * bits + bit;
                            u32::from(codes[bit_at / 8] >> (bit_at % 8) & 1) << bit
                        })
                        .sum();
                    let group_at = row * groups + column / group;
                    let expected = match has_minima {
                        true => float(scale, group_at, &scales) * f64::from(code) + float(scale, group_at, &minima),
                        false => float(scale, group_at, &scales) * (f64::from(code) - f64::from(1 << (bits - 1))),
                    };
                    assert_eq!(found, expected, "{bits} bits, {scale}, groups of {group}, weight {at}");
                }
            }
        }
    }
}
