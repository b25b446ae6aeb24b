// topk.wgsl: selected[t] = positions of the k largest of scores[t, 0..=position(t)], ascending; then 0xffffffff up to k
// Exact: a larger score first, equal ones by lower position; -0 equals +0, NaN comes last.
// scores: [max_tokens, score_stride] of the tokens from first_token; selected: [tokens, k].
// One workgroup per token. Latency-bound: five passes over 4 bytes per position, through one core.
//
// Scores become keys whose unsigned order is the order of floats. Three rounds of 11, 11 and 10 bits from the top find
// the k-th largest key: a histogram of the keys that share the bits known so far, then the bucket in which k is reached.
// Then each lane counts, in its own contiguous range, keys above the threshold and equal to it; two prefix sums give each
// lane its first place in the output. Atomics only count: the result does not depend on their order.
struct Params {
    k: u32,
    score_stride: u32,
    first_token: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> scores: array<u32>;         // [max_tokens, score_stride], bits of f32
@group(0) @binding(2) var<storage, read> step: array<vec4<u32>>;     // [1 + tokens]
@group(0) @binding(3) var<storage, read_write> selected: array<u32>; // [tokens, k]

const LANES: u32 = 128u;
const BUCKETS: u32 = 2048u;
const LANE_BUCKETS: u32 = 16u; // BUCKETS / LANES
const NONE: u32 = 0xffffffffu;

var<workgroup> histogram: array<atomic<u32>, BUCKETS>;
var<workgroup> partial: array<vec2<u32>, 256>; // 2 * LANES: one half is read while the other is written
var<workgroup> chosen: vec2<u32>;              // (bucket, keys above it)

// Sums over the lanes before this one. All lanes must call it.
fn sum_before(lane: u32, value: vec2<u32>) -> vec2<u32> {
    var sum = value;
    var half = 0u;
    partial[lane] = sum;
    for (var distance = 1u; distance < LANES; distance *= 2u) {
        workgroupBarrier();
        if (lane >= distance) { sum += partial[half + lane - distance]; }
        half = LANES - half;
        partial[half + lane] = sum;
    }
    workgroupBarrier();
    return sum - value;
}

// Of the keys whose bits from `shift + bits` up equal `prefix`, counts each value of the next `bits` bits;
// returns (the value at which `need` keys are reached from the top, how many lie above it).
fn radix_round(lane: u32, row: u32, count: u32, prefix: u32, shift: u32, bits: u32, need: u32) -> vec2<u32> {
    for (var bucket = lane; bucket < BUCKETS; bucket += LANES) { atomicStore(&histogram[bucket], 0u); }
    workgroupBarrier();
    let mask = (1u << bits) - 1u;
    for (var i = lane; i < count; i += LANES) {
        let key = sort_key(scores[row + i]) >> shift;
        if ((key >> bits) == prefix) { atomicAdd(&histogram[key & mask], 1u); }
    }
    workgroupBarrier();
    // Lane 0 has the topmost buckets.
    let top = BUCKETS - 1u - lane * LANE_BUCKETS;
    var mine = 0u;
    for (var i = 0u; i < LANE_BUCKETS; i += 1u) { mine += atomicLoad(&histogram[top - i]); }
    var above = sum_before(lane, vec2<u32>(mine, 0u)).x;
    if (above < need && need <= above + mine) {
        var bucket = top;
        var here = atomicLoad(&histogram[bucket]);
        while (above + here < need) {
            above += here;
            bucket -= 1u;
            here = atomicLoad(&histogram[bucket]);
        }
        chosen = vec2<u32>(bucket, above);
    }
    return workgroupUniformLoad(&chosen);
}

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let token = params.first_token + group.x;
    let count = step[1u + token].y + 1u;
    let row = group.x * params.score_stride;
    let out = token * params.k;
    if (count <= params.k) {
        for (var i = lane; i < params.k; i += LANES) { selected[out + i] = select(NONE, i, i < count); }
        return;
    }

    var need = params.k;
    let high = radix_round(lane, row, count, 0u, 21u, 11u, need);
    need -= high.y;
    let middle = radix_round(lane, row, count, high.x, 10u, 11u, need);
    need -= middle.y;
    let low = radix_round(lane, row, count, (high.x << 11u) | middle.x, 0u, 10u, need);
    need -= low.y; // how many of the keys equal to the threshold are taken
    let threshold = (high.x << 21u) | (middle.x << 10u) | low.x;

    let range = (count + LANES - 1u) / LANES;
    let begin = min(lane * range, count);
    let end = min(begin + range, count);
    var above = 0u;
    var equal = 0u;
    for (var i = begin; i < end; i += 1u) {
        let key = sort_key(scores[row + i]);
        above += select(0u, 1u, key > threshold);
        equal += select(0u, 1u, key == threshold);
    }
    let before = sum_before(lane, vec2<u32>(above, equal));
    var equal_before = before.y;
    var place = out + before.x + min(equal_before, need);
    for (var i = begin; i < end; i += 1u) {
        let key = sort_key(scores[row + i]);
        if (key > threshold || (key == threshold && equal_before < need)) {
            selected[place] = i;
            place += 1u;
        }
        equal_before += select(0u, 1u, key == threshold);
    }
}
