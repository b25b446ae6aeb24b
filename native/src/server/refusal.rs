//! What a client is told when a request cannot be served: one envelope, `{"error": {message, type, param, code}}`, for every
//! route and status. Never: paths of files, prompts, or the text of a panic.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use lyn::error::{Code, Error};
use serde_json::{Value, json};

/// The media type of every JSON answer.
pub(crate) const JSON: &str = "application/json; charset=utf-8";
/// For how long a client should wait before it tries again.
const RETRY: Duration = Duration::from_secs(5);
/// Sent beside `Retry-After`; OpenAI's clients prefer it.
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
/// OpenAI's clients do as it says.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// How a request ended: with a response, or not served.
pub(crate) type Handled = Result<Response, Refusal>;

/// A request that is not served.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    message: String,
    kind: &'static str,
    param: Option<String>,
    code: &'static str,
    /// Tokens of a prompt that is too long, and how many there may be.
    overflow: Option<Box<(u64, u64)>>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Refusal {
    fn new(status: StatusCode, kind: &'static str, code: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { status, message: message.into(), kind, param: None, code, overflow: None, headers: vec![] }
    }

    /// 400, or another status of the same kind: the request is wrong.
    pub(crate) fn invalid(status: StatusCode, code: &'static str, message: impl Into<String>) -> Refusal {
        Refusal::new(status, "invalid_request_error", code, message)
    }

    /// 400.
    pub(crate) fn bad(message: impl Into<String>) -> Refusal {
        Refusal::invalid(StatusCode::BAD_REQUEST, "invalid_request_error", message)
    }

    /// 401. A wrong key and a missing one look the same but for the sentence.
    pub(crate) fn unauthorized(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::UNAUTHORIZED, "authentication_error", "invalid_request_error", message)
            .with_header(axum::http::header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// 403.
    pub(crate) fn forbidden(message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::FORBIDDEN, "permission_error", "forbidden", message)
    }

    /// 429: this client asks for more than its share.
    pub(crate) fn too_many(message: impl Into<String>) -> Refusal {
        Refusal::too_many_for(RETRY, message)
    }

    /// 429, where it is known for how long.
    pub(crate) fn too_many_for(wait: Duration, message: impl Into<String>) -> Refusal {
        let kind = "rate_limit_error";
        Refusal::new(StatusCode::TOO_MANY_REQUESTS, kind, "rate_limit_exceeded", message).retry(wait)
    }

    /// 503: nobody is served now.
    pub(crate) fn unavailable(code: &'static str, message: impl Into<String>) -> Refusal {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", code, message).retry(RETRY)
    }

    /// 500. What went wrong is for the log.
    pub(crate) fn internal() -> Refusal {
        let message = "internal error; see the server log";
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "internal_error", message)
            .with_header(SHOULD_RETRY, HeaderValue::from_static("false"))
    }

    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Refusal {
        self.headers.push((name, value));
        self
    }

    /// Ends the connection: what else comes on it is not worth reading.
    pub(crate) fn closing(self) -> Refusal {
        self.with_header(axum::http::header::CONNECTION, HeaderValue::from_static("close"))
    }

    fn retry(self, wait: Duration) -> Refusal {
        let milliseconds = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        // A second too late is better than one too early.
        self.with_header(RETRY_AFTER, HeaderValue::from(milliseconds.div_ceil(1000)))
            .with_header(RETRY_AFTER_MS, HeaderValue::from(milliseconds))
    }

    /// The sentence.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Tokens of a prompt that is too long, and how many there may be.
    pub(crate) fn overflow(&self) -> Option<(u64, u64)> {
        self.overflow.as_deref().copied()
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// The envelope.
    pub(crate) fn to_json(&self) -> Value {
        json!({ "error": { "message": self.message, "type": self.kind, "param": self.param, "code": self.code } })
    }

    /// The same status and headers, with another dialect's body.
    pub(crate) fn with_body(&self, body: &Value) -> Response {
        let mut response = json_response(self.status, body);
        response.headers_mut().extend(self.headers.iter().cloned());
        response
    }
}

