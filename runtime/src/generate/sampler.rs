//! One row of logits to one id, on the host, the same for the same seed.
//!
//! The order of the steps is vLLM's: bias, penalties, masks, temperature, top-k, top-p, min-p. Ties go to the lowest id.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::checkpoint::GenerationDefaults;
use crate::error::{Code, Error, Result};

/// Below this temperature the highest logit is taken.
const GREEDY_BELOW: f32 = 1e-5;
const MAX_BIASES: usize = 1024;
pub(super) const MAX_TOP_LOGPROBS: u32 = 20;

/// How to sample; the default is plain sampling at temperature 1.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplingParams {
    /// 0 to 2; 0 takes the highest logit.
    pub temperature: f32,
    /// Only the k most probable; 0 means all.
    pub top_k: u32,
    /// The smallest most probable set with at least this share; above 0, up to 1.
    pub top_p: f32,
    /// Only ids at least this probable, relative to the most probable; 0 to 1.
    pub min_p: f32,
    /// Divides positive and multiplies negative logits of ids in prompt or output; above 0, up to 10.
    pub repetition_penalty: f32,
    /// Taken off logits of ids in the output; −2 to 2.
    pub presence_penalty: f32,
    /// Taken off for each time an id is in the output; −2 to 2.
    pub frequency_penalty: f32,
    /// Added to the logits of ids; −100 to 100.
    pub logit_bias: Vec<(u32, f32)>,
    /// With `choice`, the key of the random numbers.
    pub seed: u64,
    /// Which of the answers to one request.
    pub choice: u32,
    /// Report log probabilities: of the sampled id, and of this many of the most probable; at most 20.
    pub logprobs: Option<u32>,
}

impl Default for SamplingParams {
    fn default() -> Self {
        SamplingParams {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: vec![],
            seed: 0,
            choice: 0,
            logprobs: None,
        }
    }
}

impl SamplingParams {
    /// What a checkpoint recommends, plain sampling where it says nothing. The seed is still to be chosen.
    pub(crate) fn recommended(defaults: &GenerationDefaults) -> SamplingParams {
        #[expect(clippy::cast_possible_truncation, reason = "the sampler takes f32")]
        let single = |value: f64| value as f32;
        let temperature = match defaults.do_sample {
            Some(false) => 0.0,
            _ => defaults.temperature.map_or(1.0, single),
        };
        SamplingParams {
            temperature,
            top_k: defaults.top_k.unwrap_or(0),
            top_p: defaults.top_p.map_or(1.0, single),
            min_p: defaults.min_p.map_or(0.0, single),
            repetition_penalty: defaults.repetition_penalty.map_or(1.0, single),
            ..SamplingParams::default()
        }
    }

    /// Checks every range.
    ///
    /// # Errors
    /// `bad_request` that names the field, also in its details as `param`.
    pub(crate) fn validate(&self) -> Result<()> {
        let above_zero = f32::MIN_POSITIVE;
        let ranges = [
            ("temperature", self.temperature, 0.0..=2.0, "[0, 2]"),
            ("top_p", self.top_p, above_zero..=1.0, "(0, 1.0]"),
            ("min_p", self.min_p, 0.0..=1.0, "[0, 1]"),
            ("repetition_penalty", self.repetition_penalty, 0.01..=10.0, "[0.01, 10]"),
            ("presence_penalty", self.presence_penalty, -2.0..=2.0, "[-2, 2]"),
            ("frequency_penalty", self.frequency_penalty, -2.0..=2.0, "[-2, 2]"),
        ];
        for (field, value, range, shown) in ranges {
            if !range.contains(&value) {
                return Err(invalid(field, &format!("the valid range of {field} is {shown}")));
            }
        }
        if self.logprobs.is_some_and(|count| count > MAX_TOP_LOGPROBS) {
            return Err(invalid("top_logprobs", "the valid range of top_logprobs is [0, 20]."));
        }
        if self.logit_bias.len() > MAX_BIASES {
            return Err(invalid("logit_bias", &format!("at most {MAX_BIASES} entries")));
        }
        if self.logit_bias.iter().any(|(_, bias)| !(-100.0..=100.0).contains(bias)) {
            return Err(invalid("logit_bias", "the valid range of logit_bias is [-100, 100]"));
        }
        Ok(())
    }

