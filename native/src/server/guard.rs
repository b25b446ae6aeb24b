//! Who may come in. Outermost, and closed by default: a request that passes has a known host, an allowed origin, and a key
//! where keys are asked for. All of this is decided before a byte of its body is read.
//!
//! Keys are kept as SHA-256 digests and compared in constant time with all keys. Never: a key, or a part of one that could be
//! used, in a log or an answer.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::Extension;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, AUTHORIZATION,
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, ORIGIN, VARY,
};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use lyn::error::escape;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use tokio::time::Instant;

use super::refusal::Refusal;

/// Bytes of a request's target.
const MAX_URI_BYTES: usize = 8 << 10;
/// Bytes of all headers. A key may be long: some programs send more than they mean to.
pub(crate) const MAX_HEADER_BYTES: usize = 64 << 10;
pub(crate) const MAX_HEADERS: usize = 100;
/// Wrong keys from one address within [`FAILURE_WINDOW`].
const MOST_FAILURES: usize = 10;
const FAILURE_WINDOW: Duration = Duration::from_secs(60);
/// Addresses whose failures are remembered.
const MOST_ADDRESSES: usize = 10_000;
/// Headers that pages of other origins may read.
const EXPOSED: &str =
    "x-request-id, retry-after, retry-after-ms, x-seed, x-lyn-ignored-fields, openai-processing-ms, request-id";

/// Which key a request came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct KeyId(pub(crate) usize);

/// What is asked of everyone.
#[derive(Default)]
pub(crate) struct GuardRules {
    /// Digests of keys; none: whoever reaches the server is served.
    pub(crate) keys: Vec<[u8; 32]>,
    /// Other origins whose pages may ask; `*` is all of them.
    pub(crate) origins: Vec<String>,
    /// Names of this server beside the loopback's; `*` is all of them.
    pub(crate) hosts: Vec<String>,
    /// The server is reached under addresses as well: it listens beyond the loopback.
    pub(crate) public: bool,
    /// Bytes of a body.
    pub(crate) max_body: u64,
}

/// The rules, with a memory for failures.
pub(crate) struct Guard {
    rules: GuardRules,
    failures: Mutex<HashMap<IpAddr, Vec<Instant>>>,
}

/// The key of a request that may come in, as the guard has found it; none where nobody asks for one.
pub(crate) type Who = Extension<Option<KeyId>>;

/// Whose request it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

