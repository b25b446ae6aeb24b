//! What an engine says when it refuses, in one line: envelopes of every shape, plain text, pages of proxies.

use std::time::Duration;

use lyn::Error;
use lyn::wire::openai::reply::{envelope, one_line, upstream};
use serde_json::Value;

/// A failed attempt, and whether another one may help.
#[derive(Debug)]
pub(super) struct FailedAttempt {
    pub(super) error: Error,
    pub(super) retry: bool,
    /// How long the engine asks to wait.
    pub(super) after: Option<Duration>,
}

impl FailedAttempt {
    /// A failure for good.
    pub(super) fn last(error: Error) -> FailedAttempt {
        FailedAttempt { error, retry: false, after: None }
    }

    /// A failure that may not repeat.
    pub(super) fn passing(error: Error) -> FailedAttempt {
        FailedAttempt { error, retry: true, after: None }
    }

    /// An error that came as an event: it may pass where its status says so.
    pub(super) fn of_stream(error: Error) -> FailedAttempt {
        let status =
            error.details().get("status").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
        FailedAttempt { retry: status.is_some_and(may_pass), error, after: None }
    }
}

/// A refusal: status, the best message of its body, and what to do.
pub(super) fn refusal(host: &str, status: u16, kind: &str, body: &str) -> Error {
    let text = match message(kind, body.trim()) {
        Some(said) => format!("answered {status}: {said}"),
        None => format!("answered {status} without a message"),
    };
    let error = upstream(host, text).with_detail("status", status);
    match help(status) {
        Some(help) => error.with_help(help),
        None => error,
    }
}

/// Statuses that may pass when one asks again.
pub(super) fn may_pass(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
}

fn help(status: u16) -> Option<&'static str> {
    Some(match status {
        401 | 403 => "check the key: LYN_UPSTREAM_KEY or --upstream-key-file",
        402 => "the account has no balance left",
        300..=399 => "set the upstream to the address it redirects to",
        400 | 404 | 405 | 422 => "check the address, and --model; GET /models on that engine lists the ids",
        413 => "shorten the conversation",
        429 => "wait, or request a higher limit from the provider",
        500.. => "try again later; see its log",
        _ => return None,
    })
}

/// The message of a body, in one line; none where it has none.
fn message(kind: &str, text: &str) -> Option<String> {
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        return envelope(&value).or_else(|| (!text.is_empty()).then(|| one_line(text)));
    }
    if kind.contains("html") || text.starts_with('<') {
        return Some(match title(text) {
            Some(title) => format!("an HTML page, {}", one_line(title)),
            None => "an HTML page".to_owned(),
        });
    }
    (!text.is_empty()).then(|| one_line(text))
}

fn title(page: &str) -> Option<&str> {
    // Lower case of ASCII only: other letters may change their length.
    let lower = page.to_ascii_lowercase();
    let begin = lower.find("<title>")?.checked_add("<title>".len())?;
    let end = lower.get(begin..)?.find("</title>")?.checked_add(begin)?;
    page.get(begin..end).map(str::trim).filter(|title| !title.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_of_refusal_becomes_one_line() {
        for (kind, body, says) in [
            (
                "application/json",
                r#"{"error":{"message":"Insufficient Balance","type":"unknown_error","param":null,"code":"invalid_request_error"}}"#,
                "Insufficient Balance",
            ),
            (
                "application/json",
                r#"{"error":{"message":"The model `x` does not exist.","type":"NotFoundError","param":"model","code":404}}"#,
                "The model `x` does not exist.",
            ),
            (
                "application/json",
                r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#,
                "Loading model",
            ),
            (
                "application/json",
                r#"{"object":"error","message":"This model's maximum\ncontext","type":"BadRequestError","param":null,"code":400}"#,
                "This model's maximum context",
            ),
            ("application/json", r#"{"detail":"Not Found"}"#, "Not Found"),
            (
                "application/json",
                r#"{"detail":[{"type":"missing","loc":["body","messages",0],"msg":"Field required","input":{}}]}"#,
                "body.messages.0: Field required",
            ),
            ("application/json", r#"{"error":"model \"x\" not found"}"#, "model \"x\" not found"),
            (
                "application/json",
                r#"{"error":{"message":"Provider returned error","code":429,"metadata":{"raw":"{\"error\":{\"message\":\"slow down\"}}","provider_name":"p"}}}"#,
                "Provider returned error (slow down)",
            ),
            ("application/octet-stream", r#"{"error":{"message":"Model Not Exist"}}"#, "Model Not Exist"),
            ("application/json", r#"{"status":"no"}"#, "{\"status\":\"no\"}"),
            (
                "text/html",
                "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>…",
                "an HTML page, 502 Bad Gateway",
            ),
            ("text/html; charset=utf-8", "<!doctype html><p>hello", "an HTML page"),
            ("text/plain", "upstream connect error\n\nreset", "upstream connect error reset"),
            ("text/plain", "red \u{1b}[31m", "red \\u{1b}[31m"),
        ] {
            let error = refusal("example.org", 500, kind, body);
            assert_eq!(error.message(), format!("example.org answered 500: {says}"), "{body}");
        }
        let empty = refusal("example.org", 500, "", " \n");
        assert_eq!(empty.message(), "example.org answered 500 without a message");
        let long = refusal("example.org", 400, "text/plain", &"word ".repeat(9000));
        assert!(long.message().chars().count() < 400 && !long.message().contains('\n'));
        let binary = refusal("example.org", 400, "", &String::from_utf8_lossy(&[0xff, 0xfe, 0, 7]));
        assert!(!binary.message().contains('\0'), "{binary}");
    }
}
