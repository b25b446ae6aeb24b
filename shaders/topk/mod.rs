//! Exact selection of the k best keys of each token.

pub(crate) mod cases;
mod reference;

use crate::common;
use crate::kernel::{Extent, Interface, Kernel, Slot, params, read, write};

/// `selected[t]` = positions of the k largest of `scores[t − first_token, 0..=position(t)]`, ascending, then 0xffffffff.
///
/// A larger score comes first, of equal ones the lower position; −0 equals +0 and NaN comes last. Where a token sees at
/// most k positions, all are selected and its scores are not read.
#[derive(Clone, Debug)]
pub struct TopK {
    /// `[max_tokens, score_stride]`, f32
    pub scores: Slot,
    /// The step's record, see `common/step.wgsl`.
    pub step: Slot,
    /// `[tokens, k]`, positions; [`NONE`] where there are fewer than k
    pub selected: Slot,
    /// Positions to select: `index_topk`.
    pub k: u32,
    /// Elements from one row of scores to the next.
    pub score_stride: u32,
    /// Token of the step whose scores are row 0.
    pub first_token: u32,
    /// Tokens handled at most.
    pub max_tokens: u32,
}

/// Fills a list of positions that is shorter than k.
pub const NONE: u32 = u32::MAX;

params! { k: u32, score_stride: u32, first_token: u32 }

pub(crate) static INTERFACE: Interface = Interface {
    name: "topk",
    parts: &[include_str!("topk.wgsl"), common::SORT_KEY],
    bindings: &[read("scores"), read("step"), write("selected")],
    params: Params::FIELDS,
};

impl Kernel for TopK {
    fn interface(&self) -> &'static Interface {
        &INTERFACE
    }

    fn slots(&self) -> Vec<Slot> {
        vec![self.scores, self.step, self.selected]
    }

    fn params(&self) -> Vec<u8> {
        let TopK { k, score_stride, first_token, .. } = *self;
        Params { k, score_stride, first_token }.bytes()
    }

    fn workgroups(&self, extent: &Extent) -> [u32; 3] {
        [extent.tokens.saturating_sub(self.first_token).min(self.max_tokens), 1, 1]
    }

    fn reference(&self, extent: &Extent, reads: &[&[u32]], writes: &mut [&mut [u32]]) {
        let (scores, step, selected) = (reads[0], reads[1], &mut *writes[0]);
        for local in 0..self.workgroups(extent)[0] {
            let token = self.first_token + local;
            let count = common::position(step, token) as usize + 1;
            let out = &mut selected[token as usize * self.k as usize..][..self.k as usize];
            let row = &scores[local as usize * self.score_stride as usize..];
            reference::top_k(row, count, out);
        }
    }
}
