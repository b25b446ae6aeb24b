//! Which folder is meant by one that a user gives, and what is wrong with one that holds no model.
//!
//! In: a folder as it lies on the disk. Out: the folder with `config.json` and weights, or an error that says what was found in its
//! place and what is missing. Never: a file's contents, but the one line of a cache's `refs/main`.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use lyn::checkpoint::{CONFIG_FILE, FolderSource, INDEX_FILE, ONLY_SHARD_FILE, SINGLE_FILE, Source as _};
use lyn::error::{Class, Error, Result, quote};

use crate::text::{quoted, shown};

/// Most names of one message.
const NAMES: usize = 3;
/// Most entries of a folder that are looked at: a message needs no more.
const ENTRIES: usize = 10_000;
/// A longer `refs/main` is not the name of a commit.
const REFERENCE_BYTES: u64 = 256;

/// The folder of a model: the one given, or in the cache of a hub the snapshot that it stands for. Errors: `bad_checkpoint`
/// where it holds no model, or only part of one.
pub(super) fn of_model(given: &Path) -> Result<PathBuf> {
    let folder = if exists(given, CONFIG_FILE) { None } else { snapshot(given)? };
    let folder = folder.as_deref().unwrap_or(given);
    if FolderSource::new(folder)?.gguf().is_some() {
        return Ok(folder.to_owned());
    }
    if !exists(folder, CONFIG_FILE) {
        return Err(without_config(folder));
    }
    if ![SINGLE_FILE, INDEX_FILE, ONLY_SHARD_FILE].into_iter().any(|file| exists(folder, file)) {
        return Err(without_weights(folder));
    }
    Ok(folder.to_owned())
}

/// Whether there is something under this name, if only a link to nowhere: that is an error of its own when it is read.
fn exists(folder: &Path, name: &str) -> bool {
    folder.join(name).symlink_metadata().is_ok()
}

/// The snapshot of a folder `models--OWNER--NAME`: the one that `refs/main` names, or the only one; none where the folder is none such.
fn snapshot(folder: &Path) -> Result<Option<PathBuf>> {
    let snapshots = folder.join("snapshots");
    if !snapshots.is_dir() {
        return Ok(None);
    }
    let main = folder.join("refs").join("main");
    let is_short = main.metadata().is_ok_and(|file| file.is_file() && file.len() <= REFERENCE_BYTES);
    let commit = is_short.then(|| std::fs::read_to_string(&main).ok()).flatten();
    let is_plain = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric());
    let named = commit.as_deref().map(str::trim).filter(|name| is_plain(name)).map(|name| snapshots.join(name));
    if let Some(named) = named.filter(|folder| folder.is_dir()) {
        return Ok(Some(named));
    }
    let mut found: Vec<_> = entries(&snapshots).into_iter().filter(|name| snapshots.join(name).is_dir()).collect();
    match (found.pop(), found.is_empty()) {
        (Some(only), true) => Ok(Some(snapshots.join(only))),
        (None, _) => {
            let message = format!("no such file in {}, a Hub cache without a snapshot", quoted(folder));
            Err(Error::file(Class::Io, CONFIG_FILE, message).with_help("download the model, or give another folder"))
        }
        (Some(last), false) => {
            let message = format!("no such file in {}, a Hub cache with several snapshots", quoted(folder));
            let help = format!("give one of them, such as {}", quoted(snapshots.join(last)));
            Err(Error::file(Class::Io, CONFIG_FILE, message).with_help(help))
        }
    }
}

/// What kind of model a file is by its name, where lyn reads none such.
pub(super) fn kind(name: &OsStr) -> Option<&'static str> {
    let extension = Path::new(name).extension()?.to_str()?.to_ascii_lowercase();
    Some(match extension.as_str() {
        "ggml" => "a file of llama.cpp from before GGUF, which lyn cannot read",
        "bin" | "pt" | "pth" | "ckpt" | "pkl" => "a PyTorch file, which lyn cannot read",
        "onnx" | "h5" | "msgpack" | "tflite" | "npz" => "a model in another format, which lyn cannot read",
        _ => return None,
    })
}

