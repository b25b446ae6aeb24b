//! The router: from logits to experts and weights.

pub(crate) mod cases;
mod reference;

use crate::common;
use crate::kernel::{Extent, Interface, Kernel, Slot, Variant, floats, params, read, write};
/// Experts that the kernel can choose among: what its workgroup memory holds.
pub const MAX_EXPERTS: u32 = 512;

/// The experts of each token, by selection score descending, equal scores by index, with their weights.
///
/// `deepseek_v3` and later: sigmoid, bias, sum of the two best of a group, normalised. `deepseek_v2`: softmax, no bias, the
/// best of a group (`n_group` 1 where the choice is "greedy"), not normalised.
#[derive(Clone, Debug)]
pub struct Route {
    /// `[tokens, experts]`
    pub logits: Slot,
    /// `[experts]`, added for the choice alone; any slot that the kernel does not write if there is none
    pub bias: Slot,
    /// `[tokens, slots]` of two words: expert, and the bits of its f32 weight
    pub entries: Slot,
    /// Routed experts: at most [`MAX_EXPERTS`], a multiple of `n_group`.
    pub experts: u32,
    /// Experts chosen for each token: at most those of `topk_group` groups.
    pub experts_per_token: u32,
    /// Groups of neighbouring experts.
    pub n_group: u32,
    /// Groups that stay in the choice.
    pub topk_group: u32,
    /// Softmax over all experts instead of sigmoid.
    pub softmax: bool,
    /// A group's score is the sum of its two best instead of its best.
    pub group_top_two: bool,
    /// Whether there is a bias.
    pub has_bias: bool,
    /// Divide the weights by their sum; nothing is divided where one expert is chosen.
    pub normalise: bool,
    /// Multiplies the routed weights.
    pub scaling: f32,
    /// Whether an entry (`experts`, 1.0) for the shared expert ends each row.
    pub shared: bool,
}

impl Route {
    /// Entries of each token.
    pub(crate) const fn entries_per_token(&self) -> u32 {
        self.experts_per_token + self.shared as u32
    }

    const fn normalises(&self) -> bool {
        self.normalise && self.experts_per_token > 1
    }
}

params! { slots: u32, scaling: f32 }

pub(crate) static INTERFACE: Interface = Interface {
    name: "route",
    parts: &[include_str!("route.wgsl"), common::REDUCE, common::SIGMOID],
    bindings: &[read("logits"), read("bias"), write("entries")],
    params: Params::FIELDS,
};

impl Kernel for Route {
    fn interface(&self) -> &'static Interface {
        &INTERFACE
    }

    fn variant(&self) -> Variant {
        let groups = self.n_group.max(1);
        let constants = vec![
            ("EXPERTS", self.experts),
            ("PER_TOKEN", self.experts_per_token),
            ("GROUPS", groups),
            ("GROUP_SIZE", self.experts / groups),
            ("KEPT_GROUPS", self.topk_group),
            ("SOFTMAX", u32::from(self.softmax)),
            ("TOP_TWO", u32::from(self.group_top_two)),
            ("HAS_BIAS", u32::from(self.has_bias)),
            ("NORMALISE", u32::from(self.normalises())),
        ];
        Variant { constants, ..Variant::default() }
    }

    fn slots(&self) -> Vec<Slot> {
        vec![self.logits, self.bias, self.entries]
    }

    fn params(&self) -> Vec<u8> {
        Params { slots: self.entries_per_token(), scaling: self.scaling }.bytes()
    }

    fn workgroups(&self, extent: &Extent) -> [u32; 3] {
        [extent.tokens, 1, 1]
    }

    fn reference(&self, extent: &Extent, reads: &[&[u32]], writes: &mut [&mut [u32]]) {
        let (logits, bias) = (floats(reads[0]), floats(reads[1]));
        let rows = logits
            .chunks_exact(self.experts as usize)
            .zip(writes[0].chunks_exact_mut(2 * self.entries_per_token() as usize));
        for (logits, entries) in rows.take(extent.tokens as usize) {
            let mut chosen = reference::route(self, logits, bias);
            if self.shared {
                chosen.push((self.experts, 1.0));
            }
            for (words, (expert, weight)) in entries.chunks_exact_mut(2).zip(chosen) {
                words.copy_from_slice(&[expert, weight.to_bits()]);
            }
        }
    }
}
