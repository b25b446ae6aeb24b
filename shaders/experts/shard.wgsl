// What the expert kernels share: sizes, and where an expert lies in this dispatch's shard (experts/mod.rs has the layout).
struct Params {
    hidden_size: u32,
    width: u32,         // of a routed expert
    shared_width: u32,  // of the shared one
    hidden_stride: u32, // elements of a row of hidden: the larger width
    sharing: u32,       // entries that read one input row
    total_experts: u32, // routed ones, all shards; the shared one's number
    first_expert: u32,  // of this shard
    experts: u32,       // routed ones in this shard
    has_shared: u32,    // 1: the shared one follows them
    expert_pieces: u32, // 16-byte pieces of a routed expert
    expert_scales: u32, // words of its scales
}
@group(0) @binding(0) var<uniform> params: Params;

override SCALE_LANES: u32; // as Place.scale_lanes
const ELSEWHERE: u32 = 0xffffffffu;

// Routed experts before it in the shard, or ELSEWHERE.
fn find_expert(expert: u32) -> u32 {
    if (expert == params.total_experts) { return select(ELSEWHERE, params.experts, params.has_shared == 1u); }
    let before = expert - params.first_expert; // huge where the expert is in a shard before
    return select(ELSEWHERE, before, before < params.experts);
}

fn width_of(expert: u32) -> u32 { return select(params.width, params.shared_width, expert == params.total_experts); }

// Where the expert begins that has `before` routed ones before it; contract's.
fn place_of(before: u32) -> Place {
    return Place(before * params.expert_pieces, before * params.expert_scales, SCALE_LANES);
}
