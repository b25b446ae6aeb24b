// The four lowest bits of a word.
fn bits4(u: u32) -> vec4<u32> { return vec4<u32>(u, u >> 1u, u >> 2u, u >> 3u) & vec4<u32>(1u); }
