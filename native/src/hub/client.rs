//! Requests to the Hub: redirects followed without the token, attempts bounded, nothing read that has no end.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, ETAG, HeaderMap, HeaderName, HeaderValue, IF_RANGE, LOCATION,
    RANGE, RETRY_AFTER, USER_AGENT,
};
use hyper::{Request, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use lyn::error::{Code, Error, Result, escape};

use super::endpoint::{Endpoint, redirected};
use super::refusal::{FailedRequest, Subject, network, of_status};
use super::surroundings::{Surroundings, Token};
use crate::http::connect::{self, CERTIFICATES_HELP, Connector};
use crate::http::wait::retry_after;

/// For name, connection and TLS together.
const CONNECT: Duration = Duration::from_secs(15);
/// For the head of an answer, and for the next bytes of a file.
const SILENCE: Duration = Duration::from_secs(30);
/// For the whole of an answer that is held in memory.
const WHOLE: Duration = Duration::from_secs(120);
/// Attempts without any progress.
const ATTEMPTS: u32 = 5;
/// Before the second attempt; twice as long before each further one.
const PAUSE: Duration = Duration::from_millis(250);
/// Most redirects of a request.
const REDIRECTS: usize = 5;

/// Bytes `first..=last` of a file; without `last`, up to its end.
#[derive(Clone, Debug, Default)]
pub(super) struct ByteRange {
    pub(super) first: u64,
    pub(super) last: Option<u64>,
    /// What the endpoint's own entity tag is where the file has not changed.
    pub(super) expected: String,
    /// Host and entity tag of an answer before, for the same file.
    pub(super) tag: Option<(String, HeaderValue)>,
}

/// The head of an answer that is a success, and its body.
pub(super) struct HubAnswer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// What the endpoint said, before it redirected elsewhere.
    pub(super) linked: HeaderMap,
    /// The host that sent the body.
    pub(super) host: String,
    pub(super) body: Incoming,
}

impl HubAnswer {
    /// The strong entity tag, with its host.
    pub(super) fn tag(&self) -> Option<(String, HeaderValue)> {
        let tag = self.headers.get(ETAG).filter(|tag| tag.as_bytes().starts_with(b"\""))?;
        Some((self.host.clone(), tag.clone()))
    }

