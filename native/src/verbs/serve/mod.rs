//! The server: sets it up, says where it is, and waits for its end.

mod args;

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lyn::checkpoint::gguf_part;
use lyn::error::{Code, Error, Result, escape, quote};
use lyn::memory::bytes;
use lyn::wire::openai::ModelIds;
use lyn::{Engine, Options};
use serde_json::json;
use tokio::net::TcpListener;

use self::args::AccessArgs;
pub(crate) use self::args::ServeArgs;
use super::refuse;
use crate::block_store::{BlockStore, StoreLimits};
use crate::flags::VERSION;
use crate::model::Digested;
use crate::server::floor::AnswerLimits;
use crate::server::guard::{Guard, GuardRules, digest};
use crate::server::loaded::ServedModel;
use crate::server::metrics::Metrics;
use crate::server::page::Page;
use crate::server::worker::{Load, Worker};
use crate::server::{Server, ServerSettings, connection};
use crate::terminal::streams::plain_json;
use crate::terminal::table::count;
use crate::text::quoted;
use crate::upstream::route::{RouteOptions, Routes};
use crate::{App, Ended, load, text};

/// Variables that hold a key.
const KEY_VARIABLES: [&str; 2] = ["LYN_API_KEY", "DEEPSEEK_API_KEY"];
/// A longer file holds something else than keys.
const MAX_KEY_FILE_BYTES: u64 = 1 << 20;
/// How often a signal is looked for.
const TICK: Duration = Duration::from_millis(50);
/// For blocks that wait to be written, at the end.
const FLUSH: Duration = Duration::from_secs(5);
/// How often histograms are emptied.
const TIDY: Duration = Duration::from_secs(5);

