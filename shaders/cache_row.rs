//! How the cache lays out what it keeps of a position: the one place that knows a row.
//!
//! In: a row's elements. Out: its words, and WGSL that reads and writes them by the same functions for every type. Never: a
//! page, which only says which rows a sequence has.
//!
//! | type | scaled elements | the rest |
//! |---|---|---|
//! | f32 | as they are | as they are |
//! | f16 | binary16 | binary16 |
//! | fp8 | e4m3, then a scale for each 128: an f32 that is a power of two | bf16 |
//!
//! fp8 is the row that DeepSeek serves V3.2 with: of 512 latents and 64 rotated dims it makes 656 bytes. Powers of two lose
//! nothing against other scales, since e4m3 is a float, and values times scales are exact: no adapter rounds them differently.

use std::fmt;

use crate::encodings::{PANEL, decode_e4m3, decode_f16};

#[cfg(test)]
mod tests;

/// How elements are packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CacheType {
    /// 32 bits: as they were computed.
    #[default]
    F32,
    /// 16 bits.
    F16,
    /// 8 bits, but for rotated keys: see [`CacheRow`].
    Fp8,
}

impl CacheType {
    /// Every type, the widest first.
    pub const ALL: [CacheType; 3] = [CacheType::F32, CacheType::F16, CacheType::Fp8];

    /// `f32`, `f16` or `fp8`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            CacheType::F32 => "f32",
            CacheType::F16 => "f16",
            CacheType::Fp8 => "fp8",
        }
    }
}

impl fmt::Display for CacheType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A row, one for each position of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CacheRow {
    /// How elements are packed.
    pub cache_type: CacheType,
    /// Elements that fp8 packs in 8 bits, with a scale for each [`SCALED`] of them; a multiple of 4 but in f32.
    pub scaled: u32,
    /// Elements behind them, which fp8 keeps in 16 bits; even.
    pub rest: u32,
    /// Where the words of neighbouring rows lie.
    pub order: RowOrder,
}

/// Where the words of neighbouring rows lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RowOrder {
    /// `[rows, words]`
    RowMajor,
    /// `[rows / 32, vectors, 32]`, where a vector is the words of four elements: lanes that read one row each read neighbouring
    /// words.
    Panels,
}

/// Elements that share a scale in fp8: a block of the canonical sum.
pub const SCALED: u32 = 128;

/// WGSL that reads rows by [`CacheParts`](crate::cache_parts::CacheParts)' `cache_vector`.
const READS: [&str; 3] = [
    include_str!("cache_row/read_f32.wgsl"),
    include_str!("cache_row/read_f16.wgsl"),
    concat!(
        include_str!("cache_row/read_fp8.wgsl"),
        include_str!("encodings/planes/codes_8.wgsl"),
        include_str!("encodings/values/e4m3.wgsl")
    ),
];
/// WGSL that writes rows by the kernel's `row_word` and by their `put_word`.
const WRITES: [&str; 3] = [
    include_str!("cache_row/write_f32.wgsl"),
    include_str!("cache_row/write_f16.wgsl"),
    include_str!("cache_row/write_fp8.wgsl"),
];

impl CacheType {
    /// `cached`, `cached_rest`, `cached_scale` and `row_vectors`.
    pub(crate) const fn reads(self) -> &'static str {
        READS[self as usize]
    }

    /// `write_scaled`, `write_rest` and `row_words`.
    pub(crate) const fn writes(self) -> &'static str {
        WRITES[self as usize]
    }

    /// Words of four elements: a vector.
    pub(crate) const fn vector_words(self) -> u32 {
        [4, 2, 1][self as usize]
    }
}

impl CacheRow {
    /// Elements of a row.
    #[must_use]
    pub const fn width(&self) -> u32 {
        self.scaled + self.rest
    }

    /// Words of a row.
    #[must_use]
    pub const fn words(&self) -> u32 {
        match self.cache_type {
            CacheType::F32 => self.scaled + self.rest,
            CacheType::F16 => (self.scaled + self.rest) / 2,
            CacheType::Fp8 => self.scaled / 4 + self.scaled.div_ceil(SCALED) + self.rest / 2,
        }
    }

    /// Where a word of a row lies among the words of all rows.
    #[must_use]
    pub const fn place(&self, row: u32, word: u32) -> usize {
        let (row, word, words) = (row as usize, word as usize, self.words() as usize);
        let (lanes, vector) = (PANEL as usize, self.cache_type.vector_words() as usize);
        match self.order {
            RowOrder::RowMajor => row * words + word,
            RowOrder::Panels => {
                ((row / lanes * (words / vector) + word / vector) * lanes + row % lanes) * vector + word % vector
            }
        }
    }

