//! What an engine says when it refuses, in one line: envelopes of every shape.

use serde_json::Value;

use crate::error::{Code, Error, escape_whole};

/// Characters of a message that are shown.
const MESSAGE_CHARS: usize = 300;

/// An error about the engine at `host`.
pub fn upstream(host: &str, what: impl std::fmt::Display) -> Error {
    Error::new(Code::Upstream, format!("{host} {what}")).with_detail("host", host)
}

/// An error that came in place of the next chunk.
pub(super) fn in_stream(host: &str, event: &Value) -> Error {
    let said = envelope(event).unwrap_or_else(|| one_line(&event.to_string()));
    let error = upstream(host, format!("broke off: {said}"));
    let code = ["/error/code", "/code", "/error/status", "/status_code"];
    match code.iter().find_map(|pointer| event.pointer(pointer).and_then(status_of)) {
        Some(status) => error.with_detail("status", status),
        None => error,
    }
}

/// A code that is an HTTP status: vLLM and llama.cpp write numbers, some proxies write them as text.
fn status_of(code: &Value) -> Option<u16> {
    let number = code.as_u64().or_else(|| code.as_str()?.parse().ok())?;
    u16::try_from(number).ok().filter(|status| (400..600).contains(status))
}

/// The message in an envelope: OpenAI's `error`, `FastAPI`'s `detail`, or a plain `message`.
pub fn envelope(value: &Value) -> Option<String> {
    fn text(value: &Value) -> Option<String> {
        match value {
            Value::String(text) => (!text.trim().is_empty()).then(|| one_line(text)),
            // `detail` of a validation error: [{"loc": ["body", "model"], "msg": "Field required"}]
            Value::Array(several) => several.iter().find_map(text),
            Value::Object(fields) => {
                let said = ["message", "msg", "error", "detail"].iter().find_map(|name| text(fields.get(*name)?))?;
                let place = fields.get("loc").and_then(Value::as_array).map(|path| {
                    let names = path.iter().map(|name| name.as_str().map_or_else(|| name.to_string(), str::to_owned));
                    names.collect::<Vec<_>>().join(".")
                });
                Some(match place {
                    Some(place) => format!("{}: {said}", one_line(&place)),
                    None => said,
                })
            }
            _ => None,
        }
    }
    // A router's own envelope hides what the provider said.
    let raw = value.pointer("/error/metadata/raw").and_then(Value::as_str).map(|raw| {
        serde_json::from_str(raw).ok().and_then(|inner: Value| envelope(&inner)).unwrap_or_else(|| one_line(raw))
    });
    let outer = ["error", "detail", "message", "errors"].iter().find_map(|name| text(value.get(*name)?));
    match (outer, raw) {
        (Some(outer), Some(raw)) if !raw.is_empty() => Some(format!("{outer} ({raw})")),
        (outer, raw) => outer.or(raw),
    }
}

/// Words with single spaces between, cut, and safe on a terminal.
pub fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let cut: String = line.chars().take(MESSAGE_CHARS).collect();
    let more = if cut.len() < line.len() { "…" } else { "" };
    // Quotes of a sentence stay as they are: only what could move a cursor is escaped.
    let parts: Vec<String> = cut.split('"').map(escape_whole).collect();
    parts.join("\"") + more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_inside_a_stream_keep_their_status() {
        let event = serde_json::json!({ "error": { "message": "overloaded", "code": "503" } });
        let error = in_stream("h", &event);
        assert_eq!((error.message(), &error.details()["status"]), ("h broke off: overloaded", &503.into()));
        let error = in_stream("h", &serde_json::json!({ "error": { "message": "no", "code": "internal_error" } }));
        assert!(!error.details().contains_key("status"));
    }
}
