//! Every golden checkpoint opens: config, names, shapes and types are those of files that another implementation wrote.

use std::path::Path;
use std::sync::Arc;

use lyn::checkpoint::{Checkpoint, FolderSource, GroupScore, LayerIndexer, Quantization, Scoring, names};

fn open_folder(folder: &Path) -> Checkpoint {
    let open = async {
        let checkpoint = Checkpoint::open(Arc::new(FolderSource::new(folder)?)).await?;
        checkpoint.check_values(&mut |_, _| Ok(())).await.map(|()| checkpoint)
    };
    pollster::block_on(open).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
}

fn open(name: &str) -> Checkpoint {
    open_folder(&Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/golden")).join(name))
}

#[test]
fn every_golden_opens() {
    let all = [
        "a_base",
        "b_yarn",
        "c_topk_exceeds_seq",
        "d_v3_no_q_lora",
        "e_bf16_sharded",
        "f_fp8_edge_blocks",
        "g_fp8_official",
        "h_mtp",
        "i_glm_moe_dsa",
        "j_v2_lite",
        "k_glm4_moe_lite",
        "l_youtu_tied",
        "m_v2_group_limited",
        "n_gguf_q8_0",
        "o_gguf_k_quants",
        "p_int4_compressed_tensors",
        "q_mlx_4bit",
        "r_gguf_v2_legacy",
    ];
    for name in all {
        let checkpoint = open(name);
        assert_eq!(checkpoint.unused, Vec::<String>::new(), "{name}");
        assert_eq!(checkpoint.prediction_layers, u32::from(["h_mtp", "n_gguf_q8_0"].contains(&name)), "{name}");
        let norm = pollster::block_on(checkpoint.read_f32(names::NORM)).expect("the norm is finite");
        assert_eq!(norm.len(), checkpoint.config.hidden_size as usize, "{name}");
    }
}

#[test]
fn the_embedded_model_opens() {
    let checkpoint = open_folder(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../models/stories")));
    assert_eq!((checkpoint.unused_count, checkpoint.generation.temperature), (0, Some(0.6)));
    assert_eq!((checkpoint.config.bos_token_id, checkpoint.config.eos_token_ids), (Some(0), vec![1]));
}

/// Oracle: the reading rules of config.json, by hand for each golden's config.json.
#[test]
fn configs_become_data() {
    let base = open("a_base").config;
    assert_eq!(base.layers.iter().map(|layer| layer.moe).collect::<Vec<_>>(), [false, true, true, true]);
    assert_eq!((base.rope.theta, base.rope.scaling, base.rope.interleave), (10_000.0, None, true));
    assert!(!base.indexer.expect("sparse").rope_interleave);

    let yarn = open("b_yarn").config.rope.scaling.expect("yarn in the spelling of transformers 5");
    assert_eq!((yarn.factor, yarn.original_max_position_embeddings, yarn.beta_fast), (8.0, 64, 4.0));
    assert_eq!((yarn.mscale_all_dim, yarn.attention_factor), (Some(1.0), None));
    assert_eq!(open("g_fp8_official").config.rope.scaling.map(|yarn| yarn.factor), Some(8.0));

    let dense = open("d_v3_no_q_lora").config;
    assert_eq!((dense.q_lora_rank, dense.indexer, dense.rope.theta), (None, None, 50_000.0));

    let glm = open("i_glm_moe_dsa").config;
    let full: Vec<bool> = glm.layers.iter().map(|layer| layer.indexer == Some(LayerIndexer::Full)).collect();
    assert_eq!(full, [true, true, false, true, false]);
    assert!(glm.indexer.expect("sparse").rope_interleave);

    let lite = open("j_v2_lite").config.router.expect("experts");
    assert_eq!((lite.scoring, lite.has_bias, lite.norm_topk_prob, lite.n_group), (Scoring::Softmax, false, false, 1));
    let glm_lite = open("k_glm4_moe_lite").config.router.expect("experts");
    assert_eq!((glm_lite.scoring, glm_lite.has_bias, glm_lite.norm_topk_prob), (Scoring::Sigmoid, true, true));
    let limited = open("m_v2_group_limited").config.router.expect("experts");
    assert_eq!((limited.group_score, limited.n_group, limited.topk_group), (GroupScore::Max, 4, 2));

    let tied = open("l_youtu_tied").config;
    assert_eq!((tied.router, tied.tie_word_embeddings, names::head(&tied)), (None, true, names::EMBED));
    let fp8 = |power_of_two_scales| Some(Quantization::Fp8 { power_of_two_scales });
    assert_eq!(open("f_fp8_edge_blocks").config.quantization, fp8(false));
    assert_eq!(open("g_fp8_official").config.quantization, fp8(true));
}

/// Oracle: the shapes of the published files, counted by hand for `a_base`.
#[test]
fn parameters_are_counted() {
    let attention = 64 + 48 * 64 + 48 + 160 * 48 + 48 * 64 + 32 + 176 * 32 + 64 * 80 + 64;
    let indexer = 256 * 48 + 32 * 64 + 2 * 32 + 8 * 64;
    let experts = 16 * 64 + 16 + 17 * 3 * 32 * 64;
    let expected = 2 * 256 * 64 + 64 + 4 * (attention + indexer) + 3 * 96 * 64 + 3 * experts;
    let checkpoint = open("a_base");
    assert_eq!(checkpoint.totals(false).parameters, expected);
    assert_eq!(checkpoint.totals(false).stored_bytes, 4 * expected);
    let with_prediction = open("h_mtp");
    assert!(with_prediction.totals(true).parameters > with_prediction.totals(false).parameters);
}
