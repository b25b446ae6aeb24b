// f32: bits as they are.
fn decode4(u: vec4<u32>) -> vec4<f32> { return bitcast<vec4<f32>>(u); }
