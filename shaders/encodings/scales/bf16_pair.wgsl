// A bf16 scale and a bf16 minimum, a word for each group. As scale_f32.wgsl.
fn weight_scale(at: u32, stride: u32, block: u32) -> f32 { return bitcast<f32>(scales[at + block * stride] << 16u); }
fn weight_minimum(at: u32, stride: u32, block: u32) -> f32 {
    return bitcast<f32>(scales[at + block * stride] & 0xffff0000u);
}