    /// Whether the likeliest id is the answer, whatever came before: then the GPU can choose.
    pub(crate) fn is_greedy(&self) -> bool {
        self.temperature < GREEDY_BELOW
            && !self.has_penalties()
            && self.logit_bias.is_empty()
            && self.logprobs.is_none()
    }

    fn has_penalties(&self) -> bool {
        self.repetition_penalty != 1.0 || self.presence_penalty != 0.0 || self.frequency_penalty != 0.0
    }
}

fn invalid(field: &str, rule: &str) -> Error {
    Error::new(Code::BadRequest, format!("Invalid {field} value, {rule}")).with_detail("param", field)
}

/// What one choice depends on beside the logits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Step<'a> {
    /// Ids of the prompt.
    pub prompt: &'a [u32],
    /// Ids generated before, thought included.
    pub(crate) generated: &'a [u32],
    /// Place in the output, from 0: the counter of the random numbers.
    pub position: u64,
    /// Ids that may not come now: of the end of the text while it may not end.
    pub(crate) forbidden: &'a [u32],
    /// Ids that may come now, `[vocab_size]`, from a grammar.
    pub(crate) grammar: Option<&'a [bool]>,
}

/// A sampled id.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sampled {
    /// The id.
    pub id: u32,
    /// When asked for.
    pub logprobs: Option<Logprobs>,
}

/// Natural logarithms of probabilities under the unmodified logits of all ids with text.
#[derive(Clone, Debug, PartialEq)]
pub struct Logprobs {
    /// Of the sampled id, or of the one that the prompt has there.
    pub sampled: f32,
    /// Its place among all ids, the most probable being the first; equal ones share a place.
    pub rank: u32,
    /// Of the most probable ids, descending.
    pub top: Vec<(u32, f32)>,
}

/// Samples one id after another.
#[derive(Clone, Debug)]
pub struct Sampler {
    params: SamplingParams,
    allowed: Arc<[bool]>,
    real: usize,
    row: Vec<f32>,
    candidates: Vec<Candidate>,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    weight: f64,
    id: u32,
}

impl Sampler {
    /// `allowed`: `[vocab_size]`, which ids may ever be sampled; `real`: how many ids have text, which are those that log
    /// probabilities are about (`Tokenizer::sampleable` and `size`).
    ///
    /// # Errors
    /// `bad_request` for a parameter out of range or a bias for an unknown id.
    pub fn new(params: SamplingParams, allowed: Arc<[bool]>, real: usize) -> Result<Self> {
        params.validate()?;
        if let Some((id, _)) = params.logit_bias.iter().find(|(id, _)| index(*id) >= allowed.len()) {
            return Err(invalid("logit_bias", &format!("{id} is not the id of a token")));
        }
        let real = real.min(allowed.len());
        Ok(Sampler { params, allowed, real, row: vec![], candidates: vec![] })
    }

