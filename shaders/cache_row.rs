//! How the cache lays out what it keeps of a position: the one place that knows a row.
//!
//! In: an element of a row of the cache. Out: its word. Never: a page, which only says which rows a sequence has.

use crate::encodings::PANEL;

/// A row of f32, one for each position of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CacheRow {
    /// Elements.
    pub width: u32,
    /// Where they lie.
    pub order: RowOrder,
}

/// Where the elements of neighbouring rows lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RowOrder {
    /// `[rows, width]`
    RowMajor,
    /// `[rows / 32, width / 4, 32, 4]`: lanes that read one row each read neighbouring words.
    Panels,
}

impl CacheRow {
    /// Words of a row.
    #[must_use]
    pub const fn words(&self) -> u64 {
        self.width as u64
    }

    /// The word of an element in the tensor of all rows.
    #[must_use]
    pub const fn word(&self, row: u32, element: u32) -> usize {
        let (row, width, element, lanes) = (row as usize, self.width as usize, element as usize, PANEL as usize);
        match self.order {
            RowOrder::RowMajor => row * width + element,
            RowOrder::Panels => ((row / lanes * (width / 4) + element / 4) * lanes + row % lanes) * 4 + element % 4,
        }
    }
}
