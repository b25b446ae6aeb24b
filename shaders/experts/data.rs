//! Data for the cases of the expert kernels: routings, weights, and the list of shapes that gate_up and down share.

use super::{ExpertPanels, ExpertShard, max_tiles};
use crate::case::{Data, Random, poison};
use crate::encodings::data::{bound_scales, random_panels};
use crate::encodings::{Panels, STORED, encodings};
use crate::expert_bin::reference::bin;
use crate::kernel::Slot;

/// How tokens choose experts in a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Routing {
    /// Any, each at most once for a token.
    Random,
    /// All tokens choose the same: some experts have all tokens, the others none.
    Same,
}

/// `[tokens, slots]` of (expert, weight); the last of each row is the shared expert, if there is one.
pub(crate) fn entries(
    seed: u64,
    tokens: u32,
    slots: u32,
    experts: u32,
    shared: bool,
    routing: Routing,
) -> Vec<(u32, f32)> {
    let mut random = Random::new(seed);
    let mut all = Vec::new();
    let mut chosen = Vec::new();
    for token in 0..tokens {
        if token == 0 || routing == Routing::Random {
            chosen = random.shuffle(experts);
            chosen.truncate((slots - u32::from(shared)) as usize);
        }
        all.extend(chosen.iter().map(|&expert| (expert, random.float())));
        if shared {
            all.push((experts, 1.0));
        }
    }
    all
}

/// Words and scales of a shard's gate_up weights.
pub(crate) fn gate_up(random: &mut Random, panels: &ExpertPanels, shard: &ExpertShard) -> (Vec<u32>, Vec<u32>) {
    matrices(random, shard, |shared| vec![panels.gate_up_panels(shared); 2])
}

/// Words and scales of a shard's down weights.
pub(crate) fn down(random: &mut Random, panels: &ExpertPanels, shard: &ExpertShard) -> (Vec<u32>, Vec<u32>) {
    matrices(random, shard, |shared| vec![panels.down_panels(shared)])
}

fn matrices(random: &mut Random, shard: &ExpertShard, of_expert: impl Fn(bool) -> Vec<Panels>) -> (Vec<u32>, Vec<u32>) {
    let (mut words, mut scales) = (Vec::new(), Vec::new());
    let shared = std::iter::repeat_n(true, usize::from(shard.has_shared));
    for panels in std::iter::repeat_n(false, shard.experts as usize).chain(shared).flat_map(of_expert) {
        let (own_words, own_scales) = random_panels(random, &panels);
        words.extend(own_words);
        scales.extend(own_scales);
    }
    (words, bound_scales(scales))
}

/// One case of gate_up or down before it has data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    /// Layout.
    pub(crate) panels: ExpertPanels,
    /// Weights in slot 0 of the kernel's buffers, scales in slot 1.
    pub(crate) shard: ExpertShard,
    /// Tokens of the step; the buffers have room for one more.
    pub(crate) tokens: u32,
    /// Entries of a token.
    pub(crate) slots: u32,
    /// Who goes where.
    pub(crate) routing: Routing,
    /// The inputs.
    pub(crate) data: Data,
    /// The tile form.
    pub(crate) binned: bool,
}

