//! Limits to the byte and to the second, and the index beside a plain list. Oracle: the table of limits in
//! docs/prefix-cache.md, and `Plain` below, which looks at everything every time.

use std::sync::Arc;
use std::time::Duration;

use super::disk::Fault;
use super::*;
use crate::block_store::folder::{FileRole, prepare};
use crate::block_store::index::{Caps, Index, Moment, Name, ScopeTag};
use crate::block_store::writer::PAUSE;
use crate::block_store::{Survey, clear_on, io_error, locked, survey};

#[test]
fn limits_are_those_of_the_document() {
    let StoreLimits { bytes, entries, age, queue_bytes } = StoreLimits::default();
    assert_eq!((bytes, entries, queue_bytes), (8 * 1024 * 1024 * 1024, 100_000, 256 * 1024 * 1024));
    assert_eq!(age, Duration::from_secs(86_400));
    // 256 MiB of rows, 1,024 ids; what the rest of a file takes stands in `entry`.
    let (most, rows) = (64 << 20, 256 << 20);
    let of = |ids: u64, pieces: u64, rows: u64| Some(120 + 4 * ids + 32 * (pieces + 1) + rows);
    assert_eq!(entry::file_bytes(1024, most), of(1024, 256, rows));
    assert_eq!((entry::file_bytes(1025, most), entry::file_bytes(1024, most + 1)), (None, None));
    for (words, pieces) in [(0, 0), (1, 1), ((1 << 18) - 1, 1), (1 << 18, 1), ((1 << 18) + 1, 2)] {
        assert_eq!(entry::file_bytes(64, words), of(64, pieces, 4 * words as u64), "{words} words");
    }
}

/// Which of these blocks are in the index.
fn held(store: &BlockStore, numbers: std::ops::Range<u64>) -> Vec<u64> {
    let index = locked(&store.shared.index);
    numbers.filter(|&number| index.name(&store.shared.digest(&block(number).key)).is_some()).collect()
}

#[test]
fn a_block_stays_for_a_day_and_no_longer() {
    for (seconds, stays) in [(86_400 - 5, true), (86_400 + 5, false)] {
        let scratch = Scratch::new("day");
        let disk = Arc::new(TestDisk::default());
        let store = open_on(&disk, &scratch.0, StoreLimits::default());
        keep(&store, &block(0));
        disk.pass_time(Duration::from_secs(seconds));
        keep(&store, &block(1));
        assert_eq!(held(&store, 0..2), if stays { vec![0, 1] } else { vec![1] }, "after {seconds} s");
        assert_eq!((store.figures().evicted, store.figures().errors), (u64::from(!stays), 0));
    }
}

/// Old blocks are looked for once a minute.
#[test]
fn a_block_that_is_old_goes_within_a_minute() {
    for (seconds, gone) in [(58, false), (61, true)] {
        let scratch = Scratch::new("minute");
        let disk = Arc::new(TestDisk::default());
        let store = open_on(&disk, &scratch.0, StoreLimits { age: Duration::from_secs(1), ..StoreLimits::default() });
        keep(&store, &block(0));
        disk.pass_time(Duration::from_secs(seconds));
        keep(&store, &block(1));
        assert_eq!(held(&store, 0..1).is_empty(), gone, "after {seconds} s");
    }
}

#[test]
fn a_block_of_exactly_the_cap_fits_and_one_word_more_does_not() {
    let scratch = Scratch::new("cap");
    let store = open(&scratch.0, StoreLimits { bytes: file_bytes(), ..StoreLimits::default() });
    keep(&store, &block(0));
    keep(&store, &block(1));
    assert_eq!((held(&store, 0..2), store.figures().evicted, store.figures().dropped), (vec![1], 1, 0));
    let scratch = Scratch::new("over");
    let store = open(&scratch.0, StoreLimits { bytes: file_bytes() - 1, ..StoreLimits::default() });
    keep(&store, &block(0));
    assert_eq!((held(&store, 0..1), store.figures().dropped, store.figures().errors), (vec![], 1, 0));
}

