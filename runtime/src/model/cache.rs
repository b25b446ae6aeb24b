//! The paged cache: of each position what the layers' attention keeps of it, a latent with its rope key and an index key, say.
//!
//! Pages of 64 positions; a sequence owns a list of pages, which is all that prefix sharing and eviction need to change. A cache
//! that is larger than a binding lies in several, of whole pages. What copies, counts or names rows reads their description,
//! [`CacheRow`], and knows no kind of them.

use lyn_shaders::Slot;
use lyn_shaders::cache_parts::{CacheParts, MOST_PARTS};
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
    pub(crate) parts: CacheParts,
    pub(crate) row: CacheRow,
}

impl CacheTensor {
    /// Memory for so many pages: in as few parts as bindings allow, else in as many as kernels can bind.
    pub(crate) fn lay_out(layout: &mut Layout<'_>, name: &str, row: CacheRow, pages: u32) -> CacheTensor {
        let page_words = page_words(&row);
        let fit = u32::try_from(layout.fit(page_words)).unwrap_or(u32::MAX);
        let each = pages.div_ceil(pages.div_ceil(fit).clamp(1, MOST_PARTS)).max(1);
        let count = pages.div_ceil(each).max(1);
        let parts: Vec<Slot> = (0..count)
            .map(|part| {
                let name = if count > 1 { format!("{name}, part {} of {count},", part + 1) } else { name.to_owned() };
                layout.zeros(&name, u64::from(each.min(pages - part * each)) * page_words)
            })
            .collect();
        CacheTensor { parts: CacheParts::new(&parts, each), row }
    }

    /// Where a page lies: its slot, its first word there, and how many it has.
    pub(crate) fn page(&self, page: u32) -> (Slot, u64, u64) {
        let (part, page) = self.parts.page(page);
        let words = self.page_words();
        (self.parts.slots()[part], u64::from(page) * words, words)
    }

    /// Words of a page.
    pub(crate) fn page_words(&self) -> u64 {
        page_words(&self.row)
    }
}

fn page_words(row: &CacheRow) -> u64 {
    u64::from(PAGE) * u64::from(row.words())
}
