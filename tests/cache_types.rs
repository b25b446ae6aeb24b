//! What packing the cache costs. Oracle: the same model with its cache in f32, over a text.
//!
//! docs/performance.md states the figures that this test prints, and the bounds here hold them.

use lyn::engine::{Place, Trial};
use lyn::generate::{Chunk, Wanted};
use lyn::memory::{CacheType, ContextSize};
use lyn::record::Taps;
use lyn::{Engine, Options, models, platform};
use lyn_conformance::{load_trial, one_device};

/// A story as the model knows them, longer than three times the positions that its indexer keeps.
const STORY: &str = "Once upon a time, there was a little frog named Tim. Tim lived in a small pond near a big green hill. Every \
day he liked to sit on his leaf and look at the sky. One day a bird came down to the water. The bird was sad. \"What is wrong?\" \
asked Tim. \"I lost my red ribbon,\" said the bird. \"My mom gave it to me, and now it is gone.\" Tim wanted to help his new friend. \
They looked under the rocks. They looked behind the old tree. They asked a fish and a duck, but nobody had seen the ribbon. The \
bird began to cry. Then Tim had an idea. He jumped up the hill as fast as he could. At the top of the hill there was a little girl \
with a kite. On the tail of the kite was the red ribbon! \"That ribbon belongs to my friend,\" said Tim. The girl smiled. \"I found \
it on the ground,\" she said. \"I am sorry. Here, you can have it back.\" Tim took the ribbon and jumped down the hill. The bird was \
so happy that she sang a song for everyone at the pond. From that day on, the frog and the bird were best friends, and they played \
with the girl and her kite every day.";

fn engine(cache_type: CacheType) -> Engine {
    let options = Options {
        context: ContextSize::Tokens(384),
        chunk: Some(384),
        cache_type: Some(cache_type),
        ..Options::default()
    };
    let trial = Trial { all_logits: true, ..Trial::default() };
    load_trial(models::stories(), Place::Gpu(Box::new(one_device())), &options, trial)
}

/// What a model makes of a text: logits of each token, and for each layer and token the positions that the indexer selected.
struct Reading {
    logits: Vec<Vec<f32>>,
    selected: Vec<Vec<u32>>,
}

fn read(engine: &mut Engine, ids: &[u32], size: usize) -> Reading {
    platform::block_on(async {
        let runner = engine.runner();
        let sequence = runner.open()?;
        let mut reading = Reading { logits: vec![], selected: vec![] };
        for ids in ids.chunks(size) {
            let chunk = Chunk { sequence, ids, wanted: Wanted::All };
            for (tap, words) in runner.step_tapped(&[chunk], false, Taps::All).await?.read().await? {
                let rows = words.chunks(words.len() / ids.len());
                if tap.name == "logits" {
                    reading.logits.extend(rows.map(|row| row.iter().map(|&bits| f32::from_bits(bits)).collect()));
                } else if tap.name.ends_with(".idx_topk") {
                    reading.selected.extend(rows.map(<[u32]>::to_vec));
                }
            }
        }
        runner.close(sequence);
        lyn::Result::<Reading>::Ok(reading)
    })
    .expect("steps run")
}

/// log softmax, in f64.
fn log_probabilities(logits: &[f32]) -> Vec<f64> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - most).exp()).sum();
    logits.iter().map(|&logit| f64::from(logit - most) - sum.ln()).collect()
}

/// Σ p · (ln p − ln q).
fn divergence(expected: &[f32], got: &[f32]) -> f64 {
    let (expected, got) = (log_probabilities(expected), log_probabilities(got));
    expected.iter().zip(got).map(|(p, q)| p.exp() * (p - q)).sum()
}

fn best(logits: &[f32]) -> Option<usize> {
    (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b]))
}

#[test]
fn packed_caches_stay_near_f32() {
    let mut wide = engine(CacheType::F32);
    let ids = wide.raw_prompt(STORY).expect("ids");
    let (expected, topk) = (read(&mut wide, &ids, ids.len()), wide.index_topk().expect("an indexer") as usize);
    drop(wide);
    assert!(ids.len() > 3 * topk, "{} tokens", ids.len());
    for (cache_type, most_divergence, least_agreement, least_recall) in
        [(CacheType::F16, 1e-4, 0.99, 0.99), (CacheType::Fp8, 2e-2, 0.9, 0.9)]
    {
        let mut engine = engine(cache_type);
        let got = read(&mut engine, &ids, ids.len());
        let rows = || expected.logits.iter().zip(&got.logits);
        let divergences: Vec<f64> = rows().map(|(expected, got)| divergence(expected, got)).collect();
        let agreed = rows().filter(|(expected, got)| best(expected) == best(got)).count();
        // The first tokens see no more than is kept.
        let selections = expected.selected.iter().zip(&got.selected).enumerate();
        let chosen: Vec<_> = selections.filter(|(at, _)| at % ids.len() >= topk).map(|(_, pair)| pair).collect();
        let found: usize =
            chosen.iter().map(|(expected, got)| expected.iter().filter(|it| got.contains(it)).count()).sum();
        assert_eq!(expected.selected.len(), got.selected.len());
        let count = divergences.len() as f64;
        let mean = divergences.iter().sum::<f64>() / count;
        let worst = divergences.iter().copied().fold(0.0, f64::max);
        let (agreement, recall) = (agreed as f64 / count, found as f64 / (chosen.len() * topk) as f64);
        println!(
            "{cache_type}: KL mean {mean:.1e} worst {worst:.1e}, top-1 {:.1} %, recall {:.2} %, {count} tokens",
            agreement * 100.0,
            recall * 100.0
        );
        assert!(mean > 0.0, "{cache_type}: it is not packed at all");
        assert!(mean <= most_divergence, "{cache_type}: mean KL {mean:e}");
        assert!(agreement >= least_agreement && recall >= least_recall, "{cache_type}: {agreement}, {recall}");
        if cache_type == CacheType::Fp8 {
            let chunks = read(&mut engine, &ids, 70);
            assert!(chunks.logits == got.logits, "{cache_type}: chunks change bits");
        }
    }
}
