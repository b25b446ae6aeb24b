//! The fields of sampling, which all requests share.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Number;

use super::rules::{ensure, invalid, refuse};
use crate::error::{Result, escape, quote};
use crate::generate::SamplingParams;
use crate::generate::stop::{MAX_STOP_STRINGS, StopStrings};
use crate::platform;

const MAX_BIASES: usize = 1024;
const MAX_STOP_IDS: usize = 16;

/// One text that ends the answer, or several.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
#[expect(missing_docs, reason = "each is its own name")]
pub enum Stop {
    One(String),
    Several(Vec<String>),
}

impl<'de> Deserialize<'de> for Stop {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Stop, D::Error> {
        struct Texts;

        impl<'de> Visitor<'de> for Texts {
            type Value = Stop;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an array of strings")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Stop, E> {
                Ok(Stop::One(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Stop, A::Error> {
                // One too many is refused later; empty ones end nothing.
                let mut texts: Vec<String> = vec![];
                while let Some(text) = list.next_element::<String>()? {
                    if !text.is_empty() && texts.len() <= MAX_STOP_STRINGS {
                        texts.push(text);
                    }
                }
                Ok(Stop::Several(texts))
            }
        }

        deserializer.deserialize_any(Texts)
    }
}

/// What a request says of sampling.
#[derive(Clone, Copy, Default)]
pub(super) struct Sampling<'r> {
    pub(super) temperature: Option<f64>,
    pub(super) top_p: Option<f64>,
    pub(super) top_k: Option<i64>,
    pub(super) min_p: Option<f64>,
    pub(super) presence_penalty: Option<f64>,
    pub(super) frequency_penalty: Option<f64>,
    pub(super) repetition_penalty: Option<f64>,
    pub(super) logit_bias: Option<&'r BTreeMap<String, f64>>,
    pub(super) seed: Option<&'r Number>,
    pub(super) stop: Option<&'r Stop>,
    pub(super) stop_token_ids: Option<&'r Vec<u32>>,
    pub(super) n: Option<i64>,
    /// Log probabilities of this many; none: not reported.
    pub(super) logprobs: Option<u32>,
}

impl Sampling<'_> {
    /// Checks every range.
    pub(super) fn check(&self) -> Result<()> {
        let numbers = [
            ("temperature", self.temperature, 0.0..=2.0, "[0, 2]"),
            ("top_p", self.top_p, f64::MIN_POSITIVE..=1.0, "(0, 1.0]"),
            ("min_p", self.min_p, 0.0..=1.0, "[0, 1]"),
            ("presence_penalty", self.presence_penalty, -2.0..=2.0, "[-2, 2]"),
            ("frequency_penalty", self.frequency_penalty, -2.0..=2.0, "[-2, 2]"),
            ("repetition_penalty", self.repetition_penalty, 0.01..=10.0, "[0.01, 10]"),
        ];
        for (field, value, range, shown) in numbers {
            if let Some(value) = value.filter(|value| !range.contains(value)) {
                return Err(invalid(field, shown, value));
            }
        }
        let most = i64::from(u32::MAX);
        let integers = [("top_k", self.top_k, -1..=most, "[-1, 4294967295]"), ("n", self.n, 1..=8, "[1, 8]")];
        for (field, value, range, shown) in integers {
            if let Some(value) = value.filter(|value| !range.contains(value)) {
                return Err(invalid(field, shown, value));
            }
        }
        let biases = self.logit_bias.into_iter().flatten();
        if let Some((id, bias)) = biases.clone().find(|(_, bias)| !(-100.0..=100.0).contains(*bias)) {
            return Err(invalid("logit_bias", "[-100, 100]", format!("{bias} for {}", quote(id))));
        }
        let message = format_args!("Invalid logit_bias value, at most {MAX_BIASES} entries");
        ensure(biases.count() <= MAX_BIASES, "logit_bias", message)?;
        let message = format_args!("Invalid stop_token_ids value, at most {MAX_STOP_IDS} ids");
        ensure(self.stop_token_ids.is_none_or(|ids| ids.len() <= MAX_STOP_IDS), "stop_token_ids", message)?;
        if let Some(seed) = self.seed.filter(|seed| seed_bits(seed).is_none()) {
            let found = escape(&seed.to_string());
            return Err(refuse("seed", format!("Invalid seed value, expected an integer of 64 bits, found {found}")));
        }
        StopStrings::new(self.stops()).map(|_| ())
    }

    /// As the engine takes it, over what is taken where the request says nothing.
    pub(super) fn params(&self, defaults: SamplingParams) -> SamplingParams {
        #[expect(clippy::cast_possible_truncation, reason = "the sampler takes f32")]
        let single = |value: f64| value as f32;
        let biases = self.logit_bias.into_iter().flatten();
        SamplingParams {
            temperature: self.temperature.map_or(defaults.temperature, single),
            // -1 is all, as 0 is.
            top_k: self.top_k.map_or(defaults.top_k, |value| u32::try_from(value).unwrap_or(0)),
            // A share too small for f32 still keeps the likeliest token.
            top_p: self.top_p.map_or(defaults.top_p, |share| single(share).max(f32::MIN_POSITIVE)),
            min_p: self.min_p.map_or(defaults.min_p, single),
            repetition_penalty: self.repetition_penalty.map_or(defaults.repetition_penalty, single),
            presence_penalty: self.presence_penalty.map_or(0.0, single),
            frequency_penalty: self.frequency_penalty.map_or(0.0, single),
            // Keys that are no ids are nobody's tokens.
            logit_bias: biases.filter_map(|(id, &bias)| Some((id.parse().ok()?, single(bias)))).collect(),
            seed: self.seed.and_then(seed_bits).unwrap_or_else(platform::seed),
            logprobs: self.logprobs,
            ..defaults
        }
    }

    /// The texts that end the answer.
    pub(super) fn stops(&self) -> Vec<String> {
        match self.stop {
            None => vec![],
            Some(Stop::One(text)) => vec![text.clone()],
            Some(Stop::Several(texts)) => texts.clone(),
        }
    }

    pub(super) fn answers(&self) -> u32 {
        self.n.and_then(|n| u32::try_from(n).ok()).unwrap_or(1)
    }
}

/// Negative seeds are as good as others.
fn seed_bits(seed: &Number) -> Option<u64> {
    seed.as_u64().or_else(|| seed.as_i64().map(i64::cast_unsigned))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a request does not say, the model's recommendation does; 0 and −1 are values as any other.
    #[test]
    fn requests_beat_recommendations() {
        let recommended =
            SamplingParams { top_k: 20, min_p: 0.25, repetition_penalty: 1.5, ..SamplingParams::default() };
        let shown = |sampling: Sampling<'_>| {
            let params = sampling.params(recommended.clone());
            (params.top_k, params.min_p, params.repetition_penalty)
        };
        assert_eq!(shown(Sampling::default()), (20, 0.25, 1.5));
        for all in [0, -1] {
            let own =
                Sampling { top_k: Some(all), min_p: Some(0.0), repetition_penalty: Some(1.0), ..Sampling::default() };
            assert_eq!(shown(own), (0, 0.0, 1.0));
        }
    }
}
