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
    Mix { name, file_type, base, head, sensitive: Sensitive::Base, output: None }
}

use BlockType::{BF16, F16, F32, IQ4_NL, Q2_K, Q3_K, Q4_0, Q4_1, Q4_K, Q5_0, Q5_1, Q5_K, Q6_K, Q8_0};

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
        Mix { sensitive: Sensitive::Every(Q4_K), output: Some(Q4_K), ..even("q3_k_m", 12, Q3_K, Q6_K) },
        Mix { sensitive: Sensitive::Every(Q3_K), output: Some(Q3_K), ..even("q2_k", 10, Q2_K, Q6_K) },
    ];

    /// The mix of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Mix> {
        Mix::ALL.iter().find(|mix| mix.name.eq_ignore_ascii_case(name))
    }

    /// The type of a matrix by its name in the file; `layers` is how many there are.
    pub(super) fn matrix(&self, name: &str, layers: u32, is_tied: bool) -> BlockType {
        // Small, and its sums choose: a little error there is a whole expert, or a whole position, elsewhere.
        if name.contains(".ffn_gate_inp.") || name.contains(".indexer.proj.") {
            return F32;
        }
        let Some((layer, part)) = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) else {
            let is_head = name == "output.weight" || is_tied;
            return if is_head { self.head } else { self.base };
        };
        let layer = layer.parse().unwrap_or(0);
        match part {
            _ if part.starts_with("ffn_down") || part == "attn_v_b.weight" => match self.sensitive {
                Sensitive::Half(kind) if gets_more(layer, layers) => kind,
                Sensitive::Every(kind) => kind,
                _ => self.base,
            },
            "attn_output.weight" => self.output.unwrap_or(self.base),
            _ => self.base,
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

    /// Oracle: files of DeepSeek's 27 layers that llama.cpp wrote.
    #[test]
    fn the_middle_mix_spends_bits_on_half_the_layers() {
        let mix = Mix::named("q4_k_m").unwrap();
        let more: Vec<u32> = (0..27)
            .filter(|layer| mix.matrix(&format!("blk.{layer}.ffn_down_exps.weight"), 27, false) == Q6_K)
            .collect();
        assert_eq!(more, [0, 1, 2, 5, 8, 11, 14, 17, 20, 23, 24, 25, 26]);
        let kind = |name: &str| mix.matrix(name, 27, false);
        assert_eq!(
            [kind("output.weight"), kind("token_embd.weight"), kind("blk.3.attn_k_b.weight")],
            [Q6_K, Q4_K, Q4_K]
        );
        assert_eq!([kind("blk.3.ffn_gate_inp.weight"), kind("blk.3.ffn_gate_exps.weight")], [F32, Q4_K]);
        assert_eq!(mix.matrix("token_embd.weight", 27, true), Q6_K);
    }
}
