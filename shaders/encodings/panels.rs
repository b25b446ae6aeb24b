//! Panels of 32 rows: how the matrices of linear layers lie in memory.

use super::Encoding;

/// Rows of a panel: the lanes that read side by side.
pub const PANEL: u32 = 32;

/// A matrix `[groups · rows, columns]` in panels of 32 rows: `[panel][piece][row % 32]` pieces of 16 bytes.
///
/// Each row group (an attention head, say) starts a panel; rows are padded to 32 and columns to whole pieces with zero
/// bytes, which add nothing to a sum (`Encoding::column_step`). Scales, of encodings that have them, are
/// `[panel][block of columns]` where all rows of a panel share them, else `[panel][block][row % 32]`.
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

    /// Pieces of one row.
    #[must_use]
    pub const fn pieces(&self) -> u32 {
        self.columns.div_ceil(self.encoding.piece())
    }

    /// Scales that one panel has for one block.
    #[must_use]
    pub const fn scale_lanes(&self) -> u32 {
        if self.row_scales || !self.encoding.group.rows.is_multiple_of(PANEL) { PANEL } else { 1 }
    }

    /// Words of one panel.
    #[must_use]
    pub const fn panel_words(&self) -> u64 {
        self.pieces() as u64 * PANEL as u64 * 4
    }

    /// Scales of one panel; none for encodings without.
    #[must_use]
    pub const fn panel_scales(&self) -> u64 {
        let blocks = self.encoding.blocks(self.columns) as u64;
        if self.encoding.is_scaled() { blocks * self.scale_lanes() as u64 } else { 0 }
    }

    /// Words of the weights, all row groups.
    #[must_use]
    pub const fn words(&self) -> u64 {
        self.groups as u64 * self.panels() as u64 * self.panel_words()
    }

    /// Scales of all row groups; none for encodings without.
    #[must_use]
    pub const fn scales(&self) -> u64 {
        self.groups as u64 * self.panels() as u64 * self.panel_scales()
    }

    /// The first bit of the code of `column` of `row` of row group `group`.
    pub(crate) const fn code_bit(&self, group: u32, row: u32, column: u32) -> u64 {
        let (panel, piece) = (self.panel_of(group, row), self.encoding.piece());
        let place = (panel * self.pieces() as u64 + (column / piece) as u64) * PANEL as u64 + (row % PANEL) as u64;
        place * 128 + (column % piece * self.encoding.codes.plane.bits) as u64
    }

    /// Index of the scale of `column` of `row` of row group `group`.
    pub(crate) const fn scale_index(&self, group: u32, row: u32, column: u32) -> u64 {
        let blocks = self.panel_of(group, row) * self.encoding.blocks(self.columns) as u64;
        let block = blocks + (column / self.encoding.group.columns) as u64;
        block * self.scale_lanes() as u64 + (row % self.scale_lanes()) as u64
    }

    const fn panel_of(&self, group: u32, row: u32) -> u64 {
        group as u64 * self.panels() as u64 + (row / PANEL) as u64
    }

    /// Scales in the order of the panels, from the table of [`Encoding::scale_count`] of the stored tensor, in which row
    /// group g begins with row `first_row(g)`. Nothing for encodings without.
    #[must_use]
    pub fn lay_scales(&self, table: &[f32], first_row: impl Fn(u32) -> u32) -> Vec<f32> {
        let (group, blocks) = (self.encoding.group, self.encoding.blocks(self.columns));
        let mut laid = vec![0.0; index(self.scales())];
        if laid.is_empty() {
            return laid;
        }
        for row_group in 0..self.groups {
            for row in (0..self.rows).step_by((PANEL / self.scale_lanes()) as usize) {
                let source = (first_row(row_group) + row) / group.rows * blocks;
                for block in 0..blocks {
                    laid[index(self.scale_index(row_group, row, block * group.columns))] =
                        table[(source + block) as usize];
                }
            }
        }
        laid
    }

    /// All weights of one row, scaled: piece by piece, since the host runs whole models through here. `words` begin with
    /// the matrix, whose first scale is the one of this number in `scales`.
    pub(crate) fn decode_row(
        &self,
        words: &[u32],
        scales: &[u32],
        first_scale: u64,
        group: u32,
        row: u32,
        out: &mut [f64],
    ) {
        let encoding = self.encoding;
        let step = encoding.piece().min(encoding.group.columns) as usize;
        for (column, out) in (0..).step_by(step).zip(out.chunks_mut(step)) {
            (encoding.codes.decode)(&words[index(self.code_bit(group, row, column) / 32)..], out);
            let scale = (encoding.scales.decode)(scales, index(first_scale + self.scale_index(group, row, column)));
            out.iter_mut().for_each(|weight| *weight *= scale);
        }
    }
}

/// A `u64` that indexes memory of this machine; sizes were bounded when the memory was made.
pub(crate) fn index(value: u64) -> usize {
    usize::try_from(value).expect("an offset into memory that exists fits usize")
}
