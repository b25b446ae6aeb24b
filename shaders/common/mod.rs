//! What kernels share: WGSL functions, and their twins for references.

/// `workgroup_sum`, `workgroup_max` over 128 lanes by a fixed tree.
pub const REDUCE: &str = include_str!("reduce.wgsl");
/// The layout of `step` and `pages`, and `cache_row`.
pub const STEP: &str = include_str!("step.wgsl");

/// Positions of one page of the cache.
pub const PAGE: u32 = 64;

/// The cache row of a position of a sequence; `pages` is `[sequences, pages_per_sequence]`. The twin of `step.wgsl`'s.
#[must_use]
pub fn cache_row(pages: &[u32], pages_per_sequence: u32, sequence: u32, position: u32) -> u32 {
    pages[(sequence * pages_per_sequence + position / PAGE) as usize] * PAGE + position % PAGE
}

/// One token of a step, or step 0: four words of `step` as references read them.
#[must_use]
pub fn step_entry(step: &[u32], index: u32) -> [u32; 4] {
    let at = index as usize * 4;
    [step[at], step[at + 1], step[at + 2], step[at + 3]]
}
