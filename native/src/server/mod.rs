//! `lyn serve`: the engine over HTTP, in the shapes that OpenAI's clients know.
//!
//! In: requests that the [`guard`] lets in. Out: answers, whole or by pieces, from the one thread that owns the engine
//! ([`worker`]). Never: an address fetched, a path read or a tool run because a request or a model said so.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failing test may panic")
)]

mod absent;
mod admission;
mod answer;
mod anthropic;
mod body;
mod chat;
pub(crate) mod connection;
mod cut;
mod dialect;
mod elsewhere;
mod feed;
pub(crate) mod floor;
mod framing;
mod gather;
pub(crate) mod guard;
mod health;
mod infill;
pub(crate) mod loaded;
pub(crate) mod metrics;
mod models;
mod ollama;
pub(crate) mod page;
mod refusal;
mod relay;
mod responses;
mod shared;
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
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CONTENT_LENGTH, X_CONTENT_TYPE_OPTIONS};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use futures_util::FutureExt;
use lyn::error::escape;
use tower::Layer;
use tracing::Instrument;

use self::dialect::ClientDialect;
use self::guard::Peer;
use self::refusal::{Handled, Refusal};
pub(crate) use self::shared::{Server, ServerSettings, Shared};

/// A request's id, in its answer and in the log.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const PROCESSING_MS: HeaderName = HeaderName::from_static("openai-processing-ms");
/// Characters of a client's own request id.
const MAX_ID_CHARS: usize = 128;
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
        .route("/metrics", get(health::metrics))
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
        .fallback(fallback)
        .method_not_allowed_fallback(wrong_method);
    let router = router.layer(from_fn(remember_route)).with_state(Arc::clone(server));
    let inside = from_fn_with_state(Arc::clone(server), enter).layer(router);
    Router::new().fallback_service(inside)
}

/// Hands the route that a request took out again, for its label in the metrics.
async fn remember_route(route: Option<MatchedPath>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if let Some(route) = route {
        response.extensions_mut().insert(route);
    }
    response
}

/// Everything that is no route.
async fn fallback(State(server): State<Shared>, request: Request) -> Handled {
    page::page(server.page.as_ref(), request).await
}

/// 405; the router adds `Allow`.
async fn wrong_method(method: Method) -> Refusal {
    let message = format!("method {} is not allowed here; see the Allow header", escape(method.as_str()));
    Refusal::invalid(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}

/// Around every request: its id, the guard, what went wrong inside, the log, the counts.
async fn enter(State(server): State<Shared>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = request_id(&request);
    let method = request.method().clone();
    let dialect = ClientDialect::of(request.uri().path(), request.headers());
    let span = tracing::info_span!("request", id = id.to_str().unwrap_or_default());
    let address = request.extensions().get::<Peer>().map(|address| address.0);
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
    if dialect == ClientDialect::Anthropic {
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
    let route = response.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str);
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
    request.extensions_mut().insert(key);
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
