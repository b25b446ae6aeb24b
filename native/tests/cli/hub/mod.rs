//! Models from a Hub: a server of the test's own, with every fault of a network, and a cache that other tools read too.

mod faults;
mod hostile;
mod models;
mod server;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use self::server::{COMMIT, Hosted, Hub, NAME};
use super::{Run, command, ended, folder};

/// A cache of a test's own, and the server that it is filled from.
struct Place {
    hub: Hub,
    cache: PathBuf,
}

impl Place {
    fn new(test: &str, files: &[Hosted]) -> Place {
        Place { hub: Hub::new(files), cache: folder(&format!("hub-{test}")) }
    }

    fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = command(arguments);
        command.env("HF_ENDPOINT", self.hub.endpoint()).env("HF_HUB_CACHE", &self.cache).env("HF_HOME", "/nonexistent");
        command
    }

    fn run(&self, arguments: &[&str]) -> Run {
        ended(&mut self.command(arguments.iter().chain(&["--device", "cpu"])))
    }

    fn repository(&self) -> PathBuf {
        self.cache.join("models--org--tiny")
    }

    fn snapshot(&self) -> PathBuf {
        self.repository().join("snapshots").join(COMMIT)
    }

    fn blob(&self, file: &Hosted) -> PathBuf {
        self.repository().join("blobs").join(file.hash())
    }

    fn incomplete(&self, file: &Hosted) -> PathBuf {
        self.repository().join("blobs").join(format!("{}.incomplete", file.hash()))
    }

    /// Fails where a file is not whole under its name, or where something is left of its way there.
    #[track_caller]
    fn expect(&self, file: &Hosted) {
        assert_eq!(fs::read(self.snapshot().join(&file.path)).unwrap(), file.bytes);
        assert!(self.blob(file).is_file() && !self.incomplete(file).exists());
    }
}

/// Bytes that nothing is guessed from.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..count).map(|_| next()).collect()
}

/// One GGUF file of noise: what is downloaded is not looked into.
fn weights() -> Hosted {
    Hosted::large("tiny-Q8_0.gguf", &noise(300_000))
}

fn golden_gguf() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/golden/n_gguf_q8_0/model-Q8_0.gguf");
    fs::read(path).unwrap()
}
