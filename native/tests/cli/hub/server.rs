//! A Hub that a test holds in its hand: repositories of a few files, and every fault of a network.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The only repository.
pub(super) const NAME: &str = "org/tiny";
pub(super) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A file of the repository.
#[derive(Clone)]
pub(super) struct Hosted {
    pub(super) path: String,
    /// What is sent.
    pub(super) bytes: Vec<u8>,
    pub(super) is_large: bool,
    /// What is listed, where that is another size.
    pub(super) listed_size: Option<u64>,
    /// What is listed, where that is another hash.
    pub(super) listed_hash: Option<String>,
}

impl Hosted {
    pub(super) fn small(path: &str, bytes: &[u8]) -> Hosted {
        let (path, bytes) = (path.to_owned(), bytes.to_vec());
        Hosted { path, bytes, is_large: false, listed_size: None, listed_hash: None }
    }

    pub(super) fn large(path: &str, bytes: &[u8]) -> Hosted {
        Hosted { is_large: true, ..Hosted::small(path, bytes) }
    }

    /// The name of the blob.
    pub(super) fn hash(&self) -> String {
        if let Some(hash) = &self.listed_hash {
            return hash.clone();
        }
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        if self.is_large {
            return hex(&Sha256::digest(&self.bytes));
        }
        let mut hasher = Sha1::new();
        hasher.update(format!("blob {}\0", self.bytes.len()));
        hasher.update(&self.bytes);
        hex(&hasher.finalize())
    }

    fn entry(&self) -> serde_json::Value {
        let (hash, size) = (self.hash(), self.listed_size.unwrap_or(self.bytes.len() as u64));
        if self.is_large {
            let lfs = json!({ "oid": hash, "size": size, "pointerSize": 134 });
            json!({ "type": "file", "path": self.path, "size": size, "oid": "a".repeat(40), "lfs": lfs })
        } else {
            json!({ "type": "file", "path": self.path, "size": size, "oid": hash })
        }
    }
}

/// What goes wrong once, with the first request whose path contains a text.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// The connection ends after so many bytes of the body.
    Cut(usize),
    /// So many bytes of the body, and then nothing, for long.
    Stall(usize),
    /// The body comes in pieces, so slowly in all.
    Slow(Duration),
    /// Another status, with a header.
    Status(u16, &'static str, &'static str),
    /// Other bytes, with this entity tag.
    Other(Vec<u8>, &'static str),
    /// As `Other`, and the connection ends after so many bytes.
    OtherCut(Vec<u8>, &'static str, usize),
    /// The length that the head says.
    Length(usize),
    /// Bytes without end, and without a length.
    Endless,
    /// A whole answer of this text.
    Says(String),
}

/// A request that came.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
}

impl Heard {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What its threads share.
#[derive(Default)]
struct Shared {
    files: Mutex<Vec<Hosted>>,
    faults: Mutex<VecDeque<(&'static str, Fault)>>,
    heard: Mutex<Vec<Heard>>,
    /// Bytes of files that were sent.
    sent: AtomicU64,
    /// Large files are sent by this other server.
    store: Mutex<Option<String>>,
}

/// A server; its threads end with the test.
#[derive(Clone)]
pub(super) struct Hub {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
}

impl Hub {
    pub(super) fn new(files: &[Hosted]) -> Hub {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let hub = Hub { address: listener.local_addr().unwrap(), shared: Arc::default() };
        *hub.shared.files.lock().unwrap() = files.to_vec();
        let server = hub.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                // A client that leaves is no fault of the test.
                std::thread::spawn(move || drop(server.answer(stream)));
            }
        });
        hub
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Large files are sent by another server, as the Hub does.
    pub(super) fn store_at(&self, store: &Hub) {
        *self.shared.store.lock().unwrap() = Some(store.endpoint());
    }

    pub(super) fn fails(&self, path: &'static str, fault: Fault) {
        self.shared.faults.lock().unwrap().push_back((path, fault));
    }

    pub(super) fn forget_faults(&self) {
        self.shared.faults.lock().unwrap().clear();
    }

    pub(super) fn host(&self, files: &[Hosted]) {
        *self.shared.files.lock().unwrap() = files.to_vec();
    }

    /// Requests for paths that contain a text.
    pub(super) fn heard(&self, path: &str) -> Vec<Heard> {
        self.shared.heard.lock().unwrap().iter().filter(|heard| heard.path.contains(path)).cloned().collect()
    }

