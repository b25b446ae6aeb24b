//! Which scale, and which minimum, come nearest to some values.
//!
//! Codes are whole numbers in f32 throughout, and sums go in eight lanes: so loops become vector instructions.

use half::f16;

/// Lanes of a sum.
const LANES: usize = 8;

/// Sums over values and their weights; lane after lane, so that the order is the same on every machine.
fn sums<const N: usize, const SUMS: usize>(
    values: &[f32; N],
    weights: &[f32; N],
    terms: impl Fn(f32, f32) -> [f32; SUMS],
) -> [f32; SUMS] {
    let mut lanes = [[0.0_f32; LANES]; SUMS];
    for (values, weights) in values.as_chunks::<LANES>().0.iter().zip(weights.as_chunks::<LANES>().0) {
        for lane in 0..LANES {
            let terms = terms(values[lane], weights[lane]);
            lanes.iter_mut().zip(terms).for_each(|(lanes, term)| lanes[lane] += term);
        }
    }
    lanes.map(|lanes| lanes.iter().sum())
}

/// The nearest whole number, halves to even, of a number below 2²² in size.
pub(super) fn nearest(value: f32) -> f32 {
    // Beyond 2²³ an f32 has no fraction.
    const MAGIC: f32 = 12_582_912.0;
    (value + MAGIC) - MAGIC
}

/// 1 / value; 0 for 0.
pub(super) fn inverse(value: f32) -> f32 {
    if value == 0.0 { 0.0 } else { 1.0 / value }
}

/// The value farthest from 0.
pub(super) fn extreme(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |most: f32, &value| if value.abs() > most.abs() { value } else { most })
}

/// Weights by which large values count for more: a model's sums depend on them.
pub(super) fn by_square<const N: usize>(values: &[f32; N]) -> [f32; N] {
    values.map(|value| value * value)
}

/// The scale that brings `scale · code` nearest to the values, weighted, for codes from −`most` to `most` − 1. It may be negative:
/// the extreme gets the code at the long end.
pub(super) fn symmetric<const N: usize>(values: &[f32; N], most: f32, weights: &[f32; N]) -> f32 {
    let extreme = extreme(values);
    if extreme == 0.0 {
        return 0.0;
    }
    let (mut best, mut scale) = (0.0, -extreme / most);
    // A little more or less than what brings the extreme to the end.
    for step in -9..=9_i8 {
        let inverse = -(most + 0.1 * f32::from(step)) / extreme;
        let [along, square] = sums(values, weights, |value, weight| {
            let code = nearest(value * inverse).clamp(-most, most - 1.0);
            [weight * value * code, weight * code * code]
        });
        // The error of the best scale for these codes is the square of the values less this.
        let explained = if square > 0.0 { along * along / square } else { 0.0 };
        if explained > best {
            (best, scale) = (explained, along / square);
        }
    }
    scale
}

/// Where values are exactly codes from −`most` to `most` − 1 times a scale that f16 has: that scale. So what was stored in this
/// type before is stored as it was.
pub(super) fn exact<const N: usize>(values: &[f32; N], most: u8) -> Option<f32> {
    let extreme = extreme(values);
    (1..=most).map(|code| -extreme / f32::from(code)).find(|&scale| {
        let is_code = |value: &f32| {
            let code = nearest(value / scale);
            code * scale == *value && code < f32::from(most)
        };
        // A look at the bits that no f16 has spares most conversions.
        let is_half = scale.to_bits() & 0x1fff == 0 && f16::from_f32(scale).to_f32() == scale;
        is_half && scale != 0.0 && values.iter().all(is_code)
    })
}

/// How scales and minima are searched for.
#[derive(Clone, Copy)]
pub(super) struct Affine {
    /// The largest code.
    pub(super) most: f32,
    /// The first candidate's codes reach from 0 to `most` plus this; each further one by a tenth more.
    pub(super) from: f32,
    /// Candidates.
    pub(super) count: u8,
    /// Whether the minimum must not be above 0.
    pub(super) clamped: bool,
}

impl Affine {
    /// Scale and offset that bring `scale · code + offset` nearest to the values, weighted, for codes from 0.
    pub(super) fn search<const N: usize>(self, values: &[f32; N], weights: &[f32; N]) -> (f32, f32) {
        let low = values.iter().copied().fold(f32::INFINITY, f32::min);
        let low = if self.clamped { low.min(0.0) } else { low };
        let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        // An f32 cannot hold the distance of its ends.
        let spread = high / 2.0 - low / 2.0;
        if spread <= 0.0 {
            return (0.0, low);
        }
        let mut best = (spread * 2.0 / self.most, low);
        if !best.0.is_finite() {
            return best;
        }
        let mut least = self.error(values, weights, self.most / (spread * 2.0), low, best);
        let [weight_sum, value_sum] = sums(values, weights, |value, weight| [weight, weight * value]);
        for step in 0..self.count {
            let inverse = (self.most + self.from + 0.1 * f32::from(step)) / (spread * 2.0);
            let [codes, squares, along] = sums(values, weights, |value, weight| {
                let code = nearest((value - low) * inverse).clamp(0.0, self.most);
                [weight * code, weight * code * code, weight * code * value]
            });
            // Least squares over scale and offset.
            let determinant = weight_sum * squares - codes * codes;
            if determinant <= 0.0 {
                continue;
            }
            let mut found = (
                (weight_sum * along - value_sum * codes) / determinant,
                (squares * value_sum - codes * along) / determinant,
            );
            if self.clamped && found.1 > 0.0 {
                found = (along / squares, 0.0);
            }
            let error = self.error(values, weights, inverse, low, found);
            if error < least {
                (least, best) = (error, found);
            }
        }
        best
    }

    /// Weighted squared error of the codes that `(value − low) · inverse` gives, under a scale and an offset.
    fn error<const N: usize>(
        self,
        values: &[f32; N],
        weights: &[f32; N],
        inverse: f32,
        low: f32,
        (scale, offset): (f32, f32),
    ) -> f32 {
        let [error] = sums(values, weights, |value, weight| {
            let code = nearest((value - low) * inverse).clamp(0.0, self.most);
            let off = scale * code + offset - value;
            [weight * off * off]
        });
        error
    }
}
