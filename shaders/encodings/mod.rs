//! How weights are packed: encodings as data, composed of small WGSL snippets and their host twins.
//!
//! In: sizes. Out: WGSL and constants for kernels, exact sizes for the loader, weights for references. Weights keep their
//! stored width; nothing here widens them in memory.
//!
//! A kernel that reads weights calls `piece_mac` (panels) or `row_weights4` (row-major tensors) and `weight_scale`; which
//! bodies these have is the encoding's: a plane of so many bits, the value of a code, a type of scales.

pub(crate) mod data;
mod panels;

use crate::case::Random;
use crate::kernel::Variant;
pub(crate) use panels::index;
pub use panels::{PANEL, Panels};

/// How the codes of one width lie in 16-byte pieces, lowest bits first.
pub struct Plane {
    /// Bits of one code: a power of two.
    pub bits: u32,
    /// WGSL for matrices in panels: `PIECE_VECTORS`, and `piece_mac`, which calls the kernel's `mac`.
    panels: &'static str,
    /// WGSL for row-major tensors: `row_weights4`.
    rows: &'static str,
}

static BITS_32: Plane = Plane { bits: 32, panels: include_str!("panels_32.wgsl"), rows: include_str!("rows_32.wgsl") };
static BITS_16: Plane = Plane { bits: 16, panels: include_str!("panels_16.wgsl"), rows: include_str!("rows_16.wgsl") };
static BITS_8: Plane = Plane { bits: 8, panels: include_str!("panels_8.wgsl"), rows: include_str!("rows_8.wgsl") };
static BITS_4: Plane = Plane { bits: 4, panels: include_str!("panels_4.wgsl"), rows: include_str!("rows_4.wgsl") };

/// What a code is worth.
pub struct Codes {
    /// Where codes lie.
    pub plane: &'static Plane,
    /// WGSL: `decode4`, the values of four codes.
    wgsl: &'static str,
    /// Its twin: the values of the codes that `words` begin with.
    pub decode: fn(words: &[u32], values: &mut [f64]),
    /// A code for cases: any that is a number, of moderate size.
    random: fn(&mut Random) -> u32,
}

/// What a scale is.
pub struct Scales {
    /// Bits of one scale; 0 where there are none.
    pub bits: u32,
    /// WGSL: `weight_scale`, scale i of the buffer.
    wgsl: &'static str,
    /// Its twin.
    pub decode: fn(words: &[u32], i: usize) -> f64,
    /// Words that hold these scales without gaps.
    pub encode: fn(&[f32]) -> Vec<u32>,
}

/// The weights that share a scale. Its columns are also the block of the canonical sum, with or without scales.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// Rows.
    pub rows: u32,
    /// Columns: a multiple of 4.
    pub columns: u32,
}

/// How the weights of a tensor are packed.
pub struct Encoding {
    /// Its name in reports.
    pub name: &'static str,
    /// Its codes.
    pub codes: Codes,
    /// Which codes share a scale.
    pub group: Group,
    /// Its scales.
    pub scales: Scales,
}

/// fp8's block of 128 × 128, and for one order of summation that of every encoding without scales.
pub const BLOCK: Group = Group { rows: 128, columns: 128 };

const NO_SCALES: Scales =
    Scales { bits: 0, wgsl: include_str!("scale_none.wgsl"), decode: |_, _| 1.0, encode: |_| Vec::new() };

const F32_SCALES: Scales = Scales {
    bits: 32,
    wgsl: include_str!("scale_f32.wgsl"),
    decode: |words, i| f64::from(f32::from_bits(words[i])),
    encode: |scales| scales.iter().map(|scale| scale.to_bits()).collect(),
};

/// IEEE binary32.
pub static F32: Encoding = Encoding {
    name: "f32",
    codes: Codes {
        plane: &BITS_32,
        wgsl: include_str!("f32.wgsl"),
        decode: |words, values| each::<32>(words, values, f32::from_bits),
        random: |random| random.float().to_bits(),
    },
    group: BLOCK,
    scales: NO_SCALES,
};

