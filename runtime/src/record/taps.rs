//! Named tensors of a step that can be looked at, and which of them are wanted.

use lyn_shaders::Extent;

use super::columns::Columns;

/// A named tensor that can be read after a pass: model stages for the goldens, selections for a trace.
#[derive(Clone, Debug)]
pub struct Tap {
    /// `layers.3.attn_out`
    pub name: String,
    /// Passes that have run when it can be read.
    pub after: usize,
    /// Where it lies then.
    pub columns: Columns,
}

impl Tap {
    /// Rows that a step of this extent fills.
    pub(crate) const fn rows(&self, extent: &Extent) -> u32 {
        self.columns.rows.of(extent)
    }

    /// The tapped columns of whole rows.
    pub(crate) fn select(&self, words: &[u32]) -> Vec<u32> {
        let Columns { stride, first, width, .. } = self.columns;
        let (first, width) = (first as usize, width as usize);
        words.chunks_exact(stride as usize).flat_map(|row| &row[first..first + width]).copied().collect()
    }
}

/// Which named tensors a recording keeps to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Taps {
    /// None: everyday steps.
    #[default]
    None,
    /// Every stage of the model: for goldens.
    All,
    /// What attention reads in some layers.
    Trace(Trace),
}

/// What a trace wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Trace {
    /// The layers.
    pub layers: Layers,
    /// Whether also what dense attention would weigh is computed.
    pub dense: bool,
}

/// Positions that attention reads: `[tokens, index_topk]`.
pub(crate) const SELECTED: &str = "idx_topk";
/// The indexer's scores of visible positions: `[tokens, length]`.
pub(crate) const SCORES: &str = "idx_score";
/// What dense attention would weigh: `[tokens, length]`.
pub const WEIGHTS: &str = "attention_weights";

impl Taps {
    /// Whether a stage of a layer is kept.
    pub(crate) fn keep(&self, layer: Option<u32>, stage: &str) -> bool {
        match self {
            Taps::None => false,
            Taps::All => true,
            Taps::Trace(trace) => {
                layer.is_some_and(|layer| trace.layers.contains(layer)) && [SELECTED, SCORES, WEIGHTS].contains(&stage)
            }
        }
    }

    /// Whether the weights of dense attention are computed in a layer; no model needs them.
    pub(crate) fn weigh(&self, layer: Option<u32>) -> bool {
        matches!(self, Taps::Trace(trace) if trace.dense) && self.keep(layer, WEIGHTS)
    }

    /// Tensors that are as long as the context for each token, at most.
    pub(crate) fn long_rows(&self) -> u32 {
        match self {
            Taps::None => 0,
            Taps::All => 1, // goldens are short
            Taps::Trace(trace) => trace.layers.count().max(1) * (1 + u32::from(trace.dense)),
        }
    }
}

/// A set of layers: a bit for each that a config may have, so that shapes stay small keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Layers([u64; 16]);

impl Layers {
    /// Whether a layer is in it.
    pub fn contains(&self, layer: u32) -> bool {
        self.0.get(layer as usize / 64).is_some_and(|word| word >> (layer % 64) & 1 == 1)
    }

    /// How many there are.
    pub fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }
}

impl FromIterator<u32> for Layers {
    /// Layers from 1024 on, which no config has, are left out.
    fn from_iter<I: IntoIterator<Item = u32>>(layers: I) -> Layers {
        let mut set = Layers::default();
        for layer in layers {
            if let Some(word) = set.0.get_mut(layer as usize / 64) {
                *word |= 1 << (layer % 64);
            }
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_keeps_its_layers_and_stages_only() {
        let layers: Layers = [0, 63, 64, 1023, 1024, 9999].into_iter().collect();
        assert_eq!(layers.count(), 4);
        let kept: Vec<u32> = (0..2000).filter(|&layer| layers.contains(layer)).collect();
        assert_eq!(kept, [0, 63, 64, 1023]);
        let taps = Taps::Trace(Trace { layers, dense: false });
        assert!(taps.keep(Some(63), SELECTED) && !taps.keep(Some(62), SELECTED));
        assert!(!taps.keep(Some(63), "q") && !taps.keep(None, "logits") && !taps.weigh(Some(63)));
        assert!(Taps::Trace(Trace { layers, dense: true }).weigh(Some(64)));
        assert!(Taps::All.keep(None, "logits") && !Taps::All.weigh(Some(0)) && !Taps::None.keep(Some(0), SELECTED));
    }
}
