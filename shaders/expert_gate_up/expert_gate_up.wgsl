// expert_gate_up.wgsl: hidden[i] = silu(gate_e x[t]) * (up_e x[t]) for each entry i of token t whose expert e is in this shard
// x: [tokens, hidden_size]; hidden: [entries, hidden_stride], of which an expert fills its own width.
// Grid: (tiles of 64 rows, entries); a workgroup whose expert lies elsewhere returns. A lane owns row `lane` of two gate
// panels and of the two up panels that match, so that the product stays in registers.
// Bound by bytes: an expert's weights are read once for each entry.
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;       // [tokens, hidden_size / 4]
@group(0) @binding(2) var<storage, read> entries: array<vec2<u32>>; // [tokens, slots] of (expert, weight)
@group(0) @binding(3) var<storage, read> weight: array<vec4<u32>>;  // [experts][gate, up][panels, pieces, 32]
@group(0) @binding(4) var<storage, read> scales: array<u32>;        // [experts][gate, up][panels, words, SCALE_LANES]
@group(0) @binding(5) var<storage, read_write> hidden: array<f32>;  // [tokens, slots, hidden_stride]

fn input(i: u32) -> vec4<f32> { return x[i]; }

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let expert = entries[group.y].x;
    let before = find_expert(expert);
    let width = width_of(expert);
    if (before == ELSEWHERE || group.x * 64u >= width) { return; }
    let panels = (width + 31u) / 32u;
    let gate = vec2<u32>(group.x * 2u, min(group.x * 2u + 1u, panels - 1u));
    columns4 = params.hidden_size / 4u;
    row = group.y / params.sharing * columns4;
    let totals = contract(place_of(before), vec4<u32>(gate, panels + gate), lane);
    let first = group.x * 64u + lane;
    let out = group.y * params.hidden_stride + first;
    if (first < width) { hidden[out] = silu(totals.x) * totals.z; }
    if (first + 32u < width) { hidden[out + 32u] = silu(totals.y) * totals.w; }
}
