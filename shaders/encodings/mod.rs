//! How weights are packed: encodings as data, composed of small WGSL snippets and their host twins.
//!
//! In: sizes. Out: WGSL and constants for kernels, exact sizes for the loader, weights for references. Weights keep their
//! stored width; nothing here widens them in memory.
//!
//! A kernel that reads weights calls `step_mac` (panels) or `row_scaled4` (row-major tensors), and `weight_scale`; which
//! bodies these have is the encoding's: where the bits of a code lie, the value of a code, a kind of scales.

pub(crate) mod data;
mod panels;
mod planes;
mod scales;
mod table;
#[cfg(test)]
mod tests;
mod values;

use crate::kernel::Variant;
pub(crate) use panels::index;
pub use panels::{PANEL, Panels};
pub use planes::Planes;
pub use scales::Scales;
pub(crate) use table::STORED;
pub use table::*;
pub(crate) use values::decode_e4m3;
pub use values::{Values, decode_f16};

/// The weights that share a scale. Its columns are also the block of the canonical sum, with or without scales.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// Rows.
    pub rows: u32,
    /// Columns: a multiple of the planes' step.
    pub columns: u32,
}

/// How the weights of a tensor are packed.
pub struct Encoding {
    /// Its name in reports.
    pub name: &'static str,
    /// Where codes lie.
    pub planes: &'static Planes,
    /// What a code is worth.
    pub values: Values,
    /// Which codes share a scale.
    pub group: Group,
    /// Scales and minima.
    pub scales: Scales,
}

/// fp8's block of 128 × 128, and for one order of summation that of every encoding without scales.
pub const BLOCK: Group = Group { rows: 128, columns: 128 };

/// Where a row lies: its piece p is piece `piece + p · lanes` of the words, its scale word w is word `scale + w · scale_lanes`
/// of the scales. One row after another has lanes of 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowPlace {
    pub(crate) piece: u64,
    pub(crate) lanes: u32,
    pub(crate) scale: u64,
    pub(crate) scale_lanes: u32,
}

/// A weight, of its scaled code and its minimum.
pub(crate) type Weight = fn(scaled: f64, minimum: f64) -> f64;

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
    #[must_use]
    pub const fn is_scaled(&self) -> bool {
        self.scales.words > 0
    }

    /// 16-byte pieces of a row, all planes.
    #[must_use]
    pub const fn pieces(&self, columns: u32) -> u32 {
        let [low, high] = self.planes.pieces(columns);
        low + high
    }

    /// Words of a row of codes.
    #[must_use]
    pub const fn row_words(&self, columns: u32) -> u64 {
        self.pieces(columns) as u64 * 4
    }

    /// Groups side by side in a row: blocks of the canonical sum.
    #[must_use]
    pub const fn blocks(&self, columns: u32) -> u32 {
        columns.div_ceil(self.group.columns)
    }

    /// Words of the scales of a row; none for encodings without.
    #[must_use]
    pub const fn scale_words(&self, columns: u32) -> u64 {
        self.blocks(columns).div_ceil(self.scales.blocks) as u64 * self.scales.words as u64
    }

    /// Words of the scales of a tensor `[rows, columns]`: a row of them for each group of rows.
    #[must_use]
    pub const fn table_scale_words(&self, rows: u32, columns: u32) -> u64 {
        rows.div_ceil(self.group.rows) as u64 * self.scale_words(columns)
    }

    /// What the columns of a matrix must be a multiple of: 4; a block, where each row has its own.
    pub(crate) const fn column_step(&self) -> u32 {
        if self.group.rows == 1 { self.group.columns } else { 4 }
    }

    /// Text and constants for kernels over [`Panels`].
    #[must_use]
    pub fn panels_variant(&self) -> Variant {
        self.variant(&[self.planes.panels])
    }

    /// Text and constants for kernels over row-major tensors.
    pub(crate) fn rows_variant(&self) -> Variant {
        self.variant(&[self.planes.rows, include_str!("row_scaled.wgsl")])
    }

    fn variant(&self, texts: &[&'static str]) -> Variant {
        let Encoding { planes, values, group, scales, .. } = self;
        let mut snippets = texts.to_vec();
        snippets.extend([planes.codes, values.wgsl, scales.wgsl, include_str!("group.wgsl")]);
        if !scales.has_minimum {
            snippets.push(include_str!("scales/no_minimum.wgsl"));
        }
        let mut constants = vec![
            ("GROUP_ROWS", group.rows),
            ("GROUP_VECTORS", group.columns / 4),
            ("SCALE_BLOCKS", scales.blocks),
            ("SCALE_WORDS", scales.words),
            ("HAS_MINIMUM", u32::from(scales.has_minimum)),
        ];
        constants.extend(values.offset.map(|offset| ("CODE_OFFSET", offset)));
        Variant { snippets, constants, ..Variant::default() }
    }

    /// Where row `row` of a row-major tensor lies, scaled as row `scale_row` of the table of scales.
    pub(crate) const fn row_place(&self, columns: u32, row: u32, scale_row: u32) -> RowPlace {
        let scale = (scale_row / self.group.rows) as u64 * self.scale_words(columns);
        RowPlace { piece: row as u64 * self.pieces(columns) as u64, lanes: 1, scale, scale_lanes: 1 }
    }

    /// The weights of a row.
    pub(crate) fn decode_row(&self, words: &[u32], scales: &[u32], place: RowPlace, weight: Weight, out: &mut [f64]) {
        let piece = |p: usize, w: usize| words[(index(place.piece) + p * place.lanes as usize) * 4 + w];
        let mut codes = vec![0; out.len()];
        self.planes.unpack(piece, &mut codes);
        (self.values.decode)(&codes, out);
        let scale_word = |w: usize| scales[index(place.scale) + w * place.scale_lanes as usize];
        for (block, out) in out.chunks_mut(self.group.columns as usize).enumerate() {
            let (scale, minimum) = (self.scales.decode)(&scale_word, block);
            out.iter_mut().for_each(|value| *value = weight(*value * scale, minimum));
        }
    }

    /// The weights of a row-major tensor with words of scales for each row, in f64.
    #[must_use]
    pub fn decode_rows(&self, words: &[u32], scales: &[u32], rows: u32, columns: u32) -> Vec<f64> {
        let mut weights = vec![0.0; rows as usize * columns as usize];
        for (row, out) in (0..).zip(weights.chunks_mut(columns as usize)) {
            self.decode_row(words, scales, self.row_place(columns, row, row), |scaled, minimum| scaled + minimum, out);
        }
        weights
    }
}
