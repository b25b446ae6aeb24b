//! Files written from the goldens, read by the strict reader. Oracle: the checkpoint that they were written from.

use std::path::Path;
use std::sync::Arc;

use super::{BlockType, Conversion, InFlight, Mix, rows};
use crate::checkpoint::{
    Checkpoint, FolderSource, GenerationDefaults, GroupScore, MemorySource, Source, TokenizerFile, names,
};
use crate::error::{Code, Result};
use crate::platform::block_on;

fn golden(name: &str) -> Checkpoint {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/golden").join(name);
    block_on(Checkpoint::open(Arc::new(FolderSource::new(folder).unwrap()))).unwrap()
}

fn mix(name: &str) -> &'static Mix {
    Mix::named(name).unwrap()
}

/// The whole file, its last piece first.
fn file(conversion: &Conversion) -> Result<Vec<u8>> {
    let mut bytes = vec![0xff; usize::try_from(conversion.file_bytes()).unwrap()];
    bytes[..conversion.header().len()].copy_from_slice(conversion.header());
    let pieces: Vec<_> = conversion.pieces().collect();
    for piece in pieces.into_iter().rev() {
        let written = block_on(conversion.encode(&piece))?;
        assert_eq!(written.len() as u64, piece.bytes);
        let start = usize::try_from(piece.offset).unwrap();
        bytes[start..][..written.len()].copy_from_slice(&written);
    }
    Ok(bytes)
}

fn reopened(bytes: Vec<u8>) -> Checkpoint {
    block_on(Checkpoint::open(Arc::new(MemorySource::new().with("model.gguf", bytes)))).unwrap()
}

fn values(checkpoint: &Checkpoint, name: &str) -> Vec<f32> {
    let tensor = checkpoint.tensor(name).unwrap();
    let rows = tensor.elements() / tensor.shape.last().unwrap();
    block_on(rows::read(checkpoint, name, 0, if tensor.shape.len() == 1 { 1 } else { rows })).unwrap()
}

