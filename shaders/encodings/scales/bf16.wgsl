// bf16 scales, two to a word. As scale_f32.wgsl.
fn weight_scale(at: u32, stride: u32, block: u32) -> f32 {
    let pair = scales[at + block / 2u * stride];
    return bitcast<f32>(select(pair & 0xffff0000u, pair << 16u, block % 2u == 0u));
}
