//! Rows of a stored matrix taken apart: codes in the order of their values, and scales beside them.
//!
//! In: rows as they are stored. Out: the same codes at the same width in the planes of an encoding, and the words of its scales.
//! Nothing is rounded. Source of the blocks: `ggml-common.h` of llama.cpp.

use lyn_shaders::encodings::{self, Encoding, PackedScale};

use crate::checkpoint::{Dtype, Tensor, check_block_scales};
use crate::error::{Class, Code, Error, Result};

/// Rows, one after another.
pub(crate) struct Rows {
    /// Whole 16-byte pieces.
    pub(crate) codes: Vec<u32>,
    /// Words of scales; none where they lie elsewhere or there are none.
    pub(crate) scales: Vec<u32>,
}

/// Some rows of a matrix, as they are stored.
#[derive(Clone, Copy, Default)]
pub(crate) struct StoredBytes<'a> {
    /// The matrix's own.
    pub(crate) rows: &'a [u8],
    /// Those of the scales beside packed codes.
    pub(crate) scales: &'a [u8],
    /// Those of the minima.
    pub(crate) minima: &'a [u8],
}

/// How the weights of a matrix are packed.
///
/// # Errors
/// [`Code::Internal`]: a type that no matrix has.
pub(crate) fn encoding_of(tensor: &Tensor) -> Result<&'static Encoding> {
    if let Some(packed) = &tensor.packed {
        let bits = u32::try_from(tensor.dtype.block().1 / 4).unwrap_or(0);
        let scale = match packed.scales.dtype {
            Dtype::F32 => PackedScale::F32,
            Dtype::F16 => PackedScale::F16,
            _ => PackedScale::BF16,
        };
        let packed = encodings::Packed { bits, group: packed.group, scale, has_minimum: packed.minima.is_some() };
        let unknown = || Error::new(Code::Internal, format!("{}: {packed:?} passed the check", tensor.name));
        return encodings::packed(packed).ok_or_else(unknown);
    }
    Ok(match tensor.dtype {
        Dtype::F32 => &encodings::F32,
        Dtype::F16 => &encodings::F16,
        Dtype::BF16 => &encodings::BF16,
        Dtype::F8_E4M3 => &encodings::FP8,
        Dtype::Q8_0 => &encodings::Q8_0,
        Dtype::Q4_0 => &encodings::Q4_0,
        Dtype::Q4_1 => &encodings::Q4_1,
        Dtype::Q5_0 => &encodings::Q5_0,
        Dtype::Q5_1 => &encodings::Q5_1,
        Dtype::Q2_K => &encodings::Q2_K,
        Dtype::Q3_K => &encodings::Q3_K,
        Dtype::Q4_K => &encodings::Q4_K,
        Dtype::Q5_K => &encodings::Q5_K,
        Dtype::Q6_K => &encodings::Q6_K,
        Dtype::IQ4_NL => &encodings::IQ4_NL,
        Dtype::IQ4_XS => &encodings::IQ4_XS,
        Dtype::MXFP4 => &encodings::MXFP4,
        other => return Err(Error::new(Code::Internal, format!("{}: no matrix is stored as {other}", tensor.name))),
    })
}