/// In F32 nothing is lost, whatever the checkpoint is stored in: bf16, f32, fp8, Q8_0; V2, V3, V3.2, GLM-5, Youtu.
#[test]
fn every_weight_of_every_family_is_where_the_reader_looks() {
    for name in
        ["e_bf16_sharded", "f_fp8_edge_blocks", "h_mtp", "i_glm_moe_dsa", "j_v2_lite", "l_youtu_tied", "n_gguf_q8_0"]
    {
        let from = golden(name);
        let conversion = block_on(Conversion::new(from.clone(), mix("f32"), name)).unwrap();
        let to = reopened(file(&conversion).unwrap());
        assert_eq!(to.config.layers, from.config.layers[..to.config.layers.len()], "{name}");
        assert_eq!(to.config.rope, from.config.rope, "{name}");
        let config = &from.config;
        let main = names::expected(config).map(|expected| expected.name);
        for tensor in main {
            let halves = names::split_layer(&tensor).filter(|(_, part)| *part == "self_attn.kv_b_proj.weight");
            match halves.filter(|_| from.has(&tensor)) {
                None if !from.has(&tensor) => {} // split in the source as well: below
                None => assert_eq!(values(&to, &tensor), values(&from, &tensor), "{name}: {tensor}"),
                Some((layer, _)) => {
                    let whole = values(&from, &tensor);
                    let [keys, tops] = ["embed_q", "unembed_out"]
                        .map(|part| values(&to, &names::layer(layer, &format!("self_attn.{part}"))));
                    let [heads, rank, nope, value] =
                        [config.num_attention_heads, config.kv_lora_rank, config.qk_nope_head_dim, config.v_head_dim]
                            .map(|size| size as usize);
                    for head in 0..heads {
                        for row in 0..nope + value {
                            for column in 0..rank {
                                let found = match row.checked_sub(nope) {
                                    None => keys[(head * rank + column) * nope + row],
                                    Some(row) => tops[(head * value + row) * rank + column],
                                };
                                assert_eq!(
                                    found,
                                    whole[(head * (nope + value) + row) * rank + column],
                                    "{name}: {tensor}"
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Blocks of the wanted type are copied: they are the same bytes, read and written.
#[test]
fn what_has_the_type_already_is_copied() {
    let from = golden("n_gguf_q8_0");
    let conversion = block_on(Conversion::new(from.clone(), mix("q8_0"), "again")).unwrap();
    assert_eq!(conversion.source_types().first().map(|dtype| dtype.name()), Some("Q8_0"));
    let to = reopened(file(&conversion).unwrap());
    for tensor in
        ["model.layers.0.self_attn.embed_q.weight", "model.layers.1.mlp.experts.3.up_proj.weight", names::EMBED]
    {
        let stored = |checkpoint: &Checkpoint| {
            let rows = checkpoint.tensor(tensor).unwrap().shape.iter().rev().skip(1).product();
            block_on(rows::stored(checkpoint, tensor, 0, rows)).unwrap()
        };
        assert_eq!(stored(&from), stored(&to), "{tensor}");
    }
    assert_eq!((to.prediction_layers, from.prediction_layers), (1, 1));
    let texts = |checkpoint: &Checkpoint| match block_on(checkpoint.text()).unwrap().unwrap().tokenizer {
        TokenizerFile::Lists(lists) => lists.bytes,
        _ => panic!("a GGUF file has lists"),
    };
    assert!(texts(&from) == texts(&to));
}

/// What generation_config.json says goes with the file: sampling, and tokens that end an answer.
#[test]
fn recommended_sampling_is_written() {
    let mut from = golden("j_v2_lite");
    let end = from.config.eos_token_ids.first().copied().unwrap_or(0) + 1;
    from.generation = GenerationDefaults {
        do_sample: Some(true),
        temperature: Some(0.6),
        top_p: Some(0.95),
        top_k: Some(20),
        min_p: None,
        repetition_penalty: Some(1.05),
        eos_token_ids: vec![end],
    };
    let to = |from: &Checkpoint| {
        let conversion = block_on(Conversion::new(from.clone(), mix("q8_0"), "x")).unwrap();
        block_on(conversion.unwritten()).unwrap()
    };
    let expected = GenerationDefaults { do_sample: None, eos_token_ids: vec![], ..from.generation.clone() };
    assert_eq!(to(&from).generation, expected);
    assert_eq!(to(&from).config.eos_token_ids.last(), Some(&end));
    from.generation.do_sample = Some(false);
    assert_eq!(to(&from).generation.temperature, Some(0.0), "greedy");
}

/// Before it is written, a file is planned as it will be read; its weights are not there.
#[test]
fn an_unwritten_file_is_the_written_one() {
    for name in ["g_fp8_official", "j_v2_lite", "l_youtu_tied", "p_int4_compressed_tensors"] {
        let conversion = block_on(Conversion::new(golden(name), mix("q4_k_m"), name)).unwrap();
        let (planned, written) = (block_on(conversion.unwritten()).unwrap(), reopened(file(&conversion).unwrap()));
        assert_eq!(planned.totals(true), written.totals(true), "{name}");
        assert_eq!(planned.config, written.config, "{name}");
        let embedding = planned.tensor(names::EMBED).unwrap();
        let error = block_on(planned.read(embedding, 0, 16)).unwrap_err();
        assert_eq!(error.code(), Code::Internal, "{error}");
    }
}

/// A config alone stands for the files beside it, as far as their publishers store what it says.
#[test]
fn a_config_alone_is_the_checkpoint_beside_it() {
    for name in ["e_bf16_sharded", "g_fp8_official", "p_int4_compressed_tensors"] {
        let files = golden(name);
        let config = block_on(files.source().read("config.json", 0, config_bytes(&files))).unwrap();
        let described = Checkpoint::described_by("config.json", &config).unwrap();
        assert_eq!(described.config, files.config, "{name}");
        assert_eq!(described.totals(true).parameters, files.totals(true).parameters, "{name}");
        let mut found: Vec<_> = described.tensors().map(|(name, tensor, role)| (name, &tensor.shape, role)).collect();
        let mut expected: Vec<_> = files.tensors().map(|(name, tensor, role)| (name, &tensor.shape, role)).collect();
        found.sort_unstable_by_key(|(name, ..)| *name);
        expected.sort_unstable_by_key(|(name, ..)| *name);
        assert_eq!(found, expected, "{name}");
        assert!(block_on(described.read_f32(names::NORM)).is_err());
    }
    let mlx = golden("q_mlx_4bit");
    let config = block_on(mlx.source().read("config.json", 0, config_bytes(&mlx))).unwrap();
    let error = Checkpoint::described_by("config.json", &config).map(drop).unwrap_err();
    assert!(error.message().contains("only the files say"), "{error}");
}

fn config_bytes(checkpoint: &Checkpoint) -> usize {
    usize::try_from(block_on(checkpoint.source().size("config.json")).unwrap().unwrap()).unwrap()
}

/// A mix is what each tensor's rows allow.
#[test]
fn a_mix_falls_back_by_rows() {
    let conversion = block_on(Conversion::new(golden("g_fp8_official"), mix("q4_k_m"), "g")).unwrap();
    let kind = |name: &str| conversion.targets.iter().find(|target| target.name == name).unwrap().kind;
    assert_eq!(kind("token_embd.weight"), BlockType::Q4_K);
    assert_eq!(kind("blk.0.attn_norm.weight"), BlockType::F32);
    assert_eq!(kind("blk.0.attn_k_b.weight"), BlockType::Q5_0, "rows of 128");
    assert_eq!(kind("blk.0.indexer.proj.weight"), BlockType::F32);
}

#[test]
fn what_gguf_cannot_say_is_refused_by_its_field() {
    let refused = |name: &str, change: &dyn Fn(&mut Checkpoint)| {
        let mut checkpoint = golden(name);
        change(&mut checkpoint);
        let error = block_on(Conversion::new(checkpoint, mix("q8_0"), "x")).map(drop).unwrap_err();
        assert_eq!(error.code(), Code::UnsupportedModel, "{error}");
        error.message().to_owned()
    };
    let interleave = refused("e_bf16_sharded", &|checkpoint| checkpoint.config.rope.interleave = false);
    assert!(interleave.starts_with("config.json: rope_interleave: false: GGUF"), "{interleave}");
    let scaling = refused("b_yarn", &|checkpoint| {
        checkpoint.config.rope.scaling.as_mut().unwrap().mscale = Some(0.5);
    });
    assert!(scaling.starts_with("config.json: rope_scaling: {\"") && scaling.contains("\"mscale\":0.5"), "{scaling}");
    let router = refused("b_yarn", &|checkpoint| {
        let router = checkpoint.config.router.as_mut().unwrap();
        router.group_score = match router.group_score {
            GroupScore::Max => GroupScore::TopTwoSum,
            GroupScore::TopTwoSum => GroupScore::Max,
        };
    });
    assert!(router.starts_with("config.json: topk_method: \""), "{router}");
    for message in [&interleave, &scaling, &router] {
        assert!(!message.contains("Some(") && !message.contains(" { "), "{message}");
    }
    let layers = refused("b_yarn", &|checkpoint| {
        let last = checkpoint.config.num_hidden_layers as usize - 1;
        checkpoint.config.layers[last].moe = false;
    });
    assert!(layers.starts_with("config.json: layer ") && layers.contains("a dense feed-forward"), "{layers}");
}

#[test]
fn a_broken_weight_is_named() {
    let from = golden("j_v2_lite");
    let name = "model.layers.1.self_attn.o_proj.weight";
    let tensor = from.tensor(name).unwrap().clone();
    let source = from.source();
    let mut memory = MemorySource::new();
    for file in ["config.json", &*tensor.file] {
        let size = usize::try_from(block_on(source.size(file)).unwrap().unwrap()).unwrap();
        let mut bytes = block_on(source.read(file, 0, size)).unwrap();
        if file == &*tensor.file {
            // The upper byte of a bf16 or an f32: NaN or infinite with the next.
            let end = usize::try_from(tensor.offset + tensor.bytes).unwrap();
            bytes[end - 2..end].fill(0x7f);
            bytes[end - 2] = 0xff;
        }
        memory = memory.with(file, bytes);
    }
    let broken = block_on(Checkpoint::open(Arc::new(memory))).unwrap();
    let conversion = block_on(Conversion::new(broken, mix("q4_k_m"), "x")).unwrap();
    let error = file(&conversion).unwrap_err();
    assert!(error.class() == Some("E-VALUE") && error.message().contains(name), "{error}");
    assert!(error.message().contains("expected a finite number, found NaN"), "{error}");
    assert!(!error.help().concat().contains("--type"), "no type has NaN: {error}");
}

/// Read in any stretches, the file that lies nowhere is the file that is written.
#[test]
fn a_conversion_can_be_read_in_place_of_its_file() {
    let conversion = || block_on(Conversion::new(golden("e_bf16_sharded"), mix("q8_0"), "a")).unwrap();
    let written = file(&conversion()).unwrap();
    let source = InFlight::new(conversion());
    for length in [written.len(), 4099] {
        let read = (0..written.len()).step_by(length).map(|start| {
            let length = length.min(written.len() - start);
            block_on(source.read("model.gguf", start as u64, length)).unwrap()
        });
        // Padding is no data.
        let differ = |(at, (a, b)): (usize, (u8, &u8))| (a != *b && *b != 0xff).then_some(at);
        assert_eq!(read.flatten().zip(&written).enumerate().filter_map(differ).next(), None);
    }
    assert!(block_on(source.read("model.gguf", written.len() as u64 - 1, 2)).is_err());
    let opened = block_on(Checkpoint::open(Arc::new(source))).unwrap();
    assert_eq!(opened.totals(true), reopened(written).totals(true));
}
