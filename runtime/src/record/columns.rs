//! Columns of a tensor as a value: what a line of the prose gives to the next.

use lyn_shaders::Slot;
use lyn_shaders::rms_norm::Rows;

/// Some columns of a row-major tensor: element `(row, column)` is word `row · stride + first + column` of the slot.
#[derive(Clone, Copy, Debug)]
pub struct Columns {
    pub(crate) slot: Slot,
    /// What its rows are.
    pub rows: Rows,
    /// Words from one row to the next.
    pub(crate) stride: u32,
    /// First column.
    pub first: u32,
    pub(crate) width: u32,
}

/// Where one of several matrices side by side has its columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnRange {
    /// First column.
    pub first: u32,
    /// How many columns.
    pub width: u32,
}

impl Columns {
    /// All columns of a tensor `[rows, width]`.
    pub(crate) const fn whole(slot: Slot, rows: Rows, width: u32) -> Columns {
        Columns { slot, rows, stride: width, first: 0, width }
    }

    /// Some of these columns.
    pub(crate) const fn part(self, part: ColumnRange) -> Columns {
        assert!(part.first + part.width <= self.width, "a part lies within its tensor");
        Columns { first: self.first + part.first, width: part.width, ..self }
    }
}
