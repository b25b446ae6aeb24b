//! Blocks of the prefix cache, kept on disk.
//!
//! In: a block's key, its token ids and its rows as words; a folder, all of whose bytes are untrusted. Out: the same rows,
//! after a restart too. Never: rows that differ from those that were saved, a panic, an error for a request, a wait in
//! [`BlockStore::save`]. Any doubt is a miss, and whatever is wrong with the disk only costs time.
//!
//! It knows nothing of models, devices or requests. What an entry is stands in `entry`, who goes first when it is full in
//! `index`, the thread that writes in `writer`, the folder in `folder`; docs/prefix-cache.md tells users.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::string_slice
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::string_slice,
        reason = "a test may fail loudly"
    )
)]

mod entry;
mod files;
mod folder;
mod index;
mod writer;

#[cfg(test)]
mod tests;

use std::fmt::Display;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use lyn::error::{Code, Error, Result, quote};

use entry::{Digest, Doubt, Identity};
use files::{Disk, Files};
use folder::FileRole;
use index::{Index, Moment, Name, ScopeTag};
use writer::{Job, Queue};

/// How long the end of a store waits for a write that has begun.
const END_PATIENCE: Duration = Duration::from_secs(2);
/// Between two warnings.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// What the store may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoreLimits {
    /// Bytes of all files. A tenth of what is free on the disk is a limit too.
    pub(crate) bytes: u64,
    pub(crate) entries: usize,
    /// How long an entry stays that nobody uses.
    pub(crate) age: Duration,
    /// Bytes of blocks that wait to be written, in memory.
    pub(crate) queue_bytes: u64,
}

impl Default for StoreLimits {
    fn default() -> StoreLimits {
        StoreLimits { bytes: 8 << 30, entries: 100_000, age: Duration::from_secs(24 * 3600), queue_bytes: 256 << 20 }
    }
}

/// What has happened since the store was opened, and what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Blocks that were found.
    pub(crate) hits: u64,
    /// Blocks that were not, for whatever reason.
    pub(crate) misses: u64,
    /// Operations of the disk that failed, and entries that were not what had been written.
    pub(crate) errors: u64,
    /// Blocks that were to be saved and were not: the queue was full, the disk failed or has no room, or the store ended.
    pub(crate) dropped: u64,
    /// Blocks that were saved.
    pub(crate) written: u64,
    /// Entries that had to go, by age or for others.
    pub(crate) evicted: u64,
    /// Entries there are.
    pub(crate) entries: u64,
    /// Bytes of their files.
    pub(crate) bytes: u64,
}

#[derive(Default)]
struct Counter(AtomicU64);

impl Counter {
    fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Default)]
struct Counts {
    hits: Counter,
    misses: Counter,
    errors: Counter,
    dropped: Counter,
    written: Counter,
    evicted: Counter,
}

/// What callers and the writer's thread have in common. No lock is held during an operation on a file.
struct Shared {
    files: Arc<dyn Files>,
    folder: PathBuf,
    fingerprint: Digest,
    limits: StoreLimits,
    opened: Instant,
    index: Mutex<Index>,
    queue: Mutex<Queue>,
    changed: Condvar,
    counts: Counts,
    warnings: Pace,
    /// Kept until caller and thread are both done.
    _lock: File,
}

/// Blocks in a folder, for one process.
pub(crate) struct BlockStore {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

impl BlockStore {
    /// Opens the store in a folder, which is made if it is not there. None, with a warning, where another process uses it.
    ///
    /// `fingerprint` stands for all that gives rows their values besides the tokens: model, tokenizer, adapter, number
    /// format. Entries with another one are never found, but count. Errors: `io` where the folder cannot be made, read or
    /// locked, belongs to somebody else, or others may write to it. A cache may not keep a server from starting: show the
    /// error as a warning, and go on without.
    pub(crate) fn open(folder: &Path, fingerprint: [u8; 32], limits: StoreLimits) -> Result<Option<BlockStore>> {
        BlockStore::open_on(Arc::new(Disk), folder, fingerprint, limits).map_err(|error| io_error(folder, &error))
    }

