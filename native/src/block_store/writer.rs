//! The writer: a queue with a bound, and the thread that empties it.
//!
//! A block that cannot be written is dropped, and after any failure of the disk nothing is written for ten minutes. A block
//! whose `fsync` failed is not tried again: the system may have dropped the bytes and would call the second try a success.

use std::collections::{HashSet, VecDeque};
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use super::entry::{self, Digest, Identity};
use super::index::{Caps, Moment, Name};
use super::{Shared, folder, gone, locked};
use lyn::memory::bytes;

/// How long nothing is written after a failure.
pub(super) const PAUSE: Duration = Duration::from_secs(600);
/// How often old entries are looked for while nothing is written.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// Of what is free for the cache, the part that it may take: one tenth.
const FREE_PARTS: u64 = 10;

/// A block on its way to the disk.
pub(super) struct Job {
    pub(super) name: Name,
    pub(super) key: Digest,
    pub(super) scope: Digest,
    pub(super) ids: Vec<u32>,
    pub(super) words: Vec<u32>,
    /// The size of its file.
    pub(super) bytes: u64,
}

/// What the threads tell each other.
#[derive(Default)]
pub(super) struct Queue {
    jobs: VecDeque<Job>,
    names: HashSet<Digest>,
    bytes: u64,
    is_writing: bool,
    is_stopping: bool,
    /// Set when the thread is gone.
    has_ended: bool,
    paused_until: Option<Instant>,
}

enum Work {
    Write(Job),
    Tidy,
    Stop,
}

impl Shared {
    /// Puts a block into the queue, if there is room.
    pub(super) fn enqueue(&self, job: Job) {
        let mut queue = locked(&self.queue);
        if queue.names.contains(&job.name.digest) {
            return;
        }
        let bytes = queue.bytes.saturating_add(job.bytes);
        let is_paused = queue.paused_until.is_some_and(|until| self.files.now() < until);
        if is_paused || queue.is_stopping || queue.has_ended || bytes > self.limits.queue_bytes {
            self.counts.dropped.add(1);
            return;
        }
        queue.bytes = bytes;
        queue.names.insert(job.name.digest);
        queue.jobs.push_back(job);
        self.changed.notify_all();
    }

    /// Waits until all that was queued is written or dropped, or patience ends.
    pub(super) fn wait_until_idle(&self, patience: Duration) {
        let busy = |queue: &mut Queue| !queue.has_ended && (queue.is_writing || !queue.jobs.is_empty());
        drop(self.changed.wait_timeout_while(locked(&self.queue), patience, busy));
    }

    /// Forgets what is queued and lets the thread end. Whether it has, within `patience`.
    pub(super) fn stop(&self, patience: Duration) -> bool {
        let mut queue = locked(&self.queue);
        queue.is_stopping = true;
        self.counts.dropped.add(queue.forget());
        self.changed.notify_all();
        let waited = self.changed.wait_timeout_while(queue, patience, |queue| !queue.has_ended);
        waited.is_ok_and(|(queue, _)| queue.has_ended)
    }

