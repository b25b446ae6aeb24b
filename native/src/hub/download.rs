//! One file: into its blob, in as many attempts as it takes, and nothing under its name before it is whole and right.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::{StatusCode, Uri};
use lyn::error::{Code, Error, Result, quote};
use lyn::memory::bytes;

use super::cache::Repository;
use super::client::{Attempts, ByteRange, HubClient, content_range};
use super::hash::{FileHash, Hasher};
use super::listing::RemoteFile;
use super::refusal::{FailedRequest, Subject, network};
use crate::text::io_error;

/// Between two looks at a lock that another process holds.
const LOOK: Duration = Duration::from_millis(200);
/// An attempt that brings less counts as one that brings nothing: a server cannot keep a client forever, byte by byte.
const FURTHER: u64 = 64 << 10;
/// Bytes read at once of what is there already.
const PIECE: usize = 1 << 20;

/// What is told while files come.
#[derive(Debug, Default)]
pub(super) struct Arrived {
    /// Bytes that are there.
    pub(super) done: AtomicU64,
    /// Bytes that came over the network.
    pub(super) fetched: AtomicU64,
    /// Files that another process is downloading.
    pub(super) waiting: AtomicU64,
}

/// A file of a repository on the way into the cache.
pub(super) struct Download<'a> {
    pub(super) client: &'a HubClient,
    pub(super) repository: &'a Repository,
    pub(super) file: &'a RemoteFile,
    pub(super) uri: Uri,
    pub(super) asked: Subject<'a>,
    pub(super) progress: &'a Arrived,
}

/// What has been collected.
struct Collected {
    file: File,
    length: u64,
    hasher: Hasher,
}

