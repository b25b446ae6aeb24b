//! The definition: order all candidates, take the first k, sort them by position.

use std::cmp::Reverse;

use super::NONE;

pub(super) fn top_k(scores: &[u32], count: usize, out: &mut [u32]) {
    let k = out.len();
    let mut positions: Vec<u32> = (0..count as u32).collect();
    if count > k {
        positions.select_nth_unstable_by_key(k, |&i| (Reverse(rank(scores[i as usize])), i));
        positions.truncate(k);
        positions.sort_unstable();
    }
    out.fill(NONE);
    out[..positions.len()].copy_from_slice(&positions);
}

/// Larger for a larger float; equal for ±0; least for NaN.
fn rank(bits: u32) -> i64 {
    let value = f32::from_bits(bits);
    let magnitude = i64::from(bits & 0x7fff_ffff);
    match value {
        value if value.is_nan() => i64::MIN,
        value if value.is_sign_negative() => -magnitude,
        _ => magnitude,
    }
}

#[test]
fn ranks_order_floats() {
    let ascending = [f32::MIN, -1.0, -1e-40, 0.0, 1e-40, f32::MIN_POSITIVE, 1.0, f32::MAX];
    assert!(ascending.is_sorted_by(|a, b| rank(a.to_bits()) < rank(b.to_bits())));
    assert_eq!(rank((-0f32).to_bits()), rank(0f32.to_bits()));
    assert!(rank(f32::NAN.to_bits()) < rank(f32::NEG_INFINITY.to_bits()));
}
