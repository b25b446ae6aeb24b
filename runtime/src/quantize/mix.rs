//! Which type each tensor of a file gets.
//!
//! A mix spends bits where errors cost most: on the head, on the matrices that write to the residual stream, on the values that
//! attention reads. The names and what they stand for are those of llama.cpp's `llama-quantize`, so that a file called `Q4_K_M` is what
//! people expect.

use super::encode::BlockType;

/// A type of file.
#[derive(Debug, PartialEq, Eq)]
pub struct Mix {
    /// As users write it: `q4_k_m`.
    pub name: &'static str,
    /// `general.file_type`; a label only.
    pub(super) file_type: u32,
    /// Of every matrix that nothing else is said of.
    base: BlockType,
    /// Of the head, and of an embedding that is the head too.
    head: BlockType,
    /// Of `ffn_down` and `attn_v_b`.
    sensitive: Sensitive,
    /// Of `attn_output`, where it is not the base.
    output: Option<BlockType>,
    /// Of all but the routed experts, in models that have some, where it is not the base.
    beside_experts: Option<BlockType>,
}

/// What a mix asks of a model.
#[derive(Clone, Copy)]
pub(super) struct Traits {
    /// How many layers it has.
    pub(super) layers: u32,
    /// Whether the head is the embedding.
    pub(super) is_tied: bool,
    pub(super) has_experts: bool,
}

/// Which layers' sensitive matrices get another type.
#[derive(Debug, PartialEq, Eq)]
enum Sensitive {
    Base,
    /// The first and the last eighth, and every third in between.
    Half(BlockType),
    Every(BlockType),
}

const fn even(name: &'static str, file_type: u32, base: BlockType, head: BlockType) -> Mix {
    Mix { name, file_type, base, head, sensitive: Sensitive::Base, output: None, beside_experts: None }
}

use BlockType::{BF16, F16, F32, IQ4_NL, IQ4_XS, MXFP4, Q2_K, Q3_K, Q4_0, Q4_1, Q4_K, Q5_0, Q5_1, Q5_K, Q6_K, Q8_0};

impl Mix {
    /// All of them, the largest first.
    pub const ALL: &'static [Mix] = &[
        even("f32", 0, F32, F32),
        even("bf16", 32, BF16, BF16),
        even("f16", 1, F16, F16),
        even("q8_0", 7, Q8_0, Q8_0),
        even("q6_k", 18, Q6_K, Q6_K),
        even("q5_1", 9, Q5_1, Q6_K),
        Mix { sensitive: Sensitive::Half(Q6_K), ..even("q5_k_m", 17, Q5_K, Q6_K) },
        even("q5_k_s", 16, Q5_K, Q6_K),
        even("q5_0", 8, Q5_0, Q6_K),
        even("q4_1", 3, Q4_1, Q6_K),
        Mix { sensitive: Sensitive::Half(Q6_K), ..even("q4_k_m", 15, Q4_K, Q6_K) },
        even("q4_k_s", 14, Q4_K, Q6_K),
        even("q4_0", 2, Q4_0, Q6_K),
        even("iq4_nl", 25, IQ4_NL, Q6_K),
        even("iq4_xs", 30, IQ4_XS, Q6_K),
        // What llama.cpp calls MXFP4_MOE.
        Mix { beside_experts: Some(Q8_0), ..even("mxfp4", 38, MXFP4, Q8_0) },
        Mix { sensitive: Sensitive::Every(Q4_K), output: Some(Q4_K), ..even("q3_k_m", 12, Q3_K, Q6_K) },
        Mix { sensitive: Sensitive::Every(Q3_K), output: Some(Q3_K), ..even("q2_k", 10, Q2_K, Q6_K) },
    ];

    /// The mix of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Mix> {
        Mix::ALL.iter().find(|mix| mix.name.eq_ignore_ascii_case(name))
    }

    /// The type of a matrix by its name in the file.
    pub(super) fn matrix(&self, name: &str, model: Traits) -> BlockType {
        // Small, and its sums choose: a little error there is a whole expert, or a whole position, elsewhere.
        if name.contains(".ffn_gate_inp.") || name.contains(".indexer.proj.") {
            return F32;
        }
        let is_routed = name.ends_with("_exps.weight");
        let base = self.beside_experts.filter(|_| model.has_experts && !is_routed).unwrap_or(self.base);
        let Some((layer, part)) = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) else {
            let is_head = name == "output.weight" || model.is_tied;
            return if is_head { self.head } else { base };
        };
        let layer = layer.parse().unwrap_or(0);
        match part {
            _ if part.starts_with("ffn_down") || part == "attn_v_b.weight" => match self.sensitive {
                Sensitive::Half(kind) if gets_more(layer, model.layers) => kind,
                Sensitive::Every(kind) => kind,
                _ => base,
            },
            "attn_output.weight" => self.output.unwrap_or(base),
            _ => base,
        }
    }
}

fn gets_more(layer: u32, layers: u32) -> bool {
    let eighth = layers / 8;
    layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case() {
        assert_eq!(Mix::named("Q4_K_M").map(|mix| mix.name), Some("q4_k_m"));
        assert_eq!(Mix::named("q9"), None);
    }

    const V2_LITE: Traits = Traits { layers: 27, is_tied: false, has_experts: true };

    #[test]
    fn four_bit_floats_are_for_experts_where_there_are_some() {
        let mix = Mix::named("mxfp4").unwrap();
        let dense = Traits { has_experts: false, ..V2_LITE };
        let kinds = |name: &str| [V2_LITE, dense].map(|model| mix.matrix(name, model));
        assert_eq!(kinds("blk.3.ffn_down_exps.weight")[0], MXFP4);
        for name in ["blk.3.attn_k_b.weight", "blk.3.ffn_down_shexp.weight", "blk.0.ffn_up.weight", "token_embd.weight"]
        {
            assert_eq!(kinds(name), [Q8_0, MXFP4], "{name}");
        }
        assert_eq!(kinds("output.weight"), [Q8_0; 2]);
    }

    /// Oracle: files of DeepSeek's 27 layers that llama.cpp wrote.
    #[test]
    fn the_middle_mix_spends_bits_on_half_the_layers() {
        let mix = Mix::named("q4_k_m").unwrap();
        let more: Vec<u32> =
            (0..27).filter(|layer| mix.matrix(&format!("blk.{layer}.ffn_down_exps.weight"), V2_LITE) == Q6_K).collect();
        assert_eq!(more, [0, 1, 2, 5, 8, 11, 14, 17, 20, 23, 24, 25, 26]);
        let kind = |name: &str| mix.matrix(name, V2_LITE);
        assert_eq!(
            [kind("output.weight"), kind("token_embd.weight"), kind("blk.3.attn_k_b.weight")],
            [Q6_K, Q4_K, Q4_K]
        );
        assert_eq!([kind("blk.3.ffn_gate_inp.weight"), kind("blk.3.ffn_gate_exps.weight")], [F32, Q4_K]);
        assert_eq!(mix.matrix("token_embd.weight", Traits { is_tied: true, ..V2_LITE }), Q6_K);
    }
}
