//! Oracle: rows, positions and shares by hand.

use lyn_shaders::Slot;
use lyn_shaders::rms_norm::Rows;

use crate::generate::trace::selections;
use crate::generate::{Selection, TraceRequest};
use crate::record::{Columns, Tap, Taps, Trace};

#[test]
fn a_trace_of_no_layer_is_none() {
    assert_eq!(TraceRequest::default().taps(), Taps::None);
    let request = TraceRequest { layers: vec![2, 0, 2], dense: true, from: 3 };
    assert_eq!(request.taps(), Taps::Trace(Trace { layers: [0, 2].into_iter().collect(), dense: true }));
}

#[test]
fn a_share_is_at_most_the_whole_and_counts_what_is_there() {
    let selection = |indices: &[u32], dense: &[f32]| Selection {
        layer: 0,
        position: 3,
        indices: indices.to_vec(),
        scores: vec![],
        dense: Some(dense.to_vec()),
    };
    assert_eq!(selection(&[0, 1], &[0.75, 0.75]).dense_share(), Some(1.0), "rounding makes no more than all");
    assert_eq!(selection(&[1, 9], &[0.5, 0.25]).dense_share(), Some(0.25));
    assert_eq!(selection(&[], &[0.5]).dense_share(), Some(0.0));
}

/// A tap of rows of `width` words.
fn tap(name: &str, width: u32, words: Vec<u32>) -> (Tap, Vec<u32>) {
    let columns = Columns { slot: Slot(0), rows: Rows::Tokens, stride: width, first: 0, width };
    (Tap { name: name.to_owned(), after: 0, columns }, words)
}

#[test]
fn what_was_kept_of_a_step_is_told_layer_by_layer() {
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<u32>>();
    let none = u32::MAX;
    // Two tokens from position 2 on; rows are as long as the step may be.
    let taps = [
        tap("layers.1.idx_topk", 3, vec![0, 2, none, 1, 3, none]),
        tap("layers.1.idx_score", 4, bits(&[0.5, 1.5, 2.5, 9.0, 0.25, 1.25, 2.25, 3.25])),
        tap("layers.3.attention_weights", 4, bits(&[0.25, 0.25, 0.5, 9.0, 0.125, 0.125, 0.25, 0.5])),
    ];
    let request = TraceRequest { layers: vec![3, 1, 1, 9], dense: true, from: 0 };
    let selection = |layer, position, indices: &[u32], scores: &[f32], dense: Option<&[f32]>| Selection {
        layer,
        position,
        indices: indices.to_vec(),
        scores: scores.to_vec(),
        dense: dense.map(<[f32]>::to_vec),
    };
    let expected = [
        selection(1, 2, &[0, 2], &[0.5, 2.5], None),
        selection(1, 3, &[1, 3], &[1.25, 3.25], None),
        // Attention that chooses nothing reads all that is visible.
        selection(3, 2, &[0, 1, 2], &[], Some(&[0.25, 0.25, 0.5])),
        selection(3, 3, &[0, 1, 2, 3], &[], Some(&[0.125, 0.125, 0.25, 0.5])),
    ];
    assert_eq!(selections(&taps, 2, 2, &request, 4), expected);
    assert_eq!(selections(&taps, 2, 1, &request, 3), expected[..1], "layers that the model has");
    assert!(selections(&taps, 2, 0, &request, 4).is_empty());
}
