//! The models that clients may name, and the balance that DeepSeek's clients ask for.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use lyn::error::quote;
use serde_json::{Value, json};

use super::refusal::{Refusal, ok};
use super::{Server, Shared};

/// DeepSeek's names: what its documents and many clients ask for.
const DEEPSEEK: [&str; 5] = [
    "deepseek-chat",
    "deepseek-reasoner",
    "deepseek-v3.2-exp",
    "DeepSeek-V3.2-Exp-thinking",
    "DeepSeek-V3.2-Exp-nothinking",
];

fn model(server: &Server, id: &str) -> Value {
    let owner = match id {
        id if server.settings.routes.model_ids().any(|routed| routed == id) => "upstream",
        id if DEEPSEEK.contains(&id) => "deepseek",
        _ => "lyn",
    };
    json!({ "id": id, "object": "model", "created": server.started, "owned_by": owner, "root": server.settings.model })
}

/// Names that are listed.
fn ids(server: &Server) -> impl Iterator<Item = &str> {
    let own = std::iter::once(&server.settings.model).chain(&server.settings.aliases).map(String::as_str);
    let known: Vec<&str> = own.chain(DEEPSEEK).collect();
    let routed = server.settings.routes.model_ids().filter(|id| !known.iter().any(|it| it.eq_ignore_ascii_case(id)));
    let routed: Vec<&str> = routed.collect();
    known.into_iter().chain(routed)
}

/// `GET /v1/models`
pub(crate) async fn list(State(server): State<Shared>) -> Response {
    let data: Vec<Value> = ids(&server).map(|id| model(&server, id)).collect();
    ok(&json!({ "object": "list", "data": data }))
}

/// `GET /v1/models/{id}`
pub(crate) async fn retrieve(State(server): State<Shared>, Path(id): Path<String>) -> Result<Response, Refusal> {
    let found = ids(&server).find(|known| known.eq_ignore_ascii_case(&id));
    let missing = || {
        let message = format!("The model {} does not exist", quote(&id));
        Refusal::invalid(StatusCode::NOT_FOUND, "model_not_found", message)
    };
    Ok(ok(&model(&server, found.ok_or_else(missing)?)))
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
