//! What callers see while nothing is wrong: rows, figures, the queue, the lock, permissions.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::block_store::{Survey, clear, survey};

#[test]
fn rows_come_back_after_a_restart_on_the_real_disk() {
    let scratch = Scratch::new("restart");
    // One piece, several with a rest, none at all.
    let blocks = [block(1), block_of(2, (2 << 18) + 5), block_of(3, 0)];
    let store = open_real(&scratch.0, FINGERPRINT, StoreLimits::default());
    for block in &blocks {
        assert!(!is_there(&store, block));
        save(&store, block);
    }
    store.flush(PATIENCE);
    assert!(blocks.iter().all(|block| is_there(&store, block)));
    let figures = store.figures();
    assert_eq!((figures.hits, figures.misses, figures.written, figures.entries), (3, 3, 3, 3));
    assert_eq!((figures.errors, figures.dropped, figures.evicted, figures.bytes), (0, 0, 0, scratch.bytes()));
    drop(store);
    let store = open_real(&scratch.0, FINGERPRINT, StoreLimits::default());
    assert!(blocks.iter().all(|block| is_there(&store, block)));
    assert_eq!(store.figures().bytes, scratch.bytes());
}

#[test]
fn what_is_there_is_not_written_again() {
    let scratch = Scratch::new("again");
    let store = open(&scratch.0, StoreLimits::default());
    for _ in 0..2 {
        save(&store, &block(1));
        save(&store, &block(1));
        store.flush(PATIENCE);
    }
    assert_eq!((store.figures().written, store.figures().dropped), (1, 0));
}

#[test]
fn another_fingerprint_is_a_miss_and_keeps_its_own() {
    let scratch = Scratch::new("fingerprint");
    let store = open(&scratch.0, StoreLimits::default());
    keep(&store, &block(1));
    drop(store);
    let other = open_real(&scratch.0, [8; 32], StoreLimits::default());
    assert_eq!(load(&other, &block(1)), None);
    let theirs = Block { words: vec![5; 7], ..block(1) };
    keep(&other, &theirs);
    assert!(is_there(&other, &theirs));
    drop(other);
    assert!(is_there(&open(&scratch.0, StoreLimits::default()), &block(1)));
}

#[test]
fn saving_waits_for_no_disk_and_the_queue_has_a_bound() {
    let scratch = Scratch::new("queue");
    let disk = Arc::new(TestDisk::default());
    let store = open_on(&disk, &scratch.0, StoreLimits { queue_bytes: 4 * file_bytes(), ..StoreLimits::default() });
    disk.hold_writes();
    // Were a save to wait for the disk, this would hang: nothing is written before all of them have returned.
    for number in 0..10 {
        save(&store, &block(number));
    }
    store.flush(Duration::from_millis(1));
    assert_eq!((store.figures().dropped, store.figures().written), (6, 0));
    // Nor does loading wait for the writer.
    assert!(!is_there(&store, &block(0)));
    disk.let_write();
    store.flush(PATIENCE);
    assert_eq!((0..10).filter(|&number| is_there(&store, &block(number))).count(), 4);
}

#[test]
fn nothing_larger_than_a_block_can_be_is_taken() {
    let scratch = Scratch::new("large");
    let store = open(&scratch.0, StoreLimits::default());
    store.save([1; 32], vec![0; 2000], vec![0; 10], SCOPE);
    assert_eq!(
        (store.figures().dropped, entry::file_bytes(64, usize::MAX), entry::file_bytes(64, 1 << 27)),
        (1, None, None)
    );
}

#[test]
fn the_second_runs_without_a_cache() {
    let scratch = Scratch::new("second");
    let first = open(&scratch.0, StoreLimits::default());
    assert!(survey(&scratch.0).unwrap().is_in_use);
    assert!(BlockStore::open(&scratch.0, FINGERPRINT, StoreLimits::default()).unwrap().is_none());
    drop(first);
    drop(open(&scratch.0, StoreLimits::default()));
}

#[test]
fn clearing_removes_every_block_and_nothing_else() {
    let scratch = Scratch::new("clear");
    assert_eq!(clear(&scratch.0).unwrap(), Survey::default());
    let store = open(&scratch.0, StoreLimits::default());
    save(&store, &block(1));
    save(&store, &block(2));
    store.flush(PATIENCE);
    let half_written = format!("{}.tmp", scratch.names()[0]);
    std::fs::write(scratch.0.join(&half_written), [1, 2, 3]).unwrap();
    std::fs::write(scratch.0.join("notes.txt"), "mine").unwrap();

    let found = survey(&scratch.0).unwrap();
    assert_eq!((found.entries, found.bytes, found.is_in_use), (2, 2 * file_bytes() + 3, true));
    assert!(found.oldest.unwrap() < Duration::from_secs(600));
    let removed = clear(&scratch.0).unwrap();
    assert_eq!((removed.entries, removed.bytes), (2, found.bytes));
    assert_eq!(scratch.names(), ["notes.txt"]);
    // The store in use takes it as it is, and goes on.
    assert!(!is_there(&store, &block(1)));
    assert_eq!(store.figures().errors, 0);
    keep(&store, &block(1));
    assert!(is_there(&store, &block(1)));
}

