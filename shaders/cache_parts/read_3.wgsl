// A cache in three bindings, of whole pages each.
override PART: u32; // vectors of each binding but the last
@group(0) @binding(FURTHER) var<storage, read> cache1: array<CacheVector>;
@group(0) @binding(FURTHER + 1u) var<storage, read> cache2: array<CacheVector>;
fn cache_vector(at: u32) -> CacheVector {
    if (at < PART) { return cache[at]; }
    if (at < 2u * PART) { return cache1[at - PART]; }
    return cache2[at - 2u * PART];
}
