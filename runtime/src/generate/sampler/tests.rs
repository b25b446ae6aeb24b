use super::*;

fn sampler(params: SamplingParams, size: usize) -> Sampler {
    Sampler::new(params, vec![true; size].into(), size).unwrap()
}

fn greedy() -> SamplingParams {
    SamplingParams { temperature: 0.0, ..SamplingParams::default() }
}

fn pick(params: &SamplingParams, logits: &[f32], step: &Step<'_>) -> u32 {
    sampler(params.clone(), logits.len()).sample(logits, step).unwrap().id
}

/// Every id that 2,000 positions give.
fn drawn(params: &SamplingParams, logits: &[f32]) -> Vec<usize> {
    let mut counts = vec![0; logits.len()];
    let mut sampler = sampler(params.clone(), logits.len());
    for position in 0..2000 {
        counts[index(sampler.sample(logits, &Step { position, ..Step::default() }).unwrap().id)] += 1;
    }
    counts
}

#[test]
fn random_numbers_are_chacha8() {
    // Strombergson's ChaCha8 vectors (draft-strombergson-chacha-test-vectors), TC1: zero key, 256 bits, block 0.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit the mantissa")]
    let expected = (0xd640_5f89_2fef_003e_u64 >> 11) as f64 / (1_u64 << 53) as f64;
    assert_eq!(uniform(0, 0, 0), expected);
    let others = [uniform(0, 0, 1), uniform(1, 0, 0), uniform(0, 1, 0), uniform(0, 0, u64::MAX)];
    assert!(others.iter().all(|other| *other != expected && (0.0..1.0).contains(other)));
}

#[test]
fn greedy_takes_the_lowest_id_of_the_highest() {
    assert_eq!(pick(&greedy(), &[-1.0, -0.0, 0.0, -2.0], &Step::default()), 1);
    assert_eq!(pick(&greedy(), &[3.0, 7.0, 7.0], &Step::default()), 1);
}

#[test]
fn masks_bias_and_penalties_in_order() {
    let mut masked = Sampler::new(greedy(), vec![true, false, true].into(), 3).unwrap();
    assert_eq!(masked.sample(&[1.0, 9.0, 2.0], &Step::default()).unwrap().id, 2);
    let step = Step { forbidden: &[2], grammar: Some(&[true, true, true]), ..Step::default() };
    assert_eq!(masked.sample(&[1.0, 9.0, 2.0], &step).unwrap().id, 0);
    let nothing = Step { grammar: Some(&[false; 3]), ..Step::default() };
    assert_eq!(masked.sample(&[1.0, 9.0, 2.0], &nothing).unwrap_err().code(), Code::Internal);
    let biased = SamplingParams { logit_bias: vec![(0, 3.0)], ..greedy() };
    assert_eq!(pick(&biased, &[1.0, 3.0], &Step::default()), 0);

    let history = Step { prompt: &[0, 9], generated: &[1, 1], ..Step::default() };
    let row = |params: SamplingParams| {
        let mut sampler = sampler(params, 4);
        sampler.sample(&[4.0, -2.0, 4.0, 0.0], &history).unwrap();
        sampler.row
    };
    assert_eq!(row(SamplingParams { repetition_penalty: 2.0, ..greedy() }), [2.0, -4.0, 4.0, 0.0]);
    assert_eq!(
        row(SamplingParams { frequency_penalty: 0.5, presence_penalty: 0.25, ..greedy() }),
        [4.0, -3.25, 4.0, 0.0]
    );
    // The bias comes before the repetition penalty, that before the others.
    let all = SamplingParams {
        logit_bias: vec![(1, 4.0)],
        repetition_penalty: 2.0,
        frequency_penalty: 0.5,
        presence_penalty: 0.25,
        ..greedy()
    };
    assert_eq!(row(all), [2.0, -0.25, 4.0, 0.0]);
}

#[test]
fn draws_follow_the_probabilities() {
    let logits = [4_f32.ln(), 3_f32.ln(), 2_f32.ln(), 1_f32.ln()];
    let counts = drawn(&SamplingParams { seed: 7, ..SamplingParams::default() }, &logits);
    for (count, expected) in counts.iter().zip([800_usize, 600, 400, 200]) {
        assert!(count.abs_diff(expected) < 90, "{counts:?}"); // over four standard deviations
    }
    let hot = drawn(&SamplingParams { temperature: 0.5, ..SamplingParams::default() }, &logits);
    assert!(hot[0].abs_diff(1067) < 90, "16 of 30: {hot:?}");
}

#[test]
fn sets_are_cut_where_they_should_be() {
    let logits = [1_f32.ln(), 2_f32.ln(), 3_f32.ln(), 4_f32.ln()];
    let base = SamplingParams::default;
    let kept = |params: &SamplingParams| drawn(params, &logits).iter().map(|count| *count > 0).collect::<Vec<_>>();
    assert_eq!(kept(&SamplingParams { top_k: 2, ..base() }), [false, false, true, true]);
    assert_eq!(kept(&SamplingParams { top_p: 0.69, ..base() }), [false, false, true, true]);
    assert_eq!(kept(&SamplingParams { top_p: 0.71, ..base() }), [false, true, true, true]);
    assert_eq!(kept(&SamplingParams { top_p: 1e-6, ..base() }), [false, false, false, true]);
    assert_eq!(kept(&SamplingParams { min_p: 0.6, ..base() }), [false, false, true, true]);
    // top_p is of what top_k left: 4/7 alone is enough for 0.55.
    assert_eq!(kept(&SamplingParams { top_k: 2, top_p: 0.55, ..base() }), [false, false, false, true]);
    let tie = drawn(&SamplingParams { top_k: 1, ..base() }, &[1.0, 1.0]);
    assert_eq!(tie, [2000, 0]);
}

