// Whole numbers, from -CODE_OFFSET on.
override CODE_OFFSET: u32;
fn decode4(codes: vec4<u32>) -> vec4<f32> { return vec4<f32>(codes) - f32(CODE_OFFSET); }
