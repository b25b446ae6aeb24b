// An f32 scale and an f32 minimum, a word each. As scale_f32.wgsl.
fn weight_scale(at: u32, stride: u32, block: u32) -> f32 { return bitcast<f32>(scales[at + 2u * block * stride]); }
fn weight_minimum(at: u32, stride: u32, block: u32) -> f32 {
    return bitcast<f32>(scales[at + (2u * block + 1u) * stride]);
}
