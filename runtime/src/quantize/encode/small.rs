//! Blocks of 32 values with a scale, and in some a minimum, in f16.
#![expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "codes are clamped to their bits")]

use super::half_of;
use super::search::{Affine, exact, extreme, inverse, nearest, symmetric};

/// Values of a block.
const N: usize = 32;
/// Every value counts the same.
const EVEN: [f32; N] = [1.0; N];

/// Nibbles in the order of a file: the first half of the values are the low ones.
pub(super) fn nibbles(codes: &[u8; N], out: &mut Vec<u8>) {
    let (low, high) = codes.split_at(N / 2);
    out.extend(low.iter().zip(high).map(|(low, high)| (low & 15) | (high & 15) << 4));
}

/// The fifth bits of codes, the first code's lowest.
fn fifth_bits(codes: &[u8; N]) -> [u8; 4] {
    let bits = codes.iter().enumerate().map(|(place, code)| u32::from(code >> 4 & 1) << place);
    bits.fold(0, |all, bit| all | bit).to_le_bytes()
}

pub(super) fn q8_0(values: &[f32; N], out: &mut Vec<u8>) -> Option<()> {
    let scale = exact(values, 128).unwrap_or_else(|| extreme(values).abs() / 127.0);
    let (scale, stored) = half_of(scale)?;
    let inverse = inverse(scale);
    out.extend(stored);
    out.extend(values.map(|value| nearest(value * inverse).clamp(-128.0, 127.0) as i8 as u8));
    Some(())
}

pub(super) fn q4_0(values: &[f32; N], out: &mut Vec<u8>) -> Option<()> {
    let (stored, codes) = signed(values, 8)?;
    out.extend(stored);
    nibbles(&codes, out);
    Some(())
}

pub(super) fn q5_0(values: &[f32; N], out: &mut Vec<u8>) -> Option<()> {
    let (stored, codes) = signed(values, 16)?;
    out.extend(stored);
    out.extend(fifth_bits(&codes));
    nibbles(&codes, out);
    Some(())
}

/// A scale, and codes from 0, of which `middle` stands for 0.
fn signed(values: &[f32; N], middle: u8) -> Option<([u8; 2], [u8; N])> {
    let most = f32::from(middle);
    let scale = exact(values, middle).unwrap_or_else(|| symmetric(values, most, &EVEN));
    let (scale, stored) = half_of(scale)?;
    let inverse = inverse(scale);
    Some((stored, values.map(|value| (nearest(value * inverse).clamp(-most, most - 1.0) + most) as u8)))
}

pub(super) fn q4_1(values: &[f32; N], out: &mut Vec<u8>) -> Option<()> {
    let (scale, minimum, codes) = unsigned(values, 15.0)?;
    out.extend(scale);
    out.extend(minimum);
    nibbles(&codes, out);
    Some(())
}

pub(super) fn q5_1(values: &[f32; N], out: &mut Vec<u8>) -> Option<()> {
    let (scale, minimum, codes) = unsigned(values, 31.0)?;
    out.extend(scale);
    out.extend(minimum);
    out.extend(fifth_bits(&codes));
    nibbles(&codes, out);
    Some(())
}

/// A scale, a minimum, and codes from 0 to `most`.
fn unsigned(values: &[f32; N], most: f32) -> Option<([u8; 2], [u8; 2], [u8; N])> {
    let search = Affine { most, from: -1.0, count: 20, clamped: false };
    let (scale, minimum) = search.search(values, &EVEN);
    let ((scale, stored_scale), (minimum, stored_minimum)) = (half_of(scale)?, half_of(minimum)?);
    let inverse = inverse(scale);
    let codes = values.map(|value| nearest(((value - minimum) * inverse).clamp(0.0, most)) as u8);
    Some((stored_scale, stored_minimum, codes))
}
