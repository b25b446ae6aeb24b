// int8: a signed byte, -128 .. 127.
fn decode4(codes: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(bitcast<vec4<i32>>(codes << vec4<u32>(24u)) >> vec4<u32>(24u));
}
