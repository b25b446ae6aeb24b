// embed.wgsl: x[t, :] = table[id(t) - first_row, :] for ids of this shard of the table
// weight: rows of whole 16-byte pieces (encodings/planes.rs), first_row the id of the first; scales of the groups of the whole
// table.
// Ids of other shards are left to their passes. Grid: (tiles of 512 columns, tokens). Bound by launch: one row per token.
struct Params {
    first_row: u32,
    rows: u32,         // of this shard
    columns4: u32,     // hidden_size / 4
    scale_words: u32,  // of a row
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> step: array<vec4<u32>>;   // common/step.wgsl
@group(0) @binding(2) var<storage, read> weight: array<vec4<u32>>; // [rows, pieces]
@group(0) @binding(3) var<storage, read> scales: array<u32>;       // [groups of rows, scale_words] of the whole table
@group(0) @binding(4) var<storage, read_write> x: array<vec4<f32>>; // [tokens, hidden_size / 4]

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let column = group.x * 128u + lane; // of vec4
    let id = step[1u + group.y].x;
    let row = id - params.first_row;
    if (id < params.first_row || row >= params.rows || column >= params.columns4) { return; }
    let first = row * row_pieces(params.columns4);
    let scale = id / GROUP_ROWS * params.scale_words;
    x[group.y * params.columns4 + column] = row_scaled4(first, params.columns4, scale, column);
}
