// A cache in one binding.
fn put_word(at: u32, word: u32) { cache[at] = word; }
