//! What kernels share: WGSL functions, and their twins for references and cases.

pub mod paging;

/// `workgroup_sum`, `workgroup_max` over 128 lanes by a fixed tree.
pub(crate) const REDUCE: &str = include_str!("reduce.wgsl");
/// `contract`: the canonical sum of 4 rows of a matrix in panels, for one input row.
pub(crate) const CONTRACT_VEC: &str = concat!(include_str!("contract_vec.wgsl"), include_str!("scales4.wgsl"));
/// `contract`: the same for 8 input rows, with the same bits.
pub(crate) const CONTRACT_TILE: &str =
    concat!(include_str!("contract_tile.wgsl"), include_str!("scales4.wgsl"), include_str!("mac4.wgsl"));
/// `mac4`: one step of the canonical sum, for four sums at once.
pub(crate) const MAC4: &str = include_str!("mac4.wgsl");
/// `sort_key`: floats as words that ascend as they do.
pub(crate) const SORT_KEY: &str = include_str!("sort_key.wgsl");
/// The layout of `step`, and `cache_row`.
pub(crate) const STEP: &str = include_str!("step.wgsl");
/// `rotate`, `first_of_pair`, `second_of_pair`: rotary position embedding of one pair.
pub(crate) const ROTATE: &str = include_str!("rotate.wgsl");

pub use paging::{PAGE, PageTable, position, sequence};

/// Places of pair `pair` among `2 * pairs` rotated dims: neighbours if interleaved, else one in each half.
pub(crate) const fn pair_places(pair: u32, pairs: u32, interleaved: bool) -> (usize, usize) {
    if interleaved { (2 * pair as usize, 2 * pair as usize + 1) } else { (pair as usize, (pair + pairs) as usize) }
}

/// (a cos − b sin, b cos + a sin) for a table entry `[cos, sin]`.
#[must_use]
pub fn rotate(a: f64, b: f64, turn: [f32; 2]) -> (f64, f64) {
    let (cos, sin) = (f64::from(turn[0]), f64::from(turn[1]));
    (a * cos - b * sin, b * cos + a * sin)
}

/// Entry of `pair` in a table `[positions, pairs]` of (cos, sin).
#[must_use]
pub fn turn(table: &[f32], pairs: u32, position: u32, pair: u32) -> [f32; 2] {
    let at = 2 * (position as usize * pairs as usize + pair as usize);
    [table[at], table[at + 1]]
}

/// One token of a step, or step 0: four words of `step` as references read them.
pub(crate) fn step_entry(step: &[u32], index: u32) -> [u32; 4] {
    let at = index as usize * 4;
    [step[at], step[at + 1], step[at + 2], step[at + 3]]
}

/// `sigmoid` and `silu`, safe for large arguments.
pub(crate) const SIGMOID: &str = include_str!("sigmoid.wgsl");

/// 1 / (1 + e⁻ᶻ).
#[must_use]
pub fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}
