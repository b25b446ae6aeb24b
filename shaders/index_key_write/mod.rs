//! Index keys of a step's tokens, written to their rows of the cache, which holds them in panels.

pub(crate) mod cases;
mod reference;

use crate::cache_parts::CacheParts;
use crate::cache_row::{CacheRow, CacheType, RowOrder};
use crate::common::{self, PageTable};
use crate::kernel::{Extent, Interface, Kernel, Slot, Variant, floats, params, read, write};

/// `cache[row(t)] = rope(layer_norm(k[t]) · weight + bias)`, of columns `offset..` of k.
///
/// The norm is a true LayerNorm: the mean is subtracted, the variance is biased. Rope turns the first 2 · pairs dims.
#[derive(Clone, Debug)]
pub struct IndexKeyWrite {
    /// `[tokens, stride]`
    pub k: Slot,
    /// `[head_dim]`, f32
    pub weight: Slot,
    /// `[head_dim]`, f32
    pub bias: Slot,
    /// `[positions, pairs]` of (cos, sin), f32
    pub table: Slot,
    /// The step's record, see `common/step.wgsl`.
    pub step: Slot,
    /// The pages in it.
    pub pages: PageTable,
    /// See [`row`].
    pub cache: CacheParts,
    /// Elements from one row of k to the next.
    pub stride: u32,
    /// First column of the key.
    pub offset: u32,
    /// Elements of a key; a multiple of 4.
    pub head_dim: u32,
    /// Rotated pairs, at the start of the key: half of `qk_rope_head_dim`.
    pub pairs: u32,
    /// Pair j is dims (2j, 2j + 1); otherwise (j, j + pairs).
    pub interleaved: bool,
    /// Added to the variance.
    pub eps: f32,
    /// How the cache is packed.
    pub cache_type: CacheType,
}

/// What the index-key cache keeps of a position.
#[must_use]
pub const fn row(head_dim: u32, cache_type: CacheType) -> CacheRow {
    CacheRow { cache_type, scaled: head_dim, rest: 0, order: RowOrder::Panels }
}

params! {
    stride: u32, offset: u32, head_dim: u32, pairs: u32, interleaved: u32, eps: f32, pages_from: u32,
    pages_per_sequence: u32,
}

pub(crate) static INTERFACE: Interface = Interface {
    name: "index_key_write",
    parts: &[include_str!("index_key_write.wgsl"), common::REDUCE, common::STEP, common::ROTATE],
    bindings: &[read("k"), read("weight"), read("bias"), read("table"), read("step"), write("cache")],
    params: Params::FIELDS,
};

impl Kernel for IndexKeyWrite {
    fn interface(&self) -> &'static Interface {
        &INTERFACE
    }

    fn variant(&self) -> Variant {
        self.cache.writes(&row(self.head_dim, self.cache_type))
    }

    fn slots(&self) -> Vec<Slot> {
        let slots = [self.k, self.weight, self.bias, self.table, self.step, self.cache.first()];
        slots.iter().chain(self.cache.further()).copied().collect()
    }

    fn params(&self) -> Vec<u8> {
        let IndexKeyWrite { stride, offset, head_dim, pairs, eps, .. } = *self;
        let (interleaved, PageTable { from, per_sequence }) = (u32::from(self.interleaved), self.pages);
        let (pages_from, pages_per_sequence) = (from, per_sequence);
        let params = Params { stride, offset, head_dim, pairs, interleaved, eps, pages_from, pages_per_sequence };
        params.bytes()
    }

    fn workgroups(&self, extent: &Extent) -> [u32; 3] {
        [extent.tokens, 1, 1]
    }

    fn reference(&self, extent: &Extent, reads: &[&[u32]], writes: &mut [&mut [u32]]) {
        let (k, weight, bias, table) = (floats(reads[0]), floats(reads[1]), floats(reads[2]), floats(reads[3]));
        let (step, packed) = (reads[4], row(self.head_dim, self.cache_type));
        for t in 0..extent.tokens {
            let (sequence, position) = (common::sequence(step, t), common::position(step, t));
            let place = self.pages.row(step, sequence, position);
            let key = &k[(t * self.stride + self.offset) as usize..][..self.head_dim as usize];
            let turns = &table[2 * (position * self.pairs) as usize..][..2 * self.pairs as usize];
            let mut normed = reference::layer_norm(key, weight, bias, self.eps);
            reference::rope(&mut normed, turns, self.interleaved);
            let values: Vec<f32> = normed.into_iter().map(|value| value as f32).collect();
            self.cache.write(&packed, writes, place, &values);
        }
    }
}
