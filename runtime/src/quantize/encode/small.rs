//! Blocks of 32 values with a scale, and in some a minimum, in f16.
#![expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "codes are clamped to their bits")]

use super::half_of;
use super::search::{Affine, exact, extreme, inverse, nearest, symmetric};

/// Values of a block.
const N: usize = 32;
/// Every value counts the same.
const EVEN: [f32; N] = [1.0; N];
/// The values of IQ4's codes.
const IQ4: [f32; 16] =
    [-127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0, 89.0, 113.0];

/// Nibbles in the order of a file: the first half of the values are the low ones.
fn nibbles(codes: &[u8; N], out: &mut Vec<u8>) {
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

pub(super) fn iq4_nl(values: &[f32; N], out: &mut Vec<u8>) -> Option<()> {
    let (scale, stored) = half_of(table_scale(values))?;
    let inverse = inverse(scale);
    out.extend(stored);
    nibbles(&values.map(|value| nearest_iq4(value * inverse)), out);
    Some(())
}

/// The code whose value is nearest.
fn nearest_iq4(value: f32) -> u8 {
    IQ4.windows(2).filter(|pair| value > (pair[0] + pair[1]) / 2.0).count() as u8
}

/// The scale that brings the table's values nearest.
fn table_scale(values: &[f32; N]) -> f32 {
    let extreme = extreme(values);
    if extreme == 0.0 {
        return 0.0;
    }
    let (mut best, mut scale) = (0.0, extreme / IQ4[0]);
    for step in -7..=7_i8 {
        let inverse = (IQ4[0] + f32::from(step)) / extreme;
        let (mut along, mut square) = (0.0, 0.0);
        for value in values {
            let code = IQ4[usize::from(nearest_iq4(value * inverse))];
            along += value * code;
            square += code * code;
        }
        let explained = along * along / square;
        if explained > best {
            (best, scale) = (explained, along / square);
        }
    }
    scale
}
