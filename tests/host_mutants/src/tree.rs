//! A copy of the project with every fault in it, and its test programs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::sites::{self, Site, Text};

/// Crates whose host code is made wrong: their sources and the file that every other is a module of.
const CRATES: [(&str, &str); 2] = [("runtime/src", "runtime/src/lib.rs"), ("native/src", "native/src/main.rs")];

/// A fault and the file it stands in.
#[derive(Debug, Clone)]
pub(crate) struct Mutant {
    /// From 1, in the order of files and of places in them.
    pub(crate) id: u32,
    /// Relative to the project.
    pub(crate) file: String,
    pub(crate) site: Site,
    /// What names it in lists: no line, so that it outlives changes elsewhere.
    pub(crate) key: String,
}

impl Mutant {
    /// The folder or file at the top of its crate: `runtime/src/generate`.
    pub(crate) fn room(&self) -> &str {
        let end = self.file.match_indices('/').nth(2).map_or(self.file.len(), |(at, _)| at);
        self.file[..end].trim_end_matches(".rs")
    }
}

/// A test program and the folder that cargo would run it in.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) folder: PathBuf,
}

/// The sources of [`CRATES`] under `root`, with the tests among them.
fn sources(root: &Path) -> Result<Vec<String>, String> {
    let listed = Command::new("git").current_dir(root).args(["ls-files", "-co", "--exclude-standard"]).output();
    let listed = listed.map_err(|error| format!("git ls-files: {error}"))?;
    Ok(String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect())
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Every fault of the project, and each file's parts to write it with them.
pub(crate) struct Faults {
    pub(crate) mutants: Vec<Mutant>,
    files: BTreeMap<String, File>,
}

struct File {
    source: String,
    insertions: Vec<sites::Insertion>,
    /// The first mutant's index.
    first: usize,
}

pub(crate) fn faults(root: &Path) -> Result<Faults, String> {
    let mut found = vec![];
    let mut absent = vec![];
    for name in sources(root)? {
        let host = CRATES.iter().any(|(folder, _)| name.starts_with(folder));
        let tests = name.ends_with("/tests.rs") || name.contains("/tests/");
        if !host || tests || !name.ends_with(".rs") || !root.join(&name).exists() {
            continue;
        }
        let source = read(&root.join(&name))?;
        let file = sites::find(&source).map_err(|error| format!("{name}: {error}"))?;
        let folder = ["/mod.rs", "/lib.rs", "/main.rs"].iter().find_map(|end| name.strip_suffix(end));
        let folder = folder.unwrap_or(name.trim_end_matches(".rs"));
        absent.extend(file.absent_modules.iter().map(|module| format!("{folder}/{module}")));
        found.push((name, source, file));
    }
    let mut faults = Faults { mutants: vec![], files: BTreeMap::new() };
    for (name, source, file) in found {
        let in_module =
            |module: &String| name.strip_prefix(module.as_str()).is_some_and(|rest| rest.starts_with(['.', '/']));
        if absent.iter().any(in_module) {
            continue;
        }
        let first = faults.mutants.len();
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for site in file.sites {
            let id = u32::try_from(faults.mutants.len() + 1).map_err(|error| error.to_string())?;
            let mut key = format!("{name} {}: {}", site.function, site.change);
            let nth = seen.entry(key.clone()).and_modify(|nth| *nth += 1).or_insert(1);
            if *nth > 1 {
                let _ = write!(key, " #{nth}");
            }
            faults.mutants.push(Mutant { id, file: name.clone(), site, key });
        }
        let mut insertions = file.insertions;
        insertions.sort_by_key(|insertion| insertion.offset);
        faults.files.insert(name, File { source, insertions, first });
    }
    Ok(faults)
}

/// A file with its faults in it, and for each fault where it stands there.
fn written(file: &File, refused: &BTreeSet<usize>) -> (String, BTreeMap<usize, (usize, usize)>) {
    let mut text = String::with_capacity(file.source.len() * 3);
    let mut places: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    let mut from = 0;
    for insertion in &file.insertions {
        let index = file.first + insertion.site;
        if refused.contains(&index) {
            continue;
        }
        text.push_str(&file.source[from..insertion.offset]);
        from = insertion.offset;
        let start = text.len();
        match &insertion.text {
            Text::Plain(plain) => text.push_str(plain),
            Text::Guard => {
                let _ = write!(text, "crate::host_mutants::on({})", index + 1);
            }
        }
        let end = text.len();
        places.entry(index).and_modify(|place| place.1 = end).or_insert((start, end));
    }
    text.push_str(&file.source[from..]);
    (text, places)
}

/// Asked by every guard. Which fault is on stands in a file: what a test starts need not pass its environment on.
const GUARD: &str = r#"
/// Faults behind guards.
#[allow(warnings, clippy::all)]
pub(crate) mod host_mutants {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicBool, Ordering};
    static ON: LazyLock<u32> = LazyLock::new(|| std::fs::read_to_string("@CHOSEN@").ok().and_then(|id| id.trim().parse().ok()).unwrap_or(0));
    static REACHED: LazyLock<Option<std::path::PathBuf>> = LazyLock::new(|| std::env::var_os("HOST_MUTANTS_REACHED").map(Into::into));
    static SEEN: [AtomicBool; @COUNT@] = [const { AtomicBool::new(false) }; @COUNT@];
    #[inline]
    pub(crate) fn on(id: u32) -> bool {
        if !SEEN[id as usize].load(Ordering::Relaxed) {
            first(id);
        }
        *ON == id
    }
    #[cold]
    fn first(id: u32) {
        SEEN[id as usize].store(true, Ordering::Relaxed);
        if let Some(path) = &*REACHED {
            use std::io::Write;
            let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
            let _ = file.and_then(|mut file| file.write_all(&id.to_le_bytes()));
        }
    }
}
"#;

