// Entries first .. first + 3 of a tile of `tile.z` entries that starts at order[tile.y]; the last one again beyond the end.
fn tile_entries(tile: vec4<u32>, first: u32) -> vec4<u32> {
    let at = tile.y + min(vec4<u32>(first, first + 1u, first + 2u, first + 3u), vec4<u32>(tile.z - 1u));
    return vec4<u32>(order[at.x], order[at.y], order[at.z], order[at.w]);
}