    /// What the thread does.
    pub(super) fn write_until_stopped(&self) {
        /// Nobody waits for a thread that is gone, even if it went by a panic.
        struct Ended<'a>(&'a Shared);
        impl Drop for Ended<'_> {
            fn drop(&mut self) {
                locked(&self.0.queue).has_ended = true;
                self.0.changed.notify_all();
            }
        }
        let _ended = Ended(self);
        let mut tidied = None;
        loop {
            match self.next(tidied) {
                Work::Stop => return,
                Work::Tidy => {
                    tidied = Some(self.files.now());
                    if let Err(error) = self.tidy() {
                        self.failed(&error);
                    }
                }
                Work::Write(job) => {
                    let written = self.write(&job);
                    match &written {
                        Ok(true) => self.counts.written.add(1),
                        Ok(false) => self.counts.dropped.add(1),
                        Err(error) => {
                            self.counts.dropped.add(1);
                            self.failed(error);
                        }
                    }
                    self.done(&job);
                }
            }
        }
    }

    /// Waits for something to do, which is to tidy up first, and then once in a while.
    fn next(&self, tidied: Option<Instant>) -> Work {
        let mut queue = locked(&self.queue);
        loop {
            let since = tidied.map(|tidied| self.files.now().duration_since(tidied));
            let wait = since.map_or(Duration::ZERO, |since| TIDY_EVERY.saturating_sub(since));
            if queue.is_stopping {
                return Work::Stop;
            }
            if wait.is_zero() {
                return Work::Tidy;
            }
            if let Some(job) = queue.jobs.pop_front() {
                queue.is_writing = true;
                return Work::Write(job);
            }
            match self.changed.wait_timeout(queue, wait) {
                Ok((woken, _)) => queue = woken,
                Err(_) => return Work::Stop,
            }
        }
    }

    fn done(&self, job: &Job) {
        let mut queue = locked(&self.queue);
        queue.is_writing = false;
        queue.names.remove(&job.name.digest);
        queue.bytes = queue.bytes.saturating_sub(job.bytes);
        self.changed.notify_all();
    }

    /// Writes an entry; false where it has no room even in an empty cache.
    fn write(&self, job: &Job) -> io::Result<bool> {
        if !self.make_room(job)? {
            return Ok(false);
        }
        let path = folder::path(&self.folder, &job.name);
        let temporary = folder::temporary_path(&self.folder, &job.name);
        let written = self.write_file(job, &temporary).and_then(|()| self.files.rename(&temporary, &path));
        written.inspect_err(|_| drop(self.files.remove(&temporary)))?;
        // Until its name is on the disk too, it may be gone after a power cut, but it is never half there.
        self.files.sync_folder(&self.folder).inspect_err(|_| drop(self.files.remove(&path)))?;
        locked(&self.index).insert(job.name, job.bytes, self.moment());
        Ok(true)
    }

    fn write_file(&self, job: &Job, path: &std::path::Path) -> io::Result<()> {
        let mut file = match self.files.create(path) {
            // What another try left behind and could not remove.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                self.files.remove(path).and_then(|()| self.files.create(path))
            }
            created => created,
        }?;
        let identity = Identity { fingerprint: &self.fingerprint, key: &job.key, scope: &job.scope, ids: &job.ids };
        entry::write(&mut file, &identity, &job.words)?;
        file.sync()
    }

    /// Removes entries until a block fits the caps; false where it never would.
    fn make_room(&self, job: &Job) -> io::Result<bool> {
        let caps = self.caps();
        if job.bytes > caps.bytes || caps.entries == 0 {
            self.warn(&format_args!(
                "a block of {} was not stored: the cache may take {}, at most a tenth of the free disk space",
                bytes(job.bytes),
                bytes(caps.bytes)
            ));
            return Ok(false);
        }
        self.remove_while(|| locked(&self.index).victim(caps, Some((job.name.scope, job.bytes))))?;
        Ok(true)
    }

    /// The byte cap, and a tenth of what would be free without the cache.
    fn caps(&self) -> Caps {
        let held = locked(&self.index).bytes();
        // A disk that does not tell what is free may still say that it is full.
        let free = self.files.free_bytes(&self.folder).ok().flatten();
        let bytes = free.map_or(u64::MAX, |free| free.saturating_add(held) / FREE_PARTS);
        Caps { bytes: bytes.min(self.limits.bytes), entries: self.limits.entries }
    }

    /// Removes what nobody used for too long, and what is over the caps.
    fn tidy(&self) -> io::Result<()> {
        let age = Moment::try_from(self.limits.age.as_nanos()).unwrap_or(Moment::MAX);
        let oldest = self.moment().saturating_sub(age);
        self.remove_while(|| locked(&self.index).unused_since(oldest))?;
        let caps = self.caps();
        self.remove_while(|| locked(&self.index).victim(caps, None))
    }

    /// Removes one entry after the other. What cannot be removed still counts, and ends the loop.
    fn remove_while(&self, mut next: impl FnMut() -> Option<Name>) -> io::Result<()> {
        while let Some(name) = next() {
            gone(self.files.remove(&folder::path(&self.folder, &name)))?;
            locked(&self.index).remove(&name.digest);
            self.counts.evicted.add(1);
        }
        Ok(())
    }

    /// Stops writing for a while.
    fn failed(&self, error: &io::Error) {
        self.counts.errors.add(1);
        if error.kind() == ErrorKind::NotFound {
            // Somebody clears the cache this very moment: that is no fault of the disk.
            return self.warn(&format_args!("a block is not kept: {error}"));
        }
        self.warn(&format_args!("nothing is written for {} minutes: {error}", PAUSE.as_secs() / 60));
        let mut queue = locked(&self.queue);
        queue.paused_until = self.files.now().checked_add(PAUSE);
        self.counts.dropped.add(queue.forget());
        // Whoever waits for what was queued need not wait any longer.
        self.changed.notify_all();
    }
}

impl Queue {
    /// Forgets what is queued; how many blocks that was.
    fn forget(&mut self) -> u64 {
        let mut count = 0;
        for job in self.jobs.drain(..) {
            self.names.remove(&job.name.digest);
            self.bytes = self.bytes.saturating_sub(job.bytes);
            count += 1;
        }
        count
    }
}
