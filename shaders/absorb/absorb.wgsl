// absorb.wgsl: y[t, h, c] = sum over d of q[t, h, d] * w[h, d, c]: queries brought into the space of the latents
// w: row-major [heads * nope_dim, kv_lora_rank], the rows of kv_b_proj that make keys; its scales are of all of kv_b_proj,
// of which head h begins at row h * source_rows. The contraction runs over rows, so the weights stay as they are stored.
// Grid: (tiles of 128 columns, heads, tiles of TOKENS tokens); a lane owns 4 columns, all lanes read the same q.
// Bound by bytes for one token (nope_dim * kv_lora_rank weights per head), by FLOPs for many: weights are decoded once
// for TOKENS tokens.
//
// The canonical sum of the linear kernels over rows, with the rows of a group as blocks: d ascending, a fresh accumulator
// where the row of kv_b_proj enters a new group, then total = fma(scale, accumulator, total).
struct Params {
    q_stride4: u32, // q and its offsets are counted in vec4
    q_offset4: u32,
    head_stride4: u32,
    heads: u32,
    nope_dim: u32,
    columns4: u32,      // kv_lora_rank / 4
    source_rows: u32,   // rows of one head in kv_b_proj
    scale_columns: u32, // groups of a row
    capacity: u32,      // rows of q and y
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>;      // [tokens, q_stride4]
@group(0) @binding(2) var<storage, read> weight: array<vec4<u32>>; // [heads * nope_dim, kv_lora_rank] as stored
@group(0) @binding(3) var<storage, read> scales: array<u32>;       // [groups of rows, groups of columns]
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>; // [tokens, heads * columns4]

const LANES: u32 = 32u; // 128 columns, all of one group
override TOKENS: u32 = 4u; // 4, or 1 where no more than that come

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let column = group.x * LANES + lane; // of vec4
    let head = group.y;
    let token = group.z * TOKENS;
    let tokens = min(vec4<u32>(token, token + 1u, token + 2u, token + 3u), vec4<u32>(params.capacity - 1u));
    let q_row = tokens * params.q_stride4 + params.q_offset4 + head * params.head_stride4;
    var at = head * params.nope_dim * params.columns4 + min(column, params.columns4 - 1u);

    var total0 = vec4<f32>(0.0);
    var total1 = vec4<f32>(0.0);
    var total2 = vec4<f32>(0.0);
    var total3 = vec4<f32>(0.0);
    var d = 0u;
    while (d < params.nope_dim) {
        var sum0 = vec4<f32>(0.0);
        var sum1 = vec4<f32>(0.0);
        var sum2 = vec4<f32>(0.0);
        var sum3 = vec4<f32>(0.0);
        let row = head * params.source_rows + d;
        let end = min(params.nope_dim, d + GROUP_ROWS - row % GROUP_ROWS);
        for (; d < end; d += 4u) {
            let w0 = row_weights4(at);
            let w1 = row_weights4(at + params.columns4);
            let w2 = row_weights4(at + params.columns4 * 2u);
            let w3 = row_weights4(at + params.columns4 * 3u);
            sum0 = mac4(sum0, w0, w1, w2, w3, q[q_row.x + d / 4u]);
            if (TOKENS > 1u) {
                sum1 = mac4(sum1, w0, w1, w2, w3, q[q_row.y + d / 4u]);
                sum2 = mac4(sum2, w0, w1, w2, w3, q[q_row.z + d / 4u]);
                sum3 = mac4(sum3, w0, w1, w2, w3, q[q_row.w + d / 4u]);
            }
            at += params.columns4 * 4u;
        }
        let scale = vec4<f32>(weight_scale((row / GROUP_ROWS) * params.scale_columns + group.x / (GROUP_VECTORS / LANES)));
        total0 = fma(scale, sum0, total0);
        total1 = fma(scale, sum1, total1);
        total2 = fma(scale, sum2, total2);
        total3 = fma(scale, sum3, total3);
    }

    if (column >= params.columns4) { return; }
    let width = params.heads * params.columns4;
    let out = token * width + head * params.columns4 + column;
    y[out] = total0;
    if (TOKENS > 1u) {
        if (token + 1u < params.capacity) { y[out + width] = total1; }
        if (token + 2u < params.capacity) { y[out + width * 2u] = total2; }
        if (token + 3u < params.capacity) { y[out + width * 3u] = total3; }
    }
}
