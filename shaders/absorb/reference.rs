//! The formula, in f64.

use super::Absorb;
use crate::bound::Terms;

pub(super) fn absorb(
    absorb: &Absorb,
    tokens: u32,
    q: &[f32],
    weight: &[u32],
    scales: &[u32],
    y: &mut [f32],
    terms: Terms,
) {
    let rank = absorb.kv_lora_rank as usize;
    let mut weights = vec![0f64; rank];
    for head in 0..absorb.heads {
        let mut sums = vec![0f64; tokens as usize * rank];
        for d in 0..absorb.nope_dim {
            let (row, scale_row) = (head * absorb.nope_dim + d, head * absorb.scale_rows + d);
            let place = absorb.encoding.row_place(absorb.kv_lora_rank, row, scale_row);
            absorb.encoding.decode_row(weight, scales, place, terms.weight(), &mut weights);
            for (c, &weight) in weights.iter().enumerate() {
                for t in 0..tokens {
                    let at = t * absorb.q_stride + absorb.q_offset + head * absorb.head_stride + d;
                    sums[t as usize * rank + c] += terms.of(weight, f64::from(q[at as usize]));
                }
            }
        }
        for (t, sums) in sums.chunks(rank).enumerate() {
            let out = &mut y[(t * absorb.heads as usize + head as usize) * rank..][..rank];
            out.iter_mut().zip(sums).for_each(|(out, &sum)| *out = sum as f32);
        }
    }
}
