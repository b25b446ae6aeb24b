// cache_write.wgsl: cache[row(t)] = [latent / sqrt(mean(latent^2) + eps) * weight | rope(key)]
// kv: [tokens, stride]; from column offset the latent, kv_lora_rank wide, then the rope key of 2 * pairs dims.
// One workgroup per token. Launch-bound: 5 KB per token.
struct Params {
    stride: u32,
    offset: u32,
    kv_lora_rank: u32,
    pairs: u32,
    interleaved: u32, // 1: pairs are neighbours; 0: one in each half
    eps: f32,
    pages_from: u32,
    pages_per_sequence: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> kv: array<f32>;          // [tokens, stride]
@group(0) @binding(2) var<storage, read> weight: array<f32>;      // [kv_lora_rank]
@group(0) @binding(3) var<storage, read> table: array<vec2<f32>>; // [positions, pairs] of (cos, sin)
@group(0) @binding(4) var<storage, read> step: array<vec4<u32>>;  // common/step.wgsl
@group(0) @binding(5) var<storage, read_write> cache: array<u32>; // [cache rows, row_words]: cache_row/write_*.wgsl
const FURTHER: u32 = 6u; // the first of its further bindings: cache_parts/write_*.wgsl

var<workgroup> staged: array<f32, WORKGROUP>; // a block of latents

fn row_word(row: u32, word: u32) -> u32 { return row * row_words(params.kv_lora_rank, 2u * params.pairs) + word; }

// Element d of the rotated key.
fn rotated(key: u32, turns: u32, d: u32) -> f32 {
    let pair = select(d % params.pairs, d / 2u, params.interleaved == 1u);
    let b = second_of_pair(pair, params.pairs, params.interleaved);
    let both = rotate(kv[key + first_of_pair(pair, params.interleaved)], kv[key + b], table[turns + pair]);
    return select(both.x, both.y, d == b);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let token = step[1u + group.x];
    let latent = group.x * params.stride + params.offset;
    let rank = params.kv_lora_rank;
    let row = cache_row(token.z, token.y);

    var squares = 0.0;
    for (var d = lane; d < rank; d += WORKGROUP) { squares = fma(kv[latent + d], kv[latent + d], squares); }
    let scale = inverseSqrt(workgroup_sum(lane, squares) / f32(rank) + params.eps);
    for (var block = 0u; block * WORKGROUP < rank; block += 1u) {
        let d = block * WORKGROUP + lane;
        var value = 0.0;
        if (d < rank) { value = kv[latent + d] * scale * weight[d]; }
        workgroupBarrier(); // the block before is written
        staged[lane] = value;
        workgroupBarrier();
        write_scaled(row, rank, block, lane);
    }

    for (var pair = lane; pair < params.pairs; pair += WORKGROUP) {
        let turns = token.y * params.pairs;
        let x = rotated(latent + rank, turns, 2u * pair);
        let y = rotated(latent + rank, turns, 2u * pair + 1u);
        write_rest(row, rank, pair, vec2<f32>(x, y));
    }
}
