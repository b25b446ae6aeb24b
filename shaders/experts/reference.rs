//! What the references of gate_up and down share.

use std::collections::BTreeMap;

use crate::bound::Terms;
use crate::encodings::Panels;

/// Entries of each expert that a kernel works on: from `entries` in the decode form, from `order` and `tiles` in the tile
/// form. `reads` are the kernel's.
pub(crate) fn by_expert(reads: &[&[u32]], entries: u32, binned: bool) -> BTreeMap<u32, Vec<usize>> {
    let mut experts: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    if !binned {
        for (entry, words) in reads[1].chunks_exact(2).take(entries as usize).enumerate() {
            experts.entry(words[0]).or_default().push(entry);
        }
        return experts;
    }
    let (order, tiles) = (reads[1], reads[2]);
    for tile in tiles[4..].chunks_exact(4).take(tiles[0] as usize) {
        let entries = order[tile[1] as usize..][..tile[2] as usize].iter().map(|&entry| entry as usize);
        experts.entry(tile[0]).or_default().extend(entries);
    }
    experts
}

/// The sums over k of the terms of w[row, k] and input[k] for each row of a matrix and each input, as `[row][input]`; `words` and
/// `scales` begin with the matrix.
pub(crate) fn contract(
    panels: &Panels,
    words: &[u32],
    scales: &[u32],
    inputs: &[&[f32]],
    terms: Terms,
) -> Vec<Vec<f64>> {
    let mut weights = vec![0f64; panels.columns as usize];
    let row_sums = |row| {
        panels.decode_row(words, scales, (0, row), terms.weight(), &mut weights);
        let sum = |input: &&[f32]| weights.iter().zip(*input).map(|(&w, &x)| terms.of(w, f64::from(x))).sum();
        inputs.iter().map(sum).collect()
    };
    (0..panels.rows).map(row_sums).collect()
}
