// Sums and maxima over a workgroup of WORKGROUP lanes, by a fixed tree: the order does not depend on the adapter.
// All lanes must call these; `lane` is the local invocation index.
const WORKGROUP: u32 = 128u;
var<workgroup> reduce_scratch: array<f32, WORKGROUP>;

fn workgroup_sum(lane: u32, value: f32) -> f32 {
    workgroupBarrier(); // the scratch may still be read by the call before
    reduce_scratch[lane] = value;
    for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (lane < half) { reduce_scratch[lane] += reduce_scratch[lane + half]; }
    }
    workgroupBarrier();
    return reduce_scratch[0];
}

fn workgroup_max(lane: u32, value: f32) -> f32 {
    workgroupBarrier();
    reduce_scratch[lane] = value;
    for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (lane < half) { reduce_scratch[lane] = max(reduce_scratch[lane], reduce_scratch[lane + half]); }
    }
    workgroupBarrier();
    return reduce_scratch[0];
}