    fn open_on(
        files: Arc<dyn Files>,
        folder: &Path,
        fingerprint: Digest,
        limits: StoreLimits,
    ) -> io::Result<Option<BlockStore>> {
        folder::prepare(folder)?;
        let Some(lock) = folder::lock(folder)? else {
            let shown = quote(&folder.to_string_lossy());
            tracing::warn!("another process uses the cache in {shown}: this one runs without");
            return Ok(None);
        };
        // Twice the cap, so that a cap that was lowered leaves by age, and not by the order of the folder.
        let scan = folder::scan(&*files, folder, limits.entries.saturating_mul(2))?;
        if !scan.has_foreign {
            folder::close(folder)?;
        }
        let shared = Arc::new(Shared {
            opened: files.now(),
            files,
            folder: folder.to_owned(),
            fingerprint,
            limits,
            index: Mutex::new(scan.index),
            queue: Mutex::default(),
            changed: Condvar::new(),
            counts: Counts::default(),
            warnings: Pace::default(),
            _lock: lock,
        });
        let thread = Arc::clone(&shared);
        let writer = std::thread::Builder::new().name("lyn-blocks".to_owned());
        let writer = writer.spawn(move || thread.write_until_stopped())?;
        Ok(Some(BlockStore { shared, writer: Some(writer) }))
    }

    /// The rows of a block, if they are there, whole, with this store's fingerprint, and for these ids. An entry of which any
    /// of this is in doubt is removed. Reads a file: not for a thread that may not wait.
    pub(crate) fn load(&self, key: &[u8; 32], ids: &[u32]) -> Option<Vec<u32>> {
        let words = self.shared.load(key, ids);
        let counts = &self.shared.counts;
        if words.is_some() { &counts.hits } else { &counts.misses }.add(1);
        words
    }

    /// Queues a block for the writer. Never waits: where the queue is full, or nothing is written at the moment, the block
    /// is dropped. Does nothing where the block is there already.
    ///
    /// `scope` says for whom the block is kept: where the cache is full, each scope keeps an equal share of it. It should
    /// stand for whoever is trusted as one, such as an API key, and not for what a client may choose freely.
    pub(crate) fn save(&self, key: [u8; 32], ids: Vec<u32>, words: Vec<u32>, scope: [u8; 32]) {
        let shared = &self.shared;
        let digest = shared.digest(&key);
        if locked(&shared.index).name(&digest).is_some() {
            return;
        }
        let Some(bytes) = entry::file_bytes(ids.len(), words.len()) else {
            shared.counts.dropped.add(1);
            return;
        };
        // Names of files are seen by more programs than their contents: they tell no digest that a key has elsewhere.
        let mut tag = ScopeTag::default();
        blake3::Hasher::new_derive_key("lyn block scope").update(&scope).finalize_xof().fill(&mut tag);
        shared.enqueue(Job { name: Name { digest, scope: tag }, key, scope, ids, words, bytes });
    }

    /// Waits until what was queued is written, or patience ends: for the end of a process.
    pub(crate) fn flush(&self, patience: Duration) {
        self.shared.wait_until_idle(patience);
    }

    /// What has happened, for metrics.
    pub(crate) fn figures(&self) -> Figures {
        let counts = &self.shared.counts;
        let index = locked(&self.shared.index);
        Figures {
            hits: counts.hits.get(),
            misses: counts.misses.get(),
            errors: counts.errors.get(),
            dropped: counts.dropped.get(),
            written: counts.written.get(),
            evicted: counts.evicted.get(),
            entries: u64::try_from(index.len()).unwrap_or(u64::MAX),
            bytes: index.bytes(),
        }
    }
}

impl Drop for BlockStore {
    /// Ends the writer; what is still queued is dropped. A write that hangs is left behind, with the lock.
    fn drop(&mut self) {
        if self.shared.stop(END_PATIENCE)
            && let Some(writer) = self.writer.take()
        {
            // It has ended: a panic of the thread has been told already.
            drop(writer.join());
        }
    }
}

impl Shared {
    /// The name of an entry: of the fingerprint and the key, so that models can share a folder.
    fn digest(&self, key: &Digest) -> Digest {
        blake3::derive_key("lyn block name", &[self.fingerprint, *key].concat())
    }

    fn moment(&self) -> Moment {
        let elapsed = self.files.now().duration_since(self.opened);
        Moment::try_from(elapsed.as_nanos()).unwrap_or(Moment::MAX)
    }