    /// Bytes of files that were sent.
    pub(super) fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::SeqCst)
    }

    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let first = lines.next().unwrap_or(Ok(String::new()))?;
        let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut headers = vec![];
        for line in lines {
            let line = line?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let heard = Heard { path: path.clone(), headers };
        self.shared.heard.lock().unwrap().push(heard.clone());
        let mut faults = self.shared.faults.lock().unwrap();
        let place = faults.iter().position(|(part, _)| path.contains(part));
        let fault = place.and_then(|place| faults.remove(place)).map(|(_, fault)| fault);
        drop(faults);
        match &fault {
            Some(Fault::Status(status, name, value)) => {
                let head = format!("HTTP/1.1 {status} No\r\n{name}: {value}\r\ncontent-length: 0\r\n");
                return end(&mut stream, &head, b"");
            }
            Some(Fault::Says(text)) => return whole(&mut stream, "application/json", text.as_bytes()),
            Some(Fault::Endless) => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n[")?;
                let piece = [b' '; 1 << 16];
                loop {
                    stream.write_all(&piece)?;
                }
            }
            _ => {}
        }
        if path.starts_with(&format!("/api/models/{NAME}/revision/")) {
            return whole(&mut stream, "application/json", json!({ "sha": COMMIT, "id": NAME }).to_string().as_bytes());
        }
        if path.starts_with(&format!("/api/models/{NAME}/tree/{COMMIT}")) {
            let entries: Vec<_> = self.shared.files.lock().unwrap().iter().map(Hosted::entry).collect();
            return whole(&mut stream, "application/json", json!(entries).to_string().as_bytes());
        }
        let files = self.shared.files.lock().unwrap().clone();
        let file = files.iter().find(|file| {
            path == format!("/{NAME}/resolve/{COMMIT}/{}", file.path) || path == format!("/store/{}", file.hash())
        });
        let Some(file) = file else {
            return end(&mut stream, "HTTP/1.1 404 No\r\nx-error-code: RepoNotFound\r\ncontent-length: 0\r\n", b"");
        };
        let store = self.shared.store.lock().unwrap().clone().filter(|_| file.is_large);
        if let Some(store) = store {
            let hash = file.hash();
            let head = format!(
                "HTTP/1.1 302 Found\r\nlocation: {store}/store/{hash}\r\nx-linked-etag: \"{hash}\"\r\nx-linked-size: {}\r\n\
                 content-length: 0\r\n",
                file.bytes.len()
            );
            return end(&mut stream, &head, b"");
        }
        self.send(&mut stream, file, &heard, fault)
    }

    /// A file, or the rest of it where that is asked for and it is still the same.
    fn send(&self, stream: &mut TcpStream, file: &Hosted, heard: &Heard, fault: Option<Fault>) -> std::io::Result<()> {
        let (bytes, tag) = match &fault {
            Some(Fault::Other(bytes, tag) | Fault::OtherCut(bytes, tag, _)) => (bytes.clone(), (*tag).to_owned()),
            _ => (file.bytes.clone(), file.hash()),
        };
        let tag = format!("\"{tag}\"");
        let range = heard.header("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
        let range = range.filter(|_| heard.header("if-range").is_none_or(|known| known == tag));
        let (first, last) = range.map_or((0, bytes.len()), |(first, last)| {
            (first.parse().unwrap(), last.parse().map_or(bytes.len(), |last: usize| last + 1))
        });
        let body = &bytes[first..last.min(bytes.len())];
        let length = if let Some(Fault::Length(length)) = fault { length } else { body.len() };
        let mut head = format!("HTTP/1.1 {}\r\netag: {tag}\r\n", if range.is_some() { "206 Part" } else { "200 OK" });
        if range.is_some() {
            let size = file.listed_size.unwrap_or(bytes.len() as u64);
            head += &format!("content-range: bytes {first}-{}/{size}\r\n", last - 1);
        }
        write!(stream, "{head}content-length: {length}\r\nconnection: close\r\n\r\n")?;
        let mut put = |piece: &[u8]| {
            self.shared.sent.fetch_add(piece.len() as u64, Ordering::SeqCst);
            stream.write_all(piece)
        };
        match fault {
            Some(Fault::Cut(count) | Fault::OtherCut(_, _, count)) => put(&body[..count]),
            Some(Fault::Stall(count)) => {
                put(&body[..count])?;
                std::thread::sleep(Duration::from_secs(60));
                Ok(())
            }
            Some(Fault::Slow(time)) => {
                let pieces = 8;
                for piece in body.chunks(body.len().div_ceil(pieces)) {
                    put(piece)?;
                    std::thread::sleep(time / 8);
                }
                Ok(())
            }
            _ => put(body),
        }
    }
}

fn whole(stream: &mut TcpStream, kind: &str, body: &[u8]) -> std::io::Result<()> {
    end(stream, &format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n", body.len()), body)
}

fn end(stream: &mut TcpStream, head: &str, body: &[u8]) -> std::io::Result<()> {
    stream.write_all(format!("{head}connection: close\r\n\r\n").as_bytes())?;
    stream.write_all(body)
}
