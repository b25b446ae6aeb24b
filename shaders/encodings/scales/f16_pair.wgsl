// An f16 scale and an f16 minimum, a word for each group. As scale_f32.wgsl.
fn weight_scale(at: u32, stride: u32, block: u32) -> f32 { return unpack2x16float(scales[at + block * stride]).x; }
fn weight_minimum(at: u32, stride: u32, block: u32) -> f32 { return unpack2x16float(scales[at + block * stride]).y; }
