//! Rotary position embedding of the heads of a row, in place.

pub(crate) mod cases;
mod reference;

use crate::common;
use crate::kernel::{Extent, Interface, Kernel, Slot, floats, floats_mut, params, read, write};

/// Rotates pairs (a, b) of each token's row to (a cos − b sin, b cos + a sin), by the angles of the token's position.
#[derive(Clone, Debug)]
pub struct Rope {
    /// `[tokens, stride]`, in place
    pub x: Slot,
    /// `[positions, pairs]` of (cos, sin), f32
    pub table: Slot,
    /// The step's record, see `common/step.wgsl`.
    pub step: Slot,
    /// Elements from one row of x to the next.
    pub stride: u32,
    /// Rotated pairs of a head: half of `qk_rope_head_dim`.
    pub pairs: u32,
    /// Which columns are heads; both are rotated in one dispatch and must not overlap.
    pub segments: [RopeSegment; 2],
}

/// Heads that lie at equal distances in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RopeSegment {
    /// First column of the first head.
    pub offset: u32,
    /// Heads; 0: the segment is not used.
    pub heads: u32,
    /// Columns from one head to the next.
    pub head_stride: u32,
    /// First rotated dim of a head.
    pub rope_offset: u32,
    /// Pair j is dims (2j, 2j + 1); otherwise (j, j + pairs).
    pub interleaved: bool,
}

impl RopeSegment {
    /// No heads.
    pub const NONE: RopeSegment =
        RopeSegment { offset: 0, heads: 0, head_stride: 0, rope_offset: 0, interleaved: false };
}

params! {
    stride: u32, pairs: u32, offset0: u32, heads0: u32, head_stride0: u32, rope_offset0: u32, interleaved0: u32,
    offset1: u32, heads1: u32, head_stride1: u32, rope_offset1: u32, interleaved1: u32,
}

pub(crate) static INTERFACE: Interface = Interface {
    name: "rope",
    parts: &[include_str!("rope.wgsl"), common::ROTATE],
    bindings: &[read("table"), read("step"), write("x")],
    params: Params::FIELDS,
};

impl Kernel for Rope {
    fn interface(&self) -> &'static Interface {
        &INTERFACE
    }

    fn slots(&self) -> Vec<Slot> {
        vec![self.table, self.step, self.x]
    }

    fn params(&self) -> Vec<u8> {
        let [first, second] = self.segments;
        let params = Params {
            stride: self.stride,
            pairs: self.pairs,
            offset0: first.offset,
            heads0: first.heads,
            head_stride0: first.head_stride,
            rope_offset0: first.rope_offset,
            interleaved0: u32::from(first.interleaved),
            offset1: second.offset,
            heads1: second.heads,
            head_stride1: second.head_stride,
            rope_offset1: second.rope_offset,
            interleaved1: u32::from(second.interleaved),
        };
        params.bytes()
    }

    fn workgroups(&self, extent: &Extent) -> [u32; 3] {
        let heads = self.segments[0].heads + self.segments[1].heads;
        [(heads * self.pairs).div_ceil(128), extent.tokens, 1]
    }

    fn reference(&self, extent: &Extent, reads: &[&[u32]], writes: &mut [&mut [u32]]) {
        let (table, step, x) = (floats(reads[0]), reads[1], floats_mut(writes[0]));
        for t in 0..extent.tokens {
            let row = &mut x[t as usize * self.stride as usize..][..self.stride as usize];
            let turns = &table[2 * (common::position(step, t) * self.pairs) as usize..][..2 * self.pairs as usize];
            for segment in &self.segments {
                for head in 0..segment.heads {
                    let start = segment.offset + head * segment.head_stride + segment.rope_offset;
                    reference::rope(&mut row[start as usize..], turns, segment.interleaved);
                }
            }
        }
    }
}
