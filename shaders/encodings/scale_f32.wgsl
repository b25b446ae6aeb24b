// f32 scales, a word each.
fn weight_scale(i: u32) -> f32 { return bitcast<f32>(scales[i]); }