pub(crate) fn digest(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

impl Guard {
    /// A guard who has seen nothing yet.
    pub(crate) fn new(rules: GuardRules) -> Guard {
        Guard { rules, failures: Mutex::default() }
    }

    /// Bytes of a body at most.
    pub(crate) fn max_body(&self) -> u64 {
        self.rules.max_body
    }

    /// How many keys there are.
    pub(crate) fn keys(&self) -> usize {
        self.rules.keys.len()
    }

    /// Whose cached texts a key may share: its own. How fast an answer begins would tell others what it asked.
    pub(crate) fn scope(&self, key: Option<KeyId>) -> Vec<u8> {
        key.and_then(|key| self.rules.keys.get(key.0)).map_or(vec![], |digest| digest.to_vec())
    }

    /// Everything before the key: size, host, origin. The result is the origin, where it is another one. Errors: 414, 431,
    /// 403.
    pub(crate) fn check_place(&self, uri: &Uri, headers: &HeaderMap) -> Result<Option<HeaderValue>, Refusal> {
        let target = uri.path_and_query().map_or(0, |target| target.as_str().len());
        if target > MAX_URI_BYTES {
            let message = format!("the target has {target} bytes, at most {MAX_URI_BYTES} are accepted");
            return Err(Refusal::invalid(StatusCode::URI_TOO_LONG, "uri_too_long", message).closing());
        }
        let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        if headers.len() > MAX_HEADERS || bytes > MAX_HEADER_BYTES {
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            let message = format!("at most {MAX_HEADERS} headers of {MAX_HEADER_BYTES} bytes in total are accepted");
            return Err(Refusal::invalid(status, "headers_too_large", message).closing());
        }
        let host = self.check_host(uri, headers)?;
        self.check_origin(&host, headers)
    }

    /// A page of another site can make a name of its own mean this machine: only known names are answered.
    fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<Authority, Refusal> {
        let mut named = headers.get_all(HOST).iter();
        let host = match (named.next(), named.next(), uri.authority()) {
            (Some(host), None, None) => host.to_str().ok().and_then(|host| host.parse().ok()),
            // A proxy's form of a target has the host as well.
            (_, None, Some(authority)) => Some(authority.clone()),
            _ => None,
        };
        let host: Authority = host.ok_or_else(|| Refusal::forbidden("expected one Host header with a name"))?;
        let name = host.host().trim_end_matches('.').to_ascii_lowercase();
        let address = name.trim_matches(['[', ']']).parse::<IpAddr>().ok();
        // All of 127.0.0.0/8 is this machine. Nobody else's name can mean an address.
        let local = name == "localhost" || address.is_some_and(|address| address.to_canonical().is_loopback());
        let listed = |rule: &String| rule == "*" || rule.eq_ignore_ascii_case(&name);
        if local || (self.rules.public && address.is_some()) || self.rules.hosts.iter().any(listed) {
            return Ok(host);
        }
        let message = format!("unknown host {}; add it with --allowed-host", escape(&name));
        Err(Refusal::forbidden(message))
    }

    fn check_origin(&self, host: &Authority, headers: &HeaderMap) -> Result<Option<HeaderValue>, Refusal> {
        let mut sent = headers.get_all(ORIGIN).iter();
        let (Some(origin), extra) = (sent.next(), sent.next()) else { return Ok(None) };
        let text = origin.to_str().unwrap_or_default();
        let of_host =
            |scheme: &str| text.strip_prefix(scheme).is_some_and(|rest| rest.eq_ignore_ascii_case(host.as_str()));
        if extra.is_none() && (of_host("http://") || of_host("https://")) {
            return Ok(None);
        }
        let listed = |rule: &String| rule == "*" || rule.trim_end_matches('/').eq_ignore_ascii_case(text);
        if extra.is_none() && self.rules.origins.iter().any(listed) {
            return Ok(Some(origin.clone()));
        }
        let message = format!("pages from {} may not use this server; add the origin with --cors-origin", escape(text));
        Err(Refusal::forbidden(message))
    }

    /// The key, where keys are asked for. Errors: 401 without a right one; 429 for an address with many wrong ones.
    pub(crate) fn check_key(&self, headers: &HeaderMap, address: Option<IpAddr>) -> Result<Option<KeyId>, Refusal> {
        if self.rules.keys.is_empty() {
            return Ok(None);
        }
        let Some(key) = given_key(headers) else {
            return Err(Refusal::unauthorized("Authentication Fails (no api key provided)"));
        };
        let given = digest(key);
        let mut found = None;
        let mut right = Choice::from(0);
        // All keys are looked at, whichever is right.
        for (index, known) in self.rules.keys.iter().enumerate() {
            let same = known.ct_eq(&given);
            right |= same;
            if bool::from(same) {
                found = Some(KeyId(index));
            }
        }
        if bool::from(right) {
            return Ok(found);
        }
        // Only now: many may share an address, and nobody shall be locked out by the others' keys.
        if let Some(wait) = address.and_then(|address| self.note_failure(address)) {
            let message = format!("too many wrong keys from this address; try again in {} s", wait.as_secs() + 1);
            return Err(Refusal::too_many_for(wait, message));
        }
        let message = format!("Authentication Fails, Your api key: {} is invalid", hidden(key));
        Err(Refusal::unauthorized(message))
    }

    /// Notes a wrong key. The result is how long no more of them are looked at from there, where there were too many.
    fn note_failure(&self, address: IpAddr) -> Option<Duration> {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = |time: &Instant| time.elapsed() < FAILURE_WINDOW;
        if failures.len() >= MOST_ADDRESSES {
            failures.retain(|_, times| times.iter().any(recent));
        }
        let network = network(address);
        if failures.len() >= MOST_ADDRESSES && !failures.contains_key(&network) {
            return None;
        }
        let times = failures.entry(network).or_default();
        times.retain(recent);
        match times.first() {
            Some(first) if times.len() >= MOST_FAILURES => Some(FAILURE_WINDOW.saturating_sub(first.elapsed())),
            _ => {
                times.push(Instant::now());
                None
            }
        }
    }

    /// What the headers say of a body: its length and its kind. Errors: 413, 415.
    pub(crate) fn check_body(&self, method: &Method, headers: &HeaderMap) -> Result<(), Refusal> {
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > self.rules.max_body) {
            return Err(too_large(self.rules.max_body));
        }
        if method != Method::POST {
            return Ok(());
        }
        let unsupported = |message: String| {
            Refusal::invalid(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message).closing()
        };
        if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
            return Err(unsupported("Content-Encoding is not supported; send the body unencoded".to_owned()));
        }
        // Programs forget the header, and curl's own default is a form's. A page cannot: then it would need no preflight.
        if headers.contains_key(ORIGIN) && !is_json(headers.get(CONTENT_TYPE)) {
            return Err(unsupported("Content-Type: expected application/json from a page".to_owned()));
        }
        Ok(())
    }
}