impl Setup {
    /// The shapes: every encoding with panels, pieces and blocks cut at their edges, experts in one shard or in several,
    /// shared experts of other widths, V3.2's 8 of 256 in miniature, adversarial inputs. Both forms have the same.
    pub(crate) fn all(binned: bool) -> Vec<Setup> {
        let mut setups = Vec::new();
        let token_counts = [3, 9, 33, 1];
        for (encoding, turn) in encodings().zip(0..) {
            let fit = |columns: u32| columns.next_multiple_of(encoding.column_step());
            let setup =
                |sizes: (u32, u32, u32), experts, shard: (u32, u32, bool), tokens: usize, routing, data| Setup {
                    panels: ExpertPanels {
                        gate_up_encoding: encoding,
                        down_encoding: encoding,
                        hidden_size: fit(sizes.0),
                        width: fit(sizes.1),
                        shared_width: fit(sizes.2),
                        total_experts: experts,
                    },
                    shard: ExpertShard {
                        weight: Slot(0),
                        scales: Slot(1),
                        first_expert: shard.0,
                        experts: shard.1,
                        has_shared: shard.2,
                    },
                    tokens: token_counts[(tokens + turn) % 4],
                    slots: if experts == 256 { 9 } else { 2 + u32::from(sizes.2 > 0) },
                    routing,
                    data,
                    binned,
                };
            setups.extend([
                setup((200, 72, 144), 5, (0, 5, true), 1, Routing::Random, Data::Random),
                setup((64, 32, 4), 8, (5, 3, true), 2, Routing::Random, Data::Random),
            ]);
            // Groups of one row cannot be cut by the edges of a matrix.
            if encoding.group.rows == 1 {
                continue;
            }
            setups.extend([
                setup((64, 32, 64), 5, (0, 5, true), 0, Routing::Random, Data::Random),
                setup((192, 96, 0), 5, (0, 5, false), 2, Routing::Random, Data::Random),
                setup((200, 72, 36), 5, (0, 5, true), 2, Routing::Same, Data::Random),
                setup((192, 96, 192), 8, (0, 3, false), 0, Routing::Random, Data::Random),
                setup((64, 72, 144), 8, (3, 2, false), 1, Routing::Random, Data::Random),
                setup((4, 4, 260), 3, (3, 0, true), 0, Routing::Random, Data::Random),
                setup((64, 32, 32), 256, (232, 24, true), 3, Routing::Random, Data::Random),
            ]);
            if STORED.contains(&encoding) {
                let adversarial = |&data| setup((260, 132, 40), 4, (0, 4, true), 1, Routing::Random, data);
                setups.extend(Data::ALL.iter().map(adversarial));
            }
        }
        setups
    }

    /// The first shape of each encoding that checkpoints store.
    pub(crate) fn few(binned: bool) -> Vec<Setup> {
        let all = Setup::all(binned);
        STORED
            .iter()
            .filter_map(|&encoding| all.iter().find(|setup| setup.panels.gate_up_encoding == encoding).copied())
            .collect()
    }

    /// The case's name.
    pub(crate) fn name(&self) -> String {
        let Setup { panels, shard, tokens, slots, routing, data, .. } = self;
        format!(
            "{:?}, {tokens} tokens, {slots} of {} experts, shard {} + {}{}, hidden {}, widths {} and {}, {routing:?}, {data:?}",
            panels.gate_up_encoding,
            panels.total_experts,
            shard.first_expert,
            shard.experts,
            if shard.has_shared { " and shared" } else { "" },
            panels.hidden_size,
            panels.width,
            panels.shared_width,
        )
    }

    /// A generator for the case.
    pub(crate) fn random(&self) -> Random {
        Random::new(u64::from(self.panels.hidden_size * 1009 + self.panels.width * 31 + self.tokens))
    }

    /// Words of `entries`, `order` and `tiles`, with room for a token more than there is.
    pub(crate) fn routes(&self) -> [Vec<u32>; 3] {
        let shared = self.panels.shared_width > 0;
        let total = self.panels.total_experts;
        let entries = entries(u64::from(total + self.tokens), self.tokens, self.slots, total, shared, self.routing);
        let (mut order, tiles) = bin(&entries.iter().map(|&(expert, _)| expert).collect::<Vec<_>>());
        let room = (self.tokens + 1) * self.slots;
        let mut tile_words = vec![tiles.len() as u32, 0, 0, 0];
        tile_words.extend(tiles.into_iter().flat_map(|[expert, first, count]| [expert, first, count, 0]));
        tile_words.extend(poison(4 * (1 + max_tiles(room, total + 1)) as usize - tile_words.len()));
        order.extend(poison(room as usize - order.len()));
        let mut entry_words: Vec<u32> = entries.into_iter().flat_map(|(expert, w)| [expert, w.to_bits()]).collect();
        entry_words.extend(poison(2 * room as usize - entry_words.len()));
        [entry_words, order, tile_words]
    }
}
