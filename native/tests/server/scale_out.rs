//! Two servers behind nginx, with the configuration of the documents. Oracle: a second turn finds the first in the cache, which
//! it does only on the server that made it.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::{PATIENCE, Server, chat, post, rest, status_and_body, wait_until};

/// nginx with a folder of its own; dropping it ends it.
struct Nginx {
    child: Child,
    port: u16,
    log: PathBuf,
}

impl Nginx {
    fn start(replicas: [&Server; 2]) -> Nginx {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("nginx");
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let port = {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            free.local_addr().unwrap().port()
        };
        let [first, second] = replicas.map(|replica| replica.address.clone());
        let documented = include_str!("../../../docs/scale-out/nginx.conf");
        let config = documented.replace("127.0.0.1:8081", &first).replace("127.0.0.1:8082", &second);
        let config = config.replace("listen 127.0.0.1:8080", &format!("listen 127.0.0.1:{port}"));
        std::fs::write(folder.join("nginx.conf"), config).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-p").arg(&folder).arg("-c").arg(folder.join("nginx.conf"));
        command.args(["-e", "stderr", "-g", "daemon off; master_process off;"]).stdin(Stdio::null());
        let child = command.spawn().expect("nginx is missing: ./setup --tests installs it");
        let nginx = Nginx { child, port, log: folder.join("access.log") };
        let listens = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        wait_until(listens, || "nginx does not listen".to_owned());
        nginx
    }

    fn ask(&self, key: &str, body: &str) -> Value {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = post(&format!("Authorization: Bearer {key}\r\n"), body);
        std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
        let (status, body) = status_and_body(&rest(&mut stream));
        assert_eq!(status, 200, "{body}");
        // The body may come in chunks: the JSON is the line that holds it.
        let json = body.lines().find(|line| line.starts_with('{')).unwrap_or_default();
        serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {body}"))
    }

    /// The servers that answered, once so many answers are in the log.
    fn servers(&self, answers: usize) -> Vec<String> {
        let log = || std::fs::read_to_string(&self.log).unwrap_or_default();
        wait_until(|| log().lines().count() >= answers, log);
        log().lines().filter_map(|line| Some(line.split(' ').next()?.to_owned())).collect()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_client_stays_with_the_server_that_knows_its_conversation() {
    let replicas = [Server::ready(&["--no-page"], &[]), Server::ready(&["--no-page"], &[])];
    let nginx = Nginx::start([&replicas[0], &replicas[1]]);
    let hits = |answer: &Value| answer["usage"]["prompt_cache_hit_tokens"].as_u64().unwrap();
    let mut seen = std::collections::BTreeSet::new();
    // Each client has its own conversation. Which server it meets depends on ports: go on until both have been met.
    for client in 0..64 {
        let key = format!("client-{client}");
        // Longer than a page of the cache.
        let story = format!("Story {client}. {}", "A dog and a cat went to the park. ".repeat(12));
        let body = chat(json!({ "max_tokens": 2, "messages": [{ "role": "user", "content": story }] }));
        let (first, second) = (nginx.ask(&key, &body), nginx.ask(&key, &body));
        assert!(hits(&first) < 64 && hits(&second) >= 64, "{first}\n{second}");
        let servers = nginx.servers(2 * (client + 1));
        let both = &servers[2 * client..];
        assert_eq!(both[0], both[1], "client {client}");
        seen.insert(both[0].clone());
        if seen.len() == 2 {
            return;
        }
    }
    panic!("all clients met {seen:?}");
}
