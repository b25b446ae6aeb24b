// The four pairs of bits of a word's lowest byte.
fn pairs4(u: u32) -> vec4<u32> { return vec4<u32>(u, u >> 2u, u >> 4u, u >> 6u) & vec4<u32>(3u); }
