//! Every operation of the disk fails in turn, disks that are full or read-only, `fsync` that fails or lies, power cuts.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use super::disk::Fault;
use super::*;
use crate::block_store::writer::PAUSE;

const BLOCKS: u64 = 4;

/// Room for all blocks but one, so that one has to go.
fn limits() -> StoreLimits {
    StoreLimits { bytes: (BLOCKS - 1) * file_bytes(), ..StoreLimits::default() }
}

/// A process's life on a disk: saves, loads, ends. Which blocks were there before it ended.
fn live(disk: &Arc<TestDisk>, scratch: &Scratch) -> Vec<u64> {
    // A store that cannot be opened is one that is not used.
    let Ok(store) = try_open_on(disk, &scratch.0, limits()) else { return vec![] };
    (0..BLOCKS).for_each(|number| save(&store, &block(number)));
    store.flush(PATIENCE);
    (0..BLOCKS).filter(|&number| is_there(&store, &block(number))).collect()
}

/// After whatever happened: a start works, rows are right or absent, the cap holds, no half-written file is left.
#[track_caller]
fn survives(scratch: &Scratch) -> Vec<u64> {
    let store = open(&scratch.0, limits());
    let there = (0..BLOCKS).filter(|&number| is_there(&store, &block(number))).collect();
    keep(&store, &block(99));
    assert!(is_there(&store, &block(99)));
    assert!(scratch.bytes() <= limits().bytes, "{:?}", scratch.names());
    assert!(scratch.names().iter().all(|name| !name.contains("tmp")), "{:?}", scratch.names());
    assert_eq!(store.figures().bytes, scratch.bytes());
    there
}

#[test]
fn each_operation_fails_in_turn() {
    let scratch = Scratch::new("faults");
    let disk = Arc::new(TestDisk::default());
    assert_eq!(live(&disk, &scratch), [1, 2, 3]);
    assert_eq!(survives(&scratch), [1, 2, 3]);
    let calls = disk.calls();
    for name in
        ["list", "create", "write", "sync", "rename", "sync_folder", "remove", "open", "read", "touch", "free_bytes"]
    {
        assert!(calls.contains(&name), "{name} is never called: {calls:?}");
    }
    let faults = [
        Fault::Once(ErrorKind::StorageFull),
        Fault::Once(ErrorKind::Other),
        Fault::Once(ErrorKind::Interrupted),
        Fault::Once(ErrorKind::NotFound),
        Fault::Short,
        Fault::Forever(ErrorKind::StorageFull),
        Fault::Forever(ErrorKind::ReadOnlyFilesystem),
    ];
    for (at, name) in calls.iter().enumerate() {
        for fault in faults {
            let scratch = Scratch::new("faults");
            let there = live(&Arc::new(TestDisk::failing(at, fault)), &scratch);
            let is_harmless = fault == Fault::Short
                || matches!((*name, fault), ("read" | "write", Fault::Once(ErrorKind::Interrupted)))
                || matches!((*name, fault), ("touch" | "free_bytes", Fault::Once(_)));
            if is_harmless {
                assert_eq!(there, [1, 2, 3], "{name}, call {at}, {fault:?}");
            }
            survives(&scratch);
        }
    }
}

#[test]
fn after_a_failed_sync_the_block_is_dropped_and_nothing_is_written_for_ten_minutes() {
    let steps = ["free_bytes", "create", "write", "write", "sync", "rename", "sync_folder"];
    for (at, failing) in steps.into_iter().enumerate().skip(1) {
        let scratch = Scratch::new("pause");
        let disk = Arc::new(TestDisk::default());
        let store = open_on(&disk, &scratch.0, StoreLimits::default());
        keep(&store, &block(1));
        disk.fail_after(at, Fault::Once(ErrorKind::Other));
        keep(&store, &block(2));
        let calls = disk.calls();
        assert_eq!(calls[calls.len() - 2..], [failing, "remove"], "{calls:?}");
        disk.pass_time(PAUSE - Duration::from_secs(1));
        save(&store, &block(2));
        save(&store, &block(3));
        store.flush(PATIENCE);
        assert!(!disk.calls()[calls.len()..].contains(&"create"), "{failing}");
        assert_eq!((store.figures().dropped, store.figures().errors, scratch.names().len()), (3, 1, 1), "{failing}");
        // What is there is still of use.
        assert!(is_there(&store, &block(1)) && !is_there(&store, &block(2)));
        disk.pass_time(Duration::from_secs(2));
        keep(&store, &block(2));
        assert!(is_there(&store, &block(2)), "{failing}");
    }
}

#[test]
fn a_disk_that_fails_warns_once_a_minute() {
    let pace = crate::block_store::Pace::default();
    let start = std::time::Instant::now();
    let due = (0..180).filter(|&second| pace.is_due(start + Duration::from_secs(second))).count();
    assert_eq!(due, 3);
}

#[test]
fn an_entry_that_cannot_be_removed_still_counts() {
    let scratch = Scratch::new("unremovable");
    let disk = Arc::new(TestDisk::default());
    let store = open_on(&disk, &scratch.0, StoreLimits { bytes: file_bytes(), ..StoreLimits::default() });
    keep(&store, &block(1));
    // free_bytes, then the removal that makes room.
    disk.fail_after(1, Fault::Once(ErrorKind::PermissionDenied));
    keep(&store, &block(2));
    assert_eq!((store.figures().entries, store.figures().bytes, scratch.bytes()), (1, file_bytes(), file_bytes()));
    assert!(is_there(&store, &block(1)) && !is_there(&store, &block(2)));
}

/// The machine goes at some operation: what follows does not happen, and the disk keeps what it likes of what it was not
/// made to keep.
#[test]
fn power_cuts_leave_what_was_synced_and_nothing_wrong() {
    let mut kept_all = 0;
    for seed in 0..200 {
        let mut random = Random(seed);
        let scratch = Scratch::new("power");
        let disk = Arc::new(TestDisk::default());
        let lies = seed % 2 == 1;
        if lies {
            disk.lies();
        }
        let store = open_on(&disk, &scratch.0, limits());
        disk.fail_after(random.below(26), Fault::Forever(ErrorKind::Other));
        (0..3).for_each(|number| save(&store, &block(number)));
        store.flush(PATIENCE);
        let written = store.figures().written;
        drop(store);
        disk.cut_power(&mut random);
        let there = survives(&scratch);
        kept_all += usize::from(there.len() == 3);
        if !lies {
            assert!((0..written).all(|number| there.contains(&number)), "seed {seed}: {there:?} of {written}");
        }
    }
    assert!((1..200).contains(&kept_all), "{kept_all}");
}
