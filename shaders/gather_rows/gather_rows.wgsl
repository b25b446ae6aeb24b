// gather_rows.wgsl: y[r, :] = x[token of output row r, :]
// Grid: (tiles of 128 columns, rows). Bound by launch.
struct Params {
    dim: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;          // [tokens, dim], bits of any type
@group(0) @binding(2) var<storage, read> step: array<vec4<u32>>; // common/step.wgsl
@group(0) @binding(3) var<storage, read_write> y: array<u32>;    // [rows, dim]

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let column = group.x * 128u + lane;
    if (column >= params.dim) { return; }
    y[group.y * params.dim + column] = x[step[1u + group.y].w * params.dim + column];
}
