//! A GGUF file, or several that are one model: the same models with their config, tokenizer and tensors under other names.

mod blocks;
mod config;
mod header;
mod metadata;
mod names;
mod patterns;
mod sampling;
#[cfg(test)]
mod tests;
mod vocabulary;

use std::collections::HashMap;

pub(crate) use self::names::{Place, place};
pub(crate) use self::patterns::{NAMES, patterns, takes_whole};
pub(crate) use self::sampling::SAMPLING;

use self::header::Header;
use super::config::ModelConfig;
use super::fields::Fields;
use super::parts;
use super::source::Source;
use super::stored::{Stored, Terms, TextFiles};
use crate::error::{Class, Code, DAMAGED, Error, Result, quote};

/// Such a file names the model's sizes itself, and nothing lies in it without a use.
const TERMS: Terms = Terms {
    config: "the file's metadata",
    layers: "block_count less nextn_predict_layers",
    missing: DAMAGED,
    mismatch: DAMAGED,
    tensor: names::stored,
    strict: true,
};

/// What to do about parts that are not those of one model.
const PARTS_HELP: &str = "parts are named NAME-00001-of-00003.gguf; download them all from one source";

/// Reads the headers of all parts, of which `file` is one, and no weight.
pub(super) async fn open(source: &dyn Source, file: &str) -> Result<Stored> {
    let parts = headers(source, file).await?;
    let first = parts.first().ok_or_else(|| Error::new(Code::Internal, "a model has a part"))?;
    let mut tensors = HashMap::new();
    for part in &parts {
        names::add(part, &mut tensors)?;
    }
    let has = |name: &str| parts.iter().any(|part| part.has(name));
    let config = config_of(first, &has)?;
    let generation = sampling::defaults(&first.metadata)?;
    Ok(Stored { config, generation, file: first.file.clone(), terms: TERMS, tensors })
}

/// The config in a header; `has` says which tensors there are.
fn config_of(header: &Header, has: &dyn Fn(&str) -> bool) -> Result<ModelConfig> {
    let members = config::members(&header.metadata, has)?;
    ModelConfig::read(&Fields::by_keys(&header.file, members.as_json(), members.keys()))
}

/// The config that a file's metadata says, of tensors that need not be in it yet.
pub(crate) async fn read_config(source: &dyn Source, file: &str, has: &dyn Fn(&str) -> bool) -> Result<ModelConfig> {
    config_of(&header::read(source, file).await?, has)
}

/// What the file says of text.
pub(super) async fn text(source: &dyn Source, file: &str) -> Result<Option<TextFiles>> {
    let first = parts::parts(file).next().unwrap_or_default();
    vocabulary::text(&header::read(source, &first).await?.metadata)
}

/// The headers of all parts, in order.
///
/// # Errors
/// [`Class::Index`] for parts that are not those of one model.
async fn headers(source: &dyn Source, file: &str) -> Result<Vec<Header>> {
    let names = parts::parts(file);
    let count = names.len();
    let mut parts: Vec<Header> = vec![];
    for file in names {
        if count > 1 && source.size(&file).await?.is_none() {
            let message = format!("no such file, and it is one of {count} parts");
            return Err(Error::file(Class::Io, &file, message).with_help("download this part into the folder too"));
        }
        let part = header::read(source, &file).await?;
        belongs(&part, parts.len(), count, parts.first())?;
        parts.push(part);
    }
    let total: usize = parts.iter().map(|part| part.tensors.len()).sum();
    for part in &parts {
        let key = "split.tensors.count";
        if let Some(listed) = part.metadata.integer(key)?.filter(|listed| *listed != total as i128) {
            let message = format!("{key}: {listed}, but the parts have {total} tensors");
            return Err(Error::file(Class::Index, &part.file, message).with_help(PARTS_HELP));
        }
    }
    Ok(parts)
}

/// Refuses what is not the part that its name says. Only the first one holds the model's metadata; a file made of parts keeps
/// their keys, and the count 0.
fn belongs(part: &Header, before: usize, count: usize, first: Option<&Header>) -> Result<()> {
    let metadata = &part.metadata;
    for (key, expected) in [("split.count", count), ("split.no", before)] {
        let found = match metadata.integer(key)? {
            None if count == 1 => continue,
            Some(0) if count == 1 => continue,
            Some(found) if found == expected as i128 => continue,
            None => "nothing".to_owned(),
            Some(found) => found.to_string(),
        };
        let error = Error::file(Class::Index, &part.file, format_args!("{key}: expected {expected}, found {found}"));
        return Err(error.with_help(PARTS_HELP));
    }
    let key = "general.architecture";
    let first = first.map(|first| first.metadata.text(key)).transpose()?.flatten();
    match (first, metadata.text(key)?) {
        (Some(first), Some(found)) if first != found => {
            let message = format!("{key}: expected {}, as in the first part, found {}", quote(first), quote(found));
            Err(Error::file(Class::Index, &part.file, message).with_help(PARTS_HELP))
        }
        _ => Ok(()),
    }
}

impl Header {
    fn has(&self, name: &str) -> bool {
        self.tensors.iter().any(|tensor| tensor.name == name)
    }
}
