//! Shapes around panels, pieces and blocks, in every encoding; grouped rows; residuals; adversarial inputs; equal bits.

use super::{Linear, Rows, reference};
use crate::bound::{self, Bound, ROUNDING, Terms};
use crate::case::{Case, Data, Random, bits, poison};
use crate::encodings::data::{bound_scales, random_panels};
use crate::encodings::{Panels, STORED, encodings};
use crate::kernel::{Extent, Slot, floats, floats_mut};

/// Small cases of either.
pub(crate) fn few(tiled: bool) -> Vec<Case> {
    let panels = |&encoding| Panels { encoding, groups: 1, rows: 33, columns: 36, row_scales: false };
    STORED.iter().map(panels).map(|panels| case(panels, 2, Data::Random, false, tiled)).collect()
}

/// The cases of `linear_tile` or `linear_vec`.
pub(crate) fn cases(tiled: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    let tokens: &[u32] = if tiled { &[2, 7, 8, 9, 33] } else { &[1, 3] };
    for encoding in encodings() {
        // Groups of one row cannot be cut by the edges of a matrix: fewer shapes.
        let is_cut = encoding.group.rows > 1;
        let few = if is_cut { tokens } else { &tokens[tokens.len() - 2..] };
        let shapes = [(33, 36), (129, 200), (1, 4), (96, 128), (127, 132), (160, 576)];
        for &(rows, columns) in if is_cut { &shapes[..] } else { &shapes[..2] } {
            for &tokens in few {
                let panels = Panels { encoding, groups: 1, rows, columns, row_scales: false };
                cases.push(case(panels, tokens, Data::Random, false, tiled));
            }
        }
        let grouped = Panels { encoding, groups: 3, rows: 48, columns: 144, row_scales: true };
        cases.push(case(grouped, tokens[1], Data::Random, false, tiled));
        let wide = Panels { encoding, groups: 1, rows: 64, columns: 1536, row_scales: false };
        cases.push(case(wide, tokens[0], Data::Random, true, tiled));
        for data in Data::ALL.into_iter().filter(|_| is_cut) {
            let panels = Panels { encoding, groups: 1, rows: 40, columns: 260, row_scales: false };
            cases.push(case(panels, tokens[1], data, data == Data::Random, tiled));
        }
    }
    cases
}

fn case(mut panels: Panels, tokens: u32, data: Data, accumulate: bool, tiled: bool) -> Case {
    panels.columns = panels.columns.next_multiple_of(panels.encoding.column_step());
    let mut random = Random::new(u64::from(panels.rows * 1000 + panels.columns * 7 + tokens));
    // Rows wider than needed on both sides, so that wrong strides and offsets are seen.
    let x_width = panels.groups * panels.columns;
    let (x_stride, x_offset) = (x_width + 8, 4);
    let (y_stride, y_offset) = (panels.groups * panels.rows + 5, 3);
    let x = data.floats(&mut random, (tokens * x_stride) as usize);
    let (weight, scales) = random_panels(&mut random, &panels);
    let scales = bound_scales(scales);
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
    reference::linear(&linear, tokens, &x, &weight, &scales, floats_mut(&mut magnitude), Terms::Magnitudes);
    let allowed = floats(&magnitude)
        .iter()
        .map(|&m| bound::sum(panels.columns, f64::from(m)) + ROUNDING * f64::from(m))
        .collect();
    Case {
        name: format!(
            "{:?}, tokens {tokens}, groups {}, rows {}, columns {}, {data:?}",
            panels.encoding, panels.groups, panels.rows, panels.columns
        ),
        kernel: Box::new(linear),
        buffers: vec![bits(&x), weight, scales, y],
        extent: Extent { tokens, rows: 1, length: 1 },
        bounds: vec![Bound::Floats { allowed, nmse: data.nmse(1e-11) }],
    }
}
