//! What is refused, and in which words. Oracle: docs/errors.md and docs/server.md, and the envelopes of the dialects, as
//! tables by hand.

use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderName, HeaderValue, Uri};
use axum::response::IntoResponse;
use lyn::error::{Code, Error};

use super::*;
use crate::server::absent::not_found;
use crate::server::cut::Cut;
use crate::server::dialect::ClientDialect;
use crate::server::refusal::Refusal;

/// What a client sees of a refusal.
#[derive(Debug, PartialEq)]
struct Seen {
    status: u16,
    kind: String,
    code: String,
    message: String,
    /// Those about trying again: `retry-after`, `retry-after-ms`, `x-should-retry`.
    again: Vec<String>,
}

/// A refusal as a response; its JSON has all four fields.
async fn seen(refusal: Refusal) -> Seen {
    let response = refusal.into_response();
    let (head, body) = response.into_parts();
    let body: Value = serde_json::from_str(&rest(body).await).unwrap();
    let error = body["error"].as_object().unwrap();
    assert_eq!(error.keys().map(String::as_str).collect::<Vec<_>>(), ["message", "type", "param", "code"]);
    assert_eq!(head.headers["content-type"], "application/json; charset=utf-8");
    let text = |name: &str| error[name].as_str().unwrap().to_owned();
    let again = ["retry-after", "retry-after-ms", "x-should-retry"].into_iter().filter_map(|name| {
        let value = head.headers.get(name)?.to_str().unwrap();
        Some(format!("{name}: {value}"))
    });
    Seen {
        status: head.status.as_u16(),
        kind: text("type"),
        code: text("code"),
        message: text("message"),
        again: again.collect(),
    }
}

fn expected(status: u16, kind: &str, code: &str, message: &str, again: &[&str]) -> Seen {
    let [kind, code, message] = [kind, code, message].map(str::to_owned);
    Seen { status, kind, code, message, again: again.iter().map(|&line| line.to_owned()).collect() }
}

const SOON: &[&str] = &["retry-after: 5", "retry-after-ms: 5000"];
const NEVER: &[&str] = &["x-should-retry: false"];

#[tokio::test]
async fn every_code_has_its_status_its_type_and_its_advice() {
    let request = "invalid_request_error";
    for &code in Code::ALL {
        let seen = seen(Error::new(code, "what went wrong").into()).await;
        let message = "what went wrong";
        assert_eq!(
            seen,
            match code {
                Code::BadRequest => expected(400, request, request, message, &[]),
                Code::ContextOverflow => expected(400, request, "context_length_exceeded", message, &[]),
                Code::InvalidSchema => expected(422, request, request, message, &[]),
                Code::GrammarTooComplex => expected(400, request, "grammar_too_complex", message, &[]),
                Code::OutOfMemory => expected(503, "server_error", "overloaded", message, SOON),
                Code::DeviceLost | Code::GpuTimeout => {
                    let message = "the device was lost; the model is being loaded again";
                    expected(503, "server_error", "device_lost", message, SOON)
                }
                Code::Cancelled => {
                    expected(503, "server_error", "server_shutdown", "the server is stopping", SOON)
                }
                Code::NonFinite => expected(500, "server_error", "non_finite", message, &[]),
                Code::Upstream => expected(502, "server_error", "upstream_error", message, NEVER),
                // What went wrong is for the log.
                _ => expected(500, "server_error", "internal_error", "internal error; see the server log", NEVER),
            },
            "{code:?}"
        );
    }
}

