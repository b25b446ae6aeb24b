//! The project's tests, one process each: how long each takes, which faults each reaches, and whether one fails.

use std::collections::{BTreeSet, VecDeque};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::tree::{Program, Tree, put};

/// A test that takes longer is left out: it would be run for too many faults.
const MOST_SECONDS: u64 = 40;

#[derive(Debug, Clone)]
pub(crate) struct Test {
    program: Program,
    pub(crate) name: String,
    took: Duration,
    pub(crate) reaches: BTreeSet<u32>,
}

#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Passed,
    Failed,
}

impl Test {
    /// `server models::lists`
    pub(crate) fn title(&self) -> String {
        let file = self.program.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        format!("{} {}", file.rsplit_once('-').map_or(file.as_str(), |(name, _)| name), self.name)
    }

    fn run(&self, reached: Option<&Path>, limit: Duration, stop: &dyn Fn() -> bool) -> Ended {
        let mut command = Command::new(&self.program.path);
        command.current_dir(&self.program.folder).args(["--exact", &self.name, "--test-threads", "1"]);
        // Slower, and no other code of the host.
        command.env_remove("VK_ADD_DRIVER_FILES");
        if let Some(path) = reached {
            // The tests take variables of lyn away.
            command.env("HOST_MUTANTS_REACHED", path);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let Ok(mut child) = command.spawn() else { return Ended::Failed };
        let began = Instant::now();
        let ended = loop {
            match child.try_wait() {
                Ok(Some(status)) if status.success() => break Ended::Passed,
                Ok(Some(_)) | Err(_) => break Ended::Failed,
                Ok(None) if began.elapsed() > limit || stop() => break Ended::Failed,
                Ok(None) => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        // A server that the test started ends with it.
        let group = format!("-{}", child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = child.kill().and_then(|()| child.wait());
        ended
    }

    fn limit(&self) -> Duration {
        self.took * 8 + Duration::from_secs(20)
    }
}

/// Does `work` for every item, as many at once as there are cores.
fn at_once<T: Send>(items: impl IntoIterator<Item = T>, work: impl Fn(T) + Sync) {
    let queue: Mutex<VecDeque<T>> = Mutex::new(items.into_iter().collect());
    let next = || queue.lock().ok()?.pop_front();
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(item) = next() {
                    work(item);
                }
            });
        }
    });
}

/// Every test that passes without a fault, in the order of time, with the faults that it reaches.
///
/// Kept for `digest`, that of what was built.
pub(crate) fn tests(tree: &Tree, programs: &[Program], digest: &str) -> Result<Vec<Test>, String> {
    let memory = tree.file("tests.json");
    let kept: Option<Value> = std::fs::read(&memory).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    if let Some(kept) = kept.filter(|kept| kept["digest"] == digest) {
        return Ok(kept["tests"].as_array().into_iter().flatten().filter_map(from_json).collect());
    }
    put(&tree.chosen(), b"0")?;
    let mut all = vec![];
    for program in programs {
        let listed =
            Command::new(&program.path).current_dir(&program.folder).args(["--list", "--format", "terse"]).output();
        let listed = listed.map_err(|error| format!("{}: {error}", program.path.display()))?;
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let names = listed.lines().filter_map(|line| line.strip_suffix(": test"));
        all.extend(names.map(|name| Test {
            program: program.clone(),
            name: name.to_owned(),
            took: Duration::ZERO,
            reaches: BTreeSet::new(),
        }));
    }
    eprintln!("running {} tests alone, without a fault", all.len());
    let done: Mutex<Vec<Test>> = Mutex::new(vec![]);
    at_once(all.into_iter().enumerate(), |(index, mut test)| {
        let reached = tree.file(&format!("reached-{index}"));
        let began = Instant::now();
        let ended = test.run(Some(&reached), Duration::from_secs(MOST_SECONDS), &|| false);
        test.took = began.elapsed();
        let bytes = std::fs::read(&reached).unwrap_or_default();
        let _ = std::fs::remove_file(&reached);
        test.reaches = bytes.chunks_exact(4).map(|id| u32::from_le_bytes([id[0], id[1], id[2], id[3]])).collect();
        if ended == Ended::Failed {
            eprintln!("left out, since it fails or takes more than {MOST_SECONDS} s here: {}", test.title());
        } else if let Ok(mut done) = done.lock() {
            done.push(test);
        }
    });
    let mut tests = done.into_inner().map_err(|error| error.to_string())?;
    tests.sort_by_key(|test| test.took);
    let list: Vec<Value> = tests.iter().map(to_json).collect();
    put(&memory, json!({"digest": digest, "tests": list}).to_string().as_bytes())?;
    Ok(tests)
}

fn to_json(test: &Test) -> Value {
    let millis = u64::try_from(test.took.as_millis()).unwrap_or(u64::MAX);
    json!({"path": test.program.path, "folder": test.program.folder, "name": test.name, "millis": millis, "reaches": test.reaches})
}

fn from_json(value: &Value) -> Option<Test> {
    let text = |name: &str| value[name].as_str();
    let reaches = value["reaches"].as_array()?.iter().filter_map(Value::as_u64).filter_map(|id| u32::try_from(id).ok());
    Some(Test {
        program: Program { path: text("path")?.into(), folder: text("folder")?.into() },
        name: text("name")?.to_owned(),
        took: Duration::from_millis(value["millis"].as_u64()?),
        reaches: reaches.collect(),
    })
}

/// What became of a fault.
pub(crate) enum Verdict {
    /// By this test.
    Caught(String),
    /// So many tests reach it, and pass.
    Survived(usize),
}

/// Runs the tests that reach a fault with it on, quick ones first, until one fails.
pub(crate) fn judge(tree: &Tree, tests: &[Test], id: u32) -> Result<Verdict, String> {
    let mut reaching: Vec<&Test> = tests.iter().filter(|test| test.reaches.contains(&id)).collect();
    // A test that reaches little is about what it reaches.
    let cost = |test: &&Test| test.took.as_millis() * (1 + test.reaches.len() as u128);
    reaching.sort_by_key(cost);
    let count = reaching.len();
    while !reaching.is_empty() {
        put(&tree.chosen(), id.to_string().as_bytes())?;
        let failed: Mutex<Option<String>> = Mutex::new(None);
        let over = || failed.lock().is_ok_and(|failed| failed.is_some());
        at_once(reaching.clone(), |test| {
            if !over() && test.run(None, test.limit(), &over) == Ended::Failed {
                let mut failed = failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                failed.get_or_insert(test.title());
            }
        });
        put(&tree.chosen(), b"0")?;
        let Some(title) = failed.into_inner().map_err(|error| error.to_string())? else {
            return Ok(Verdict::Survived(count));
        };
        let by = reaching.iter().position(|test| test.title() == title).map(|index| reaching.remove(index));
        // A test that fails at times would catch everything.
        if by.is_some_and(|test| test.run(None, test.limit(), &|| false) == Ended::Passed) {
            return Ok(Verdict::Caught(title));
        }
    }
    Ok(Verdict::Survived(count))
}
