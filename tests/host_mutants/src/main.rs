//! Makes lyn's host code wrong in one small way at a time, and tells which faults no test notices.
//!
//! `tests/host_mutants/run [--sample 50] [--seed N] [--room runtime/src/generate] [--match TEXT] [--list]`. All faults are compiled
//! into one copy of the project under `target/host_mutants`, each behind a guard; a first run of the tests without a fault finds
//! which test reaches which; then, for each fault of the sample, the tests that reach it run until one fails. Fails when fewer
//! than nine in ten are caught.
//!
//! `equivalent.txt` lists faults that leave the program the same, or change only what no user could see, each with its reason.

#![expect(clippy::print_stderr, clippy::print_stdout, reason = "a program for a terminal")]

mod sites;
mod suite;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use suite::Verdict;
use tree::{Mutant, Tree};

/// Where the sample is drawn without `--room`: what strangers' input and users' answers pass through.
const ROOMS: [&str; 8] = [
    "native/src/block_store",
    "native/src/server",
    "native/src/upstream",
    "runtime/src/chat",
    "runtime/src/checkpoint",
    "runtime/src/generate",
    "runtime/src/memory",
    "runtime/src/wire",
];

/// Faults that need no test: key, tab, reason.
const EQUIVALENT: &str = include_str!("../equivalent.txt");

struct Arguments {
    sample: usize,
    seed: u64,
    room: String,
    containing: String,
    list: bool,
}

fn arguments() -> Result<Arguments, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_secs());
    let mut parsed = Arguments { sample: 50, seed: now, room: String::new(), containing: String::new(), list: false };
    let mut rest = std::env::args().skip(1);
    while let Some(word) = rest.next() {
        let mut value = || rest.next().ok_or_else(|| format!("{word}: expected a value"));
        let number = |text: String| text.parse::<u64>().map_err(|_| format!("{word}: expected a number, found {text}"));
        match word.as_str() {
            "--sample" => parsed.sample = usize::try_from(value().and_then(number)?).unwrap_or(usize::MAX),
            "--seed" => parsed.seed = value().and_then(number)?,
            "--room" => parsed.room = value()?,
            "--match" => parsed.containing = value()?,
            "--list" => parsed.list = true,
            _ => return Err(format!("{word}: expected --sample, --seed, --room, --match or --list")),
        }
    }
    Ok(parsed)
}

/// The project, as cargo runs this program in it.
fn root() -> PathBuf {
    let package =
        std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    let root = package.join("../..");
    root.canonicalize().unwrap_or(root)
}

/// Keys and reasons of [`EQUIVALENT`].
fn equivalent() -> BTreeMap<&'static str, &'static str> {
    EQUIVALENT.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('\t')).collect()
}

fn main() -> ExitCode {
    match arguments().and_then(|arguments| run(&arguments)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("host_mutants: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool, String> {
    let root = root();
    let faults = tree::faults(&root)?;
    let equivalent = equivalent();
    let asked = |mutant: &&Mutant| {
        let room = match arguments.room.as_str() {
            "" => ROOMS.contains(&mutant.room()),
            room => mutant.file.starts_with(room),
        };
        room && mutant.key.contains(&arguments.containing)
    };
    let mut chosen: Vec<&Mutant> = faults.mutants.iter().filter(asked).collect();
    if arguments.list {
        chosen.iter().for_each(|mutant| println!("{}", mutant.key));
        return Ok(true);
    }
    let tree = Tree::new(&root);
    let (programs, built, digest) = tree.build(&faults)?;
    let tests = suite::tests(&tree, &programs, &digest)?;
    chosen.retain(|mutant| built.contains(&mutant.id) && !equivalent.contains_key(mutant.key.as_str()));
    let all = chosen.len();
    // An order of its own for each seed.
    let order = |mutant: &&Mutant| Sha256::digest(format!("{} {}", arguments.seed, mutant.key)).to_vec();
    chosen.sort_by_key(order);
    chosen.truncate(arguments.sample);
    eprintln!("{} of {all} faults, --seed {}; {} tests", chosen.len(), arguments.seed, tests.len());
    let mut rooms: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut survivors = BTreeSet::new();
    for mutant in &chosen {
        let room = rooms.entry(mutant.room()).or_default();
        room.1 += 1;
        match suite::judge(&tree, &tests, mutant.id)? {
            Verdict::Caught(by) => {
                room.0 += 1;
                println!("caught    {} (line {}) by {by}", mutant.key, mutant.site.line);
            }
            Verdict::Survived(0) => {
                println!("NOT RUN   {} (line {})", mutant.key, mutant.site.line);
                survivors.insert(mutant.key.as_str());
            }
            Verdict::Survived(count) => {
                println!("SURVIVED  {} (line {}), {count} tests reach it", mutant.key, mutant.site.line);
                survivors.insert(mutant.key.as_str());
            }
        }
    }
    for (room, (caught, of)) in &rooms {
        println!("{caught:4} of {of:4} {room}");
    }
    let caught = chosen.len() - survivors.len();
    println!("{caught} of {} caught, seed {}", chosen.len(), arguments.seed);
    Ok(caught * 10 >= chosen.len() * 9)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The list names faults that exist, so that a reason never covers another one.
    ///
    /// Oracle: the sources.
    #[test]
    fn reasons_belong_to_faults() {
        let faults = tree::faults(&root()).expect("sources");
        assert!(faults.mutants.len() > 1000, "faults were found");
        let keys: BTreeSet<&str> = faults.mutants.iter().map(|mutant| mutant.key.as_str()).collect();
        assert_eq!(keys.len(), faults.mutants.len(), "every fault has a key of its own");
        let stale: Vec<&str> = equivalent().into_keys().filter(|key| !keys.contains(key)).collect();
        assert!(stale.is_empty(), "equivalent.txt names no fault of today's sources:\n{}", stale.join("\n"));
        assert!(equivalent().values().all(|reason| reason.len() > 10), "every line has its reason");
    }
}
