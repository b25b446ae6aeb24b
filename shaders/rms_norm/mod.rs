//! Root-mean-square normalisation of each row.

pub(crate) mod cases;
mod reference;

use crate::common;
use crate::kernel::{Extent, Interface, Kernel, Slot, floats, floats_mut, params, read, write};

/// `y[t, d] = x[t, d] / sqrt(mean(x[t, :]²) + eps) · weight[d]`
#[derive(Clone, Debug)]
pub struct RmsNorm {
    /// `[tokens, x_stride]`
    pub x: Slot,
    /// `[dim]`, f32
    pub weight: Slot,
    /// `[tokens, y_stride]`
    pub y: Slot,
    /// Which rows there are.
    pub rows: Rows,
    /// Elements of a row.
    pub dim: u32,
    /// Elements from one row of x to the next.
    pub x_stride: u32,
    /// First column of x.
    pub x_offset: u32,
    /// Elements from one row of y to the next.
    pub y_stride: u32,
    /// First column of y.
    pub y_offset: u32,
    /// Added to the mean square.
    pub eps: f32,
}

/// Which count of a step gives the rows of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// One row for each token.
    Tokens,
    /// One row for each row of logits wanted.
    Outputs,
}

impl Rows {
    /// The rows of a step.
    #[must_use]
    pub const fn of(self, extent: &Extent) -> u32 {
        match self {
            Rows::Tokens => extent.tokens,
            Rows::Outputs => extent.rows,
        }
    }
}

params! { dim: u32, x_stride: u32, x_offset: u32, y_stride: u32, y_offset: u32, eps: f32 }

pub(crate) static INTERFACE: Interface = Interface {
    name: "rms_norm",
    parts: &[include_str!("rms_norm.wgsl"), common::REDUCE],
    bindings: &[read("x"), read("weight"), write("y")],
    params: Params::FIELDS,
};

impl Kernel for RmsNorm {
    fn interface(&self) -> &'static Interface {
        &INTERFACE
    }

    fn slots(&self) -> Vec<Slot> {
        vec![self.x, self.weight, self.y]
    }

    fn params(&self) -> Vec<u8> {
        let RmsNorm { dim, x_stride, x_offset, y_stride, y_offset, eps, .. } = *self;
        Params { dim, x_stride, x_offset, y_stride, y_offset, eps }.bytes()
    }

    fn workgroups(&self, extent: &Extent) -> [u32; 3] {
        [self.rows.of(extent), 1, 1]
    }

    fn reference(&self, extent: &Extent, reads: &[&[u32]], writes: &mut [&mut [u32]]) {
        let (x, weight, y) = (floats(reads[0]), floats(reads[1]), floats_mut(writes[0]));
        let (dim, offset) = (self.dim as usize, self.x_offset as usize);
        for t in 0..self.rows.of(extent) as usize {
            let row = &x[t * self.x_stride as usize + offset..][..dim];
            let out = &mut y[t * self.y_stride as usize + self.y_offset as usize..][..dim];
            reference::rms_norm(row, weight, self.eps, out);
        }
    }
}
