//! The paged cache: per layer and token a latent with its rope key, and an index key. Nothing is per head.
//!
//! Pages of 64 positions; a sequence owns a list of pages, which is all that prefix sharing and eviction need to change.

use lyn_shaders::Slot;

use super::dims::Dims;
use crate::error::Result;
use crate::executor::Executor;

/// Positions of a page.
pub const PAGE: u32 = 64;

/// Cache of all layers.
#[derive(Clone, Debug)]
pub struct Cache {
    /// One for each decoder layer.
    pub layers: Vec<LayerCache>,
    /// Pages that each layer has room for.
    pub pages: u32,
    /// Pages that one sequence can own: the context.
    pub pages_per_sequence: u32,
}

/// Cache of one layer.
#[derive(Clone, Copy, Debug)]
pub struct LayerCache {
    /// `[pages · 64, kv_lora_rank + qk_rope_head_dim]`, f32
    pub latents: Slot,
    /// Index keys in panels of 32, f32: `[pages · 2, index_head_dim / 4, 32, 4]`; none where a layer owns no indexer.
    pub index_keys: Option<Slot>,
}

impl Cache {
    /// Memory for `pages` pages in every layer.
    ///
    /// # Errors
    /// `out_of_memory`, `limit_too_small`, `device_lost`.
    pub async fn allocate(executor: &mut Executor, dims: &Dims, pages: u32, pages_per_sequence: u32) -> Result<Cache> {
        let mut layers = Vec::new();
        for layer in 0..dims.num_hidden_layers {
            layers.push(LayerCache::allocate(executor, dims, pages, layer, dims.owns_indexer(layer)).await?);
        }
        Ok(Cache { layers, pages, pages_per_sequence })
    }
}

impl LayerCache {
    /// Memory for one layer.
    ///
    /// # Errors
    /// As [`Cache::allocate`].
    pub async fn allocate(
        executor: &mut Executor,
        dims: &Dims,
        pages: u32,
        layer: u32,
        owns_indexer: bool,
    ) -> Result<LayerCache> {
        let rows = u64::from(pages) * u64::from(PAGE);
        let latents = executor.allocate(&format!("layer {layer} latent cache"), rows * dims.latent_row_words()).await?;
        let index_keys = match dims.indexer.as_ref().filter(|_| owns_indexer) {
            Some(indexer) => {
                let words = rows * u64::from(indexer.head_dim);
                Some(executor.allocate(&format!("layer {layer} index key cache"), words).await?)
            }
            None => None,
        };
        Ok(LayerCache { latents, index_keys })
    }
}
