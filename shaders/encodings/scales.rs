//! Scales and minima of groups: where they lie in words, WGSL and its twin.

use super::values::decode_f16;
use crate::case::Random;

/// The words of the scales of a row.
pub(crate) type Words<'a> = &'a dyn Fn(usize) -> u32;

/// The scales of a row, and its minima: a weight is scale · code + minimum.
///
/// Groups side by side share words: `blocks` of them fill `words`. A row has whole words.
pub struct Scales {
    /// Groups that fill `words`.
    pub(crate) blocks: u32,
    /// Words of so many groups; 0 where there are no scales.
    pub(crate) words: u32,
    /// Whether there are minima.
    pub(crate) has_minimum: bool,
    /// WGSL: `weight_scale` and, where there are minima, `weight_minimum`.
    pub(crate) wgsl: &'static str,
    /// Their twin: scale and minimum of group `block` of a row whose words are `word(0)`, `word(1)`, …
    pub(crate) decode: fn(word: Words<'_>, block: usize) -> (f64, f64),
    /// A word for cases, by its place among `words`: scales of moderate size.
    pub(crate) random: fn(&mut Random, place: u32) -> u32,
}

/// What changes no weight: a zero of the other sign would turn −0 to 0.
const NO_MINIMUM: f64 = -0.0;

pub(super) const NONE: Scales = Scales {
    blocks: 1,
    words: 0,
    has_minimum: false,
    wgsl: include_str!("scales/none.wgsl"),
    decode: |_, _| (1.0, NO_MINIMUM),
    random: |_, _| 0,
};

pub(super) const F32: Scales = Scales {
    blocks: 1,
    words: 1,
    has_minimum: false,
    wgsl: include_str!("scales/f32.wgsl"),
    decode: |word, block| (float(word(block)), NO_MINIMUM),
    random: |random, _| positive(random).to_bits(),
};

pub(super) const F16: Scales = Scales {
    blocks: 2,
    words: 1,
    has_minimum: false,
    wgsl: include_str!("scales/f16.wgsl"),
    decode: |word, block| (half(word(block / 2) >> (block % 2 * 16)), NO_MINIMUM),
    random: |random, _| halves(positive(random), positive(random)),
};

pub(super) const BF16: Scales = Scales {
    blocks: 2,
    words: 1,
    has_minimum: false,
    wgsl: include_str!("scales/bf16.wgsl"),
    decode: |word, block| (float(word(block / 2) >> (block % 2 * 16) << 16), NO_MINIMUM),
    random: |random, _| positive(random).to_bits() >> 16 | (positive(random).to_bits() & 0xffff_0000),
};

/// Exponents: a scale is 2^(e − 127).
pub(super) const E8M0: Scales = Scales {
    blocks: 4,
    words: 1,
    has_minimum: false,
    wgsl: include_str!("scales/e8m0.wgsl"),
    decode: |word, block| (float((word(block / 4) >> (block % 4 * 8) & 0xff) << 23), NO_MINIMUM),
    random: |random, _| u32::from_le_bytes([(); 4].map(|()| 120 + random.below(8) as u8)),
};

/// An f16 scale and an f16 minimum.
pub(super) const F16_PAIR: Scales = Scales {
    blocks: 1,
    words: 1,
    has_minimum: true,
    wgsl: include_str!("scales/f16_pair.wgsl"),
    decode: |word, block| (half(word(block)), half(word(block) >> 16)),
    random: |random, _| halves(positive(random), random.float()),
};

/// A bf16 scale and a bf16 minimum.
pub(super) const BF16_PAIR: Scales = Scales {
    blocks: 1,
    words: 1,
    has_minimum: true,
    wgsl: include_str!("scales/bf16_pair.wgsl"),
    decode: |word, block| (float(word(block) << 16), float(word(block) & 0xffff_0000)),
    random: |random, _| positive(random).to_bits() >> 16 | (random.float().to_bits() & 0xffff_0000),
};

/// An f32 scale and an f32 minimum.
pub(super) const F32_PAIR: Scales = Scales {
    blocks: 1,
    words: 2,
    has_minimum: true,
    wgsl: include_str!("scales/f32_pair.wgsl"),
    decode: |word, block| (float(word(2 * block)), float(word(2 * block + 1))),
    // So few bits that a product with a code is exact, and a weight rounded once whether or not the two are fused.
    random: |random, place| (if place == 0 { positive(random) } else { random.float() }).to_bits() & 0xffff_ff00,
};

/// Half of the groups each have an f16, and each group a signed byte: what `BLOCKS` groups share is two f16, then the bytes.
pub(super) const fn shared_f16<const BLOCKS: u32>() -> Scales {
    Scales {
        blocks: BLOCKS,
        words: 1 + BLOCKS / 4,
        has_minimum: false,
        wgsl: include_str!("scales/k.wgsl"),
        decode: |word, block| {
            let (blocks, words) = (BLOCKS as usize, 1 + BLOCKS as usize / 4);
            let (first, place) = (block / blocks * words, block % blocks);
            let shared = half(word(first) >> (if place < blocks / 2 { 0 } else { 16 }));
            let [scale, ..] = (word(first + 1 + place / 4) >> (place % 4 * 8)).to_le_bytes();
            (shared * f64::from(scale.cast_signed()), NO_MINIMUM)
        },
        random: |random, place| match place {
            0 => halves(positive(random) / 32.0, positive(random) / 32.0),
            _ => random.word(),
        },
    }
}

/// Bytes (scale, minimum) of 32 columns, with two f16 for 8 groups.
pub(super) const K_MINIMUM: Scales = Scales {
    blocks: 8,
    words: 5,
    has_minimum: true,
    wgsl: include_str!("scales/k_minimum.wgsl"),
    decode: |word, block| {
        let (first, place) = (block / 8 * 5, block % 8);
        let [scale, minimum, ..] = (word(first + 1 + place / 2) >> (place % 2 * 16)).to_le_bytes();
        shared_pair(word(first), scale, minimum)
    },
    random: |random, place| match place {
        0 => halves(positive(random) / 32.0, positive(random) / 32.0),
        _ => random.word() & 0x3f3f_3f3f,
    },
};

/// Nibbles (scale, minimum) of 16 columns, with two f16 for 16 groups.
pub(super) const K_NIBBLES: Scales = Scales {
    blocks: 16,
    words: 5,
    has_minimum: true,
    wgsl: include_str!("scales/k_nibbles.wgsl"),
    decode: |word, block| {
        let (first, place) = (block / 16 * 5, block % 16);
        let [byte, ..] = (word(first + 1 + place / 4) >> (place % 4 * 8)).to_le_bytes();
        shared_pair(word(first), byte & 15, byte >> 4)
    },
    random: |random, place| match place {
        0 => halves(positive(random) / 8.0, positive(random) / 8.0),
        _ => random.word(),
    },
};

fn shared_pair(shared: u32, scale: u8, minimum: u8) -> (f64, f64) {
    (half(shared) * f64::from(scale), -half(shared >> 16) * f64::from(minimum))
}

/// The lower half of a word as an f16.
fn half(word: u32) -> f64 {
    decode_f16(word & 0xffff).into()
}

fn float(word: u32) -> f64 {
    f32::from_bits(word).into()
}

/// A scale that is not near zero.
fn positive(random: &mut Random) -> f32 {
    0.01 + random.float().abs()
}

fn halves(low: f32, high: f32) -> u32 {
    let bits = |value| u32::from(half::f16::from_f32(value).to_bits());
    bits(low) | bits(high) << 16
}