#[test]
fn a_queue_takes_exactly_its_bytes() {
    for (less, dropped) in [(0, 1), (1, 2)] {
        let scratch = Scratch::new("full");
        let disk = Arc::new(TestDisk::default());
        let limits = StoreLimits { queue_bytes: 3 * file_bytes() - less, ..StoreLimits::default() };
        let store = open_on(&disk, &scratch.0, limits);
        disk.hold_writes();
        (0..4).for_each(|number| save(&store, &block(number)));
        // What waits already is not queued twice, and not dropped either.
        save(&store, &block(1));
        assert_eq!(store.figures().dropped, dropped);
        disk.let_write();
        store.flush(PATIENCE);
        // There is room again.
        save(&store, &block(3));
        store.flush(PATIENCE);
        assert_eq!((store.figures().dropped, store.figures().written), (dropped, 5 - dropped));
    }
}

#[test]
fn the_end_of_a_store_drops_what_waits_and_counts_it() {
    let scratch = Scratch::new("end");
    let disk = Arc::new(TestDisk::default());
    let store = open_on(&disk, &scratch.0, StoreLimits::default());
    let shared = Arc::clone(&store.shared);
    disk.hold_writes();
    (0..5).for_each(|number| save(&store, &block(number)));
    let letting = std::thread::spawn({
        let disk = Arc::clone(&disk);
        move || {
            std::thread::sleep(Duration::from_millis(50));
            disk.let_write();
        }
    });
    drop(store);
    letting.join().unwrap();
    // The one under way is ended in order, if it had begun.
    let (written, dropped) = (shared.counts.written.get(), shared.counts.dropped.get());
    assert!(written <= 1 && written + dropped == 5, "{written} written, {dropped} dropped");
    assert_eq!(scratch.names().len() as u64, written);
}

#[test]
fn a_failure_while_old_blocks_are_removed_stops_the_writing_too() {
    let scratch = Scratch::new("tidy");
    let store = open(&scratch.0, StoreLimits::default());
    keep(&store, &block(0));
    keep(&store, &block(1));
    drop(store);
    // Listing the folder, asking for free bytes, and then the removal of the block that is over the cap.
    let disk = Arc::new(TestDisk::failing(2, Fault::Once(std::io::ErrorKind::PermissionDenied)));
    let told = warnings_of(&scratch);
    let store = open_on(&disk, &scratch.0, StoreLimits { entries: 1, ..StoreLimits::default() });
    keep(&store, &block(2));
    assert_eq!(disk.calls(), ["list", "free_bytes", "remove"]);
    assert_eq!((store.figures().errors, store.figures().dropped, store.figures().evicted), (1, 1, 0));
    assert_eq!(told().len(), 1, "{:?}", told());
    assert!(told()[0].contains("nothing is written for 10 minutes"), "{:?}", told());
    disk.pass_time(PAUSE + Duration::from_secs(1));
    keep(&store, &block(2));
    assert_eq!((held(&store, 0..3), store.figures().evicted), (vec![2], 2));
}

#[test]
fn a_block_that_somebody_else_removed_is_gone_without_an_error() {
    let scratch = Scratch::new("gone");
    let store = open(&scratch.0, StoreLimits { entries: 1, ..StoreLimits::default() });
    keep(&store, &block(0));
    std::fs::remove_file(scratch.only_entry()).unwrap();
    keep(&store, &block(1));
    assert_eq!((held(&store, 0..2), store.figures().errors, store.figures().evicted), (vec![1], 0, 1));
    std::fs::remove_file(scratch.only_entry()).unwrap();
    assert!(!is_there(&store, &block(1)));
    assert_eq!((store.figures().errors, store.figures().misses, store.figures().entries), (0, 1, 0));
}

#[test]
fn a_doubtful_entry_that_cannot_be_removed_still_counts() {
    let scratch = Scratch::new("doubt");
    let disk = Arc::new(TestDisk::default());
    let store = open_on(&disk, &scratch.0, StoreLimits::default());
    keep(&store, &block(0));
    std::fs::write(scratch.only_entry(), "x").unwrap();
    // Opening, two reads up to the end, and then the removal.
    disk.fail_after(3, Fault::Once(std::io::ErrorKind::PermissionDenied));
    assert!(!is_there(&store, &block(0)));
    let calls = disk.calls();
    assert_eq!(calls[calls.len() - 4..], ["open", "read", "read", "remove"]);
    assert_eq!((store.figures().errors, store.figures().entries), (2, 1), "the damage, and the file that stays");
    assert!(!is_there(&store, &block(0)));
    assert_eq!((store.figures().errors, store.figures().entries, scratch.names().len()), (3, 0, 0));
}

