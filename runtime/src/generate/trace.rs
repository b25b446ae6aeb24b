//! What attention reads while a text is made: what is asked for, and what was found.

use crate::record::{SCORES, SELECTED, Tap, Taps, Trace, WEIGHTS};

/// What is to be reported of attention.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceRequest {
    /// Layers of the model; each is reported once, whatever is written here.
    pub layers: Vec<u32>,
    /// Whether also what dense attention would weigh is computed: slow.
    pub dense: bool,
    /// The first position whose selection is wanted. Tokens of the prompt from here on are read even where the cache holds
    /// them; earlier ones are not traced.
    pub from: u32,
}

impl TraceRequest {
    /// What a step has to keep.
    pub(crate) fn taps(&self) -> Taps {
        if self.layers.is_empty() {
            return Taps::None;
        }
        Taps::Trace(Trace { layers: self.layers.iter().copied().collect(), dense: self.dense })
    }
}

/// What attention read for one token in one layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    /// The layer.
    pub layer: u32,
    /// Place of the token in the sequence.
    pub position: u32,
    /// Positions that attention read, ascending: those that the layer's indexer chose, or the indexer of the layer that it
    /// shares a selection with; all visible ones where attention is dense.
    pub indices: Vec<u32>,
    /// The indexer's scores of them; empty where attention is dense.
    pub scores: Vec<f32>,
    /// What dense attention would weigh, averaged over heads: `position + 1` weights, sum 1. None where not asked for.
    pub dense: Option<Vec<f32>>,
}

impl Selection {
    /// The share of dense attention that the positions read hold, 0 to 1; none where dense weights were not asked for.
    pub fn dense_share(&self) -> Option<f32> {
        let dense = self.dense.as_ref()?;
        let held = self.indices.iter().filter_map(|&index| dense.get(index as usize));
        #[expect(clippy::cast_possible_truncation, reason = "a share needs no more")]
        let share = held.map(|&weight| f64::from(weight)).sum::<f64>() as f32;
        Some(share.min(1.0))
    }
}

/// Selections from the taps of a step over one sequence whose `tokens` tokens begin at `first`: layer by layer.
pub(crate) fn selections(
    taps: &[(Tap, Vec<u32>)],
    first: u32,
    tokens: u32,
    request: &TraceRequest,
    layers: u32,
) -> Vec<Selection> {
    let mut found = Vec::new();
    for layer in (0..layers).filter(|layer| request.layers.contains(layer)) {
        // Row `row` of a stage, where it was recorded.
        let stage = |stage: &str| {
            let name = format!("layers.{layer}.{stage}");
            let (tap, words) = taps.iter().find(|(tap, _)| tap.name == name)?;
            Some(words.chunks_exact(tap.columns.width.max(1) as usize).collect::<Vec<_>>())
        };
        let (selected, scores, weights) = (stage(SELECTED), stage(SCORES), stage(WEIGHTS));
        for row in 0..tokens {
            let position = first + row;
            let visible = position as usize + 1;
            let floats = |rows: &Option<Vec<&[u32]>>| -> Option<Vec<f32>> {
                let words = rows.as_ref()?.get(row as usize)?.get(..visible)?;
                Some(words.iter().map(|&bits| f32::from_bits(bits)).collect())
            };
            let list = selected.as_ref().and_then(|rows| rows.get(row as usize));
            let all = floats(&scores).unwrap_or_default();
            let indices: Vec<u32> = match list {
                Some(list) => list.iter().copied().filter(|&index| index <= position).collect(),
                None => (0..=position).collect(),
            };
            let scores = indices.iter().filter_map(|&index| all.get(index as usize).copied()).collect();
            found.push(Selection { layer, position, indices, scores, dense: floats(&weights) });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_the_sum_over_what_was_read() {
        let dense = Some(vec![0.5, 0.25, 0.125, 0.125]);
        let selection = Selection { layer: 0, position: 3, indices: vec![0, 3], scores: vec![1.0, 2.0], dense };
        assert_eq!(selection.dense_share(), Some(0.625));
        assert_eq!(Selection { indices: (0..4).collect(), ..selection.clone() }.dense_share(), Some(1.0));
        assert_eq!(Selection { dense: None, ..selection }.dense_share(), None);
    }
}
