// route.wgsl: which experts serve token t, and with which weights
//   s[e] = sigmoid(logits[t, e]), or softmax over all e;  b[e] = s[e] + bias[e], for the choice alone
//   group score = its largest b, or the sum of its two largest; the topk_group best groups stay
//   entries[t] = the experts_per_token experts with the largest b in those groups, by b descending, with weight
//   s / (sum of the chosen s, if normalised) * scaling; then (experts, 1), the shared expert, if there is one.
// Grid: (tokens); a workgroup of 128 lanes, a lane owns experts lane, lane + 128, ... of at most 512.
// Chosen by counting: an expert's rank is the number of experts with a larger b, or an equal b and a lower index. Exact,
// free of order, and as fast as it need be: experts^2 comparisons in workgroup memory. Launch-bound.
struct Params {
    slots: u32, // entries of a token: PER_TOKEN, and one for the shared expert
    scaling: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;           // [tokens, experts]
@group(0) @binding(2) var<storage, read> bias: array<f32>;             // [experts]
@group(0) @binding(3) var<storage, read_write> entries: array<vec2<u32>>; // [tokens, slots] of (expert, weight's bits)

// A model has one router: its sizes and switches are constants of the pipeline, so that no branch depends on a uniform
// (llvmpipe specialises shaders on such uniforms, at some milliseconds a dispatch) and workgroup memory, which WebGPU
// zeroes before each run, is made to measure.
override EXPERTS: u32 = 512u;
override PER_TOKEN: u32 = 512u;
override GROUPS: u32 = 512u;
override GROUP_SIZE: u32 = 1u;  // experts of a group
override KEPT_GROUPS: u32 = 512u;
override SOFTMAX: u32 = 0u;     // 1: softmax, 0: sigmoid
override TOP_TWO: u32 = 0u;     // 1: a group is worth its two largest, 0: its largest
override HAS_BIAS: u32 = 0u;
override NORMALISE: u32 = 0u;
const DROPPED: u32 = 0u; // below the key of every number

var<workgroup> scores: array<f32, EXPERTS>;
var<workgroup> biased: array<f32, EXPERTS>;
var<workgroup> keys: array<u32, EXPERTS>;
var<workgroup> largest: array<f32, GROUPS>; // of each group
var<workgroup> second: array<f32, GROUPS>;
var<workgroup> group_keys: array<u32, GROUPS>;
var<workgroup> chosen: array<u32, PER_TOKEN>;  // by rank

// Unsigned order of keys = order of floats, -0 equal to +0, subnormals not flushed.
fn key(value: f32) -> u32 {
    let raw = bitcast<u32>(value);
    let b = select(raw, 0u, raw == 0x80000000u);
    return select(b | 0x80000000u, ~b, b >= 0x80000000u);
}

// Those among keys first .. end that come before key i.
fn rank(i: u32, first: u32, end: u32) -> u32 {
    let own = keys[i];
    var before = 0u;
    for (var j = first; j < end; j += 1u) { before += u32(keys[j] > own || (keys[j] == own && j < i)); }
    return before;
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = group.x * EXPERTS;
    if (SOFTMAX == 1u) {
        var most = -3e38;
        for (var e = lane; e < EXPERTS; e += WORKGROUP) { most = max(most, logits[row + e]); }
        most = workgroup_max(lane, most);
        var sum = 0.0;
        for (var e = lane; e < EXPERTS; e += WORKGROUP) {
            scores[e] = exp(logits[row + e] - most);
            sum += scores[e];
        }
        sum = workgroup_sum(lane, sum);
        for (var e = lane; e < EXPERTS; e += WORKGROUP) { scores[e] /= sum; }
    } else {
        for (var e = lane; e < EXPERTS; e += WORKGROUP) { scores[e] = sigmoid(logits[row + e]); }
    }
    for (var e = lane; e < EXPERTS; e += WORKGROUP) {
        var b = scores[e];
        if (HAS_BIAS == 1u) { b += bias[e]; }
        biased[e] = b;
        keys[e] = key(b);
    }
    workgroupBarrier();

    if (KEPT_GROUPS < GROUPS) {
        for (var e = lane; e < EXPERTS; e += WORKGROUP) {
            let first = e / GROUP_SIZE * GROUP_SIZE;
            let place = rank(e, first, first + GROUP_SIZE);
            if (place == 0u) { largest[e / GROUP_SIZE] = biased[e]; }
            if (place == 1u) { second[e / GROUP_SIZE] = biased[e]; }
        }
        workgroupBarrier();
        for (var g = lane; g < GROUPS; g += WORKGROUP) {
            let two = TOP_TWO == 1u && GROUP_SIZE > 1u;
            group_keys[g] = key(select(largest[g], largest[g] + second[g], two));
        }
        workgroupBarrier();
        for (var e = lane; e < EXPERTS; e += WORKGROUP) {
            let g = e / GROUP_SIZE;
            var before = 0u;
            for (var j = 0u; j < GROUPS; j += 1u) {
                before += u32(group_keys[j] > group_keys[g] || (group_keys[j] == group_keys[g] && j < g));
            }
            if (before >= KEPT_GROUPS) { keys[e] = DROPPED; }
        }
        workgroupBarrier();
    }

    for (var e = lane; e < EXPERTS; e += WORKGROUP) {
        let place = rank(e, 0u, EXPERTS);
        if (place < PER_TOKEN) { chosen[place] = e; }
    }
    workgroupBarrier();
    let out = group.x * params.slots;
    for (var i = lane; i < PER_TOKEN; i += WORKGROUP) {
        var weight = scores[chosen[i]];
        if (NORMALISE == 1u) {
            // Every lane adds in rank order. The 1e-20 is Hugging Face's: it keeps scores that are all zero from dividing by it.
            var sum = 0.0;
            for (var j = 0u; j < PER_TOKEN; j += 1u) { sum += scores[chosen[j]]; }
            weight /= sum + 1e-20;
        }
        entries[out + i] = vec2<u32>(chosen[i], bitcast<u32>(weight * params.scaling));
    }
    if (lane == 0u && params.slots > PER_TOKEN) {
        entries[out + PER_TOKEN] = vec2<u32>(EXPERTS, bitcast<u32>(1.0));
    }
}
