//! A server that says what a recording says: over a real socket, in pieces as small as a test likes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// `POST /v1/chat/completions`
    pub(crate) line: String,
    /// Header lines, names in lower case.
    pub(crate) headers: Vec<String>,
    /// The body.
    pub(crate) body: String,
}

impl Asked {
    /// The body as JSON; null where it is none.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// What is said to a request.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    piece: usize,
    hold: bool,
}

impl Said {
    /// A status and a body.
    pub(crate) fn new(status: u16, kind: &str, body: impl Into<Vec<u8>>) -> Said {
        let headers = vec![("content-type".to_owned(), kind.to_owned())];
        Said { status, headers, body: body.into(), piece: usize::MAX, hold: false }
    }

    /// A stream of events, byte by byte.
    pub(crate) fn stream(body: impl Into<Vec<u8>>) -> Said {
        Said { piece: 1, ..Said::new(200, "text/event-stream", body) }
    }

    /// One more header.
    pub(crate) fn with_header(mut self, name: &str, value: &str) -> Said {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Says no more after the body, and does not end: until the other side goes away.
    pub(crate) fn held(self) -> Said {
        Said { hold: true, ..self }
    }
}

/// The server. It lives as long as the test's process.
pub(crate) struct Replay {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    /// A message for each held connection that the other side has left.
    left: Mutex<Receiver<()>>,
}

impl Replay {
    /// Starts it: `answer` gets each request and how many there were before.
    pub(crate) fn start(answer: impl Fn(&Asked, usize) -> Said + Send + Sync + 'static) -> Replay {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("the listener has an address");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (known, answer) = (Arc::clone(&asked), Arc::new(answer));
        let (leaving, left) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (known, answer, leaving) = (Arc::clone(&known), Arc::clone(&answer), leaving.clone());
                // A client that goes away in the middle is part of many a test.
                std::thread::spawn(move || serve(&stream, &known, answer.as_ref(), &leaving).unwrap_or_default());
            }
        });
        Replay { address, asked, left: Mutex::new(left) }
    }

    /// A server that answers every request for a chat alike, and lists one model.
    pub(crate) fn chat(said: Said) -> Replay {
        Replay::start(move |asked, _| if asked.line.starts_with("GET") { models("replayed") } else { said.clone() })
    }

    /// `http://127.0.0.1:port`
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until the other side has left a held connection.
    pub(crate) fn wait_until_left(&self) {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.recv_timeout(Duration::from_secs(60)).expect("the other side leaves");
    }

    /// Every request so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The requests for a chat so far.
    pub(crate) fn chats(&self) -> Vec<Asked> {
        self.asked().into_iter().filter(|asked| asked.line.starts_with("POST")).collect()
    }
}

/// A list of one model, by nobody known.
pub(crate) fn models(owner: &str) -> Said {
    let list = serde_json::json!({ "object": "list", "data": [{ "id": "m", "object": "model", "owned_by": owner }] });
    Said::new(200, "application/json", list.to_string())
}

fn serve(
    stream: &TcpStream,
    known: &Mutex<Vec<Asked>>,
    answer: &dyn Fn(&Asked, usize) -> Said,
    leaving: &Sender<()>,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    let asked = read(&mut reader)?;
    let before = {
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        known.push(asked.clone());
        known.len() - 1
    };
    let said = answer(&asked, before);
    let mut head = format!("HTTP/1.1 {} Replayed\r\nconnection: close\r\n", said.status);
    for (name, value) in &said.headers {
        head += &format!("{name}: {value}\r\n");
    }
    let mut writer = stream;
    writer.write_all(format!("{head}\r\n").as_bytes())?;
    for piece in said.body.chunks(said.piece) {
        writer.write_all(piece)?;
    }
    if said.hold {
        // Returns when the other side closes, in order or not.
        let _ = reader.read_to_end(&mut Vec::new());
        let _ = leaving.send(());
    }
    Ok(())
}

fn read(reader: &mut BufReader<&TcpStream>) -> std::io::Result<Asked> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut headers = vec![];
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let header = header.trim_end();
        let Some((name, value)) = header.split_once(':') else { break };
        let name = name.to_ascii_lowercase();
        if name == "content-length" {
            length = value.trim().parse().unwrap_or(0);
        }
        headers.push(format!("{name}: {}", value.trim()));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let line = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    Ok(Asked { line, headers, body: String::from_utf8_lossy(&body).into_owned() })
}