#[test]
fn what_cannot_be_listed_or_removed_is_an_error_of_the_folder() {
    let scratch = Scratch::new("surveyed");
    assert_eq!(survey(&scratch.0).unwrap(), Survey::default(), "a folder that is not there holds nothing");
    let store = open(&scratch.0, StoreLimits::default());
    (0..3).for_each(|number| keep(&store, &block(number)));
    drop(store);
    let file = std::env::temp_dir().join(format!("lyn-blocks-{}-a-file", std::process::id()));
    std::fs::write(&file, "x").unwrap();
    let surveyed = survey(&file);
    std::fs::remove_file(&file).unwrap();
    let error = surveyed.unwrap_err();
    assert_eq!(error.code(), lyn::Code::Io);
    assert!(error.message().starts_with(&format!("cache folder \"{}\": ", file.display())), "{error}");
    let told = io_error(&scratch.0, &std::io::Error::other("x"));
    assert_eq!(told.message(), format!("cache folder \"{}\": x", scratch.0.display()));
    // The second removal fails: the first block is gone, the others stay.
    let disk = TestDisk::failing(2, Fault::Once(std::io::ErrorKind::PermissionDenied));
    assert!(clear_on(&disk, &scratch.0).unwrap_err().message().contains("permission denied"));
    assert_eq!((disk.calls(), scratch.names().len()), (vec!["list", "remove", "remove"], 2));
    // One that has just gone is no failure, and is told of as removed.
    let disk = TestDisk::failing(1, Fault::Once(std::io::ErrorKind::NotFound));
    assert_eq!(clear_on(&disk, &scratch.0).unwrap().entries, 2);
    assert_eq!(disk.calls(), ["list", "remove", "remove", "sync_folder"]);
    let disk = TestDisk::failing(2, Fault::Once(std::io::ErrorKind::Other));
    assert!(clear_on(&disk, &scratch.0).is_err(), "names that are gone may come back after a power cut");
    // Nothing was there: nothing is waited for.
    let disk = TestDisk::default();
    assert_eq!(clear_on(&disk, &scratch.0).unwrap(), Survey::default());
    assert_eq!(disk.calls(), ["list"]);
}

#[test]
fn the_oldest_use_is_told_and_a_lock_is_no_block() {
    let scratch = Scratch::new("oldest");
    let store = open(&scratch.0, StoreLimits::default());
    (0..3).for_each(|number| keep(&store, &block(number)));
    drop(store);
    for (place, ago) in [10, 5000, 70].into_iter().enumerate() {
        let file = std::fs::OpenOptions::new().write(true).open(scratch.file_at(place)).unwrap();
        file.set_modified(std::time::SystemTime::now() - Duration::from_secs(ago)).unwrap();
    }
    let unused = || -> std::io::Result<_> { Ok(Some(survey(&scratch.0).unwrap()).filter(|found| !found.is_in_use)) };
    let found = once_unlocked(unused).unwrap();
    assert_eq!((found.entries, found.bytes), (3, 3 * file_bytes()));
    assert!((5000..5060).contains(&found.oldest.unwrap().as_secs()), "{found:?}");
    assert_eq!(FileRole::of("lock.tmp"), FileRole::Foreign);
    assert_eq!(FileRole::of("lockx"), FileRole::Foreign);
}

#[cfg(unix)]
#[test]
fn a_folder_of_another_user_is_refused() {
    let scratch = Scratch::new("theirs");
    std::fs::create_dir(&scratch.0).unwrap();
    // Only the system's administrator can give a folder away; for others the root folder is such a one.
    let given = std::os::unix::fs::chown(&scratch.0, Some(12_345), None).is_ok();
    let (folder, user) = if given { (scratch.0.as_path(), 12_345) } else { (Path::new("/"), 0) };
    let error = prepare(folder).unwrap_err();
    assert_eq!(error.to_string(), format!("it belongs to user {user}; use a folder of your own"));
}

