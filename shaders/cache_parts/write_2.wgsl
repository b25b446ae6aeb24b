// A cache in two bindings, of whole pages each.
override PART: u32; // words of each binding but the last
@group(0) @binding(FURTHER) var<storage, read_write> cache1: array<u32>;
fn put_word(at: u32, word: u32) {
    if (at < PART) { cache[at] = word; } else { cache1[at - PART] = word; }
}