fn without_config(folder: &Path) -> Error {
    let names = entries(folder);
    let inside: Vec<PathBuf> = names
        .iter()
        .map(|name| folder.join(name))
        .filter(|path| exists(path, CONFIG_FILE) || path.join("snapshots").is_dir())
        .collect();
    let (what, help) = if let Some((first, others)) = inside.split_first() {
        let more = if others.is_empty() { String::new() } else { format!(", or one of {} others", others.len()) };
        (String::new(), format!("the model is one folder down; give {}{more}", quoted(first)))
    } else if let Some(first) = names.iter().find(|name| is_gguf(name)) {
        let help = format!("give one of the files, such as {}", quoted(folder.join(first)));
        (", which has several GGUF models".to_owned(), help)
    } else if let Some(what) = unread(&names) {
        (what, "lyn reads config.json with *.safetensors, and *.gguf; get the model in one of these formats".to_owned())
    } else if names.iter().any(|name| is_safetensors(name)) {
        let help = "get the config.json published with the weights, and put it beside them";
        (", which has weights".to_owned(), help.to_owned())
    } else {
        (String::new(), "give a folder with config.json and *.safetensors, or stories".to_owned())
    };
    Error::file(Class::Io, CONFIG_FILE, format!("no such file in {}{what}", quoted(folder))).with_help(help)
}

fn without_weights(folder: &Path) -> Error {
    let names = entries(folder);
    let shards: Vec<(&OsString, u32, u32)> =
        names.iter().filter_map(|name| shard(name).map(|(place, count)| (name, place, count))).collect();
    if let Some(&(name, _, count)) = shards.first() {
        let message = format!("no such file, and {} is one of {count} shards", quoted(name));
        let there: HashSet<u32> = shards.iter().filter(|shard| shard.2 == count).map(|shard| shard.1).collect();
        // A count is five digits at most, so that this ends.
        let absent: Vec<String> =
            (1..=count).filter(|place| !there.contains(place)).map(|place| place.to_string()).collect();
        let absent = match absent.as_slice() {
            [] => String::new(),
            few if few.len() <= 8 => format!(", and the shards {}", few.join(", ")),
            many => format!(", and {} of the shards", many.len()),
        };
        let help = format!("also download {INDEX_FILE}{absent} to this folder; the index maps tensors to shards");
        return Error::file(Class::Io, INDEX_FILE, message).with_help(help);
    }
    let others: Vec<&OsString> = names.iter().filter(|name| is_safetensors(name)).collect();
    let (what, help) = match others.first() {
        Some(other) => (
            format!(", only {}", quoted(other)),
            format!("rename the file to {SINGLE_FILE}, or add the {INDEX_FILE} that names it"),
        ),
        None => (
            unread(&names).unwrap_or_default(),
            format!("download the weights too: {SINGLE_FILE}, or {INDEX_FILE} and its shards"),
        ),
    };
    let message = format!("no such file in {}{what}", quoted(folder));
    Error::file(Class::Io, SINGLE_FILE, message).with_help(help)
}

/// Files of a model in a form that is not read: `, which has a.gguf, a GGUF file, which lyn does not read`.
fn unread(names: &[OsString]) -> Option<String> {
    let found: Vec<&OsString> = names.iter().filter(|name| kind(name).is_some()).take(NAMES).collect();
    let what = kind(found.first()?)?;
    let list: Vec<String> = found.iter().map(shown).collect();
    Some(format!(", which has {}: {what}", quote(&list.join(", "))))
}

fn is_gguf(name: &OsStr) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "gguf")
}

fn is_safetensors(name: &OsStr) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "safetensors")
}

/// Which one of how many a shard is: `model-00001-of-00003.safetensors`.
fn shard(name: &OsStr) -> Option<(u32, u32)> {
    let (place, count) = name.to_str()?.strip_suffix(".safetensors")?.rsplit_once("-of-")?;
    let number = |text: &str| text.parse().ok().filter(|_| (1..=5).contains(&text.len()));
    Some((number(place.rsplit_once('-')?.1)?, number(count)?))
}

/// Names in a folder, sorted; none of one that cannot be read.
fn entries(folder: &Path) -> Vec<OsString> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<OsString> = entries.take(ENTRIES).map(|entry| entry.file_name()).collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_say_which_they_are() {
        for (name, place) in [
            ("model-00001-of-00003.safetensors", Some((1, 3))),
            ("pytorch_model-2-of-2.safetensors", Some((2, 2))),
            ("model.safetensors", None),
            ("model-1-of-9999999999.safetensors", None),
            ("model-x-of-3.safetensors", None),
        ] {
            assert_eq!(shard(OsStr::new(name)), place, "{name}");
        }
    }
}
