//! Oracle: the layout of each type, byte by byte, read by decoders that share nothing with the encoders.
#![expect(clippy::cast_possible_truncation, reason = "small numbers, and f32 that went through f64")]

use super::{BlockType, Unfit, encode};

const IQ4: [f64; 16] =
    [-127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0, 89.0, 113.0];

fn half(block: &[u8], at: usize) -> f64 {
    half::f16::from_le_bytes([block[at], block[at + 1]]).to_f64()
}

/// Scale and minimum of group g among twelve bytes.
fn six_bits(b: &[u8], g: usize) -> (f64, f64) {
    let (scale, minimum) = match g {
        0..4 => (b[g] & 63, b[g + 4] & 63),
        _ => ((b[g + 4] & 15) | b[g - 4] >> 6 << 4, b[g + 4] >> 4 | b[g] >> 6 << 4),
    };
    (scale.into(), minimum.into())
}

/// Value j of a block.
fn value(kind: BlockType, block: &[u8], j: usize) -> f64 {
    let nibble = |from: usize| f64::from(if j < 16 { block[from + j] & 15 } else { block[from + j - 16] >> 4 });
    let fifth = |from: usize| f64::from(block[from + j / 8] >> (j % 8) & 1) * 16.0;
    let of_64 = |from: usize| {
        let byte = block[from + 32 * (j / 64) + j % 32];
        f64::from(if (j / 32).is_multiple_of(2) { byte & 15 } else { byte >> 4 })
    };
    let two_bits = |from: usize| f64::from(block[from + 32 * (j / 128) + j % 32] >> (2 * (j % 128 / 32)) & 3);
    match kind {
        BlockType::F32 => f64::from(f32::from_le_bytes([block[0], block[1], block[2], block[3]])),
        BlockType::F16 => half(block, 0),
        BlockType::BF16 => f64::from(f32::from_le_bytes([0, 0, block[0], block[1]])),
        BlockType::Q8_0 => half(block, 0) * f64::from(block[2 + j].cast_signed()),
        BlockType::Q4_0 => half(block, 0) * (nibble(2) - 8.0),
        BlockType::Q4_1 => half(block, 0) * nibble(4) + half(block, 2),
        BlockType::Q5_0 => half(block, 0) * (nibble(6) + fifth(2) - 16.0),
        BlockType::Q5_1 => half(block, 0) * (nibble(8) + fifth(4)) + half(block, 2),
        BlockType::IQ4_NL => half(block, 0) * IQ4[nibble(2) as usize],
        BlockType::IQ4_XS => {
            let g = j / 32;
            let low = block[4 + g / 2] >> (g % 2 * 4) & 15;
            let high = u16::from_le_bytes([block[2], block[3]]) >> (2 * g) & 3;
            let byte = block[8 + 16 * g + j % 16];
            let code = if j % 32 < 16 { byte & 15 } else { byte >> 4 };
            half(block, 0) * (f64::from(low) + 16.0 * f64::from(high) - 32.0) * IQ4[usize::from(code)]
        }
        BlockType::MXFP4 => {
            let code = nibble(1) as usize;
            let sign = if code < 8 { 1.0 } else { -1.0 };
            sign * [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0][code % 8] * 2f64.powi(i32::from(block[0]) - 127)
        }
        BlockType::Q2_K => {
            let scales = block[j / 16];
            half(block, 80) * f64::from(scales & 15) * two_bits(16) - half(block, 82) * f64::from(scales >> 4)
        }
        BlockType::Q3_K => {
            let g = j / 16;
            let b = &block[96..108];
            let low = if g < 8 { b[g % 8] & 15 } else { b[g % 8] >> 4 };
            let scale = low | (b[8 + g % 4] >> (2 * (g / 4)) & 3) << 4;
            let code = two_bits(32) + 4.0 * f64::from(block[j % 32] >> (j / 32) & 1) - 4.0;
            half(block, 108) * (f64::from(scale) - 32.0) * code
        }
        BlockType::Q4_K => {
            let (scale, minimum) = six_bits(&block[4..16], j / 32);
            half(block, 0) * scale * of_64(16) - half(block, 2) * minimum
        }
        BlockType::Q5_K => {
            let (scale, minimum) = six_bits(&block[4..16], j / 32);
            let code = of_64(48) + 16.0 * f64::from(block[16 + j % 32] >> (j / 32) & 1);
            half(block, 0) * scale * code - half(block, 2) * minimum
        }
        BlockType::Q6_K => {
            let (of_half, r) = (j / 128, j % 128);
            let (l, part) = (r % 32, r / 32);
            let byte = block[64 * of_half + 32 * (part % 2) + l];
            let low = if part < 2 { byte & 15 } else { byte >> 4 };
            let high = block[128 + 32 * of_half + l] >> (2 * part) & 3;
            half(block, 208) * f64::from(block[192 + j / 16].cast_signed()) * (f64::from(low | high << 4) - 32.0)
        }
    }
}

