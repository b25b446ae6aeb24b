//! The embedded checkpoint: works without a download, and is a checkpoint like any other.

use std::sync::Arc;

use crate::checkpoint::{MemorySource, Source};

macro_rules! file {
    ($source:expr, $name:literal) => {
        $source
            .with($name, include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../models/stories/", $name)).as_slice())
    };
}

/// The `stories` model: 4.45 M parameters with exactly the architecture of DeepSeek-V3.2.
pub fn stories() -> Arc<dyn Source> {
    let mut source = MemorySource::new();
    source = file!(source, "config.json");
    source = file!(source, "generation_config.json");
    source = file!(source, "model.safetensors");
    source = file!(source, "tokenizer.json");
    source = file!(source, "tokenizer_config.json");
    Arc::new(source)
}