/// The index as a list.
#[derive(Default)]
struct Plain(Vec<(Name, u64, Moment)>);

impl Plain {
    fn find(&self, digest: u8) -> Option<usize> {
        self.0.iter().position(|(name, ..)| name.digest == [digest; 32])
    }

    fn bytes(&self) -> u64 {
        self.0.iter().map(|(_, bytes, _)| bytes).sum()
    }

    fn oldest(&self, scope: Option<ScopeTag>) -> Option<(Name, Moment)> {
        let own = self.0.iter().filter(|(name, ..)| scope.is_none_or(|scope| name.scope == scope));
        own.min_by_key(|(name, _, used)| (*used, name.digest)).map(|(name, _, used)| (*name, *used))
    }

    /// Whoever holds most gives what it used longest ago; the newcomer counts as held, and gives first among equals.
    fn victim(&self, caps: Caps, newcomer: Option<(ScopeTag, u64)>) -> Option<Name> {
        let more = newcomer.map_or(0, |(_, bytes)| bytes);
        let by_bytes = self.bytes() + more > caps.bytes;
        if !by_bytes && self.0.len() + usize::from(newcomer.is_some()) <= caps.entries {
            return None;
        }
        let held = |scope: ScopeTag| {
            let own = newcomer.filter(|(newcomer, _)| *newcomer == scope);
            let of_scope = || self.0.iter().filter(|(name, ..)| name.scope == scope);
            if by_bytes {
                of_scope().map(|(_, bytes, _)| bytes).sum::<u64>() + own.map_or(0, |(_, bytes)| bytes)
            } else {
                of_scope().count() as u64 + u64::from(own.is_some())
            }
        };
        let most = self.0.iter().map(|(name, ..)| held(name.scope)).max()?;
        let givers = self.0.iter().map(|(name, ..)| name.scope).filter(|scope| held(*scope) == most);
        let givers: Vec<ScopeTag> = givers.collect();
        let own = newcomer.map(|(scope, _)| scope).filter(|scope| givers.contains(scope));
        let first = givers.into_iter().filter(|scope| own.is_none_or(|own| own == *scope));
        let oldest = first.filter_map(|scope| self.oldest(Some(scope))).min_by_key(|(name, used)| (*used, name.digest));
        oldest.map(|(name, _)| name)
    }
}

#[test]
fn the_index_does_what_a_plain_list_does() {
    let mut random = Random(5);
    let (mut index, mut plain) = (Index::default(), Plain::default());
    for round in 0..4000 {
        let digest = u8::try_from(random.below(20)).unwrap();
        let name = Name { digest: [digest; 32], scope: [u8::try_from(random.below(3)).unwrap(); 16] };
        let moment = Moment::from(round) / 3;
        match random.below(4) {
            0 | 1 => {
                let bytes = random.next() % 5;
                let is_new = plain.find(digest).is_none();
                assert_eq!(index.insert(name, bytes, moment), is_new, "round {round}");
                if is_new {
                    plain.0.push((name, bytes, moment));
                }
            }
            2 => {
                index.remove(&name.digest);
                plain.0.retain(|(known, ..)| known.digest != name.digest);
            }
            _ => {
                index.touch(&name.digest, moment);
                if let Some(place) = plain.find(digest) {
                    plain.0[place].2 = moment;
                }
            }
        }
        assert_eq!((index.len(), index.bytes()), (plain.0.len(), plain.bytes()), "round {round}");
        let known = plain.find(digest).map(|place| plain.0[place].0);
        assert_eq!(index.name(&name.digest), known, "round {round}");
        let since = moment - Moment::try_from(random.below(20)).unwrap();
        let old = plain.oldest(None).filter(|(_, used)| *used < since).map(|(name, _)| name);
        assert_eq!(index.unused_since(since), old, "round {round}");
        let caps = Caps { bytes: random.next() % 40, entries: random.below(20) };
        for newcomer in [None, Some((name.scope, random.next() % 9)), Some(([9; 16], random.next() % 9))] {
            let expected = plain.victim(caps, newcomer);
            assert_eq!(index.victim(caps, newcomer), expected, "round {round}, {caps:?}, {newcomer:?}");
        }
    }
}
