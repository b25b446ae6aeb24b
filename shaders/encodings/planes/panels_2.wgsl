// 2-bit codes in panels: a piece is 64 weights. As panels_32.wgsl; a step is a word, so that groups of 16 columns end with one.
const STEP_VECTORS: u32 = 4u;
fn pieces_of(columns4: u32) -> vec2<u32> { return vec2<u32>((columns4 + 15u) / 16u, 0u); }
fn step_mac(at: vec4<u32>, high: vec4<u32>, step: u32) {
    let i = at + step / 4u * 32u;
    let word = step % 4u;
    var codes = vec4<u32>(weight[i.x][word], weight[i.y][word], weight[i.z][word], weight[i.w][word]);
    for (var k4 = step * 4u; k4 < step * 4u + 4u; k4 += 2u) {
        byte_mac(codes, k4);
        byte_mac(codes >> vec4<u32>(8u), k4 + 1u);
        codes = codes >> vec4<u32>(16u);
    }
}
fn byte_mac(u: vec4<u32>, k4: u32) {
    mac(decode4(pairs4(u.x)), decode4(pairs4(u.y)), decode4(pairs4(u.z)), decode4(pairs4(u.w)), k4);
}
