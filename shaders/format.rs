//! How weights lie in memory: four number formats, panels of 32 rows for linear layers, plain rows for tables.
//!
//! In: sizes and stored bytes. Out: words as the shaders read them, and single weights as the references read them.
//! Weights keep their stored width; nothing here widens them in memory.

/// Rows of a panel: the lanes that read side by side.
pub const PANEL: u32 = 32;
/// Elements of the contraction that are summed before a scale is applied: fp8's block, and the canonical block of every
/// other format too, so that one order of summation serves all.
pub const BLOCK: u32 = 128;

/// A number format in which weights are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// IEEE binary32
    F32,
    /// IEEE binary16
    F16,
    /// The upper half of binary32
    Bf16,
    /// e4m3fn, with one f32 scale for each block of 128 × 128
    Fp8,
}

impl Format {
    /// All formats.
    pub const ALL: [Format; 4] = [Format::F32, Format::F16, Format::Bf16, Format::Fp8];

    /// Bytes of one weight.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        match self {
            Format::F32 => 4,
            Format::F16 | Format::Bf16 => 2,
            Format::Fp8 => 1,
        }
    }

    /// Weights in a 16-byte piece.
    #[must_use]
    pub const fn piece(self) -> u32 {
        16 / self.bytes()
    }

    /// WGSL for matrices in panels: `piece_mac`, which calls the kernel's `mac`, and all of [`Format::row_snippet`].
    #[must_use]
    pub const fn snippet(self) -> &'static str {
        match self {
            Format::F32 => concat!(include_str!("common/piece_f32.wgsl"), include_str!("common/weight_f32.wgsl")),
            Format::F16 => concat!(include_str!("common/piece_f16.wgsl"), include_str!("common/weight_f16.wgsl")),
            Format::Bf16 => concat!(include_str!("common/piece_bf16.wgsl"), include_str!("common/weight_bf16.wgsl")),
            Format::Fp8 => concat!(include_str!("common/piece_fp8.wgsl"), include_str!("common/weight_fp8.wgsl")),
        }
    }

    /// WGSL for row-major tensors: `row_weights4` and `weight_scale`.
    #[must_use]
    pub const fn row_snippet(self) -> &'static str {
        match self {
            Format::F32 => include_str!("common/weight_f32.wgsl"),
            Format::F16 => include_str!("common/weight_f16.wgsl"),
            Format::Bf16 => include_str!("common/weight_bf16.wgsl"),
            Format::Fp8 => include_str!("common/weight_fp8.wgsl"),
        }
    }

    /// Weight `index` of words that hold weights without gaps.
    #[must_use]
    pub fn decode(self, words: &[u32], index: usize) -> f64 {
        match self {
            Format::F32 => f64::from(f32::from_bits(words[index])),
            Format::F16 => f64::from(decode_f16(half_word(words, index))),
            Format::Bf16 => f64::from(f32::from_bits(u32::from(half_word(words, index)) << 16)),
            Format::Fp8 => f64::from(decode_e4m3(words[index / 4].to_le_bytes()[index % 4])),
        }
    }
}

fn half_word(words: &[u32], index: usize) -> u16 {
    let bytes = words[index / 2].to_le_bytes();
    let start = index % 2 * 2;
    u16::from_le_bytes([bytes[start], bytes[start + 1]])
}

/// The value of an IEEE binary16.
#[must_use]
pub fn decode_f16(bits: u16) -> f32 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let exponent = i32::from((bits >> 10) & 31);
    let mantissa = f32::from(bits & 0x3ff);
    sign * match exponent {
        0 => mantissa * 2f32.powi(-24),
        31 if mantissa == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1024.0 + mantissa) * 2f32.powi(exponent - 25),
    }
}

/// The value of an e4m3fn byte: no infinities, 0x7f and 0xff are NaN, the largest number is 448.
#[must_use]
pub fn decode_e4m3(byte: u8) -> f32 {
    let sign = if byte & 0x80 == 0 { 1.0 } else { -1.0 };
    let exponent = i32::from((byte >> 3) & 15);
    let mantissa = f32::from(byte & 7);
    sign * match (exponent, byte & 7) {
        (15, 7) => f32::NAN,
        (0, _) => mantissa * 2f32.powi(-9),
        _ => (8.0 + mantissa) * 2f32.powi(exponent - 10),
    }
}

