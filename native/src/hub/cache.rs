//! The cache of models, in the layout of `huggingface_hub`, so that its tools and lyn share files:
//!
//! ```text
//! models--org--name/blobs/HASH                 a file's bytes, under their hash; HASH.incomplete while they come
//! models--org--name/snapshots/COMMIT/a.gguf    a relative link to its blob
//! models--org--name/refs/main                  the commit that the branch stands for
//! .locks/models--org--name/HASH.lock           locked by whoever downloads the blob
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use lyn::checkpoint::INDEX_FILE;
use lyn::error::{Code, Error, Result};

use super::hash::FileHash;
use super::name::{HubName, is_safe_path};
use super::selection::{Models, WeightFiles, shards};

/// Most entries of a folder that are looked at, and most folders one in another.
const ENTRIES: usize = 50_000;
const DEPTH: usize = 4;
/// A longer reference names no commit.
const REFERENCE_BYTES: u64 = 256;
/// Largest index of shards, in bytes.
const INDEX_BYTES: u64 = 64 << 20;

/// A repository's place in the cache.
#[derive(Clone, Debug)]
pub(crate) struct Repository {
    pub(super) folder: PathBuf,
    pub(super) locks: PathBuf,
}

impl Repository {
    /// The place of a repository, whether it is there or not.
    pub(crate) fn new(cache: &Path, name: &HubName) -> Repository {
        let folder = name.folder();
        Repository { locks: cache.join(".locks").join(&folder), folder: cache.join(folder) }
    }

    pub(super) fn blob(&self, digest: &FileHash) -> PathBuf {
        self.folder.join("blobs").join(digest.as_str())
    }

    /// Where a blob is collected.
    pub(super) fn incomplete(&self, digest: &FileHash) -> PathBuf {
        self.folder.join("blobs").join(format!("{}.incomplete", digest.as_str()))
    }

