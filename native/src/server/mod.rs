//! `lyn serve`: the engine over HTTP, in the shapes that OpenAI's clients know.
//!
//! In: requests that the [`guard`] lets in. Out: answers, whole or by pieces, from the one thread that owns the engine
//! ([`worker`]). Never: an address fetched, a path read or a tool run because a request or a model said so.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failing test may panic")
)]

mod admission;
mod answer;
mod anthropic;
mod chat;
pub(crate) mod connection;
mod cut;
mod dialect;
mod elsewhere;
mod feed;
mod framing;
mod gather;
pub(crate) mod guard;
mod health;
mod infill;
pub(crate) mod metrics;
mod models;
mod ollama;
pub(crate) mod page;
mod refusal;
mod relay;
mod responses;
mod sse;
#[cfg(test)]
mod tests;
mod text;
mod tokens;
mod told;
mod work;
pub(crate) mod worker;

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CONTENT_LENGTH, X_CONTENT_TYPE_OPTIONS};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Extension, Router};
use bytes::Bytes;
use futures_util::FutureExt;
use http_body_util::BodyExt;
use lyn::Language;
use lyn::error::escape;
use lyn::wire::openai::{self, Compat, ModelIds};
use tokio::sync::{Semaphore, watch};
use tower::Layer;
use tracing::Instrument;

use self::admission::{Admission, Ticket};
use self::connection::Address;
use self::dialect::Dialect;
use self::gather::Gather;
use self::guard::{Guard, KeyId, Visitor};
use self::metrics::Metrics;
use self::page::Page;
use self::refusal::Refusal;
use self::worker::{Loaded, Worker};
use crate::upstream::route::Routes;

/// A request's id, in its answer and in the log.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const PROCESSING_MS: HeaderName = HeaderName::from_static("openai-processing-ms");
/// Characters of a client's own request id.
const MAX_ID_CHARS: usize = 128;
/// For a whole body.
const BODY_SECONDS: Duration = Duration::from_secs(30);
/// Bodies from here on are parsed where no connection waits.
const LARGE_BODY: usize = 64 << 10;

const CHAT: &[&str] =
    &["/v1/chat/completions", "/chat/completions", "/beta/chat/completions", "/beta/v1/chat/completions"];
const COMPLETIONS: &[&str] = &["/v1/completions", "/completions", "/beta/completions", "/beta/v1/completions"];
const RESPONSES: &[&str] = &["/v1/responses", "/responses"];
const MODELS: &[&str] = &["/v1/models", "/models", "/beta/models", "/beta/v1/models"];
const MESSAGES: &[&str] = &["/v1/messages", "/anthropic/v1/messages"];
const COUNT_TOKENS: &[&str] = &["/v1/messages/count_tokens", "/anthropic/v1/messages/count_tokens"];
const BALANCE: &[&str] = &["/user/balance", "/v1/user/balance"];
const HEALTH: &[&str] = &["/health", "/v1/health", "/ping"];
/// What Ollama does and lyn does not.
const OLLAMA_REFUSED: &[&str] = &["/api/embed", "/api/embeddings", "/api/push", "/api/create", "/api/copy"];

/// The one path that everybody may ask, key or not. It says only whether requests are served.
const OPEN: &str = "/health";

/// What the server is told about itself.
#[derive(Default)]
pub(crate) struct Settings {
    /// Names of the model.
    pub(crate) models: ModelIds,
    /// Whose refusals are repeated.
    pub(crate) compat: Compat,
    /// Answers at once.
    pub(crate) parallel: usize,
    /// Answers that wait.
    pub(crate) max_queue: usize,
    /// Of these, with one key, where there are several.
    pub(crate) max_queue_per_key: usize,
    /// Log what is asked and answered.
    pub(crate) log_prompts: bool,
    /// What other engines answer.
    pub(crate) routes: Routes,
}

