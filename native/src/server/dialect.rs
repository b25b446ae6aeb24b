//! Whose words a client understands, also where it is refused.

use axum::body::Body;
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use lyn::wire::{anthropic, ollama};
use serde_json::Value;

use super::refusal::Refusal;

/// Sent by all of Anthropic's clients.
pub(crate) const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");

/// Whose words a client understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientDialect {
    /// And DeepSeek's.
    OpenAi,
    /// Known by its paths, and by a header that all its clients send.
    Anthropic,
    /// Known by its paths.
    Ollama,
}

impl ClientDialect {
    /// The dialect of a request, whatever becomes of it.
    pub(crate) fn of(path: &str, headers: &HeaderMap) -> ClientDialect {
        // As a path is read: `//api/chat` is `/api/chat`.
        let mut parts = path.split('/').filter(|part| !part.is_empty());
        match (parts.next(), parts.next()) {
            (Some("api"), _) => ClientDialect::Ollama,
            (Some("anthropic"), _) | (Some("v1"), Some("messages")) => ClientDialect::Anthropic,
            _ if headers.contains_key(ANTHROPIC_VERSION) => ClientDialect::Anthropic,
            _ => ClientDialect::OpenAi,
        }
    }

    /// A refusal in the dialect's envelope. `id`: of the request, where there is a place for it.
    pub(crate) fn envelope(self, refusal: &Refusal, id: Option<&str>) -> Value {
        match self {
            ClientDialect::OpenAi => refusal.to_json(),
            ClientDialect::Anthropic => {
                anthropic::error(refusal.status().as_u16(), refusal.message(), refusal.overflow(), id)
            }
            ClientDialect::Ollama => ollama::error(refusal.message()),
        }
    }

    /// Puts a refusal, by whomever, into the dialect's envelope. Its status and headers stay.
    pub(crate) fn retell(self, response: &mut Response, id: &HeaderValue) {
        let Some(refusal) = response.extensions_mut().remove::<Refusal>() else { return };
        if self != ClientDialect::OpenAi {
            let body = self.envelope(&refusal, id.to_str().ok());
            *response.body_mut() = Body::from(body.to_string());
            response.headers_mut().remove(CONTENT_LENGTH);
        }
    }
}
