//! How far a result may be from its reference, and why.
//!
//! Every bound is absolute and per element. Sources: WGSL's accuracy table, and the usual analysis of floating-point sums.

use crate::cache_row::CacheRow;
use crate::kernel::floats;

/// What outputs are filled with before a run: a NaN that no kernel writes, so that a word never written is seen.
pub const POISON: u32 = 0x7fc0_dead;
/// Half the distance between 1 and the next f32: 2⁻²⁴.
pub(crate) const ROUNDING: f64 = 5.960_464_477_539_063e-8;
/// The smallest normal f32; results below may be flushed to zero.
pub(crate) const TINY: f64 = 1.175_494_350_822_287_5e-38;

/// Bound of an f32 sum of `count` products: `(8 + 2·√count)·2⁻²⁴·Σ|aᵢbᵢ| + count·2⁻¹²⁶`.
///
/// A worst-case bound grows like `count`; rounding errors of mixed sign grow like its root, and serial f32 sums of up to
/// 18,432 random products were measured to stay below 45 % of this.
#[must_use]
pub fn sum(count: u32, magnitude: f64) -> f64 {
    (8.0 + 2.0 * f64::from(count).sqrt()) * ROUNDING * magnitude + f64::from(count) * TINY
}

/// What a sum over weights and inputs is taken of: the result, or a part of its bound.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Terms {
    /// The products: the result.
    Products,
    /// Their magnitudes, scaled codes and minima apart, as kernels sum them.
    Magnitudes,
    /// What flushing may take: all of a magnitude where the input is subnormal. [`sum`]'s own term covers weights up to 1
    /// only, and a weight of fp8 may be 448.
    Flushed,
}

impl Terms {
    /// A weight, of its scaled code and its minimum.
    pub(crate) const fn weight(self) -> fn(f64, f64) -> f64 {
        match self {
            Terms::Products => |scaled, minimum| scaled + minimum,
            Terms::Magnitudes | Terms::Flushed => |scaled, minimum| scaled.abs() + minimum.abs(),
        }
    }

    /// One term.
    pub(crate) fn of(self, weight: f64, input: f64) -> f64 {
        match self {
            Terms::Products => weight * input,
            Terms::Flushed if input.abs() >= TINY => 0.0,
            Terms::Magnitudes | Terms::Flushed => weight * input.abs(),
        }
    }
}

/// Relative bound of `exp(−z)` for an exact argument: 3 + 2·|z| ulp, an ulp being at most 2⁻²³ of the value.
#[must_use]
pub fn exp(z: f64) -> f64 {
    (3.0 + 2.0 * z.abs()) * 2.0 * ROUNDING
}

/// Relative bound of `sigmoid(z)` as `common/sigmoid.wgsl` computes it: exp's relative error reaches the result by the
/// share sigmoid(−z); then the rounding of 1 + e and 2.5 ulp of the division.
#[must_use]
pub fn sigmoid(z: f64) -> f64 {
    crate::common::sigmoid(-z) * exp(z) + 6.0 * ROUNDING
}

/// Bound of silu(gate)·up where gate and up are themselves off by `gate_error` and `up_error`.
///
/// The derivative of silu is below 1.1; sigmoid's bound and three roundings are relative to the product; a result of exp,
/// sigmoid or silu below the smallest normal, or a subnormal input, may be flushed.
pub(crate) fn silu_product(gate: f64, gate_error: f64, up: f64, up_error: f64) -> f64 {
    let silu = gate * crate::common::sigmoid(gate);
    let relative = sigmoid(gate) + 3.0 * ROUNDING;
    let flushed = TINY * (2.0 + gate.abs()) * (2.0 + up.abs());
    (1.0 + relative) * (1.1 * gate_error * (up.abs() + up_error) + silu.abs() * up_error)
        + relative * (silu * up).abs()
        + flushed
}

/// How one written slot is judged.
#[derive(Clone, Debug)]
pub enum Bound {
    /// Every word equals the reference's.
    Bits,
    /// Each float is within its own bound of the reference; over the tensor `Σ(got−ref)²/Σref²` is at most `nmse`.
    Floats {
        /// Absolute bound of each element.
        allowed: Vec<f64>,
        /// Bound of the normalised mean square error; infinite for data made to cancel.
        nmse: f64,
    },
    /// Rows of the cache: elements, taken out of their packing, judged as in [`Bound::Floats`].
    Rows {
        /// How they are packed.
        row: CacheRow,
        /// Absolute bound of each element, row by row.
        allowed: Vec<f64>,
        /// Bound of the normalised mean square error.
        nmse: f64,
    },
    /// Pairs of words: the first equals the reference's, the second is a float judged as in [`Bound::Floats`].
    Entries {
        /// Absolute bound of each pair's float.
        allowed: Vec<f64>,
        /// Bound of the normalised mean square error.
        nmse: f64,
    },
}