    /// The folder of a commit's files.
    pub(crate) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// Gives a blob its name in a commit. Errors: of the file system.
    pub(super) fn link(&self, commit: &str, path: &str, digest: &FileHash) -> io::Result<()> {
        let name = self.snapshot(commit).join(path);
        let up = "../".repeat(path.split('/').count() + 1);
        let target = format!("{up}blobs/{}", digest.as_str());
        if fs::read_link(&name).is_ok_and(|found| found == Path::new(&target)) {
            return Ok(());
        }
        if let Some(parent) = name.parent() {
            fs::create_dir_all(parent)?;
        }
        match fs::remove_file(&name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        match symlink(Path::new(&target), &name) {
            // Another process was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            // A system without links has the file under both names.
            Err(_) => {
                fs::hard_link(self.blob(digest), &name).or_else(|_| fs::copy(self.blob(digest), &name).map(|_| ()))
            }
            Ok(()) => Ok(()),
        }
    }

    /// Says which commit a branch or tag stands for. Errors: of the file system.
    pub(super) fn refer(&self, revision: &str, commit: &str) -> io::Result<()> {
        let reference = self.folder.join("refs").join(revision);
        if revision == commit || fs::read_to_string(&reference).is_ok_and(|found| found == commit) {
            return Ok(());
        }
        if let Some(parent) = reference.parent() {
            fs::create_dir_all(parent)?;
        }
        let fresh = reference.with_extension(format!("{}.tmp", uuid::Uuid::new_v4().simple()));
        fs::write(&fresh, commit)?;
        fs::rename(fresh, reference)
    }

    /// The commit that a revision stands for here; none where it has not been downloaded.
    pub(crate) fn commit(&self, name: &HubName) -> Option<String> {
        let reference = self.folder.join("refs").join(name.revision());
        let is_short = reference.metadata().is_ok_and(|file| file.is_file() && file.len() <= REFERENCE_BYTES);
        let commit = is_short.then(|| fs::read_to_string(reference).ok()).flatten();
        let commit = commit.map_or_else(|| name.revision().to_owned(), |commit| commit.trim().to_owned());
        let is_plain = is_safe_path(&commit) && !commit.contains('/');
        (is_plain && self.snapshot(&commit).is_dir()).then_some(commit)
    }

    /// Every commit that is there, the newest first.
    pub(crate) fn commits(&self) -> Vec<String> {
        let mut found: Vec<(SystemTime, String)> = entries(&self.folder.join("snapshots"))
            .filter(|entry| entry.path().is_dir())
            .filter_map(|entry| {
                let time = entry.metadata().and_then(|entry| entry.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
                Some((time, entry.file_name().into_string().ok()?))
            })
            .collect();
        found.sort_unstable_by(|a, b| b.cmp(a));
        found.into_iter().map(|(_, commit)| commit).collect()
    }

    /// The files of a commit that are whole, by path, with their sizes.
    pub(crate) fn files(&self, commit: &str) -> Vec<(String, u64)> {
        let root = self.snapshot(commit);
        let (mut found, mut folders) = (vec![], vec![(root, String::new(), 0)]);
        while let Some((folder, prefix, depth)) = folders.pop() {
            for entry in entries(&folder) {
                let Ok(name) = entry.file_name().into_string() else { continue };
                let (path, inner) = (entry.path(), format!("{prefix}{name}"));
                // Links are followed to files, never to folders.
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) && depth < DEPTH {
                    folders.push((path, format!("{inner}/"), depth + 1));
                } else if let Some(file) = fs::metadata(path).ok().filter(fs::Metadata::is_file) {
                    found.push((inner, file.len()));
                }
            }
            if found.len() > ENTRIES {
                break;
            }
        }
        found.sort_unstable();
        found
    }

    /// The models of a commit that are whole.
    pub(crate) fn models(&self, commit: &str) -> Models {
        let files = self.files(commit);
        let mut models = Models::of(files.iter().map(|(path, size)| (path.as_str(), *size)));
        if models.weights == Some(WeightFiles::Indexed) {
            let index = self.snapshot(commit).join(INDEX_FILE);
            let is_short = index.metadata().is_ok_and(|file| file.len() <= INDEX_BYTES);
            let bytes = is_short.then(|| fs::read(index).ok()).flatten().unwrap_or_default();
            let is_there = |shard: &String| files.binary_search_by(|(path, _)| path.cmp(shard)).is_ok();
            if !shards(&bytes).is_ok_and(|shards| shards.iter().all(is_there)) {
                models.weights = None;
            }
        }
        models
    }
}

/// Where a model of the cache lies: the folder of a commit, or a GGUF file in it; none where it is not there, or only partly. Errors:
/// `model_not_found` where there are several and none is named.
pub(crate) fn find(cache: &Path, name: &HubName) -> Result<Option<PathBuf>> {
    let repository = Repository::new(cache, name);
    let current = repository.commit(name);
    let others = repository.commits().into_iter().filter(|commit| Some(commit) != current.as_ref());
    // A quantisation that was downloaded before the newest state of the branch is still meant by its name.
    let others: Vec<String> = if name.has_revision() { vec![] } else { others.collect() };
    for commit in current.iter().chain(&others) {
        let models = repository.models(commit);
        let folder = repository.snapshot(commit);
        let found = match name.wanted() {
            Some(wanted) => models.named(wanted),
            None if models.weights.is_some() => return Ok(Some(folder)),
            None => models.quantisations.iter().collect(),
        };
        match found.as_slice() {
            [] => {}
            [only] => return Ok(only.parts.first().map(|part| folder.join(part))),
            [first, ..] => {
                let message = format!("{name}: several quantisations are in the cache: {}", models.shown());
                let wanted = if name.wanted().is_some() { first.parts.first() } else { Some(&first.label) };
                let help = format!("name one of them, such as {}", name.with_wanted(wanted.map(String::as_str)));
                return Err(Error::new(Code::ModelNotFound, message).with_help(help));
            }
        }
    }
    Ok(None)
}

/// The repositories of a cache that hold models, by name.
pub(crate) fn repositories(cache: &Path) -> Vec<HubName> {
    let names = entries(cache).filter(|entry| entry.path().is_dir());
    let mut names: Vec<HubName> = names.filter_map(|entry| HubName::of_folder(entry.file_name().to_str()?)).collect();
    names.sort_unstable_by(|a, b| a.repository().cmp(b.repository()));
    names
}

/// What is in a folder; nothing where it cannot be read.
pub(super) fn entries(folder: &Path) -> impl Iterator<Item = fs::DirEntry> + use<> {
    fs::read_dir(folder).into_iter().flatten().flatten().take(ENTRIES)
}

#[cfg(unix)]
fn symlink(target: &Path, name: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, name)
}

#[cfg(windows)]
fn symlink(target: &Path, name: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target, name)
}