/// Runs the verb, until a signal ends it.
pub(crate) fn run(app: &App, options: &ServeArgs) -> Ended {
    // Signals end the server in order; only when it is ending does one more end the process at once.
    let working = app.interrupt.work();
    let keys = keys(&options.access)?;
    let public = !options.host.is_loopback();
    if public && keys.is_empty() && !options.access.no_auth {
        let message = format!("--host {} is reachable from other machines, and no API key is set", options.host);
        return Err(refuse(message).with_help("set LYN_API_KEY or --api-key-file, or allow everyone with --no-auth"));
    }
    // What is wrong with the name of a model is said before anyone connects.
    crate::model::source(&options.engine.model)?;
    let page = page(options)?;
    let routes = routes(app, options)?;
    quiet_panics();
    no_core_dumps();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Error::new(Code::Internal, format!("threads: {error}")))?;
    let listener = runtime.block_on(listen(options.host, options.port))?;
    let address = listener.local_addr().map_err(|error| Error::new(Code::Io, error.to_string()))?;

    let metrics = Arc::new(Metrics::new());
    let seconds = |seconds: u32| (seconds > 0).then(|| Duration::from_secs(seconds.into()));
    let limits =
        AnswerLimits { queue: seconds(options.load.queue_timeout), total: seconds(options.load.request_timeout) };
    let guard = Guard::new(GuardRules {
        keys: keys.clone(),
        origins: options.access.cors_origin.clone(),
        hosts: options.access.allowed_host.clone(),
        public,
        max_body: options.load.max_body.into(),
    });
    let settings = ServerSettings {
        models: ModelIds {
            loaded: model_name(&options.engine.model),
            aliases: options.alias.clone(),
            accept_any: options.accept_any_model,
        },
        compat: options.compat.into(),
        parallel: options.load.parallel.into(),
        max_queue: options.load.max_queue.into(),
        max_queue_per_key: options.load.max_queue_per_key.into(),
        log_prompts: options.log_prompts,
        routes,
    };
    say_where(app, options, address, page.is_some(), !keys.is_empty());
    let kept = Arc::new(Kept::new());
    let (worker, thread) =
        Worker::start(loader(app, options, address, Arc::clone(&kept)), limits, Arc::clone(&metrics))?;
    let server = Server::new(settings, worker, metrics, guard, page);

    let asked = async {
        while !app.interrupt.asked() {
            tokio::time::sleep(TICK).await;
        }
        app.terminal.note("note: shutting down; running answers may finish");
        drop(working);
    };
    let drain = Duration::from_secs(options.load.drain_seconds.into());
    let ended = runtime.block_on(async {
        let tidying = async {
            loop {
                tokio::time::sleep(TIDY).await;
                server.tidy();
            }
        };
        tokio::select! {
            ended = connection::serve(listener, &server, drain, asked) => ended,
            () = tidying => Ok(()),
        }
    });
    runtime.shutdown_background();
    // Loading stops by itself after a signal, and a step ends soon.
    let _ = thread.join();
    if let Some((_, store)) = kept.get() {
        store.flush(FLUSH);
    }
    match ended {
        Err(error) if error.code() != Code::Cancelled => Err(error),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// What other engines answer. Says where prompts go.
fn routes(app: &App, options: &ServeArgs) -> Result<Routes> {
    let routes = Routes::new(&RouteOptions {
        upstream: options.upstream.upstream.as_deref(),
        routes: &options.routes.route,
        fallback: options.routes.fallback.as_deref(),
        profile: options.upstream.access.upstream_profile,
        key_file: options.upstream.access.upstream_key_file.as_deref(),
    })?;
    for text in routes.upstreams().iter().filter_map(|upstream| upstream.privacy()) {
        app.terminal.warn("upstream", &text);
    }
    Ok(routes)
}

/// Digests of all keys: one a line in the file, one in each variable.
fn keys(access: &AccessArgs) -> Result<Vec<[u8; 32]>> {
    let mut keys = vec![];
    if let Some(path) = &access.api_key_file {
        let shown = quoted(path);
        let size = path.metadata().map_err(|error| text::io_error(path, &error))?.len();
        if size > MAX_KEY_FILE_BYTES {
            return Err(refuse(format!("{shown}: {} is too large for a key file", bytes(size))));
        }
        let text = text::of_file(path)?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        keys.extend(lines.map(|key| digest(key.as_bytes())));
        if keys.is_empty() {
            return Err(refuse(format!("{shown}: expected one key per line, found none")));
        }
    }
    let set = KEY_VARIABLES.iter().filter_map(|name| std::env::var(name).ok());
    keys.extend(set.map(|key| key.trim().to_owned()).filter(|key| !key.is_empty()).map(|key| digest(key.as_bytes())));
    keys.dedup();
    Ok(keys)
}

/// The page that is wanted, or that lies where the repository builds it.
fn page(options: &ServeArgs) -> Result<Option<Page>> {
    if options.no_page {
        return Ok(None);
    }
    if let Some(folder) = &options.page {
        let missing = || {
            let message = format!("--page {}: no index.html found", quoted(folder));
            refuse(message).with_help("build the page with web/build, then give web/dist")
        };
        return Page::open(folder).map(Some).ok_or_else(missing);
    }
    if let Some(page) = Page::embedded() {
        return Ok(Some(page));
    }
    let program = std::env::current_exe().ok();
    Ok(program.as_deref().and_then(built_page).and_then(|folder| Page::open(&folder)))
}

/// `web/dist` beside the `target` that a program was built into.
fn built_page(program: &Path) -> Option<PathBuf> {
    let target = program.ancestors().find(|folder| folder.file_name().is_some_and(|name| name == "target"))?;
    Some(target.parent()?.join("web/dist"))
}

/// The name of a model, as clients see it: no more of a path than its last part; of a GGUF file its own, without the part's number.
fn model_name(path: &Path) -> String {
    if let Some(file) = path.file_name().and_then(|name| name.to_str())
        && let Some(name) = file.strip_suffix(".gguf")
    {
        return gguf_part(file).map_or(name, |(whole, _)| whole).to_owned();
    }
    let name = if path.is_file() { path.parent().and_then(Path::file_name) } else { path.file_name() };
    name.map_or_else(|| path.to_string_lossy().into_owned(), |name| name.to_string_lossy().into_owned())
}

async fn listen(host: IpAddr, port: u16) -> Result<TcpListener> {
    let address = SocketAddr::new(host, port);
    TcpListener::bind(address).await.map_err(|error| {
        let (message, help) = match error.kind() {
            ErrorKind::AddrInUse => {
                let who = owner(port).map_or(String::new(), |who| format!(" by {}", quote(&who)));
                (format!("port {port} is in use{who}"), "choose another --port, or --port 0 for any free one")
            }
            ErrorKind::PermissionDenied => {
                (format!("port {port} needs elevated privileges"), "choose a --port of 1024 or above")
            }
            _ => (format!("{address}: {error}"), "use an address of this machine, such as --host 127.0.0.1"),
        };
        Error::new(Code::Io, message).with_help(help)
    })
}

/// The program that listens on a port, where this system tells.
fn owner(port: u16) -> Option<String> {
    let table = |name: &str| std::fs::read_to_string(format!("/proc/net/{name}")).unwrap_or_default();
    let rows = [table("tcp"), table("tcp6")].concat();
    // sl local_address rem_address st …, with the inode as tenth: state 0A is listening.
    let inode = rows.lines().find_map(|row| {
        let fields: Vec<&str> = row.split_whitespace().collect();
        let listens = fields.get(1)?.ends_with(&format!(":{port:04X}")) && *fields.get(3)? == "0A";
        listens.then(|| fields.get(9).map(|inode| format!("socket:[{inode}]")))?
    })?;
    let processes = std::fs::read_dir("/proc").ok()?.flatten().map(|entry| entry.path());
    let holds = |process: &PathBuf| {
        let files = std::fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        files.filter_map(|file| std::fs::read_link(file.path()).ok()).any(|file| file.to_str() == Some(&inode))
    };
    let is_number = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().parse::<u32>().is_ok());
    let process = processes.filter(is_number).find(holds)?;
    let name = std::fs::read_to_string(process.join("comm")).ok()?;
    Some(format!("{} (process {})", name.trim(), process.file_name()?.to_string_lossy()))
}

