//! Which files a checkpoint has, and which tensor lies where.
//!
//! In: `model.safetensors`, or `model.safetensors.index.json` and its shards, or the only shard. Out: every stored tensor by name, each
//! once. Never: a path from the index; shard names are plain file names.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::header::{self, NAME_BYTES, TENSORS};
use crate::checkpoint::files::{INDEX_BYTES, optional_small_file};
use crate::checkpoint::source::Source;
use crate::checkpoint::stored::Tensor;
use crate::error::{Class, Error, Result, quote};
use crate::json::{Kind, Reader};

/// The one file of a checkpoint without shards.
pub const SINGLE_FILE: &str = "model.safetensors";
/// What some programs call the one file of a checkpoint, and then they write no index.
pub const ONLY_SHARD_FILE: &str = "model-00001-of-00001.safetensors";
/// The index of a checkpoint with shards; where it exists, it decides.
pub const INDEX_FILE: &str = "model.safetensors.index.json";
/// What a folder needs beside config.json.
const WEIGHTS_HELP: &str =
    "the weights are model.safetensors, or model.safetensors.index.json and the shards that it names";
/// Most shards of a checkpoint.
pub const SHARDS: usize = 10_000;

/// Reads the headers of all files of the checkpoint: the file that lists the tensors, and name → tensor.
pub(super) async fn read(source: &dyn Source) -> Result<(&'static str, HashMap<String, Tensor>)> {
    let Some(bytes) = optional_small_file(source, INDEX_FILE, INDEX_BYTES).await? else {
        let mut file = SINGLE_FILE;
        if source.size(SINGLE_FILE).await?.is_none() {
            if source.size(ONLY_SHARD_FILE).await?.is_none() {
                let message = format!("no such file, and no {INDEX_FILE} that names others");
                return Err(Error::file(Class::Io, SINGLE_FILE, message).with_help(WEIGHTS_HELP));
            }
            file = ONLY_SHARD_FILE;
        }
        let tensors = header::read(source, file).await?;
        return Ok((file, tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect()));
    };
    let mut listed = weight_map(&bytes)?;
    drop(bytes);
    let mut shards: Vec<Arc<str>> = listed.values().cloned().collect::<HashSet<_>>().into_iter().collect();
    shards.sort_unstable();
    let mut tensors: HashMap<String, Tensor> = HashMap::with_capacity(listed.len());
    for shard in &shards {
        if source.size(shard).await?.is_none() {
            let message = format!("no such file, but {INDEX_FILE} names it");
            return Err(Error::file(Class::Io, shard, message).with_help("download this shard into the folder too"));
        }
        for tensor in header::read(source, shard).await? {
            if let Some(first) = tensors.get(&tensor.name) {
                return Err(tensor.error(Class::Dup, format_args!("also in {}", quote(&first.file))));
            }
            if tensors.len() >= TENSORS {
                let message = format_args!("more than {TENSORS} tensors in all shards");
                return Err(Error::file(Class::Limit, shard, message));
            }
            tensors.insert(tensor.name.clone(), tensor);
        }
    }
    for tensor in tensors.values() {
        match listed.remove(&tensor.name) {
            Some(shard) if shard == tensor.file => {}
            Some(shard) => {
                let (name, listed, found) = (quote(&tensor.name), quote(&shard), quote(&tensor.file));
                let message = format_args!("tensor {name}: listed in {listed}, found in {found}");
                return Err(Error::file(Class::Index, INDEX_FILE, message));
            }
            None => return Err(tensor.error(Class::Index, format_args!("not listed in {INDEX_FILE}"))),
        }
    }
    // The least name, so that the same folder gives the same message each time.
    match listed.into_iter().min() {
        None => Ok((INDEX_FILE, tensors)),
        Some((name, shard)) => {
            let message = format!("tensor {}: listed in {}, which does not hold it", quote(&name), quote(&shard));
            Err(Error::file(Class::Index, INDEX_FILE, message))
        }
    }
}

/// The index's tensor name → file name.
fn weight_map(bytes: &[u8]) -> Result<HashMap<String, Arc<str>>> {
    let mut reader = Reader::new(INDEX_FILE, Class::Index, bytes)?;
    reader.check()?;
    let mut listed = HashMap::new();
    let mut shards: HashSet<Arc<str>> = HashSet::new();
    let mut seen = HashSet::new();
    reader.object(|reader, key| {
        if !seen.insert(key.clone().into_owned()) {
            return Err(reader.fault(&format!("the key {} twice", quote(&key))));
        }
        if key != "weight_map" {
            return reader.skip(); // total_size is often wrong, and nothing here relies on it
        }
        reader.object(|reader, name| {
            let found = reader.peek()?;
            if found != Kind::String {
                return Err(reader.fault(&format!("weight_map.{}: expected a file name, found {found}", quote(&name))));
            }
            let file = reader.string()?;
            let shard = match shards.get(&*file) {
                Some(shard) => shard.clone(),
                None => {
                    plain_name(&file)?;
                    if shards.len() >= SHARDS {
                        return Err(Error::file(Class::Limit, INDEX_FILE, format_args!("more than {SHARDS} shards")));
                    }
                    let shard: Arc<str> = (&*file).into();
                    shards.insert(shard.clone());
                    shard
                }
            };
            if name.len() > NAME_BYTES || listed.len() >= TENSORS {
                let message =
                    format!("more than {TENSORS} tensors, or a name longer than {NAME_BYTES} bytes: {}", quote(&name));
                return Err(Error::file(Class::Limit, INDEX_FILE, message));
            }
            match listed.insert(name.clone().into_owned(), shard) {
                None => Ok(()),
                Some(_) => Err(reader.fault(&format!("weight_map: tensor {} twice", quote(&name)))),
            }
        })
    })?;
    if listed.is_empty() {
        return Err(Error::file(Class::Index, INDEX_FILE, "weight_map: expected tensor names, found none"));
    }
    Ok(listed)
}

fn plain_name(file: &str) -> Result<()> {
    let odd = |character: char| matches!(character, '/' | '\\' | ':') || character.is_control();
    if file.len() <= 255 && file.ends_with(".safetensors") && !file.contains(odd) && !file.starts_with('.') {
        return Ok(());
    }
    let message = format!("weight_map: expected the plain name of a .safetensors file, found {}", quote(file));
    Err(Error::file(Class::Path, INDEX_FILE, message))
}
