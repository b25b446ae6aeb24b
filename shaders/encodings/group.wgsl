// The group of an encoding: the weights that share a scale. Its columns are the block of the canonical sum.
override GROUP_ROWS: u32;
override GROUP_VECTORS: u32; // columns / 4
