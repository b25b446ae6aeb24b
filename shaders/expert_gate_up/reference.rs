//! The formula, in f64, an expert at a time.

use super::ExpertGateUp;
use crate::bound::Terms;
use crate::encodings::index;
use crate::experts;
use crate::experts::reference::{by_expert, contract};
use crate::kernel::{Extent, floats};

/// Calls `store` with the index in `hidden` and the two sums of the terms over the contraction.
pub(super) fn gate_up(
    kernel: &ExpertGateUp,
    extent: &Extent,
    reads: &[&[u32]],
    terms: Terms,
    mut store: impl FnMut(usize, f64, f64),
) {
    let (panels, slots) = (&kernel.panels, kernel.slots as usize);
    let [.., weight, scales] = *reads else { return };
    let x = floats(reads[0]);
    let hidden_size = panels.hidden_size as usize;
    let count = experts::entries(extent, kernel.capacity, kernel.slots);
    for (expert, entries) in by_expert(reads, count, kernel.binned.is_some()) {
        let Some(place) = kernel.shard.place(panels, expert) else { continue };
        let inputs: Vec<&[f32]> = entries.iter().map(|i| &x[i / slots * hidden_size..][..hidden_size]).collect();
        let own = panels.gate_up_panels(place.shared);
        let sums = |word, scale| contract(&own, &weight[index(word)..], &scales[index(scale)..], &inputs, terms);
        let (word, scale) = (place.first(panels.gate_up_words(false)), place.first(panels.gate_up_scale_words(false)));
        let (gate, up) = (sums(word, scale), sums(word + own.words(), scale + own.scale_words()));
        for (row, (gate, up)) in gate.iter().zip(&up).enumerate() {
            for (i, entry) in entries.iter().enumerate() {
                store(entry * panels.hidden_stride() as usize + row, gate[i], up[i]);
            }
        }
    }
}
