// route.wgsl: which experts serve token t, and with which weights
//   s[e] = sigmoid(logits[t, e]), or softmax over all e;  b[e] = s[e] + bias[e], for the choice alone
//   group score = its largest b, or the sum of its two largest; the topk_group best groups stay
//   entries[t] = the experts_per_token experts with the largest b in those groups, by b descending, with weight
//   s / (sum of the chosen s, if normalised) * scaling; then (experts, 1), the shared expert, if there is one.
// Grid: (tokens); a workgroup of 128 lanes, a lane owns experts lane, lane + 128, ... of at most 512.
// Chosen by counting: an expert's rank is the number of experts with a larger b, or an equal b and a lower index. Exact,
// free of order, and as fast as it need be: experts^2 comparisons in workgroup memory. Launch-bound.
struct Params {
    experts: u32,
    experts_per_token: u32,
    slots: u32,         // entries of a token: experts_per_token, and one for the shared expert
    group_size: u32,    // experts of a group
    n_group: u32,
    topk_group: u32,
    softmax: u32,       // 1: softmax, 0: sigmoid
    group_top_two: u32, // 1: sum of the two largest, 0: the largest
    has_bias: u32,
    normalise: u32,
    scaling: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;           // [tokens, experts]
@group(0) @binding(2) var<storage, read> bias: array<f32>;             // [experts]
@group(0) @binding(3) var<storage, read_write> entries: array<vec2<u32>>; // [tokens, slots] of (expert, weight's bits)

const MAX_EXPERTS: u32 = 512u;
const DROPPED: u32 = 0u; // below the key of every number

var<workgroup> scores: array<f32, MAX_EXPERTS>;
var<workgroup> biased: array<f32, MAX_EXPERTS>;
var<workgroup> keys: array<u32, MAX_EXPERTS>;
var<workgroup> largest: array<f32, MAX_EXPERTS>; // of each group
var<workgroup> second: array<f32, MAX_EXPERTS>;
var<workgroup> group_keys: array<u32, MAX_EXPERTS>;
var<workgroup> chosen: array<u32, MAX_EXPERTS>;  // by rank

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
    let row = group.x * params.experts;
    if (params.softmax == 1u) {
        var most = -3e38;
        for (var e = lane; e < params.experts; e += WORKGROUP) { most = max(most, logits[row + e]); }
        most = workgroup_max(lane, most);
        var sum = 0.0;
        for (var e = lane; e < params.experts; e += WORKGROUP) {
            scores[e] = exp(logits[row + e] - most);
            sum += scores[e];
        }
        sum = workgroup_sum(lane, sum);
        for (var e = lane; e < params.experts; e += WORKGROUP) { scores[e] /= sum; }
    } else {
        for (var e = lane; e < params.experts; e += WORKGROUP) { scores[e] = sigmoid(logits[row + e]); }
    }
    for (var e = lane; e < params.experts; e += WORKGROUP) {
        var b = scores[e];
        if (params.has_bias == 1u) { b += bias[e]; }
        biased[e] = b;
        keys[e] = key(b);
    }
    workgroupBarrier();

    if (params.topk_group < params.n_group) {
        for (var e = lane; e < params.experts; e += WORKGROUP) {
            let first = e / params.group_size * params.group_size;
            let place = rank(e, first, first + params.group_size);
            if (place == 0u) { largest[e / params.group_size] = biased[e]; }
            if (place == 1u) { second[e / params.group_size] = biased[e]; }
        }
        workgroupBarrier();
        for (var g = lane; g < params.n_group; g += WORKGROUP) {
            let two = params.group_top_two == 1u && params.group_size > 1u;
            group_keys[g] = key(select(largest[g], largest[g] + second[g], two));
        }
        workgroupBarrier();
        for (var e = lane; e < params.experts; e += WORKGROUP) {
            let g = e / params.group_size;
            var before = 0u;
            for (var j = 0u; j < params.n_group; j += 1u) {
                before += u32(group_keys[j] > group_keys[g] || (group_keys[j] == group_keys[g] && j < g));
            }
            if (before >= params.topk_group) { keys[e] = DROPPED; }
        }
        workgroupBarrier();
    }

    for (var e = lane; e < params.experts; e += WORKGROUP) {
        let place = rank(e, 0u, params.experts);
        if (place < params.experts_per_token) { chosen[place] = e; }
    }
    workgroupBarrier();
    let out = group.x * params.slots;
    for (var i = lane; i < params.experts_per_token; i += WORKGROUP) {
        var weight = scores[chosen[i]];
        if (params.normalise == 1u) {
            // Every lane adds in rank order. The 1e-20 is Hugging Face's: it keeps scores that are all zero from dividing by it.
            var sum = 0.0;
            for (var j = 0u; j < params.experts_per_token; j += 1u) { sum += scores[chosen[j]]; }
            weight /= sum + 1e-20;
        }
        entries[out + i] = vec2<u32>(chosen[i], bitcast<u32>(weight * params.scaling));
    }
    if (lane == 0u && params.slots > params.experts_per_token) {
        entries[out + params.experts_per_token] = vec2<u32>(params.experts, bitcast<u32>(1.0));
    }
}
