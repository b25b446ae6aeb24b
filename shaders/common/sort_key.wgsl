// Keys whose unsigned order is the order of floats, by their bits: -0 equals +0, NaN is least.
fn sort_key(bits: u32) -> u32 {
    let magnitude = bits & 0x7fffffffu;
    let positive = bits == magnitude || magnitude == 0u;
    let key = select(~bits, magnitude | 0x80000000u, positive);
    return select(key, 0u, magnitude > 0x7f800000u);
}
