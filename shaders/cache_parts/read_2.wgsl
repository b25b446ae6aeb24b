// A cache in two bindings, of whole pages each.
override PART: u32; // vectors of each binding but the last
@group(0) @binding(FURTHER) var<storage, read> cache1: array<CacheVector>;
fn cache_vector(at: u32) -> CacheVector {
    if (at < PART) { return cache[at]; }
    return cache1[at - PART];
}