/// Takes rows of `columns` weights apart.
///
/// # Errors
/// [`Class::Value`]: a scale that is no finite number.
pub(crate) fn take_apart(tensor: &Tensor, columns: u32, stored: StoredBytes<'_>) -> Result<Rows> {
    let (encoding, rows) = (encoding_of(tensor)?, stored.rows);
    let (values, block_bytes) = tensor.dtype.block();
    let (row_bytes, block_bytes) = (size(u64::from(columns) / values * block_bytes), size(block_bytes));
    let mut apart = Rows { codes: Vec::new(), scales: Vec::new() };
    if !tensor.dtype.is_quantised_block() {
        let words = size(encoding.row_words(columns));
        if row_bytes == 4 * words {
            apart.codes = bytemuck::pod_collect_to_vec(rows);
            return Ok(apart);
        }
        for row in rows.chunks_exact(row_bytes) {
            let first = apart.codes.len();
            apart.codes.resize(first + words, 0);
            bytemuck::cast_slice_mut(&mut apart.codes[first..])[..row_bytes].copy_from_slice(row);
        }
        return Ok(apart);
    }
    let mut codes = vec![0; columns as usize];
    if let Some(packed) = &tensor.packed {
        for row in rows.chunks_exact(row_bytes) {
            bit_stream(row, encoding.planes.code_bits(), &mut codes);
            encoding.planes.pack_into(&codes, &mut apart.codes);
        }
        for (tensor, bytes) in [(Some(&packed.scales), stored.scales), (packed.minima.as_ref(), stored.minima)] {
            tensor.map_or(Ok(()), |tensor| check_floats(tensor, bytes))?;
        }
        let groups = size(u64::from(columns) / u64::from(packed.group).max(1));
        packed_scales(packed.scales.dtype, groups, stored, &mut apart.scales);
        return Ok(apart);
    }
    check_block_scales(tensor, rows)?;
    for row in rows.chunks_exact(row_bytes) {
        let places = codes.chunks_exact_mut(size(values));
        row.chunks_exact(block_bytes).zip(places).for_each(|(block, codes)| block_codes(tensor.dtype, block, codes));
        encoding.planes.pack_into(&codes, &mut apart.codes);
        row_scales(tensor.dtype, row.chunks_exact(block_bytes), &mut apart.scales);
    }
    Ok(apart)
}

/// The codes of a row in one stream of bits, lowest first.
fn bit_stream(row: &[u8], bits: u32, codes: &mut [u32]) {
    let (mut held, mut count, mut bytes) = (0u32, 0, row.iter());
    for code in codes {
        while count < bits {
            held |= u32::from(bytes.next().copied().unwrap_or(0)) << count;
            count += 8;
        }
        *code = held & (u32::MAX >> (32 - bits));
        held >>= bits;
        count -= bits;
    }
}

/// The words of the scales beside packed codes, and of the minima where there are some: rows of `groups` of them.
fn packed_scales(dtype: Dtype, groups: usize, stored: StoredBytes<'_>, words: &mut Vec<u32>) {
    let (scales, minima) = (stored.scales, stored.minima);
    if dtype == Dtype::F32 {
        let word = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        match minima.is_empty() {
            true => words.extend(scales.chunks_exact(4).map(word)),
            false => {
                let pairs = scales.chunks_exact(4).zip(minima.chunks_exact(4));
                words.extend(pairs.flat_map(|(scale, minimum)| [word(scale), word(minimum)]));
            }
        }
        return;
    }
    if minima.is_empty() {
        // Two groups share a word; a row with an odd number ends with zeros.
        for row in scales.chunks_exact(2 * groups) {
            words.extend(
                row.chunks(4).map(|pair| halves_word(half(pair, 0), if pair.len() > 2 { half(pair, 2) } else { 0 })),
            );
        }
        return;
    }
    let pairs = scales.chunks_exact(2).zip(minima.chunks_exact(2));
    words.extend(pairs.map(|(scale, minimum)| halves_word(half(scale, 0), half(minimum, 0))));
}

/// Refuses scales and minima that are no numbers.
fn check_floats(tensor: &Tensor, bytes: &[u8]) -> Result<()> {
    let is_number = match tensor.dtype {
        Dtype::F32 => bytes.chunks_exact(4).all(|word| half(word, 2) & 0x7f80 != 0x7f80),
        Dtype::BF16 => bytes.chunks_exact(2).all(|word| half(word, 0) & 0x7f80 != 0x7f80),
        _ => bytes.chunks_exact(2).all(|word| half(word, 0) & 0x7c00 != 0x7c00),
    };
    if is_number { Ok(()) } else { Err(tensor.error(Class::Value, "found NaN or infinity, expected finite numbers")) }
}

