// What changes from step to step, written by the host or by `advance`; bound as `step: array<vec4<u32>>`.
//   step[0]     = (tokens, rows, length, counter)
//   step[1 + t] = token t: (id, position, sequence, index of the token whose logits are output row t)
//   from step[params.pages_from] on, four to a record: the pages [sequences, params.pages_per_sequence]
// Cache rows live in pages of 64 positions.
const PAGE: u32 = 64u;

fn cache_row(sequence: u32, position: u32) -> u32 {
    let place = sequence * params.pages_per_sequence + position / PAGE;
    return step[params.pages_from + place / 4u][place % 4u] * PAGE + position % PAGE;
}