impl Download<'_> {
    /// Brings the blob. Errors: `network`, `unauthorized`, `model_not_found`, `io`; `bad_checkpoint` of the class E-HASH where the
    /// bytes are not those that were listed.
    pub(super) async fn run(&self) -> Result<()> {
        let blob = self.repository.blob(&self.file.digest);
        let _lock = self.lock().await?;
        if blob.metadata().is_ok_and(|found| found.is_file() && found.len() == self.file.size) {
            self.progress.done.fetch_add(self.file.size, Ordering::Relaxed);
            return Ok(());
        }
        let incomplete = self.repository.incomplete(&self.file.digest);
        let failed = |error: io::Error| io_error(&incomplete, &error);
        let mut collected = self.resume(&incomplete).await.map_err(failed)?;
        let mut is_fresh = collected.length == 0;
        loop {
            self.collect(&mut collected).await?;
            let Collected { file, hasher, .. } = collected;
            match self.file.digest.check(&self.file.path, hasher) {
                Ok(()) => {
                    file.sync_all().map_err(failed)?;
                    drop(file);
                    return std::fs::rename(&incomplete, &blob).map_err(|error| io_error(&blob, &error));
                }
                Err(error) => {
                    drop(file);
                    std::fs::remove_file(&incomplete).map_err(failed)?;
                    self.progress.done.fetch_sub(self.file.size, Ordering::Relaxed);
                    if is_fresh {
                        return Err(error
                            .with_help("run the command again; if it happens again, the server has a damaged file"));
                    }
                    tracing::warn!(
                        file = self.file.path,
                        "what was there of a file does not belong to it; downloading it anew"
                    );
                    is_fresh = true;
                    collected = self.resume(&incomplete).await.map_err(failed)?;
                }
            }
        }
    }

    /// Waits until no other process downloads this file. A system without locks has none.
    async fn lock(&self) -> Result<Option<File>> {
        let path = self.repository.locks.join(format!("{}.lock", self.file.digest.as_str()));
        let failed = |error: io::Error| io_error(&path, &error);
        let mut waits = false;
        let held = loop {
            let lock = OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(failed)?;
            match lock.try_lock() {
                Ok(()) if is_still(&lock, &path) => break Some(lock),
                // Whoever held it has removed it.
                Ok(()) => continue,
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(_)) => break None,
            }
            if !std::mem::replace(&mut waits, true) {
                self.progress.waiting.fetch_add(1, Ordering::Relaxed);
            }
            tokio::time::sleep(LOOK).await;
        };
        if waits {
            self.progress.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        Ok(held)
    }

    /// Opens what was collected before, and reads it once for its hash.
    async fn resume(&self, path: &Path) -> io::Result<Collected> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut length = file.metadata()?.len();
        if length > self.file.size {
            file.set_len(0)?;
            length = 0;
        }
        let mut hasher = self.file.digest.begin(self.file.size);
        let (mut piece, mut left) = (vec![0; PIECE], length);
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            let read = piece.get_mut(..most).unwrap_or_default();
            file.read_exact(read)?;
            hasher.update(read);
            left -= most as u64;
            self.progress.done.fetch_add(most as u64, Ordering::Relaxed);
            // Hundreds of gigabytes take minutes, in which others go on and a stop is heard.
            tokio::task::yield_now().await;
        }
        Ok(Collected { file, length, hasher })
    }

    /// Requests the rest until it is there.
    async fn collect(&self, collected: &mut Collected) -> Result<()> {
        let mut attempts = Attempts::default();
        let mut part = ByteRange { expected: self.file.digest.as_str().to_owned(), ..ByteRange::default() };
        while collected.length < self.file.size || self.file.size == 0 {
            let before = collected.length;
            part.first = before;
            match self.attempt(collected, &mut part).await {
                Ok(()) => return Ok(()),
                Err(failure) => attempts.after(failure, collected.length >= before.saturating_add(FURTHER)).await?,
            }
        }
        Ok(())
    }

    /// One request. What comes of it is kept, whatever happens then.
    async fn attempt(&self, collected: &mut Collected, part: &mut ByteRange) -> Result<(), FailedRequest> {
        let size = self.file.size;
        let mut opened = self.client.open(&self.uri, (part.first > 0).then_some(&*part), &self.asked).await?;
        let wrong =
            |host: &str, what: String| FailedRequest::last(network(host, format!("{}: {what}", self.asked.shown())));
        if let Some(changed) = opened.linked.get("x-linked-etag").and_then(|tag| tag.to_str().ok())
            && FileHash::sha256(changed.trim_start_matches("W/").trim_matches('"'))
                .is_some_and(|found| found != self.file.digest)
        {
            let what =
                format!("expected the hash {}, the server now has {}", self.file.digest.as_str(), quote(changed));
            let failure = wrong(&opened.host, what);
            return Err(FailedRequest {
                error: failure.error.with_help("it changed since it was listed: run the command again"),
                ..failure
            });
        }
        if opened.status == StatusCode::PARTIAL_CONTENT {
            let expected = (part.first, size.saturating_sub(1), size);
            match content_range(&opened.headers) {
                Some(found) if found == expected => {}
                found => {
                    let found = found.map_or_else(
                        || "no readable Content-Range".to_owned(),
                        |(first, last, size)| format!("{first} to {last} of {size}"),
                    );
                    let what = format!("expected bytes {} to {} of {size}, found {found}", expected.0, expected.1);
                    return Err(wrong(&opened.host, what));
                }
            }
        } else {
            let length =
                opened.headers.get("content-length").and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
            if let Some(length) = length.filter(|length| *length != size) {
                return Err(wrong(&opened.host, format!("expected {size} bytes, the server sends {length}")));
            }
            // The file changed, or the server knows no ranges: from the start.
            self.restart(collected)?;
        }
        part.tag = opened.tag();
        while let Some(piece) = opened.piece().await? {
            if collected.length.saturating_add(piece.len() as u64) > size {
                return Err(wrong(&opened.host, format!("expected {size} bytes, the server sends more")));
            }
            self.keep(collected, &piece)?;
        }
        if collected.length < size {
            let what = format!("{}: the connection ended at byte {} of {size}", self.asked.shown(), collected.length);
            return Err(FailedRequest::passing(network(&opened.host, what)));
        }
        Ok(())
    }

    fn restart(&self, collected: &mut Collected) -> Result<()> {
        self.progress.done.fetch_sub(collected.length, Ordering::Relaxed);
        collected.length = 0;
        collected.hasher = self.file.digest.begin(self.file.size);
        collected.file.set_len(0).and_then(|()| collected.file.rewind()).map_err(|error| self.unwritten(&error))
    }

    fn keep(&self, collected: &mut Collected, piece: &[u8]) -> Result<()> {
        let written =
            collected.file.seek(SeekFrom::Start(collected.length)).and_then(|_| collected.file.write_all(piece));
        written.map_err(|error| self.unwritten(&error))?;
        collected.hasher.update(piece);
        collected.length += piece.len() as u64;
        self.progress.done.fetch_add(piece.len() as u64, Ordering::Relaxed);
        self.progress.fetched.fetch_add(piece.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn unwritten(&self, error: &io::Error) -> Error {
        let path = self.repository.incomplete(&self.file.digest);
        let error_of_path = io_error(&path, error);
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => error_of_path
                .with_help("make room, or set HF_HUB_CACHE to a folder on another disk, and run the command again"),
            _ => error_of_path,
        }
    }
}

/// Whether an open lock is the one that others find under its name.
fn is_still(lock: &File, path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let (Ok(held), Ok(named)) = (lock.metadata(), path.metadata()) else { return false };
        (held.dev(), held.ino()) == (named.dev(), named.ino())
    }
    #[cfg(not(unix))]
    {
        let _ = (lock, path);
        true
    }
}

/// The free bytes of a disk; none where the system does not say.
fn free_bytes(folder: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        let disk = rustix::fs::statvfs(folder).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }
    #[cfg(not(unix))]
    {
        let _ = folder;
        None
    }
}

/// Errors: `io` where the disk of a folder, which may not be there yet, has not enough room.
pub(super) fn check_room(folder: &Path, needed: u64) -> Result<()> {
    match folder.ancestors().find(|folder| folder.exists()).and_then(free_bytes) {
        Some(free) if free < needed => {
            let place = crate::text::quoted(folder);
            let message =
                format!("the download needs {}, {} are free on the disk of {place}", bytes(needed), bytes(free));
            Err(Error::new(Code::Io, message)
                .with_help("make room (lyn list, lyn rm), or set HF_HUB_CACHE to a folder on another disk")
                .with_detail("needed_bytes", needed)
                .with_detail("free_bytes", free))
        }
        _ => Ok(()),
    }
}