/// All that handlers share.
pub(crate) struct Server {
    settings: Settings,
    worker: Worker,
    admission: Arc<Admission>,
    /// The same for answers of other engines: they take no room from those made here.
    passing: Arc<Admission>,
    /// Room for copies of requests.
    copies: Arc<Semaphore>,
    metrics: Arc<Metrics>,
    guard: Guard,
    page: Option<Page>,
    draining: AtomicBool,
    /// Ends all answers, whatever the engine is doing.
    stopping: watch::Sender<bool>,
    started: u64,
}

/// A handler's way to all of it.
pub(crate) type Shared = Arc<Server>;

impl Server {
    /// A server around an engine's thread.
    pub(crate) fn new(
        settings: Settings,
        worker: Worker,
        metrics: Arc<Metrics>,
        guard: Guard,
        page: Option<Page>,
    ) -> Shared {
        let most = settings.parallel + settings.max_queue;
        let per_key = (guard.keys() > 1).then_some(settings.parallel + settings.max_queue_per_key);
        let (admission, passing) = (Admission::new(most, per_key), Admission::new(most, per_key));
        Arc::new(Server {
            settings,
            worker,
            admission,
            passing,
            copies: Arc::new(Semaphore::new(elsewhere::COPIES)),
            metrics,
            guard,
            page,
            draining: AtomicBool::new(false),
            stopping: watch::Sender::new(false),
            started: unix_seconds(),
        })
    }

    /// The engine's thread.
    pub(crate) fn worker(&self) -> &Worker {
        &self.worker
    }

    /// From now on nothing new is begun.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Ends all answers, and the engine's thread after its step.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
        self.worker.stop();
    }

    /// Answers in the making or waiting.
    pub(crate) fn answers(&self) -> usize {
        self.admission.answers() + self.passing.answers()
    }

    /// What histograms hold back.
    pub(crate) fn tidy(&self) {
        self.metrics.tidy();
    }

    /// How requests are judged. `beta`: those of the beta path; `any_model`: whatever model they name.
    fn rules(&self, beta: bool, any_model: bool) -> openai::Rules {
        let Settings { models, compat, .. } = &self.settings;
        let models = ModelIds { accept_any: models.accept_any || any_model, ..models.clone() };
        openai::Rules { compat: *compat, beta, checkpoint_sampling: false, models, ..openai::Rules::default() }
    }

    /// Whether requests for other engines are served: that needs no model here.
    fn check_open(&self) -> Result<(), Refusal> {
        if self.draining.load(Ordering::Relaxed) {
            return Err(Refusal::unavailable("server_shutdown", "the server is stopping"));
        }
        Ok(())
    }

    /// Whether another engine is asked for this model, now and then.
    fn may_lead_elsewhere(&self, model: Option<&str>) -> bool {
        self.settings.routes.may_lead(model.unwrap_or_default())
    }

    /// The model, where requests are served.
    fn loaded(&self) -> Result<Arc<Loaded>, Refusal> {
        self.check_open()?;
        self.worker.loaded()
    }

    /// Room for answers.
    fn enter(&self, key: Option<KeyId>, answers: usize) -> Result<Ticket, Refusal> {
        self.loaded()?;
        self.admission.enter(key, answers)
    }

    /// Works with the model's language where no connection waits for it.
    ///
    /// # Errors
    /// 503 while there is no model; what `work` says.
    async fn with_language<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Language) -> lyn::Result<T> + Send + 'static,
    ) -> Result<T, Refusal> {
        let language = self.loaded()?.language()?;
        work::apart(move || work(&language)).await
    }

    /// As [`Server::with_language`], with texts that need not fit the context: fewer of them at once.
    async fn with_texts<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Language) -> lyn::Result<T> + Send + 'static,
    ) -> Result<T, Refusal> {
        let language = self.loaded()?.language()?;
        work::long(move || work(&language)).await
    }
}

