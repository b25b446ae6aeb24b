//! Exact: ties of every kind, signed zeros, extremes, numbers that are none, ids beyond the limit.

use super::Argmax;
use crate::bound::Bound;
use crate::case::{Case, Data, Random, bits, poison};
use crate::kernel::{Extent, Slot};

pub(crate) fn cases() -> Vec<Case> {
    let mut random = Random::new(7);
    let mut cases: Vec<Case> = [(1, 1), (3, 2), (2, 127), (2, 128), (5, 129), (1, 1000), (2, 131_073)]
        .map(|(rows, vocab)| case(format!("random, {rows} × {vocab}"), vocab, vocab, random.floats(rows * vocab)))
        .into();
    for data in Data::ALL {
        cases.push(case(format!("{data:?}"), 300, 300, data.floats(&mut random, 600)));
    }
    // Ids from the limit on hold the largest logits, and a NaN.
    let mut beyond = random.floats(600);
    (beyond[299], beyond[298], beyond[297], beyond[599]) = (f32::NAN, f32::INFINITY, 9.0, 9.0);
    cases.push(case("beyond the limit".into(), 300, 297, beyond));
    let rows: [(&str, &[(usize, f32)]); 9] = [
        ("two equal in one lane", &[(5, 2.0), (133, 2.0)]),
        ("two equal, the lower id in the higher lane", &[(127, 2.0), (128, 2.0)]),
        ("largest finite", &[(250, f32::MAX), (10, f32::MAX)]),
        ("last", &[(299, 3.0)]),
        ("one NaN", &[(17, f32::NAN)]),
        ("a negative NaN", &[(18, -f32::NAN)]),
        ("infinite", &[(200, f32::INFINITY), (201, f32::INFINITY)]),
        ("minus infinity", &[(0, f32::NEG_INFINITY)]),
        ("NaN and infinity", &[(0, f32::NAN), (1, f32::INFINITY)]),
    ];
    for (name, places) in rows {
        let mut logits = random.floats(600);
        for &(at, value) in places {
            logits[at] = value; // in the first of two rows: the flag is that row's alone
        }
        cases.push(case(name.into(), 300, 300, logits));
    }
    let zeros = (0..600).map(|i| if i < 300 || i % 7 == 0 { -0.0 } else { 0.0 }).collect();
    cases.push(case("signed zeros, minus first".into(), 300, 300, zeros));
    let mut zeros = vec![-1.0; 600];
    (zeros[3], zeros[4], zeros[303], zeros[304]) = (-0.0, 0.0, -0.0, 0.0);
    cases.push(case("minus zero before zero".into(), 300, 300, zeros));
    cases.push(case("all NaN".into(), 300, 300, vec![f32::NAN; 600]));
    cases.push(case("all minus infinity".into(), 300, 300, vec![f32::NEG_INFINITY; 600]));
    cases.push(case("all largest negative".into(), 300, 300, vec![f32::MIN; 600]));
    cases.push(case("ascending".into(), 300, 300, (0..600u16).map(f32::from).collect()));
    cases.push(case("descending".into(), 300, 300, (0..600u16).rev().map(f32::from).collect()));
    cases.push(case("two values".into(), 300, 300, (0..600).map(|i| if i % 2 == 0 { 1.0 } else { 2.0 }).collect()));
    cases
}

fn case(name: String, vocab_size: usize, limit: usize, logits: Vec<f32>) -> Case {
    let rows = (logits.len() / vocab_size) as u32;
    Case {
        name,
        kernel: Box::new(Argmax {
            logits: Slot(0),
            chosen: Slot(1),
            vocab_size: vocab_size as u32,
            limit: limit as u32,
        }),
        buffers: vec![bits(&logits), poison(rows as usize * 2 + 4)],
        extent: Extent { tokens: rows, rows, length: 1 },
        bounds: vec![Bound::Bits],
    }
}