/// IEEE binary16.
pub static F16: Encoding = Encoding {
    name: "f16",
    codes: Codes {
        plane: &BITS_16,
        wgsl: include_str!("f16.wgsl"),
        decode: |words, values| each::<16>(words, values, decode_f16),
        // Exponents 2⁻¹⁴ … 2⁰, a tenth of the codes subnormal.
        random: |random| {
            let exponent = if random.below(10) == 0 { 0 } else { 1 + random.below(15) };
            random.below(2) << 15 | exponent << 10 | random.below(1024)
        },
    },
    group: BLOCK,
    scales: NO_SCALES,
};

/// The upper half of binary32.
pub static BF16: Encoding = Encoding {
    name: "bf16",
    codes: Codes {
        plane: &BITS_16,
        wgsl: include_str!("bf16.wgsl"),
        decode: |words, values| each::<16>(words, values, |code| f32::from_bits(code << 16)),
        random: |random| random.float().to_bits() >> 16,
    },
    group: BLOCK,
    scales: NO_SCALES,
};

/// e4m3fn, with one f32 scale for each block of 128 × 128.
pub static FP8: Encoding = Encoding {
    name: "fp8",
    codes: Codes {
        plane: &BITS_8,
        wgsl: include_str!("e4m3.wgsl"),
        decode: |words, values| each::<8>(words, values, decode_e4m3),
        random: |random| loop {
            let code = random.below(256);
            if code & 0x7f != 0x7f {
                break code;
            }
        },
    },
    group: BLOCK,
    scales: F32_SCALES,
};

/// 32 columns of a row, as blocks of llama.cpp have them.
const ROW_OF_32: Group = Group { rows: 1, columns: 32 };

const F16_SCALES: Scales = Scales {
    bits: 16,
    wgsl: include_str!("scale_f16.wgsl"),
    decode: |words, i| f64::from(decode_f16(words[i / 2] >> (i % 2 * 16) & 0xffff)),
    encode: |scales| packed::<16>(scales, |scale| half::f16::from_f32(scale).to_bits().into()),
};

const BF16_SCALES: Scales = Scales {
    bits: 16,
    wgsl: include_str!("scale_bf16.wgsl"),
    decode: |words, i| f64::from(f32::from_bits(words[i / 2] >> (i % 2 * 16) << 16)),
    encode: |scales| packed::<16>(scales, |scale| scale.to_bits() >> 16),
};

const E8M0_SCALES: Scales = Scales {
    bits: 8,
    wgsl: include_str!("scale_e8m0.wgsl"),
    decode: |words, i| f64::from(f32::from_bits((words[i / 4] >> (i % 4 * 8) & 0xff) << 23)),
    encode: |scales| packed::<8>(scales, |scale| scale.to_bits() >> 23 & 0xff),
};

const INT4_CODES: Codes = Codes {
    plane: &BITS_4,
    wgsl: include_str!("int4.wgsl"),
    decode: |words, values| each::<4>(words, values, |code| code as f32 - 8.0),
    random: |random| random.below(16),
};

/// `Q8_0` of GGUF: a signed byte, times an f16 for 32 columns of a row.
pub static Q8_0: Encoding = Encoding {
    name: "q8_0",
    codes: Codes {
        plane: &BITS_8,
        wgsl: include_str!("int8.wgsl"),
        decode: |words, values| each::<8>(words, values, |code| f32::from(code as u8 as i8)),
        random: |random| random.below(256),
    },
    group: ROW_OF_32,
    scales: F16_SCALES,
};

/// `Q4_0` of GGUF: a nibble minus 8, times an f16 for 32 columns of a row.
pub static Q4_0: Encoding = Encoding { name: "q4_0", codes: INT4_CODES, group: ROW_OF_32, scales: F16_SCALES };

