// A cache in one binding.
fn cache_vector(at: u32) -> CacheVector { return cache[at]; }
