//! `lyn serve` as a process with a port: sockets that misbehave, signals, keys, what is in the log. What
//! needs no socket is tested in `src/server/tests.rs`.

mod compare;
mod log;
#[path = "../cli/replay.rs"]
mod replay;
mod roll_out;
mod scale_out;
mod upstream;

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// What nothing may exceed here, on a socket or in a process: what hangs fails its test.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until something is so.
#[track_caller]
fn wait_until(mut is_so: impl FnMut() -> bool, otherwise: impl Fn() -> String) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "after {PATIENCE:?}: {}", otherwise());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A running server; dropping it ends the process.
struct Server {
    child: Child,
    address: String,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Server {
    fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lyn"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LYN_") || name == "DEEPSEEK_API_KEY" {
                command.env_remove(name);
            }
        }
        command.env("NODEVICE_SELECT", "1").env("XDG_CONFIG_HOME", "/nonexistent");
        command.env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR")).env("LYN_LOG", "trace,wgpu_core=warn,naga=warn");
        command.envs(environment.iter().copied());
        command.args(["serve", "--port", "0", "--json", "--context", "512"]).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("lyn starts");
        let mut out = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let (told, first) = channel();
        std::thread::spawn(move || {
            let mut first = String::new();
            let _ = told.send(out.read_line(&mut first).map(|_| first));
        });
        let log = Arc::new(Mutex::new(String::new()));
        let (mut err, kept) = (BufReader::new(child.stderr.take().expect("stderr is piped")), Arc::clone(&log));
        let reader = std::thread::spawn(move || {
            let mut line = vec![];
            while err.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                kept.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        let mut server = Server { child, address: String::new(), log, reader: Some(reader) };
        let first = first.recv_timeout(PATIENCE).map(|line| line.expect("lyn says where it is"));
        let said: Option<Value> = first.ok().and_then(|line| serde_json::from_str(&line).ok());
        let said = said.unwrap_or_else(|| panic!("lyn does not say where it is: {}", server.log.lock().unwrap()));
        server.address = said["url"].as_str().unwrap().trim_start_matches("http://").to_owned();
        server
    }

    /// A server that has its model.
    fn ready(arguments: &[&str], environment: &[(&str, &str)]) -> Server {
        let server = Server::start(arguments, environment);
        server.wait_until_healthy();
        server
    }

    fn wait_until_healthy(&self) {
        wait_until(|| self.get("/health").0 == 200, || format!("not healthy: {}", self.log.lock().unwrap()));
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("the server accepts");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// What comes back for these bytes, until the server closes.
    fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // A server that has refused already may not take the rest.
        let _ = stream.write_all(bytes);
        rest(&mut stream)
    }

    fn get(&self, path: &str) -> (u16, String) {
        status_and_body(
            &self.raw(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes()),
        )
    }

    fn post(&self, headers: &str, body: &str) -> (u16, String) {
        status_and_body(&self.raw(post(headers, body).as_bytes()))
    }

    /// The normal request that must succeed after every trouble.
    fn expect_service(&self) {
        let (status, body) = self.post("", &chat(json!({ "max_tokens": 2 })));
        assert_eq!(status, 200, "{body}");
    }

    #[cfg(unix)]
    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(sent.expect("kill is there").success());
    }

    /// The exit code, once it ends.
    fn exit(&mut self) -> (Option<i32>, String) {
        let code = exit_code(&mut self.child, || self.log.lock().unwrap().clone());
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        (code, self.log.lock().unwrap().clone())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The exit code of a process, once it ends.
#[track_caller]
fn exit_code(child: &mut Child, otherwise: impl Fn() -> String) -> Option<i32> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return status.code();
        }
        if began.elapsed() > PATIENCE {
            let _ = child.kill();
            panic!("after {PATIENCE:?} it goes on: {}", otherwise());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// All that comes until the end; a connection that is reset has ended too.
fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = vec![];
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error} after {}", String::from_utf8_lossy(&bytes)),
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn status_and_body(answer: &str) -> (u16, String) {
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status, body.to_owned())
}