/// `pack-quantized` of compressed-tensors, 4 bits: a nibble minus 8, times a bf16 for 32 columns of a row.
pub static INT4: Encoding = Encoding { name: "int4", codes: INT4_CODES, group: ROW_OF_32, scales: BF16_SCALES };

/// `IQ4_NL` of GGUF: a place in a table, times an f16 for 32 columns of a row.
pub static IQ4_NL: Encoding = Encoding {
    name: "iq4_nl",
    codes: Codes {
        plane: &BITS_4,
        wgsl: include_str!("iq4.wgsl"),
        decode: |words, values| each::<4>(words, values, |code| IQ4[code as usize].into()),
        random: |random| random.below(16),
    },
    group: ROW_OF_32,
    scales: F16_SCALES,
};

/// The values of IQ4's codes.
const IQ4: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// `MXFP4`: an e2m1, times a power of two for 32 columns of a row.
pub static MXFP4: Encoding = Encoding {
    name: "mxfp4",
    codes: Codes {
        plane: &BITS_4,
        wgsl: include_str!("e2m1.wgsl"),
        decode: |words, values| each::<4>(words, values, decode_e2m1),
        random: |random| random.below(16),
    },
    group: ROW_OF_32,
    scales: E8M0_SCALES,
};

/// All encodings: every kernel that reads weights has cases in each that it takes.
pub static ENCODINGS: &[&Encoding] = &[&F32, &F16, &BF16, &FP8, &Q8_0, &Q4_0, &INT4, &IQ4_NL, &MXFP4];
/// Those in which checkpoints store most of their weights: the quick cases.
pub(crate) static STORED: &[&Encoding] = &[&BF16, &FP8];

impl std::fmt::Debug for Encoding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Encodings are the same if they have the same name.
impl PartialEq for Encoding {
    fn eq(&self, other: &Encoding) -> bool {
        self.name == other.name
    }
}

impl Eq for Encoding {}

impl Encoding {
    /// Whether groups have scales.
    pub(crate) const fn is_scaled(&self) -> bool {
        self.scales.bits > 0
    }

    /// Weights in a 16-byte piece.
    #[must_use]
    pub const fn piece(&self) -> u32 {
        128 / self.codes.plane.bits
    }

    /// Bytes of `count` weights without gaps, which fill whole bytes.
    #[must_use]
    pub const fn bytes(&self, count: u64) -> u64 {
        let bits = count * self.codes.plane.bits as u64;
        assert!(bits.is_multiple_of(8), "a row of weights fills whole bytes");
        bits / 8
    }

    /// Words of a row-major tensor of `count` weights, padded to 16 bytes.
    #[must_use]
    pub const fn words(&self, count: u64) -> u64 {
        self.bytes(count).div_ceil(16) * 4
    }

    /// Groups side by side in a row: blocks of the canonical sum.
    #[must_use]
    pub const fn blocks(&self, columns: u32) -> u32 {
        columns.div_ceil(self.group.columns)
    }

    /// Scales of a tensor `[rows, columns]`, a table `[⌈rows / group rows⌉, blocks]`; none for encodings without.
    #[must_use]
    pub const fn scale_count(&self, rows: u32, columns: u32) -> u64 {
        if self.is_scaled() { rows.div_ceil(self.group.rows) as u64 * self.blocks(columns) as u64 } else { 0 }
    }

    /// Words that hold `count` scales without gaps.
    #[must_use]
    pub const fn scale_words(&self, count: u64) -> u64 {
        (count * self.scales.bits as u64).div_ceil(32)
    }

    /// What the columns of a matrix must be a multiple of: 4; a block, where each row has its own.
    pub(crate) const fn column_step(&self) -> u32 {
        if self.group.rows == 1 { self.group.columns } else { 4 }
    }

    /// Text and constants for kernels over [`Panels`].
    #[must_use]
    pub fn panels_variant(&self) -> Variant {
        self.variant(self.codes.plane.panels)
    }

    /// Text and constants for kernels over row-major tensors.
    pub(crate) fn rows_variant(&self) -> Variant {
        self.variant(self.codes.plane.rows)
    }

