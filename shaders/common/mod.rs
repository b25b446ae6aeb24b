//! WGSL functions that kernels share.

/// `workgroup_sum`, `workgroup_max` over 128 lanes by a fixed tree.
pub const REDUCE: &str = include_str!("reduce.wgsl");
/// The layout of `step` and `pages`, and `cache_row`.
pub const STEP: &str = include_str!("step.wgsl");
/// `sigmoid` and `silu`, safe for large arguments.
pub const SIGMOID: &str = include_str!("sigmoid.wgsl");

/// 1 / (1 + e⁻ᶻ).
#[must_use]
pub fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}