/// The codes of a block. Every loop runs over bytes side by side, which compilers turn into vectors.
fn block_codes(dtype: Dtype, block: &[u8], codes: &mut [u32]) {
    match dtype {
        Dtype::Q8_0 => codes.iter_mut().zip(&block[2..]).for_each(|(code, &byte)| *code = byte.into()),
        Dtype::Q4_0 | Dtype::IQ4_NL => nibbles(&block[2..], 16, codes),
        Dtype::MXFP4 => nibbles(&block[1..], 16, codes),
        Dtype::Q4_1 => nibbles(&block[4..], 16, codes),
        Dtype::Q5_0 => {
            nibbles(&block[6..], 16, codes);
            fifth_bits(&block[2..6], codes);
        }
        Dtype::Q5_1 => {
            nibbles(&block[8..], 16, codes);
            fifth_bits(&block[4..8], codes);
        }
        Dtype::Q2_K => pairs(&block[16..80], codes),
        Dtype::Q3_K => {
            pairs(&block[32..96], codes);
            upper_bits(&block[..32], 2, codes);
        }
        Dtype::Q4_K => nibbles(&block[16..], 32, codes),
        Dtype::Q5_K => {
            nibbles(&block[48..], 32, codes);
            upper_bits(&block[16..48], 4, codes);
        }
        Dtype::Q6_K => {
            // Of 128 values: low nibbles of 64 bytes, then their high ones; and pairs of bits of 32 bytes.
            nibbles(&block[..128], 64, codes);
            for (bytes, codes) in block[128..192].chunks_exact(32).zip(codes.chunks_exact_mut(128)) {
                for (shift, codes) in (0..).step_by(2).zip(codes.chunks_exact_mut(32)) {
                    or_bits(bytes, shift, 3, 4, codes);
                }
            }
        }
        _ => nibbles(&block[8..], 16, codes),
    }
}

/// The low nibbles of so many bytes, then their high ones, and so on.
fn nibbles(bytes: &[u8], width: usize, codes: &mut [u32]) {
    for (bytes, codes) in bytes.chunks_exact(width).zip(codes.chunks_exact_mut(2 * width)) {
        let (low, high) = codes.split_at_mut(width);
        low.iter_mut().zip(bytes).for_each(|(code, byte)| *code = (byte & 15).into());
        high.iter_mut().zip(bytes).for_each(|(code, byte)| *code = (byte >> 4).into());
    }
}

/// Bits 0 and 1 of 32 bytes, then bits 2 and 3, and so on.
fn pairs(bytes: &[u8], codes: &mut [u32]) {
    codes.fill(0);
    for (bytes, codes) in bytes.chunks_exact(32).zip(codes.chunks_exact_mut(128)) {
        for (shift, codes) in (0..).step_by(2).zip(codes.chunks_exact_mut(32)) {
            or_bits(bytes, shift, 3, 0, codes);
        }
    }
}

/// Bit n of 32 bytes for the n-th 32 codes, as their bit `place`.
fn upper_bits(bytes: &[u8], place: u32, codes: &mut [u32]) {
    for (shift, codes) in (0..).zip(codes.chunks_exact_mut(32)) {
        or_bits(bytes, shift, 1, place, codes);
    }
}

/// The bits of four bytes as bit 4 of the codes.
fn fifth_bits(bytes: &[u8], codes: &mut [u32]) {
    let word = bytes_word(bytes.iter().copied());
    (0..).zip(codes).for_each(|(shift, code)| *code |= (word >> shift & 1) << 4);
}

/// Adds the bits of each byte under a mask to the code beside it.
fn or_bits(bytes: &[u8], shift: u32, mask: u8, place: u32, codes: &mut [u32]) {
    codes.iter_mut().zip(bytes).for_each(|(code, byte)| *code |= u32::from(byte >> shift & mask) << place);
}

