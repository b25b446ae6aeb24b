// The group of an encoding: the weights that share a scale. Its columns are the block of the canonical sum.
override GROUP_ROWS: u32;
override GROUP_VECTORS: u32; // columns / 4
override SCALE_BLOCKS: u32;  // groups side by side whose scales fill SCALE_WORDS words
override SCALE_WORDS: u32;   // 0: no scales
override HAS_MINIMUM: u32;   // 1: a weight is scale * code + minimum
fn scale_words(blocks: u32) -> u32 { return (blocks + SCALE_BLOCKS - 1u) / SCALE_BLOCKS * SCALE_WORDS; } // of a row
