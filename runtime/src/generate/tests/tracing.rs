//! Oracle: shares by hand.

use crate::generate::{Selection, TraceRequest};
use crate::record::{Taps, Trace};

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
