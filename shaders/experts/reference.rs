//! What the references of gate_up and down share.

use std::collections::BTreeMap;

use crate::format::{Format, Panels, index};

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

/// The sums over k of `term(w[row, k], input[k])` for each row of a matrix and each input, as `[row][input]`; `words` and
/// `scales` begin at the matrix.
pub(crate) fn contract(
    panels: &Panels,
    words: &[u32],
    scales: &[f32],
    inputs: &[&[f32]],
    term: impl Fn(f64, f64) -> f64,
) -> Vec<Vec<f64>> {
    let mut weights = vec![0f64; panels.columns as usize];
    let row_sums = |row| {
        decode_row(panels, words, scales, row, &mut weights);
        let sum = |input: &&[f32]| weights.iter().zip(*input).map(|(&w, &x)| term(w, f64::from(x))).sum();
        inputs.iter().map(sum).collect()
    };
    (0..panels.rows).map(row_sums).collect()
}

/// One row, scaled: piece by piece, since the host runs whole models through here.
fn decode_row(panels: &Panels, words: &[u32], scales: &[f32], row: u32, out: &mut [f64]) {
    let piece = panels.format.piece();
    for (column, out) in (0..).step_by(piece as usize).zip(out.chunks_mut(piece as usize)) {
        let scale = match panels.format {
            Format::Fp8 => f64::from(scales[index(panels.scale_index(0, row, column))]),
            _ => 1.0,
        };
        let words = &words[index(panels.piece_offset(0, row, column) / 4)..][..4];
        for (i, out) in out.iter_mut().enumerate() {
            *out = scale * panels.format.decode(words, i);
        }
    }
}
