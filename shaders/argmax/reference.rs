//! The formula.

pub(super) fn argmax(logits: &[f32]) -> [u32; 2] {
    let mut best: Option<(f32, u32)> = None;
    for (id, &logit) in (0..).zip(logits) {
        if !logit.is_nan() && best.is_none_or(|(largest, _)| logit > largest) {
            best = Some((logit, id));
        }
    }
    let flag = logits.iter().any(|logit| !logit.is_finite());
    [best.map_or(0, |(_, id)| id), u32::from(flag)]
}
