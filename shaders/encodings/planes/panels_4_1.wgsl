// 5-bit codes in panels: nibbles, 32 to a piece, then the fifth bits, 128 to a piece. As panels_32.wgsl.
const STEP_VECTORS: u32 = 8u;
fn pieces_of(columns4: u32) -> vec2<u32> { return vec2<u32>((columns4 + 7u) / 8u, (columns4 + 31u) / 32u); }
fn step_mac(at: vec4<u32>, high: vec4<u32>, step: u32) {
    let i = at + step * 32u;
    var a = weight[i.x];
    var b = weight[i.y];
    var c = weight[i.z];
    var d = weight[i.w];
    // One word of the second plane for the four of the first.
    let j = high + step / 4u * 32u;
    let word = step % 4u;
    var fifth = vec4<u32>(weight[j.x][word], weight[j.y][word], weight[j.z][word], weight[j.w][word]);
    for (var k4 = step * 8u; k4 < step * 8u + 8u; k4 += 2u) {
        word_mac(a.x, b.x, c.x, d.x, fifth, k4);
        a = a.yzwx;
        b = b.yzwx;
        c = c.yzwx;
        d = d.yzwx;
        fifth = fifth >> vec4<u32>(8u);
    }
}
fn word_mac(a: u32, b: u32, c: u32, d: u32, fifth: vec4<u32>, k4: u32) {
    half_mac(a, b, c, d, fifth, k4);
    half_mac(a >> 16u, b >> 16u, c >> 16u, d >> 16u, fifth >> vec4<u32>(4u), k4 + 1u);
}
fn half_mac(a: u32, b: u32, c: u32, d: u32, fifth: vec4<u32>, k4: u32) {
    mac(weights4(a, fifth.x), weights4(b, fifth.y), weights4(c, fifth.z), weights4(d, fifth.w), k4);
}
fn weights4(low: u32, high: u32) -> vec4<f32> {
    return decode4(nibbles4(low) | (bits4(high) << vec4<u32>(4u)));
}
