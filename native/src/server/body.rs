//! Bodies of requests: read within a limit and a time, and parsed where no connection waits for it.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::StatusCode;
use bytes::Bytes;
use http_body_util::BodyExt;

use super::gather::Gather;
use super::guard;
use super::refusal::Refusal;
use super::shared::Server;
use super::work;

/// For a whole body.
const BODY_SECONDS: Duration = Duration::from_secs(30);
/// Bodies from here on are parsed where no connection waits.
const LARGE_BODY: usize = 64 << 10;

/// The whole body. Errors: 413 as soon as it is too long, 408 where it comes too slowly, 503 where there is no room for it,
/// 400 where it is cut.
pub(crate) async fn whole_body(server: &Server, body: Body) -> Result<Bytes, Refusal> {
    let most = server.guard.max_body();
    let announced = body.size_hint().exact().unwrap_or(most);
    let read = async {
        let (mut body, mut whole) = (body, Gather::new(announced.min(most)));
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Refusal::bad("the body ended before its time").closing())?;
            if let Some(data) = frame.data_ref() {
                if (whole.len() + data.len()) as u64 > most {
                    return Err(guard::too_large(most));
                }
                whole.push(data).await?;
            }
        }
        Ok(whole.finish())
    };
    let late = || {
        let message = format!("the body did not come within {} s", BODY_SECONDS.as_secs());
        Refusal::invalid(StatusCode::REQUEST_TIMEOUT, "request_timeout", message).closing()
    };
    tokio::time::timeout(BODY_SECONDS, read).await.unwrap_or_else(|_| Err(late()))
}

/// Parses a body; a large one where no connection waits for it. Errors: as [`whole_body`], and what `parse` says.
pub(crate) async fn parsed<T: Send + 'static>(
    server: &Server,
    body: Body,
    parse: impl FnOnce(&[u8]) -> lyn::Result<T> + Send + 'static,
) -> Result<T, Refusal> {
    parsed_bytes(whole_body(server, body).await?, parse).await
}

/// Parses bytes; many of them where no connection waits. Errors: what `parse` says.
pub(crate) async fn parsed_bytes<T: Send + 'static>(
    bytes: Bytes,
    parse: impl FnOnce(&[u8]) -> lyn::Result<T> + Send + 'static,
) -> Result<T, Refusal> {
    if bytes.len() < LARGE_BODY { Ok(parse(&bytes)?) } else { work::apart(move || parse(&bytes)).await }
}
