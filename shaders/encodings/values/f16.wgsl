// f16. unpack2x16float is core WGSL: no feature needed.
fn decode4(u: vec2<u32>) -> vec4<f32> { return vec4<f32>(unpack2x16float(u.x), unpack2x16float(u.y)); }
