// rms_norm.wgsl: y[t, d] = x[t, d] / sqrt(mean(x[t, :]^2) + eps) * weight[d]
// x: [tokens, x_stride], from column x_offset; y: [tokens, y_stride], from y_offset; weight: [dim].
// One workgroup per row t. Launch-bound: reads x twice, a row fits the cache.
struct Params {
    dim: u32,
    x_stride: u32,
    x_offset: u32,
    y_stride: u32,
    y_offset: u32,
    eps: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;       // [tokens, x_stride]
@group(0) @binding(2) var<storage, read> weight: array<f32>;  // [dim]
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [tokens, y_stride]

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = group.x * params.x_stride + params.x_offset;
    var squares = 0.0;
    for (var d = lane; d < params.dim; d += WORKGROUP) { squares = fma(x[row + d], x[row + d], squares); }
    let scale = inverseSqrt(workgroup_sum(lane, squares) / f32(params.dim) + params.eps);
    let out = group.x * params.y_stride + params.y_offset;
    for (var d = lane; d < params.dim; d += WORKGROUP) { y[out + d] = x[row + d] * scale * weight[d]; }
}
