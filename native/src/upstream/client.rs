//! One engine: requests to it, tried again where that may help, and its answer as events.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use lyn::error::{Code, Error, Result, quote};
use lyn::wire::openai::reply::{one_line, upstream};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::address::Address;
use super::error::{self, FailedAttempt};
use super::key::{ApiKey, ApiKeys};
use super::profile::Profile;
use super::reply::{ANSWER_BYTES, Reply};
use crate::http::connect::{self, CERTIFICATES_HELP, Connector};
use crate::http::wait::retry_after;

/// Bytes of a refusal.
const REFUSAL_BYTES: usize = 256 << 10;
/// A wait longer than this is the user's to decide.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How long to wait, and how often to try.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For name, connection and TLS together.
    pub(crate) connect: Duration,
    /// For the next byte, keep-alives included.
    pub(crate) idle: Duration,
    /// For the list of models.
    pub(crate) probe: Duration,
    /// Attempts of a request.
    pub(crate) tries: u32,
    /// Before the second attempt; twice as long before each further one.
    pub(crate) pause: Duration,
}

impl Patience {
    /// For scores of texts that are read but not answered: no engine takes minutes for a text, so that silence means that none is there.
    pub(crate) fn scoring() -> Patience {
        Patience { idle: Duration::from_secs(300), ..Patience::default() }
    }
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(600),
            probe: Duration::from_secs(5),
            tries: 3,
            pause: Duration::from_millis(500),
        }
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The next message of a conversation.
    Chat,
    /// A text to go on with, or with a hole.
    Text,
}

impl Kind {
    fn route(self) -> &'static str {
        match self {
            Kind::Chat => "/chat/completions",
            Kind::Text => "/completions",
        }
    }
}

/// An engine behind an address.
pub(crate) struct Upstream {
    address: Address,
    key: Option<ApiKey>,
    patience: Patience,
    client: Client<Connector, Full<Bytes>>,
    profile: OnceLock<Profile>,
    /// The address names only a host, and the API lies below `/v1`.
    below_v1: AtomicBool,
}

impl Upstream {
    /// An engine. Nothing is sent yet. `profile`: where the user knows better than the engine's own words. Errors:
    /// `upstream` where the system has no certificates.
    pub(crate) fn new(
        address: Address,
        keys: &ApiKeys,
        profile: Option<Profile>,
        patience: Patience,
    ) -> Result<Upstream> {
        let connector = Connector::new(address.is_tls(), patience.connect)
            .map_err(|what| Error::new(Code::Upstream, what).with_help(CERTIFICATES_HELP))?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .build(connector);
        let key = keys.of(&address);
        let known = profile.or_else(|| Profile::of_address(&address));
        let address = match known.and_then(Profile::path).filter(|_| address.is_bare()) {
            Some(path) => address.with_path(path),
            None => address,
        };
        let profile = known.map_or_else(OnceLock::new, OnceLock::from);
        Ok(Upstream { address, key, patience, client, profile, below_v1: AtomicBool::new(false) })
    }

    /// Where it is.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// What people must know before their words leave this machine; none where they do not.
    pub(crate) fn privacy(&self) -> Option<String> {
        let host = self.address.shown();
        match (self.address.is_loopback(), self.address.is_plain()) {
            (true, _) => None,
            (false, true) => Some(format!("prompts leave this machine: they go to {host}, unencrypted")),
            (false, false) => Some(format!("prompts leave this machine: they go to {host}")),
        }
    }

    /// What kind of engine it is: as given, as its address tells, or as its list of models does.
    pub(crate) async fn profile(&self) -> Profile {
        if let Some(profile) = self.profile.get() {
            return *profile;
        }
        match self.models().await {
            Ok(list) => *self.profile.get_or_init(|| Profile::of_models(&list).unwrap_or(Profile::Openai)),
            // It answered, and will not say more next time.
            Err(error) if error.details().contains_key("status") => *self.profile.get_or_init(|| Profile::Openai),
            Err(_) => Profile::Openai,
        }
    }

    /// `GET /models`: the only request that is ever made unasked. Errors: `upstream`.
    pub(crate) async fn models(&self) -> Result<Value> {
        let asking = async {
            let response = self.call(Method::GET, "/models", Bytes::new(), &self.address).await?;
            let body = collect(response.into_body(), ANSWER_BYTES).await;
            body.map_err(|error| FailedAttempt::last(self.unreachable(&error)))
        };
        let host = self.address.shown();
        let body = tokio::time::timeout(self.patience.probe, asking)
            .await
            .map_err(|_| upstream(host, "did not list its models in time"))?
            .map_err(|failure| failure.error)?;
        serde_json::from_slice(&body)
            .map_err(|error| upstream(host, format!("sent a model list that is not JSON: {error}")))
    }

