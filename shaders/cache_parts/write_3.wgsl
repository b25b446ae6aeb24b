// A cache in three bindings, of whole pages each.
override PART: u32; // words of each binding but the last
@group(0) @binding(FURTHER) var<storage, read_write> cache1: array<u32>;
@group(0) @binding(FURTHER + 1u) var<storage, read_write> cache2: array<u32>;
fn put_word(at: u32, word: u32) {
    if (at < PART) {
        cache[at] = word;
    } else if (at < 2u * PART) {
        cache1[at - PART] = word;
    } else {
        cache2[at - 2u * PART] = word;
    }
}
