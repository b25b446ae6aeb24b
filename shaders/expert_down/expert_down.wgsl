// expert_down.wgsl: y[i] = down_e hidden[i / sharing] for each entry i whose expert e is in this shard
// hidden: [entries / sharing, hidden_stride], of which an expert reads its own width; y: [entries, hidden_size].
// Grid: (tiles of 128 rows, entries); a workgroup whose expert lies elsewhere returns. A lane owns row `lane` of 4 panels.
// Bound by bytes: an expert's weights are read once for each entry.
@group(0) @binding(1) var<storage, read> hidden: array<vec4<f32>>;  // [entries / sharing, hidden_stride / 4]
@group(0) @binding(2) var<storage, read> entries: array<vec2<u32>>; // [tokens, slots] of (expert, weight)
@group(0) @binding(3) var<storage, read> weight: array<vec4<u32>>;  // [experts][panels, pieces, 32]
@group(0) @binding(4) var<storage, read> scales: array<u32>;        // [experts][panels, words, SCALE_LANES]
@group(0) @binding(5) var<storage, read_write> y: array<f32>;       // [tokens, slots, hidden_size]

fn input(i: u32) -> vec4<f32> { return hidden[i]; }

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let expert = entries[group.y].x;
    let before = find_expert(expert);
    if (before == ELSEWHERE) { return; }
    let first = group.x * 4u;
    let last = (params.hidden_size + 31u) / 32u - 1u;
    columns4 = width_of(expert) / 4u;
    row = group.y / params.sharing * (params.hidden_stride / 4u);
    let totals = contract(place_of(before), min(vec4<u32>(first, first + 1u, first + 2u, first + 3u), vec4<u32>(last)), lane);
    let column = first * 32u + lane;
    let out = group.y * params.hidden_size + column;
    if (column < params.hidden_size) { y[out] = totals.x; }
    if (column + 32u < params.hidden_size) { y[out + 32u] = totals.y; }
    if (column + 64u < params.hidden_size) { y[out + 64u] = totals.z; }
    if (column + 96u < params.hidden_size) { y[out + 96u] = totals.w; }
}
