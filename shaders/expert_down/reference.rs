//! The formula, in f64, an expert at a time.

use super::ExpertDown;
use crate::bound::Terms;
use crate::encodings::index;
use crate::experts;
use crate::experts::reference::{by_expert, contract};
use crate::kernel::{Extent, floats};

/// Calls `store` with the index in `y` and the sum of the terms over the contraction.
pub(super) fn down(
    kernel: &ExpertDown,
    extent: &Extent,
    reads: &[&[u32]],
    terms: Terms,
    mut store: impl FnMut(usize, f64),
) {
    let panels = &kernel.panels;
    let [.., weight, scales] = *reads else { return };
    let (hidden, stride) = (floats(reads[0]), panels.hidden_stride() as usize);
    let count = experts::entries(extent, kernel.capacity, kernel.slots);
    for (expert, entries) in by_expert(reads, count, kernel.binned.is_some()) {
        let Some(place) = kernel.shard.place(panels, expert) else { continue };
        let width = panels.width_of(place.shared) as usize;
        let inputs: Vec<&[f32]> =
            entries.iter().map(|i| &hidden[i / kernel.sharing as usize * stride..][..width]).collect();
        let (word, scale) = (place.first(panels.down_words(false)), place.first(panels.down_scale_words(false)));
        let own = panels.down_panels(place.shared);
        let sums = contract(&own, &weight[index(word)..], &scales[index(scale)..], &inputs, terms);
        for (row, sums) in sums.iter().enumerate() {
            for (entry, sum) in entries.iter().zip(sums) {
                store(entry * panels.hidden_size as usize + row, *sum);
            }
        }
    }
}
