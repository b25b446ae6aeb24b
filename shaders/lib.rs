//! lyn's kernels: WGSL text, host interface, reference and conformance cases. Plain data; no device.
//!
//! A kernel is a folder and a line in [`KERNELS`]; executors, tests, `lyn conform` and the self-check all read that list.

#![expect(
    clippy::cast_possible_truncation,
    reason = "references compute in f64 and store f32; sizes were bounded by the recorder"
)]

pub mod bound;
pub mod case;
pub mod common;
pub mod format;
pub mod kernel;

pub mod cache_write;
pub mod index_key_write;
pub mod index_score;
pub mod linear;
pub mod rms_norm;
pub mod rope;
pub mod topk;

pub use format::{Format, Panels};
pub use kernel::{Access, Binding, Extent, Field, Interface, Kernel, Slot, Variant};

/// One line of [`KERNELS`].
pub struct Entry {
    /// Name, text and bindings.
    pub interface: &'static Interface,
    /// What proves it.
    pub cases: fn() -> Vec<case::Case>,
}

/// Every kernel there is.
pub static KERNELS: &[Entry] = &[
    Entry { interface: &rms_norm::INTERFACE, cases: rms_norm::cases::cases },
    Entry { interface: &linear::VEC, cases: linear::cases::vec_cases },
    Entry { interface: &linear::TILE, cases: linear::cases::tile_cases },
    Entry { interface: &rope::INTERFACE, cases: rope::cases::cases },
    Entry { interface: &index_score::INTERFACE, cases: index_score::cases::cases },
    Entry { interface: &topk::INTERFACE, cases: topk::cases::cases },
    Entry { interface: &cache_write::INTERFACE, cases: cache_write::cases::cases },
    Entry { interface: &index_key_write::INTERFACE, cases: index_key_write::cases::cases },
];
