//! The whole server without a socket, on the built-in model. All tests share one engine, as requests do. The numbers are those
//! of the conformance checklist that the server is written after.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::Response;
use futures_util::future::join_all;
use http_body_util::BodyExt;
use lyn::engine::{Engine, Options};
use lyn::memory::ContextSize;
use lyn::platform::block_on;
use lyn::wire::openai::{Alias, Compat, ModelIds};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::floor::AnswerLimits;
use super::guard::{Guard, GuardRules, digest};
use super::loaded::ServedModel;
use super::metrics::Metrics;
use super::page::Page;
use super::worker::{Load, Stage, Worker};
use super::{BALANCE, CHAT, COMPLETIONS, COUNT_TOKENS, HEALTH, MESSAGES, MODELS, Server, ServerSettings, Shared, app};

mod anthropic;
mod beside;
mod door;
mod elsewhere;
mod figures;
mod floor;
mod forms;
mod models;
mod ollama;
mod page;
mod patience;
mod refusals;
mod responses;
mod strict;
mod texts;
mod tokens;

const CHAT_PATH: &str = "/v1/chat/completions";
const KEY: &str = "a-key-that-opens-1234";
/// Longer than anything here takes, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// What work gives. Work that hangs fails its test.
async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("{what}: nothing within {PATIENCE:?}"))
}

/// An object with these fields too.
fn with(mut body: Value, fields: Value) -> Value {
    let (Value::Object(body_fields), Value::Object(fields)) = (&mut body, fields) else {
        panic!("fields of an object")
    };
    body_fields.extend(fields);
    body
}

/// Fails where an object has not these fields.
#[track_caller]
fn expect(found: &Value, fields: Value) {
    for (name, expected) in fields.as_object().unwrap() {
        assert_eq!(found[name], *expected, "{name} of {found}");
    }
}

fn load() -> Load {
    Box::new(|| {
        let options = Options {
            device: "software".to_owned(),
            context: ContextSize::Tokens(1024),
            sequences: 4,
            scores_prompts: true,
            ..Options::default()
        };
        let engine = block_on(Engine::load(lyn::models::stories(), &options, &mut |_| true))?;
        Ok(ServedModel { engine, blocks: None })
    })
}

fn engine() -> (Worker, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new());
    let (worker, _) = Worker::start(load(), AnswerLimits::default(), Arc::clone(&metrics)).unwrap();
    (worker, metrics)
}

/// The engine that tests share.
fn shared() -> &'static (Worker, Arc<Metrics>) {
    static SHARED: OnceLock<(Worker, Arc<Metrics>)> = OnceLock::new();
    SHARED.get_or_init(engine)
}

async fn ready(worker: &Worker) {
    let mut stage = worker.stage();
    let loaded = stage.wait_for(|stage| !matches!(stage, Stage::Loading));
    let stage = within("loading", loaded).await.unwrap().clone();
    assert!(matches!(stage, Stage::Ready(_)), "the model is not loaded");
}

fn settings() -> ServerSettings {
    let models = ModelIds { loaded: "stories".to_owned(), aliases: vec![], accept_any: false };
    ServerSettings { models, parallel: 4, max_queue: 64, max_queue_per_key: 16, ..ServerSettings::default() }
}

fn rules(keys: &[&str]) -> GuardRules {
    GuardRules {
        keys: keys.iter().map(|key| digest(key.as_bytes())).collect(),
        max_body: 8 << 20,
        ..GuardRules::default()
    }
}

/// A server of its own around the shared engine.
async fn server(settings: ServerSettings, rules: GuardRules, page: Option<Page>) -> Shared {
    let (worker, metrics) = shared();
    ready(worker).await;
    Server::new(settings, worker.clone(), Arc::clone(metrics), Guard::new(rules), page)
}

async fn open_server() -> Shared {
    server(settings(), rules(&[]), None).await
}

/// A server with an engine of its own, to watch.
async fn own_server() -> (Shared, Worker, Arc<Metrics>) {
    let (worker, metrics) = engine();
    ready(&worker).await;
    let server = Server::new(settings(), worker.clone(), Arc::clone(&metrics), Guard::new(rules(&[])), None);
    (server, worker, metrics)
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    #[track_caller]
    fn ok(self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text);
        self.json()
    }

    /// The envelope's message; every refusal has one.
    #[track_caller]
    fn refused(&self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert!(self.headers["content-type"].to_str().unwrap().starts_with("application/json"));
        let error = &self.json()["error"];
        assert!(error["type"].is_string() && error.get("param").is_some() && error.get("code").is_some(), "{error}");
        error["message"].as_str().unwrap().to_owned()
    }

    /// The events of a stream, and whether `[DONE]` is the last.
    fn events(&self) -> (Vec<Value>, bool) {
        let mut data: Vec<&str> = self.text.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).collect();
        let done = data.last() == Some(&"[DONE]");
        if done {
            data.pop();
        }
        (data.iter().map(|event| serde_json::from_str(event).unwrap()).collect(), done)
    }

    /// The events of a stream that go by names, which are also their types.
    fn named_events(&self) -> Vec<Value> {
        let event = |event: &str| {
            let (name, data) = event.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
            let data: Value = serde_json::from_str(data).unwrap();
            assert_eq!(data["type"], name);
            data
        };
        self.text.split_terminator("\n\n").map(event).collect()
    }

    /// All text of one kind in a stream.
    fn deltas(&self, key: &str) -> String {
        self.events().0.iter().filter_map(|event| event["choices"][0]["delta"][key].as_str()).collect()
    }
}

/// Fields that the answer says were ignored, in order.
fn ignored(answer: &Answer) -> Vec<&str> {
    let mut fields: Vec<&str> = answer.headers["x-lyn-ignored-fields"].to_str().unwrap().split(", ").collect();
    fields.sort_unstable();
    fields
}

/// A response as soon as it has begun.
async fn begin(app: &Router, request: Request<Body>) -> Response {
    let what = format!("{} {}", request.method(), request.uri());
    within(&what, app.clone().oneshot(request)).await.unwrap()
}