    fn variant(&self, plane: &'static str) -> Variant {
        Variant {
            snippets: vec![plane, self.codes.wgsl, self.scales.wgsl, include_str!("group.wgsl")],
            constants: vec![("GROUP_ROWS", self.group.rows), ("GROUP_VECTORS", self.group.columns / 4)],
        }
    }

    /// Row `row` of a row-major tensor, scaled as row `scale_row` of the table of scales.
    pub fn decode_row(&self, words: &[u32], row: u32, scales: &[u32], scale_row: u32, out: &mut [f64]) {
        let first_bit = row as usize * out.len() * self.codes.plane.bits as usize;
        let first_scale = (scale_row / self.group.rows) as usize * out.len().div_ceil(self.group.columns as usize);
        let group_words = (self.group.columns * self.codes.plane.bits / 32) as usize;
        for (block, out) in out.chunks_mut(self.group.columns as usize).enumerate() {
            (self.codes.decode)(&words[first_bit / 32 + block * group_words..], out);
            let scale = (self.scales.decode)(scales, first_scale + block);
            out.iter_mut().for_each(|weight| *weight *= scale);
        }
    }
}

/// Values of the codes of `BITS` bits that `words` begin with.
fn each<const BITS: usize>(words: &[u32], values: &mut [f64], value: impl Fn(u32) -> f32) {
    for (at, out) in (0..).step_by(BITS).zip(values) {
        *out = f64::from(value(words[at / 32] >> (at % 32) & (u32::MAX >> (32 - BITS))));
    }
}

/// Words that hold `BITS` bits of each scale, lowest first.
fn packed<const BITS: usize>(scales: &[f32], bits: impl Fn(f32) -> u32) -> Vec<u32> {
    let word = |scales: &[f32]| (0..).step_by(BITS).zip(scales).map(|(at, &scale)| bits(scale) << at).sum();
    scales.chunks(32 / BITS).map(word).collect()
}

/// The value of an e2m1 nibble.
fn decode_e2m1(code: u32) -> f32 {
    let magnitude = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0][(code & 7) as usize];
    if code & 8 == 0 { magnitude } else { -magnitude }
}

/// The value of an IEEE binary16.
#[must_use]
pub fn decode_f16(bits: u32) -> f32 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let exponent = (bits >> 10 & 31) as i32;
    let mantissa = (bits & 0x3ff) as f32;
    sign * match exponent {
        0 => mantissa * 2f32.powi(-24),
        31 if mantissa == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1024.0 + mantissa) * 2f32.powi(exponent - 25),
    }
}

