//! Caps of bytes, entries, age and free disk, before and after a restart, and shares of scopes.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::*;

/// Which of the first `count` blocks have a file, without using them.
fn held(store: &BlockStore, count: u64) -> Vec<u64> {
    let index = super::super::locked(&store.shared.index);
    (0..count).filter(|&number| index.name(&store.shared.digest(&block(number).key)).is_some()).collect()
}

fn save_all(store: &BlockStore, numbers: impl IntoIterator<Item = u64>) {
    numbers.into_iter().for_each(|number| keep(store, &block(number)));
}

#[test]
fn the_byte_cap_is_held_and_what_was_used_last_stays() {
    let scratch = Scratch::new("bytes");
    let limits = StoreLimits { bytes: 3 * file_bytes() + 10, ..StoreLimits::default() };
    let store = open(&scratch.0, limits);
    for number in 0..6 {
        save_all(&store, [number]);
        assert!(scratch.bytes() <= limits.bytes);
        // The first is used after each.
        assert!(is_there(&store, &block(0)));
    }
    assert_eq!(held(&store, 6), [0, 4, 5]);
    assert_eq!((store.figures().evicted, store.figures().bytes), (3, scratch.bytes()));
}

#[test]
fn a_block_larger_than_the_cap_makes_nothing_go() {
    let scratch = Scratch::new("larger");
    let store = open(&scratch.0, StoreLimits { bytes: file_bytes(), ..StoreLimits::default() });
    save_all(&store, [0]);
    keep(&store, &block_of(1, WORDS + 1));
    assert_eq!((held(&store, 2), store.figures().dropped), (vec![0], 1));
}

#[test]
fn the_number_of_entries_is_capped() {
    let scratch = Scratch::new("entries");
    let store = open(&scratch.0, StoreLimits { entries: 2, ..StoreLimits::default() });
    save_all(&store, 0..5);
    assert_eq!((held(&store, 5), scratch.names().len()), (vec![3, 4], 2));
    drop(store);
    // A cap that was lowered holds from the start, and so does that of what is kept in mind while the folder is listed.
    let store = open(&scratch.0, StoreLimits { entries: 1, ..StoreLimits::default() });
    save_all(&store, [5]);
    assert_eq!(held(&store, 6), [5]);
    drop(store);
    drop(open(&scratch.0, StoreLimits { entries: 0, ..StoreLimits::default() }));
    assert_eq!(scratch.names().len(), 0);
}

#[test]
fn the_order_of_use_outlives_a_restart() {
    let scratch = Scratch::new("order");
    let store = open(&scratch.0, StoreLimits::default());
    save_all(&store, 0..3);
    // Files that the system gave the same time would be in any order.
    for (number, ago) in [(0, 30), (1, 20), (2, 10)] {
        set_age(&store, number, Duration::from_secs(ago));
    }
    assert!(is_there(&store, &block(0)));
    drop(store);
    let store = open(&scratch.0, StoreLimits { bytes: 2 * file_bytes(), ..StoreLimits::default() });
    save_all(&store, [3]);
    assert_eq!(held(&store, 4), [0, 3]);
}

fn set_age(store: &BlockStore, number: u64, age: Duration) {
    let name = super::super::locked(&store.shared.index).name(&store.shared.digest(&block(number).key)).unwrap();
    let path = super::super::folder::path(&store.shared.folder, &name);
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - age).unwrap();
}