/// The store of blocks, once it is open, with what its blocks are good for. It is one for as long as the process lives: the
/// folder's lock would not be given again.
type Kept = OnceLock<([u8; 32], Arc<BlockStore>)>;

/// Loads the model, and says what was loaded.
fn loader(app: &App, options: &ServeArgs, address: SocketAddr, kept: Arc<Kept>) -> Load {
    let (app, model, folder) = (app.clone(), options.engine.model.clone(), options.cache_dir.clone());
    let sequences = options.load.parallel.into();
    let wanted = Options { sequences, scores_prompts: true, ..options.engine.options(&app.device) };
    Box::new(move || {
        let Some(folder) = &folder else {
            let engine = load::engine(&app, &model, &wanted)?;
            say_what(&app, &model_name(&model), &engine, address);
            return Ok(ServedModel { engine, blocks: None });
        };
        let files = Digested::new(crate::model::source(&model)?);
        let engine = load::engine_of(&app, Arc::<Digested>::clone(&files), &wanted)?;
        say_what(&app, &model_name(&model), &engine, address);
        let fingerprint = rows_fingerprint(&files, &engine);
        if kept.get().is_none() {
            let store = BlockStore::open(folder, fingerprint, StoreLimits::default());
            let store = store.unwrap_or_else(|error| {
                app.terminal
                    .warn("cache_dir", &format!("{}; continuing without the prefix cache on disk", error.message()));
                None
            });
            if let Some(store) = store {
                let _ = kept.set((fingerprint, Arc::new(store)));
            }
        }
        // What another device computes is not what the store was opened for.
        let blocks = kept.get().filter(|(of, _)| *of == fingerprint).map(|(_, store)| Arc::clone(store));
        Ok(ServedModel { engine, blocks })
    })
}

/// All that gives cached rows their values besides the tokens: the model's bytes, what computes, and how.
fn rows_fingerprint(files: &Digested, engine: &Engine) -> [u8; 32] {
    let facts = json!([VERSION, engine.index_topk(), engine.adapter(), engine.plan().cache_type.name()]);
    let mut digest = blake3::Hasher::new_derive_key("lyn cached rows");
    digest.update(&files.digest()).update(facts.to_string().as_bytes());
    *digest.finalize().as_bytes()
}

