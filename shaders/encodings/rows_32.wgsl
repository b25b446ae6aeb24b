// 32-bit codes of a row-major tensor: weights 4i .. 4i + 3.
fn row_weights4(i: u32) -> vec4<f32> { return decode4(weight[i]); }
