//! Oracles: the ranges of vLLM's sampling parameters; probabilities by hand.

use crate::checkpoint::GenerationDefaults;
use crate::error::Code;
use crate::generate::sampler::Step;
use crate::generate::{Sampler, SamplingParams};

fn greedy() -> SamplingParams {
    SamplingParams { temperature: 0.0, ..SamplingParams::default() }
}

fn sampler(params: SamplingParams, size: usize) -> Sampler {
    Sampler::new(params, vec![true; size].into(), size).unwrap()
}

#[test]
fn a_checkpoint_recommends_or_says_nothing() {
    let recommended = |do_sample, temperature, top_p| {
        let defaults = GenerationDefaults { do_sample, temperature, top_p, ..GenerationDefaults::default() };
        SamplingParams::recommended(&defaults)
    };
    let sampling = |temperature, top_p| SamplingParams { temperature, top_p, ..SamplingParams::default() };
    assert_eq!(recommended(None, None, None), sampling(1.0, 1.0));
    assert_eq!(recommended(Some(true), Some(0.5), Some(0.25)), sampling(0.5, 0.25));
    assert_eq!(recommended(None, Some(0.5), None), sampling(0.5, 1.0));
    assert_eq!(
        recommended(Some(false), Some(0.5), Some(0.25)),
        sampling(0.0, 0.25),
        "greedy, whatever the temperature"
    );
    let more = GenerationDefaults {
        top_k: Some(20),
        min_p: Some(0.25),
        repetition_penalty: Some(1.5),
        ..GenerationDefaults::default()
    };
    let expected = SamplingParams { top_k: 20, min_p: 0.25, repetition_penalty: 1.5, ..SamplingParams::default() };
    assert_eq!(SamplingParams::recommended(&more), expected);
}

#[test]
fn ranges_hold_both_of_their_ends() {
    let base = SamplingParams::default;
    for params in [
        SamplingParams { temperature: 0.0, top_p: f32::MIN_POSITIVE, min_p: 0.0, repetition_penalty: 0.01, ..base() },
        SamplingParams { temperature: 2.0, top_p: 1.0, min_p: 1.0, repetition_penalty: 10.0, ..base() },
        SamplingParams { presence_penalty: -2.0, frequency_penalty: -2.0, logprobs: Some(20), ..base() },
        SamplingParams { presence_penalty: 2.0, frequency_penalty: 2.0, logprobs: Some(0), ..base() },
        SamplingParams { logit_bias: vec![(3, 100.0); 1024], ..base() },
        SamplingParams { logit_bias: vec![(0, -100.0)], ..base() },
    ] {
        assert!(Sampler::new(params.clone(), vec![true; 4].into(), 4).is_ok(), "{params:?}");
    }
    for (params, message) in [
        (
            SamplingParams { logit_bias: vec![(4, 0.0)], ..base() },
            "Invalid logit_bias value, 4 is not the id of a token",
        ),
        (
            SamplingParams { logit_bias: vec![(0, 0.0); 1025], ..base() },
            "Invalid logit_bias value, at most 1024 entries",
        ),
        (
            SamplingParams { logit_bias: vec![(0, -100.5)], ..base() },
            "Invalid logit_bias value, the valid range of logit_bias is [-100, 100]",
        ),
        (
            SamplingParams { logprobs: Some(21), ..base() },
            "Invalid top_logprobs value, the valid range of top_logprobs is [0, 20].",
        ),
        (
            SamplingParams { repetition_penalty: 10.5, ..base() },
            "Invalid repetition_penalty value, the valid range of repetition_penalty is [0.01, 10]",
        ),
        (SamplingParams { min_p: 1.5, ..base() }, "Invalid min_p value, the valid range of min_p is [0, 1]"),
        (
            SamplingParams { temperature: -0.5, ..base() },
            "Invalid temperature value, the valid range of temperature is [0, 2]",
        ),
    ] {
        let error = Sampler::new(params, vec![true; 4].into(), 4).unwrap_err();
        assert_eq!((error.code(), error.message()), (Code::BadRequest, message));
    }
}

