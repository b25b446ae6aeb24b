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
use super::parts;
use super::source::Source;
use super::stored::{Stored, TextFiles};
use crate::error::{Class, Code, Error, Result};

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
    Ok(Stored { config, generation, file: first.file.clone(), tensors })
}

/// The config in a header; `has` says which tensors there are.
fn config_of(header: &Header, has: &dyn Fn(&str) -> bool) -> Result<ModelConfig> {
    let members = config::members(&header.metadata, has)?;
    ModelConfig::read(&header.file, members.as_json()).map_err(|error| {
        let key = error.details().get("field").and_then(|field| members.key(field.as_str()?));
        match key.map(|key| format!("in this file it is {key}")) {
            Some(key) => error.with_help(key),
            None => error,
        }
    })
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
async fn headers(source: &dyn Source, file: &str) -> Result<Vec<Header>> {
    let names = parts::parts(file);
    let count = names.len();
    let mut parts = vec![];
    for (before, file) in names.enumerate() {
        if count > 1 && source.size(&file).await?.is_none() {
            let message = format!("no such file, and it is one of {count} parts");
            return Err(Error::file(Class::Io, &file, message).with_help("download this part into the folder too"));
        }
        let part = header::read(source, &file).await?;
        let wrong = |what: &str, expected: usize, found: i128| {
            Err(Error::file(Class::Index, &file, format_args!("{what}: expected {expected}, found {found}")))
        };
        let integer = |key: &str| part.metadata.integer(key);
        if let Some(found) = integer("split.count")?.filter(|found| *found != count as i128) {
            let error = wrong("split.count", count, found);
            return error
                .map_err(|error| error.with_help("parts are named NAME-00001-of-00003.gguf; download them all"));
        }
        if let Some(found) = integer("split.no")?.filter(|found| *found != before as i128) {
            return wrong("split.no", before, found);
        }
        parts.push(part);
    }
    let total: usize = parts.iter().map(|part| part.tensors.len()).sum();
    let listed = parts.first().map(|part| part.metadata.integer("split.tensors.count")).transpose()?.flatten();
    if let Some(listed) = listed.filter(|listed| *listed != total as i128) {
        let message = format!("split.tensors.count: {listed}, but the parts have {total} tensors");
        return Err(Error::file(Class::Index, file, message));
    }
    Ok(parts)
}

impl Header {
    fn has(&self, name: &str) -> bool {
        self.tensors.iter().any(|tensor| tensor.name == name)
    }
}
