//! Weights for cases: any codes that are numbers.

use super::{Encoding, Panels, index};
use crate::case::Random;

/// Words of random weights in panels, padded with zeros, and their scales, each as a number.
pub(crate) fn random_panels(random: &mut Random, panels: &Panels) -> (Vec<u32>, Vec<f32>) {
    let mut words = vec![0u32; index(panels.words())];
    for group in 0..panels.groups {
        for row in 0..panels.rows {
            for column in 0..panels.columns {
                put(&mut words, panels.code_bit(group, row, column), (panels.encoding.codes.random)(random));
            }
        }
    }
    (words, random_scales(random, panels.scales()))
}

/// Words of random weights, row-major without gaps, padded to 16 bytes.
pub(crate) fn random_rows(random: &mut Random, encoding: &Encoding, count: u32) -> Vec<u32> {
    let mut words = vec![0u32; index(encoding.words(u64::from(count)))];
    for at in 0..u64::from(count) {
        put(&mut words, at * u64::from(encoding.codes.plane.bits), (encoding.codes.random)(random));
    }
    words
}

/// Scales, none near zero.
pub(crate) fn random_scales(random: &mut Random, count: u64) -> Vec<f32> {
    (0..count).map(|_| 0.01 + random.float().abs()).collect()
}

/// The words of scales, or the one word that is bound where there are none.
pub(crate) fn encoded_scales(encoding: &Encoding, scales: &[f32]) -> Vec<u32> {
    let mut words = (encoding.scales.encode)(scales);
    words.resize(words.len().max(1), 0);
    words
}

fn put(words: &mut [u32], bit: u64, code: u32) {
    words[index(bit / 32)] |= code << (bit % 32);
}
