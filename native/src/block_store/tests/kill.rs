//! A process that is killed while it writes, at many moments. Oracle: rows are those that were saved, or none.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::*;

/// Tells the writing process its folder, and where to begin.
const FOLDER: &str = "LYN_TEST_BLOCK_STORE";
const BLOCKS: u64 = 40;
const ROUNDS: u64 = 50;

fn limits() -> StoreLimits {
    // Half of the blocks: removals are interrupted too.
    StoreLimits { bytes: BLOCKS / 2 * size(), ..StoreLimits::default() }
}

/// Some 200 KB, so that there is something to interrupt.
fn large(number: u64) -> Block {
    block_of(number, 50_000)
}

fn size() -> u64 {
    entry::file_bytes(64, 50_000).unwrap()
}

#[test]
#[ignore = "the process that is killed by the test below"]
fn writes_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let store = open_real(Path::new(&folder), FINGERPRINT, limits());
    std::io::stdout().write_all(b"\nready\n").unwrap();
    for number in (0..BLOCKS).cycle() {
        assert!(load(&store, &large(number)).is_none_or(|words| words == large(number).words));
        keep(&store, &large(number));
    }
}

#[test]
fn a_killed_process_leaves_nothing_wrong() {
    let scratch = Scratch::new("kill");
    let mut random = Random(1);
    let mut found = 0;
    for round in 0..ROUNDS {
        let name = "block_store::tests::kill::writes_until_it_is_killed";
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact", "--ignored", "--nocapture"])
            .env(FOLDER, &scratch.0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line == "ready"), "round {round}: the process did not start");
        std::thread::sleep(Duration::from_micros(random.next() % 25_000));
        if round == 0 {
            assert!(BlockStore::open(&scratch.0, FINGERPRINT, limits()).unwrap().is_none());
        }
        child.kill().unwrap();
        child.wait().unwrap();

        let store = open(&scratch.0, limits());
        found += (0..BLOCKS).filter(|&number| is_there(&store, &large(number))).count();
        // Every entry that has its name is whole: files get it when they are.
        assert_eq!(store.figures().errors, 0, "round {round}");
        assert!(scratch.bytes() <= limits().bytes, "round {round}: {:?}", scratch.names());
        assert!(scratch.names().iter().all(|name| !name.contains("tmp")), "round {round}");
    }
    assert!(found > 0, "no round wrote anything");
}