/// A matrix `[groups · rows, columns]` in panels of 32 rows: `[panel][piece][row % 32]` pieces of 16 bytes.
///
/// Each group (an attention head, say) starts a panel; rows are padded to 32 and columns to whole pieces with zero bytes,
/// which add nothing to a sum. Scales, for fp8 alone, are `[panel][block of 128 columns]`, or with `row_scales`
/// `[panel][block][row % 32]` where a panel straddles blocks of rows of the original tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panels {
    /// Number format.
    pub format: Format,
    /// Row groups that start a panel each.
    pub groups: u32,
    /// Rows of one group.
    pub rows: u32,
    /// Columns: the contraction.
    pub columns: u32,
    /// Whether each row has scales of its own.
    pub row_scales: bool,
}

impl Panels {
    /// Panels of one group.
    #[must_use]
    pub const fn panels(&self) -> u32 {
        self.rows.div_ceil(PANEL)
    }

    /// Pieces of one row.
    #[must_use]
    pub const fn pieces(&self) -> u32 {
        self.columns.div_ceil(self.format.piece())
    }

    /// Blocks of one row.
    #[must_use]
    pub const fn blocks(&self) -> u32 {
        self.columns.div_ceil(BLOCK)
    }

    /// Scales that one panel has for one block.
    #[must_use]
    pub const fn scale_lanes(&self) -> u32 {
        if self.row_scales { PANEL } else { 1 }
    }

    /// Words of the weights, all groups.
    #[must_use]
    pub const fn words(&self) -> u64 {
        self.groups as u64 * self.panels() as u64 * self.pieces() as u64 * PANEL as u64 * 4
    }

    /// Scales of all groups; none for formats without.
    #[must_use]
    pub const fn scales(&self) -> u64 {
        match self.format {
            Format::Fp8 => self.groups as u64 * self.panels() as u64 * self.blocks() as u64 * self.scale_lanes() as u64,
            _ => 0,
        }
    }

    /// Byte offset of the piece that holds `column` of `row` of `group`.
    #[must_use]
    pub const fn piece_offset(&self, group: u32, row: u32, column: u32) -> u64 {
        let panel = group as u64 * self.panels() as u64 + (row / PANEL) as u64;
        let piece = (column / self.format.piece()) as u64;
        ((panel * self.pieces() as u64 + piece) * PANEL as u64 + (row % PANEL) as u64) * 16
    }

    /// Index of the scale of `column` of `row` of `group`.
    #[must_use]
    pub const fn scale_index(&self, group: u32, row: u32, column: u32) -> u64 {
        let panel = group as u64 * self.panels() as u64 + (row / PANEL) as u64;
        let block = panel * self.blocks() as u64 + (column / BLOCK) as u64;
        block * self.scale_lanes() as u64 + (row % self.scale_lanes()) as u64
    }

    /// The weight of `column` of `row` of `group`, scaled.
    #[must_use]
    pub fn weight(&self, words: &[u32], scales: &[f32], group: u32, row: u32, column: u32) -> f64 {
        let start = index(self.piece_offset(group, row, column) / u64::from(self.format.bytes()));
        let stored = self.format.decode(words, start + (column % self.format.piece()) as usize);
        match self.format {
            Format::Fp8 => stored * f64::from(scales[index(self.scale_index(group, row, column))]),
            _ => stored,
        }
    }
}

/// A `u64` that indexes memory of this machine; sizes were bounded when the memory was made.
#[must_use]
pub(crate) fn index(value: u64) -> usize {
    usize::try_from(value).expect("an offset into memory that exists fits usize")
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

    #[test]
    fn f16_codes() {
        assert_eq!(decode_f16(0x3c00), 1.0);
        assert_eq!(decode_f16(0xfbff), -65504.0);
        assert_eq!(decode_f16(0x0001), 2f32.powi(-24));
    }
}