#[tokio::test]
async fn an_error_may_name_its_status_its_field_and_how_far_a_prompt_is_too_long() {
    let request = "invalid_request_error";
    for (code, status, wanted) in [
        (Code::BadRequest, json!(404), expected(404, request, request, "x", &[])),
        (Code::BadRequest, json!(503), expected(503, "server_error", "overloaded", "x", SOON)),
        (Code::InvalidSchema, json!(400), expected(400, request, request, "x", &[])),
        // These are no statuses.
        (Code::BadRequest, json!(99), expected(400, request, request, "x", &[])),
        (Code::BadRequest, json!(65_536 + 404), expected(400, request, request, "x", &[])),
        (Code::BadRequest, json!("404"), expected(400, request, request, "x", &[])),
        (Code::BadRequest, Value::Null, expected(400, request, request, "x", &[])),
    ] {
        let error = Error::new(code, "x").with_detail("status", status.clone());
        assert_eq!(seen(error.into()).await, wanted, "{status}");
    }
    let refusal = Refusal::from(Error::new(Code::BadRequest, "x").with_detail("param", "messages[0]"));
    assert_eq!(refusal.to_json()["error"]["param"], "messages[0]");
    assert_eq!(Refusal::from(Error::new(Code::BadRequest, "x")).to_json()["error"]["param"], Value::Null);
    for (prompt, context, overflow) in [
        (json!(11), json!(10), Some((11, 10))),
        (json!(10), json!(10), Some((10, 10))),
        (json!(9), json!(10), None),
        (json!(11), Value::Null, None),
        (Value::Null, json!(10), None),
    ] {
        let error = Error::new(Code::ContextOverflow, "x").with_detail("prompt_tokens", prompt.clone());
        let refusal = Refusal::from(error.with_detail("context", context.clone()));
        assert_eq!(refusal.overflow(), overflow, "{prompt} of {context}");
    }
}

/// A key or a balance that another engine refuses is none of the client's, and so is a path that it has not.
#[tokio::test]
async fn a_refusal_of_another_engine_is_told_as_far_as_it_is_the_client_s() {
    let request = "invalid_request_error";
    for (told, here, kind, code, again) in [
        (Some(400), 400, request, request, &[] as &[&str]),
        (Some(401), 502, "server_error", "upstream_error", NEVER),
        (Some(402), 502, "server_error", "upstream_error", NEVER),
        (Some(403), 502, "server_error", "upstream_error", NEVER),
        (Some(404), 404, request, "model_not_found", &[]),
        (Some(405), 502, "server_error", "upstream_error", NEVER),
        (Some(408), 504, "server_error", "upstream_error", NEVER),
        (Some(413), 413, request, request, &[]),
        (Some(415), 502, "server_error", "upstream_error", NEVER),
        (Some(422), 422, request, request, &[]),
        (Some(429), 429, "rate_limit_error", "rate_limit_exceeded", &[]),
        (Some(500), 502, "server_error", "upstream_error", NEVER),
        (Some(502), 502, "server_error", "upstream_error", NEVER),
        (Some(503), 503, "server_error", "overloaded", NEVER),
        (Some(504), 504, "server_error", "upstream_error", NEVER),
        (Some(302), 502, "server_error", "upstream_error", NEVER),
        (None, 502, "server_error", "upstream_error", NEVER),
    ] {
        let error = || {
            let error = Error::new(Code::Upstream, "h answered");
            if let Some(told) = told { error.with_detail("status", told) } else { error }
        };
        assert_eq!(seen(error().into()).await, expected(here, kind, code, "h answered", again), "{told:?}");
        let waiting = error().with_detail("retry_after_ms", 1001);
        let again = ["retry-after: 2", "retry-after-ms: 1001"];
        assert_eq!(seen(waiting.into()).await, expected(here, kind, code, "h answered", &again), "{told:?}");
    }
}

#[tokio::test]
async fn what_cuts_an_answer_has_a_reason_and_a_refusal() {
    let unavailable = |code: &str, message: &str| expected(503, "server_error", code, message, SOON);
    for (cut, reason, wanted) in [
        (
            Cut::Failed(Error::new(Code::OutOfMemory, "too little")),
            "out_of_memory",
            unavailable("overloaded", "too little"),
        ),
        (
            Cut::Waited,
            "queue_timeout",
            unavailable("overloaded", "the request waited too long in the queue; try again later"),
        ),
        (
            Cut::Late,
            "request_timeout",
            unavailable("request_timeout", "the answer took longer than this server allows"),
        ),
        (Cut::Unread, "slow_reader", unavailable("slow_reader", "the answer was not read")),
        (Cut::Stopping, "server_shutdown", unavailable("server_shutdown", "the server is stopping")),
    ] {
        assert_eq!((cut.reason(), seen(cut.into()).await), (reason, wanted));
    }
}