/// The first element out of bounds, or how near the worst one came.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Everything within bounds; the worst error as a share of its bound.
    Pass {
        /// 0 where all is equal, 1 at the bound.
        worst: f64,
    },
    /// Something is wrong.
    Fail {
        /// Index of the first bad element.
        at: usize,
        /// What is wrong with it.
        what: String,
    },
}

impl Bound {
    /// Judges `got` against `reference`. Words that the reference left as they were must be untouched in `got` too.
    #[must_use]
    pub fn judge(&self, got: &[u32], reference: &[u32]) -> Verdict {
        match self {
            Bound::Bits => judge_bits(got, reference, 1),
            Bound::Floats { allowed, nmse } => judge_floats(got, reference, allowed, *nmse),
            Bound::Rows { row, allowed, nmse } => judge_rows(got, reference, row, allowed, *nmse),
            Bound::Entries { allowed, nmse } => match judge_bits(got, reference, 2) {
                Verdict::Pass { .. } => judge_floats(&second_words(got), &second_words(reference), allowed, *nmse),
                fail => fail,
            },
        }
    }
}

/// Every word at a multiple of `step` must be equal.
fn judge_bits(got: &[u32], reference: &[u32], step: usize) -> Verdict {
    match (0..got.len()).step_by(step).find(|&at| got[at] != reference[at]) {
        None => Verdict::Pass { worst: 0.0 },
        Some(at) => {
            Verdict::Fail { at, what: format!("got {:#010x}, expected {:#010x}, bit for bit", got[at], reference[at]) }
        }
    }
}

/// Rows that the reference wrote by their elements; of others every word, since poison is no number.
fn judge_rows(got: &[u32], reference: &[u32], row: &CacheRow, allowed: &[f64], nmse: f64) -> Verdict {
    let width = row.width() as usize;
    let (mut elements, mut expected, mut within) = (vec![], vec![], vec![]);
    for (place, allowed) in (0..).zip(allowed.chunks(width)) {
        let words = || (0..row.words()).map(|word| row.place(place, word));
        if words().all(|at| reference[at] == POISON) {
            if let Some(at) = words().find(|&at| got[at] != POISON) {
                return Verdict::Fail { at, what: format!("row {place}, which has no token, was written") };
            }
            continue;
        }
        elements.extend(row.read(got, place).into_iter().map(f32::to_bits));
        expected.extend(row.read(reference, place).into_iter().map(f32::to_bits));
        within.extend_from_slice(allowed);
    }
    judge_floats(&elements, &expected, &within, nmse)
}

fn second_words(words: &[u32]) -> Vec<u32> {
    words.iter().skip(1).step_by(2).copied().collect()
}

fn judge_floats(got: &[u32], reference: &[u32], allowed: &[f64], nmse: f64) -> Verdict {
    let (mut worst, mut errors, mut squares) = (0f64, 0f64, 0f64);
    for (at, (value, expected)) in floats(got).iter().zip(floats(reference)).enumerate() {
        if got[at] == reference[at] {
            squares += if expected.is_finite() { f64::from(*expected).powi(2) } else { 0.0 };
            continue;
        }
        let error = (f64::from(*value) - f64::from(*expected)).abs();
        let bound = allowed[at];
        if error.is_nan() || error > bound {
            return Verdict::Fail {
                at,
                what: format!("got {value:e}, expected {expected:e}, bound {bound:e}, error {error:e}"),
            };
        }
        worst = worst.max(if bound > 0.0 { error / bound } else { 0.0 });
        errors += error * error;
        squares += f64::from(*expected).powi(2);
    }
    if errors > nmse * squares && errors > 0.0 {
        return Verdict::Fail {
            at: 0,
            what: format!("normalised mean square error {:e}, bound {nmse:e}", errors / squares),
        };
    }
    Verdict::Pass { worst }
}

/// Bounds of a rotated pair ([`crate::common::rotate`]) whose inputs are off by `errors`: the inputs' errors turn along, the products and their sum
/// round once each, the reference is rounded to f32, and every input, product and result may be flushed to zero.
#[must_use]
pub fn rotate(a: f64, b: f64, errors: (f64, f64), turn: [f32; 2]) -> (f64, f64) {
    let (cos, sin) = (f64::from(turn[0]).abs(), f64::from(turn[1]).abs());
    let part = |a: f64, b: f64, error_a: f64, error_b: f64| {
        let rounded = 3.0 * ROUNDING * (a.abs() * cos + b.abs() * sin);
        rounded + (error_a + TINY) * cos + (error_b + TINY) * sin + 3.0 * TINY
    };
    (part(a, b, errors.0, errors.1), part(b, a, errors.1, errors.0))
}
