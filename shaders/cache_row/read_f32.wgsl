// Cache rows in f32: a vector is four elements.
alias CacheVector = vec4<f32>;
fn row_vectors(scaled4: u32, rest4: u32) -> u32 { return scaled4 + rest4; }
fn cached(at: u32) -> vec4<f32> { return cache_vector(at); }
fn cached_rest(row: u32, scaled4: u32, i: u32) -> vec4<f32> { return cache_vector(row + scaled4 + i); }
fn cached_scale(at: u32) -> f32 { return 1.0; }