/// The address, at once: clients may wait for the model.
fn say_where(app: &App, options: &ServeArgs, address: SocketAddr, page: bool, keys: bool) {
    let url = format!("http://{address}");
    if app.terminal.json {
        app.terminal.json_line(&json!({ "schema": "lyn.serve/1", "url": url, "base_url": format!("{url}/v1") }));
    }
    app.terminal.note(&format!("listening on {url}{}", if page { "  (page included)" } else { "" }));
    if !address.ip().is_loopback() {
        app.terminal.warn("no_tls", "traffic is not encrypted; put a TLS proxy in front");
        if !keys {
            app.terminal.warn("no_auth", "anyone who can reach this port can use the model");
        }
    }
    if options.log_prompts {
        app.terminal.warn("log_prompts", "prompts and answers are logged");
    }
}

fn say_what(app: &App, model: &str, engine: &Engine, address: SocketAddr) {
    let plan = engine.plan();
    let adapter = engine.adapter().map_or("the host".to_owned(), |adapter| escape(&adapter.name));
    let url = format!("http://{address}/v1");
    app.terminal.note(&format!(
        "model {} on {adapter} · context {} · weights {} + {} cache {} + scratch {}",
        escape(model),
        count(plan.context.into()),
        bytes(plan.weights_bytes),
        plan.cache_type,
        bytes(plan.cache_bytes),
        bytes(plan.scratch_bytes),
    ));
    app.terminal.note(&format!("base URL for OpenAI clients: {url}"));
    let body = json!({ "model": model, "messages": [{ "role": "user", "content": "Tell me a story" }] });
    // For a shell: a name may hold what would end the quotes.
    let body = plain_json(&body.to_string()).replace('\'', r"\u0027");
    app.terminal.note(&format!("  curl {url}/chat/completions -H 'Content-Type: application/json' -d '{body}'"));
}

/// A panic's text may hold what a request said: the log has its place only.
fn quiet_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a thread panicked");
    }));
}

/// A dump of memory would hold prompts and answers.
fn no_core_dumps() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        // A system that refuses keeps its own limit.
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    }
}

#[cfg(test)]
mod tests {
    use lyn::memory::{CacheType, ContextSize};

    use super::*;

    /// Rows of one type are never taken for rows of another.
    #[test]
    fn cached_rows_are_of_one_cache_type() {
        let of = |cache_type| {
            let files = Digested::new(lyn::models::stories());
            let options = Options {
                device: "cpu".to_owned(),
                context: ContextSize::Tokens(64),
                chunk: Some(8),
                cache_type: Some(cache_type),
                ..Options::default()
            };
            let source = Arc::<Digested>::clone(&files);
            let engine = lyn::platform::block_on(Engine::load(source, &options, &mut |_| true)).unwrap();
            rows_fingerprint(&files, &engine)
        };
        let [f32, f16, fp8] = CacheType::ALL.map(of);
        assert!(f32 != f16 && f16 != fp8 && f32 != fp8);
        assert_eq!(of(CacheType::Fp8), fp8);
    }

    #[test]
    fn a_model_s_name_is_the_last_part_of_its_path() {
        assert_eq!(model_name(Path::new("stories")), "stories");
        assert_eq!(model_name(Path::new("/a/b/DeepSeek-V3.2/")), "DeepSeek-V3.2");
        assert_eq!(model_name(Path::new("/a/V2-Lite.Q4_K_M.gguf")), "V2-Lite.Q4_K_M");
        assert_eq!(model_name(Path::new("GLM-5-Q2_K-00002-of-00003.gguf")), "GLM-5-Q2_K");
    }

    #[test]
    fn the_page_lies_beside_the_folder_that_programs_are_built_into() {
        let built = built_page(Path::new("/r/target/debug/deps/lyn"));
        assert_eq!(built, Some(PathBuf::from("/r/web/dist")));
        assert_eq!(built_page(Path::new("/usr/bin/lyn")), None);
    }

    #[test]
    fn a_port_s_owner_is_named() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let found = owner(taken.local_addr().unwrap().port());
        if cfg!(target_os = "linux") {
            assert!(found.unwrap().contains(&format!("(process {})", std::process::id())));
        }
    }
}
