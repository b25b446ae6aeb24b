// Scales, and minima, of one block of four rows; those of a row are scales[at], scales[at + stride], ...
fn scales4(at: vec4<u32>, stride: u32, block: u32) -> vec4<f32> {
    return vec4<f32>(
        weight_scale(at.x, stride, block), weight_scale(at.y, stride, block),
        weight_scale(at.z, stride, block), weight_scale(at.w, stride, block),
    );
}
fn minima4(at: vec4<u32>, stride: u32, block: u32) -> vec4<f32> {
    return vec4<f32>(
        weight_minimum(at.x, stride, block), weight_minimum(at.y, stride, block),
        weight_minimum(at.z, stride, block), weight_minimum(at.w, stride, block),
    );
}
