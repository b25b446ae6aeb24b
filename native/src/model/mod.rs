//! What MODEL means: the embedded stories, a folder, a file, a name in the cache of the Hub. Never a download.

mod folder;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use lyn::checkpoint::{
    BoxFuture, CONFIG_BYTES, CONFIG_FILE, Checkpoint, FolderSource, INDEX_FILE, ONLY_SHARD_FILE, SINGLE_FILE, Source,
    small_file,
};
use lyn::error::{Code, Error, Result};
use lyn::platform::block_on;

use crate::hub::{HubName, cache, surroundings};
use crate::text::quoted;

/// The files of a model. Errors: `model_not_found`, with the nearest name that exists; `bad_checkpoint` for a folder that
/// is not a model's, with what it is.
pub(crate) fn source(model: &Path) -> Result<Arc<dyn Source>> {
    if model == "stories" {
        return Ok(lyn::models::stories());
    }
    if model.is_dir() {
        return Ok(Arc::new(FolderSource::new(folder::of_model(model)?)?));
    }
    let not_found = |message: String| Error::new(Code::ModelNotFound, message);
    if model.is_file() {
        let folder = model.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
        let name = model.file_name().unwrap_or_default();
        if name == CONFIG_FILE || name == INDEX_FILE {
            return Ok(Arc::new(FolderSource::new(folder::of_model(folder)?)?));
        }
        if model.extension().is_some_and(|extension| extension == "gguf") {
            let name =
                name.to_str().ok_or_else(|| not_found(format!("{} has a name that is no text", quoted(model))))?;
            return Ok(Arc::new(FolderSource::new(folder)?.with_gguf(name)));
        }
        if model.extension().is_none_or(|extension| extension != "safetensors") {
            let kind = folder::kind(name).map_or(String::new(), |kind| format!(": {kind}"));
            let message = format!("{} is not a .safetensors file{kind}", quoted(model));
            return Err(not_found(message).with_help("give a folder with config.json and *.safetensors, or stories"));
        }
        // The folder's other weights must not be taken in place of the file that was named.
        let is_whole = name == SINGLE_FILE || name == ONLY_SHARD_FILE && !folder.join(SINGLE_FILE).is_file();
        if !is_whole && !folder.join(INDEX_FILE).is_file() {
            let message = format!("{} is not {SINGLE_FILE}, and there is no {INDEX_FILE} next to it", quoted(model));
            return Err(not_found(message).with_help("give the model's folder"));
        }
        return Ok(Arc::new(FolderSource::new(folder::of_model(folder)?)?));
    }
    let on_hub = HubName::of_model(&model.to_string_lossy());
    if let (Some(name), Some(cache)) = (&on_hub, surroundings::cache())
        && let Some(found) = cache::find(&cache, name)?
    {
        return source(&found);
    }
    let message = format!("{} is neither a folder nor a built-in model", quoted(model));
    let nearest = nearest(model);
    Err(match nearest {
        Some(nearest) => not_found(message).with_help(format!("did you mean {}?", quoted(&nearest))),
        None => match on_hub {
            Some(name) => not_found(format!("{message}, and not in the cache of the Hub"))
                .with_help(format!("download it with: lyn pull {name}")),
            None => not_found(message),
        },
    })
}

/// The name most like `path` among the built-in model and what lies beside it.
fn nearest(path: &Path) -> Option<PathBuf> {
    let wanted = path.file_name()?.to_string_lossy().into_owned();
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let beside = std::fs::read_dir(folder.unwrap_or(Path::new("."))).into_iter().flatten().flatten();
    let folders = beside.filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name());
    let names = folders.map(|name| name.to_string_lossy().into_owned());
    let built_in = folder.is_none().then(|| "stories".to_owned());
    let likeness = |name: &String| strsim::jaro_winkler(name, &wanted);
    let best = names.chain(built_in).max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(&best) > 0.85).then(|| folder.unwrap_or(Path::new("")).join(best))
}

