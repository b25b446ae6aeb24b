//! The bindings that hold a cache: one, or a few of whole pages where one would be larger than an adapter binds.
//!
//! In: slots, and the pages of each. Out: where a row lies, and WGSL that finds it by the same functions in any number of
//! bindings. Never: what a row is made of.

use crate::cache_row::CacheRow;
use crate::common::PAGE;
use crate::kernel::{Binding, Slot, Variant, read, write};

/// Bindings of a cache at most: beside five other buffers of `mla_sparse` they are the eight that WebGPU guarantees.
pub const MOST_PARTS: u32 = 3;
const MOST: usize = MOST_PARTS as usize;

/// The bindings of a cache, in the order of its pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheParts {
    /// The first `count` are in use.
    slots: [Slot; MOST],
    count: usize,
    /// Pages of each but the last.
    pages: u32,
}

/// WGSL of each number of bindings: what finds vectors, and what finds words to write.
const READS: [&str; MOST] = [
    include_str!("cache_parts/read_1.wgsl"),
    include_str!("cache_parts/read_2.wgsl"),
    include_str!("cache_parts/read_3.wgsl"),
];
const WRITES: [&str; MOST] = [
    include_str!("cache_parts/write_1.wgsl"),
    include_str!("cache_parts/write_2.wgsl"),
    include_str!("cache_parts/write_3.wgsl"),
];
/// Bindings behind those of a kernel's interface, from its `FURTHER` on.
const FURTHER_READS: [Binding; MOST - 1] = [read("cache1"), read("cache2")];
const FURTHER_WRITES: [Binding; MOST - 1] = [write("cache1"), write("cache2")];

impl CacheParts {
    /// A cache whose parts have `pages` pages each, but for the last, which may have fewer.
    ///
    /// # Panics
    /// Without a slot, or with more than [`MOST_PARTS`].
    #[must_use]
    pub fn new(parts: &[Slot], pages: u32) -> CacheParts {
        assert!((1..=MOST).contains(&parts.len()), "a cache in {} parts", parts.len());
        let mut slots = [parts[0]; MOST];
        slots[..parts.len()].copy_from_slice(parts);
        CacheParts { slots, count: parts.len(), pages }
    }

    /// All bindings.
    #[must_use]
    pub fn slots(&self) -> &[Slot] {
        &self.slots[..self.count]
    }

    /// The binding that a kernel's interface names.
    pub(crate) fn first(&self) -> Slot {
        self.slots[0]
    }

    /// Those behind the interface's.
    pub(crate) fn further(&self) -> &[Slot] {
        &self.slots[1..self.count]
    }

    /// The part that holds a page, and which of its pages it is.
    #[must_use]
    pub const fn page(&self, page: u32) -> (usize, u32) {
        if self.count == 1 { (0, page) } else { ((page / self.pages) as usize, page % self.pages) }
    }

    /// The same of a row.
    const fn row(&self, row: u32) -> (usize, u32) {
        let (part, page) = self.page(row / PAGE);
        (part, page * PAGE + row % PAGE)
    }

    /// Text that reads rows of a type through `cache_vector`.
    pub(crate) fn reads(&self, row: &CacheRow) -> Variant {
        let words = row.words() / row.cache_type.vector_words();
        self.variant([row.cache_type.reads(), READS[self.count - 1]], &FURTHER_READS, words)
    }

    /// Text that writes rows of a type through `put_word`.
    pub(crate) fn writes(&self, row: &CacheRow) -> Variant {
        self.variant([row.cache_type.writes(), WRITES[self.count - 1]], &FURTHER_WRITES, row.words())
    }

    /// `elements` of a row, as the shader counts them.
    fn variant(&self, snippets: [&'static str; 2], further: &[Binding], elements: u32) -> Variant {
        let part = self.pages.saturating_mul(PAGE).saturating_mul(elements);
        Variant {
            snippets: snippets.into(),
            constants: if self.count > 1 { vec![("PART", part)] } else { vec![] },
            bindings: further[..self.count - 1].to_vec(),
        }
    }

    /// The words of the parts among those of all slots that a kernel reads, of which `first` is the interface's.
    pub(crate) fn among<'a>(&self, reads: &[&'a [u32]], first: usize) -> Vec<&'a [u32]> {
        let further = &reads[reads.len() - (self.count - 1)..];
        std::iter::once(reads[first]).chain(further.iter().copied()).collect()
    }

    /// The elements of a row.
    pub(crate) fn read(&self, packed: &CacheRow, parts: &[&[u32]], row: u32) -> Vec<f32> {
        let (part, row) = self.row(row);
        packed.read(parts[part], row)
    }

    /// Replaces a row.
    pub(crate) fn write(&self, packed: &CacheRow, parts: &mut [&mut [u32]], row: u32, values: &[f32]) {
        let (part, row) = self.row(row);
        packed.write(parts[part], row, values);
    }

    /// A case's cache, cut into parts: the first keeps the slot of the whole, the others have slots from `further` on.
    pub(crate) fn cut(
        packed: &CacheRow,
        cache: &[u32],
        parts: u32,
        (first, further): (Slot, u32),
    ) -> (CacheParts, Vec<Vec<u32>>) {
        let page_words = (PAGE * packed.words()) as usize;
        let pages = (cache.len() / page_words).div_ceil(parts as usize);
        let slots: Vec<Slot> = std::iter::once(first).chain((further..).map(Slot)).take(parts as usize).collect();
        let cut: Vec<_> = cache.chunks(pages * page_words).map(<[u32]>::to_vec).collect();
        assert_eq!(cut.len(), slots.len(), "parts of a case's cache");
        (CacheParts::new(&slots, pages as u32), cut)
    }

    /// What a case has for each element of all rows, cut in the same way.
    pub(crate) fn cut_rows(&self, packed: &CacheRow, elements: &[f64]) -> impl Iterator<Item = Vec<f64>> {
        elements.chunks((self.pages * PAGE * packed.width()) as usize).map(<[f64]>::to_vec)
    }
}
