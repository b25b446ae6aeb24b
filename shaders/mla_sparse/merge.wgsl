// A softmax over splits, pairwise in ascending order. State: m, the largest score so far; l, the sum of exp(score - m);
// o, the sum of exp(score - m) * value. Before the first split: m = NO_SCORE, l = 0, o = 0; merging into that is exact.
//   m' = max(m, m_s); a = decay(m - m'); b = decay(m_s - m'); l' = l * a + l_s * b; o' = o * a + o_s * b
const NO_SCORE: f32 = -3e38;

// exp(x) for x <= 0: exactly 1 at 0, where WGSL allows 3 ulp, and 0 where f32 ends.
fn decay(x: f32) -> f32 {
    return select(select(exp(max(x, -104.0)), 0.0, x < -104.0), 1.0, x >= 0.0);
}
fn decay4(x: vec4<f32>) -> vec4<f32> { return vec4<f32>(decay(x.x), decay(x.y), decay(x.z), decay(x.w)); }
fn merged(earlier: vec4<f32>, a: vec4<f32>, later: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    return fma(later, b, earlier * a);
}