fn post(headers: &str, body: &str) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// An object with these fields too.
fn with(mut body: Value, fields: Value) -> Value {
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

fn chat(fields: Value) -> String {
    let body = json!({
        "model": "deepseek-chat", "temperature": 0, "messages": [{ "role": "user", "content": "Tell me about a dog" }],
    });
    with(body, fields).to_string()
}

/// A stream that goes on for a while, with its first event read.
fn begin_stream(server: &Server) -> BufReader<TcpStream> {
    let body = chat(json!({ "stream": true, "max_tokens": 480, "logit_bias": { "1": -100 } }));
    let mut stream = server.connect();
    stream.write_all(post("", &body).as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while !line.starts_with("data: ") {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0, "the stream begins");
    }
    reader
}

/// All on one server: after each the next client is served.
#[test]
fn sockets_that_misbehave() {
    let server = Server::ready(&["--max-body", "100000"], &[]);
    // A slow head and an idle connection take their time beside the others.
    let (mut slow, mut idle) = (server.connect(), server.connect());
    let began = Instant::now();
    slow.write_all(b"GET /health HTTP/1.1\r\nHo").unwrap();

    let head = |lines: &str| format!("GET /health HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n");
    let many: String = (0..101).map(|index| format!("X-{index}: 1\r\n")).collect();
    assert_eq!(status_and_body(&server.raw(head(&many).as_bytes())).0, 431);
    let long = format!("X-Long: {}\r\n", "x".repeat(64 << 10));
    assert_eq!(status_and_body(&server.raw(head(&long).as_bytes())).0, 431);
    let fits = format!("Authorization: Bearer {}\r\nConnection: close\r\n", "x".repeat(40_000));
    assert_eq!(status_and_body(&server.raw(head(&fits).as_bytes())).0, 200);
    let target = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(16 << 10));
    assert_eq!(status_and_body(&server.raw(target.as_bytes())).0, 414);
    server.expect_service();

    // A body that is too long, said at once, said piece by piece, or not said.
    let large = chat(json!({ "user": "x".repeat(200_000) }));
    assert_eq!(server.post("", &large).0, 413);
    let mut chunked =
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
    for piece in large.as_bytes().chunks(50_000) {
        chunked += &format!("{:x}\r\n{}\r\n", piece.len(), String::from_utf8_lossy(piece));
    }
    assert_eq!(status_and_body(&server.raw((chunked + "0\r\n\r\n").as_bytes())).0, 413);
    let mut cut = server.connect();
    cut.write_all(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\n{\"messages\"")
        .unwrap();
    cut.shutdown(Shutdown::Write).unwrap();
    let answer = rest(&mut cut);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    server.expect_service();

    // What is no request.
    assert_eq!(server.post("", "{\"messages\": [").0, 400);
    assert_eq!(server.post("", &"[".repeat(10_000)).0, 400);
    let keys: String = (0..9000).map(|index| format!("\"k{index}\":1,")).collect();
    assert_eq!(server.post("", &format!("{{{keys}\"model\":\"deepseek-chat\"}}")).0, 400);

    // One request never becomes two.
    for smuggled in [
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nContent-Length: 40\r\n\r\nabcdGET /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: localhost\r\n X-Folded: 1\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost : localhost\r\n\r\n",
        "GET /health HTTP/1.1\nHost: localhost\nConnection: close\n\n",
        "GET /health HTTP/1.1\r\nHost: localhost\nX: 1\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: localhost\rX: 1\r\n\r\n",
        "POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /tokenize HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\n{}\n0\n\n",
    ] {
        let answer = server.raw(smuggled.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 400"), "{smuggled}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    }
    let both = "POST /tokenize HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let answer = server.raw(both.as_bytes());
    assert!(answer.matches("HTTP/1.1").count() <= 1 && !answer.contains("lyn_requests_total"), "{answer}");
    let mut two = server.connect();
    let next = "GET /version HTTP/1.1\r\nHost: localhost\r\n";
    two.write_all(format!("{next}\r\n{next}Connection: close\r\n\r\n").as_bytes()).unwrap();
    assert_eq!(rest(&mut two).matches("HTTP/1.1 200").count(), 2);

    // Connections that come and go.
    for _ in 0..1000 {
        drop(TcpStream::connect(&server.address).unwrap());
    }
    server.expect_service();

    // The client leaves in the middle of a stream, and of a wait.
    let figure = |name: &str| {
        let text = server.get("/metrics").1;
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0").trim().to_owned();
        line.parse::<f64>().unwrap()
    };
    let running = |count: f64| {
        wait_until(|| figure("lyn_requests_running ") == count, || format!("expected {count} answers at work"));
    };
    drop(begin_stream(&server));
    running(0.0);
    let mut leaving = server.connect();
    leaving.write_all(post("", &chat(json!({ "max_tokens": 480, "logit_bias": { "1": -100 } }))).as_bytes()).unwrap();
    running(1.0);
    drop(leaving);
    let left = Instant::now();
    running(0.0);
    assert!(left.elapsed() < Duration::from_secs(10), "an answer goes on for nobody");
    assert!(figure("lyn_aborted_total{reason=\"client_gone\"} ") >= 2.0);

    // A head has its time from its first byte on, and a connection may be idle for longer.
    let _ = rest(&mut slow);
    idle.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    assert!(idle.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "an idle connection ended");
    idle.set_read_timeout(Some(PATIENCE)).unwrap();
    let left = Duration::from_secs(12).saturating_sub(began.elapsed());
    std::thread::sleep(left);
    let health = "GET /health HTTP/1.1\r\nHost: localhost\r\n";
    idle.write_all(format!("{health}\r\n").as_bytes()).unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    std::thread::sleep(Duration::from_secs(11));
    idle.write_all(format!("{health}Connection: close\r\n\r\n").as_bytes()).unwrap();
    assert!(rest(&mut idle).contains("HTTP/1.1 200"), "closed while it was idle");
    server.expect_service();
}

#[cfg(unix)]
#[test]
fn a_signal_lets_streams_end() {
    let mut server = Server::ready(&["--drain-seconds", "1"], &[]);
    let mut stream = begin_stream(&server);
    server.signal("TERM");
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    let whole = rest.contains("\"finish_reason\":\"length\"") || rest.contains("insufficient_system_resource");
    assert!(whole && rest.contains("data: [DONE]"), "{rest}");
    let (code, log) = server.exit();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn while_the_model_is_loaded_clients_are_told_to_wait() {
    let server = Server::start(&[], &[]);
    let (status, body) = server.post("", &chat(json!({ "max_tokens": 1 })));
    // A fast machine may have loaded it already.
    assert!(status == 200 || (status == 503 && body.contains("being loaded")), "{status} {body}");
    server.wait_until_healthy();
    server.expect_service();
}

/// Nothing that was asked, answered or used as a key is in the log, at its most talkative.
#[cfg(unix)]
#[test]
fn the_log_holds_no_prompt_no_answer_and_no_key() {
    let canary = "zebracanary";
    let key = "secretkeycanary-0123456789";
    let mut server = Server::ready(&[], &[("LYN_API_KEY", key)]);
    let auth = format!("Authorization: Bearer {key}\r\n");
    let asked = |fields: Value| {
        let text = format!("Tell me about {canary}");
        chat(with(json!({ "user": canary, "messages": [{ "role": "user", "content": text }] }), fields))
    };
    let (status, answer) = server.post(&auth, &asked(json!({ "max_tokens": 24 })));
    assert_eq!(status, 200, "{answer}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let said = answer["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
    for body in [
        asked(json!({ "max_tokens": 2, "stream": true })),
        asked(json!({ "temperature": 9 })),
        asked(json!({ "stop": [canary], "max_tokens": 3 })),
        asked(json!({ "messages": [{ "role": canary, "content": canary }] })),
        asked(json!({ "messages": canary })),
        asked(json!({ "max_tokens": canary })),
    ] {
        server.post(&auth, &body);
    }
    server.post(&auth, &format!("{{\"messages\": \"{canary}"));
    server.post(&format!("Authorization: Bearer {canary}-wrong-key\r\n"), "{}");
    server.post("X-Request-Id: my-own-id\r\n", "{}");
    let metrics =
        server.raw(format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{auth}\r\n").as_bytes());
    assert!(metrics.contains("lyn_requests_total") && !metrics.contains(canary), "{metrics}");
    server.signal("INT");
    let (code, log) = server.exit();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("my-own-id") && log.contains("answered"), "requests are logged: {log}");
    for secret in [canary, "secretkeycanary", said.trim()] {
        assert!(secret.is_empty() || !log.contains(secret), "{secret:?} is in the log: {log}");
    }
}

#[test]
fn what_cannot_be_served_is_said_before_it_is_tried() {
    let fails = |arguments: &[&str], code: i32, says: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lyn"));
        command.env_remove("LYN_API_KEY").env_remove("DEEPSEEK_API_KEY").env("XDG_CONFIG_HOME", "/nonexistent");
        command.arg("serve").args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("lyn starts");
        let ended = exit_code(&mut child, || format!("lyn serve {arguments:?}"));
        let mut err = String::new();
        child.stderr.take().expect("stderr is piped").read_to_string(&mut err).expect("errors are UTF-8");
        assert_eq!(ended, Some(code), "{err}");
        assert!(err.contains(says), "{err}");
    };
    fails(&["--host", "0.0.0.0", "--port", "0"], 2, "no API key is set");
    fails(&["--model", "/nonexistent/model", "--port", "0"], 3, "error[model_not_found]");
    fails(&["--page", "/nonexistent", "--port", "0"], 2, "index.html");
    fails(&["--api-key-file", "/nonexistent/keys", "--port", "0"], 6, "error[io]");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    fails(&["--port", &port], 6, "--port 0");
}

/// What one process has read another finds on disk, if every byte is as it was.
#[cfg(unix)]
#[test]
fn blocks_survive_a_restart_and_broken_ones_are_read_anew() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("blocks-{}", std::process::id()));
    let words = "Once there was a little dog who liked to run and play in the park. ".repeat(12);
    let body = chat(json!({ "messages": [{ "role": "user", "content": words }], "max_tokens": 12 }));
    let ask = || {
        let mut server = Server::ready(&["--cache-dir", folder.to_str().unwrap()], &[]);
        let (status, answer) = server.post("", &body);
        assert_eq!(status, 200, "{answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let metrics = server.get("/metrics").1;
        server.signal("TERM");
        assert_eq!(server.exit().0, Some(0));
        let text = answer["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
        (text, answer["usage"]["prompt_cache_hit_tokens"].as_u64().unwrap(), metrics)
    };
    let (text, hits, metrics) = ask();
    assert_eq!(hits, 0);
    assert!(metrics.contains("lyn_disk_blocks "), "{metrics}");
    let (again, hits, _) = ask();
    assert!(hits >= 128 && hits % 64 == 0, "{hits} tokens were found");
    assert_eq!(again, text);
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        if let Some(byte) = bytes.last_mut() {
            *byte ^= 1;
            std::fs::write(&path, bytes).unwrap();
        }
    }
    let (broken, hits, _) = ask();
    assert_eq!((broken, hits), (text, 0), "a doubt is a miss");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_gguf_file_is_served() {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/golden/n_gguf_q8_0/model-Q8_0.gguf");
    let server = Server::ready(&["-m", model], &[]);
    let (status, body) = server.post("", &chat(json!({ "max_tokens": 2 })));
    assert!(status == 200 && body.contains("finish_reason"), "{status} {body}");
    let (_, models) = server.get("/v1/models");
    assert!(models.contains("\"model-Q8_0\""), "{models}");
}
