//! lyn's kernels: WGSL text, host interface, reference and conformance cases. Plain data; no device.

pub mod kernel;

pub use kernel::{Access, Binding, Extent, Field, Interface, Kernel, Slot, Variant};
