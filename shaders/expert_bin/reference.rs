//! The formula: entries sorted by expert, stably; runs of equal experts cut into tiles.

use crate::experts::TILE_ENTRIES;

/// Entry indices by expert, and (expert, first, count) of each tile.
pub(crate) fn bin(experts: &[u32]) -> (Vec<u32>, Vec<[u32; 3]>) {
    let expert = |&entry: &u32| experts[entry as usize];
    let mut order: Vec<u32> = (0..experts.len() as u32).collect();
    order.sort_by_key(expert);
    let (mut tiles, mut first) = (Vec::new(), 0);
    for run in order.chunk_by(|a, b| expert(a) == expert(b)) {
        for tile in run.chunks(TILE_ENTRIES as usize) {
            tiles.push([expert(&tile[0]), first, tile.len() as u32]);
            first += tile.len() as u32;
        }
    }
    (order, tiles)
}