#[tokio::test]
async fn refusals_of_the_door() {
    for (refusal, wanted) in [
        (Refusal::bad("x"), expected(400, "invalid_request_error", "invalid_request_error", "x", &[])),
        (Refusal::unauthorized("x"), expected(401, "authentication_error", "invalid_request_error", "x", &[])),
        (Refusal::forbidden("x"), expected(403, "permission_error", "forbidden", "x", &[])),
        (Refusal::too_many("x"), expected(429, "rate_limit_error", "rate_limit_exceeded", "x", SOON)),
        (Refusal::unavailable("loading", "x"), expected(503, "server_error", "loading", "x", SOON)),
    ] {
        assert_eq!(seen(refusal).await, wanted);
    }
    // A second too late is better than one too early.
    for (wait, seconds) in [(0, 0), (1, 1), (999, 1), (1000, 1), (1001, 2), (60_000, 60)] {
        let seen = seen(Refusal::too_many_for(Duration::from_millis(wait), "x")).await;
        assert_eq!(seen.again, [format!("retry-after: {seconds}"), format!("retry-after-ms: {wait}")]);
    }
    let headers = |refusal: Refusal| refusal.into_response().headers().clone();
    assert_eq!(headers(Refusal::unauthorized("x"))["www-authenticate"], "Bearer");
    assert!(!headers(Refusal::forbidden("x")).contains_key("www-authenticate"));
    assert_eq!(headers(Refusal::bad("x").closing())["connection"], "close");
    assert!(!headers(Refusal::bad("x")).contains_key("connection"));
}

#[test]
fn a_dialect_is_known_by_its_paths_and_one_by_its_header() {
    use ClientDialect::{Anthropic, Ollama, OpenAi};
    let mut version = HeaderMap::new();
    version.insert(HeaderName::from_static("anthropic-version"), HeaderValue::from_static("2023-06-01"));
    for (path, plain, with_version) in [
        ("/api/chat", Ollama, Ollama),
        ("//api//chat", Ollama, Ollama),
        ("/api", Ollama, Ollama),
        ("/apis", OpenAi, Anthropic),
        ("/v1/api", OpenAi, Anthropic),
        ("/anthropic/v1/models", Anthropic, Anthropic),
        ("/v1/messages", Anthropic, Anthropic),
        ("//v1//messages/count_tokens", Anthropic, Anthropic),
        ("/messages", OpenAi, Anthropic),
        ("/v1/models", OpenAi, Anthropic),
        ("/v1/chat/messages", OpenAi, Anthropic),
        ("/", OpenAi, Anthropic),
        ("", OpenAi, Anthropic),
    ] {
        assert_eq!(ClientDialect::of(path, &HeaderMap::new()), plain, "{path}");
        assert_eq!(ClientDialect::of(path, &version), with_version, "{path}");
    }
}

#[tokio::test]
async fn a_refusal_is_retold_in_the_client_s_dialect() {
    let id = HeaderValue::from_static("request-1");
    for (dialect, body) in [
        (
            ClientDialect::OpenAi,
            json!({ "error": {
                "message": "no", "type": "permission_error", "param": null, "code": "forbidden",
            } }),
        ),
        (
            ClientDialect::Anthropic,
            json!({
                "type": "error", "error": { "type": "permission_error", "message": "no" }, "request_id": "request-1",
            }),
        ),
        (ClientDialect::Ollama, json!({ "error": "no" })),
    ] {
        let mut response = Refusal::forbidden("no").closing().into_response();
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("1"));
        dialect.retell(&mut response, &id);
        let has_length = response.headers().contains_key(CONTENT_LENGTH);
        assert_eq!(has_length, dialect == ClientDialect::OpenAi, "{dialect:?}: a length of another body");
        assert_eq!(
            (response.status().as_u16(), &response.headers()["connection"]),
            (403, &HeaderValue::from_static("close"))
        );
        assert_eq!(serde_json::from_str::<Value>(&rest(response.into_body()).await).unwrap(), body, "{dialect:?}");
    }
    // What is no refusal stays as it is.
    let mut response = (StatusCode::NOT_FOUND, "theirs").into_response();
    ClientDialect::Ollama.retell(&mut response, &id);
    assert_eq!(rest(response.into_body()).await, "theirs");
}