/// Whether the GPU, which knows the logits only, may choose.
#[test]
fn only_the_likeliest_id_is_greedy() {
    assert!(greedy().is_greedy());
    assert!(SamplingParams { temperature: 0.9e-5, top_k: 3, top_p: 0.5, min_p: 0.5, ..greedy() }.is_greedy());
    for params in [
        SamplingParams { temperature: 1e-5, ..greedy() },
        SamplingParams { repetition_penalty: 1.5, ..greedy() },
        SamplingParams { presence_penalty: 0.5, ..greedy() },
        SamplingParams { frequency_penalty: -0.5, ..greedy() },
        SamplingParams { logit_bias: vec![(0, 1.0)], ..greedy() },
        SamplingParams { logprobs: Some(0), ..greedy() },
    ] {
        assert!(!params.is_greedy(), "{params:?}");
    }
}

#[test]
fn rows_of_another_length_are_no_rows_of_this_model() {
    let mut sampler = sampler(greedy(), 3);
    let grammar = [true; 2];
    for (logits, grammar) in [(&[0.0; 2][..], None), (&[0.0; 4], None), (&[0.0; 3], Some(&grammar[..]))] {
        let error = sampler.sample(logits, &Step { grammar, ..Step::default() }).unwrap_err();
        assert_eq!(error.code(), Code::Internal, "{logits:?}");
    }
    let error = sampler.score(&[0.0; 4], 0, 0, 0).unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::Internal, "expected a row of 3 logits, found 4"));
    let scored = sampler.score(&[0.0, f32::NAN, 0.0], 0, 7, 0).unwrap_err();
    assert_eq!(scored.message(), "the logit of id 1 is NaN at prompt position 7");
    let sampled = sampler.sample(&[f32::INFINITY, 0.0, 0.0], &Step { position: 5, ..Step::default() }).unwrap_err();
    assert_eq!(sampled.message(), "the logit of id 0 is inf at output position 5");
}

#[test]
fn a_score_is_of_the_token_that_the_prompt_has() {
    let sampler = sampler(SamplingParams { logit_bias: vec![(0, 50.0)], ..SamplingParams::default() }, 3);
    // Probabilities 1/8, 2/8, 5/8.
    let row = [1_f32.ln(), 2_f32.ln(), 5_f32.ln()];
    let scored = sampler.score(&row, 1, 0, 1).unwrap();
    assert!((scored.sampled - 0.25_f32.ln()).abs() < 1e-6);
    assert_eq!((scored.rank, scored.top.len(), scored.top[0].0), (2, 1, 2));
    assert!((scored.top[0].1 - 0.625_f32.ln()).abs() < 1e-6);
    assert!(sampler.score(&row, 0, 0, 0).unwrap().top.is_empty());
}

/// How often each of 400 positions draws an id, at least once or never.
fn drawn(params: &SamplingParams, logits: &[f32], step: &Step<'_>) -> Vec<bool> {
    let mut found = vec![false; logits.len()];
    let mut sampler = sampler(params.clone(), logits.len());
    for position in 0..400 {
        found[sampler.sample(logits, &Step { position, ..*step }).unwrap().id as usize] = true;
    }
    found
}