/// An open checkpoint: headers only. Errors: as [`source`], and what is wrong with the files.
pub(crate) fn open(model: &Path) -> Result<Checkpoint> {
    block_on(Checkpoint::open(source(model)?))
}

/// The checkpoint of which only the config is there; none for anything but a .json file without weights beside it. Errors: what is
/// wrong with the config.
pub(crate) fn described(model: &Path) -> Result<Option<Checkpoint>> {
    let folder = model.parent().unwrap_or(Path::new(""));
    let has_weights = [SINGLE_FILE, ONLY_SHARD_FILE, INDEX_FILE].iter().any(|file| folder.join(file).is_file());
    if has_weights || !model.is_file() || model.extension().is_none_or(|extension| extension != "json") {
        return Ok(None);
    }
    let name = model.file_name().and_then(|name| name.to_str()).unwrap_or(CONFIG_FILE);
    let source = FolderSource::new(if folder == Path::new("") { Path::new(".") } else { folder })?;
    let config = block_on(small_file(&source, name, CONFIG_BYTES))?;
    Checkpoint::described_by(name, &config).map(Some)
}

/// Files with a digest of all that was read of them: two models of which the same was read are the same to whoever read it, in
/// whatever order it was read: threads read ahead of each other.
pub(crate) struct Digested {
    files: Arc<dyn Source>,
    digests: Mutex<BTreeMap<Stretch, [u8; 32]>>,
}

/// A stretch of a file: its name, offset and length.
type Stretch = (String, u64, usize);

impl Digested {
    /// These files, of which nothing has been read.
    pub(crate) fn new(files: Arc<dyn Source>) -> Arc<Digested> {
        Arc::new(Digested { files, digests: Mutex::default() })
    }

    /// Of names, places and bytes.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let mut whole = blake3::Hasher::new();
        for ((file, offset, length), digest) in self.digests.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            for number in [file.len() as u64, *offset, *length as u64] {
                whole.update(&number.to_le_bytes());
            }
            whole.update(file.as_bytes()).update(digest);
        }
        *whole.finalize().as_bytes()
    }
}

impl Source for Digested {
    fn gguf(&self) -> Option<&str> {
        self.files.gguf()
    }

    fn size<'a>(&'a self, file: &'a str) -> BoxFuture<'a, Result<Option<u64>>> {
        self.files.size(file)
    }

    fn read<'a>(&'a self, file: &'a str, offset: u64, length: usize) -> BoxFuture<'a, Result<Vec<u8>>> {
        Box::pin(async move {
            let bytes = self.files.read(file, offset, length).await?;
            let digest = *blake3::hash(&bytes).as_bytes();
            let mut digests = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
            digests.insert((file.to_owned(), offset, length), digest);
            Ok(bytes)
        })
    }
}

/// Bytes of memory that this machine can still give; none where the system does not say.
pub(crate) fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use lyn::checkpoint::MemorySource;

    use super::*;

    #[test]
    fn a_digest_is_of_what_was_read_in_any_order() {
        let digest = |file: &str, bytes: &[u8], reads: &[(u64, usize)]| {
            let files = Digested::new(Arc::new(MemorySource::new().with(file, bytes.to_vec())));
            reads.iter().for_each(|&(offset, length)| drop(block_on(files.read(file, offset, length)).unwrap()));
            files.digest()
        };
        let known = digest("a", b"0123", &[(0, 2), (2, 2)]);
        assert_eq!(digest("a", b"0123", &[(2, 2), (0, 2), (2, 2)]), known);
        for other in [
            digest("a", b"0124", &[(0, 2), (2, 2)]),
            digest("a", b"2301", &[(0, 2), (2, 2)]),
            digest("b", b"0123", &[(0, 2), (2, 2)]),
            digest("a", b"0123", &[(0, 2)]),
            digest("a", b"0123", &[(0, 4)]),
        ] {
            assert_ne!(other, known);
        }
    }
}