    /// Chooses the next id from `logits`, `[vocab_size]`.
    ///
    /// # Errors
    /// `non_finite` when a logit is NaN or infinite; `internal` for a row of another length, or when nothing is allowed.
    pub(crate) fn sample(&mut self, logits: &[f32], step: &Step<'_>) -> Result<Sampled> {
        if logits.len() != self.allowed.len() || step.grammar.is_some_and(|grammar| grammar.len() != logits.len()) {
            let message = format!("expected a row of {} logits, found {}", self.allowed.len(), logits.len());
            return Err(Error::new(Code::Internal, message));
        }
        check_finite(logits, format_args!("output position {}", step.position))?;
        self.row.clear();
        self.row.extend_from_slice(logits);
        self.add_bias_and_penalties(step);
        self.candidates.clear();
        let forbidden: HashSet<u32> = step.forbidden.iter().copied().collect();
        for (id, (logit, allowed)) in (0_u32..).zip(self.row.iter().zip(self.allowed.iter())) {
            if *allowed && step.grammar.is_none_or(|grammar| grammar[index(id)]) && !forbidden.contains(&id) {
                self.candidates.push(Candidate { weight: f64::from(*logit), id });
            }
        }
        // First of the highest: −0 and +0 compare equal.
        let best =
            self.candidates.iter().copied().reduce(|best, next| if next.weight > best.weight { next } else { best });
        let best = best.ok_or_else(|| Error::new(Code::Internal, "no token is allowed to come next"))?;
        let greedy = self.params.temperature < GREEDY_BELOW;
        let id = if greedy { best.id } else { self.draw(best.weight, step.position) };
        let logprobs = self.params.logprobs.map(|count| logprobs(&logits[..self.real], id, index(count)));
        Ok(Sampled { id, logprobs })
    }

    /// What `logits`, `[vocab_size]`, say of `id`, which the prompt has at `position`, and of the `count` most probable ids.
    ///
    /// # Errors
    /// `non_finite`; `internal` for a row of another length.
    pub fn score(&self, logits: &[f32], id: u32, position: usize, count: u32) -> Result<Logprobs> {
        if logits.len() != self.allowed.len() {
            let message = format!("expected a row of {} logits, found {}", self.allowed.len(), logits.len());
            return Err(Error::new(Code::Internal, message));
        }
        check_finite(logits, format_args!("prompt position {position}"))?;
        Ok(logprobs(&logits[..self.real], id, index(count)))
    }

    fn add_bias_and_penalties(&mut self, step: &Step<'_>) {
        for &(id, bias) in &self.params.logit_bias {
            self.row[index(id)] += bias;
        }
        if !self.params.has_penalties() {
            return;
        }
        let SamplingParams { repetition_penalty, presence_penalty, frequency_penalty, .. } = self.params;
        if repetition_penalty != 1.0 {
            let seen: HashSet<u32> = step.prompt.iter().chain(step.generated).copied().collect();
            for id in seen {
                if let Some(logit) = self.row.get_mut(index(id)) {
                    *logit = if *logit > 0.0 { *logit / repetition_penalty } else { *logit * repetition_penalty };
                }
            }
        }
        let mut counts: HashMap<u32, f32> = HashMap::new();
        step.generated.iter().for_each(|id| *counts.entry(*id).or_default() += 1.0);
        for (id, count) in counts {
            if let Some(logit) = self.row.get_mut(index(id)) {
                *logit -= frequency_penalty * count;
                *logit -= presence_penalty;
            }
        }
    }

    /// Draws from the candidates, whose weights are still logits, `highest` the largest of them.
    fn draw(&mut self, highest: f64, position: u64) -> u32 {
        let temperature = f64::from(self.params.temperature);
        for candidate in &mut self.candidates {
            candidate.weight = ((candidate.weight - highest) / temperature).exp();
        }
        let k = index(self.params.top_k);
        if k > 0 && k < self.candidates.len() {
            self.candidates.select_nth_unstable_by(k - 1, before);
            self.candidates.truncate(k);
            self.candidates.sort_unstable_by_key(|candidate| candidate.id);
        }
        // In id order, so that the sum does not depend on how a selection left the rest.
        let mut total: f64 = self.candidates.iter().map(|candidate| candidate.weight).sum();
        let mut ordered = Ordered { candidates: &mut self.candidates, sorted: 0 };
        let mut kept = usize::MAX;
        let (top_p, min_p) = (f64::from(self.params.top_p), f64::from(self.params.min_p));
        if top_p < 1.0 || min_p > 0.0 {
            let (mut count, mut sum) = (0, 0.0);
            // The first has weight 1: it is always kept.
            while let Some(candidate) = ordered.get(count) {
                if count > 0 && (candidate.weight < min_p || (top_p < 1.0 && sum >= top_p * total)) {
                    break;
                }
                sum += candidate.weight;
                count += 1;
            }
            (kept, total) = (count, sum);
        }
        let target = uniform(self.params.seed, self.params.choice, position) * total;
        let (mut chosen, mut sum) = (0, 0.0);
        for place in 0..kept {
            // Past the end, or among ids too improbable to have a weight: rounding left a rest. The last real one takes it.
            let Some(candidate) = ordered.get(place).filter(|candidate| candidate.weight > 0.0) else { break };
            chosen = candidate.id;
            sum += candidate.weight;
            if sum > target {
                break;
            }
        }
        chosen
    }
}

