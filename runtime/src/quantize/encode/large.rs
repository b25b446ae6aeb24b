//! Blocks of 256 values, in groups of 16 or 32 whose scales are codes themselves.
#![expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "codes are clamped to their bits")]

use super::half_of;
use super::search::{Affine, by_square, extreme, inverse, nearest, symmetric};

/// Values of a block.
const N: usize = 256;

/// Large values count for more: a model's sums depend on them.
fn by_size<const N: usize>(values: &[f32; N]) -> [f32; N] {
    let squares: f32 = values.iter().map(|value| value * value).sum();
    #[expect(clippy::cast_precision_loss, reason = "32 at most")]
    let mean = (squares / N as f32).sqrt();
    values.map(|value| mean + value.abs())
}

/// What a block with minima stores.
struct WithMinima<const GROUPS: usize> {
    scale: [u8; 2],
    minimum: [u8; 2],
    scales: [u8; GROUPS],
    minima: [u8; GROUPS],
    codes: [u8; N],
}

/// `scale · code − minimum` in groups of `SIZE`; scales and minima are codes up to `most_scale`.
fn with_minima<const SIZE: usize, const GROUPS: usize>(
    values: &[f32; N],
    search: Affine,
    most_scale: f32,
) -> Option<WithMinima<GROUPS>> {
    let (mut scales, mut minima) = ([0.0_f32; GROUPS], [0.0_f32; GROUPS]);
    let groups = values.as_chunks::<SIZE>().0;
    for ((group, scale), minimum) in groups.iter().zip(&mut scales).zip(&mut minima) {
        let (found, offset) = search.search(group, &by_size(group));
        (*scale, *minimum) = (found.max(0.0), -offset);
    }
    let most = |of: &[f32]| of.iter().copied().fold(0.0, f32::max) / most_scale;
    let ((scale, stored_scale), (minimum, stored_minimum)) = (half_of(most(&scales))?, half_of(most(&minima))?);
    let coded =
        |values: [f32; GROUPS], inverse: f32| values.map(|value| nearest(value * inverse).clamp(0.0, most_scale));
    let scales = coded(scales, inverse(scale));
    let minima = coded(minima, inverse(minimum));
    let mut codes = [0; N];
    for (place, (group, codes)) in groups.iter().zip(codes.as_chunks_mut::<SIZE>().0).enumerate() {
        let (inverse, minimum) = (inverse(scale * scales[place]), minimum * minima[place]);
        *codes = group.map(|value| nearest(((value + minimum) * inverse).clamp(0.0, search.most)) as u8);
    }
    Some(WithMinima {
        scale: stored_scale,
        minimum: stored_minimum,
        scales: scales.map(|code| code as u8),
        minima: minima.map(|code| code as u8),
        codes,
    })
}

/// What a block without minima stores: scales from −`deep`, codes from 0 of which `most` stands for 0.
fn without_minima(values: &[f32; N], most: f32, deep: f32) -> Option<([u8; 2], [i8; 16], [u8; N])> {
    let groups = values.as_chunks::<16>().0;
    let mut scales = [0.0; 16];
    for (group, scale) in groups.iter().zip(&mut scales) {
        *scale = symmetric(group, most, &by_square(group));
    }
    let (scale, stored) = half_of(extreme(&scales) / -deep)?;
    let by = inverse(scale);
    let scales = scales.map(|value| nearest(value * by).clamp(-deep, deep - 1.0));
    let mut codes = [0; N];
    for (place, (group, codes)) in groups.iter().zip(codes.as_chunks_mut::<16>().0).enumerate() {
        let by = inverse(scale * scales[place]);
        *codes = group.map(|value| (nearest((value * by).clamp(-most, most - 1.0)) + most) as u8);
    }
    Some((stored, scales.map(|code| code as i8), codes))
}

/// Eight scales and eight minima of 6 bits.
fn six_bits(scales: [u8; 8], minima: [u8; 8], out: &mut Vec<u8>) {
    let ends = |codes: [u8; 8]| [0, 1, 2, 3].map(|place| codes[place] | codes[place + 4] >> 4 << 6);
    out.extend(ends(scales));
    out.extend(ends(minima));
    out.extend([4, 5, 6, 7].map(|place| (scales[place] & 15) | (minima[place] & 15) << 4));
}

/// Codes of `BITS` bits in a block of 128 values: those at the same place of its `PARTS` equal parts share a byte, the first lowest.
fn shared<const PARTS: usize>(codes: &[u8], bits: usize, out: &mut Vec<u8>) {
    let size = codes.len() / PARTS;
    out.extend((0..size).map(|place| {
        (0..PARTS).map(|part| codes[part * size + place] << (part * bits)).fold(0, |all, bits| all | bits)
    }));
}

/// Bit `bit` of each code: those at the same place of the eight groups of 32 share a byte.
fn bits(codes: &[u8; N], bit: u32, out: &mut Vec<u8>) {
    shared::<8>(&codes.map(|code| code >> bit & 1), 1, out);
}

pub(super) fn q4_k(values: &[f32; N], out: &mut Vec<u8>) -> Option<()> {
    let search = Affine { most: 15.0, from: -1.0, count: 20, clamped: true };
    let block = with_minima::<32, 8>(values, search, 63.0)?;
    out.extend(block.scale);
    out.extend(block.minimum);
    six_bits(block.scales, block.minima, out);
    block.codes.chunks(64).for_each(|codes| shared::<2>(codes, 4, out));
    Some(())
}

pub(super) fn q5_k(values: &[f32; N], out: &mut Vec<u8>) -> Option<()> {
    let search = Affine { most: 31.0, from: -0.5, count: 15, clamped: true };
    let block = with_minima::<32, 8>(values, search, 63.0)?;
    out.extend(block.scale);
    out.extend(block.minimum);
    six_bits(block.scales, block.minima, out);
    bits(&block.codes, 4, out);
    block.codes.map(|code| code & 15).chunks(64).for_each(|codes| shared::<2>(codes, 4, out));
    Some(())
}

pub(super) fn q2_k(values: &[f32; N], out: &mut Vec<u8>) -> Option<()> {
    let search = Affine { most: 3.0, from: -0.5, count: 15, clamped: true };
    let block = with_minima::<16, 16>(values, search, 15.0)?;
    out.extend(block.scales.iter().zip(block.minima).map(|(scale, minimum)| scale | minimum << 4));
    block.codes.chunks(128).for_each(|codes| shared::<4>(codes, 2, out));
    out.extend(block.scale);
    out.extend(block.minimum);
    Some(())
}

pub(super) fn q6_k(values: &[f32; N], out: &mut Vec<u8>) -> Option<()> {
    let (scale, scales, codes) = without_minima(values, 32.0, 128.0)?;
    let low = codes.map(|code| code & 15);
    low.chunks(128).for_each(|codes| shared::<2>(codes, 4, out));
    codes.map(|code| code >> 4).chunks(128).for_each(|codes| shared::<4>(codes, 2, out));
    out.extend(scales.map(i8::cast_unsigned));
    out.extend(scale);
    Some(())
}

pub(super) fn q3_k(values: &[f32; N], out: &mut Vec<u8>) -> Option<()> {
    let (scale, scales, codes) = without_minima(values, 4.0, 32.0)?;
    bits(&codes, 2, out);
    codes.map(|code| code & 3).chunks(128).for_each(|codes| shared::<4>(codes, 2, out));
    let scales = scales.map(|code| (code + 32).cast_unsigned());
    shared::<2>(&scales.map(|code| code & 15), 4, out);
    shared::<4>(&scales.map(|code| code >> 4), 2, out);
    out.extend(scale);
    Some(())
}
