//! A model on a server, read as if it were a folder: headers by range requests, never the weights.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use lyn::checkpoint::{BoxFuture, Source};
use lyn::error::{Class, Code, Error, Result};
use tokio::runtime::Handle;

use super::client::HubClient;
use super::listing::{Listing, RemoteFile};
use super::name::HubName;
use super::refusal::Subject;

/// Least bytes of a request: headers are read in small pieces.
const AHEAD: usize = 256 << 10;
/// Pieces that are kept, one of each file.
const KEPT: usize = 1024;

/// Files of one folder of a repository, by their plain names.
pub(super) struct HubSource {
    runtime: Handle,
    client: Arc<HubClient>,
    name: HubName,
    commit: String,
    files: HashMap<String, RemoteFile>,
    gguf: Option<String>,
    /// The latest piece of each file, with its place.
    pieces: Mutex<HashMap<String, (u64, Bytes)>>,
}

impl HubSource {
    /// The files beside `gguf`, of which it is the model; without one, those at the top.
    pub(super) fn new(
        runtime: Handle,
        client: Arc<HubClient>,
        name: &HubName,
        listing: &Listing,
        gguf: Option<&str>,
    ) -> HubSource {
        let folder =
            gguf.and_then(|path| path.rsplit_once('/')).map_or(String::new(), |(folder, _)| format!("{folder}/"));
        let inside = |file: &RemoteFile| {
            let plain = file.path.strip_prefix(&folder).filter(|plain| !plain.contains('/'))?;
            Some((plain.to_owned(), file.clone()))
        };
        HubSource {
            runtime,
            client,
            name: name.clone(),
            commit: listing.commit.clone(),
            files: listing.files.iter().filter_map(inside).collect(),
            gguf: gguf.map(|path| path.rsplit('/').next().unwrap_or(path).to_owned()),
            pieces: Mutex::default(),
        }
    }

    async fn fetch(&self, file: &str, offset: u64, length: usize) -> Result<Vec<u8>> {
        let remote = self.files.get(file).ok_or_else(|| Error::file(Class::Io, file, "no such file"))?;
        let end = offset.checked_add(length as u64).filter(|&end| end <= remote.size);
        if end.is_none() {
            let message = format!("expected {length} bytes at byte {offset}, found a file of {} bytes", remote.size);
            return Err(Error::file(Class::Len, file, message));
        }
        if length == 0 {
            return Ok(vec![]);
        }
        let kept = self.pieces.lock().unwrap_or_else(PoisonError::into_inner).get(file).cloned();
        let cut = |(place, piece): &(u64, Bytes)| {
            let start = usize::try_from(offset.checked_sub(*place)?).ok()?;
            piece.get(start..start.checked_add(length)?).map(<[u8]>::to_vec)
        };
        if let Some(bytes) = kept.as_ref().and_then(cut) {
            return Ok(bytes);
        }
        let ahead = usize::try_from(remote.size.saturating_sub(offset)).unwrap_or(AHEAD).min(AHEAD.max(length));
        let piece = (offset, self.ask(remote.clone(), offset, ahead).await?);
        let bytes = cut(&piece).ok_or_else(|| Error::new(Code::Internal, "a piece is shorter than was asked for"))?;
        let mut pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        if length <= AHEAD && (pieces.len() < KEPT || pieces.contains_key(file)) {
            pieces.insert(file.to_owned(), piece);
        }
        Ok(bytes)
    }

    /// On the runtime's own threads: whoever waits for a checkpoint waits without one.
    async fn ask(&self, file: RemoteFile, offset: u64, length: usize) -> Result<Bytes> {
        let (client, name, commit) = (Arc::clone(&self.client), self.name.with_wanted(None), self.commit.clone());
        let asking = self.runtime.spawn(async move {
            let (shown, page) = (name.to_string(), client.endpoint().page(name.repository()));
            let asked = Subject { name: &shown, page: &page, file: Some(&file.path), has_token: client.has_token() };
            let uri = client.endpoint().file(name.repository(), &commit, &file.path)?;
            client.range(&uri, offset, length, file.size, &asked).await
        });
        asking.await.map_err(|error| Error::new(Code::Internal, format!("a request: {error}")))?
    }
}

impl Source for HubSource {
    fn gguf(&self) -> Option<&str> {
        self.gguf.as_deref()
    }

    fn size<'a>(&'a self, file: &'a str) -> BoxFuture<'a, Result<Option<u64>>> {
        Box::pin(std::future::ready(Ok(self.files.get(file).map(|file| file.size))))
    }

    fn read<'a>(&'a self, file: &'a str, offset: u64, length: usize) -> BoxFuture<'a, Result<Vec<u8>>> {
        Box::pin(self.fetch(file, offset, length))
    }
}