impl IntoResponse for Refusal {
    /// In OpenAI's envelope; `ClientDialect::retell` knows the others.
    fn into_response(self) -> Response {
        let mut response = self.with_body(&self.to_json());
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        let message = error.message().to_owned();
        let param = error.details().get("param").and_then(Value::as_str).map(str::to_owned);
        let status = named_status(&error);
        let refusal = match error.code() {
            Code::Upstream => return of_upstream(&error, status),
            _ if status == Some(StatusCode::SERVICE_UNAVAILABLE) => return Refusal::unavailable("overloaded", message),
            Code::BadRequest => Refusal::bad(message),
            Code::ContextOverflow => Refusal::invalid(StatusCode::BAD_REQUEST, "context_length_exceeded", message),
            Code::InvalidSchema => Refusal::invalid(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request_error", message),
            Code::GrammarTooComplex => Refusal::invalid(StatusCode::BAD_REQUEST, "grammar_too_complex", message),
            Code::OutOfMemory => Refusal::unavailable("overloaded", message),
            Code::DeviceLost | Code::GpuTimeout => {
                Refusal::unavailable("device_lost", "the device was lost; the model is being loaded again")
            }
            Code::Cancelled => Refusal::unavailable("server_shutdown", "the server is stopping"),
            Code::NonFinite => Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "non_finite", message),
            _ => {
                tracing::error!(code = error.code().name(), message = error.message(), "a request failed");
                Refusal::internal()
            }
        };
        let status = status.unwrap_or(refusal.status);
        let count = |name: &str| error.details().get(name).and_then(Value::as_u64);
        let overflow = count("prompt_tokens").zip(count("context")).filter(|(prompt, context)| prompt >= context);
        Refusal { param, status, overflow: overflow.map(Box::new), ..refusal }
    }
}

/// The status that an error names: a request of the wrong form may have one of its own, and so do other engines.
fn named_status(error: &Error) -> Option<StatusCode> {
    let named = error.details().get("status").and_then(Value::as_u64)?;
    u16::try_from(named).ok().and_then(|named| StatusCode::from_u16(named).ok())
}

/// What another engine says. A key or a balance that it refuses is none of the client's.
fn of_upstream(error: &Error, told: Option<StatusCode>) -> Refusal {
    let status = match told {
        Some(told) if matches!(told.as_u16(), 400 | 404 | 413 | 422 | 429 | 503 | 504) => told,
        Some(StatusCode::REQUEST_TIMEOUT) => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::BAD_GATEWAY,
    };
    let (kind, code) = match status.as_u16() {
        404 => ("invalid_request_error", "model_not_found"),
        429 => ("rate_limit_error", "rate_limit_exceeded"),
        400..500 => ("invalid_request_error", "invalid_request_error"),
        503 => ("server_error", "overloaded"),
        _ => ("server_error", "upstream_error"),
    };
    let refusal = Refusal::new(status, kind, code, error.message());
    match error.details().get("retry_after_ms").and_then(Value::as_u64) {
        Some(ms) => refusal
            .with_header(RETRY_AFTER, HeaderValue::from(ms.div_ceil(1000)))
            .with_header(RETRY_AFTER_MS, HeaderValue::from(ms)),
        // It has been tried as often as makes sense.
        None if status.is_server_error() => refusal.with_header(SHOULD_RETRY, HeaderValue::from_static("false")),
        None => refusal,
    }
}

pub(crate) fn json_response(status: StatusCode, body: &Value) -> Response {
    let mut response = ok_text(body.to_string());
    *response.status_mut() = status;
    response
}

/// An answer with status 200, whose text is JSON.
pub(crate) fn ok_text(json: String) -> Response {
    let mut response = Response::new(Body::from(json));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    response
}

/// A JSON answer with status 200.
pub(crate) fn ok(body: &Value) -> Response {
    json_response(StatusCode::OK, body)
}
