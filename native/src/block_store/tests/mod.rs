//! Oracles: rows are those that were saved or none; the caps; what the system says of files.

mod caps;
mod damage;
mod disk;
mod everyday;
mod faults;
mod kill;
mod pins;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::files::Files;
use super::{BlockStore, StoreLimits, entry};
use disk::TestDisk;

const FINGERPRINT: [u8; 32] = [7; 32];
const SCOPE: [u8; 32] = [9; 32];
/// Words of most blocks here: small, and in two writes.
const WORDS: usize = 1000;
/// Longer than anything here takes, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("lyn-blocks-{}-{name}", std::process::id()));
        drop(std::fs::remove_dir_all(&path));
        Scratch(path)
    }

    /// Names of the files in it, without the lock.
    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).into_iter().flatten().map(|entry| entry.unwrap());
        let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.retain(|name| name != "lock");
        names.sort();
        names
    }

    /// The file of the only entry.
    fn only_entry(&self) -> PathBuf {
        let names = self.names();
        assert_eq!(names.len(), 1, "{names:?}");
        self.0.join(&names[0])
    }

    /// The file at a place among all.
    fn file_at(&self, place: usize) -> PathBuf {
        self.0.join(&self.names()[place])
    }

    fn bytes(&self) -> u64 {
        self.names().iter().map(|name| self.0.join(name).metadata().unwrap().len()).sum()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    fn word(&mut self) -> u32 {
        u32::try_from(self.next() >> 32).unwrap()
    }
}

/// A block that its number determines.
#[derive(Clone)]
struct Block {
    key: [u8; 32],
    ids: Vec<u32>,
    words: Vec<u32>,
}

fn block(number: u64) -> Block {
    block_of(number, WORDS)
}

fn block_of(number: u64, words: usize) -> Block {
    let mut random = Random(number);
    let ids = (0..64).map(|_| random.word() % 129_280).collect();
    let words = (0..words).map(|_| random.word()).collect();
    Block { key: *blake3::hash(&number.to_le_bytes()).as_bytes(), ids, words }
}

fn save(store: &BlockStore, block: &Block) {
    store.save(block.key, block.ids.clone(), block.words.clone(), SCOPE);
}

/// Saves a block, and waits until it is on the disk.
fn keep(store: &BlockStore, block: &Block) {
    save(store, block);
    store.flush(PATIENCE);
}

fn load(store: &BlockStore, block: &Block) -> Option<Vec<u32>> {
    store.load(&block.key, &block.ids)
}

/// Whether a block is there. Other rows than its own are the one thing that must never be.
#[track_caller]
fn is_there(store: &BlockStore, block: &Block) -> bool {
    let found = load(store, block);
    assert!(found.as_ref().is_none_or(|words| *words == block.words), "other rows than were saved");
    found.is_some()
}

/// The size of the file of a [`block`].
fn file_bytes() -> u64 {
    entry::file_bytes(64, WORDS).unwrap()
}

#[track_caller]
fn open(folder: &Path, limits: StoreLimits) -> BlockStore {
    open_on(&Arc::new(TestDisk::default()), folder, limits)
}

#[track_caller]
fn open_on(disk: &Arc<TestDisk>, folder: &Path, limits: StoreLimits) -> BlockStore {
    try_open_on(disk, folder, limits).expect("the folder can be used")
}

fn try_open_on(disk: &Arc<TestDisk>, folder: &Path, limits: StoreLimits) -> std::io::Result<BlockStore> {
    let disk: Arc<dyn Files> = Arc::<TestDisk>::clone(disk);
    once_unlocked(|| BlockStore::open_on(Arc::clone(&disk), folder, FINGERPRINT, limits))
}

/// As callers open it, on the real disk.
#[track_caller]
fn open_real(folder: &Path, fingerprint: [u8; 32], limits: StoreLimits) -> BlockStore {
    once_unlocked(|| BlockStore::open(folder, fingerprint, limits)).expect("the folder can be used")
}

/// What comes of a folder that nobody uses. A process that another test starts has this one's locks too, from its fork to its exec.
fn once_unlocked<T, E>(attempt: impl Fn() -> Result<Option<T>, E>) -> Result<T, E> {
    for _ in 0..10_000 {
        if let Some(found) = attempt()? {
            return Ok(found);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("another process uses the folder");
}

/// What is warned of in a folder, so far. Stores warn on a thread of their own: all tests share one log.
fn warnings_of(scratch: &Scratch) -> impl Fn() -> Vec<String> {
    static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());
    struct Log;
    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            LOG.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let log = tracing_subscriber::fmt().with_env_filter("lyn::block_store=warn").with_ansi(false).with_writer(|| Log);
    // Another test may have done it.
    let _ = log.try_init();
    let folder = scratch.0.to_string_lossy().into_owned();
    move || {
        let text = String::from_utf8_lossy(&LOG.lock().unwrap()).into_owned();
        text.lines().filter(|line| line.contains(&folder)).map(str::to_owned).collect()
    }
}