/// The rest of a response.
async fn rest(body: Body) -> String {
    let bytes = within("the end of a response", body.collect()).await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn send(app: &Router, request: Request<Body>) -> Answer {
    let (head, body) = begin(app, request).await.into_parts();
    Answer { status: head.status, headers: head.headers, text: rest(body).await }
}

/// The body of a chat that goes on for a while, after its first pieces.
async fn begun_chat(app: &Router, fields: Value, pieces: usize) -> Body {
    let endless = json!({ "max_tokens": 400, "stream": true, "logit_bias": { "1": -100 } });
    let streamed = request("POST", CHAT_PATH, &[], asked(with(endless, fields)).to_string());
    let response = begin(app, streamed).await;
    assert_eq!(response.status(), StatusCode::OK);
    let mut body = response.into_body();
    for _ in 0..pieces {
        within("a piece of a stream", body.frame()).await.unwrap().unwrap();
    }
    body
}

fn request(method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Request<Body> {
    let mut builder = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        builder = builder.header("host", "localhost:8080");
    }
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(body.into()).unwrap()
}

async fn get(app: &Router, path: &str) -> Answer {
    send(app, request("GET", path, &[], "")).await
}

async fn post(app: &Router, path: &str, body: &Value) -> Answer {
    send(app, request("POST", path, &[("content-type", "application/json")], body.to_string())).await
}

/// A chat request with these fields beside a short, greedy default.
fn asked(fields: Value) -> Value {
    let body = json!({
        "model": "deepseek-chat", "max_tokens": 8, "temperature": 0,
        "messages": [{ "role": "user", "content": "Tell me about a dog" }],
    });
    with(body, fields)
}

async fn chat(app: &Router, fields: Value) -> Answer {
    post(app, CHAT_PATH, &asked(fields)).await
}

#[tokio::test]
async fn a_request_is_answered_on_every_path() {
    let app = app(&open_server().await);
    let body = json!({
        "model": "deepseek-v3.2-exp", "max_tokens": 12, "temperature": 0.7, "stream": false,
        "messages": [
            { "role": "system", "content": "You are a helpful assistant." },
            { "role": "user", "content": "Explain sparse attention." },
        ],
    });
    let doubled = "//v1//chat/completions/";
    for path in CHAT.iter().copied().chain([doubled]) {
        // An unset variable in the shell leaves an empty key; curl without a content type calls it a form.
        let headers = [("authorization", "Bearer "), ("content-type", "application/x-www-form-urlencoded")];
        let answer = send(&app, request("POST", path, &headers, body.to_string())).await.ok();
        assert!(!answer["choices"][0]["message"]["content"].as_str().unwrap().is_empty(), "{path}: {answer}");
    }
}

#[tokio::test]
async fn thinking_follows_the_body_then_the_model() {
    let app = app(&open_server().await);
    for (fields, thinks) in [
        (json!({ "model": "deepseek-chat" }), false),
        (json!({ "model": "deepseek-reasoner" }), true),
        (json!({ "model": "DeepSeek-V3.2-Exp-thinking" }), true),
        (json!({ "model": "DeepSeek-V3.2-Exp-nothinking" }), false),
        (json!({ "model": "deepseek-chat", "thinking": { "type": "enabled" } }), true),
        (json!({ "model": "deepseek-reasoner", "thinking": { "type": "disabled" } }), false),
        (json!({ "model": "deepseek-reasoner", "thinking": null }), true),
        (json!({ "model": "deepseek-reasoner", "reasoning_effort": "none" }), false),
        (json!({ "chat_template_kwargs": { "thinking": true } }), true),
    ] {
        let answer = chat(&app, fields.clone()).await.ok();
        let message = &answer["choices"][0]["message"];
        assert_eq!(message.get("reasoning_content").is_some(), thinks, "{fields}: {answer}");
        assert_eq!(answer["model"], asked(fields)["model"]);
    }
}

#[tokio::test]
async fn models_and_balance() {
    let mut settings = settings();
    settings.models.aliases.push(Alias { name: "house/mine".to_owned(), thinking: true });
    let app = app(&server(settings, rules(&[]), None).await);
    let list = get(&app, "/v1/models").await.ok();
    let ids: Vec<&str> = list["data"].as_array().unwrap().iter().filter_map(|model| model["id"].as_str()).collect();
    for id in ["stories", "house/mine", "deepseek-chat", "deepseek-reasoner"] {
        assert!(ids.contains(&id), "{ids:?}");
        assert_eq!(get(&app, &format!("/models/{id}")).await.ok()["object"], "model");
    }
    let missing = get(&app, "/v1/models/nope").await;
    assert!(missing.refused(404).contains("nope"));
    assert_eq!(missing.json()["error"]["code"], "model_not_found");
    for path in BALANCE {
        let balance = get(&app, path).await.ok();
        assert!(balance["is_available"].is_boolean() && balance["balance_infos"][0]["total_balance"].is_string());
    }
}

#[tokio::test]
async fn names_of_models() {
    let app = app(&open_server().await);
    for id in ["DEEPSEEK-V3.2-EXP", " deepseek-chat ", "deepseek-ai/DeepSeek-V3.2-Exp", "stories"] {
        assert_eq!(chat(&app, json!({ "model": id })).await.ok()["model"], id);
    }
    let unknown = chat(&app, json!({ "model": "gpt-2" })).await;
    assert!(unknown.refused(400).starts_with("Model Not Exist"));
    let mut any = settings();
    any.models.accept_any = true;
    let any = super::app(&server(any, rules(&[]), None).await);
    assert_eq!(chat(&any, json!({ "model": "gpt-2" })).await.ok()["model"], "gpt-2");
}

#[tokio::test]
async fn health_and_what_is_not_there() {
    let app = app(&open_server().await);
    for path in HEALTH {
        assert_eq!(get(&app, path).await.ok()["status"], "ok");
    }
    for path in ["/nope", "/v1/embeddings", "/v1/images/generations", "/v1/chat"] {
        let answer = post(&app, path, &json!({})).await;
        assert!(answer.refused(404).contains(path));
    }
    let answer = get(&app, CHAT_PATH).await;
    answer.refused(405);
    assert_eq!(answer.headers["allow"], "POST");
}

/// Every route with every method, without a key: only one is open.
#[tokio::test]
async fn without_a_key_only_health_answers() {
    let app = app(&server(settings(), rules(&[KEY]), None).await);
    let others =
        ["/ready", "/metrics", "/version", "/props", "/tokenize", "/detokenize", "/apply-template", "/", "/nope"];
    let paths = [CHAT, COMPLETIONS, MODELS, MESSAGES, COUNT_TOKENS, BALANCE, HEALTH, &others].concat();
    for path in paths {
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD"] {
            let answer = send(&app, request(method, path, &[], "{}")).await;
            let open = method == "GET" && path == "/health";
            let expected = if open { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
            assert_eq!(answer.status, expected, "{method} {path}");
            assert_eq!(answer.headers.contains_key("www-authenticate"), !open);
        }
    }
    let wrong = send(&app, request("GET", "/v1/models", &[("authorization", "Bearer wrong-key-99-abcd")], "")).await;
    assert_eq!(wrong.refused(401), "Authentication Fails, Your api key: ****abcd is invalid");
    assert_eq!(wrong.json()["error"]["type"], "authentication_error");
    for (name, value) in [("x-api-key", KEY), ("api-key", KEY), ("authorization", &format!("bearer  {KEY}"))] {
        send(&app, request("GET", "/v1/models", &[(name, value)], "")).await.ok();
    }
}

#[tokio::test]
async fn an_open_server_takes_any_key() {
    let app = app(&open_server().await);
    let long = format!("Bearer {}", "x".repeat(40_000));
    for key in ["", "Bearer ", "Bearer anything", "Basic eA==", &long] {
        send(&app, request("GET", "/v1/models", &[("authorization", key)], "")).await.ok();
    }
}

#[tokio::test]
async fn pages_of_other_origins_ask_only_where_they_may() {
    let origins = vec!["https://app.example".to_owned()];
    let app = app(&server(settings(), GuardRules { origins, ..rules(&[KEY]) }, None).await);
    let preflight = |origin: &'static str| {
        let wanted = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "content-type, x-stainless-os"),
        ];
        request("OPTIONS", CHAT_PATH, &wanted, "")
    };
    let allowed = send(&app, preflight("https://app.example")).await;
    assert_eq!(allowed.status, StatusCode::NO_CONTENT);
    assert_eq!(allowed.headers["access-control-allow-origin"], "https://app.example");
    assert_eq!(allowed.headers["access-control-allow-headers"], "content-type, x-stainless-os");
    assert_eq!(allowed.headers["access-control-max-age"], "86400");
    assert!(allowed.headers["access-control-expose-headers"].to_str().unwrap().contains("x-request-id"));
    let foreign = send(&app, preflight("https://evil.example")).await;
    foreign.refused(403);
    assert!(!foreign.headers.contains_key("access-control-allow-origin"));
    let key = ("x-api-key", KEY);
    let simple = [("origin", "http://localhost:8080"), ("content-type", "text/plain"), key];
    send(&app, request("POST", CHAT_PATH, &simple, asked(json!({})).to_string())).await.refused(415);
    let own = [("origin", "http://localhost:8080"), ("content-type", "application/json"), key];
    let answer = send(&app, request("POST", CHAT_PATH, &own, asked(json!({})).to_string())).await;
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
    answer.ok();
}