/// What one visitor has: an address, or the 64 bits of IPv6 below which it takes any.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) => IpAddr::from((u128::from(address) >> 64 << 64).to_be_bytes()),
        address => address,
    }
}

/// 413.
pub(crate) fn too_large(most: u64) -> Refusal {
    let message = format!("the body is too large: at most {most} bytes are read (--max-body)");
    Refusal::invalid(StatusCode::PAYLOAD_TOO_LARGE, "request_too_large", message).closing()
}

fn is_json(kind: Option<&HeaderValue>) -> bool {
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

/// The key of `Authorization: Bearer`, `x-api-key` or `api-key`.
fn given_key(headers: &HeaderMap) -> Option<&[u8]> {
    let bearer = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes).and_then(|value| {
        let (scheme, key) = value.split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then(|| key.trim_ascii())
    });
    let named = ["x-api-key", "api-key"].into_iter().filter_map(|name| headers.get(name));
    let mut given = bearer.into_iter().chain(named.map(|value| value.as_bytes().trim_ascii()));
    given.find(|key| !key.is_empty())
}

/// The last characters of a key, for whoever wonders which one it was; none of a short one.
fn hidden(key: &[u8]) -> String {
    let text = std::str::from_utf8(key).unwrap_or_default();
    let count = text.chars().count();
    let last: String = if count < 12 { String::new() } else { text.chars().skip(count - 4).collect() };
    format!("****{}", escape(&last))
}

/// The answer to a preflight, from an origin that may ask.
pub(crate) fn preflight(headers: &HeaderMap) -> HeaderMap {
    let mut answer = HeaderMap::new();
    answer.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, OPTIONS"));
    // OpenAI's clients send many headers of their own.
    if let Some(wanted) = headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    answer.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    answer
}

