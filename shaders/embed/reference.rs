//! The formula. A stored weight times its scale is exact in f64, so that f32 rounds it once, as the shader does.

use super::Embed;
use crate::common;
use crate::format::{BLOCK, Format};

pub(super) fn embed(embed: &Embed, tokens: u32, step: &[u32], weight: &[u32], scales: &[f32], x: &mut [f32]) {
    let width = embed.hidden_size as usize;
    for (t, out) in (0..tokens).zip(x.chunks_mut(width)) {
        let [id, ..] = common::step_entry(step, 1 + t);
        if !(embed.first_row..embed.first_row + embed.rows).contains(&id) {
            continue;
        }
        let row = (id - embed.first_row) as usize;
        let row_scales = (id / BLOCK * embed.hidden_size.div_ceil(BLOCK)) as usize;
        for (c, out) in out.iter_mut().enumerate() {
            let scale = match embed.format {
                Format::Fp8 => f64::from(scales[row_scales + c / BLOCK as usize]),
                _ => 1.0,
            };
            *out = (embed.format.decode(weight, row * width + c) * scale) as f32;
        }
    }
}
