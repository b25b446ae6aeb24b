//! Rows of the embedding table for the tokens of a step.

pub(crate) mod cases;
mod reference;

use crate::encodings::Encoding;
use crate::kernel::{Extent, Interface, Kernel, Slot, Variant, floats_mut, params, read, write};

/// x[t, :] = table[id(t) − first_row, :] where the shard has that row; other rows of x are left to the other shards.
#[derive(Clone, Debug)]
pub struct Embed {
    /// The step: ids of its tokens.
    pub step: Slot,
    /// `[rows, hidden_size]` row-major, each row padded to 16 bytes.
    pub weight: Slot,
    /// Of the groups of the whole table, row-major; one word where the encoding has none.
    pub scales: Slot,
    /// `[tokens, hidden_size]`
    pub x: Slot,
    /// How the table is packed.
    pub encoding: &'static Encoding,
    /// The id of the shard's first row.
    pub first_row: u32,
    /// Rows of the shard.
    pub rows: u32,
    /// Elements of a row; a multiple of 4, and of the columns of a group of one row.
    pub hidden_size: u32,
}

params! { first_row: u32, rows: u32, columns4: u32, scale_words: u32 }

pub(crate) static INTERFACE: Interface = Interface {
    name: "embed",
    parts: &[include_str!("embed.wgsl")],
    bindings: &[read("step"), read("weight"), read("scales"), write("x")],
    params: Params::FIELDS,
};

/// Columns of one workgroup.
const TILE: u32 = 512;

impl Kernel for Embed {
    fn interface(&self) -> &'static Interface {
        &INTERFACE
    }

    fn variant(&self) -> Variant {
        self.encoding.rows_variant()
    }

    fn slots(&self) -> Vec<Slot> {
        vec![self.step, self.weight, self.scales, self.x]
    }

    fn params(&self) -> Vec<u8> {
        let params = Params {
            first_row: self.first_row,
            rows: self.rows,
            columns4: self.hidden_size / 4,
            scale_words: self.encoding.scale_words(self.hidden_size) as u32,
        };
        params.bytes()
    }

    fn workgroups(&self, extent: &Extent) -> [u32; 3] {
        [self.hidden_size.div_ceil(TILE), extent.tokens, 1]
    }

    fn reference(&self, extent: &Extent, reads: &[&[u32]], writes: &mut [&mut [u32]]) {
        reference::embed(self, extent.tokens, reads[0], reads[1], reads[2], floats_mut(writes[0]));
    }
}