#[test]
fn half_written_files_of_an_earlier_process_go() {
    let scratch = Scratch::new("temporary");
    let store = open(&scratch.0, StoreLimits::default());
    keep(&store, &block(1));
    drop(store);
    let entry = scratch.only_entry();
    std::fs::copy(&entry, entry.with_extension("tmp")).unwrap();
    drop(open(&scratch.0, StoreLimits::default()));
    assert_eq!(scratch.only_entry(), entry);
}

#[cfg(unix)]
mod permissions {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    fn folder_with_mode(name: &str, mode: u32) -> Scratch {
        let scratch = Scratch::new(name);
        std::fs::create_dir(&scratch.0).unwrap();
        std::fs::set_permissions(&scratch.0, PermissionsExt::from_mode(mode)).unwrap();
        scratch
    }

    #[test]
    fn nobody_else_may_read_anything() {
        let scratch = Scratch::new("modes/deeper");
        let store = open(&scratch.0, StoreLimits::default());
        keep(&store, &block(1));
        assert_eq!(
            (mode(&scratch.0), mode(&scratch.only_entry()), mode(&scratch.0.join("lock"))),
            (0o700, 0o600, 0o600)
        );
        drop(std::fs::remove_dir_all(scratch.0.parent().unwrap()));
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_refused() {
        for wrong in [0o777, 0o720, 0o702] {
            let scratch = folder_with_mode("writable", wrong);
            let error = BlockStore::open(&scratch.0, FINGERPRINT, StoreLimits::default()).err().unwrap();
            assert!(error.message().contains("others may write to it"), "{wrong:o}: {error}");
            assert_eq!(scratch.names().len(), 0);
        }
    }

    #[test]
    fn a_folder_of_its_own_is_closed_and_a_shared_one_left() {
        let own = folder_with_mode("own", 0o755);
        drop(open(&own.0, StoreLimits::default()));
        assert_eq!(mode(&own.0), 0o700);
        let shared = folder_with_mode("shared", 0o755);
        std::fs::write(shared.0.join("notes.txt"), "mine").unwrap();
        drop(open(&shared.0, StoreLimits::default()));
        assert_eq!(mode(&shared.0), 0o755);
    }

    #[test]
    fn a_file_or_a_dead_link_in_place_of_the_folder_is_an_error() {
        let scratch = folder_with_mode("places", 0o700);
        let (file, link) = (scratch.0.join("file"), scratch.0.join("link"));
        std::fs::write(&file, "mine").unwrap();
        symlink(scratch.0.join("nowhere"), &link).unwrap();
        for place in [&file, &link] {
            assert!(BlockStore::open(place, FINGERPRINT, StoreLimits::default()).is_err(), "{}", place.display());
        }
        assert_eq!(std::fs::read(&file).unwrap(), b"mine");
    }

    #[test]
    fn links_are_not_followed() {
        let scratch = Scratch::new("links");
        let target = Scratch::new("links-target");
        let store = open(&scratch.0, StoreLimits::default());
        keep(&store, &block(1));
        // A good entry, but behind a link.
        let entry = scratch.only_entry();
        std::fs::rename(&entry, &target.0).unwrap();
        symlink(&target.0, &entry).unwrap();
        assert!(!is_there(&store, &block(1)));
        assert!(target.0.exists() && entry.symlink_metadata().is_err());
        // A link where the file is written that is to become the entry.
        std::fs::write(&target.0, "mine").unwrap();
        symlink(&target.0, entry.with_extension("tmp")).unwrap();
        keep(&store, &block(1));
        assert!(is_there(&store, &block(1)));
        assert_eq!(std::fs::read(&target.0).unwrap(), b"mine");
        drop(std::fs::remove_file(&target.0));
    }

    #[test]
    fn a_pipe_in_place_of_an_entry_is_not_waited_for() {
        let scratch = Scratch::new("pipe");
        let store = open(&scratch.0, StoreLimits::default());
        keep(&store, &block(1));
        let entry = scratch.only_entry();
        std::fs::remove_file(&entry).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&entry).status().unwrap().success());
        assert!(!is_there(&store, &block(1)));
        assert!(entry.symlink_metadata().is_err());
    }
}
