//! Panels of 32 rows: how the matrices of linear layers lie in memory.

use super::{Encoding, RowPlace, Weight};

/// Rows of a panel: the lanes that read side by side.
pub const PANEL: u32 = 32;

/// A matrix `[groups · rows, columns]` in panels of 32 rows: `[panel][piece][row % 32]` pieces of 16 bytes.
///
/// Each row group (an attention head, say) starts a panel; rows are padded to 32 and columns to whole pieces with zero
/// bytes, which add nothing to a sum (`Encoding::column_step`). The words of scales, of encodings that have them, are
/// `[panel][word]` where all rows of a panel share them, else `[panel][word][row % 32]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panels {
    /// How weights are packed.
    pub encoding: &'static Encoding,
    /// Row groups that start a panel each.
    pub groups: u32,
    /// Rows of one row group.
    pub rows: u32,
    /// Columns: the contraction.
    pub columns: u32,
    /// Whether rows of one panel may have other scales although the encoding's groups are higher than a panel: where a
    /// panel straddles groups of the stored tensor.
    pub row_scales: bool,
}

impl Panels {
    /// Panels of one row group.
    #[must_use]
    pub const fn panels(&self) -> u32 {
        self.rows.div_ceil(PANEL)
    }

    /// Rows of a panel that have scales of their own.
    #[must_use]
    pub const fn scale_lanes(&self) -> u32 {
        if self.row_scales || !self.encoding.group.rows.is_multiple_of(PANEL) { PANEL } else { 1 }
    }

    /// Words of one panel.
    #[must_use]
    pub const fn panel_words(&self) -> u64 {
        self.encoding.row_words(self.columns) * PANEL as u64
    }

    /// Words of the scales of one panel; none for encodings without.
    #[must_use]
    pub const fn panel_scale_words(&self) -> u64 {
        self.encoding.scale_words(self.columns) * self.scale_lanes() as u64
    }

    /// Words of the weights, all row groups.
    #[must_use]
    pub const fn words(&self) -> u64 {
        self.groups as u64 * self.panels() as u64 * self.panel_words()
    }

    /// Words of the scales of all row groups; none for encodings without.
    #[must_use]
    pub const fn scale_words(&self) -> u64 {
        self.groups as u64 * self.panels() as u64 * self.panel_scale_words()
    }

    /// Where a row of a row group lies in the matrix.
    pub(crate) const fn row_place(&self, group: u32, row: u32) -> RowPlace {
        let panel = group as u64 * self.panels() as u64 + (row / PANEL) as u64;
        RowPlace {
            piece: panel * self.panel_words() / 4 + (row % PANEL) as u64,
            lanes: PANEL,
            scale: panel * self.panel_scale_words() + (row % self.scale_lanes()) as u64,
            scale_lanes: self.scale_lanes(),
        }
    }

    /// The words of scales in the order of the panels, from the table of the stored tensor, a row of words for each group of
    /// rows; row group g begins with row `first_row(g)`. Nothing for encodings without.
    #[must_use]
    pub fn lay_scales(&self, table: &[u32], first_row: impl Fn(u32) -> u32) -> Vec<u32> {
        let mut laid = vec![0; index(self.scale_words())];
        let words = index(self.encoding.scale_words(self.columns));
        if words == 0 {
            return laid;
        }
        for group in 0..self.groups {
            for row in (0..self.rows).step_by((PANEL / self.scale_lanes()) as usize) {
                let place = self.row_place(group, row);
                let source = ((first_row(group) + row) / self.encoding.group.rows) as usize * words;
                let lanes = laid[index(place.scale)..].iter_mut().step_by(place.scale_lanes as usize);
                lanes.zip(&table[source..][..words]).for_each(|(laid, &word)| *laid = word);
            }
        }
        laid
    }

    /// The words of codes in the order of the panels, from rows of whole pieces, one row group after another.
    #[must_use]
    pub fn lay_codes(&self, rows: &[u32]) -> Vec<u32> {
        let mut laid = vec![0; index(self.words())];
        let words = index(self.encoding.row_words(self.columns));
        for (number, source) in (0..).zip(rows.chunks_exact(words)) {
            let place = self.row_place(number / self.rows, number % self.rows);
            let lanes = laid.chunks_exact_mut(4).skip(index(place.piece)).step_by(place.lanes as usize);
            lanes.zip(source.chunks_exact(4)).for_each(|(laid, piece)| laid.copy_from_slice(piece));
        }
        laid
    }

    /// The weights of one row, scaled. `words` and `scales` begin with the matrix.
    pub(crate) fn decode_row(
        &self,
        words: &[u32],
        scales: &[u32],
        (group, row): (u32, u32),
        weight: Weight,
        out: &mut [f64],
    ) {
        self.encoding.decode_row(words, scales, self.row_place(group, row), weight, out);
    }
}

/// A `u64` that indexes memory of this machine; sizes were bounded when the memory was made.
pub(crate) fn index(value: u64) -> usize {
    usize::try_from(value).expect("an offset into memory that exists fits usize")
}
