//! Scores of the lightning indexer: how much each token wants each of its visible keys.

pub(crate) mod cases;
mod reference;

use crate::cache_parts::CacheParts;
use crate::cache_row::CacheType;
use crate::common::{self, PageTable};
use crate::index_key_write;
use crate::kernel::{Extent, Interface, Kernel, Slot, Variant, floats, floats_mut, params, read, write};

/// `scores[t − first_token, s] = Σ_h w[t, h] · scale · max(q[t, h] · k[s], 0)`, for s ≤ position(t); others stay.
///
/// The order of summation does not depend on the step: a token's scores have the same bits alone and in a batch.
#[derive(Clone, Debug)]
pub struct IndexScore {
    /// `[tokens, q_stride]`, `[heads, head_dim]` from `q_offset`
    pub q: Slot,
    /// `[tokens, w_stride]`, `[heads]` from `w_offset`: `weights_proj` as it came
    pub w: Slot,
    /// Index keys in panels, see [`crate::index_key_write::row`].
    pub cache: CacheParts,
    /// The step's record, see `common/step.wgsl`.
    pub step: Slot,
    /// The pages in it.
    pub pages: PageTable,
    /// `[max_tokens, score_stride]`, f32
    pub scores: Slot,
    /// Elements from one row of q to the next; a multiple of 4.
    pub q_stride: u32,
    /// First column of q; a multiple of 4.
    pub q_offset: u32,
    /// Elements from one row of w to the next.
    pub w_stride: u32,
    /// First column of w.
    pub w_offset: u32,
    /// Heads of the indexer: `index_n_heads`.
    pub heads: u32,
    /// Elements of a key: `index_head_dim`, a multiple of 4.
    pub head_dim: u32,
    /// Multiplies w: heads^−½ · head_dim^−½.
    pub scale: f32,
    /// Elements from one row of scores to the next.
    pub score_stride: u32,
    /// Token of the step whose scores are row 0.
    pub first_token: u32,
    /// Tokens handled at most.
    pub max_tokens: u32,
    /// How the cache is packed.
    pub cache_type: CacheType,
}

params! {
    q_stride4: u32, q_offset4: u32, w_stride: u32, w_offset: u32, heads: u32, head_dim4: u32, scale: f32,
    score_stride: u32, first_token: u32, pages_from: u32, pages_per_sequence: u32,
}

pub(crate) static INTERFACE: Interface = Interface {
    name: "index_score",
    parts: &[include_str!("index_score.wgsl"), common::STEP, common::MAC4],
    bindings: &[read("q"), read("w"), read("cache"), read("step"), write("scores")],
    params: Params::FIELDS,
};

/// Keys of one workgroup: two pages of the cache.
pub const TILE_KEYS: u32 = 2 * common::PAGE;

impl Kernel for IndexScore {
    fn interface(&self) -> &'static Interface {
        &INTERFACE
    }

    fn variant(&self) -> Variant {
        self.cache.reads(&index_key_write::row(self.head_dim, self.cache_type))
    }

    fn slots(&self) -> Vec<Slot> {
        let slots = [self.q, self.w, self.cache.first(), self.step, self.scores];
        slots.iter().chain(self.cache.further()).copied().collect()
    }

    fn params(&self) -> Vec<u8> {
        let params = Params {
            q_stride4: self.q_stride / 4,
            q_offset4: self.q_offset / 4,
            w_stride: self.w_stride,
            w_offset: self.w_offset,
            heads: self.heads,
            head_dim4: self.head_dim / 4,
            scale: self.scale,
            score_stride: self.score_stride,
            first_token: self.first_token,
            pages_from: self.pages.from,
            pages_per_sequence: self.pages.per_sequence,
        };
        params.bytes()
    }

    fn workgroups(&self, extent: &Extent) -> [u32; 3] {
        let tokens = extent.tokens.saturating_sub(self.first_token).min(self.max_tokens);
        [extent.length.div_ceil(TILE_KEYS), tokens, 1]
    }

    fn reference(&self, extent: &Extent, reads: &[&[u32]], writes: &mut [&mut [u32]]) {
        let inputs = reference::Inputs {
            q: floats(reads[0]),
            w: floats(reads[1]),
            cache: self.cache.among(reads, 2),
            step: reads[3],
        };
        let scores = floats_mut(writes[0]);
        reference::each_score(self, extent, &inputs, |at, heads| {
            scores[at] = heads.iter().map(|&(w, product, _)| w * product.max(0.0)).sum::<f64>() as f32;
        });
    }
}
