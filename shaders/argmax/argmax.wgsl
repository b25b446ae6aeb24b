// argmax.wgsl: chosen[r] = (id of the largest logit of row r among ids < limit, flags); ties to the lower id, -0 = +0
// Flag bit 0: a logit of the row is NaN or infinite, found by its bits. A NaN is less than every number.
// One workgroup per row. Bound by latency: 4 bytes per logit through one core.
struct Params {
    vocab_size: u32,
    limit: u32, // 1 .. vocab_size
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<u32>;       // [rows, vocab_size], bits of f32
@group(0) @binding(2) var<storage, read_write> chosen: array<u32>; // [capacity, 2]

const LANES: u32 = 128u;
var<workgroup> keys: array<u32, LANES>;
var<workgroup> ids: array<u32, LANES>;
var<workgroup> flags: array<u32, LANES>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = group.x * params.vocab_size;
    var key = 0u;
    var best = lane; // lanes without a logit lose to lane 0, which has one: the lower id wins
    var flag = 0u;
    for (var id = lane; id < params.limit; id += LANES) {
        let word = logits[row + id];
        let this_key = sort_key(word);
        if (this_key > key) { key = this_key; best = id; }
        if ((word & 0x7f800000u) == 0x7f800000u) { flag = 1u; }
    }
    keys[lane] = key;
    ids[lane] = best;
    flags[lane] = flag;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (lane < half) {
            let other = lane + half;
            if (keys[other] > keys[lane] || (keys[other] == keys[lane] && ids[other] < ids[lane])) {
                keys[lane] = keys[other];
                ids[lane] = ids[other];
            }
            flags[lane] |= flags[other];
        }
    }
    if (lane == 0u) {
        chosen[group.x * 2u] = ids[0];
        chosen[group.x * 2u + 1u] = flags[0];
    }
}
