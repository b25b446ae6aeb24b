//! Shapes around panels, pieces and blocks, in four formats; grouped rows; residuals; adversarial inputs; equal bits.

use super::{Linear, Rows, reference};
use crate::bound::{self, Bound, ROUNDING};
use crate::case::{Case, Data, Random, bits, poison};
use crate::format::{Format, Panels, index};
use crate::kernel::{Extent, Slot, floats, floats_mut};

/// The cases of `linear_vec`.
#[must_use]
pub fn vec_cases() -> Vec<Case> {
    shapes(false)
}

/// The cases of `linear_tile`.
#[must_use]
pub fn tile_cases() -> Vec<Case> {
    shapes(true)
}

/// Small cases of either.
#[must_use]
pub fn few(tiled: bool) -> Vec<Case> {
    let panels = |format| Panels { format, groups: 1, rows: 33, columns: 36, row_scales: false };
    [Format::Bf16, Format::Fp8].map(|format| case(panels(format), 2, Data::Random, false, tiled)).into()
}

fn shapes(tiled: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    let tokens: &[u32] = if tiled { &[2, 7, 8, 9, 33] } else { &[1, 3] };
    for format in Format::ALL {
        for (rows, columns) in [(1, 4), (33, 36), (96, 128), (127, 132), (129, 200), (160, 576)] {
            for &tokens in tokens {
                let panels = Panels { format, groups: 1, rows, columns, row_scales: false };
                cases.push(case(panels, tokens, Data::Random, false, tiled));
            }
        }
        let grouped = Panels { format, groups: 3, rows: 48, columns: 144, row_scales: format == Format::Fp8 };
        cases.push(case(grouped, tokens[1], Data::Random, false, tiled));
        let wide = Panels { format, groups: 1, rows: 64, columns: 1536, row_scales: false };
        cases.push(case(wide, tokens[0], Data::Random, true, tiled));
        for data in Data::ALL {
            let panels = Panels { format, groups: 1, rows: 40, columns: 260, row_scales: false };
            cases.push(case(panels, tokens[1], data, data == Data::Random, tiled));
        }
    }
    cases
}

/// Random stored weights of a format: any code that is a number, of moderate size.
#[must_use]
pub fn random_panels(random: &mut Random, panels: &Panels) -> (Vec<u32>, Vec<u32>) {
    let mut words = vec![0u32; index(panels.words())];
    for group in 0..panels.groups {
        for row in 0..panels.rows {
            for column in 0..panels.columns {
                let bytes = random_weight(random, panels.format);
                let first = index(panels.piece_offset(group, row, column))
                    + (column % panels.format.piece() * panels.format.bytes()) as usize;
                for (i, byte) in bytes.into_iter().enumerate().take(panels.format.bytes() as usize) {
                    words[(first + i) / 4] |= u32::from(byte) << ((first + i) % 4 * 8);
                }
            }
        }
    }
    let scales: Vec<f32> = (0..panels.scales().max(1)).map(|_| 0.01 + random.float().abs()).collect();
    (words, bits(&scales))
}

/// The stored bytes, little-endian, of one random weight.
pub fn random_weight(random: &mut Random, format: Format) -> [u8; 4] {
    let value = random.float();
    match format {
        Format::F32 => value.to_le_bytes(),
        Format::Bf16 => ((value.to_bits() >> 16) as u16)
            .to_le_bytes()
            .into_iter()
            .chain([0, 0])
            .collect::<Vec<_>>()
            .try_into()
            .unwrap_or_default(),
        // Exponents 2⁻¹⁴ … 2⁰, a tenth of the codes subnormal.
        Format::F16 => {
            let exponent = if random.below(10) == 0 { 0 } else { 1 + random.below(15) };
            let half = (random.below(2) << 15 | exponent << 10 | random.below(1024)) as u16;
            [half.to_le_bytes()[0], half.to_le_bytes()[1], 0, 0]
        }
        Format::Fp8 => loop {
            let code = random.word().to_le_bytes()[0];
            if code & 0x7f != 0x7f {
                break [code, 0, 0, 0];
            }
        },
    }
}

fn case(panels: Panels, tokens: u32, data: Data, accumulate: bool, tiled: bool) -> Case {
    let mut random = Random::new(u64::from(panels.rows * 1000 + panels.columns * 7 + tokens));
    // Rows wider than needed on both sides, so that wrong strides and offsets are seen.
    let x_width = panels.groups * panels.columns;
    let (x_stride, x_offset) = (x_width + 8, 4);
    let (y_stride, y_offset) = (panels.groups * panels.rows + 5, 3);
    let x = data.floats(&mut random, (tokens * x_stride) as usize);
    let (weight, scales) = random_panels(&mut random, &panels);
    let y = if accumulate {
        bits(&random.floats((tokens * y_stride) as usize))
    } else {
        poison((tokens * y_stride) as usize)
    };
    let linear = Linear {
        x: Slot(0),
        weight: Slot(1),
        scales: Slot(2),
        y: Slot(3),
        tokens: Rows::Tokens,
        capacity: tokens,
        panels,
        x_stride,
        x_offset,
        x_group: panels.columns,
        y_stride,
        y_offset,
        y_group: panels.rows,
        accumulate,
        tiled,
    };
    let mut magnitude = vec![0u32; y.len()];
    if accumulate {
        for (m, y) in floats_mut(&mut magnitude).iter_mut().zip(floats(&y)) {
            *m = y.abs();
        }
    }
    reference::linear(&linear, tokens, &x, &weight, floats(&scales), floats_mut(&mut magnitude), |w, x| (w * x).abs());
    let allowed = floats(&magnitude)
        .iter()
        .map(|&m| bound::sum(panels.columns, f64::from(m)) + ROUNDING * f64::from(m))
        .collect();
    Case {
        name: format!(
            "{:?}, tokens {tokens}, groups {}, rows {}, columns {}, {data:?}",
            panels.format, panels.groups, panels.rows, panels.columns
        ),
        kernel: Box::new(linear),
        buffers: vec![bits(&x), weight, scales, y],
        extent: Extent { tokens, rows: 1, length: 1 },
        bounds: vec![Bound::Floats { allowed, nmse: data.nmse(1e-11) }],
    }
}
