// 4-bit codes in panels: a piece is 32 weights. As panels_32.wgsl.
const STEP_VECTORS: u32 = 8u;
fn pieces_of(columns4: u32) -> vec2<u32> { return vec2<u32>((columns4 + 7u) / 8u, 0u); }
fn step_mac(at: vec4<u32>, high: vec4<u32>, step: u32) {
    let i = at + step * 32u;
    // In a loop: written out, a step has more decoded weights than a processor has registers.
    var a = weight[i.x];
    var b = weight[i.y];
    var c = weight[i.z];
    var d = weight[i.w];
    for (var k4 = step * 8u; k4 < step * 8u + 8u; k4 += 2u) {
        word_mac(a.x, b.x, c.x, d.x, k4);
        a = a.yzwx;
        b = b.yzwx;
        c = c.yzwx;
        d = d.yzwx;
    }
}
fn word_mac(a: u32, b: u32, c: u32, d: u32, k4: u32) {
    half_mac(a, b, c, d, k4);
    half_mac(a >> 16u, b >> 16u, c >> 16u, d >> 16u, k4 + 1u);
}
fn half_mac(a: u32, b: u32, c: u32, d: u32, k4: u32) {
    mac(decode4(nibbles4(a)), decode4(nibbles4(b)), decode4(nibbles4(c)), decode4(nibbles4(d)), k4);
}
