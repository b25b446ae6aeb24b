//! A conversation with the Hub, for callers without a runtime of their own: lists, headers, files. A stop ends each of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use lyn::checkpoint::Source;
use lyn::error::{Code, Error, Result};
use tokio::runtime::{Builder, Runtime};

use super::cache::Repository;
use super::client::HubClient;
use super::download::{Arrived, Download, check_room};
use super::listing::{self, Listing, RemoteFile};
use super::name::HubName;
use super::refusal::Subject;
use super::source::HubSource;
use super::surroundings::Surroundings;
use crate::interrupt::Interrupt;
use crate::terminal::progress::Unit;
use crate::terminal::{StageProgress, Terminal};
use crate::text::io_error;

/// Files that come at the same time.
const AT_ONCE: usize = 4;
/// Between two looks at what has come, and whether to stop.
const LOOK: Duration = Duration::from_millis(100);
/// Tells tools for backups that the folder need not be kept: the text that `huggingface_hub` writes.
const TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
    # This file is a cache directory tag created by huggingface_hub.\n\
    # For information about cache directory tags, see:\n\
    #\thttps://bford.info/cachedir/\n";

/// What watches over work: shows how far it is, and says when to stop.
#[derive(Clone, Copy)]
pub(crate) struct Watch<'a> {
    pub(crate) terminal: &'a Terminal,
    pub(crate) interrupt: &'a Interrupt,
}

/// A connection to the Hub, and the cache.
pub(crate) struct Session {
    runtime: Runtime,
    client: Arc<HubClient>,
    cache: PathBuf,
}

impl Session {
    /// Opens no connection yet. Errors: `network` where everything is to stay offline, or there are no certificates.
    pub(crate) fn new(surroundings: &Surroundings) -> Result<Session> {
        let client = Arc::new(HubClient::new(surroundings)?);
        let runtime =
            Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(|error| {
                Error::new(Code::Internal, format!("the connection runtime did not start: {error}"))
            })?;
        Ok(Session { runtime, client, cache: surroundings.cache.clone() })
    }

    /// Host and port of the server, as people are told.
    pub(crate) fn host(&self) -> &str {
        self.client.endpoint().shown()
    }

    /// The files of a repository. Errors: `network`, `unauthorized`, `model_not_found`; `cancelled`.
    pub(crate) fn list(&self, name: &HubName, watch: Watch<'_>) -> Result<Listing> {
        self.watched(watch, || {}, listing::read(&self.client, name))
    }

    /// The headers of a model in a repository: the GGUF file at a path, or safetensors.
    pub(crate) fn source(&self, name: &HubName, listing: &Listing, gguf: Option<&str>) -> Arc<dyn Source> {
        let (runtime, client) = (self.runtime.handle().clone(), Arc::clone(&self.client));
        Arc::new(HubSource::new(runtime, client, name, listing, gguf))
    }

    /// Errors: `io` where the disk of the cache has not enough room for what is still to come.
    pub(crate) fn check_room(&self, name: &HubName, files: &[RemoteFile]) -> Result<()> {
        let repository = Repository::new(&self.cache, name);
        let missing = |file: &RemoteFile| file.size.saturating_sub(here(&repository, file));
        check_room(&self.cache, files.iter().map(missing).fold(0, u64::saturating_add))
    }

    /// Brings files of a commit into the cache, several at once, and returns the bytes that came over the network. Errors: as
    /// [`Download::run`]; `cancelled`.
    pub(crate) fn fetch(
        &self,
        name: &HubName,
        listing: &Listing,
        files: &[RemoteFile],
        watch: Watch<'_>,
    ) -> Result<u64> {
        let repository = Repository::new(&self.cache, name);
        for folder in [&repository.folder.join("blobs"), &repository.locks, &repository.snapshot(&listing.commit)] {
            fs::create_dir_all(folder).map_err(|error| io_error(folder, &error))?;
        }
        let tag = self.cache.join("CACHEDIR.TAG");
        if !tag.exists() {
            // It matters to nobody but backups.
            let _ = fs::write(tag, TAG);
        }
        let total = files.iter().map(|file| file.size).fold(0, u64::saturating_add);
        let (shown, page) = (name.with_wanted(None).to_string(), self.client.endpoint().page(name.repository()));
        let progress = Arrived::default();
        let one = async |file: &RemoteFile| -> Result<()> {
            let uri = self.client.endpoint().file(name.repository(), &listing.commit, &file.path)?;
            let asked =
                Subject { name: &shown, page: &page, file: Some(&file.path), has_token: self.client.has_token() };
            let download =
                Download { client: &self.client, repository: &repository, file, uri, asked, progress: &progress };
            download.run().await?;
            let linked = repository.link(&listing.commit, &file.path, &file.digest);
            linked.map_err(|error| io_error(&repository.snapshot(&listing.commit).join(&file.path), &error))
        };
        let all = stream::iter(files).map(one).buffer_unordered(AT_ONCE).try_collect::<()>();
        let mut shown = StageProgress::new(watch.terminal, "downloading", Unit::Download);
        let mut waits = false;
        let tick = || {
            shown.update(progress.done.load(Ordering::Relaxed), total);
            if progress.waiting.load(Ordering::Relaxed) > 0 && !std::mem::replace(&mut waits, true) {
                watch.terminal.note("another process is downloading this model; waiting for it");
            }
        };
        self.watched(watch, tick, all)?;
        Ok(progress.fetched.load(Ordering::Relaxed))
    }

    /// Makes a commit, all of whose wanted files are there, the one that the name's revision stands for, and returns its folder.
    pub(crate) fn settle(&self, name: &HubName, listing: &Listing) -> Result<PathBuf> {
        let repository = Repository::new(&self.cache, name);
        let referred = repository.refer(name.revision(), &listing.commit);
        referred.map_err(|error| io_error(&repository.folder.join("refs"), &error))?;
        Ok(repository.snapshot(&listing.commit))
    }

    fn watched<T>(&self, watch: Watch<'_>, mut tick: impl FnMut(), work: impl Future<Output = Result<T>>) -> Result<T> {
        let _working = watch.interrupt.work();
        self.runtime.block_on(async {
            let mut work = std::pin::pin!(work);
            loop {
                tokio::select! {
                    done = &mut work => return done,
                    () = tokio::time::sleep(LOOK) => tick(),
                }
                if watch.interrupt.asked() {
                    return Err(Error::new(Code::Cancelled, "stopped while downloading"));
                }
            }
        })
    }
}

/// Bytes of a file that are in the cache.
fn here(repository: &Repository, file: &RemoteFile) -> u64 {
    let length = |path: &Path| path.metadata().map_or(0, |found| found.len());
    length(&repository.blob(&file.digest)).max(length(&repository.incomplete(&file.digest))).min(file.size)
}