#[tokio::test]
async fn large_bodies_and_foreign_hosts_are_refused() {
    let app = app(&server(settings(), GuardRules { max_body: 1000, ..rules(&[]) }, None).await);
    let long = asked(json!({ "user": "x".repeat(2000) })).to_string();
    let length = long.len().to_string();
    let said = send(&app, request("POST", CHAT_PATH, &[("content-length", &length)], long.clone())).await;
    assert!(said.refused(413).contains("at most 1000 bytes"));
    assert_eq!(said.headers["connection"], "close");
    let chunks = long.as_bytes().chunks(100).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec()));
    let unsaid = Body::from_stream(futures_util::stream::iter(chunks.collect::<Vec<_>>()));
    send(&app, request("POST", CHAT_PATH, &[], unsaid)).await.refused(413);
    send(&app, request("POST", CHAT_PATH, &[("content-encoding", "gzip")], "x")).await.refused(415);
    send(&app, request("GET", "/v1/models", &[("host", "evil.example")], "")).await.refused(403);
    send(&app, request("GET", &format!("/{}", "x".repeat(9000)), &[], "")).await.refused(414);
    chat(&app, json!({})).await.ok();
}

#[tokio::test]
async fn requests_have_ids() {
    let app = app(&open_server().await);
    let own = send(&app, request("GET", "/nope", &[("x-request-id", "my-id.1")], "")).await;
    assert_eq!(own.headers["x-request-id"], "my-id.1");
    for odd in ["x".repeat(129), "two words".to_owned()] {
        let answer = send(&app, request("GET", "/health", &[("x-request-id", &odd)], "")).await;
        let id = answer.headers["x-request-id"].to_str().unwrap();
        assert!(uuid::Uuid::parse_str(id).is_ok(), "{id}");
    }
}