fn decode(kind: BlockType, bytes: &[u8]) -> Vec<f64> {
    let (values, size) = kind.block();
    let (values, size) = (values as usize, size as usize);
    bytes.chunks_exact(size).flat_map(|block| (0..values).map(|j| value(kind, block, j)).collect::<Vec<_>>()).collect()
}

/// Numbers as those of a model's rows: near a normal distribution, uneven by 64 columns.
fn normal(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut uniform = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / f64::from(1 << 24)
    };
    let one = |place: usize, uniform: &mut dyn FnMut() -> f64| {
        let sum: f64 = (0..12).map(|_| uniform()).sum();
        ((sum - 6.0) * 0.02 * [1.0, 1.7, 0.6, 1.2][place / 64 % 4]) as f32
    };
    (0..count).map(|place| one(place, &mut uniform)).collect()
}

fn relative_rms(values: &[f32], decoded: &[f64]) -> f64 {
    let square = |number: f64| number * number;
    let error: f64 = values.iter().zip(decoded).map(|(value, found)| square(f64::from(*value) - found)).sum();
    (error / values.iter().map(|value| square((*value).into())).sum::<f64>()).sqrt()
}

/// The bounds are what llama.cpp's own reference quantisers reach on the same numbers, and a hundredth more.
#[test]
fn each_type_is_as_near_as_it_can_be() {
    let values = normal(256 * 64, 1);
    for (kind, bound) in [
        (BlockType::F32, 0.0),
        (BlockType::F16, 3e-4),
        (BlockType::BF16, 2e-3),
        (BlockType::Q8_0, 0.00525),
        (BlockType::Q5_1, 0.0376),
        (BlockType::Q5_0, 0.0422),
        (BlockType::Q4_1, 0.0774),
        (BlockType::Q4_0, 0.0849),
        (BlockType::IQ4_NL, 0.0763),
        (BlockType::IQ4_XS, 0.0771),
        (BlockType::MXFP4, 0.1142),
        (BlockType::Q6_K, 0.0178),
        (BlockType::Q5_K, 0.0363),
        (BlockType::Q4_K, 0.0715),
        (BlockType::Q3_K, 0.149),
        (BlockType::Q2_K, 0.295),
    ] {
        let bytes = encode(kind, &values).unwrap();
        let (of_block, size) = kind.block();
        assert_eq!(bytes.len() as u64, values.len() as u64 / of_block * size, "{}", kind.name());
        let error = relative_rms(&values, &decode(kind, &bytes));
        assert!(error <= bound, "{}: {error} > {bound}", kind.name());
    }
}

/// What a type has stored before is stored as it was: twice is no worse than once.
#[test]
fn blocks_come_back_as_they_were() {
    let values = normal(256 * 8, 2);
    for kind in [
        BlockType::Q8_0,
        BlockType::Q5_0,
        BlockType::Q4_0,
        BlockType::MXFP4,
        BlockType::F16,
        BlockType::BF16,
        BlockType::F32,
    ] {
        let once = decode(kind, &encode(kind, &values).unwrap());
        let again: Vec<f32> = once.iter().map(|value| *value as f32).collect();
        assert_eq!(once, decode(kind, &encode(kind, &again).unwrap()), "{}", kind.name());
    }
    // Four bits with a scale of bf16, as compressed-tensors has them, the long end unused.
    let int4: Vec<f32> = (0..64i16).map(|place| f32::from((place * 5 + 3) % 15 - 7) * 0.011_718_75).collect();
    let decoded: Vec<f32> =
        decode(BlockType::Q4_0, &encode(BlockType::Q4_0, &int4).unwrap()).iter().map(|v| *v as f32).collect();
    assert_eq!(decoded, int4);
}

