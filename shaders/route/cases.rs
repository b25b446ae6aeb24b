//! Real routers, exact ties, biases that outweigh scores, lone experts and groups.

use super::{Route, reference};
use crate::bound::{self, Bound, ROUNDING, TINY};
use crate::case::{Case, Data, Random, bits, poison};
use crate::kernel::{Extent, Slot};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let v3 = [
        (1, 1, 1, 1),
        (2, 1, 2, 1),
        (16, 4, 4, 2),
        (64, 6, 1, 1),
        (127, 3, 1, 1),
        (129, 3, 3, 2),
        (256, 8, 8, 4),
        (384, 8, 1, 1),
        (512, 10, 16, 5),
    ];
    for (sizes, tokens) in v3.into_iter().zip([3, 2, 33, 3, 2, 7, 5, 2, 2]) {
        cases.push(random_case("sigmoid", deepseek_v3(sizes), tokens, 1.0));
    }
    for sizes in [(64, 6, 1, 1), (160, 6, 8, 3), (20, 4, 5, 2)] {
        cases.push(random_case("softmax", deepseek_v2(sizes), 5, 1.0));
    }
    let plain = Route { has_bias: false, shared: false, ..deepseek_v3((64, 4, 1, 1)) };
    cases.push(random_case("no bias, no shared expert", plain, 3, 1.0));
    // All biased scores are negative: a dropped group masked with 0 would win.
    cases.push(random_case("bias outweighs scores", deepseek_v3((32, 4, 8, 3)), 9, -9.0));
    cases.extend(ties());
    cases
}

/// V3's flavour: (experts, experts per token, groups, groups kept).
fn deepseek_v3((experts, experts_per_token, n_group, topk_group): (u32, u32, u32, u32)) -> Route {
    Route {
        logits: Slot(0),
        bias: Slot(1),
        entries: Slot(2),
        experts,
        experts_per_token,
        n_group,
        topk_group,
        softmax: false,
        group_top_two: true,
        has_bias: true,
        normalise: true,
        scaling: 2.5,
        shared: true,
    }
}

/// V2's flavour.
fn deepseek_v2(sizes: (u32, u32, u32, u32)) -> Route {
    Route {
        softmax: true,
        group_top_two: false,
        has_bias: false,
        normalise: false,
        scaling: 16.0,
        ..deepseek_v3(sizes)
    }
}

/// Logits that tie, or lie far apart. Exponents over 40 powers of two are left out, and subnormal logits decide by
/// bias: their scores are equal but for an ulp, which is exp's to choose (llvmpipe's exp(−1e-39) is not 1).
fn ties() -> Vec<Case> {
    let mut cases = Vec::new();
    let grouped = (32, 6, 4, 2);
    for (flavour, route) in [("sigmoid", deepseek_v3(grouped)), ("softmax", deepseek_v2(grouped))] {
        for data in [Data::Zeros, Data::Equal, Data::OneHot, Data::Cancelling] {
            let logits = data.floats(&mut Random::new(3), 3 * 32);
            cases.push(case(format!("{flavour}, {data:?}"), route.clone(), logits, vec![0.0; 32]));
        }
        // The same eight logits in each group, in another order: groups tie, and experts of different groups tie.
        let mut random = Random::new(11);
        let logits = (0..9 * 4).flat_map(|_| random.shuffle(8)).map(|i| i as f32 * 0.5 - 2.0).collect();
        cases.push(case(format!("{flavour}, equal across groups"), route.clone(), logits, vec![0.0; 32]));
        let mut logits = vec![0.25; 32];
        logits[17] = 88.25;
        cases.push(case(format!("{flavour}, one logit 88 above"), route.clone(), logits, vec![0.0; 32]));
    }
    // Equal logits, two biases, -0 and +0: 0.5 - 0.5 = 0 ties with every other 0.
    let bias = (0..32).map(|e| [-0.5, -0.0, 3.0, 3.0][e % 4]).collect();
    cases.push(case("equal logits, bias decides".into(), deepseek_v3(grouped), vec![0.0; 32], bias));
    let logits = Data::Subnormal.floats(&mut Random::new(3), 3 * 32);
    let bias = Random::new(5).shuffle(32).into_iter().map(|i| i as f32 * 0.125).collect();
    cases.push(case("subnormal logits, bias decides".into(), deepseek_v3(grouped), logits, bias));
    let bias = (0..256).map(|e| if e % 3 == 0 { 2.0 } else { -2.0 }).collect();
    cases.push(case("two-valued bias".into(), deepseek_v3((256, 8, 8, 4)), vec![1.0; 2 * 256], bias));
    cases
}

