//! Shapes around the workgroup's width, real sizes, adversarial rows.

use super::{RmsNorm, Rows};
use crate::bound::{Bound, ROUNDING, TINY};
use crate::case::{Case, Data, Random, bits, poison};
use crate::kernel::{Extent, Slot};

pub(crate) fn cases() -> Vec<Case> {
    let shapes = [(1, 1), (3, 31), (2, 32), (2, 127), (1, 128), (5, 129), (3, 576), (2, 1536), (1, 7168)];
    let shaped = shapes.iter().map(|&(tokens, dim)| case(tokens, dim, Data::Random));
    shaped.chain(Data::ALL.iter().map(|&data| case(3, 200, data))).collect()
}

fn case(tokens: u32, dim: u32, data: Data) -> Case {
    let mut random = Random::new(u64::from(tokens * 10_007 + dim));
    // Strides wider than the rows, so that a wrong stride or offset is seen.
    let (x_stride, x_offset, y_stride, y_offset) = (dim + 7, 4, dim + 3, 2);
    let x = data.floats(&mut random, (tokens * x_stride) as usize);
    let weight = random.floats(dim as usize);
    let kernel = RmsNorm {
        x: Slot(0),
        weight: Slot(1),
        y: Slot(2),
        rows: Rows::Tokens,
        dim,
        x_stride,
        x_offset,
        y_stride,
        y_offset,
        eps: 1e-6,
    };
    let mut case = Case {
        name: format!("tokens {tokens}, dim {dim}, {data:?}"),
        kernel: Box::new(kernel),
        buffers: vec![bits(&x), bits(&weight), poison((tokens * y_stride) as usize)],
        extent: Extent { tokens, rows: 1, length: 1 },
        bounds: vec![],
    };
    // The sum of squares is off by its own bound relatively, of which the root keeps half; then 2 ulp for inverseSqrt,
    // 2.5 ulp for the division and three roundings, all relative to y.
    let relative = (4.0 + f64::from(dim).sqrt()) * ROUNDING + 8.0 * ROUNDING;
    let expected = case.expected();
    // Inputs that are subnormal may be flushed: at most TINY/√eps of y for each unit of weight.
    let flushed = TINY * (1.0 + 1e3);
    let allowed = expected[0].iter().map(|&y| f64::from(f32::from_bits(y)).abs() * relative + flushed).collect();
    case.bounds.push(Bound::Floats { allowed, nmse: data.nmse(1e-12) });
    case
}
