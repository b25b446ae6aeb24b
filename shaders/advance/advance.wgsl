// advance.wgsl: the step after this one: each output row's token becomes the chosen id at the next position
// One workgroup. Bound by launch. It lets a greedy decode go on without the host.
struct Params {
    unused: u32, // the step says it all
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> chosen: array<u32>;           // [capacity, 2]: id, flags
@group(0) @binding(2) var<storage, read_write> step: array<vec4<u32>>; // common/step.wgsl

@compute @workgroup_size(128)
fn main(@builtin(local_invocation_index) lane: u32) {
    // Lanes read words that no lane writes: rows, and the tokens of rows.
    for (var r = lane; r < step[0].y; r += 128u) {
        let token = 1u + step[1u + r].w;
        step[token].x = chosen[2u * r];
        step[token].y += 1u;
    }
    if (lane == 0u) {
        step[0].z += 1u;
        step[0].w += 1u;
    }
}
