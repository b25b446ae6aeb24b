//! Feeds hostile inputs to everything in lyn that reads what strangers wrote, and stops at the first fault: a panic, an
//! internal error, a broken promise, more than 20 seconds, or more than 512 MiB.
//!
//! `cargo run -p lyn-fuzz -- [--seconds 60] [--seed 1] [--target NAME] [FILE…]`. Inputs grow from `tests/fuzz/corpus/NAME`. The
//! input at work is always in `target/fuzz/NAME`, so that a crash of the whole process leaves it there; a FILE is run alone.

#![expect(clippy::print_stderr, reason = "a program for a terminal")]

mod mutate;
mod random;
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use cap::Cap;
use random::Random;
use targets::{TARGETS, Target};

#[global_allocator]
static MEMORY: Cap<std::alloc::System> = Cap::new(std::alloc::System, usize::MAX);

/// What one input may take.
const MOST_SECONDS: u64 = 20;
const MOST_BYTES: usize = 512 << 20;
/// As threads of a server have it.
const STACK_BYTES: usize = 2 << 20;

/// The input at work and when it began.
static AT_WORK: Mutex<Option<(&'static str, Instant)>> = Mutex::new(None);

struct Arguments {
    seconds: u64,
    seed: u64,
    target: Option<String>,
    files: Vec<PathBuf>,
}

fn arguments() -> Result<Arguments, String> {
    let mut parsed = Arguments { seconds: 60, seed: 1, target: None, files: vec![] };
    let mut rest = std::env::args().skip(1);
    while let Some(word) = rest.next() {
        let mut value = || rest.next().ok_or_else(|| format!("{word}: expected a value"));
        let number = |text: String| text.parse::<u64>().map_err(|_| format!("{word}: expected a number, found {text}"));
        match word.as_str() {
            "--seconds" => parsed.seconds = value().and_then(number)?,
            "--seed" => parsed.seed = value().and_then(number)?,
            "--target" => parsed.target = Some(value()?),
            _ => parsed.files.push(word.into()),
        }
    }
    Ok(parsed)
}

fn main() -> ExitCode {
    match arguments().and_then(|arguments| run(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("fuzz: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let known = |target: &&Target| arguments.target.as_ref().is_none_or(|name| name == target.name);
    let chosen: Vec<&'static Target> = TARGETS.iter().filter(known).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        return Err(format!("--target: expected one of {}", names.join(", ")));
    }
    std::fs::create_dir_all(folder()).map_err(|error| format!("{}: {error}", folder().display()))?;
    std::thread::spawn(watch);
    // Panics are told with the input that caused them.
    std::panic::set_hook(Box::new(|_| {}));
    let each = Duration::from_secs(arguments.seconds) / u32::try_from(chosen.len()).unwrap_or(1);
    for target in chosen {
        let (seed, files) = (arguments.seed, arguments.files.clone());
        let work = move || if files.is_empty() { fuzz(target, seed, each) } else { replay(target, &files) };
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(work);
        thread.map_err(|error| error.to_string())?.join().map_err(|_| "the fuzzer itself failed")??;
    }
    Ok(())
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/fuzz")
}

/// Ends the process where one input takes too long: nothing else could stop it.
fn watch() {
    loop {
        std::thread::sleep(Duration::from_millis(200));
        let at_work = *AT_WORK.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((name, began)) = at_work
            && began.elapsed() > Duration::from_secs(MOST_SECONDS)
        {
            eprintln!("fuzz: {name}: more than {MOST_SECONDS} s; the input is {}", folder().join(name).display());
            std::process::exit(1);
        }
    }
}

fn set_at_work(at_work: Option<(&'static str, Instant)>) {
    *AT_WORK.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = at_work;
}

/// Runs one input.
fn one(target: &'static Target, input: &[u8]) -> Result<(), String> {
    let kept = folder().join(target.name);
    std::fs::write(&kept, input).map_err(|error| format!("{}: {error}", kept.display()))?;
    MEMORY
        .set_limit(MEMORY.allocated().saturating_add(MOST_BYTES))
        .map_err(|()| "the limit of memory cannot be set")?;
    set_at_work(Some((target.name, Instant::now())));
    let ran = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    set_at_work(None);
    let _ = MEMORY.set_limit(usize::MAX);
    let fault = match ran {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(fault)) => fault,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            format!("panic: {}", text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without words"))
        }
    };
    let fault: String = fault.chars().take(600).collect();
    Err(format!("{}: {fault}\nthe input is {}", target.name, kept.display()))
}

fn fuzz(target: &'static Target, seed: u64, time: Duration) -> Result<(), String> {
    let corpus = corpus(target.name)?;
    let (began, mut random, mut count) = (Instant::now(), Random::new(seed), 0_u64);
    for input in &corpus {
        one(target, input)?;
    }
    while began.elapsed() < time {
        let input = mutate::mutate(&mut random, &corpus);
        one(target, &input).map_err(|fault| format!("seed {seed}, input {count}: {fault}"))?;
        count += 1;
    }
    eprintln!("fuzz: {}: {count} inputs, 0 faults", target.name);
    Ok(())
}

fn replay(target: &'static Target, files: &[PathBuf]) -> Result<(), String> {
    for file in files {
        let input = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        one(target, &input)?;
        eprintln!("fuzz: {}: {} is taken without a fault", target.name, file.display());
    }
    Ok(())
}

/// The inputs that others grow from: files of the target's folder, by name.
fn corpus(name: &str) -> Result<Vec<Vec<u8>>, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let told = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut paths = vec![];
    for entry in std::fs::read_dir(&folder).map_err(told)? {
        paths.push(entry.map_err(told)?.path());
    }
    paths.sort();
    let corpus: Result<Vec<Vec<u8>>, _> = paths.iter().map(std::fs::read).collect();
    corpus
        .map_err(told)
        .and_then(|all| if all.is_empty() { Err(format!("{}: no input", folder.display())) } else { Ok(all) })
}
