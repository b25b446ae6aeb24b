// swiglu.wgsl: y[t, d] = silu(gate[t, d]) * up[t, d], silu(z) = z / (1 + exp(-z))
// gate, up: [rows, stride], gate from column 0 and up from up_offset; y: [rows, width]. A token has one row or several.
// Grid: (tiles of 128 columns, rows); a lane owns one output. Launch-bound: three words for each output.
struct Params {
    width: u32,
    stride: u32,
    up_offset: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gate: array<f32>;    // [rows, stride]
@group(0) @binding(2) var<storage, read> up: array<f32>;      // [rows, stride]
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [rows, width]

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let d = group.x * 128u + lane;
    if (d >= params.width) { return; }
    let row = group.y * params.stride;
    y[group.y * params.width + d] = silu(gate[row + d]) * up[row + params.up_offset + d];
}
