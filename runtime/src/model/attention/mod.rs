//! Kinds of attention: a variant and a file each. A kind owns its weights, its rows of the cache and its prose.
//!
//! In: a normed hidden state. Out: what attention adds to the residual stream. What layers hand on to one another within a
//! step is `Shared`.

mod indexer;
mod latent;
mod tensors;

use super::cache::{CacheRoom, CacheTensor};
use super::dims::Dims;
use super::recorder::StepRecorder;
use crate::error::Result;
use crate::layout::Layout;
use crate::record::Columns;
use indexer::Selected;
use tensors::Latent;

/// A layer's attention.
#[derive(Clone, Debug)]
pub enum LayerAttention {
    /// Multi-head latent attention, sparse where the model has an indexer.
    Latent(Box<Latent>),
}

/// What the attention of one layer leaves for those behind it.
#[derive(Default)]
pub(super) struct Shared {
    /// The choice of the nearest layer with an indexer.
    selected: Option<Selected>,
}

impl LayerAttention {
    /// Memory for a layer's weights, and for its rows of the cache.
    ///
    /// # Errors
    /// `bad_checkpoint` for tensors that cannot lie side by side.
    pub(super) fn lay_out(
        layout: &mut Layout<'_>,
        dims: &Dims,
        layer: u32,
        cache: CacheRoom,
    ) -> Result<LayerAttention> {
        Latent::lay_out(layout, dims, layer, cache).map(|latent| LayerAttention::Latent(Box::new(latent)))
    }

    /// What the layer keeps of each position, in the order in which pages are copied.
    pub(crate) fn cache(&self) -> impl Iterator<Item = CacheTensor> + use<> {
        match self {
            LayerAttention::Latent(w) => {
                std::iter::once(w.latents).chain(w.indexer.as_ref().map(|indexer| indexer.keys))
            }
        }
    }

    /// x += attention(normed). Writes the cache rows of this step's tokens first, then reads.
    pub(super) fn record(&self, r: &mut StepRecorder<'_>, normed: Columns, x: Columns, shared: &mut Shared) {
        match self {
            LayerAttention::Latent(w) => latent::attention(r, w, normed, x, &mut shared.selected),
        }
    }
}
