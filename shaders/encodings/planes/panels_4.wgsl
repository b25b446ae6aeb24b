// 4-bit codes in panels: a piece is 32 weights. As panels_32.wgsl.
const STEP_VECTORS: u32 = 8u;
fn pieces_of(columns4: u32) -> vec2<u32> { return vec2<u32>((columns4 + 7u) / 8u, 0u); }
fn step_mac(at: vec4<u32>, high: vec4<u32>, step: u32) {
    let i = at + step * 32u;
    let a = weight[i.x];
    let b = weight[i.y];
    let c = weight[i.z];
    let d = weight[i.w];
    word_mac(a.x, b.x, c.x, d.x, step * 8u);
    word_mac(a.y, b.y, c.y, d.y, step * 8u + 2u);
    word_mac(a.z, b.z, c.z, d.z, step * 8u + 4u);
    word_mac(a.w, b.w, c.w, d.w, step * 8u + 6u);
}
fn word_mac(a: u32, b: u32, c: u32, d: u32, k4: u32) {
    half_mac(a, b, c, d, k4);
    half_mac(a >> 16u, b >> 16u, c >> 16u, d >> 16u, k4 + 1u);
}
fn half_mac(a: u32, b: u32, c: u32, d: u32, k4: u32) {
    mac(decode4(nibbles4(a)), decode4(nibbles4(b)), decode4(nibbles4(c)), decode4(nibbles4(d)), k4);
}