/// A copy of the project under `target/host_mutants`.
pub(crate) struct Tree {
    root: PathBuf,
    folder: PathBuf,
}

impl Tree {
    pub(crate) fn new(root: &Path) -> Tree {
        Tree { root: root.to_owned(), folder: root.join("target/host_mutants") }
    }

    /// Holds the number of the fault at work.
    pub(crate) fn chosen(&self) -> PathBuf {
        self.folder.join("chosen")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn copy(&self) -> Result<(), String> {
        let tree = self.folder.join("tree");
        let mut kept = BTreeSet::new();
        for name in sources(&self.root)? {
            let from = self.root.join(&name);
            if from.is_file() {
                if !CRATES.iter().any(|(folder, _)| name.starts_with(folder) && name.ends_with(".rs")) {
                    let bytes = std::fs::read(&from).map_err(|error| format!("{}: {error}", from.display()))?;
                    put(&tree.join(&name), &bytes)?;
                    let permissions = std::fs::metadata(&from).map_err(|error| error.to_string())?.permissions();
                    let _ = std::fs::set_permissions(tree.join(&name), permissions);
                }
                kept.insert(name);
            }
        }
        // What has left the project leaves the copy.
        let mut folders = vec![tree.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                let name = path.strip_prefix(&tree).unwrap_or(&path).to_string_lossy().into_owned();
                if path.is_dir() {
                    folders.push(path);
                } else if !kept.contains(&name) {
                    let _ = std::fs::remove_file(path);
                }
            }
        }
        Ok(())
    }

    /// Writes the copy and builds its tests. Faults that do not compile are left out, and remembered for the next time.
    ///
    /// Returns the test programs, the faults that stand in them, and a digest of what was built.
    pub(crate) fn build(&self, faults: &Faults) -> Result<(Vec<Program>, BTreeSet<u32>, String), String> {
        let memory = self.folder.join("refused");
        let known: BTreeSet<String> = read(&memory).unwrap_or_default().lines().map(str::to_owned).collect();
        let refusals = faults.mutants.iter().enumerate().filter(|(_, mutant)| known.contains(&mutant.key));
        let mut refused: BTreeSet<usize> = refusals.map(|(index, _)| index).collect();
        self.copy()?;
        let names = sources(&self.root)?;
        loop {
            let mut digest = Sha256::new();
            let mut places = BTreeMap::new();
            for name in names.iter().filter(|name| self.root.join(name).exists()) {
                let Some(file) = faults.files.get(name) else {
                    if CRATES.iter().any(|(folder, _)| name.starts_with(folder)) {
                        let bytes = std::fs::read(self.root.join(name)).map_err(|error| error.to_string())?;
                        put(&self.folder.join("tree").join(name), &bytes)?;
                        digest.update(&bytes);
                    }
                    continue;
                };
                let (mut text, at) = written(file, &refused);
                if CRATES.iter().any(|(_, top)| top == name) {
                    let count = (faults.mutants.len() + 1).to_string();
                    let chosen = self.chosen().display().to_string();
                    text.push_str(&GUARD.replace("@COUNT@", &count).replace("@CHOSEN@", &chosen));
                }
                digest.update(&text);
                put(&self.folder.join("tree").join(name), text.as_bytes())?;
                places.insert(name.as_str(), at);
            }
            match self.compile(faults, &places)? {
                Ok(programs) => {
                    let built = (0..faults.mutants.len()).filter(|index| !refused.contains(index));
                    let built = built.map(|index| faults.mutants[index].id).collect();
                    let digest =
                        digest.finalize().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
                    return Ok((programs, built, digest));
                }
                Err(more) => {
                    eprintln!("{} faults do not compile and are left out", refused.len() + more.len());
                    if more.iter().all(|index| refused.contains(index)) {
                        return Err("the project does not compile".to_owned());
                    }
                    refused.extend(more);
                    let keys: Vec<&str> = refused.iter().map(|index| faults.mutants[*index].key.as_str()).collect();
                    put(&memory, (keys.join("\n") + "\n").as_bytes())?;
                }
            }
        }
    }

