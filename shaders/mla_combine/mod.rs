//! The splits of `mla_sparse`, merged.

pub(crate) mod cases;
mod reference;

use crate::kernel::{Extent, Interface, Kernel, Slot, floats, floats_mut, params, read, write};
use crate::mla_sparse;

/// out[t, h] = Σ_s e^(m_s − m)·o_s / Σ_s e^(m_s − m)·l_s over the splits s of a token, m the largest m_s; with `mla_sparse`
/// in its split form, the bits of its other form.
#[derive(Clone, Debug)]
pub struct MlaCombine {
    /// `[max_tokens, splits, heads, kv_lora_rank + 2]`, from [`crate::mla_sparse::MlaSparse`] with `split`.
    pub partial: Slot,
    /// The step.
    pub step: Slot,
    /// `[tokens, heads · kv_lora_rank]`
    pub out: Slot,
    /// Heads.
    pub heads: u32,
    /// Latents of a cache row; a multiple of 4.
    pub kv_lora_rank: u32,
    /// Keys of a token at most; 0 for all visible positions.
    pub k: u32,
    /// Splits of a token that `partial` has room for.
    pub splits: u32,
    /// The first token of the step that is handled.
    pub first_token: u32,
    /// Tokens handled at most.
    pub max_tokens: u32,
}

params! { heads: u32, rank4: u32, k: u32, splits: u32, first_token: u32 }

pub(crate) static INTERFACE: Interface = Interface {
    name: "mla_combine",
    parts: &[include_str!("mla_combine.wgsl"), mla_sparse::MERGE],
    bindings: &[read("partial"), read("step"), write("out")],
    params: Params::FIELDS,
};

/// Elements of one workgroup.
const TILE: u32 = 512;

impl Kernel for MlaCombine {
    fn interface(&self) -> &'static Interface {
        &INTERFACE
    }

    fn slots(&self) -> Vec<Slot> {
        vec![self.partial, self.step, self.out]
    }

    fn params(&self) -> Vec<u8> {
        let MlaCombine { heads, kv_lora_rank, k, splits, first_token, .. } = *self;
        Params { heads, rank4: kv_lora_rank / 4, k, splits, first_token }.bytes()
    }

    fn workgroups(&self, extent: &Extent) -> [u32; 3] {
        let tokens = mla_sparse::tokens(extent, self.first_token, self.max_tokens);
        [(self.heads * self.kv_lora_rank).div_ceil(TILE), tokens, 1]
    }

    fn reference(&self, extent: &Extent, reads: &[&[u32]], writes: &mut [&mut [u32]]) {
        let (partial, out) = (floats(reads[0]), floats_mut(writes[0]));
        let tokens = mla_sparse::tokens(extent, self.first_token, self.max_tokens);
        reference::combine(self, tokens, partial, reads[1], out, |o| o);
    }
}
