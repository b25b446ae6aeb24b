//! The models that clients may name, and the balance that DeepSeek's clients ask for.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use lyn::error::quote;
use lyn::wire::anthropic;
use lyn::wire::openai::ModelIds;
use serde_json::{Value, json};

use super::dialect::ANTHROPIC_VERSION;
use super::refusal::{Handled, Refusal, ok};
use super::shared::{Server, Shared};

fn model(server: &Server, id: &str) -> Value {
    let ModelIds { loaded, aliases, .. } = &server.settings.models;
    let own = id == loaded || aliases.iter().any(|alias| alias.name == id);
    let owner = if own { "lyn" } else { "deepseek" };
    let mut model =
        json!({ "id": id, "object": "model", "created": server.started, "owned_by": owner, "root": loaded });
    // Clients ask for the length of the context by one of these names. While the model is loaded nobody knows it.
    if let (Ok(loaded), Some(fields)) = (server.worker.loaded(), model.as_object_mut()) {
        let plan = &loaded.plan;
        fields.insert("max_model_len".to_owned(), json!(plan.context));
        fields.insert("context_length".to_owned(), json!(plan.context));
        let meta = json!({
            "n_ctx": plan.context, "n_ctx_train": plan.max_position_embeddings,
            "n_vocab": loaded.model.get("vocab_size"), "n_params": plan.parameters, "size": plan.weights_bytes,
        });
        fields.insert("meta".to_owned(), meta);
    }
    model
}

/// The length of the context; null while the model is loaded.
fn context(server: &Server) -> Value {
    let loaded = server.worker.loaded().ok();
    loaded.and_then(|loaded| loaded.model.get("context").cloned()).unwrap_or_default()
}

/// `GET /v1/models`, in Anthropic's shape for its clients.
pub(crate) async fn list(State(server): State<Shared>, headers: HeaderMap) -> Response {
    if headers.contains_key(ANTHROPIC_VERSION) {
        return ok(&anthropic::models(&server.settings.models.listed(), server.started, &context(&server)));
    }
    let listed = server.settings.models.listed();
    let routes = &server.settings.routes;
    let mut data: Vec<Value> = listed.into_iter().map(|id| model(&server, id)).collect();
    let known = |id: &str| server.settings.models.resolve(id).is_some();
    data.extend(
        routes
            .model_ids()
            .filter(|id| !known(id))
            .map(|id| json!({ "id": id, "object": "model", "created": server.started, "owned_by": "upstream" })),
    );
    ok(&json!({ "object": "list", "data": data }))
}

/// `GET /v1/models/{id}`
pub(crate) async fn retrieve(State(server): State<Shared>, headers: HeaderMap, Path(id): Path<String>) -> Handled {
    let found = server.settings.models.resolve(&id);
    let missing = || {
        let message = format!("The model {} does not exist; {}", quote(&id), server.settings.models.sentence());
        Refusal::invalid(StatusCode::NOT_FOUND, "model_not_found", message)
    };
    let id = found.ok_or_else(missing)?.canonical;
    Ok(ok(&match headers.contains_key(ANTHROPIC_VERSION) {
        true => anthropic::model(&id, server.started, &context(&server)),
        false => model(&server, &id),
    }))
}

/// `GET /user/balance`: tokens of your own cost nothing.
pub(crate) async fn balance() -> Response {
    let nothing = "0.00";
    ok(&json!({
        "is_available": true,
        "balance_infos": [{
            "currency": "CNY", "total_balance": nothing, "granted_balance": nothing, "topped_up_balance": nothing,
        }],
    }))
}
