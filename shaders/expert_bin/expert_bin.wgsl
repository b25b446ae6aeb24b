// expert_bin.wgsl: which entries each expert has, for the tile forms of the expert kernels
//   order: entry indices by expert, ascending within an expert; tiles: at most 8 entries of one expert each.
// Grid: one workgroup. Counts, scans over experts, then places entries 128 at a time: an entry's place is its expert's
// cursor plus the equal experts before it in the batch, so that the order is stable. Atomics count, and nothing depends
// on their order. Launch-bound: reads the entries twice, 2 barriers for 128 entries.
struct Params {
    slots: u32,   // entries of a token
    experts: u32, // the shared one included
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> entries: array<vec2<u32>>;     // [tokens, slots] of (expert, weight)
@group(0) @binding(2) var<storage, read> step: array<vec4<u32>>;        // common/step.wgsl: step[0].x tokens
@group(0) @binding(3) var<storage, read_write> order: array<u32>;       // [tokens * slots]
@group(0) @binding(4) var<storage, read_write> tiles: array<vec4<u32>>; // (tiles, 0, 0, 0), then (expert, first, count, 0) each

const LANES: u32 = 128u;
const MAX_EXPERTS: u32 = 513u;
const TILE_ENTRIES: u32 = 8u;

var<workgroup> cursors: array<atomic<u32>, MAX_EXPERTS>; // first counts, then places of each expert's next entry
var<workgroup> lane_entries: array<u32, LANES>;
var<workgroup> lane_tiles: array<u32, LANES>;
var<workgroup> batch: array<u32, LANES>; // experts of the entries being placed

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) lane: u32) {
    let count = step[0].x * params.slots;
    for (var e = lane; e < params.experts; e += LANES) { atomicStore(&cursors[e], 0u); }
    workgroupBarrier();
    for (var i = lane; i < count; i += LANES) { atomicAdd(&cursors[entries[i].x], 1u); }
    workgroupBarrier();

    // A lane owns neighbouring experts; it begins where the lanes before it end.
    let own = (params.experts + LANES - 1u) / LANES;
    let end = min((lane + 1u) * own, params.experts);
    var own_entries = 0u;
    var own_tiles = 0u;
    for (var e = lane * own; e < end; e += 1u) {
        let wanted = atomicLoad(&cursors[e]);
        own_entries += wanted;
        own_tiles += (wanted + TILE_ENTRIES - 1u) / TILE_ENTRIES;
    }
    lane_entries[lane] = own_entries;
    lane_tiles[lane] = own_tiles;
    workgroupBarrier();
    var place = 0u;
    var tile = 1u;
    for (var l = 0u; l < lane; l += 1u) {
        place += lane_entries[l];
        tile += lane_tiles[l];
    }
    for (var e = lane * own; e < end; e += 1u) {
        let wanted = atomicLoad(&cursors[e]);
        for (var i = 0u; i < wanted; i += TILE_ENTRIES) {
            tiles[tile] = vec4<u32>(e, place + i, min(wanted - i, TILE_ENTRIES), 0u);
            tile += 1u;
        }
        atomicStore(&cursors[e], place);
        place += wanted;
    }
    if (lane == LANES - 1u) { tiles[0] = vec4<u32>(tile - 1u, 0u, 0u, 0u); }

    for (var start = 0u; start < count; start += LANES) {
        let i = start + lane;
        if (i < count) { batch[lane] = entries[i].x; }
        workgroupBarrier();
        if (i < count) {
            var before = 0u;
            for (var l = 0u; l < lane; l += 1u) { before += u32(batch[l] == batch[lane]); }
            order[atomicLoad(&cursors[batch[lane]]) + before] = i;
        }
        workgroupBarrier();
        if (i < count) { atomicAdd(&cursors[batch[lane]], 1u); }
    }
}