    /// The elements of a row.
    #[must_use]
    pub fn read(&self, cache: &[u32], row: u32) -> Vec<f32> {
        let word = |at: u32| cache[self.place(row, at)];
        let half = |at: u32| word(at / 2) >> (at % 2 * 16) & 0xffff;
        let (scaled, blocks) = (self.scaled, self.scaled.div_ceil(SCALED));
        let element = |at: u32| match self.cache_type {
            CacheType::F32 => f32::from_bits(word(at)),
            CacheType::F16 => decode_f16(half(at)),
            CacheType::Fp8 if at < scaled => {
                let scale = f32::from_bits(word(scaled / 4 + at / SCALED));
                decode_e4m3(word(at / 4) >> (at % 4 * 8) & 0xff) * scale
            }
            CacheType::Fp8 => f32::from_bits(half((scaled / 4 + blocks) * 2 + at - scaled) << 16),
        };
        (0..self.width()).map(element).collect()
    }

    /// Replaces a row by what is nearest to `values`.
    pub fn write(&self, cache: &mut [u32], row: u32, values: &[f32]) {
        let halves = |values: &[f32], bits: fn(f32) -> u32| {
            values.chunks(2).map(|pair| bits(pair[0]) | bits(pair[1]) << 16).collect::<Vec<u32>>()
        };
        let words = match self.cache_type {
            CacheType::F32 => values.iter().map(|value| value.to_bits()).collect(),
            CacheType::F16 => halves(values, encode_f16),
            CacheType::Fp8 => {
                let (scaled, rest) = values.split_at(self.scaled as usize);
                let (mut words, mut scales) = (Vec::new(), Vec::new());
                for block in scaled.chunks(SCALED as usize) {
                    let scale = scale_of(block);
                    let codes =
                        |four: &[f32]| (0..).zip(four).map(|(i, &v)| encode_e4m3(v / scale) << (8 * i)).sum::<u32>();
                    words.extend(block.chunks(4).map(codes));
                    scales.push(scale.to_bits());
                }
                words.extend(scales);
                words.extend(halves(rest, |value| half::bf16::from_f32(value).to_bits().into()));
                words
            }
        };
        for (at, word) in (0..).zip(words) {
            cache[self.place(row, at)] = word;
        }
    }

    /// How far apart two neighbours of what the type can store are, around each of a row's values.
    #[must_use]
    pub fn steps(&self, values: &[f32]) -> Vec<f64> {
        let relative = |value: &f32, bits: i32| f64::from(value.abs()) * 2f64.powi(-bits);
        match self.cache_type {
            CacheType::F32 => vec![0.0; values.len()],
            CacheType::F16 => values.iter().map(|value| relative(value, 10) + 2f64.powi(-24)).collect(),
            CacheType::Fp8 => {
                let (scaled, rest) = values.split_at(self.scaled as usize);
                // A value whose rounding decides about the scale may double it.
                let blocks = scaled.chunks(SCALED as usize).flat_map(|block| {
                    let least = f64::from(scale_of(block)) * 2.0 * 2f64.powi(-9);
                    block.iter().map(move |value| relative(value, 3) + least)
                });
                blocks.chain(rest.iter().map(|value| relative(value, 7))).collect()
            }
        }
    }
}

/// The smallest power of two by which the largest of a block is at most 448 = 1.75 · 2⁸; 2⁻¹⁰⁰ for those below.
fn scale_of(block: &[f32]) -> f32 {
    let largest = block.iter().fold(0f32, |most, value| most.max(value.abs()));
    let bits = largest.to_bits();
    let exponent = (bits >> 23) + u32::from(bits & 0x7f_ffff > 0x60_0000);
    f32::from_bits((exponent.max(35) - 8) << 23)
}

/// The nearest binary16, ties to even; what is larger than the largest is the largest.
fn encode_f16(value: f32) -> u32 {
    half::f16::from_f32(value.clamp(-65_504.0, 65_504.0)).to_bits().into()
}

/// The nearest e4m3, ties to even; what is larger than 448 is 448.
fn encode_e4m3(value: f32) -> u32 {
    let magnitude = value.abs().min(448.0);
    let code = match magnitude {
        // Codes below 8 are multiples of 2⁻⁹.
        small if small < 2f32.powi(-6) => (small * 512.0).round_ties_even() as u32,
        normal => {
            let bits = normal.to_bits();
            (bits + 0x7_ffff + (bits >> 20 & 1) - (120 << 23)) >> 20
        }
    };
    code | value.to_bits() >> 24 & 0x80
}
