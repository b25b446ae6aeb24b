//! The paged cache: of each position what the layers' attention keeps of it, a latent with its rope key and an index key, say.
//!
//! Pages of 64 positions; a sequence owns a list of pages, which is all that prefix sharing and eviction need to change. What
//! copies, counts or names rows reads their description, [`CacheRow`], and knows no kind of them.

use lyn_shaders::Slot;
use lyn_shaders::cache_row::{CacheRow, CacheType};
pub(crate) use lyn_shaders::common::paging::PAGE;

use crate::layout::Layout;

/// How much of the cache there is to be, and how it is packed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CacheRoom {
    /// Pages of all sequences.
    pub(crate) pages: u32,
    /// How rows are packed.
    pub(crate) cache_type: CacheType,
}

/// One tensor of the cache: a row for each position of each page.
#[derive(Clone, Copy, Debug)]
pub struct CacheTensor {
    pub(crate) slot: Slot,
    pub(crate) row: CacheRow,
}

impl CacheTensor {
    /// Memory for so many pages.
    pub(crate) fn lay_out(layout: &mut Layout<'_>, name: &str, row: CacheRow, pages: u32) -> CacheTensor {
        CacheTensor { slot: layout.zeros(name, u64::from(pages) * u64::from(PAGE) * u64::from(row.words())), row }
    }

    /// First word of a page, and how many it has.
    pub(crate) fn page(&self, page: u32) -> (u64, u64) {
        let words = u64::from(PAGE) * u64::from(self.row.words());
        (u64::from(page) * words, words)
    }
}
