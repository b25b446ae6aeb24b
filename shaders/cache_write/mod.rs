//! Latents and rope keys of a step's tokens, written to their rows of the cache.

pub(crate) mod cases;
mod reference;

use crate::cache_parts::CacheParts;
use crate::cache_row::{CacheRow, CacheType, RowOrder};
use crate::common::{self, PageTable};
use crate::kernel::{Extent, Interface, Kernel, Slot, Variant, floats, params, read, write};

/// `cache[row(t)] = [rms_norm(latent[t]) · weight | rope(key[t])]`, of columns `offset..` of kv.
#[derive(Clone, Debug)]
pub struct CacheWrite {
    /// `[tokens, stride]`
    pub kv: Slot,
    /// `[kv_lora_rank]`, f32
    pub weight: Slot,
    /// `[positions, pairs]` of (cos, sin), f32
    pub table: Slot,
    /// The step's record, see `common/step.wgsl`.
    pub step: Slot,
    /// The pages in it.
    pub pages: PageTable,
    /// See [`row`].
    pub cache: CacheParts,
    /// Elements from one row of kv to the next.
    pub stride: u32,
    /// First column of the latent; the rope key follows it.
    pub offset: u32,
    /// Elements of a latent.
    pub kv_lora_rank: u32,
    /// Rotated pairs: half of `qk_rope_head_dim`.
    pub pairs: u32,
    /// Pair j is dims (2j, 2j + 1); otherwise (j, j + pairs).
    pub interleaved: bool,
    /// Added to the latent's mean square.
    pub eps: f32,
    /// How the cache is packed.
    pub cache_type: CacheType,
}

/// What the cache keeps of a position: the latent, then the rope key.
#[must_use]
pub const fn row(kv_lora_rank: u32, pairs: u32, cache_type: CacheType) -> CacheRow {
    CacheRow { cache_type, scaled: kv_lora_rank, rest: 2 * pairs, order: RowOrder::RowMajor }
}

params! {
    stride: u32, offset: u32, kv_lora_rank: u32, pairs: u32, interleaved: u32, eps: f32, pages_from: u32,
    pages_per_sequence: u32,
}

pub(crate) static INTERFACE: Interface = Interface {
    name: "cache_write",
    parts: &[include_str!("cache_write.wgsl"), common::REDUCE, common::STEP, common::ROTATE],
    bindings: &[read("kv"), read("weight"), read("table"), read("step"), write("cache")],
    params: Params::FIELDS,
};

impl Kernel for CacheWrite {
    fn interface(&self) -> &'static Interface {
        &INTERFACE
    }

    fn variant(&self) -> Variant {
        self.cache.writes(&row(self.kv_lora_rank, self.pairs, self.cache_type))
    }

    fn slots(&self) -> Vec<Slot> {
        let slots = [self.kv, self.weight, self.table, self.step, self.cache.first()];
        slots.iter().chain(self.cache.further()).copied().collect()
    }

    fn params(&self) -> Vec<u8> {
        let CacheWrite { stride, offset, kv_lora_rank, pairs, eps, .. } = *self;
        let (interleaved, PageTable { from, per_sequence }) = (u32::from(self.interleaved), self.pages);
        let (pages_from, pages_per_sequence) = (from, per_sequence);
        let params = Params { stride, offset, kv_lora_rank, pairs, interleaved, eps, pages_from, pages_per_sequence };
        params.bytes()
    }

    fn workgroups(&self, extent: &Extent) -> [u32; 3] {
        [extent.tokens, 1, 1]
    }

    fn reference(&self, extent: &Extent, reads: &[&[u32]], writes: &mut [&mut [u32]]) {
        let (kv, weight, table) = (floats(reads[0]), floats(reads[1]), floats(reads[2]));
        let packed = row(self.kv_lora_rank, self.pairs, self.cache_type);
        let mut values = vec![0.0; packed.width() as usize];
        let step = reads[3];
        for t in 0..extent.tokens {
            let (sequence, position) = (common::sequence(step, t), common::position(step, t));
            let place = self.pages.row(step, sequence, position);
            reference::cache_row(
                &kv[(t * self.stride + self.offset) as usize..][..values.len()],
                weight,
                &table[2 * (position * self.pairs) as usize..][..2 * self.pairs as usize],
                self.interleaved,
                self.eps,
                &mut values,
            );
            self.cache.write(&packed, writes, place, &values);
        }
    }
}
