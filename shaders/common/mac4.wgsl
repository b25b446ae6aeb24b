// Four rows' sums over one vec4 v of the contraction, in order; a, b, c, d: its four columns.
fn mac4(sums: vec4<f32>, a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>, v: vec4<f32>) -> vec4<f32> {
    var sum = fma(a, vec4<f32>(v.x), sums);
    sum = fma(b, vec4<f32>(v.y), sum);
    sum = fma(c, vec4<f32>(v.z), sum);
    return fma(d, vec4<f32>(v.w), sum);
}
