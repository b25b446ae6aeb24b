//! What configs and files say, exactly; what is wrong with them, word by word.

mod claims;
mod config;
mod containers;
mod packed;
mod sources;
#[cfg(feature = "embedded-stories")]
mod stories;

/// What errors speak of.
const LISTING: super::tensors::Listing<'static> =
    super::tensors::Listing { file: "f", terms: super::safetensors::TERMS };
