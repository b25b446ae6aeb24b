//! Blocks whose codes stand for the values of a table.
#![expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "codes are clamped to their bits")]

use super::half_of;
use super::search::{by_square, extreme, inverse, nearest};
use super::small::nibbles;

/// Values that share a scale.
const N: usize = 32;
/// The values of IQ4's codes.
const IQ4: [f32; 16] =
    [-127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0, 89.0, 113.0];
/// The sizes of MXFP4's codes; the fourth bit is the sign.
const E2M1: [f32; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];

pub(super) fn iq4_nl(values: &[f32; N], out: &mut Vec<u8>) -> Option<()> {
    let (scale, stored) = half_of(iq4_scale(values, &[1.0; N]))?;
    let inverse = inverse(scale);
    out.extend(stored);
    nibbles(&values.map(|value| nearest_iq4(value * inverse)), out);
    Some(())
}

/// Eight groups, whose scales are codes of six bits.
pub(super) fn iq4_xs(values: &[f32; 8 * N], out: &mut Vec<u8>) -> Option<()> {
    let groups = values.as_chunks::<N>().0;
    let mut scales = [0.0; 8];
    for (group, scale) in groups.iter().zip(&mut scales) {
        *scale = iq4_scale(group, &by_square(group));
    }
    let (scale, stored) = half_of(extreme(&scales) / -32.0)?;
    let by = inverse(scale);
    let codes = scales.map(|value| nearest(value * by).clamp(-32.0, 31.0));
    let stored_codes = codes.map(|code| (code + 32.0) as u8);
    let high = stored_codes.iter().enumerate().map(|(place, code)| u16::from(code >> 4) << (2 * place));
    out.extend(stored);
    out.extend(high.fold(0, |all, bits| all | bits).to_le_bytes());
    out.extend(stored_codes.as_chunks::<2>().0.iter().map(|[even, odd]| (even & 15) | (odd & 15) << 4));
    for (group, code) in groups.iter().zip(codes) {
        let inverse = inverse(scale * code);
        nibbles(&group.map(|value| nearest_iq4(value * inverse)), out);
    }
    Some(())
}

/// The code whose value is nearest.
fn nearest_iq4(value: f32) -> u8 {
    IQ4.windows(2).filter(|pair| value > (pair[0] + pair[1]) / 2.0).count() as u8
}

/// The scale that brings the table's values nearest, weighted.
fn iq4_scale(values: &[f32; N], weights: &[f32; N]) -> f32 {
    let extreme = extreme(values);
    if extreme == 0.0 {
        return 0.0;
    }
    let (mut best, mut scale) = (0.0, extreme / IQ4[0]);
    for step in -7..=7_i8 {
        let inverse = (IQ4[0] + f32::from(step)) / extreme;
        let (mut along, mut square) = (0.0, 0.0);
        for (value, weight) in values.iter().zip(weights) {
            let code = IQ4[usize::from(nearest_iq4(value * inverse))];
            along += weight * value * code;
            square += weight * code * code;
        }
        let explained = if square > 0.0 { along * along / square } else { 0.0 };
        if explained > best {
            (best, scale) = (explained, along / square);
        }
    }
    scale
}

/// Codes under a power of two: the one that brings the largest value to the upper codes, or the next, whichever is nearer in all. Values
/// that are codes under any power of two come out as they were.
pub(super) fn mxfp4(values: &[f32; N], out: &mut Vec<u8>) -> Option<()> {
    let exponent = |value: f32| (value.to_bits() >> 23 & 0xff) as u8;
    // The largest code but one is 2².
    let first = exponent(extreme(values)).saturating_sub(2).clamp(1, 253);
    let coded = [first, first + 1].map(|exponent| {
        let scale = f32::from_bits(u32::from(exponent) << 23);
        let codes = values.map(|value| nearest_e2m1(value / scale));
        let off = |(value, code): (&f32, &u8)| (value / scale).abs() - E2M1[usize::from(code & 7)];
        // In steps of the scale: the square of a large value is beyond f32.
        let error: f32 = values.iter().zip(&codes).map(off).map(|off| off * off).sum();
        (exponent, codes, error)
    });
    let [(narrow, narrow_codes, narrow_error), (wide, wide_codes, wide_error)] = coded;
    // A step of the wider scale is two of the narrower one.
    let (exponent, codes) = if wide_error * 4.0 < narrow_error { (wide, wide_codes) } else { (narrow, narrow_codes) };
    out.push(exponent);
    nibbles(&codes, out);
    Some(())
}

/// The code whose value is nearest; the smaller of two that are.
fn nearest_e2m1(value: f32) -> u8 {
    let size = E2M1.windows(2).filter(|pair| value.abs() > (pair[0] + pair[1]) / 2.0).count() as u8;
    if size > 0 && value < 0.0 { size | 8 } else { size }
}
