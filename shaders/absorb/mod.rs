//! Queries into the space of the latents: the key half of `kv_b_proj`, applied to the query instead of to every key.

pub(crate) mod cases;
mod reference;

use crate::bound::Terms;
use crate::common;
use crate::encodings::Encoding;
use crate::kernel::{Extent, Interface, Kernel, Slot, Variant, floats, floats_mut, params, read, write};

/// y[t, h, c] = Σ_d q[t, h, d] · w[h, d, c].
#[derive(Clone, Debug)]
pub struct Absorb {
    /// `[tokens, q_stride]`: the part without rope of head h at `q_offset + h · head_stride`. These three and `nope_dim`
    /// are multiples of 4.
    pub q: Slot,
    /// `[heads · nope_dim, kv_lora_rank]` row-major, each row padded to 16 bytes: the key rows of kv_b_proj.
    pub weight: Slot,
    /// The table of scales; one word where the encoding has none.
    pub scales: Slot,
    /// `[tokens, heads · kv_lora_rank]`
    pub y: Slot,
    /// Elements from one row of q to the next.
    pub q_stride: u32,
    /// First column of q.
    pub q_offset: u32,
    /// Columns of q from one head to the next.
    pub head_stride: u32,
    /// Heads.
    pub heads: u32,
    /// Rows of one head: its dimensions without rope.
    pub nope_dim: u32,
    /// Columns; a multiple of 4, and of the columns of a group of one row.
    pub kv_lora_rank: u32,
    /// Rows of one head in the table of scales, a multiple of 4: with groups of many rows all of its rows in kv_b_proj,
    /// `nope_dim` + the dimensions of its values.
    pub scale_rows: u32,
    /// How the weights are packed.
    pub encoding: &'static Encoding,
    /// Rows that q and y have room for. Up to three rows after the step's tokens are overwritten, within it.
    pub capacity: u32,
}

params! {
    q_stride4: u32, q_offset4: u32, head_stride4: u32, heads: u32, nope_dim: u32, columns4: u32, scale_rows: u32,
    scale_words: u32, capacity: u32,
}

pub(crate) static INTERFACE: Interface = Interface {
    name: "absorb",
    parts: &[include_str!("absorb.wgsl"), common::MAC4],
    bindings: &[read("q"), read("weight"), read("scales"), write("y")],
    params: Params::FIELDS,
};

/// Columns of one workgroup.
const TILE: u32 = 128;

impl Absorb {
    /// Tokens of one lane; the bits are the same.
    const fn tile(&self) -> u32 {
        if self.capacity <= 2 { 1 } else { 4 }
    }
}

impl Kernel for Absorb {
    fn interface(&self) -> &'static Interface {
        &INTERFACE
    }

    fn variant(&self) -> Variant {
        let mut variant = self.encoding.rows_variant();
        variant.constants.push(("TOKENS", self.tile()));
        variant
    }

    fn slots(&self) -> Vec<Slot> {
        vec![self.q, self.weight, self.scales, self.y]
    }

    fn params(&self) -> Vec<u8> {
        let params = Params {
            q_stride4: self.q_stride / 4,
            q_offset4: self.q_offset / 4,
            head_stride4: self.head_stride / 4,
            heads: self.heads,
            nope_dim: self.nope_dim,
            columns4: self.kv_lora_rank / 4,
            scale_rows: self.scale_rows,
            scale_words: self.encoding.scale_words(self.kv_lora_rank) as u32,
            capacity: self.capacity,
        };
        params.bytes()
    }

    fn workgroups(&self, extent: &Extent) -> [u32; 3] {
        [self.kv_lora_rank.div_ceil(TILE), self.heads, extent.tokens.div_ceil(self.tile())]
    }

    fn reference(&self, extent: &Extent, reads: &[&[u32]], writes: &mut [&mut [u32]]) {
        let (q, y) = (floats(reads[0]), floats_mut(writes[0]));
        reference::absorb(self, extent.tokens, q, reads[1], reads[2], y, Terms::Products);
    }
}
