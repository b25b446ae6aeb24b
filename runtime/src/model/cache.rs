//! The paged cache: per layer and token a latent with its rope key, and an index key. Nothing is per head.
//!
//! Pages of 64 positions; a sequence owns a list of pages, which is all that prefix sharing and eviction need to change. What
//! copies, counts or names rows reads their description, [`CacheRow`], and knows no kind of them.

use lyn_shaders::cache_row::CacheRow;
pub use lyn_shaders::common::paging::PAGE;
use lyn_shaders::{Slot, cache_write, index_key_write};

use super::dims::Dims;
use crate::layout::Layout;

/// Cache of all layers.
#[derive(Clone, Debug)]
pub struct Cache {
    /// One for each decoder layer.
    pub layers: Vec<LayerCache>,
    /// One for each module of multi-token prediction that is loaded.
    pub prediction: Vec<LayerCache>,
    /// Pages that each layer has room for.
    pub pages: u32,
    /// Pages that one sequence can own: the context.
    pub pages_per_sequence: u32,
}

/// Cache of one layer.
#[derive(Clone, Copy, Debug)]
pub struct LayerCache {
    /// `[pages · 64, kv_lora_rank + qk_rope_head_dim]`
    pub latents: CacheTensor,
    /// `[pages · 64, index_head_dim]`, in panels; none where a layer owns no indexer.
    pub index_keys: Option<CacheTensor>,
}

/// One tensor of the cache: a row for each position of each page.
#[derive(Clone, Copy, Debug)]
pub struct CacheTensor {
    /// Its memory.
    pub slot: Slot,
    /// Its rows.
    pub row: CacheRow,
}

impl Cache {
    /// Memory for `pages` pages in every layer, and in those of `modules` of multi-token prediction.
    pub(crate) fn lay_out(
        layout: &mut Layout<'_>,
        dims: &Dims,
        modules: u32,
        pages: u32,
        pages_per_sequence: u32,
    ) -> Cache {
        let count = dims.num_hidden_layers;
        let mut layers: Vec<_> = (0..count + modules).map(|i| LayerCache::lay_out(layout, dims, i, pages)).collect();
        let prediction = layers.split_off(count as usize);
        Cache { layers, prediction, pages, pages_per_sequence }
    }

    /// Every tensor of the main model, layer by layer.
    pub fn tensors(&self) -> impl Iterator<Item = CacheTensor> + '_ {
        self.layers.iter().flat_map(LayerCache::tensors)
    }
}

impl LayerCache {
    /// Every tensor of the layer.
    pub fn tensors(&self) -> impl Iterator<Item = CacheTensor> + use<> {
        std::iter::once(self.latents).chain(self.index_keys)
    }

    fn lay_out(layout: &mut Layout<'_>, dims: &Dims, layer: u32, pages: u32) -> LayerCache {
        let positions = u64::from(pages) * u64::from(PAGE);
        let mut tensor = |name: &str, row: CacheRow| {
            let slot = layout.zeros(&format!("layer {layer} {name}"), positions * row.words());
            CacheTensor { slot, row }
        };
        let latents = cache_write::row(dims.kv_lora_rank, dims.rope_pairs);
        let indexer = dims.indexer.as_ref().filter(|_| dims.owns_indexer(layer));
        LayerCache {
            latents: tensor("latent cache", latents),
            index_keys: indexer.map(|it| tensor("index key cache", index_key_write::row(it.head_dim))),
        }
    }
}

impl CacheTensor {
    /// First word of a page, and how many it has.
    #[must_use]
    pub fn page(&self, page: u32) -> (u64, u64) {
        let words = u64::from(PAGE) * self.row.words();
        (u64::from(page) * words, words)
    }
}