    /// The next piece of the body; none at its end. A silent server is given up.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>, FailedRequest> {
        loop {
            let broken = |what: String| Err(FailedRequest::passing(network(&self.host, what)));
            match tokio::time::timeout(SILENCE, self.body.frame()).await {
                Err(_) => return broken(format!("sent nothing for {} s", SILENCE.as_secs())),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return broken(format!("the connection broke off: {}", connect::cause(&error))),
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

/// Asks one endpoint, and whom it redirects to.
pub(super) struct HubClient {
    client: Client<Connector, Empty<Bytes>>,
    endpoint: Endpoint,
    token: Option<Token>,
}

impl HubClient {
    /// A client. Errors: `network` where everything is to stay offline, or where TLS is needed and the system has no certificates.
    pub(super) fn new(surroundings: &Surroundings) -> Result<HubClient> {
        let endpoint = surroundings.endpoint.clone();
        if surroundings.is_offline {
            let message = format!("{} is not asked: HF_HUB_OFFLINE is set", endpoint.shown());
            return Err(
                Error::new(Code::Network, message).with_help("unset HF_HUB_OFFLINE, or use a model of: lyn list")
            );
        }
        let connector = match Connector::new(true, CONNECT) {
            // A server without TLS needs no certificates.
            Err(_) if !endpoint.is_tls() => Connector::new(false, CONNECT),
            made => made,
        };
        let connector = connector.map_err(|what| Error::new(Code::Network, what).with_help(CERTIFICATES_HELP))?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .build(connector);
        Ok(HubClient { client, endpoint, token: surroundings.token.clone() })
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(super) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// One attempt of a GET.
    pub(super) async fn open(
        &self,
        uri: &Uri,
        part: Option<&ByteRange>,
        asked: &Subject<'_>,
    ) -> Result<HubAnswer, FailedRequest> {
        let mut uri = uri.clone();
        let mut linked = HeaderMap::new();
        for _ in 0..=REDIRECTS {
            let host = uri.authority().map_or_else(String::new, |authority| authority.as_str().to_owned());
            let request = self.request(&uri, &host, part)?;
            let response = match tokio::time::timeout(SILENCE, self.client.request(request)).await {
                Err(_) => {
                    return Err(FailedRequest::passing(network(
                        &host,
                        format!("no answer for {} s", SILENCE.as_secs()),
                    )));
                }
                Ok(Err(error)) => return Err(unreachable(&host, &connect::cause(&error))),
                Ok(Ok(response)) => response,
            };
            let (head, body) = response.into_parts();
            if self.endpoint.is_home_of(&uri) {
                linked.extend(head.headers.clone());
            }
            let status = head.status;
            if status.is_redirection() {
                let location = head.headers.get(LOCATION).and_then(|place| place.to_str().ok()).unwrap_or_default();
                uri = redirected(&uri, location).ok_or_else(|| {
                    let shown: String = escape(location).chars().take(80).collect();
                    FailedRequest::last(network(&host, format!("redirects to \"{shown}\", which is not followed")))
                })?;
                continue;
            }
            let is_encoded = head.headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity");
            if status.is_success() && !is_encoded {
                return Ok(HubAnswer { status, headers: head.headers, linked, host, body });
            }
            if is_encoded {
                return Err(FailedRequest::last(network(&host, "sent a compressed answer that was not asked for")));
            }
            let header = |name: HeaderName| head.headers.get(name).and_then(|value| value.to_str().ok());
            let after = retry_after(None, header(RETRY_AFTER), SystemTime::now());
            return Err(of_status(&host, status.as_u16(), &head.headers, after, asked));
        }
        Err(FailedRequest::last(network(self.endpoint.shown(), format!("redirects more than {REDIRECTS} times"))))
    }

    fn request(&self, uri: &Uri, host: &str, part: Option<&ByteRange>) -> Result<Request<Empty<Bytes>>> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = uri.clone();
        let is_home = self.endpoint.is_home_of(uri);
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("lyn/", env!("CARGO_PKG_VERSION"))));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(token) = self.token.as_ref().filter(|_| is_home) {
            let value = HeaderValue::from_str(&format!("Bearer {}", token.as_str()));
            let mut value = value.map_err(|_| {
                Error::new(Code::BadConfig, "the token of the Hub contains a character that is not allowed in headers")
                    .with_help("correct HF_TOKEN")
            })?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        if let Some(part) = part {
            let last = part.last.map_or_else(String::new, |last| last.to_string());
            headers.insert(RANGE, text(&format!("bytes={}-{last}", part.first))?);
            // The rest is only the rest while the file is the same. Other hosts have tags of their own.
            let known = part.tag.as_ref().filter(|(known, _)| known == host).map(|(_, tag)| tag.clone());
            let own = if is_home && !part.expected.is_empty() {
                Some(text(&format!("\"{}\"", part.expected))?)
            } else {
                None
            };
            if let Some(tag) = known.or(own) {
                headers.insert(IF_RANGE, tag);
            }
        }
        Ok(request)
    }

    /// The whole of an answer of at most `most` bytes, with its head. Tried again where that may help.
    pub(super) async fn whole(&self, uri: &Uri, most: usize, asked: &Subject<'_>) -> Result<(HeaderMap, Bytes)> {
        let mut attempts = Attempts::default();
        loop {
            match self.whole_once(uri, most, asked).await {
                Ok(whole) => return Ok(whole),
                Err(failure) => attempts.after(failure, false).await?,
            }
        }
    }

    async fn whole_once(
        &self,
        uri: &Uri,
        most: usize,
        asked: &Subject<'_>,
    ) -> Result<(HeaderMap, Bytes), FailedRequest> {
        let HubAnswer { linked, host, body, .. } = self.open(uri, None, asked).await?;
        let limited = tokio::time::timeout(WHOLE, Limited::new(body, most).collect());
        match limited.await {
            Err(_) => {
                Err(FailedRequest::last(network(&host, format!("did not end its answer within {} s", WHOLE.as_secs()))))
            }
            Ok(Ok(body)) => Ok((linked, body.to_bytes())),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                Err(FailedRequest::last(network(&host, format!("sent an answer of more than {most} bytes"))))
            }
            Ok(Err(error)) => Err(FailedRequest::passing(network(&host, format!("the connection broke off: {error}")))),
        }
    }

    /// Exactly bytes `first..first + length` of a file of `size` bytes. Tried again where that may help.
    pub(super) async fn range(
        &self,
        uri: &Uri,
        first: u64,
        length: usize,
        size: u64,
        asked: &Subject<'_>,
    ) -> Result<Bytes> {
        let last = first.saturating_add(length as u64).saturating_sub(1);
        let part = ByteRange { first, last: Some(last), ..ByteRange::default() };
        let mut attempts = Attempts::default();
        loop {
            match self.range_once(uri, &part, (first, last, size), asked).await {
                Ok(bytes) => return Ok(bytes),
                Err(failure) => attempts.after(failure, false).await?,
            }
        }
    }

    async fn range_once(
        &self,
        uri: &Uri,
        part: &ByteRange,
        expected: (u64, u64, u64),
        asked: &Subject<'_>,
    ) -> Result<Bytes, FailedRequest> {
        let HubAnswer { status, headers, host, body, .. } = self.open(uri, Some(part), asked).await?;
        let (first, last, size) = expected;
        let is_whole = status != StatusCode::PARTIAL_CONTENT && first == 0 && last.saturating_add(1) == size;
        if !is_whole && content_range(&headers) != Some(expected) {
            let expected = format!("{}: expected bytes {first} to {last} of {size}", asked.shown());
            if status != StatusCode::PARTIAL_CONTENT {
                let error = network(&host, format!("{expected}; the server sends whole files only"));
                let help = "set HF_ENDPOINT to a server that supports Range requests, or lyn pull a model by its file, org/name:FILE";
                return Err(FailedRequest::last(error.with_help(help)));
            }
            return Err(FailedRequest::last(network(&host, format!("{expected}, found others"))));
        }
        let length = usize::try_from(last.saturating_sub(first)).unwrap_or(usize::MAX).saturating_add(1);
        let limited = tokio::time::timeout(WHOLE, Limited::new(body, length).collect()).await;
        let bytes = limited.ok().and_then(Result::ok).map(http_body_util::Collected::to_bytes);
        bytes.filter(|bytes| bytes.len() == length).ok_or_else(|| {
            FailedRequest::passing(network(&host, format!("{}: the connection broke off", asked.shown())))
        })
    }
}

fn text(value: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(value).map_err(|error| Error::new(Code::Internal, format!("a header: {error}")))
}

fn unreachable(host: &str, cause: &str) -> FailedRequest {
    let error = network(host, format!("cannot be reached: {}", escape(cause)))
        .with_help("check the connection and HTTPS_PROXY; models that are there already run without it: lyn list");
    // A certificate does not get better.
    if cause.contains("certificate") { FailedRequest::last(error) } else { FailedRequest::passing(error) }
}

/// First and last byte, and the size of the whole, of a partial answer.
pub(super) fn content_range(headers: &HeaderMap) -> Option<(u64, u64, u64)> {
    let text = headers.get("content-range")?.to_str().ok()?.strip_prefix("bytes ")?;
    let (range, size) = text.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some((first.trim().parse().ok()?, last.trim().parse().ok()?, size.trim().parse().ok()?))
}

/// Counts attempts.
#[derive(Default)]
pub(super) struct Attempts {
    failed: u32,
}

impl Attempts {
    /// Waits for the next attempt, or gives the failure up. An attempt that got further begins the count anew.
    pub(super) async fn after(&mut self, failure: FailedRequest, got_further: bool) -> Result<()> {
        self.failed = if got_further { 1 } else { self.failed.saturating_add(1) };
        match failure.pause(self.failed.saturating_add(1), ATTEMPTS, PAUSE) {
            Some(pause) => {
                tracing::info!(error = failure.error.message(), wait = ?pause, "trying again");
                tokio::time::sleep(pause).await;
                Ok(())
            }
            None => Err(failure.error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_strictly() {
        let range = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("content-range", text.parse().unwrap());
            content_range(&headers)
        };
        assert_eq!(range("bytes 5-9/20"), Some((5, 9, 20)));
        for text in ["", "bytes */20", "bytes 5-9/*", "items 5-9/20", "bytes 5-/20", "bytes -1-9/20"] {
            assert_eq!(range(text), None, "{text}");
        }
        assert_eq!(content_range(&HeaderMap::new()), None);
    }
}