#[test]
fn what_nobody_uses_for_a_day_goes() {
    let scratch = Scratch::new("age");
    let disk = Arc::new(TestDisk::default());
    let store = open_on(&disk, &scratch.0, StoreLimits::default());
    save_all(&store, 0..2);
    disk.pass_time(Duration::from_secs(23 * 3600));
    assert!(is_there(&store, &block(1)));
    disk.pass_time(Duration::from_secs(2 * 3600));
    save_all(&store, [2]);
    assert_eq!(held(&store, 3), [1, 2]);

    // After a restart their files' times count. One from the future, where the clock was set back, is new.
    set_age(&store, 1, Duration::from_secs(25 * 3600));
    let future = super::super::folder::age(SystemTime::now(), SystemTime::now() + Duration::from_secs(9999));
    assert_eq!(future, Duration::ZERO);
    drop(store);
    let store = open(&scratch.0, StoreLimits::default());
    save_all(&store, [3]);
    assert_eq!(held(&store, 4), [2, 3]);
    assert_eq!(scratch.names().len(), 2);
}

#[test]
fn a_tenth_of_the_free_disk_is_a_cap() {
    let scratch = Scratch::new("free");
    let disk = Arc::new(TestDisk::default());
    let store = open_on(&disk, &scratch.0, StoreLimits::default());
    save_all(&store, 0..4);
    assert_eq!(held(&store, 4), [0, 1, 2, 3]);
    // Of 20 blocks that would be free without the cache, 2 may be its own.
    disk.set_free_bytes(16 * file_bytes());
    save_all(&store, [4]);
    assert_eq!(held(&store, 5), [3, 4]);
    disk.set_free_bytes(0);
    save_all(&store, [5]);
    assert_eq!((held(&store, 6), store.figures().dropped), (vec![3, 4], 1));
}

#[test]
fn a_scope_cannot_push_out_another() {
    let scratch = Scratch::new("scopes");
    let store = open(&scratch.0, StoreLimits { bytes: 6 * file_bytes(), ..StoreLimits::default() });
    save_all(&store, 0..3);
    for number in 10..40 {
        let Block { key, ids, words } = block(number);
        store.save(key, ids, words, [1; 32]);
        store.flush(PATIENCE);
    }
    assert_eq!(held(&store, 40), [0, 1, 2, 37, 38, 39]);
    // The shares are known after a restart too: names of files carry them.
    drop(store);
    let store = open(&scratch.0, StoreLimits { bytes: 6 * file_bytes(), ..StoreLimits::default() });
    let Block { key, ids, words } = block(40);
    store.save(key, ids, words, [1; 32]);
    store.flush(PATIENCE);
    let left = held(&store, 41);
    assert_eq!((&left[..3], left.len(), left[5]), (&[0, 1, 2][..], 6, 40));
}

#[test]
fn entries_are_listed_without_being_opened() {
    let scratch = Scratch::new("many");
    drop(open(&scratch.0, StoreLimits::default()));
    for number in 0..2000u32 {
        std::fs::File::create(scratch.0.join(format!("{number:064x}{:032x}", 0))).unwrap();
    }
    let disk = Arc::new(TestDisk::default());
    let store = open_on(&disk, &scratch.0, StoreLimits::default());
    assert_eq!(store.figures().entries, 2000);
    assert!(!disk.calls().contains(&"open"));
}

#[test]
fn a_disk_that_is_full_or_fails_is_told_of_once_a_minute() {
    let scratch = Scratch::new("told");
    let disk = Arc::new(TestDisk::default());
    let told = warnings_of(&scratch);
    let store = open_on(&disk, &scratch.0, StoreLimits::default());
    save_all(&store, [0]);
    assert_eq!(told(), [""; 0], "nothing is wrong yet");
    disk.set_free_bytes(0);
    save_all(&store, 1..4);
    assert_eq!(told().len(), 1, "{:?}", told());
    assert!(
        told()[0].contains("was not stored: the cache may take") && told()[0].contains("free disk space"),
        "{:?}",
        told()
    );
    disk.pass_time(Duration::from_secs(61));
    disk.set_free_bytes(1 << 40);
    disk.fail_after(0, disk::Fault::Forever(std::io::ErrorKind::StorageFull));
    save_all(&store, [5]);
    assert_eq!(told().len(), 2, "{:?}", told());
    assert!(told()[1].contains("nothing is written for 10 minutes: "), "{:?}", told());
}
