//! Chat completions that another engine answers, as if they were made here.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use serde_json::{Map, Value};

use super::refusal::Refusal;
use super::{Server, parsed_bytes};
use crate::upstream::proxy::{KEEP_ALIVE, Proxied, proxy};

/// The answer of another engine, where a route leads there; none where the engine here is asked.
///
/// # Errors
/// 400 where the body is no JSON object.
pub(super) async fn answer(server: &Server, body: &Bytes) -> Result<Option<Response>, Refusal> {
    let routes = &server.settings.routes;
    if routes.is_empty() {
        return Ok(None);
    }
    let (fields, _): (Map<String, Value>, _) = parsed_bytes(body.clone(), |bytes| lyn::json::read(bytes)).await?;
    let model = fields.get("model").and_then(Value::as_str).unwrap_or_default();
    let Some(upstream) = routes.decide(model, server.admission.is_full()) else { return Ok(None) };
    tracing::debug!(host = upstream.address().shown(), "another engine is asked");
    let Proxied { status, headers, body } = proxy(upstream.clone(), fields, KEEP_ALIVE).await;
    let mut response = Response::new(Body::from_stream(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(Some(response))
}
