//! Whether the server serves, and what it is.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::metrics;
use super::refusal::{Handled, ok};
use super::shared::Shared;
use crate::flags::VERSION;

/// `GET /health`: 200 while requests are served, else 503. It says no more than that.
pub(crate) async fn health(State(server): State<Shared>) -> Response {
    match server.loaded() {
        Ok(_) => ok(&json!({ "status": "ok" })),
        Err(refusal) => {
            let message = if server.worker.is_loading() { "Loading model" } else { "Stopping" };
            refusal.with_body(&json!({ "error": { "code": 503, "message": message, "type": "unavailable_error" } }))
        }
    }
}

/// `GET /ready`: the model is loaded and its adapter has passed the self-check.
pub(crate) async fn ready(State(server): State<Shared>) -> Handled {
    server.loaded()?;
    Ok(ok(&json!({ "status": "ready" })))
}

/// `GET /version`
pub(crate) async fn version() -> Response {
    ok(&json!({ "version": env!("CARGO_PKG_VERSION"), "build": VERSION }))
}

/// `GET /props`: what llama.cpp's clients ask for, and under `lyn` what the page shows: the package's own shapes
/// (`web/npm/types.ts`), with an adapter of null on the host.
pub(crate) async fn props(State(server): State<Shared>) -> Handled {
    let loaded = server.loaded()?;
    let mut model = loaded.model.clone();
    let context = model.get("context").cloned();
    model.insert("id".to_owned(), json!(server.settings.models.loaded));
    Ok(ok(&json!({
        "default_generation_settings": { "n_ctx": context },
        "total_slots": server.settings.parallel,
        "model_path": server.settings.models.loaded,
        "model_alias": server.settings.models.loaded,
        "chat_template": loaded.chat_format(),
        "build_info": VERSION,
        "lyn": {
            "version": VERSION, "model": model, "plan": loaded.plan, "adapter": loaded.adapter,
            // Loading ends where an adapter does not pass; the host's own arithmetic is what adapters are checked against.
            "self_check": loaded.adapter.as_ref().map(|_| json!({ "passed": true, "fromCache": false })),
        },
    })))
}

/// `GET /metrics`
pub(crate) async fn metrics(State(server): State<Shared>) -> Response {
    if let Some(store) = server.worker.loaded().ok().and_then(|loaded| loaded.blocks.clone()) {
        server.metrics.blocks(&store.figures());
    }
    ([(CONTENT_TYPE, metrics::TEXT)], server.metrics.render()).into_response()
}
