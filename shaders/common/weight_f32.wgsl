// Weight format f32, bits as they are.
fn row_weights4(i: u32) -> vec4<f32> { return bitcast<vec4<f32>>(weight[i]); } // weights 4i.. of a row-major tensor
fn weight_scale(i: u32) -> f32 { return 1.0; }
