// absorb.wgsl: y[t, h, c] = sum over d of q[t, h, d] * w[h, d, c]: queries brought into the space of the latents
// w: rows of whole 16-byte pieces [heads * nope_dim, kv_lora_rank], those of kv_b_proj that make keys; in the table of scales
// head h begins at row h * scale_rows. The contraction runs over rows, so the weights stay as they are stored.
// Grid: (tiles of 128 columns, heads, tiles of TOKENS tokens); a lane owns 4 columns, all lanes read the same q.
// Bound by bytes for one token (nope_dim * kv_lora_rank weights per head), by FLOPs for many: weights are decoded once
// for TOKENS tokens.
//
// The canonical sum of the linear kernels over rows, with the rows of a group as blocks: d ascending, a fresh accumulator
// where the row of kv_b_proj enters a new group, then total = fma(scale, accumulator, total). Where each row has scales of its
// own, weights are scaled first, and all rows are one block.
struct Params {
    q_stride4: u32, // q and its offsets are counted in vec4
    q_offset4: u32,
    head_stride4: u32,
    heads: u32,
    nope_dim: u32,
    columns4: u32,      // kv_lora_rank / 4
    scale_rows: u32,    // rows of one head in the table of scales
    scale_words: u32,   // words of a row of it
    capacity: u32,      // rows of q and y
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>;      // [tokens, q_stride4]
@group(0) @binding(2) var<storage, read> weight: array<vec4<u32>>; // [heads * nope_dim, pieces]
@group(0) @binding(3) var<storage, read> scales: array<u32>;       // [groups of rows, scale_words]
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>; // [tokens, heads * columns4]

const LANES: u32 = 32u; // 128 columns
override TOKENS: u32 = 4u; // 4, or 1 where no more than that come

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let column = group.x * LANES + lane; // of vec4
    let head = group.y;
    let token = group.z * TOKENS;
    let tokens = min(vec4<u32>(token, token + 1u, token + 2u, token + 3u), vec4<u32>(params.capacity - 1u));
    let q_row = tokens * params.q_stride4 + params.q_offset4 + head * params.head_stride4;
    let own = min(column, params.columns4 - 1u);

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
        let row = head * params.scale_rows + d;
        let end = select(min(params.nope_dim, d + GROUP_ROWS - row % GROUP_ROWS), params.nope_dim, GROUP_ROWS == 1u);
        for (; d < end; d += 4u) {
            let w0 = key4(head, d, own);
            let w1 = key4(head, d + 1u, own);
            let w2 = key4(head, d + 2u, own);
            let w3 = key4(head, d + 3u, own);
            sum0 = mac4(sum0, w0, w1, w2, w3, q[q_row.x + d / 4u]);
            if (TOKENS > 1u) {
                sum1 = mac4(sum1, w0, w1, w2, w3, q[q_row.y + d / 4u]);
                sum2 = mac4(sum2, w0, w1, w2, w3, q[q_row.z + d / 4u]);
                sum3 = mac4(sum3, w0, w1, w2, w3, q[q_row.w + d / 4u]);
            }
        }
        var scale = vec4<f32>(1.0);
        if (GROUP_ROWS > 1u) { scale *= weight_scale(row / GROUP_ROWS * params.scale_words, 1u, own / GROUP_VECTORS); }
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

// Weights of row d of a head, scaled where each row has scales of its own.
fn key4(head: u32, d: u32, column: u32) -> vec4<f32> {
    let first = (head * params.nope_dim + d) * row_pieces(params.columns4);
    if (GROUP_ROWS > 1u) { return row_weights4(first, params.columns4, column); }
    let scale = (head * params.scale_rows + d) * params.scale_words;
    return row_scaled4(first, params.columns4, scale, column);
}
