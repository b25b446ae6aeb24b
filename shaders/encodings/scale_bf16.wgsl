// bf16 scales, two to a word.
fn weight_scale(i: u32) -> f32 {
    let pair = scales[i / 2u];
    return bitcast<f32>(select(pair & 0xffff0000u, pair << 16u, i % 2u == 0u));
}