/// Waits until the engine has nothing to do.
async fn idle(metrics: &Metrics) {
    for _ in 0..500 {
        if figure(metrics, "lyn_requests_running") + figure(metrics, "lyn_requests_waiting") == 0.0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the engine goes on: {}", metrics.render());
}

/// The sum of a figure over all labels.
fn figure(metrics: &Metrics, name: &str) -> f64 {
    let text = metrics.render();
    let named =
        text.lines().filter(|line| line.starts_with(&format!("{name} ")) || line.starts_with(&format!("{name}{{")));
    named.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Clients that leave, in a stream and before an answer, with an engine of their own to watch.
#[tokio::test]
async fn what_nobody_waits_for_stops() {
    let (server, _, metrics) = own_server().await;
    let app = app(&server);
    drop(begun_chat(&app, json!({ "temperature": 1 }), 4).await);
    idle(&metrics).await;
    let made = figure(&metrics, "lyn_generation_tokens_total");
    assert!(made < 300.0, "{made} tokens were made for nobody");
    // Without a stream, and more of them than the engine makes at once.
    let whole = asked(json!({ "max_tokens": 400, "logit_bias": { "1": -100 } })).to_string();
    let waiting = join_all((0..8).map(|_| send(&app, request("POST", CHAT_PATH, &[], whole.clone()))));
    assert!(tokio::time::timeout(Duration::from_millis(300), waiting).await.is_err());
    idle(&metrics).await;
    assert_eq!(server.answers(), 0);
    assert!(figure(&metrics, "lyn_aborted_total") >= 2.0, "{}", metrics.render());
    chat(&app, json!({})).await.ok();
}

/// A representative of each kind; the runtime's own tests go through all fields.
#[tokio::test]
async fn wrong_requests_are_400_with_the_field_s_name() {
    let app = app(&open_server().await);
    let user = json!({ "role": "user", "content": "x" });
    for (fields, says) in [
        (json!({ "temperature": 2.1 }), "Invalid temperature value"),
        (json!({ "top_p": 0 }), "Invalid top_p value"),
        (json!({ "presence_penalty": -2.1 }), "Invalid presence_penalty value"),
        (json!({ "max_tokens": -1 }), "[1, "),
        (json!({ "stop": vec!["x"; 17] }), "stop"),
        (json!({ "top_logprobs": 21, "logprobs": true }), "Invalid top_logprobs value"),
        (json!({ "top_logprobs": 2 }), "logprobs must be set to true"),
        (json!({ "tool_choice": "maybe" }), "tool_choice"),
        (json!({ "messages": [] }), "Empty input messages"),
        (json!({ "messages": null }), "messages"),
        (json!({ "messages": [{ "role": "function", "content": "x" }] }), "messages[0].role"),
        (json!({ "messages": [{ "role": "user", "content": 5 }] }), "messages[0]"),
        (json!({ "n": 100 }), "n"),
        (json!({ "messages": [user, { "role": "user", "content": "x ".repeat(2000) }] }), "context"),
    ] {
        let message = chat(&app, fields.clone()).await.refused(400);
        assert!(message.contains(says), "{fields}: {message}");
    }
    for (body, says) in
        [("{\"messages\": [", "byte 14"), ("", "byte 0"), ("\"x\"", "expected an object"), ("{\u{0}}", "byte 1")]
    {
        let message = send(&app, request("POST", CHAT_PATH, &[], body)).await.refused(400);
        assert!(message.contains(says), "{body}: {message}");
    }
    let deep = format!("{{\"messages\": {}", "[".repeat(10_000));
    send(&app, request("POST", CHAT_PATH, &[], deep)).await.refused(400);
    send(&app, request("POST", CHAT_PATH, &[], vec![b'{', 0xff, b'}'])).await.refused(400);
    chat(&app, json!({ "temperature": 2, "top_p": 1, "stop": null, "tools": null, "tool_choice": "none" })).await.ok();
}

#[tokio::test]
async fn the_whole_answer() {
    let app = app(&open_server().await);
    let answer = chat(&app, json!({ "seed": 7, "temperature": 1 })).await;
    assert_eq!(answer.headers["x-seed"], "7");
    assert_eq!(answer.headers["content-type"], "application/json; charset=utf-8");
    let answer = answer.ok();
    assert!(uuid::Uuid::parse_str(answer["id"].as_str().unwrap()).is_ok());
    assert_eq!(answer["object"], "chat.completion");
    assert!(answer["created"].as_u64().unwrap().abs_diff(super::shared::unix_seconds()) <= 5);
    let usage = |key: &str| answer["usage"][key].as_u64().unwrap();
    assert_eq!(usage("total_tokens"), usage("prompt_tokens") + usage("completion_tokens"));
    assert_eq!(usage("prompt_tokens"), usage("prompt_cache_hit_tokens") + usage("prompt_cache_miss_tokens"));
    assert!(answer["timings"]["predicted_n"].is_u64());
    let one = chat(&app, json!({ "max_tokens": 1 })).await.ok();
    assert!(one["choices"][0]["finish_reason"] == "length" && one["usage"]["completion_tokens"] == 1, "{one}");
    let thought = chat(&app, json!({ "model": "deepseek-reasoner", "max_tokens": 5 })).await.ok();
    let message = &thought["choices"][0]["message"];
    assert_eq!((&message["content"], message["reasoning_content"].as_str().unwrap().is_empty()), (&json!(""), false));
}

#[tokio::test]
async fn seeds_and_biases() {
    let app = app(&open_server().await);
    let text = async |fields: Value| {
        let answer = chat(&app, fields).await.ok();
        answer["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
    };
    let hot = |seed: u64| json!({ "temperature": 2, "seed": seed, "max_tokens": 12 });
    assert_eq!(text(json!({})).await, text(json!({})).await);
    assert_eq!(text(hot(1)).await, text(hot(1)).await);
    assert_ne!(text(hot(1)).await, text(hot(2)).await);
    let tokens = post(&app, "/tokenize", &json!({ "content": text(json!({ "max_tokens": 1 })).await })).await.ok();
    let first = tokens["tokens"][0].to_string();
    assert_ne!(text(json!({})).await, text(json!({ "logit_bias": { first: -100 } })).await);
}

#[tokio::test]
async fn streams_have_deepseek_s_shape() {
    let app = app(&open_server().await);
    for (model, apart) in [("deepseek-chat", false), ("deepseek-reasoner", true)] {
        let options = if apart { json!({ "include_usage": true }) } else { Value::Null };
        let answer = chat(&app, json!({ "model": model, "stream": true, "stream_options": options })).await;
        assert_eq!(answer.headers["content-type"], "text/event-stream; charset=utf-8");
        assert_eq!(answer.headers["cache-control"], "no-cache");
        let (events, done) = answer.events();
        assert!(done);
        assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
        let head = |event: &Value| (event["id"].clone(), event["created"].clone(), event["object"].clone());
        assert!(events.iter().all(|event| head(event) == head(&events[0])));
        let whole = chat(&app, json!({ "model": model })).await.ok();
        for key in ["content", "reasoning_content"] {
            let expected = whole["choices"][0]["message"][key].as_str().unwrap_or_default();
            assert_eq!(answer.deltas(key), expected, "{model} {key}");
        }
        let counted: Vec<usize> =
            (0..events.len()).filter(|&index| events[index]["usage"]["total_tokens"].is_u64()).collect();
        assert_eq!(counted, [events.len() - 1]);
        let last = events.last().unwrap();
        assert_eq!(last["choices"].as_array().unwrap().is_empty(), apart);
        assert_eq!(last["usage"]["total_tokens"], whole["usage"]["total_tokens"]);
    }
}

/// The thread panics in the middle of a stream: the stream ends as it should, and the next request is served.
#[tokio::test]
async fn an_engine_that_panics_is_loaded_again() {
    let (server, worker, metrics) = own_server().await;
    let app = app(&server);
    let body = begun_chat(&app, json!({}), 3).await;
    within("a crash", worker.crash()).await;
    let rest = rest(body).await;
    assert!(rest.contains("insufficient_system_resource") && rest.ends_with("data: [DONE]\n\n"), "{rest}");
    assert!(!rest.contains("a test's own"));
    ready(&worker).await;
    chat(&app, json!({})).await.ok();
    assert_eq!(figure(&metrics, "lyn_device_losses_total"), 1.0);
    let reason = "lyn_aborted_total{reason=\"internal\"} 1";
    assert!(metrics.render().contains(reason), "{}", metrics.render());
}

/// Each of many greedy streams says what it says alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_beside_others_are_as_alone() {
    let app = app(&open_server().await);
    let fields = |index: usize| {
        let story =
            ["a dog", "a cat and a ball", "rain", "the sea, where a boy named Tim found a red shell"][index % 4];
        let text = format!("{} Tell me about {story}", "Please. ".repeat(index / 4));
        json!({ "stream": true, "max_tokens": 6 + index % 5, "messages": [{ "role": "user", "content": text }] })
    };
    let together = join_all((0..32).map(|index| chat(&app, fields(index)))).await;
    for (index, answer) in together.iter().enumerate() {
        assert!(answer.events().1);
        let alone = chat(&app, fields(index)).await;
        assert_eq!(answer.deltas("content"), alone.deltas("content"), "stream {index}");
    }
}

#[tokio::test]
async fn prompts_and_tokens_can_be_looked_at() {
    let app = app(&open_server().await);
    let prompt = post(&app, "/apply-template", &asked(json!({}))).await.ok();
    let prompt = prompt["prompt"].as_str().unwrap();
    assert_eq!(prompt, "<｜begin▁of▁sentence｜><｜User｜>Tell me about a dog<｜Assistant｜></think>");
    let counted = post(&app, "/tokenize", &json!({ "messages": asked(json!({}))["messages"] })).await.ok();
    let usage = chat(&app, json!({})).await.ok();
    assert_eq!(counted["count"], usage["usage"]["prompt_tokens"]);
    let ours = post(&app, "/tokenize", &json!({ "content": "a dog 🐶", "with_pieces": true })).await.ok();
    let ids: Vec<&Value> = ours["tokens"].as_array().unwrap().iter().map(|token| &token["id"]).collect();
    let theirs = post(&app, "/tokenize", &json!({ "prompt": "a dog 🐶", "return_token_strs": true })).await.ok();
    // vLLM's shape begins every text.
    assert_eq!(theirs["count"], ids.len() + 1);
    let back = post(&app, "/detokenize", &json!({ "tokens": ids })).await.ok();
    assert_eq!((&back["content"], &back["prompt"]), (&json!("a dog 🐶"), &json!("a dog 🐶")));
    assert!(post(&app, "/detokenize", &json!({ "tokens": [4_000_000] })).await.refused(400).contains("4000000"));
    assert!(post(&app, "/tokenize", &json!({})).await.refused(400).contains("expected one of"));
    let conversation = json!([{ "role": "user", "content": "Hi" }]);
    let mut prompts = vec![];
    for thinking in [false, true] {
        let body = json!({ "messages": conversation, "chat_template_kwargs": { "thinking": thinking } });
        prompts.push(post(&app, "/tokenize", &body).await.ok()["tokens"].clone());
    }
    assert_ne!(prompts[0], prompts[1]);
}

#[tokio::test]
async fn props_say_what_the_page_shows() {
    let app = app(&open_server().await);
    let props = get(&app, "/props").await.ok();
    assert_eq!(props["default_generation_settings"]["n_ctx"], 1024);
    let lyn = &props["lyn"];
    let model = &lyn["model"];
    assert_eq!((&model["id"], &model["context"], &model["chat"]), (&json!("stories"), &json!(1024), &json!(true)));
    assert_eq!(lyn["plan"]["context"], 1024);
    assert_eq!(lyn["adapter"]["kind"], "software");
    assert_eq!(lyn["self_check"]["passed"], true);
}

#[tokio::test]
async fn a_prompt_is_known_to_its_own_key_only() {
    let app = app(&server(settings(), rules(&["first-key", "second-key"]), None).await);
    let long = "Once upon a time there was a dog named Max who liked to play in the garden. ".repeat(16);
    let body = asked(json!({ "messages": [{ "role": "user", "content": long }] })).to_string();
    let mut hits = vec![];
    for key in ["first-key", "first-key", "second-key"] {
        let answer = send(&app, request("POST", CHAT_PATH, &[("x-api-key", key)], body.clone())).await.ok();
        assert!(answer["usage"]["prompt_tokens"].as_u64() > Some(200));
        hits.push(answer["usage"]["prompt_cache_hit_tokens"].as_u64().unwrap());
    }
    assert!(hits[0] == 0 && hits[1] > 0 && hits[1] % 64 == 0 && hits[2] == 0, "{hits:?}");
}

#[tokio::test]
async fn metrics_add_up() {
    let (server, _, metrics) = own_server().await;
    let app = app(&server);
    let mut sums = [0.0; 4];
    for (model, tokens) in [("deepseek-chat", 3), ("deepseek-reasoner", 9), ("deepseek-chat", 3)] {
        let answer = chat(&app, json!({ "model": model, "max_tokens": tokens })).await.ok();
        let usage = &answer["usage"];
        let counts = [
            &usage["prompt_tokens"],
            &usage["completion_tokens"],
            &usage["prompt_cache_hit_tokens"],
            &usage["completion_tokens_details"]["reasoning_tokens"],
        ];
        for (sum, count) in sums.iter_mut().zip(counts) {
            *sum += count.as_f64().unwrap();
        }
    }
    let names = ["prompt", "generation", "prompt_cached", "reasoning"];
    let counted = names.map(|name| figure(&metrics, &format!("lyn_{name}_tokens_total")));
    assert_eq!(counted, sums);
    idle(&metrics).await;
    let answer = get(&app, "/metrics").await;
    assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    for line in [
        "# TYPE lyn_requests_total counter",
        "# TYPE lyn_ttft_seconds histogram",
        "lyn_requests_total{route=\"/v1/chat/completions\",status=\"200\"} 3",
        "lyn_e2e_seconds_count 3",
        "lyn_queue_seconds_count 3",
        "lyn_requests_running 0",
    ] {
        assert!(answer.text.lines().any(|found| found == line), "{line}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_full_queue_is_said_at_once() {
    let settings = ServerSettings { parallel: 1, max_queue: 1, ..settings() };
    let server = server(settings, rules(&[]), None).await;
    let app = app(&server);
    let endless = || begun_chat(&app, json!({ "max_tokens": 300 }), 0);
    let bodies = [endless().await, endless().await];
    let refused = chat(&app, json!({})).await;
    assert!(refused.refused(503).contains("queue is full"));
    assert!(refused.headers["retry-after"] == "5" && refused.headers["retry-after-ms"] == "5000");
    drop(bodies);
    assert_eq!(server.answers(), 0);
    chat(&app, json!({})).await.ok();
}

/// Bodies that are nearly requests: whatever they are, the answer is the client's fault or an answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_bodies_are_answered_or_refused() {
    let app = app(&open_server().await);
    // SplitMix64, with a seed of its own: the same bodies each time.
    let mut state = 84_u64;
    let mut pick = move |most: usize| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % most as u64).unwrap()
    };
    let fields: Vec<&str> = FIELDS.split(' ').collect();
    let mut statuses = [0; 2];
    for _ in 0..1000 {
        let mut body = asked(json!({ "max_tokens": 1 }));
        for _ in 0..=pick(3) {
            let field = fields[pick(fields.len())];
            body[field] = value(&mut pick, 0);
        }
        let mut text = body.to_string().into_bytes();
        if pick(5) == 0 {
            let place = pick(text.len());
            text[place] = u8::try_from(pick(256)).unwrap();
        }
        if pick(9) == 0 {
            text.truncate(pick(text.len()));
        }
        let shown = String::from_utf8_lossy(&text).into_owned();
        // Before the patience of others ends, so that the body is told.
        let answer = tokio::time::timeout(PATIENCE / 2, send(&app, request("POST", CHAT_PATH, &[], text)));
        let status = answer.await.unwrap_or_else(|_| panic!("no answer to {shown}")).status;
        assert!(status == StatusCode::OK || status.is_client_error(), "{status}: {shown}");
        statuses[usize::from(status.is_client_error())] += 1;
    }
    assert!(statuses.iter().all(|&count| count > 50), "{statuses:?}");
}

#[tokio::test]
async fn what_the_hosted_api_refuses_is_refused_on_request() {
    let strict = ServerSettings { compat: Compat::DeepSeek, ..settings() };
    let strict = app(&server(strict, rules(&[]), None).await);
    let open = app(&open_server().await);
    let prefix =
        json!([{ "role": "user", "content": "Hi" }, { "role": "assistant", "content": "Once", "prefix": true }]);
    for fields in [json!({ "max_tokens": 8193 }), json!({ "messages": prefix })] {
        chat(&strict, fields.clone()).await.refused(400);
        chat(&open, fields).await.ok();
    }
    let body = asked(json!({ "messages": prefix }));
    post(&strict, "/beta/chat/completions", &body).await.ok();
}

#[tokio::test]
async fn texts_are_continued_without_a_format() {
    let app = app(&open_server().await);
    let body = json!({ "model": "deepseek-chat", "prompt": "Once upon a time", "max_tokens": 6, "temperature": 0 });
    let answer = post(&app, "/v1/completions", &body).await.ok();
    assert_eq!(answer["object"], "text_completion");
    let text = answer["choices"][0]["text"].as_str().unwrap();
    let counted = post(&app, "/tokenize", &json!({ "prompt": "Once upon a time" })).await.ok();
    assert_eq!(answer["usage"]["prompt_tokens"], counted["count"]);
    let (events, done) = post(&app, "/completions", &with(body.clone(), json!({ "stream": true }))).await.events();
    let said: String = events.iter().filter_map(|event| event["choices"][0]["text"].as_str()).collect();
    assert_eq!((said.as_str(), done), (text, true));
    let several = with(body.clone(), json!({ "prompt": ["Once upon a time", "The dog"], "n": 2, "echo": true }));
    let several = post(&app, "/completions", &several).await.ok();
    let choices = several["choices"].as_array().unwrap();
    let texts: Vec<&str> = choices.iter().map(|choice| choice["text"].as_str().unwrap()).collect();
    assert!(texts.len() == 4 && texts[0] == format!("Once upon a time{text}") && texts[3].starts_with("The dog"));
    // The built-in model knows no holes.
    let hole = with(body, json!({ "suffix": "The end." }));
    assert!(post(&app, "/beta/completions", &hole).await.refused(400).contains("suffix"));
    assert!(post(&app, "/completions", &json!({ "model": "deepseek-chat" })).await.refused(400).contains("prompt"));
}

/// What nobody knows is named, not dropped unseen.
#[tokio::test]
async fn unknown_fields_are_named() {
    let app = app(&open_server().await);
    let answer = chat(&app, json!({ "warp": 9, "metadata": {}, "user": "me" })).await;
    let named = answer.headers["x-lyn-ignored-fields"].to_str().unwrap().to_owned();
    assert!(named.contains("warp"), "{named}");
    assert!(answer.ok()["system_fingerprint"].as_str().unwrap().starts_with("fp_"));
}

/// Random weights of this size write no JSON of their own accord.
#[tokio::test]
async fn answers_are_held_to_a_form() {
    let app = app(&open_server().await);
    let schema = json!({
        "type": "object", "properties": { "age": { "type": "integer", "minimum": 1, "maximum": 9 } },
        "required": ["age"], "additionalProperties": false,
    });
    let format = json!({ "type": "json_schema", "json_schema": { "name": "x", "schema": schema } });
    let fields = json!({ "response_format": format, "temperature": 1.5, "max_tokens": 60 });
    let answer = chat(&app, fields).await.ok();
    let made: Value = serde_json::from_str(answer["choices"][0]["message"]["content"].as_str().unwrap()).unwrap();
    assert!((1..=9).contains(&made["age"].as_i64().unwrap()), "{made}");
    let tool = json!({ "type": "function", "function": { "name": "grow", "strict": true, "parameters": schema } });
    let fields =
        json!({ "tools": [tool], "tool_choice": "required", "temperature": 1.5, "max_tokens": 120, "stream": true });
    let (events, done) = chat(&app, fields).await.events();
    let calls = events.iter().filter_map(|event| event["choices"][0]["delta"]["tool_calls"].get(0));
    assert_eq!(calls.clone().find_map(|call| call["function"]["name"].as_str()), Some("grow"));
    assert!(done && calls.count() > 1);
    let finish = events.iter().find_map(|event| event["choices"][0]["finish_reason"].as_str());
    assert!(matches!(finish, Some("tool_calls" | "length")), "{finish:?}");
    let odd = json!({ "type": "json_schema", "json_schema": { "name": "x", "schema": { "not": {} } } });
    assert!(chat(&app, json!({ "response_format": odd })).await.refused(422).contains("not"));
    let without = json!({ "response_format": { "type": "json_object" } });
    assert!(chat(&app, without).await.refused(400).contains("json"));
}

#[tokio::test]
async fn several_answers_to_one_request() {
    let app = app(&open_server().await);
    let fields = json!({ "n": 3, "temperature": 1.5, "seed": 3, "max_tokens": 10 });
    let whole = chat(&app, fields.clone()).await.ok();
    let choices = whole["choices"].as_array().unwrap();
    assert_eq!(choices.iter().map(|choice| choice["index"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2]);
    let said = |choice: &Value| choice["message"]["content"].as_str().unwrap().to_owned();
    assert!(said(&choices[0]) != said(&choices[1]) || said(&choices[1]) != said(&choices[2]));
    let (events, done) = chat(&app, with(fields, json!({ "stream": true }))).await.events();
    assert!(done);
    for (index, choice) in choices.iter().enumerate() {
        let own = events.iter().filter_map(|event| event["choices"].get(0)).filter(|choice| choice["index"] == index);
        let text: String = own.clone().filter_map(|choice| choice["delta"]["content"].as_str()).collect();
        assert_eq!(text, said(choice), "choice {index}");
        assert_eq!(own.filter(|choice| choice["finish_reason"].is_string()).count(), 1);
    }
    assert_eq!(events.iter().filter(|event| event["usage"].is_object()).count(), 1);
}

#[tokio::test]
async fn anthropic_s_messages_are_the_same_conversation() {
    let app = app(&open_server().await);
    let body = |stream: bool, thinking: &str| {
        json!({
            "model": "claude-any", "max_tokens": 8, "temperature": 0, "stream": stream, "metadata": {},
            "system": [{ "type": "text", "text": "Be kind." }], "thinking": { "type": thinking, "budget_tokens": 1024 },
            "messages": [{ "role": "user", "content": [{ "type": "text", "text": "Tell me about a dog" }] }],
        })
    };
    let messages = json!([
        { "role": "system", "content": "Be kind." }, { "role": "user", "content": "Tell me about a dog" },
    ]);
    for (thinking, kind, field) in [("disabled", "text", "content"), ("enabled", "thinking", "reasoning_content")] {
        let same = chat(&app, json!({ "messages": messages, "thinking": { "type": thinking } })).await.ok();
        let text = same["choices"][0]["message"][field].as_str().unwrap().to_owned();
        let whole = post(&app, "/v1/messages", &body(false, thinking)).await.ok();
        expect(
            &whole,
            json!({ "type": "message", "role": "assistant", "model": "claude-any", "stop_reason": "max_tokens" }),
        );
        expect(&whole["content"][0], json!({ "type": kind, kind: text }));
        let usage = |key: &str| whole["usage"][key].as_u64().unwrap();
        let read = usage("input_tokens") + usage("cache_read_input_tokens");
        assert_eq!(same["usage"]["prompt_tokens"], read);
        let events = post(&app, "/anthropic/v1/messages", &body(true, thinking)).await.named_events();
        let names: Vec<&Value> =
            events.iter().map(|event| &event["type"]).filter(|name| **name != "content_block_delta").collect();
        let shape = ["message_start", "content_block_start", "content_block_stop", "message_delta", "message_stop"];
        assert_eq!(names, shape);
        let said: String = events.iter().filter_map(|event| event["delta"][kind].as_str()).collect();
        assert_eq!(said, text);
    }
    let counted = post(&app, "/v1/messages/count_tokens", &body(false, "disabled")).await.ok();
    let prompt = post(&app, "/tokenize", &json!({ "messages": messages })).await.ok();
    assert_eq!(counted["input_tokens"], prompt["count"]);
    let wrong = post(&app, "/v1/messages", &json!({ "model": "x", "messages": [] })).await;
    assert_eq!((wrong.status.as_u16(), &wrong.json()["type"]), (400, &json!("error")));
    assert_eq!(wrong.json()["error"]["type"], "invalid_request_error");
}

#[tokio::test]
async fn ollama_s_lines_are_the_same_conversation() {
    let app = app(&open_server().await);
    let same = chat(&app, json!({})).await.ok();
    let text = same["choices"][0]["message"]["content"].as_str().unwrap();
    let options = json!({ "temperature": 0, "num_predict": 8 });
    let body = json!({ "model": "deepseek-chat", "messages": asked(json!({}))["messages"], "options": options });
    let streamed = post(&app, "/api/chat", &body).await;
    assert_eq!(streamed.headers["content-type"], "application/x-ndjson");
    let lines: Vec<Value> = streamed.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let said: String = lines.iter().filter_map(|line| line["message"]["content"].as_str()).collect();
    assert_eq!(said, text);
    let last = lines.last().unwrap();
    expect(last, json!({ "done": true, "done_reason": "length", "eval_count": 8 }));
    let whole = with(body, json!({ "stream": false }));
    assert_eq!(post(&app, "/api/chat", &whole).await.ok()["message"]["content"], text);
    let prompt =
        json!({ "model": "deepseek-chat", "prompt": "Tell me about a dog", "stream": false, "options": options });
    assert_eq!(post(&app, "/api/generate", &prompt).await.ok()["response"], text);
    let tags = get(&app, "/api/tags").await.ok();
    assert!(tags["models"].as_array().unwrap().iter().any(|model| model["name"] == "stories"));
    let wrong = post(&app, "/api/chat", &json!({ "model": "stories", "messages": "x" })).await;
    assert!(wrong.status == StatusCode::BAD_REQUEST && wrong.json()["error"].is_string());
}

const FIELDS: &str = "model messages max_tokens temperature top_p top_k min_p seed stop presence_penalty \
    frequency_penalty repetition_penalty logit_bias logprobs top_logprobs stream stream_options thinking \
    reasoning_effort chat_template_kwargs n tools tool_choice response_format user unknown";

fn value(pick: &mut impl FnMut(usize) -> usize, depth: usize) -> Value {
    match pick(if depth > 3 { 7 } else { 10 }) {
        0 => Value::Null,
        1 => json!(pick(2) == 0),
        2 => json!(pick(5)),
        3 => {
            [json!(-1), json!(0), json!(2_147_483_648_u64), json!(u64::MAX), json!(1e308), json!(-0.5)][pick(6)].clone()
        }
        4 => serde_json::from_str("1e999").unwrap_or(Value::Null),
        5 => json!(["x", "", "auto", "none", "\u{0}", "user", "json_object", "a b", "🐶"][pick(9)]),
        6 => json!([{ "role": "user", "content": "Hi" }]),
        7 => (0..pick(4)).map(|_| value(pick, depth + 1)).collect(),
        _ => {
            let keys = ["type", "role", "content", "function", "name", "1", "include_usage", "thinking"];
            (0..pick(4)).map(|_| (keys[pick(keys.len())].to_owned(), value(pick, depth + 1))).collect()
        }
    }
}

#[tokio::test]
async fn the_page_is_at_the_root_with_its_policy_and_without_a_key() {
    let folder = std::env::temp_dir().join(format!("lyn-served-page-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for (name, text) in [("index.html", "<head><title>page</title></head>"), ("a.wasm", "\0asm"), ("main.js", "1")] {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let app = app(&server(settings(), rules(&[KEY]), Page::open(&folder)).await);
    for (path, kind) in [("/", "text/html"), ("/a.wasm", "application/wasm"), ("/main.js", "text/javascript")] {
        let answer = get(&app, path).await;
        assert_eq!((answer.status, answer.headers["content-type"].to_str().unwrap()), (StatusCode::OK, kind), "{path}");
        assert!(answer.headers["content-security-policy"].to_str().unwrap().contains("frame-ancestors 'none'"));
    }
    for path in ["/", "/index.html"] {
        let told = r#"<head><title>page</title><meta name="lyn-server" content="." /></head>"#;
        assert_eq!(get(&app, path).await.text, told);
    }
    get(&app, "/absent.js").await.refused(401);
    get(&app, "/v1/models").await.refused(401);
    std::fs::remove_dir_all(folder).unwrap();
    let bare = super::app(&open_server().await);
    assert!(get(&bare, "/").await.text.contains("web/build"));
}

#[tokio::test]
async fn while_it_drains_nothing_new_is_begun() {
    let server = open_server().await;
    let app = app(&server);
    server.drain();
    assert_eq!(get(&app, "/health").await.status, StatusCode::SERVICE_UNAVAILABLE);
    chat(&app, json!({})).await.refused(503);
}

#[tokio::test]
async fn messages_as_clients_send_them() {
    let app = app(&open_server().await);
    let parts = |parts: Value| json!({ "messages": [{ "role": "user", "content": parts }] });
    let prompt = async |fields: Value| post(&app, "/apply-template", &asked(fields)).await.ok()["prompt"].clone();
    let two = json!([{ "type": "text", "text": "Tell me " }, { "type": "text", "text": "about a dog" }]);
    assert_eq!(prompt(parts(two)).await, prompt(json!({})).await);
    let image = chat(&app, parts(json!([{ "type": "image_url", "image_url": { "url": "x" } }]))).await;
    assert_eq!(image.refused(400), "This model does not support image");
    // DeepSeek's documented sample, where everything optional is null.
    let nulls = json!({
        "frequency_penalty": 0, "presence_penalty": 0, "response_format": { "type": "text" }, "stop": null, "stream": false,
        "stream_options": null, "temperature": 1, "top_p": 1, "tools": null, "tool_choice": "none", "logprobs": false,
        "top_logprobs": null,
    });
    chat(&app, nulls).await.ok();
    // Results of calls may come in any order.
    let call =
        |id: &str, name: &str| json!({ "id": id, "type": "function", "function": { "name": name, "arguments": "{}" } });
    let result = |id: &str, text: &str| json!({ "role": "tool", "tool_call_id": id, "content": text });
    let turns = |rest: Vec<Value>| {
        let calls = json!({ "role": "assistant", "content": null, "tool_calls": [call("a", "one"), call("b", "two")] });
        let messages = [vec![json!({ "role": "user", "content": "Hi" }), calls], rest].concat();
        json!({ "messages": messages })
    };
    let ordered = prompt(turns(vec![result("a", "1"), result("b", "2")])).await;
    assert_eq!(prompt(turns(vec![result("b", "2"), result("a", "1")])).await, ordered);
    // A call without its result is served: other programs cut their histories.
    chat(&app, turns(vec![json!({ "role": "user", "content": "Well?" })])).await.ok();
    let long = chat(&app, json!({ "messages": [{ "role": "user", "content": "word ".repeat(3000) }] })).await;
    long.refused(400);
    assert_eq!(long.json()["error"]["code"], "context_length_exceeded");
    chat(&app, json!({})).await.ok();
}

#[tokio::test]
async fn log_probabilities_are_listed_for_every_token() {
    let app = app(&open_server().await);
    let answer = chat(&app, json!({ "logprobs": true, "top_logprobs": 5 })).await.ok();
    let listed = answer["choices"][0]["logprobs"]["content"].as_array().unwrap();
    assert_eq!(listed.len() as u64, answer["usage"]["completion_tokens"].as_u64().unwrap());
    let mut text = vec![];
    for entry in listed {
        let bytes: Vec<u8> = serde_json::from_value(entry["bytes"].clone()).unwrap();
        assert_eq!(entry["token"], String::from_utf8_lossy(&bytes).as_ref());
        let top: Vec<f64> =
            entry["top_logprobs"].as_array().unwrap().iter().map(|top| top["logprob"].as_f64().unwrap()).collect();
        assert!(top.len() == 5 && top.is_sorted_by(|a, b| a >= b) && top[0] <= 0.0, "{entry}");
        text.extend(bytes);
    }
    assert_eq!(String::from_utf8(text).unwrap(), answer["choices"][0]["message"]["content"].as_str().unwrap());
}

#[tokio::test]
async fn calls_and_stops_are_kept_to() {
    let app = app(&open_server().await);
    let tool = |name: &str| {
        let parameters = json!({
            "type": "object", "properties": { "size": { "enum": ["big", "small"] } },
            "required": ["size"], "additionalProperties": false,
        });
        json!({ "type": "function", "function": { "name": name, "strict": true, "parameters": parameters } })
    };
    for seed in 0..3 {
        let fields = |choice: Value, parallel: bool| {
            json!({
                "tools": [tool("feed"), tool("walk")], "tool_choice": choice, "parallel_tool_calls": parallel,
                "temperature": 1.5, "seed": seed, "max_tokens": 200,
            })
        };
        let named = json!({ "type": "function", "function": { "name": "walk" } });
        let answer = chat(&app, fields(named.clone(), false)).await.ok();
        let calls = answer["choices"][0]["message"]["tool_calls"].as_array().unwrap();
        assert_eq!((calls.len(), &calls[0]["function"]["name"]), (1, &json!("walk")), "{answer}");
        let arguments: Value = serde_json::from_str(calls[0]["function"]["arguments"].as_str().unwrap()).unwrap();
        assert!(arguments == json!({ "size": "big" }) || arguments == json!({ "size": "small" }), "{arguments}");
        assert_eq!(answer["choices"][0]["finish_reason"], "tool_calls");
        let (events, done) = chat(&app, with(fields(named, false), json!({ "stream": true }))).await.events();
        let deltas = events.iter().filter_map(|event| event["choices"][0]["delta"]["tool_calls"].get(0));
        let joined: String = deltas.filter_map(|call| call["function"]["arguments"].as_str()).collect();
        assert!(done);
        assert_eq!(joined, calls[0]["function"]["arguments"].as_str().unwrap());
        let none = chat(&app, fields(json!("none"), true)).await.ok();
        assert!(none["choices"][0]["message"].get("tool_calls").is_none(), "{none}");
    }
    // A stop text that lies across tokens is not seen, and nothing before it is lost.
    let whole = chat(&app, json!({ "max_tokens": 40 })).await.ok();
    let whole = whole["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
    let stop = &whole[15..22];
    let cut = chat(&app, json!({ "max_tokens": 40, "stop": stop, "stream": true })).await;
    assert_eq!(cut.deltas("content"), whole[..whole.find(stop).unwrap()]);
}