    /// The model to ask for: `wanted`, else the one behind `#` in the address, else the only one that the engine has.
    /// Errors: `upstream` where there are several and none is named.
    pub(crate) async fn choose_model(&self, wanted: Option<&str>) -> Result<String> {
        if let Some(wanted) = wanted.or(self.address.model()) {
            return Ok(wanted.to_owned());
        }
        let list = self.models().await?;
        let models: Vec<&Value> = list.get("data").and_then(Value::as_array).into_iter().flatten().collect();
        let named = |name: &str| -> Vec<&str> { models.iter().filter_map(|model| model.get(name)?.as_str()).collect() };
        let (ids, roots) = (named("id"), named("root"));
        // Several names of one model are no choice.
        if let Some(root) = roots.first().filter(|root| ids.contains(root))
            && roots.len() == models.len()
            && roots.iter().all(|other| other == root)
        {
            return Ok((*root).to_owned());
        }
        match ids[..] {
            [only] => Ok(only.to_owned()),
            [] => Err(upstream(self.address.shown(), "lists no models").with_help("name one with --model")),
            _ => {
                let shown: Vec<String> = ids.iter().take(8).map(|id| quote(id)).collect();
                let more = if ids.len() > 8 { ", …" } else { "" };
                let error = upstream(self.address.shown(), format!("has several models: {}{more}", shown.join(", ")));
                Err(error.with_help("name one with --model"))
            }
        }
    }

    /// Sends a completion in DeepSeek's form. Returns when the answer has begun, so that up to there it can be tried again
    /// without anyone having seen anything. Errors: `upstream`; `bad_request` where this engine cannot do what the request
    /// asks.
    pub(crate) async fn ask(&self, kind: Kind, mut body: Map<String, Value>) -> Result<Reply> {
        let profile = self.profile().await;
        let prepared = match kind {
            Kind::Chat => profile.prepare(&mut body)?,
            Kind::Text => profile.prepare_text(&mut body)?,
        };
        let address = if prepared.beta { self.address.beta() } else { self.address.clone() };
        let body = bytes_of(&body)?;
        let mut attempts = 0;
        loop {
            match self.attempt(kind, body.clone(), &address, prepared.thinking).await {
                Ok(reply) => return Ok(reply),
                Err(failure) => self.rest(failure, &mut attempts).await?,
            }
        }
    }

    /// Posts to a route below an address and reads the answer whole, `most` bytes of it. Errors: `upstream`.
    pub(super) async fn post(&self, base: &Address, route: &str, body: &Value, most: usize) -> Result<Value> {
        let body = bytes_of(body)?;
        let mut attempts = 0;
        let answer = loop {
            match self.posted(base, route, body.clone(), most).await {
                Ok(answer) => break answer,
                Err(failure) => self.rest(failure, &mut attempts).await?,
            }
        };
        serde_json::from_slice(&answer)
            .map_err(|error| upstream(self.address.shown(), format!("sent an answer that is not JSON: {error}")))
    }

    async fn posted(&self, base: &Address, route: &str, body: Bytes, most: usize) -> Result<Vec<u8>, FailedAttempt> {
        let response = self.call(Method::POST, route, body, base).await?;
        self.whole(response.into_body(), most).await
    }

    /// Waits before the next attempt. Errors: the failure, where there is no other.
    async fn rest(&self, failure: FailedAttempt, attempts: &mut u32) -> Result<()> {
        *attempts += 1;
        let jitter = f64::from(u16::try_from(lyn::platform::seed() % 1000).unwrap_or(0)) / 1000.0;
        match pause(&failure, *attempts, &self.patience, jitter) {
            Some(pause) => tokio::time::sleep(pause).await,
            None => return Err(failure.error),
        }
        Ok(())
    }

    async fn attempt(
        &self,
        kind: Kind,
        body: Bytes,
        address: &Address,
        thinking: Option<bool>,
    ) -> Result<Reply, FailedAttempt> {
        let asked = Instant::now();
        let response = self.call(Method::POST, kind.route(), body, address).await?;
        let mut reply = Reply::new(
            self.address.shown(),
            self.key.clone(),
            self.patience.idle,
            response.into_body(),
            thinking,
            asked,
        );
        reply.begin().await?;
        Ok(reply)
    }

    /// A request to a route. Where the address names only a host and the route is not there, `/v1` is tried, once.
    async fn call(
        &self,
        method: Method,
        route: &str,
        body: Bytes,
        base: &Address,
    ) -> Result<Response<Incoming>, FailedAttempt> {
        let v1 = base.with_path("/v1");
        let below = self.below_v1.load(Ordering::Relaxed) && base.is_bare();
        let response = self.send(&method, route, body.clone(), if below { &v1 } else { base }).await?;
        if response.status() != StatusCode::NOT_FOUND || !base.is_bare() || below {
            return self.accept(response).await;
        }
        let second = self.send(&method, route, body, &v1).await?;
        if second.status() != StatusCode::NOT_FOUND {
            self.below_v1.store(true, Ordering::Relaxed);
        }
        self.accept(second).await
    }

    async fn send(
        &self,
        method: &Method,
        route: &str,
        body: Bytes,
        base: &Address,
    ) -> Result<Response<Incoming>, FailedAttempt> {
        let request = self.request(method, route, body, base).map_err(FailedAttempt::last)?;
        match tokio::time::timeout(self.patience.idle, self.client.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(self.no_answer(&error)),
            Err(_) => Err(FailedAttempt::last(self.silent())),
        }
    }