    fn load(&self, key: &Digest, ids: &[u32]) -> Option<Vec<u32>> {
        let digest = self.digest(key);
        let name = locked(&self.index).name(&digest)?;
        let path = folder::path(&self.folder, &name);
        match self.read(&path, key, ids) {
            Ok(words) => {
                locked(&self.index).touch(&digest, self.moment());
                // Only the order in which entries go after a restart depends on it.
                drop(self.files.touch(&path));
                Some(words)
            }
            Err(doubt) => {
                self.doubt(&doubt);
                // The file first: until it is forgotten nobody writes the entry anew.
                match gone(self.files.remove(&path)) {
                    Ok(()) => locked(&self.index).remove(&digest),
                    Err(_) => self.counts.errors.add(1),
                }
                None
            }
        }
    }

    fn read(&self, path: &Path, key: &Digest, ids: &[u32]) -> Result<Vec<u32>, Doubt> {
        let (mut file, bytes) = self.files.open(path)?;
        // The scope is not known here, and the key covers it.
        let identity = Identity { fingerprint: &self.fingerprint, key, scope: &[0; 32], ids };
        entry::read(&mut file, bytes, &identity)
    }

    fn doubt(&self, doubt: &Doubt) {
        match doubt {
            // Somebody has cleared the cache.
            Doubt::Unreadable(error) if error.kind() == io::ErrorKind::NotFound => return,
            Doubt::Unreadable(error) => self.warn(&format_args!("an entry cannot be read and is removed: {error}")),
            Doubt::Damaged(place) => self.warn(&format_args!("an entry is damaged and is removed: {place}")),
        }
        self.counts.errors.add(1);
    }

    /// One warning a minute: a disk that fails does so often. Says nothing of what an entry holds.
    fn warn(&self, what: &dyn Display) {
        if self.warnings.is_due(self.files.now()) {
            tracing::warn!("cache in {}: {what}", quote(&self.folder.to_string_lossy()));
        }
    }
}

/// Lets one through for each [`WARN_EVERY`].
#[derive(Default)]
struct Pace(Mutex<Option<Instant>>);

impl Pace {
    fn is_due(&self, now: Instant) -> bool {
        let mut last = locked(&self.0);
        let is_due = last.is_none_or(|last| now.duration_since(last) >= WARN_EVERY);
        if is_due {
            *last = Some(now);
        }
        is_due
    }
}

/// What is behind a mutex is whole whenever it is unlocked, after a panic too.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a folder holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Survey {
    /// Blocks.
    pub(crate) entries: u64,
    /// Bytes of all files of the cache, half-written ones too.
    pub(crate) bytes: u64,
    /// How long ago the entry was used that was used longest ago.
    pub(crate) oldest: Option<Duration>,
    /// Whether a process uses it at this moment.
    pub(crate) is_in_use: bool,
}

/// Looks at a cache without opening it. A folder that is not there holds nothing. Errors: `io` where the folder cannot be
/// read.
pub(crate) fn survey(folder: &Path) -> Result<Survey> {
    visit(&Disk, folder, |_| Ok(()))
}

/// Removes every block from a folder, and nothing else, whoever uses it. Tells what there was. Errors: `io` at the first
/// file that cannot be removed.
pub(crate) fn clear(folder: &Path) -> Result<Survey> {
    clear_on(&Disk, folder)
}

fn clear_on(files: &dyn Files, folder: &Path) -> Result<Survey> {
    let removed = visit(files, folder, |path| gone(files.remove(path)))?;
    if removed.bytes > 0 {
        files.sync_folder(folder).map_err(|error| io_error(folder, &error))?;
    }
    Ok(removed)
}

fn visit(files: &dyn Files, folder: &Path, mut each: impl FnMut(&Path) -> io::Result<()>) -> Result<Survey> {
    let mut survey = Survey { is_in_use: folder::is_in_use(folder), ..Survey::default() };
    let now = SystemTime::now();
    let listed = files.list(folder, &mut |found| {
        match FileRole::of(&found.name) {
            FileRole::Entry(_) => {
                survey.entries += 1;
                survey.oldest = survey.oldest.max(Some(folder::age(now, found.modified)));
            }
            FileRole::Temporary => {}
            FileRole::Lock | FileRole::Foreign => return Ok(()),
        }
        survey.bytes = survey.bytes.saturating_add(found.bytes);
        each(&folder.join(&found.name))
    });
    gone(listed).map(|()| survey).map_err(|error| io_error(folder, &error))
}

/// What is not there is no error for whoever wants it gone.
fn gone(done: io::Result<()>) -> io::Result<()> {
    done.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

fn io_error(folder: &Path, error: &io::Error) -> Error {
    Error::new(Code::Io, format!("cache folder {}: {error}", quote(&folder.to_string_lossy())))
}
