//! Linear layers: `linear_vec` for few tokens and `linear_tile` for many, with the same bits.

pub(crate) mod cases;
mod reference;

use crate::bound::Terms;
use crate::common;
use crate::encodings::Panels;
use crate::kernel::{Extent, Interface, Kernel, Slot, Variant, floats, floats_mut, params, read, write};
pub use crate::rms_norm::Rows;

/// y[t, n] (+)= Σ_k w[n, k] · x[t, k], over a matrix in panels.
#[derive(Clone, Debug)]
pub struct Linear {
    /// `[tokens, x_stride]`
    pub x: Slot,
    /// Panels, see [`Panels`].
    pub weight: Slot,
    /// Scales of the panels; a slot of one word where the encoding has none.
    pub scales: Slot,
    /// `[tokens, y_stride]`
    pub y: Slot,
    /// Which rows x and y have.
    pub tokens: Rows,
    /// Rows that x and y have room for.
    pub capacity: u32,
    /// Sizes and encoding of the matrix.
    pub panels: Panels,
    /// Elements from one row of x to the next; a multiple of 4, as the other places in x.
    pub x_stride: u32,
    /// First column of x.
    pub x_offset: u32,
    /// Columns of x from one row group to the next.
    pub x_group: u32,
    /// Elements from one row of y to the next.
    pub y_stride: u32,
    /// First column of y.
    pub y_offset: u32,
    /// Columns of y from one row group to the next.
    pub y_group: u32,
    /// Add to y instead of replacing it: a residual.
    pub accumulate: bool,
    /// `linear_tile` instead of `linear_vec`: the same bits, faster for more than a few tokens.
    pub tiled: bool,
}

params! {
    rows: u32, columns4: u32, panels: u32, scale_lanes: u32, x_stride4: u32, x_offset4: u32, x_group4: u32,
    y_stride: u32, y_offset: u32, y_group: u32, accumulate: u32, tokens_capacity: u32,
}

/// The interface of `linear_vec`.
pub static VEC: Interface = Interface {
    name: "linear_vec",
    parts: &[include_str!("linear_vec.wgsl"), common::CONTRACT_VEC],
    bindings: &[read("x"), read("weight"), read("scales"), write("y")],
    params: Params::FIELDS,
};

/// The interface of `linear_tile`.
pub static TILE: Interface = Interface {
    name: "linear_tile",
    parts: &[include_str!("linear_tile.wgsl"), common::CONTRACT_TILE],
    bindings: &[read("x"), read("weight"), read("scales"), write("y")],
    params: Params::FIELDS,
};

/// Rows of one workgroup: 4 panels.
const TILE_ROWS: u32 = 128;
/// Tokens of one workgroup of `linear_tile`.
pub(crate) const TILE_TOKENS: u32 = 8;

impl Kernel for Linear {
    fn interface(&self) -> &'static Interface {
        if self.tiled { &TILE } else { &VEC }
    }

    fn variant(&self) -> Variant {
        self.panels.encoding.panels_variant()
    }

    fn slots(&self) -> Vec<Slot> {
        vec![self.x, self.weight, self.scales, self.y]
    }

    fn params(&self) -> Vec<u8> {
        let params = Params {
            rows: self.panels.rows,
            columns4: self.panels.columns / 4,
            panels: self.panels.panels(),
            scale_lanes: self.panels.scale_lanes(),
            x_stride4: self.x_stride / 4,
            x_offset4: self.x_offset / 4,
            x_group4: self.x_group / 4,
            y_stride: self.y_stride,
            y_offset: self.y_offset,
            y_group: self.y_group,
            accumulate: u32::from(self.accumulate),
            tokens_capacity: self.capacity,
        };
        params.bytes()
    }

    fn workgroups(&self, extent: &Extent) -> [u32; 3] {
        let (tokens, tiles) = (self.tokens.of(extent), self.panels.rows.div_ceil(TILE_ROWS));
        if self.tiled {
            [tokens.div_ceil(TILE_TOKENS), tiles, self.panels.groups]
        } else {
            [tiles, tokens, self.panels.groups]
        }
    }

    fn reference(&self, extent: &Extent, reads: &[&[u32]], writes: &mut [&mut [u32]]) {
        // A tile writes whole tiles of tokens, within the capacity; the rows beyond the step's tokens mean nothing.
        let (x, y) = (floats(reads[0]), floats_mut(writes[0]));
        reference::linear(self, self.tokens.of(extent), x, reads[1], reads[2], y, Terms::Products);
    }
}