/// Lets a page of another origin read an answer. The origin is named, so that there is no `*` beside a key.
pub(crate) fn allow(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    headers.append(VARY, HeaderValue::from_static("origin"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |&(name, value): &(&'static str, &str)| {
            (axum::http::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    fn guard(keys: &[&str]) -> Guard {
        Guard::new(GuardRules {
            keys: keys.iter().map(|key| digest(key.as_bytes())).collect(),
            ..GuardRules::default()
        })
    }

    #[test]
    fn keys_come_in_three_headers_and_any_of_them_opens() {
        let guard = guard(&["first-key-of-many", "second"]);
        for (name, value, index) in [
            ("authorization", "Bearer first-key-of-many", 0),
            ("authorization", "bearer   second", 1),
            ("x-api-key", "second", 1),
            ("api-key", "second", 1),
        ] {
            assert_eq!(guard.check_key(&headers(&[(name, value)]), None).unwrap(), Some(KeyId(index)), "{value}");
        }
        let message = |pairs| guard.check_key(&headers(pairs), None).unwrap_err().message().to_owned();
        assert_eq!(message(&[]), "Authentication Fails (no api key provided)");
        assert_eq!(message(&[("authorization", "Bearer ")]), "Authentication Fails (no api key provided)");
        let wrong = message(&[("authorization", "Bearer not-a-key-at-all-1234")]);
        assert_eq!(wrong, "Authentication Fails, Your api key: ****1234 is invalid");
        let short = message(&[("authorization", "Bearer shortkey")]);
        assert_eq!(short, "Authentication Fails, Your api key: **** is invalid");
        let prefix = message(&[("authorization", "Bearer first-key-of-man")]);
        assert_eq!(prefix, "Authentication Fails, Your api key: ****-man is invalid");
    }

    #[test]
    fn wrong_keys_wait_and_right_ones_do_not() {
        let guard = guard(&["right"]);
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let refusal = |key: &str, address| guard.check_key(&headers(&[("x-api-key", key)]), Some(address)).err();
        let status = |key: &str, address| refusal(key, address).map(|refusal| refusal.status().as_u16());
        for _ in 0..MOST_FAILURES {
            assert_eq!(status("wrong", one), Some(401));
        }
        assert_eq!((status("wrong", one), status("right", one)), (Some(429), None));
        assert_eq!((status("wrong", other), status("right", other)), (Some(401), None));
        assert_eq!(guard.check_key(&HeaderMap::new(), Some(one)).unwrap_err().status().as_u16(), 401);
        let answer = axum::response::IntoResponse::into_response(refusal("wrong", one).unwrap());
        let seconds: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((55..=60).contains(&seconds), "{seconds}");
        // A host of IPv6 has many addresses.
        let v6 = |host: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, host]);
        for host in 0..10 {
            assert_eq!(status("wrong", v6(host)), Some(401));
        }
        assert_eq!(status("wrong", v6(99)), Some(429));
    }

    #[test]
    fn only_known_hosts_are_answered() {
        let guard = |public, hosts: &[&str]| {
            let hosts = hosts.iter().map(|&host| host.to_owned()).collect();
            Guard::new(GuardRules { public, hosts, ..GuardRules::default() })
        };
        let passes =
            |guard: &Guard, host: &str| guard.check_place(&Uri::from_static("/"), &headers(&[("host", host)])).is_ok();
        let local = guard(false, &["box.example"]);
        for host in [
            "localhost:8080",
            "LOCALHOST",
            "127.0.0.1:1",
            "127.0.0.2:80",
            "127.255.1.1",
            "[::1]:8080",
            "box.example:8080",
        ] {
            assert!(passes(&local, host), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example", "10.0.0.1", "", "a b", "127.0.0.1.evil.example"] {
            assert!(!passes(&local, host), "{host}");
        }
        assert!(local.check_place(&Uri::from_static("/"), &HeaderMap::new()).is_err());
        let public = guard(true, &[]);
        assert!(passes(&public, "10.0.0.1:8080") && passes(&public, "[fe80::1]") && !passes(&public, "box.example"));
        assert!(passes(&guard(false, &["*"]), "anything"));
    }

    #[test]
    fn pages_ask_from_here_or_from_listed_origins() {
        let guard =
            Guard::new(GuardRules { origins: vec!["https://app.example/".to_owned()], ..GuardRules::default() });
        let origin = |origin: &str| {
            let headers = headers(&[("host", "localhost:8080"), ("origin", origin)]);
            guard.check_place(&Uri::from_static("/"), &headers).map(|other| other.is_some()).ok()
        };
        assert_eq!(origin("http://localhost:8080"), Some(false));
        assert_eq!(origin("https://app.example"), Some(true));
        for foreign in ["http://localhost:8081", "https://evil.example", "null", "https://app.example.evil", "file://"]
        {
            assert_eq!(origin(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_page_must_say_that_it_sends_json_and_nobody_may_compress() {
        let guard = Guard::new(GuardRules { max_body: 10, ..GuardRules::default() });
        let status = |pairs: &[(&'static str, &str)]| {
            guard.check_body(&Method::POST, &headers(pairs)).err().map(|refusal| refusal.status().as_u16())
        };
        let form = ("content-type", "application/x-www-form-urlencoded");
        let origin = ("origin", "http://localhost");
        assert_eq!(status(&[form]), None);
        assert_eq!(status(&[form, origin]), Some(415));
        assert_eq!(status(&[origin]), Some(415));
        assert_eq!(status(&[("content-type", "Application/JSON; charset=utf-8"), origin]), None);
        assert_eq!(status(&[("content-encoding", "gzip")]), Some(415));
        assert_eq!(status(&[("content-length", "10")]), None);
        assert_eq!(status(&[("content-length", "11")]), Some(413));
    }
}
