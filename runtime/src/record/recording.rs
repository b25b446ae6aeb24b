//! The recorder that `model/` speaks to, and the list of passes that it makes.

use std::fmt;

use lyn_shaders::{Extent, Kernel, Slot};

use super::columns::Columns;
use super::pass::{Pass, SCRATCH, scratch_index};
use super::scratch;
use super::taps::{Tap, Taps};

/// The passes of a step, for a number of tokens and rows at most.
#[derive(Debug, Default)]
pub struct Recording {
    /// In order of execution.
    pub passes: Vec<Pass>,
    /// What is read, in order of [`Tap::after`].
    pub taps: Vec<Tap>,
    /// Words of each shared scratch slot that the recording needs: scratch `i` is slot `SCRATCH + i` of its passes.
    pub scratch_words: Vec<u64>,
}

impl Recording {
    /// Words of the shared scratch slots that several recordings need, one after another.
    pub(crate) fn scratch_of(recordings: impl IntoIterator<Item = Recording>) -> u64 {
        let mut most: Vec<u64> = vec![];
        for recording in recordings {
            most.resize(most.len().max(recording.scratch_words.len()), 0);
            most.iter_mut().zip(recording.scratch_words).for_each(|(most, words)| *most = (*most).max(words));
        }
        most.into_iter().sum()
    }

    /// Dispatches of a step of this extent, by layer: `(layers' largest, all)`.
    pub fn dispatches(&self, extent: &Extent) -> (usize, usize) {
        let runs = |pass: &&Pass| !pass.kernel.workgroups(extent).contains(&0);
        let layers = self.passes.iter().filter_map(|pass| pass.layer).max().map_or(0, |last| last + 1);
        let of_layer = |layer| self.passes.iter().filter(|pass| pass.layer == Some(layer)).filter(runs).count();
        ((0..layers).map(of_layer).max().unwrap_or(0), self.passes.iter().filter(runs).count())
    }
}

impl fmt::Display for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, pass) in self.passes.iter().enumerate() {
            let layer = pass.layer.map_or_else(|| "-".to_owned(), |layer| layer.to_string());
            writeln!(f, "{i:4} {layer:>3} {:16} {:?}", pass.kernel.interface().name, pass.kernel)?;
        }
        Ok(())
    }
}

/// Collects the passes of a step.
#[derive(Debug)]
pub(crate) struct Recorder {
    wanted: Taps,
    passes: Vec<Pass>,
    taps: Vec<Tap>,
    scratch_words: Vec<u64>,
    layer: Option<u32>,
}

impl Recorder {
    /// A recorder that keeps these taps.
    pub(crate) fn new(wanted: Taps) -> Recorder {
        Recorder { wanted, passes: vec![], taps: vec![], scratch_words: vec![], layer: None }
    }

    /// A scratch tensor of this recording. It lives from its first to its last pass or tap.
    pub(crate) fn scratch(&mut self, words: u64) -> Slot {
        self.scratch_words.push(words);
        Slot(
            SCRATCH + u32::try_from(self.scratch_words.len() - 1).expect("a recording has far fewer than 2^24 tensors"),
        )
    }

    pub(crate) fn push(&mut self, kernel: impl Kernel + 'static) {
        let slots = kernel.slots();
        self.passes.push(Pass { kernel: Box::new(kernel), slots, layer: self.layer });
    }

    /// Passes from here on belong to this layer.
    pub(crate) fn enter_layer(&mut self, layer: Option<u32>) {
        self.layer = layer;
    }

    /// Whether the weights of dense attention are wanted in this layer.
    pub(crate) fn weighs(&self) -> bool {
        self.wanted.weigh(self.layer)
    }

    /// Names columns as they are after the passes so far; forgotten where nobody wants them.
    pub(crate) fn tap(&mut self, name: &str, columns: Columns) {
        if !self.wanted.keep(self.layer, name) {
            return;
        }
        let name = match self.layer {
            Some(layer) => format!("layers.{layer}.{name}"),
            None => name.to_owned(),
        };
        self.taps.push(Tap { name, after: self.passes.len(), columns });
    }

    /// The recording, its scratch tensors laid onto as few slots as their lifetimes allow. A tapped tensor stays what it
    /// was until its tap has been read.
    pub(crate) fn finish(mut self) -> Recording {
        let (places, scratch_words) = scratch::lay_out(&self.passes, &self.taps, &self.scratch_words);
        let place = |slot: &mut Slot| {
            if let Some(i) = scratch_index(*slot) {
                *slot = Slot(SCRATCH + places[i]);
            }
        };
        self.passes.iter_mut().flat_map(|pass| &mut pass.slots).for_each(place);
        self.taps.iter_mut().map(|tap| &mut tap.columns.slot).for_each(place);
        Recording { passes: self.passes, taps: self.taps, scratch_words }
    }
}