/// Seconds since 1970.
pub(crate) fn unix_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// All routes behind the guard. Tests call it without a socket.
pub(crate) fn app(server: &Shared) -> Router {
    let routes = |router: Router<Shared>, paths: &[&str], route: fn() -> axum::routing::MethodRouter<Shared>| {
        paths.iter().fold(router, |router, path| router.route(path, route()))
    };
    let mut router = Router::new();
    router = routes(router, CHAT, || post(chat::completions));
    router = routes(router, COMPLETIONS, || post(text::completions));
    router = routes(router, RESPONSES, || post(responses::create));
    router = routes(router, MODELS, || get(models::list));
    for path in MODELS {
        // The ids of some models have a slash.
        router = router.route(&format!("{path}/{{*id}}"), get(models::retrieve));
    }
    router = routes(router, MESSAGES, || post(anthropic::messages));
    router = routes(router, COUNT_TOKENS, || post(anthropic::count_tokens));
    router = routes(router, BALANCE, || get(models::balance));
    router = routes(router, HEALTH, || get(health::health));
    router = routes(router, OLLAMA_REFUSED, || post(ollama::refused));
    router = router
        .route("/ready", get(health::ready))
        .route("/metrics", get(metrics::metrics))
        .route("/version", get(health::version))
        .route("/props", get(health::props))
        .route("/infill", post(infill::infill))
        .route("/completion", post(infill::completion))
        .route("/tokenize", post(tokens::tokenize))
        .route("/detokenize", post(tokens::detokenize))
        .route("/tokenizer_info", get(tokens::tokenizer_info))
        .route("/apply-template", post(tokens::apply_template))
        .route("/api/chat", post(ollama::chat))
        .route("/api/generate", post(ollama::generate))
        .route("/api/tags", get(ollama::tags))
        .route("/api/ps", get(ollama::ps))
        .route("/api/show", post(ollama::show))
        .route("/api/pull", post(ollama::pull))
        .route("/api/version", get(ollama::version))
        .route("/api/delete", delete(ollama::refused))
        .route("/api/blobs/{digest}", post(ollama::refused).head(ollama::refused))
        .fallback(page::page)
        .method_not_allowed_fallback(wrong_method);
    let router = router.layer(from_fn(remember_route)).with_state(Arc::clone(server));
    let inside = from_fn_with_state(Arc::clone(server), enter).layer(router);
    Router::new().fallback_service(inside)
}

/// The route that a request took, for its label in the metrics.
#[derive(Clone)]
struct Route(MatchedPath);

async fn remember_route(route: Option<MatchedPath>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if let Some(route) = route {
        response.extensions_mut().insert(Route(route));
    }
    response
}

