//! A disk that fails, lies, loses power, blocks and has its own clock, as a test wants it. Files are real; waiting for
//! the real disk is left out.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::Random;
use crate::block_store::files::{Disk, Files, Found, Output};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// One operation fails.
    Once(ErrorKind),
    /// This operation and all after it fail.
    Forever(ErrorKind),
    /// If it is a write, only half of it happens.
    Short,
}

/// A [`Disk`] that a test has in its hands.
#[derive(Default)]
pub(super) struct TestDisk(Arc<State>);

#[derive(Default)]
struct State {
    plan: Mutex<Plan>,
    opened: Condvar,
}

#[derive(Default)]
struct Plan {
    /// Operations so far, by name.
    calls: Vec<&'static str>,
    fault: Option<(usize, Fault)>,
    /// `fsync` says that it was done, and was not.
    sync_lies: bool,
    /// Writes wait.
    is_closed: bool,
    clock: Duration,
    free_bytes: Option<u64>,
    /// Files with bytes that are not on the disk, and names that are not.
    unsynced: HashSet<PathBuf>,
    renamed: Vec<(PathBuf, PathBuf)>,
}

impl State {
    fn with<T>(&self, change: impl FnOnce(&mut Plan) -> T) -> T {
        change(&mut self.plan.lock().unwrap())
    }

    /// Counts an operation; what is wrong with it.
    fn call(&self, name: &'static str) -> io::Result<bool> {
        self.with(|plan| {
            let number = plan.calls.len();
            plan.calls.push(name);
            match plan.fault {
                Some((at, Fault::Once(kind))) if at == number => Err(kind.into()),
                Some((at, Fault::Forever(kind))) if at <= number => Err(kind.into()),
                Some((at, Fault::Short)) => Ok(at == number),
                _ => Ok(false),
            }
        })
    }
}

impl TestDisk {
    pub(super) fn failing(at: usize, fault: Fault) -> TestDisk {
        let disk = TestDisk::default();
        disk.0.with(|plan| plan.fault = Some((at, fault)));
        disk
    }

    /// Lets so many more operations pass before the fault.
    pub(super) fn fail_after(&self, passing: usize, fault: Fault) {
        self.0.with(|plan| plan.fault = Some((plan.calls.len() + passing, fault)));
    }

    pub(super) fn lies(&self) {
        self.0.with(|plan| plan.sync_lies = true);
    }

    /// From now on writes wait until [`TestDisk::let_write`].
    pub(super) fn hold_writes(&self) {
        self.0.with(|plan| plan.is_closed = true);
    }

    pub(super) fn let_write(&self) {
        self.0.with(|plan| plan.is_closed = false);
        self.0.opened.notify_all();
    }

    pub(super) fn pass_time(&self, time: Duration) {
        self.0.with(|plan| plan.clock += time);
    }

    pub(super) fn set_free_bytes(&self, bytes: u64) {
        self.0.with(|plan| plan.free_bytes = Some(bytes));
    }

    /// Names of the operations so far.
    pub(super) fn calls(&self) -> Vec<&'static str> {
        self.0.with(|plan| plan.calls.clone())
    }

    /// What is left after a power cut: of bytes that were not synced some, in any order; of names either the old or the new.
    pub(super) fn cut_power(&self, random: &mut Random) {
        self.0.with(|plan| {
            let mut unsynced: Vec<_> = plan.unsynced.iter().filter(|path| path.exists()).collect();
            unsynced.sort();
            for path in unsynced {
                lose(path, random).unwrap();
            }
            for (from, to) in plan.renamed.iter().rev() {
                if random.below(2) == 0 && to.exists() {
                    std::fs::rename(to, from).unwrap();
                }
            }
        });
    }
}

fn lose(path: &Path, random: &mut Random) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    let bytes = usize::try_from(file.metadata()?.len()).unwrap();
    let sectors = bytes.div_ceil(512).max(1);
    // Zeros where a sector never came, at its beginning or from its middle on.
    let mut zero = |sector: usize, from: usize| {
        let start = (sector * 512 + from).min(bytes);
        file.seek(SeekFrom::Start(start as u64))?;
        file.write_all(&vec![0; ((sector + 1) * 512).min(bytes) - start])
    };
    match random.below(5) {
        0 => zero(random.below(sectors), 0),
        1 => zero(sectors - 1, 256),
        2 => file.set_len(random.below(bytes + 1) as u64),
        3 => file.set_len(0),
        _ => Ok(()),
    }
}

struct TestOutput {
    file: Box<dyn Output>,
    path: PathBuf,
    state: Arc<State>,
}

impl Write for TestOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let plan = self.state.plan.lock().unwrap();
        drop(self.state.opened.wait_while(plan, |plan| plan.is_closed).unwrap());
        let is_short = self.state.call("write")?;
        self.file.write(if is_short { &bytes[..bytes.len().div_ceil(2)] } else { bytes })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output for TestOutput {
    fn sync(&mut self) -> io::Result<()> {
        self.state.call("sync")?;
        self.state.with(|plan| !plan.sync_lies && plan.unsynced.remove(&self.path));
        Ok(())
    }
}

struct TestInput {
    file: Box<dyn Read>,
    state: Arc<State>,
}

impl Read for TestInput {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.state.call("read")?;
        self.file.read(bytes)
    }
}

impl Files for TestDisk {
    fn list(&self, folder: &Path, found: &mut dyn FnMut(Found) -> io::Result<()>) -> io::Result<()> {
        self.0.call("list")?;
        Disk.list(folder, found)
    }

    fn open(&self, path: &Path) -> io::Result<(Box<dyn Read>, u64)> {
        self.0.call("open")?;
        let (file, bytes) = Disk.open(path)?;
        Ok((Box::new(TestInput { file, state: Arc::clone(&self.0) }), bytes))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Output>> {
        self.0.call("create")?;
        let file = Disk.create(path)?;
        self.0.with(|plan| plan.unsynced.insert(path.to_owned()));
        Ok(Box::new(TestOutput { file, path: path.to_owned(), state: Arc::clone(&self.0) }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.call("rename")?;
        Disk.rename(from, to)?;
        self.0.with(|plan| {
            if plan.unsynced.remove(from) {
                plan.unsynced.insert(to.to_owned());
            }
            plan.renamed.push((from.to_owned(), to.to_owned()));
        });
        Ok(())
    }

    fn sync_folder(&self, _folder: &Path) -> io::Result<()> {
        self.0.call("sync_folder")?;
        self.0.with(|plan| {
            if !plan.sync_lies {
                plan.renamed.clear();
            }
        });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.call("remove")?;
        Disk.remove(path)
    }

    fn touch(&self, path: &Path) -> io::Result<()> {
        self.0.call("touch")?;
        Disk.touch(path)
    }

    fn free_bytes(&self, _folder: &Path) -> io::Result<Option<u64>> {
        self.0.call("free_bytes")?;
        Ok(self.0.with(|plan| plan.free_bytes))
    }

    fn now(&self) -> Instant {
        Instant::now() + self.0.with(|plan| plan.clock)
    }
}