/// The value of an e4m3fn byte: no infinities, 0x7f and 0xff are NaN, the largest number is 448.
pub(crate) fn decode_e4m3(byte: u32) -> f32 {
    let sign = if byte & 0x80 == 0 { 1.0 } else { -1.0 };
    let exponent = (byte >> 3 & 15) as i32;
    let mantissa = (byte & 7) as f32;
    sign * match (exponent, byte & 7) {
        (15, 7) => f32::NAN,
        (0, _) => mantissa * 2f32.powi(-9),
        _ => (8.0 + mantissa) * 2f32.powi(exponent - 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e4m3_codes() {
        assert_eq!(decode_e4m3(0x7e), 448.0);
        assert_eq!(decode_e4m3(0x01), 2f32.powi(-9));
        assert_eq!(decode_e4m3(0x38), 1.0);
        assert_eq!(decode_e4m3(0xb8), -1.0);
        assert!(decode_e4m3(0x7f).is_nan() && decode_e4m3(0xff).is_nan());
    }

    /// Oracle: the value that the bit fields say, (−1)^s · 2^(e−15) · (1 + m/1024), in f64.
    #[test]
    fn every_half_is_exact() {
        for bits in 0..=0xffff {
            let (sign, exponent, mantissa) = (bits >> 15, (bits >> 10 & 31) as i32, f64::from(bits & 1023));
            let magnitude = match exponent {
                0 => mantissa * 2f64.powi(-24),
                31 if mantissa == 0.0 => f64::INFINITY,
                31 => f64::NAN,
                _ => (1.0 + mantissa / 1024.0) * 2f64.powi(exponent - 15),
            };
            let expected = if sign == 1 { -magnitude } else { magnitude };
            let got = f64::from(decode_f16(bits));
            assert!(got == expected || got.is_nan() && expected.is_nan(), "{bits:#06x}: {got} {expected}");
        }
    }

    /// Four bits, each row's 32 columns with a scale of 16: what encodings to come look like.
    static NIBBLES: Encoding = Encoding {
        name: "nibbles",
        codes: Codes {
            plane: &Plane { bits: 4, panels: "", rows: "" },
            wgsl: "",
            decode: |words, values| each::<4>(words, values, |code| code as f32 - 8.0),
            random: |random| random.below(16),
        },
        group: Group { rows: 1, columns: 32 },
        scales: Scales {
            bits: 16,
            wgsl: "",
            decode: |words, i| f64::from(f32::from_bits(words[i / 2] >> (i % 2 * 16) << 16)),
            encode: |scales| scales.chunks(2).map(|pair| pair[0].to_bits() >> 16 | pair[1].to_bits()).collect(),
        },
    };

    #[test]
    fn sizes_are_exact_in_bits() {
        assert_eq!((FP8.bytes(36), FP8.words(36), FP8.piece(), FP8.column_step()), (36, 12, 16, 4));
        assert_eq!((FP8.scale_count(129, 260), BF16.scale_count(129, 260)), (6, 0));
        assert_eq!((NIBBLES.bytes(36), NIBBLES.words(36), NIBBLES.piece(), NIBBLES.column_step()), (18, 8, 32, 32));
        assert_eq!(NIBBLES.scale_count(129, 260), 129 * 9);
        let panels = Panels { encoding: &NIBBLES, groups: 2, rows: 33, columns: 64, row_scales: false };
        assert_eq!((panels.words(), panels.scales()), (2 * 2 * 2 * 32 * 4, 2 * 2 * 2 * 32));
        assert_eq!(panels.code_bit(1, 32, 33), (((2 + 1) * 2 + 1) * 32) * 128 + 4);
        assert_eq!(panels.scale_index(1, 32, 33), ((2 + 1) * 2 + 1) * 32);
    }

    /// Oracle: the formula, for each weight of a random matrix, in panels and row-major.
    #[test]
    fn groups_narrower_than_a_panel_find_their_scales() {
        let (rows, columns) = (33, 96);
        let mut random = Random::new(1);
        let table: Vec<f32> = (0..rows * columns / 32).map(|scale| scale as f32).collect();
        let panels = Panels { encoding: &NIBBLES, groups: 1, rows, columns, row_scales: false };
        let (words, _) = data::random_panels(&mut random, &panels);
        let mut row_major = vec![0; 33 * 12];
        let scales = (NIBBLES.scales.encode)(&panels.lay_scales(&table, |_| 0));
        let (mut from_panels, mut from_rows) = ([0.0; 96], [0.0; 96]);
        for row in 0..rows {
            panels.decode_row(&words, &scales, 0, 0, row, &mut from_panels);
            for column in 0..columns {
                let bit = panels.code_bit(0, row, column);
                let code = words[index(bit / 32)] >> (bit % 32) & 15;
                let at = row * columns + column;
                let scale = f32::from_bits(table[at as usize / 32].to_bits() & 0xffff_0000);
                assert_eq!(from_panels[column as usize], f64::from((code as f32 - 8.0) * scale));
                row_major[at as usize / 8] |= code << (at % 8 * 4);
            }
            let table = (NIBBLES.scales.encode)(&[table.as_slice(), &[0.0]].concat());
            NIBBLES.decode_row(&row_major, row, &table, row, &mut from_rows);
            assert_eq!(from_panels, from_rows);
        }
    }
}
