// expert_gate_up_tile.wgsl: hidden[i] = silu(gate_e x[t]) * (up_e x[t]) for the entries of each tile of expert_bin
// expert_gate_up's formula, layouts and bits; see there.
// Grid: (tiles there may be, tiles of 64 rows); a workgroup beyond the tiles, or whose expert lies elsewhere, returns.
// Bound by FLOPs once experts have several entries: each weight is decoded once for 8.
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;      // [tokens, hidden_size / 4]
@group(0) @binding(2) var<storage, read> order: array<u32>;        // [entries], by expert
@group(0) @binding(3) var<storage, read> tiles: array<vec4<u32>>;  // (tiles, ...), then (expert, first, count, 0) each
@group(0) @binding(4) var<storage, read> weight: array<vec4<u32>>; // [experts][gate, up][panels, pieces, 32]
@group(0) @binding(5) var<storage, read> scales: array<u32>;       // [experts][gate, up][panels, words, SCALE_LANES]
@group(0) @binding(6) var<storage, read_write> hidden: array<f32>; // [tokens, slots, hidden_stride]

fn input(i: u32) -> vec4<f32> { return x[i]; }

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if (group.x >= tiles[0].x) { return; }
    let tile = tiles[1u + group.x];
    let before = find_expert(tile.x);
    let width = width_of(tile.x);
    if (before == ELSEWHERE || group.y * 64u >= width) { return; }
    let panels = (width + 31u) / 32u;
    let gate = vec2<u32>(group.y * 2u, min(group.y * 2u + 1u, panels - 1u));
    let entries = tile_entries(tile, 0u);
    let entries2 = tile_entries(tile, 4u);
    columns4 = params.hidden_size / 4u;
    rows = entries / params.sharing * columns4;
    rows2 = entries2 / params.sharing * columns4;
    contract(place_of(before), vec4<u32>(gate, panels + gate), lane);
    let first = group.y * 64u + lane;
    store(0u < tile.z, entries.x, first, width, totals0);
    store(1u < tile.z, entries.y, first, width, totals1);
    store(2u < tile.z, entries.z, first, width, totals2);
    store(3u < tile.z, entries.w, first, width, totals3);
    store(4u < tile.z, entries2.x, first, width, totals4);
    store(5u < tile.z, entries2.y, first, width, totals5);
    store(6u < tile.z, entries2.z, first, width, totals6);
    store(7u < tile.z, entries2.w, first, width, totals7);
}

fn store(wanted: bool, entry: u32, first: u32, width: u32, totals: vec4<f32>) {
    let out = entry * params.hidden_stride + first;
    if (wanted && first < width) { hidden[out] = silu(totals.x) * totals.z; }
    if (wanted && first + 32u < width) { hidden[out + 32u] = silu(totals.y) * totals.w; }
}
