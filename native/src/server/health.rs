//! Whether the server serves, and what it is.

use axum::extract::State;
use axum::response::Response;
use lyn::chat::Detected;
use lyn::inspect::model_info::ModelInfo;
use serde_json::json;

use super::Shared;
use super::refusal::{Refusal, ok};
use crate::cli::VERSION;

/// `GET /health`: 200 while requests are served, else 503. It says no more than that.
pub(crate) async fn health(State(server): State<Shared>) -> Response {
    match server.check_ready() {
        Ok(()) => ok(&json!({ "status": "ok" })),
        Err(refusal) => {
            let message = if server.worker.is_loading() { "Loading model" } else { "Stopping" };
            refusal.with_body(&json!({ "error": { "code": 503, "message": message, "type": "unavailable_error" } }))
        }
    }
}

/// `GET /ready`: the model is loaded and its adapter has passed the self-check.
pub(crate) async fn ready(State(server): State<Shared>) -> Result<Response, Refusal> {
    server.check_ready()?;
    Ok(ok(&json!({ "status": "ready" })))
}

/// `GET /version`
pub(crate) async fn version() -> Response {
    ok(&json!({ "version": env!("CARGO_PKG_VERSION"), "build": VERSION }))
}

/// `GET /props`: what llama.cpp's clients ask for, and under `lyn` what the page shows: the package's own shapes
/// (`web/npm/types.ts`), with an adapter of null on the host.
pub(crate) async fn props(State(server): State<Shared>) -> Result<Response, Refusal> {
    server.check_ready()?;
    let facts = server.worker.look(|engine| {
        let format = match engine.chat_format() {
            Detected::Format(format) => format!("{format:?}").to_lowercase(),
            Detected::Raw(_) => String::new(),
        };
        let adapter = engine.adapter();
        // Loading ends where an adapter does not pass; the host's own arithmetic is what adapters are checked against.
        let check = adapter.map(|_| json!({ "passed": true, "fromCache": false }));
        let (model, plan) = (json!(ModelInfo::of(engine)), json!(engine.plan()));
        (format, model, plan, json!(adapter), json!(check))
    });
    let (format, mut model, plan, adapter, check) = facts.await?;
    let context = model["context"].clone();
    model["id"] = json!(server.settings.models.loaded);
    Ok(ok(&json!({
        "default_generation_settings": { "n_ctx": context },
        "total_slots": server.settings.parallel,
        "model_path": server.settings.models.loaded,
        "model_alias": server.settings.models.loaded,
        "chat_template": format,
        "build_info": VERSION,
        "lyn": { "version": VERSION, "model": model, "plan": plan, "adapter": adapter, "self_check": check },
    })))
}
