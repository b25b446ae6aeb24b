//! Weights for cases: any codes that are numbers.

use super::{Encoding, Panels};
use crate::case::Random;

/// Words of random weights in panels, padded with zeros, and of their scales.
pub(crate) fn random_panels(random: &mut Random, panels: &Panels) -> (Vec<u32>, Vec<u32>) {
    let rows = random_rows(random, panels.encoding, panels.groups * panels.rows, panels.columns);
    let rows_of_scales = panels.groups * panels.rows.next_multiple_of(panels.encoding.group.rows);
    let table = random_scales(random, panels.encoding, rows_of_scales, panels.columns);
    let first_row = |group| group * panels.rows.next_multiple_of(panels.encoding.group.rows);
    (panels.lay_codes(&rows), panels.lay_scales(&table, first_row))
}

/// Words of random weights, row-major.
pub(crate) fn random_rows(random: &mut Random, encoding: &Encoding, rows: u32, columns: u32) -> Vec<u32> {
    let mut words = Vec::new();
    for _ in 0..rows {
        let codes: Vec<u32> = (0..columns).map(|_| (encoding.values.random)(random)).collect();
        encoding.planes.pack_into(&codes, &mut words);
    }
    words
}

/// Words of the scales of a table, none near zero.
pub(crate) fn random_scales(random: &mut Random, encoding: &Encoding, rows: u32, columns: u32) -> Vec<u32> {
    let words = encoding.table_scale_words(rows, columns);
    (0..words).map(|i| (encoding.scales.random)(random, (i % u64::from(encoding.scales.words)) as u32)).collect()
}

/// Scales as they are bound: one word where there are none.
pub(crate) fn bound_scales(mut words: Vec<u32>) -> Vec<u32> {
    words.resize(words.len().max(1), 0);
    words
}
