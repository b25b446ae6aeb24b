//! Widths around the workgroup, adversarial data, gates from where exp underflows to where it would overflow.

use super::SwiGlu;
use crate::bound::{Bound, TINY, silu_product};
use crate::case::{Case, Data, Random, bits, poison};
use crate::kernel::{Extent, Slot};

pub(crate) fn cases() -> Vec<Case> {
    let shapes = [(1, 1), (3, 31), (2, 127), (1, 128), (5, 129), (33, 96), (2, 1536), (1, 18_432)];
    let mut cases: Vec<Case> = shapes
        .iter()
        .map(|&(tokens, width)| {
            let mut random = Random::new(u64::from(tokens * 10_007 + width));
            let gate_up = random.floats((2 * tokens * width) as usize).iter().map(|v| v * 8.0).collect();
            case(format!("tokens {tokens}, width {width}"), width, Data::Random, gate_up)
        })
        .collect();
    for data in Data::ALL {
        let gate_up = data.floats(&mut Random::new(7), 3 * 2 * 200);
        cases.push(case(format!("width 200, {data:?}"), 200, data, gate_up));
    }
    let ends = [0.0, -0.0, 1e-30, 17.0, -17.0, 80.0, -80.0, 87.0, -87.0, 104.0, -104.0, 1e4, -1e4, f32::MAX, f32::MIN];
    let ups = ends.map(|gate| if gate.abs() > 1e30 { 0.5 } else { -3.0 });
    // Several rows of a token, gate and up in slots of their own.
    let mut apart = case("two rows for each of 3 tokens".into(), 96, Data::Random, Random::new(9).floats(6 * 2 * 96));
    apart.kernel = Box::new(SwiGlu {
        gate: Slot(0),
        up: Slot(2),
        y: Slot(1),
        rows: 2,
        width: 96,
        stride: 2 * 96 + 9,
        up_offset: 96 + 4,
    });
    apart.buffers.push(apart.buffers[0].clone());
    apart.extent.tokens = 3;
    cases.push(apart);
    cases.push(case("extreme gates".into(), 15, Data::Wide, [ends, ups].concat()));
    cases
}

fn case(name: String, width: u32, data: Data, gate_up: Vec<f32>) -> Case {
    let rows: Vec<&[f32]> = gate_up.chunks_exact(2 * width as usize).collect();
    let mut allowed = Vec::new();
    for row in &rows {
        let (gate, up) = row.split_at(width as usize);
        for (&gate, &up) in gate.iter().zip(up) {
            allowed.push(silu_product(f64::from(gate), 0.0, f64::from(up), 0.0));
        }
    }
    // Rows with gaps, so that a wrong stride or offset is seen.
    let (stride, up_offset) = (2 * width + 9, width + 4);
    let mut spread = Vec::new();
    for row in &rows {
        let (gate, up) = row.split_at(width as usize);
        spread.extend([bits(gate), poison(4), bits(up), poison(5)].concat());
    }
    // A row more than the step has: it must stay as it is.
    let tokens = rows.len();
    allowed.resize((tokens + 1) * width as usize, TINY);
    Case {
        name,
        kernel: Box::new(SwiGlu { gate: Slot(0), up: Slot(0), y: Slot(1), rows: 1, width, stride, up_offset }),
        buffers: vec![spread, poison((tokens + 1) * width as usize)],
        extent: Extent { tokens: tokens as u32, rows: 1, length: 1 },
        bounds: vec![Bound::Floats { allowed, nmse: data.nmse(1e-10) }],
    }
}