#[test]
fn a_long_row_is_drawn_as_if_it_were_sorted() {
    let logits: Vec<f32> = (0..5000_u32).map(|id| ((id * 7919 % 5000) as f32) / 700.0).collect();
    let mut sampler = sampler(SamplingParams { seed: 3, ..SamplingParams::default() }, logits.len());
    let mut order: Vec<Candidate> =
        (0..).zip(&logits).map(|(id, l)| Candidate { weight: (f64::from(*l) - 4999.0 / 700.0).exp(), id }).collect();
    order.sort_by(before);
    let total: f64 = order.iter().map(|one| one.weight).sum();
    for position in 0..200 {
        let target = uniform(3, 0, position) * total;
        let mut sum = 0.0;
        let expected = order
            .iter()
            .find(|one| {
                sum += one.weight;
                sum > target
            })
            .unwrap()
            .id;
        assert_eq!(sampler.sample(&logits, &Step { position, ..Step::default() }).unwrap().id, expected);
    }
}

#[test]
fn logprobs_are_of_the_unmodified_logits() {
    let params = SamplingParams { logit_bias: vec![(0, 50.0)], logprobs: Some(2), ..greedy() };
    // Row of 4, of which the last has no text.
    let mut sampler = Sampler::new(params, vec![true, true, true, false].into(), 3).unwrap();
    let sampled = sampler.sample(&[1_f32.ln(), 2_f32.ln(), 5_f32.ln(), 30.0], &Step::default()).unwrap();
    let logprobs = sampled.logprobs.unwrap();
    assert_eq!(sampled.id, 0);
    assert!((logprobs.sampled - 0.125_f32.ln()).abs() < 1e-6);
    assert_eq!(logprobs.top.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [2, 1]);
    assert!((logprobs.top[0].1 - 0.625_f32.ln()).abs() < 1e-6);
    assert_eq!(logprobs.rank, 3);
}

#[test]
fn the_most_probable_are_those_of_a_sorted_row() {
    // Many equal ones, zeros of both signs among them.
    let row: Vec<f32> =
        (0..3000_u32).map(|id| ((id * 7919 % 97) as f32 - 48.0) * if id % 2 == 0 { 1.0 } else { 0.5 }).collect();
    let mut order: Vec<u32> = (0..3000).collect();
    order.sort_by(|&a, &b| row[index(b)].partial_cmp(&row[index(a)]).unwrap().then(a.cmp(&b)));
    for count in [0, 1, 5, 20] {
        let found = logprobs(&row, 1500, count);
        assert_eq!(found.top.iter().map(|(id, _)| *id).collect::<Vec<_>>(), order[..count]);
        assert_eq!(index(found.rank), 1 + row.iter().filter(|logit| **logit > row[1500]).count());
    }
    assert_eq!((logprobs(&row, 4000, 0).sampled, logprobs(&row, 4000, 0).rank), (f32::NEG_INFINITY, 3001));
}

#[test]
fn what_is_not_finite_is_refused() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::from_bits(0xffc0_0001)] {
        let error = sampler(greedy(), 3).sample(&[0.0, bad, 1.0], &Step::default()).unwrap_err();
        assert_eq!(error.code(), Code::NonFinite);
        assert!(error.message().contains("id 1 "), "{error}");
    }
    assert_eq!(sampler(greedy(), 3).sample(&[0.0], &Step::default()).unwrap_err().code(), Code::Internal);
}

#[test]
fn ranges_name_the_field() {
    let base = SamplingParams::default;
    let bad = [
        ("temperature", SamplingParams { temperature: 2.1, ..base() }),
        ("temperature", SamplingParams { temperature: f32::NAN, ..base() }),
        ("top_p", SamplingParams { top_p: 0.0, ..base() }),
        ("min_p", SamplingParams { min_p: -0.1, ..base() }),
        ("repetition_penalty", SamplingParams { repetition_penalty: 0.0, ..base() }),
        ("presence_penalty", SamplingParams { presence_penalty: 3.0, ..base() }),
        ("frequency_penalty", SamplingParams { frequency_penalty: -3.0, ..base() }),
        ("logit_bias", SamplingParams { logit_bias: vec![(0, 101.0)], ..base() }),
        ("logit_bias", SamplingParams { logit_bias: vec![(0, 1.0); 1025], ..base() }),
        ("logit_bias", SamplingParams { logit_bias: vec![(4, 1.0)], ..base() }),
        ("top_logprobs", SamplingParams { logprobs: Some(21), ..base() }),
    ];
    for (field, params) in bad {
        let error = Sampler::new(params, vec![true; 4].into(), 4).unwrap_err();
        assert_eq!(error.code(), Code::BadRequest);
        assert_eq!(error.details()["param"], field);
    }
    let temperature = SamplingParams { temperature: 3.0, ..base() }.validate().unwrap_err();
    assert_eq!(temperature.message(), "Invalid temperature value, the valid range of temperature is [0, 2]");
}