    fn request(&self, method: &Method, route: &str, body: Bytes, base: &Address) -> Result<Request<Full<Bytes>>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method.clone();
        *request.uri_mut() = base.join(route)?;
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("lyn/", env!("CARGO_PKG_VERSION"))));
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream, application/json"));
        if *method == Method::POST {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(key) = &self.key {
            headers.insert(AUTHORIZATION, key.header()?);
        }
        Ok(request)
    }

    /// Lets a good answer pass and makes an error of every other one.
    async fn accept(&self, response: Response<Incoming>) -> Result<Response<Incoming>, FailedAttempt> {
        if response.status().is_success() {
            return Ok(response);
        }
        let (head, body) = response.into_parts();
        let status = head.status.as_u16();
        let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
        let reading = tokio::time::timeout(self.patience.probe, collect(body, REFUSAL_BYTES));
        let body = reading.await.ok().and_then(Result::ok).unwrap_or_default();
        let said = match (head.status.is_redirection(), header(LOCATION.as_str())) {
            // Following it could carry the key to another host.
            (true, Some(place)) => format!("redirects to {place}"),
            _ => ApiKey::hide(self.key.as_ref(), &body),
        };
        let kind = header(CONTENT_TYPE.as_str()).unwrap_or_default();
        let mut error = error::refusal(self.address.shown(), status, kind, &said);
        let after = retry_after(header("retry-after-ms"), header(RETRY_AFTER.as_str()), SystemTime::now());
        if let Some(after) = after {
            error = error.with_detail("retry_after_ms", u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
        }
        let retry = error::may_pass(status) && header("x-should-retry") != Some("false");
        Err(FailedAttempt { error, retry, after })
    }

    /// A body to its end, unless it is longer than `most` or stops coming.
    async fn whole(&self, body: Incoming, most: usize) -> Result<Vec<u8>, FailedAttempt> {
        let (mut body, mut whole) = (body, vec![]);
        loop {
            let frame = match tokio::time::timeout(self.patience.idle, body.frame()).await {
                Err(_) => return Err(FailedAttempt::last(self.silent())),
                Ok(None) => return Ok(whole),
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => {
                    let broke = format!("broke off: {}", one_line(&connect::cause(&error)));
                    return Err(FailedAttempt::passing(upstream(self.address.shown(), broke)));
                }
            };
            whole.extend(frame.into_data().unwrap_or_default());
            if whole.len() > most {
                let what = format!("sent more than the {most} bytes that its answer can have");
                return Err(FailedAttempt::last(upstream(self.address.shown(), what)));
            }
        }
    }

    fn no_answer(&self, error: &ClientError) -> FailedAttempt {
        let cause = connect::cause(error);
        let failed = self.unreachable(&cause);
        // A certificate does not get better.
        if cause.contains("certificate") { FailedAttempt::last(failed) } else { FailedAttempt::passing(failed) }
    }

    fn unreachable(&self, cause: &str) -> Error {
        upstream(self.address.shown(), format!("cannot be reached: {}", one_line(cause)))
    }

    fn silent(&self) -> Error {
        upstream(self.address.shown(), format!("sent nothing for {} s", self.patience.idle.as_secs()))
            .with_detail("status", 504)
            .with_help("check that an engine answers at this address and is not overloaded; then run the command again")
    }
}

/// How long to wait before the next attempt; none where there is none. `jitter` is below 1.
fn pause(failure: &FailedAttempt, attempt: u32, patience: &Patience, jitter: f64) -> Option<Duration> {
    if !failure.retry || attempt >= patience.tries {
        return None;
    }
    let growing = patience.pause.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1)));
    // Clients that failed together shall not come back together.
    let pause = failure.after.unwrap_or(growing.mul_f64(0.5 + jitter / 2.0));
    (pause <= LONGEST_WAIT).then_some(pause)
}

fn bytes_of(body: &impl serde::Serialize) -> Result<Bytes> {
    serde_json::to_vec(body).map(Bytes::from).map_err(|error| Error::new(Code::Internal, error.to_string()))
}

async fn collect(body: Incoming, most: usize) -> Result<Bytes, String> {
    Limited::new(body, most).collect().await.map(http_body_util::Collected::to_bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_obey_the_engine() {
        let patience = Patience::default();
        let failure = |retry, after| FailedAttempt { error: upstream("h", "x"), retry, after };
        let ms = |failure: &FailedAttempt, attempt, jitter| {
            pause(failure, attempt, &patience, jitter).map(|it| it.as_millis())
        };
        let passing = failure(true, None);
        assert_eq!((ms(&passing, 1, 0.0), ms(&passing, 2, 0.0), ms(&passing, 3, 0.0)), (Some(250), Some(500), None));
        assert_eq!(ms(&passing, 2, 0.5), Some(750));
        assert_eq!(ms(&failure(true, Some(Duration::from_secs(7))), 1, 0.0), Some(7000));
        assert_eq!(ms(&failure(true, Some(Duration::from_secs(61))), 1, 0.0), None, "an hour is the user's to wait");
        assert_eq!(ms(&failure(false, None), 1, 0.0), None);
    }
}