#[test]
fn paths_of_other_servers_are_explained() {
    for (path, says) in [
        ("/v1/embeddings", "\"/v1/embeddings\" is for embeddings, which"),
        ("/embedding", "\"/embedding\" is for embeddings, which"),
        ("/v1/rerank", "is for scores of documents"),
        ("/score", "is for scores of pairs"),
        ("/v1/moderations", "is for moderation"),
        ("/v1/audio/speech", "is for speech, and this model writes text"),
        ("/v1/audio/transcriptions", "is for speech, and this model reads text"),
        ("/v1/images/edits", "is for pictures"),
        ("/v1/files", "is for files"),
        ("/v1/batches", "is for batches"),
        ("/v1/assistants", "is for assistants"),
        ("/v1/threads", "is for threads"),
        ("/v1/vector_stores", "is for vector stores"),
        ("/v1/fine_tuning/jobs", "is for training"),
        ("/v1/edits", "is for edits"),
        ("/v1/realtime", "is for realtime sessions"),
        ("/v2/embeddings", "no such endpoint: \"/v2/embeddings\""),
        ("/v1/v1/embeddings", "no such endpoint"),
        ("/v1/files/1", "no such endpoint"),
        ("/v1", "no such endpoint: \"/v1\""),
    ] {
        let refusal = not_found(&path.parse::<Uri>().unwrap());
        assert!(refusal.message().contains(says), "{path}: {}", refusal.message());
        assert_eq!((refusal.status().as_u16(), refusal.to_json()["error"]["code"].as_str()), (404, Some("not_found")));
    }
}

/// A server that stops, in the middle of an answer and before a whole one.
#[tokio::test]
async fn an_answer_that_is_cut_ends_in_its_client_s_words() {
    let user = json!([{ "role": "user", "content": "Tell me about a dog" }]);
    let bias = json!({ "1": -100 });
    for (path, body, last) in [
        (CHAT_PATH, json!({ "messages": user, "max_tokens": 900, "logit_bias": bias }), "data: [DONE]\n\n"),
        ("/v1/completions", json!({ "prompt": "Once", "max_tokens": 900, "logit_bias": bias }), "data: [DONE]\n\n"),
        (
            "/completion",
            json!({ "prompt": "Once", "n_predict": 900, "ignore_eos": true }),
            "\"code\":\"server_shutdown\"}}\n\n",
        ),
        (
            "/v1/messages",
            json!({ "messages": user, "max_tokens": 900, "logit_bias": bias }),
            "\"message\":\"the server is stopping\"}}\n\n",
        ),
        (
            "/api/chat",
            json!({ "messages": user, "options": { "num_predict": 900 }, "logit_bias": bias }),
            "{\"error\":\"the server is stopping\"}\n",
        ),
        ("/v1/responses", json!({ "input": "Tell me about a dog", "logit_bias": bias }), "}\n\n"),
    ] {
        for streams in [true, false] {
            let server = open_server().await;
            let app = app(&server);
            let body = with(body.clone(), json!({ "model": "deepseek-chat", "stream": streams }));
            let asking = request("POST", path, &[("content-type", "application/json")], body.to_string());
            if streams {
                let response = begin(&app, asking).await;
                assert_eq!(response.status(), StatusCode::OK, "{path}");
                let mut body = response.into_body();
                for _ in 0..4 {
                    within("a piece", body.frame()).await.unwrap().unwrap();
                }
                server.stopping.send_replace(true);
                let rest = rest(body).await;
                assert!(rest.ends_with(last), "{path}: {rest}");
                let is_last = |name: &str| rest.rsplit("event: ").next().unwrap().starts_with(name);
                assert!(path != "/v1/messages" || is_last("error\n"), "{rest}");
                assert!(path != "/v1/responses" || is_last("response.failed\n"), "{rest}");
                assert!(!last.contains("DONE") || rest.contains("insufficient_system_resource"), "{path}: {rest}");
            } else {
                server.stopping.send_replace(true);
                let answer = send(&app, asking).await;
                assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}: {}", answer.text);
                assert!(answer.text.contains("the server is stopping"), "{path}: {}", answer.text);
            }
            within("the end of the answer", async {
                while server.answers() > 0 {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        }
    }
}
