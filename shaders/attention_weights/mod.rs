//! What dense attention would weigh, averaged over heads: for inspection, no part of a model.

pub(crate) mod cases;
mod reference;

use crate::cache_parts::CacheParts;
use crate::cache_row::{CacheRow, CacheType};
use crate::cache_write;
use crate::common::{self, PageTable};
use crate::kernel::{Extent, Interface, Kernel, Slot, Variant, floats_mut, params, read, write};
use crate::mla_sparse::MERGE;

/// `out[t, p] (+)= 1 / heads · Σ_h softmax_p(scale · (qa[t, h]·c[p] + q_rope[t, h]·r[p]))` over the visible positions p of
/// a token, 0 to its own; others stay. One pass takes [`HEADS`] heads; the sum over all passes is 1 for each token.
///
/// Widths of q and of the cache's row are multiples of 4.
#[derive(Clone, Debug)]
pub struct AttentionWeights {
    /// `[tokens, q_stride]`: the rotated part of head h at `q_offset + h · head_stride + nope_dim`.
    pub q: Slot,
    /// `[tokens, heads · kv_lora_rank]`, from `absorb`.
    pub qa: Slot,
    /// Latents, then the rotated key: see [`cache_write::row`].
    pub cache: CacheParts,
    /// The step.
    pub step: Slot,
    /// The pages in it.
    pub pages: PageTable,
    /// `[tokens, out_stride]`
    pub out: Slot,
    /// Elements from one row of q to the next.
    pub q_stride: u32,
    /// First column of q.
    pub q_offset: u32,
    /// Columns of q from one head to the next.
    pub head_stride: u32,
    /// Columns of a head before its rotated part.
    pub nope_dim: u32,
    /// Heads of the model.
    pub heads: u32,
    /// The first of the heads that this pass takes. The pass of head 0 replaces what is in `out`, others add to it.
    pub first_head: u32,
    /// Latents of a cache row.
    pub kv_lora_rank: u32,
    /// Elements of a rotated key.
    pub rope_dim: u32,
    /// Factor of the scores.
    pub scale: f32,
    /// Elements from one row of `out` to the next; at least the longest visible length.
    pub out_stride: u32,
    /// How the cache is packed.
    pub cache_type: CacheType,
}

params! {
    q_stride4: u32, q_rope4: u32, head_stride4: u32, heads: u32, rank4: u32, rope4: u32, first_head: u32, scale:
    f32, out_stride: u32, pages_from: u32, pages_per_sequence: u32,
}

/// Heads of a pass.
pub const HEADS: u32 = 4;

pub(crate) static INTERFACE: Interface = Interface {
    name: "attention_weights",
    parts: &[include_str!("attention_weights.wgsl"), MERGE, common::REDUCE, common::STEP],
    bindings: &[read("q"), read("qa"), read("cache"), read("step"), write("out")],
    params: Params::FIELDS,
};

impl AttentionWeights {
    /// The heads of this pass.
    fn heads(&self) -> std::ops::Range<u32> {
        self.first_head..self.heads.min(self.first_head + HEADS)
    }

    fn row(&self) -> CacheRow {
        cache_write::row(self.kv_lora_rank, self.rope_dim / 2, self.cache_type)
    }
}

impl Kernel for AttentionWeights {
    fn interface(&self) -> &'static Interface {
        &INTERFACE
    }

    fn variant(&self) -> Variant {
        self.cache.reads(&self.row())
    }

    fn slots(&self) -> Vec<Slot> {
        let slots = [self.q, self.qa, self.cache.first(), self.step, self.out];
        slots.iter().chain(self.cache.further()).copied().collect()
    }

    fn params(&self) -> Vec<u8> {
        let params = Params {
            q_stride4: self.q_stride / 4,
            q_rope4: (self.q_offset + self.nope_dim) / 4,
            head_stride4: self.head_stride / 4,
            heads: self.heads,
            rank4: self.kv_lora_rank / 4,
            rope4: self.rope_dim / 4,
            first_head: self.first_head,
            scale: self.scale,
            out_stride: self.out_stride,
            pages_from: self.pages.from,
            pages_per_sequence: self.pages.per_sequence,
        };
        params.bytes()
    }

    fn workgroups(&self, extent: &Extent) -> [u32; 3] {
        [extent.tokens, 1, 1]
    }

    fn reference(&self, extent: &Extent, reads: &[&[u32]], writes: &mut [&mut [u32]]) {
        let inputs = reference::Inputs::new(self, reads);
        let out = floats_mut(writes[0]);
        for t in 0..extent.tokens {
            inputs.weights(t, &mut out[(t * self.out_stride) as usize..]);
        }
    }
}
