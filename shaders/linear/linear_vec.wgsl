// linear_vec.wgsl: y[t, n] (+)= sum over k of w[n, k] * x[t, k], for few tokens
// w in panels of 32 rows (encodings/panels.rs), in row groups g that read x from g * x_group4 and write y from g * y_group.
// Grid: (tiles of 128 rows, tokens, groups); a lane owns row `lane` of 4 panels, and every lane reads the same x.
// Bound by bytes: the weights are read once per token; x comes from the cache.
// Summed in the canonical order: common/contract_vec.wgsl.
struct Params {
    rows: u32,        // of one group
    columns4: u32,    // columns / 4
    panels: u32,      // of one group
    scale_lanes: u32, // 1: the rows of a panel share their scales; 32: each has its own
    x_stride4: u32,   // x and its offsets are counted in vec4
    x_offset4: u32,
    x_group4: u32,
    y_stride: u32,
    y_offset: u32,
    y_group: u32,
    accumulate: u32,  // 1: add to y
    tokens_capacity: u32, // rows of x and y
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;      // [tokens, x_stride4]
@group(0) @binding(2) var<storage, read> weight: array<vec4<u32>>; // [groups, panels, pieces, 32]
@group(0) @binding(3) var<storage, read> scales: array<u32>;       // [groups, panels, words, scale_lanes]
@group(0) @binding(4) var<storage, read_write> y: array<f32>;      // [tokens, y_stride]

fn input(i: u32) -> vec4<f32> { return x[i]; }

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first = group.x * 4u;
    let last = params.panels - 1u;
    let panel = group.z * params.panels + vec4<u32>(first, min(first + 1u, last), min(first + 2u, last), min(first + 3u, last));
    columns4 = params.columns4;
    row = group.y * params.x_stride4 + params.x_offset4 + group.z * params.x_group4;
    let totals = contract(Place(0u, 0u, params.scale_lanes), panel, lane);

    let n = first * 32u + lane;
    let out = group.y * params.y_stride + params.y_offset + group.z * params.y_group + n;
    store(n, out, totals.x);
    store(n + 32u, out + 32u, totals.y);
    store(n + 64u, out + 64u, totals.z);
    store(n + 96u, out + 96u, totals.w);
}

fn store(row: u32, at: u32, value: f32) {
    if (row >= params.rows) { return; }
    if (params.accumulate == 1u) { y[at] += value; } else { y[at] = value; }
}