#[test]
fn sets_of_ids_hold_their_bounds() {
    let plain = Step::default();
    let even = [0.0; 4];
    let base = SamplingParams::default;
    // (parameters, ids drawn of four equal ones: the lower go first)
    for (params, count) in [
        (base(), 4),
        (SamplingParams { top_k: 4, ..base() }, 4),
        (SamplingParams { top_k: 3, ..base() }, 3),
        (SamplingParams { top_k: 1, ..base() }, 1),
        (SamplingParams { top_k: 100, ..base() }, 4),
        (SamplingParams { top_p: 0.5, ..base() }, 2),
        (SamplingParams { top_p: 0.51, ..base() }, 3),
        (SamplingParams { top_p: 0.75, ..base() }, 3),
        (SamplingParams { min_p: 1.0, ..base() }, 4),
        (SamplingParams { top_k: 2, top_p: 0.5, ..base() }, 1),
        (SamplingParams { top_p: 0.5, min_p: 1.0, ..base() }, 2),
    ] {
        let expected: Vec<bool> = (0..4).map(|id| id < count).collect();
        assert_eq!(drawn(&params, &even, &plain), expected, "{params:?}");
    }
    // Relative to the most probable: half as probable is in, less is out.
    let halves = [2_f32.ln(), 0.0, 0.9_f32.ln()];
    assert_eq!(drawn(&SamplingParams { min_p: 0.49, ..base() }, &halves, &plain), [true, true, false]);
    // The hotter, the less a difference counts; below all sense only the best one is left.
    let far = [3.0, 0.0];
    assert_eq!(drawn(&SamplingParams { temperature: 0.1, ..base() }, &far, &plain), [true, false]);
    assert_eq!(drawn(&SamplingParams { temperature: 2.0, ..base() }, &far, &plain), [true, true]);
    // Masks go before everything.
    let step = Step { forbidden: &[0], grammar: Some(&[true, true, false, true]), ..plain };
    assert_eq!(drawn(&base(), &even, &step), [false, true, false, true]);
    assert_eq!(drawn(&SamplingParams { top_k: 1, ..base() }, &even, &step), [false, true, false, false]);
}

#[test]
fn an_answer_has_its_own_numbers() {
    let logits = [0.0; 64];
    let draw = |seed, choice| {
        let mut sampler = sampler(SamplingParams { seed, choice, ..SamplingParams::default() }, 64);
        let draw = |position| sampler.sample(&logits, &Step { position, ..Step::default() }).unwrap().id;
        (0..16).map(draw).collect::<Vec<u32>>()
    };
    assert_eq!(draw(7, 0), draw(7, 0));
    assert_ne!(draw(7, 0), draw(8, 0));
    assert_ne!(draw(7, 0), draw(7, 1));
    assert_ne!(draw(7 << 32, 0), draw(7, 0), "all of the seed counts");
}

/// Each count, and none where it was not asked for.
#[test]
fn penalties_count_what_was_said() {
    // Three ids: the prompt said the first, the answer the second, twice.
    let step = Step { prompt: &[0], generated: &[1, 1], ..Step::default() };
    let likeliest = |params: SamplingParams, logits: [f32; 3]| sampler(params, 3).sample(&logits, &step).unwrap().id;
    assert_eq!(likeliest(greedy(), [2.0, 1.0, 0.0]), 0);
    // Of positive logits it takes half, to negative ones it adds as much.
    let repeated = || SamplingParams { repetition_penalty: 2.0, ..greedy() };
    assert_eq!(likeliest(repeated(), [2.0, 2.0, 1.5]), 2);
    assert_eq!(likeliest(repeated(), [-1.0, -1.0, -1.5]), 2);
    assert_eq!(likeliest(repeated(), [-1.0, -1.0, -2.5]), 0);
    // The prompt is none of what was said in the answer; presence counts once, frequency each time.
    let present = || SamplingParams { presence_penalty: 1.0, ..greedy() };
    assert_eq!((likeliest(present(), [1.0, 1.5, 0.0]), likeliest(present(), [1.0, 2.5, 0.0])), (0, 1));
    let frequent = || SamplingParams { frequency_penalty: 1.0, ..greedy() };
    assert_eq!((likeliest(frequent(), [1.0, 2.5, 0.0]), likeliest(frequent(), [1.0, 3.5, 0.0])), (0, 1));
    let liked = || SamplingParams { presence_penalty: -1.0, ..greedy() };
    assert_eq!(likeliest(liked(), [1.5, 1.0, 0.0]), 1);
}
