//! Multi-head latent attention over selected rows of the cache, queries absorbed.

pub(crate) mod cases;
mod reference;

use crate::cache_parts::CacheParts;
use crate::cache_row::{CacheRow, CacheType};
use crate::cache_write;
use crate::common::{self, PageTable};
use crate::kernel::{Extent, Interface, Kernel, Slot, Variant, floats_mut, params, read, write};

/// `out[t, h] = Σ_j p[h, j] · c[j]`, `p = softmax_j(scale · (qa[t, h]·c[j] + q_rope[t, h]·r[j]))`, over the selected keys j
/// of the token's sequence: the first min(k, position + 1) of its row of `selected`, or positions 0 to its own where k is 0.
///
/// Widths of q and of the cache's row are multiples of 4. Tokens are `first_token` … of at most `max_tokens`.
#[derive(Clone, Debug)]
pub struct MlaSparse {
    /// `[tokens, q_stride]`: the rotated part of head h at `q_offset + h · head_stride + nope_dim`.
    pub q: Slot,
    /// `[tokens, heads · kv_lora_rank]`, from `absorb`.
    pub qa: Slot,
    /// Latents, then the rotated key: see [`cache_write::row`].
    pub cache: CacheParts,
    /// `[tokens, k]` positions ascending, then padding that is not read; any slot but `out` where k is 0.
    pub selected: Slot,
    /// The step.
    pub step: Slot,
    /// The pages in it.
    pub pages: PageTable,
    /// `[tokens, heads · kv_lora_rank]`; split: `[max_tokens, splits, heads, kv_lora_rank + 2]`, the weighted sum of each
    /// split's latents, its largest score m, and l = Σ exp(score − m). Splits that a token does not have are untouched.
    pub out: Slot,
    /// Elements from one row of q to the next.
    pub q_stride: u32,
    /// First column of q.
    pub q_offset: u32,
    /// Columns of q from one head to the next.
    pub head_stride: u32,
    /// Columns of a head before its rotated part.
    pub nope_dim: u32,
    /// Heads.
    pub heads: u32,
    /// Latents of a cache row.
    pub kv_lora_rank: u32,
    /// Elements of a rotated key.
    pub rope_dim: u32,
    /// Keys of a token at most, and the row length of `selected`; 0 for all visible positions.
    pub k: u32,
    /// Factor of the scores.
    pub scale: f32,
    /// The first token of the step that is handled.
    pub first_token: u32,
    /// Tokens handled at most.
    pub max_tokens: u32,
    /// Write the states of splits for `mla_combine` instead of the result: more workgroups for few tokens, the same bits.
    pub split: bool,
    /// Splits of a token that `out` has room for, where `split`.
    pub splits: u32,
    /// How the cache is packed.
    pub cache_type: CacheType,
}

params! {
    q_stride4: u32, q_rope4: u32, head_stride4: u32, heads: u32, rank4: u32, rope4: u32, k: u32, scale: f32,
    first_token: u32, pages_from: u32, pages_per_sequence: u32, split: u32, splits: u32,
}

/// Keys of a split: a constant of the arithmetic, whatever the batch.
pub const SPLIT: u32 = 128;
/// WGSL that merges splits, shared with `mla_combine`.
pub(crate) const MERGE: &str = include_str!("merge.wgsl");
/// Heads of a workgroup.
pub const HEADS: u32 = 16;

/// Splits of a token's keys, of which there are `keys`.
#[must_use]
pub const fn splits(keys: u32) -> u32 {
    keys.div_ceil(SPLIT)
}

/// Workgroups of a token, and of each of its splits where they are spread.
#[must_use]
pub const fn groups(heads: u32) -> u32 {
    heads.div_ceil(HEADS)
}

pub(crate) static INTERFACE: Interface = Interface {
    name: "mla_sparse",
    parts: &[include_str!("mla_sparse.wgsl"), MERGE, common::STEP],
    bindings: &[read("q"), read("qa"), read("cache"), read("selected"), read("step"), write("out")],
    params: Params::FIELDS,
};

/// Keys of a token that sees `visible` positions.
#[must_use]
pub const fn keys(k: u32, visible: u32) -> u32 {
    if k > 0 && k < visible { k } else { visible }
}

/// How many of a step's tokens a kernel handles that begins at `first_token`.
pub(crate) fn tokens(extent: &Extent, first_token: u32, max_tokens: u32) -> u32 {
    extent.tokens.saturating_sub(first_token).min(max_tokens)
}

impl MlaSparse {
    fn row(&self) -> CacheRow {
        cache_write::row(self.kv_lora_rank, self.rope_dim / 2, self.cache_type)
    }
}

impl Kernel for MlaSparse {
    fn interface(&self) -> &'static Interface {
        &INTERFACE
    }

    fn variant(&self) -> Variant {
        let mut variant = self.cache.reads(&self.row());
        variant.constants.push(("QUADS", self.heads.min(HEADS).div_ceil(4)));
        variant
    }

    fn slots(&self) -> Vec<Slot> {
        let slots = [self.q, self.qa, self.cache.first(), self.selected, self.step, self.out];
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
            k: self.k,
            scale: self.scale,
            first_token: self.first_token,
            pages_from: self.pages.from,
            pages_per_sequence: self.pages.per_sequence,
            split: u32::from(self.split),
            splits: self.splits,
        };
        params.bytes()
    }

    fn workgroups(&self, extent: &Extent) -> [u32; 3] {
        let splits = if self.split { splits(keys(self.k, extent.length)).min(self.splits) } else { 1 };
        [groups(self.heads), tokens(extent, self.first_token, self.max_tokens), splits]
    }

    fn reference(&self, extent: &Extent, reads: &[&[u32]], writes: &mut [&mut [u32]]) {
        let inputs = reference::Inputs::new(self, reads);
        let out = floats_mut(writes[0]);
        for local in 0..tokens(extent, self.first_token, self.max_tokens) {
            reference::token(self, &inputs, local, out);
        }
    }
}
