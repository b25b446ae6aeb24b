//! The paged cache: per layer and token a latent with its rope key, and an index key. Nothing is per head.
//!
//! Pages of 64 positions; a sequence owns a list of pages, which is all that prefix sharing and eviction need to change. What
//! copies, counts or names rows reads their description, [`CacheRow`], and knows no kind of them.

use lyn_shaders::cache_row::CacheRow;
pub use lyn_shaders::common::paging::PAGE;
use lyn_shaders::{Slot, cache_write, index_key_write};

use super::dims::Dims;
use crate::error::Result;
use crate::executor::Executor;

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
    /// Memory for `pages` pages in every layer.
    ///
    /// # Errors
    /// `out_of_memory`, `limit_too_small`, `device_lost`.
    pub async fn allocate(executor: &mut Executor, dims: &Dims, pages: u32, pages_per_sequence: u32) -> Result<Cache> {
        let mut layers = Vec::new();
        for layer in 0..dims.num_hidden_layers {
            layers.push(LayerCache::allocate(executor, dims, pages, layer).await?);
        }
        Ok(Cache { layers, pages, pages_per_sequence })
    }

    /// Every tensor, layer by layer.
    pub fn tensors(&self) -> impl Iterator<Item = CacheTensor> + '_ {
        self.layers.iter().flat_map(LayerCache::tensors)
    }
}

impl LayerCache {
    /// Every tensor of the layer.
    pub fn tensors(&self) -> impl Iterator<Item = CacheTensor> + use<> {
        std::iter::once(self.latents).chain(self.index_keys)
    }

    /// Memory for one layer.
    ///
    /// # Errors
    /// As [`Cache::allocate`].
    pub async fn allocate(executor: &mut Executor, dims: &Dims, pages: u32, layer: u32) -> Result<LayerCache> {
        let (latents, index_keys) = rows(dims, layer);
        let positions = u64::from(pages) * u64::from(PAGE);
        let slot = executor.allocate(&format!("layer {layer} latent cache"), positions * latents.words()).await?;
        let latents = CacheTensor { slot, row: latents };
        let index_keys = match index_keys {
            Some(row) => {
                let name = format!("layer {layer} index key cache");
                Some(CacheTensor { slot: executor.allocate(&name, positions * row.words()).await?, row })
            }
            None => None,
        };
        Ok(LayerCache { latents, index_keys })
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

/// What a layer keeps of a position: the latent with its rope key, and an index key where it owns an indexer.
fn rows(dims: &Dims, layer: u32) -> (CacheRow, Option<CacheRow>) {
    let indexer = dims.indexer.as_ref().filter(|_| dims.owns_indexer(layer));
    (
        cache_write::row(dims.kv_lora_rank, dims.rope_pairs),
        indexer.map(|indexer| index_key_write::row(indexer.head_dim)),
    )
}

/// Bytes of cache for one position, all layers.
#[must_use]
pub fn bytes_per_position(dims: &Dims) -> u64 {
    let words =
        |(latents, index_keys): (CacheRow, Option<CacheRow>)| latents.words() + index_keys.map_or(0, |row| row.words());
    (0..dims.num_hidden_layers).map(|layer| 4 * words(rows(dims, layer))).sum()
}