/// The words of the scales of a row.
fn row_scales<'a>(dtype: Dtype, blocks: impl ExactSizeIterator<Item = &'a [u8]>, words: &mut Vec<u32>) {
    let blocks: Vec<&[u8]> = blocks.collect();
    match dtype {
        Dtype::MXFP4 => words.extend(blocks.chunks(4).map(|blocks| bytes_word(blocks.iter().map(|block| block[0])))),
        Dtype::Q4_1 | Dtype::Q5_1 => {
            words.extend(blocks.iter().map(|block| halves_word(half(block, 0), half(block, 2))))
        }
        Dtype::Q4_K | Dtype::Q5_K => {
            for block in blocks {
                words.push(halves_word(half(block, 0), half(block, 2)));
                let bytes = six_bit_pairs(&block[4..16]);
                words.extend(bytes.chunks_exact(4).map(|bytes| bytes_word(bytes.iter().copied())));
            }
        }
        Dtype::Q2_K => {
            for block in blocks {
                words.push(halves_word(half(block, 80), half(block, 82)));
                words.extend(block[..16].chunks_exact(4).map(|bytes| bytes_word(bytes.iter().copied())));
            }
        }
        Dtype::Q3_K | Dtype::Q6_K | Dtype::IQ4_XS => {
            let (shared, count) = match dtype {
                Dtype::Q3_K => (108, 16),
                Dtype::Q6_K => (208, 16),
                _ => (0, 8),
            };
            // Two blocks share a word of f16; a row with an odd number ends with zeros.
            for pair in blocks.chunks(2) {
                words.push(halves_word(half(pair[0], shared), pair.get(1).map_or(0, |block| half(block, shared))));
                let mut bytes: Vec<u8> = pair.iter().flat_map(|block| signed_scales(dtype, block)).collect();
                bytes.resize(2 * count, 0);
                words.extend(bytes.chunks_exact(4).map(|bytes| bytes_word(bytes.iter().copied())));
            }
        }
        _ => words.extend(
            blocks.chunks(2).map(|pair| halves_word(half(pair[0], 0), pair.get(1).map_or(0, |block| half(block, 0)))),
        ),
    }
}

/// (scale, minimum) of the 8 groups of a Q4_K or Q5_K block, 6 bits each in 12 bytes.
fn six_bit_pairs(packed: &[u8]) -> [u8; 16] {
    let mut pairs = [0; 16];
    for (group, pair) in pairs.chunks_exact_mut(2).enumerate() {
        let (scale, minimum) = if group < 4 {
            (packed[group] & 63, packed[group + 4] & 63)
        } else {
            let (low, high) = (packed[group + 4], |at: usize| (packed[at] >> 6) << 4);
            (low & 15 | high(group - 4), low >> 4 | high(group))
        };
        pair.copy_from_slice(&[scale, minimum]);
    }
    pairs
}

/// The signed scales of the groups of a block that has no minima.
fn signed_scales(dtype: Dtype, block: &[u8]) -> Vec<u8> {
    match dtype {
        Dtype::Q6_K => block[192..208].to_vec(),
        Dtype::Q3_K => {
            let packed = &block[96..108];
            let code = |g: usize| packed[g % 8] >> (g / 8 * 4) & 15 | (packed[8 + g % 4] >> (g / 4 * 2) & 3) << 4;
            (0..16).map(|g| code(g).wrapping_sub(32)).collect()
        }
        _ => {
            let high = &block[2..4];
            let code = |g: usize| block[4 + g / 2] >> (g % 2 * 4) & 15 | (high[g / 4] >> (g % 4 * 2) & 3) << 4;
            (0..8).map(|g| code(g).wrapping_sub(32)).collect()
        }
    }
}

/// A size of what is in memory.
fn size(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

fn half(block: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([block[at], block[at + 1]])
}

fn halves_word(low: u16, high: u16) -> u32 {
    u32::from(low) | u32::from(high) << 16
}

fn bytes_word(bytes: impl Iterator<Item = u8>) -> u32 {
    (0..).step_by(8).zip(bytes).fold(0, |word, (shift, byte)| word | u32::from(byte) << shift)
}

#[cfg(test)]
mod tests;
