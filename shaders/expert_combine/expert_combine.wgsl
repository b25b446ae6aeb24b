// expert_combine.wgsl: x[t] += sum over entries (t, rank), in rank order, of weight * y[t, rank]
// y: [tokens, slots, hidden_size], results of expert_down; x: [tokens, hidden_size], the residual stream.
// Grid: (tiles of 512 columns, tokens); a lane owns 4 columns. One fma for each entry from 0, then one addition to x.
// Bound by bytes: reads y once.
struct Params {
    slots: u32,
    columns4: u32, // hidden_size / 4
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> y: array<vec4<f32>>;       // [tokens, slots, hidden_size / 4]
@group(0) @binding(2) var<storage, read> entries: array<vec2<u32>>; // [tokens, slots] of (expert, weight's bits)
@group(0) @binding(3) var<storage, read_write> x: array<vec4<f32>>; // [tokens, hidden_size / 4]

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let column = group.x * 128u + lane;
    if (column >= params.columns4) { return; }
    let first = group.y * params.slots;
    var sum = vec4<f32>(0.0);
    for (var i = first; i < first + params.slots; i += 1u) {
        sum = fma(vec4<f32>(bitcast<f32>(entries[i].y)), y[i * params.columns4 + column], sum);
    }
    x[group.y * params.columns4 + column] += sum;
}