/// Every block of MXFP4, whichever codes it lacks, and under the smallest and the largest power of two.
#[test]
fn four_bit_floats_are_kept_exactly() {
    const SIZES: [f32; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];
    for exponent in [-124, -7, 0, 125] {
        for most in 0..8 {
            let code = |place: u16| {
                let size = SIZES[usize::from(place * 7 % 8).min(most)];
                if place.is_multiple_of(3) { -size } else { size }
            };
            let values: Vec<f32> = (0..32).map(|place| code(place) * 2f32.powi(exponent)).collect();
            let decoded = decode(BlockType::MXFP4, &encode(BlockType::MXFP4, &values).unwrap());
            let expected: Vec<f64> = values.iter().map(|value| f64::from(*value)).collect();
            assert_eq!(decoded, expected, "2^{exponent}, sizes up to {}", SIZES[most]);
        }
    }
    assert_eq!(encode(BlockType::MXFP4, &[0.0; 32]).unwrap()[0], 1, "a scale that readers take");
}

/// No value is farther off than two steps of its block, whatever stands in it; what stands out is not lost.
#[test]
fn adversarial_blocks_stay_in_bounds() {
    let spike = |place: usize, size: f32| {
        let mut block = normal(256, 3);
        block[place] = size;
        block
    };
    let rows = [
        vec![0.0; 256],
        vec![-0.25; 256],
        vec![3.0; 256],
        spike(0, 9.0),
        spike(255, -9.0),
        (0..256u16).map(|place| f32::from(place) - 100.0).collect(),
        (0..256u16).map(|place| if place % 2 == 0 { 1e-7 } else { -1e-7 }).collect(),
        vec![f32::MIN_POSITIVE / 4.0; 256],
        normal(256, 4).iter().map(|value| value * 1e5).collect(),
    ];
    for kind in BlockType::ALL.iter().filter(|kind| kind.block().0 > 1) {
        let steps = match kind {
            BlockType::Q2_K => 3.0,
            BlockType::Q3_K => 7.0,
            BlockType::Q4_0 | BlockType::Q4_1 | BlockType::IQ4_NL | BlockType::IQ4_XS | BlockType::Q4_K => 15.0,
            // Its largest codes are a third of the range apart.
            BlockType::MXFP4 => 6.0,
            BlockType::Q5_0 | BlockType::Q5_1 | BlockType::Q5_K => 31.0,
            BlockType::Q6_K => 63.0,
            _ => 255.0,
        };
        for row in &rows {
            let decoded = decode(*kind, &encode(*kind, row).unwrap());
            for (place, (value, found)) in row.iter().zip(&decoded).enumerate() {
                let largest = row.iter().fold(0.0f32, |most, value| most.max(value.abs()));
                // A scale below the smallest half is none.
                let bound = f64::from(largest) * 2.0 / steps * 1.6 + 1e-6;
                let off = (f64::from(*value) - found).abs();
                assert!(off <= bound, "{} {place}: {value} became {found}", kind.name());
            }
        }
    }
}

#[test]
fn what_no_type_can_hold_is_refused() {
    for kind in BlockType::ALL {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut values = normal(256, 5);
            values[77] = value;
            let Unfit(found) = encode(*kind, &values).unwrap_err();
            assert!(found == value || found.is_nan() && value.is_nan(), "{}", kind.name());
        }
        let mut large = normal(512, 6);
        large[300] = -3e38;
        match kind {
            BlockType::F32 | BlockType::BF16 | BlockType::MXFP4 => assert!(encode(*kind, &large).is_ok()),
            _ => assert_eq!(encode(*kind, &large), Err(Unfit(-3e38)), "{}", kind.name()),
        }
    }
}

#[test]
fn rows_that_blocks_do_not_divide_get_smaller_blocks() {
    let kinds = |kind: BlockType| [256, 192, 8].map(|columns| kind.that_divides(columns));
    assert_eq!(kinds(BlockType::Q4_K), [BlockType::Q4_K, BlockType::Q5_0, BlockType::F16]);
    assert_eq!(kinds(BlockType::Q6_K), [BlockType::Q6_K, BlockType::Q8_0, BlockType::F16]);
    assert_eq!(kinds(BlockType::Q2_K), [BlockType::Q2_K, BlockType::IQ4_NL, BlockType::F16]);
    assert_eq!(kinds(BlockType::IQ4_XS), [BlockType::IQ4_XS, BlockType::IQ4_NL, BlockType::F16]);
    assert_eq!(kinds(BlockType::MXFP4), [BlockType::MXFP4, BlockType::MXFP4, BlockType::F16]);
    assert_eq!(kinds(BlockType::BF16), [BlockType::BF16; 3]);
}