    /// Test programs; or the faults at which the compiler stopped.
    fn compile(
        &self,
        faults: &Faults,
        places: &BTreeMap<&str, BTreeMap<usize, (usize, usize)>>,
    ) -> Result<Result<Vec<Program>, BTreeSet<usize>>, String> {
        let output = Command::new("cargo")
            .current_dir(self.folder.join("tree"))
            .env("CARGO_TARGET_DIR", self.folder.join("build"))
            .args(["build", "--workspace", "--exclude", "lyn-host-mutants", "--tests", "--bins", "--keep-going"])
            .args(["--locked", "--message-format=json"])
            .stderr(Stdio::null())
            .output()
            .map_err(|error| format!("cargo: {error}"))?;
        let messages = String::from_utf8_lossy(&output.stdout);
        let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut programs = vec![];
        let mut wrong = BTreeSet::new();
        let mut errors = String::new();
        for message in messages {
            let test = message["profile"]["test"] == true;
            if let (true, Some(path), Some(manifest)) =
                (test, message["executable"].as_str(), message["manifest_path"].as_str())
            {
                let folder = Path::new(manifest).parent().unwrap_or(Path::new("/")).to_owned();
                programs.push(Program { path: path.into(), folder });
            }
            let said = &message["message"];
            if said["level"] == "error" {
                let spans = said["spans"].as_array().into_iter().flatten();
                let children = said["children"].as_array().into_iter().flatten();
                let more = children.filter_map(|child| child["spans"].as_array()).flatten();
                let spans: Vec<&Value> = spans.chain(more).collect();
                let at = to_blame(faults, &spans, places);
                if at.is_empty() {
                    errors.push_str(said["rendered"].as_str().unwrap_or_default());
                }
                wrong.extend(at);
            }
        }
        match () {
            () if output.status.success() => Ok(Ok(programs)),
            () if wrong.is_empty() => Err(format!("the project does not compile with faults in it:\n{errors}")),
            () => Ok(Err(wrong)),
        }
    }
}

/// The faults at a compiler's error: the smallest around each of its places, else those within, else those some lines away.
fn to_blame(
    faults: &Faults,
    spans: &[&Value],
    places: &BTreeMap<&str, BTreeMap<usize, (usize, usize)>>,
) -> BTreeSet<usize> {
    let mut blamed = BTreeSet::new();
    let number =
        |span: &Value, name: &str| span[name].as_u64().and_then(|value| usize::try_from(value).ok()).unwrap_or(0);
    let known = |span: &&&Value| span["file_name"].as_str().is_some_and(|name| places.contains_key(name));
    let at = |span: &Value| places[span["file_name"].as_str().unwrap_or_default()].iter();
    for span in spans.iter().filter(known) {
        let (start, end) = (number(span, "byte_start"), number(span, "byte_end"));
        let around = at(span).filter(|(_, place)| place.0 <= start && end <= place.1);
        match around.min_by_key(|(_, place)| place.1 - place.0) {
            Some((index, _)) => drop(blamed.insert(*index)),
            None => {
                blamed.extend(at(span).filter(|(_, place)| start <= place.0 && place.1 <= end).map(|(index, _)| *index))
            }
        }
    }
    if blamed.is_empty() {
        const AWAY: usize = 6;
        for span in spans.iter().filter(known) {
            let lines = number(span, "line_start").saturating_sub(AWAY)..=number(span, "line_end") + AWAY;
            blamed.extend(
                at(span).map(|(index, _)| *index).filter(|index| lines.contains(&faults.mutants[*index].site.line)),
            );
        }
    }
    blamed
}

/// Writes a file unless it is so already: what is unchanged is not compiled again.
pub(crate) fn put(path: &Path, bytes: &[u8]) -> Result<(), String> {
    if std::fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(path);
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(path, bytes))
        .map_err(|error| format!("{}: {error}", path.display()))
}
