//! Anthropic's messages: the same conversation in other words.
//!
//! In: Anthropic's requests. Out: its messages, whole or as the events of a stream, its errors and its list of models. Never:
//! a tool that is run here, or a call that is not complete.

mod message;
mod request;
#[cfg(test)]
mod tests;

use serde_json::{Value, json};

pub use self::message::AnthropicMessage;
pub use self::request::chat_request;
use super::time::timestamp;

/// A refusal with an HTTP status. `overflow`: tokens of a prompt that is too long, and how many there may be; `id`: of the
/// request.
pub fn error(status: u16, message: &str, overflow: Option<(u64, u64)>, id: Option<&str>) -> Value {
    let kind = match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    };
    let message = match overflow {
        // Some clients shorten the conversation where they read these words.
        Some((prompt, most)) => format!("prompt is too long: {prompt} tokens > {most} maximum"),
        None => message.to_owned(),
    };
    let mut body = json!({ "type": "error", "error": { "type": kind, "message": message } });
    if let (Value::Object(fields), Some(id)) = (&mut body, id) {
        fields.insert("request_id".to_owned(), json!(id));
    }
    body
}

/// A model. `created`: Unix seconds; `context`: null where nobody knows it.
pub fn model(id: &str, created: u64, context: &Value) -> Value {
    json!({
        "type": "model", "id": id, "display_name": id, "created_at": timestamp(created, None),
        "max_input_tokens": context, "max_tokens": context,
    })
}

/// All models, on one page.
pub fn models(ids: &[&str], created: u64, context: &Value) -> Value {
    let data: Vec<Value> = ids.iter().map(|id| model(id, created, context)).collect();
    json!({ "data": data, "has_more": false, "first_id": ids.first(), "last_id": ids.last() })
}
