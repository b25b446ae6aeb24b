//! WGSL functions that kernels share.

/// `workgroup_sum`, `workgroup_max` over 128 lanes by a fixed tree.
pub const REDUCE: &str = include_str!("reduce.wgsl");
/// The layout of `step` and `pages`, and `cache_row`.
pub const STEP: &str = include_str!("step.wgsl");