/// More probable first, then the lower id.
fn before(a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
    b.weight.total_cmp(&a.weight).then(a.id.cmp(&b.id))
}

/// Candidates in order, sorted only as far as they are asked for: mostly a few of 129,280.
struct Ordered<'a> {
    candidates: &'a mut [Candidate],
    sorted: usize,
}

impl Ordered<'_> {
    fn get(&mut self, place: usize) -> Option<Candidate> {
        while place >= self.sorted && self.sorted < self.candidates.len() {
            let more = (self.sorted * 7).max(256);
            let rest = &mut self.candidates[self.sorted..];
            if more < rest.len() {
                rest.select_nth_unstable_by(more - 1, before);
            }
            let more = more.min(rest.len());
            rest[..more].sort_unstable_by(before);
            self.sorted += more;
        }
        self.candidates.get(place).copied()
    }
}

/// A number in [0, 1) that depends on nothing else: ChaCha8 keyed by seed and choice, one block for each position.
fn uniform(seed: u64, choice: u32, position: u64) -> f64 {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..12].copy_from_slice(&choice.to_le_bytes());
    let mut random = ChaCha8Rng::from_seed(key);
    random.set_word_pos(u128::from(position) * 16);
    // The upper 53 bits are exact in f64.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit the mantissa")]
    let unit = (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    unit
}

fn check_finite(logits: &[f32], place: std::fmt::Arguments<'_>) -> Result<()> {
    // By the bits: no compiler flag or platform can assume NaN away.
    match logits.iter().position(|logit| logit.to_bits() & 0x7f80_0000 == 0x7f80_0000) {
        None => Ok(()),
        Some(id) => Err(Error::new(Code::NonFinite, format!("the logit of id {id} is {} at {place}", logits[id]))),
    }
}

fn logprobs(logits: &[f32], id: u32, count: usize) -> Logprobs {
    let highest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let log_sum = logits.iter().map(|logit| (f64::from(*logit) - highest).exp()).sum::<f64>().ln() + highest;
    #[expect(clippy::cast_possible_truncation, reason = "f32 is the precision of the answer")]
    let logprob = |logit: f32| (f64::from(logit) - log_sum) as f32;
    // A few of many: the row is not sorted, each logit is held against the least of those kept.
    let mut top: Vec<(u32, f32)> = Vec::with_capacity(count + 1);
    for (id, &logit) in (0..).zip(logits) {
        if top.len() < count || top.last().is_some_and(|(_, least)| logit > *least) {
            // Equal ones stay in the order of their ids.
            top.insert(top.partition_point(|(_, other)| *other >= logit), (id, logit));
            top.truncate(count);
        }
    }
    let own = logits.get(index(id)).copied();
    let above = own.map_or(logits.len(), |own| logits.iter().filter(|logit| **logit > own).count());
    Logprobs {
        sampled: own.map_or(f32::NEG_INFINITY, logprob),
        rank: u32::try_from(above).unwrap_or(u32::MAX).saturating_add(1),
        top: top.into_iter().map(|(id, logit)| (id, logprob(logit))).collect(),
    }
}

fn index(id: u32) -> usize {
    usize::try_from(id).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
