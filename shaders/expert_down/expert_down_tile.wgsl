// expert_down_tile.wgsl: y[i] = down_e hidden[i / sharing] for the entries of each tile of expert_bin
// expert_down's formula, layouts and bits; see there.
// Grid: (tiles there may be, tiles of 128 rows); a workgroup beyond the tiles, or whose expert lies elsewhere, returns.
// Bound by FLOPs once experts have several entries: each weight is decoded once for 8.
@group(0) @binding(1) var<storage, read> hidden: array<vec4<f32>>; // [entries / sharing, hidden_stride / 4]
@group(0) @binding(2) var<storage, read> order: array<u32>;        // [entries], by expert
@group(0) @binding(3) var<storage, read> tiles: array<vec4<u32>>;  // (tiles, ...), then (expert, first, count, 0) each
@group(0) @binding(4) var<storage, read> weight: array<vec4<u32>>; // [experts][panels, pieces, 32]
@group(0) @binding(5) var<storage, read> scales: array<u32>;       // [experts][panels, words, SCALE_LANES]
@group(0) @binding(6) var<storage, read_write> y: array<f32>;      // [tokens, slots, hidden_size]

fn input(i: u32) -> vec4<f32> { return hidden[i]; }

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if (group.x >= tiles[0].x) { return; }
    let tile = tiles[1u + group.x];
    let before = find_expert(tile.x);
    if (before == ELSEWHERE) { return; }
    let first = group.y * 4u;
    let last = (params.hidden_size + 31u) / 32u - 1u;
    let entries = tile_entries(tile, 0u);
    let entries2 = tile_entries(tile, 4u);
    columns4 = width_of(tile.x) / 4u;
    rows = entries / params.sharing * (params.hidden_stride / 4u);
    rows2 = entries2 / params.sharing * (params.hidden_stride / 4u);
    contract(place_of(before), min(vec4<u32>(first, first + 1u, first + 2u, first + 3u), vec4<u32>(last)), lane);
    let column = first * 32u + lane;
    store(0u < tile.z, entries.x, column, totals0);
    store(1u < tile.z, entries.y, column, totals1);
    store(2u < tile.z, entries.z, column, totals2);
    store(3u < tile.z, entries.w, column, totals3);
    store(4u < tile.z, entries2.x, column, totals4);
    store(5u < tile.z, entries2.y, column, totals5);
    store(6u < tile.z, entries2.z, column, totals6);
    store(7u < tile.z, entries2.w, column, totals7);
}

fn store(wanted: bool, entry: u32, column: u32, totals: vec4<f32>) {
    if (!wanted) { return; }
    let out = entry * params.hidden_size + column;
    if (column < params.hidden_size) { y[out] = totals.x; }
    if (column + 32u < params.hidden_size) { y[out + 32u] = totals.y; }
    if (column + 64u < params.hidden_size) { y[out + 64u] = totals.z; }
    if (column + 96u < params.hidden_size) { y[out + 96u] = totals.w; }
}
