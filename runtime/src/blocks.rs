//! Blocks of GGUF taken apart: codes in the order of their values, and scales beside them.
//!
//! In: rows of whole blocks. Out: the same codes at the same width, lowest bits first, and a scale for each block. Nothing is
//! rounded: the scales are those of the file. Source: `ggml-common.h` of llama.cpp.

use lyn_shaders::encodings::{self, Encoding, decode_f16};

use crate::checkpoint::{Dtype, Tensor};
use crate::error::{Class, Code, Error, Result};

/// Rows of blocks, taken apart.
pub(crate) struct Split {
    /// Where they go.
    pub(crate) encoding: &'static Encoding,
    /// Row-major, without gaps.
    pub(crate) codes: Vec<u8>,
    /// Row-major, one for each block; all finite.
    pub(crate) scales: Vec<f32>,
}

/// Takes rows apart.
///
/// # Errors
/// [`Class::Value`]: a scale that is no finite number.
pub(crate) fn split(tensor: &Tensor, rows: &[u8]) -> Result<Split> {
    let dtype = tensor.dtype;
    let (_, block_bytes) = dtype.block();
    let blocks = rows.chunks_exact(usize::try_from(block_bytes).unwrap_or(usize::MAX));
    let (encoding, scale_bytes) = match dtype {
        Dtype::Q8_0 => (&encodings::Q8_0, 2),
        Dtype::Q4_0 => (&encodings::Q4_0, 2),
        Dtype::IQ4_NL => (&encodings::IQ4_NL, 2),
        Dtype::MXFP4 => (&encodings::MXFP4, 1),
        other => return Err(Error::new(Code::Internal, format!("{other} is not stored as blocks that lyn runs"))),
    };
    let mut split = Split { encoding, codes: Vec::with_capacity(rows.len()), scales: Vec::with_capacity(blocks.len()) };
    for block in blocks {
        let (scale, codes) = block.split_at(scale_bytes);
        let scale = match *scale {
            [low, high] => decode_f16(u16::from_le_bytes([low, high]).into()),
            // 255 is NaN, and 0 would be subnormal.
            [exponent @ 1..=254] => f32::from_bits(u32::from(exponent) << 23),
            _ => f32::NAN,
        };
        if !scale.is_finite() {
            return Err(tensor.error(Class::Value, "a block has a scale that is NaN, infinite or unusable"));
        }
        split.scales.push(scale);
        if encoding.piece() == 16 {
            split.codes.extend_from_slice(codes);
        } else {
            // The first half of the values are the low nibbles.
            let (low, high) = (|byte: u8| byte & 15, |byte: u8| byte >> 4);
            split.codes.extend(codes.chunks_exact(2).map(|pair| low(pair[0]) | low(pair[1]) << 4));
            split.codes.extend(codes.chunks_exact(2).map(|pair| high(pair[0]) | high(pair[1]) << 4));
        }
    }
    Ok(split)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Value j of a block, by the format's description.
    fn value(dtype: Dtype, block: &[u8], j: usize) -> f64 {
        const IQ4: [i32; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
        const E2M1: [f64; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];
        let half = f64::from(decode_f16(u16::from_le_bytes([block[0], block[1]]).into()));
        let nibble = |from: usize| usize::from(if j < 16 { block[from + j] & 15 } else { block[from + j - 16] >> 4 });
        match dtype {
            Dtype::Q8_0 => half * f64::from(block[2 + j].cast_signed()),
            Dtype::Q4_0 => half * (nibble(2) as f64 - 8.0),
            Dtype::IQ4_NL => half * f64::from(IQ4[nibble(2)]),
            _ => {
                let sign = if nibble(1) < 8 { 1.0 } else { -1.0 };
                2f64.powi(i32::from(block[0]) - 127) * sign * E2M1[nibble(1) % 8]
            }
        }
    }

    fn stored(dtype: Dtype) -> Tensor {
        Tensor { name: "t".to_owned(), file: "f".into(), dtype, shape: vec![3, 64], offset: 0, bytes: 0 }
    }

    /// Oracle: the description of each block, byte by byte.
    #[test]
    fn what_is_taken_apart_has_the_same_values() {
        for dtype in [Dtype::Q8_0, Dtype::Q4_0, Dtype::IQ4_NL, Dtype::MXFP4] {
            let size = usize::try_from(dtype.block().1).unwrap();
            let mut state = 1u32;
            let mut rows: Vec<u8> = (0..6 * size)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 24) as u8
                })
                .collect();
            // Scales that are numbers: halves below 1, powers of two around 1.
            rows.chunks_exact_mut(size).for_each(|block| match dtype {
                Dtype::MXFP4 => block[0] = 120 + block[0] % 16,
                _ => block[1] = (block[1] & 0x80) | (block[1] % 0x3c),
            });
            let split = split(&stored(dtype), &rows).unwrap();
            let codes: Vec<u32> = bytemuck::pod_collect_to_vec(&split.codes);
            let scales = (split.encoding.scales.encode)(&split.scales);
            for row in 0..3 {
                let mut decoded = [0.0; 64];
                split.encoding.decode_row(&codes, row, &scales, row, &mut decoded);
                for (column, found) in decoded.into_iter().enumerate() {
                    let block = &rows[(row as usize * 2 + column / 32) * size..][..size];
                    assert_eq!(found, value(dtype, block, column % 32), "{dtype} {row} {column}");
                }
            }
        }
    }

    #[test]
    fn scales_that_are_no_numbers_are_refused() {
        for (dtype, scale) in [
            (Dtype::Q8_0, &[0x00, 0x7c][..]),
            (Dtype::Q4_0, &[0x01, 0xfe]),
            (Dtype::MXFP4, &[255]),
            (Dtype::MXFP4, &[0]),
        ] {
            let mut block = vec![0; usize::try_from(dtype.block().1).unwrap()];
            block[..scale.len()].copy_from_slice(scale);
            let error = split(&stored(dtype), &block).map(drop).unwrap_err();
            assert!(error.to_string().contains("E-VALUE") && error.to_string().contains("\"t\""), "{error}");
        }
        assert_eq!(split(&stored(Dtype::BF16), &[]).map(drop).unwrap_err().code(), Code::Internal);
    }
}
