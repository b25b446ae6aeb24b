//! Taking models out of the cache: their names, and the blobs that no other name leads to.
//!
//! Never: a file outside the repository's folder, or one that another process is downloading.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use lyn::error::{Code, Error, Result};

use super::cache::{Repository, entries};
use super::name::{HubName, is_hex};
use crate::text::io_error;

/// Most folders one in another, in a commit.
const DEPTH: usize = 8;

/// What is to be removed.
#[derive(Debug)]
pub(crate) struct Removal {
    repository: Repository,
    /// Names of files; none where the whole repository goes.
    names: Option<Vec<PathBuf>>,
    /// Blobs that only these names lead to.
    blobs: Vec<PathBuf>,
    /// Bytes that become free.
    pub(crate) bytes: u64,
}

/// A file's name in a commit.
struct Named {
    path: PathBuf,
    /// The name of its blob; none for a file that is no link to one.
    blob: Option<String>,
}

impl Removal {
    /// What a name stands for: a quantisation or a file in every commit, a revision, or the whole repository; none where there is no
    /// such thing in the cache. Errors: `bad_request` where the name stands for several models.
    pub(crate) fn of(cache: &Path, name: &HubName) -> Result<Option<Removal>> {
        let repository = Repository::new(cache, name);
        if !repository.folder.is_dir() {
            return Ok(None);
        }
        let commits =
            if name.has_revision() { repository.commit(name).into_iter().collect() } else { repository.commits() };
        let mut names: BTreeSet<PathBuf> = BTreeSet::new();
        for commit in &commits {
            let folder = repository.snapshot(commit);
            match name.wanted() {
                Some(wanted) => {
                    let models = repository.models(commit);
                    let found = models.named(wanted);
                    if found.len() > 1 {
                        let message = format!("{name} stands for several models: {}", models.shown());
                        return Err(
                            Error::new(Code::BadRequest, message).with_help("name a file, as lyn list shows it")
                        );
                    }
                    names.extend(found.iter().flat_map(|model| &model.parts).map(|part| folder.join(part)));
                }
                None => names.extend(named(&folder).into_iter().map(|named| named.path)),
            }
        }
        if names.is_empty() && (name.wanted().is_some() || name.has_revision()) {
            return Ok(None);
        }
        let all: Vec<Named> =
            repository.commits().iter().flat_map(|commit| named(&repository.snapshot(commit))).collect();
        if all.iter().all(|named| names.contains(&named.path)) {
            let bytes = folder_bytes(&repository.folder, DEPTH);
            return Ok(Some(Removal { repository, names: None, blobs: vec![], bytes }));
        }
        let (gone, kept): (Vec<&Named>, Vec<&Named>) = all.iter().partition(|named| names.contains(&named.path));
        let kept: BTreeSet<&str> = kept.iter().filter_map(|named| named.blob.as_deref()).collect();
        let gone_blobs: BTreeSet<&str> = gone.iter().filter_map(|named| named.blob.as_deref()).collect();
        let blobs: Vec<PathBuf> =
            gone_blobs.difference(&kept).map(|blob| repository.folder.join("blobs").join(blob)).collect();
        let whole = gone.iter().filter(|named| named.blob.is_none()).map(|named| &named.path);
        let length = |path: &PathBuf| path.symlink_metadata().map_or(0, |file| file.len());
        let bytes = blobs.iter().chain(whole).map(length).fold(0, u64::saturating_add);
        Ok(Some(Removal { repository, names: Some(names.into_iter().collect()), blobs, bytes }))
    }

    /// Removes it. Errors: `io` where another process is downloading some of it, before anything is removed.
    pub(crate) fn run(self) -> Result<()> {
        let Removal { repository, names, blobs, .. } = self;
        let Some(names) = names else {
            let locks: Vec<PathBuf> = entries(&repository.locks).map(|entry| entry.path()).collect();
            locks.iter().try_for_each(|lock| check_free(lock))?;
            remove_all(&repository.folder)?;
            return remove_all(&repository.locks);
        };
        for blob in &blobs {
            let name = blob.file_name().unwrap_or_default().to_string_lossy();
            check_free(&repository.locks.join(format!("{name}.lock")))?;
        }
        for path in names.iter().chain(&blobs) {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error(path, &error)),
                _ => {}
            }
        }
        let snapshots = repository.folder.join("snapshots");
        for path in &names {
            // Folders that are not empty stay.
            let above = path.ancestors().skip(1).take_while(|folder| *folder != snapshots);
            above.for_each(|folder| drop(fs::remove_dir(folder)));
        }
        let refs = repository.folder.join("refs");
        for (path, _) in walk(&refs, DEPTH) {
            let commit = fs::read_to_string(&path).unwrap_or_default();
            if !commit.is_empty() && !snapshots.join(commit.trim()).exists() {
                drop(fs::remove_file(path));
            }
        }
        Ok(())
    }
}

/// The files of a commit, broken links included.
fn named(snapshot: &Path) -> Vec<Named> {
    let blob = |path: &Path| {
        let target = fs::read_link(path).ok()?;
        let name = target.file_name()?.to_str()?.to_owned();
        let is_blob =
            target.parent().is_some_and(|folder| folder.ends_with("blobs")) && is_hex(&name) && !name.is_empty();
        is_blob.then_some(name)
    };
    walk(snapshot, DEPTH).into_iter().map(|(path, _)| Named { blob: blob(&path), path }).collect()
}

/// All that is no folder, with its own length. Links are not followed.
fn walk(folder: &Path, depth: usize) -> Vec<(PathBuf, u64)> {
    let mut found = vec![];
    for entry in entries(folder) {
        match entry.metadata() {
            Ok(inner) if inner.is_dir() && depth > 0 => found.extend(walk(&entry.path(), depth - 1)),
            Ok(inner) if !inner.is_dir() => found.push((entry.path(), inner.len())),
            _ => {}
        }
    }
    found
}

/// Bytes of all files below a folder.
fn folder_bytes(folder: &Path, depth: usize) -> u64 {
    walk(folder, depth).into_iter().map(|(_, length)| length).fold(0, u64::saturating_add)
}

/// Errors: `io` where another process holds a lock.
fn check_free(lock: &Path) -> Result<()> {
    let Ok(file) = OpenOptions::new().write(true).open(lock) else { return Ok(()) };
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            let message = "another process is downloading this model";
            Err(Error::new(Code::Io, message).with_help("stop it, or wait for its end"))
        }
        _ => Ok(()),
    }
}

fn remove_all(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(folder, &error)),
        _ => Ok(()),
    }
}

/// Bytes of what has been downloaded of a repository in part.
pub(crate) fn incomplete_bytes(cache: &Path, name: &HubName) -> u64 {
    let blobs = Repository::new(cache, name).folder.join("blobs");
    let is_part = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().ends_with(".incomplete");
    let lengths = entries(&blobs).filter(is_part).filter_map(|entry| Some(entry.metadata().ok()?.len()));
    lengths.fold(0, u64::saturating_add)
}
