//! The formula. A stored weight times its scale is exact in f64, so that f32 rounds it once, as the shader does.

use super::Embed;
use crate::common;

pub(super) fn embed(embed: &Embed, tokens: u32, step: &[u32], weight: &[u32], scales: &[u32], x: &mut [f32]) {
    let width = embed.hidden_size as usize;
    for (t, out) in (0..tokens).zip(x.chunks_mut(width)) {
        let [id, ..] = common::step_entry(step, 1 + t);
        if !(embed.first_row..embed.first_row + embed.rows).contains(&id) {
            continue;
        }
        let mut weights = vec![0f64; width];
        let place = embed.encoding.row_place(embed.hidden_size, id - embed.first_row, id);
        embed.encoding.decode_row(weight, scales, place, |scaled, minimum| scaled + minimum, &mut weights);
        out.iter_mut().zip(weights).for_each(|(out, weight)| *out = weight as f32);
    }
}
