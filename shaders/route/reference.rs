//! The choice as the model's definition states it, with f64 inside and scores stored in f32, which decides ties.

use super::Route;
use crate::common::sigmoid;

/// The chosen experts in rank order, each with its weight.
pub(super) fn route(route: &Route, logits: &[f32], bias: &[f32]) -> Vec<(u32, f32)> {
    let scores = scores(route, logits);
    let biased = biased(route, logits, bias);
    let groups = group_scores(route, &biased);
    let kept = &descending(&groups)[..route.topk_group as usize];
    let group_size = (route.experts / route.n_group) as usize;
    let candidates = descending(&biased).into_iter().filter(|expert| kept.contains(&(expert / group_size)));
    let chosen: Vec<usize> = candidates.take(route.experts_per_token as usize).collect();
    let sum: f64 = chosen.iter().map(|&expert| f64::from(scores[expert])).sum::<f64>() + 1e-20;
    let divisor = if route.normalises() { sum } else { 1.0 };
    let weight = |expert: usize| (f64::from(scores[expert]) / divisor * f64::from(route.scaling)) as f32;
    chosen.into_iter().map(|expert| (expert as u32, weight(expert))).collect()
}

fn scores(route: &Route, logits: &[f32]) -> Vec<f32> {
    if !route.softmax {
        return logits.iter().map(|&logit| sigmoid(f64::from(logit)) as f32).collect();
    }
    let most = logits.iter().fold(f32::MIN, |most, &logit| most.max(logit));
    let exps: Vec<f64> = logits.iter().map(|&logit| (f64::from(logit) - f64::from(most)).exp()).collect();
    let sum: f64 = exps.iter().sum();
    exps.iter().map(|exp| (exp / sum) as f32).collect()
}

/// What experts are chosen by.
pub(super) fn biased(route: &Route, logits: &[f32], bias: &[f32]) -> Vec<f32> {
    let mut biased = scores(route, logits);
    if route.has_bias {
        biased.iter_mut().zip(bias).for_each(|(score, bias)| *score += bias);
    }
    biased
}

/// The score of each group: its largest value, or the sum of its two largest.
pub(super) fn group_scores(route: &Route, biased: &[f32]) -> Vec<f32> {
    let best = if route.group_top_two { 2 } else { 1 };
    let groups = biased.chunks_exact((route.experts / route.n_group) as usize);
    groups.map(|group| descending(group).iter().take(best).map(|&i| group[i]).sum()).collect()
}

/// Indices by value descending, equal values by index; −0 equals +0. NaN of either sign comes first, as in PyTorch: what is
/// broken shows in the logits instead of being passed over.
fn descending(values: &[f32]) -> Vec<usize> {
    let plain = |index: usize| if values[index].is_nan() { f32::NAN } else { values[index] + 0.0 };
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| plain(b).total_cmp(&plain(a)));
    order
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_no_number_is_not_passed_over() {
        for nan in [f32::NAN, -f32::NAN] {
            assert_eq!(super::descending(&[1.0, nan, -0.0, 0.0, f32::INFINITY]), [1, 4, 0, 2, 3]);
        }
    }
}