/// 405; the router adds `Allow`.
async fn wrong_method(method: Method) -> Refusal {
    let message = format!("{} is not for this path; the header Allow says what is", escape(method.as_str()));
    Refusal::invalid(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}

/// What other servers have and this one has not, by the end of a path: and what there is instead.
const ABSENT: &[(&str, &str)] = &[
    ("/embeddings", "embeddings, which this model does not make; ask a server of an embedding model"),
    ("/embedding", "embeddings, which this model does not make; ask a server of an embedding model"),
    ("/rerank", "scores of documents, which this model does not make; ask a server of a reranking model"),
    ("/reranking", "scores of documents, which this model does not make; ask a server of a reranking model"),
    ("/score", "scores of pairs of texts; log probabilities of a text come from /v1/completions, by echo and logprobs"),
    ("/moderations", "moderation, which this model does not do"),
    ("/audio/speech", "speech, and this model writes text; ask a server of a speech model"),
    ("/audio/transcriptions", "speech, and this model reads text; ask a server of a speech model"),
    ("/audio/translations", "speech, and this model reads text; ask a server of a speech model"),
    ("/images/generations", "pictures, and this model writes text; ask a server of an image model"),
    ("/images/edits", "pictures, and this model writes text; ask a server of an image model"),
    ("/images/variations", "pictures, and this model writes text; ask a server of an image model"),
    ("/files", "files, which this server does not keep; send their text in a message"),
    ("/batches", "batches, which this server does not keep; send requests beside each other, they share steps"),
    ("/assistants", "assistants, which this server does not keep; use /v1/chat/completions"),
    ("/threads", "threads, which this server does not keep; use /v1/chat/completions"),
    ("/vector_stores", "vector stores, which this server does not have"),
    ("/fine_tuning/jobs", "training, and this server runs models"),
    ("/edits", "edits, an older form; use /v1/chat/completions"),
    ("/realtime", "realtime sessions; use /v1/chat/completions with stream"),
];

/// 404. Of paths that other servers have it says what they are for.
pub(crate) fn not_found(uri: &Uri) -> Refusal {
    let path = uri.path();
    let bare = path.strip_prefix("/v1").unwrap_or(path);
    let message = match ABSENT.iter().find(|(end, _)| bare == *end) {
        Some((_, what)) => format!("{} is for {what}", lyn::error::quote(path)),
        None => format!("there is nothing at {}", lyn::error::quote(path)),
    };
    Refusal::invalid(StatusCode::NOT_FOUND, "not_found", message)
}

/// Around every request: its id, the guard, what went wrong inside, the log, the counts.
async fn enter(State(server): State<Shared>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = request_id(&request);
    let method = request.method().clone();
    let dialect = Dialect::of(request.uri().path(), request.headers());
    let span = tracing::info_span!("request", id = id.to_str().unwrap_or_default());
    let address = request.extensions().get::<Address>().map(|address| address.0);
    let mut origin = None;
    let let_in = admit(&server, &mut request, address, &mut origin);
    let mut response = match let_in {
        Ok(Some(response)) => response,
        Ok(None) => {
            let inside = AssertUnwindSafe(next.run(request).instrument(span.clone())).catch_unwind();
            inside.await.unwrap_or_else(|_| Refusal::internal().into_response())
        }
        Err(refusal) => refusal.into_response(),
    };
    dialect.retell(&mut response, &id);
    let headers = response.headers_mut();
    if dialect == Dialect::Anthropic {
        headers.insert(anthropic::REQUEST_ID, id.clone());
    }
    headers.insert(REQUEST_ID, id);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let elapsed = began.elapsed().as_millis();
    headers.insert(PROCESSING_MS, HeaderValue::from(u64::try_from(elapsed).unwrap_or(u64::MAX)));
    if let Some(origin) = origin {
        guard::allow(headers, origin);
    }
    let status = response.status().as_u16();
    // A path of the client's own making is no label: there would be no end of them.
    let route = response.extensions().get::<Route>().map_or("other", |route| route.0.as_str());
    server.metrics.request(route, status);
    span.in_scope(|| tracing::info!(method = escape(method.as_str()), route, status, elapsed, "answered"));
    response
}

/// The guard's word on a request: an answer at once, or that it may go on.
fn admit(
    server: &Server,
    request: &mut Request,
    address: Option<IpAddr>,
    origin: &mut Option<HeaderValue>,
) -> Result<Option<Response>, Refusal> {
    *origin = server.guard.check_place(request.uri(), request.headers())?;
    normalize(request.uri_mut());
    if request.method() == Method::OPTIONS {
        return Ok(Some((StatusCode::NO_CONTENT, guard::preflight(request.headers())).into_response()));
    }
    let path = request.uri().path();
    let open = request.method() == Method::GET && path == OPEN;
    let page = matches!(*request.method(), Method::GET | Method::HEAD)
        && server.page.as_ref().is_some_and(|page| page.has(path));
    let key = match server.guard.check_key(request.headers(), address) {
        Ok(key) => key,
        Err(_) if open || page => None,
        Err(refusal) => return Err(closing_unread(refusal, request)),
    };
    server.guard.check_body(request.method(), request.headers())?;
    request.extensions_mut().insert(Visitor { key });
    Ok(None)
}

/// A body that nobody will read is not worth receiving.
fn closing_unread(refusal: Refusal, request: &Request) -> Refusal {
    let empty = request.headers().get(CONTENT_LENGTH).is_none_or(|length| length == "0");
    if empty && request.method() == Method::GET { refusal } else { refusal.closing() }
}

/// The client's id of a request where it is fit to print, else one of ours.
fn request_id(request: &Request) -> HeaderValue {
    let given = request.headers().get(REQUEST_ID).filter(|id| {
        let bytes = id.as_bytes();
        !bytes.is_empty() && bytes.len() <= MAX_ID_CHARS && bytes.iter().all(u8::is_ascii_graphic)
    });
    let ours = || HeaderValue::from_str(&uuid::Uuid::new_v4().to_string());
    given.cloned().or_else(|| ours().ok()).unwrap_or_else(|| HeaderValue::from_static("-"))
}

/// `//v1//models/` means `/v1/models`: base URLs that end in a slash make such paths.
fn normalize(uri: &mut Uri) {
    let path = uri.path();
    if !path.contains("//") && (path == "/" || !path.ends_with('/')) {
        return;
    }
    let mut wanted: String = path.split('/').filter(|part| !part.is_empty()).flat_map(|part| ["/", part]).collect();
    if wanted.is_empty() {
        wanted.push('/');
    }
    if let Some(query) = uri.query() {
        wanted = format!("{wanted}?{query}");
    }
    let mut parts = std::mem::take(uri).into_parts();
    // What was a target stays one without some of its slashes.
    parts.path_and_query = PathAndQuery::try_from(wanted).ok();
    *uri = Uri::from_parts(parts).unwrap_or_default();
}

/// The whole body.
///
/// # Errors
/// 413 as soon as it is too long, 408 where it comes too slowly, 503 where there is no room for it, 400 where it is cut.
pub(crate) async fn whole_body(server: &Server, body: Body) -> Result<Bytes, Refusal> {
    let most = server.guard.max_body();
    let announced = body.size_hint().exact().unwrap_or(most);
    let read = async {
        let (mut body, mut whole) = (body, Gather::new(announced.min(most)));
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Refusal::bad("the body ended before its time").closing())?;
            if let Some(data) = frame.data_ref() {
                if (whole.len() + data.len()) as u64 > most {
                    return Err(guard::too_large(most));
                }
                whole.push(data).await?;
            }
        }
        Ok(whole.finish())
    };
    let late = || {
        let message = format!("the body did not come within {} s", BODY_SECONDS.as_secs());
        Refusal::invalid(StatusCode::REQUEST_TIMEOUT, "request_timeout", message).closing()
    };
    tokio::time::timeout(BODY_SECONDS, read).await.unwrap_or_else(|_| Err(late()))
}

/// Parses a body; a large one where no connection waits for it.
///
/// # Errors
/// As [`whole_body`], and what `parse` says.
pub(crate) async fn parsed<T: Send + 'static>(
    server: &Server,
    body: Body,
    parse: impl FnOnce(&[u8]) -> lyn::Result<T> + Send + 'static,
) -> Result<T, Refusal> {
    parsed_bytes(whole_body(server, body).await?, parse).await
}

/// Parses bytes; many of them where no connection waits.
///
/// # Errors
/// What `parse` says.
pub(crate) async fn parsed_bytes<T: Send + 'static>(
    bytes: Bytes,
    parse: impl FnOnce(&[u8]) -> lyn::Result<T> + Send + 'static,
) -> Result<T, Refusal> {
    if bytes.len() < LARGE_BODY { Ok(parse(&bytes)?) } else { work::apart(move || parse(&bytes)).await }
}

/// Who asks, as the guard has found out.
pub(crate) type Who = Extension<Visitor>;