/// Random logits and biases, drawn until no choice hangs on the last bits of a score: the adapter's exp may differ there.
fn random_case(name: &str, route: Route, tokens: u32, shift: f32) -> Case {
    let mut random = Random::new(u64::from(route.experts * 131 + tokens));
    let spread = if shift < 0.0 { 3.0 } else { 0.3 };
    let bias: Vec<f32> = (0..route.experts).map(|_| shift.min(0.0) + spread * random.float()).collect();
    let mut logits = Vec::new();
    while logits.len() < (tokens * route.experts) as usize {
        let row: Vec<f32> = (0..route.experts).map(|_| random.float() * 4.0).collect();
        let biased = reference::biased(&route, &row, &bias);
        if separated(&biased) && separated(&reference::group_scores(&route, &biased)) {
            logits.extend(row);
        }
    }
    let name = format!("{name}, {tokens} tokens, {} of {}", route.experts_per_token, route.experts);
    case(format!("{name}, {} of {} groups", route.topk_group, route.n_group), route, logits, bias)
}

/// No two values closer than 2⁻¹⁸ of them: 16 times what exp may be off for logits below 4.
fn separated(values: &[f32]) -> bool {
    let mut sorted = values.to_vec();
    sorted.sort_by(f32::total_cmp);
    sorted.windows(2).all(|pair| pair[1] - pair[0] > pair[0].abs().max(pair[1].abs()) * 2f32.powi(-18))
}

fn case(name: String, route: Route, logits: Vec<f32>, bias: Vec<f32>) -> Case {
    let (experts, slots) = (route.experts as usize, route.entries_per_token() as usize);
    let tokens = logits.len() / experts;
    // A row more than the step has: it must stay as it is.
    let mut allowed = vec![0.0; (tokens + 1) * slots];
    for (logits, allowed) in logits.chunks_exact(experts).zip(allowed.chunks_exact_mut(slots)) {
        let chosen = reference::route(&route, logits, &bias);
        let scores = score_bounds(&route, logits);
        let mut relative = chosen.iter().map(|&(expert, _)| scores[expert as usize]).fold(0f64, f64::max);
        if route.normalise {
            // The sum is off by the same share at most, and by one rounding for each term; then 2.5 ulp of a division.
            relative = 2.0 * relative + (5.0 + chosen.len() as f64) * ROUNDING;
        }
        for (allowed, (_, weight)) in allowed.iter_mut().zip(chosen) {
            // Two roundings: the product with the scaling, and the reference's score. A tiny score may be flushed.
            *allowed = f64::from(weight) * (relative + 2.0 * ROUNDING) + TINY * (1.0 + f64::from(route.scaling));
        }
    }
    Case {
        name,
        buffers: vec![bits(&logits), bits(&bias), poison(2 * allowed.len())],
        kernel: Box::new(route),
        extent: Extent { tokens: tokens as u32, rows: 1, length: 1 },
        bounds: vec![Bound::Entries { allowed, nmse: 1e-10 }],
    }
}

/// Relative bounds of the scores.
fn score_bounds(route: &Route, logits: &[f32]) -> Vec<f64> {
    if !route.softmax {
        return logits.iter().map(|&logit| bound::sigmoid(f64::from(logit))).collect();
    }
    // exp of a difference that was rounded; the sum is off by the mean of that and by roundings along lanes and tree;
    // 2.5 ulp of the division.
    let most = f64::from(logits.iter().fold(f32::MIN, |most, &logit| most.max(logit)));
    let below: Vec<f64> = logits.iter().map(|&logit| f64::from(logit) - most).collect();
    let relative: Vec<f64> = below.iter().map(|&z| bound::exp(z) + z.abs() * ROUNDING).collect();
    let sum: f64 = below.iter().map(|z| z.exp()).sum();
    let mean: f64 = below.iter().zip(&relative).map(|(z, relative)| z.exp() * relative / sum).sum();
    relative.iter().map(|relative| relative + mean + (11.0 + 5.0) * ROUNDING).collect()
}
