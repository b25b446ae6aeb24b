//! Sampling that a file recommends, in the words of generation_config.json.

use std::collections::BTreeMap;

use super::metadata::Metadata;
use crate::checkpoint::config::GenerationDefaults;
use crate::checkpoint::fields::{Fields, Keys};
use crate::error::Result;
use crate::json::Json;

/// Members of generation_config.json, and the keys that converters write for them.
pub(crate) const SAMPLING: [(&str, &str); 5] = [
    ("temperature", "general.sampling.temp"),
    ("top_k", "general.sampling.top_k"),
    ("top_p", "general.sampling.top_p"),
    ("min_p", "general.sampling.min_p"),
    ("repetition_penalty", "general.sampling.penalty_repeat"),
];

/// What the file recommends; keys of other samplers are not looked at.
///
/// # Errors
/// `bad_checkpoint` for a value that no sampler takes, with its key.
pub(super) fn defaults(metadata: &Metadata) -> Result<GenerationDefaults> {
    let mut members = BTreeMap::new();
    for (member, key) in SAMPLING {
        let value = match member {
            // None and all are the same.
            "top_k" => metadata.integer(key)?.map(|count| count.max(0).to_string()),
            _ => metadata.number(key)?.map(|number| number.to_string()),
        };
        members.extend(value.map(|value| (member.to_owned(), Json::Number(value))));
    }
    let keys: Keys = SAMPLING.into_iter().map(|(member, key)| (member.to_owned(), key.to_owned())).collect();
    GenerationDefaults::read(&Fields::by_keys(metadata.file(), &members, &keys), 0)
}
