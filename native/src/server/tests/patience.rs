//! A server without a model, and a clock that the test moves: bodies that come slowly, stages of the engine's thread, the end.
//! Oracle: the times that the doc comments name.

use std::convert::Infallible;
use std::sync::mpsc::{Sender, channel};

use futures_util::stream::unfold;
use lyn::error::{Code, Error};
use lyn::generate::{Event, Voice};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

use super::*;
use crate::server::admission::Admission;
use crate::server::answer::Answer as Making;
use crate::server::connection::serve;
use crate::server::cut::Cut;
use crate::server::feed::feed;
use crate::upstream::route::{RouteOptions, Routes};

/// A server whose model is loaded for as long as the sender lives, and then cannot be.
fn loading(settings: ServerSettings, rules: GuardRules) -> (Shared, Worker, Sender<()>) {
    let (end, ends) = channel::<()>();
    let load: Load = Box::new(move || {
        let _ = ends.recv();
        Err(Error::new(Code::ModelNotFound, "there is no model"))
    });
    let metrics = Arc::new(Metrics::new());
    let (worker, _) = Worker::start(load, AnswerLimits::default(), Arc::clone(&metrics)).unwrap();
    (Server::new(settings, worker.clone(), metrics, Guard::new(rules), None), worker, end)
}

/// A body that comes piece by piece, one each time so long has passed.
fn slow(pieces: Vec<&'static str>, pause: Duration) -> Body {
    Body::from_stream(unfold(pieces.into_iter(), move |mut left| async move {
        let piece = left.next()?;
        sleep(pause).await;
        Some((Ok::<_, Infallible>(piece), left))
    }))
}

#[tokio::test(start_paused = true)]
async fn a_body_has_half_a_minute() {
    let (server, _, _end) = loading(settings(), rules(&[]));
    let app = app(&server);
    for (pieces, seconds, status, took) in [(3, 9, 503, 27), (3, 11, 408, 30), (1, 1000, 408, 30)] {
        let began = Instant::now();
        let body = slow(vec![" "; pieces], Duration::from_secs(seconds));
        let request = request("POST", CHAT_PATH, &[("content-type", "application/json")], body);
        let response = app.clone().oneshot(request).await.unwrap();
        let closes = response.headers().get("connection").is_some_and(|value| value == "close");
        assert_eq!((response.status().as_u16(), began.elapsed().as_secs(), closes), (status, took, status == 408));
        let text = response.into_body().collect().await.unwrap().to_bytes();
        let error: Value = serde_json::from_slice(&text).unwrap();
        let code = if status == 408 { "request_timeout" } else { "loading" };
        assert_eq!(error["error"]["code"], code, "{error}");
        assert!(status != 408 || error["error"]["message"] == "the body did not come within 30 s");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_or_grows_too_long_is_refused() {
    let (server, _, _end) = loading(settings(), GuardRules { max_body: 6, ..rules(&[]) });
    let app = app(&server);
    let broken = [Ok("{"), Err(std::io::Error::other("gone"))];
    let body = Body::from_stream(futures_util::stream::iter(broken));
    let answer = send(&app, request("POST", CHAT_PATH, &[], body)).await;
    assert_eq!(answer.refused(400), "the body ended before its time");
    assert_eq!(answer.headers["connection"], "close");
    for (pieces, status) in [(["abc", "def"], 503), (["abc", "defg"], 413), (["abcdefg", ""], 413)] {
        let body = Body::from_stream(futures_util::stream::iter(pieces.map(Ok::<_, Infallible>)));
        let answer = send(&app, request("POST", CHAT_PATH, &[], body)).await;
        answer.refused(status);
        assert_eq!(answer.headers.contains_key("connection"), status == 413);
    }
}

#[tokio::test]
async fn while_the_model_is_loaded_each_path_says_so_or_what_it_knows() {
    let (server, worker, end) = loading(settings(), rules(&[]));
    let app = app(&server);
    assert!(worker.is_loading());
    let health = get(&app, "/health").await;
    let body = json!({ "error": { "code": 503, "message": "Loading model", "type": "unavailable_error" } });
    assert_eq!((health.status.as_u16(), health.json()), (503, body));
    assert_eq!(health.headers["retry-after"], "5");
    for path in ["/ready", "/props", "/tokenizer_info"] {
        let refused = get(&app, path).await;
        assert_eq!(
            (refused.refused(503).as_str(), &refused.json()["error"]["code"]),
            ("the model is being loaded", &json!("loading"))
        );
    }
    for (path, body) in [
        (CHAT_PATH, asked(json!({}))),
        ("/v1/completions", json!({ "model": "stories", "prompt": "x" })),
        ("/tokenize", json!({ "content": "x" })),
        ("/v1/responses", json!({ "model": "stories", "input": "x" })),
    ] {
        assert_eq!(post(&app, path, &body).await.refused(503), "the model is being loaded", "{path}");
    }
    let load = json!({ "model": "stories" });
    assert_eq!(post(&app, "/api/generate", &load).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(get(&app, "/api/ps").await.ok(), json!({ "models": [] }));
    let tags = get(&app, "/api/tags").await.ok();
    let tag = tags["models"].as_array().unwrap().iter().find(|model| model["name"] == "stories").unwrap();
    expect(tag, json!({ "model": "stories", "size": 0 }));
    expect(&tag["details"], json!({ "family": "", "parameter_size": "0.0K", "quantization_level": "" }));
    let model = get(&app, "/v1/models/stories").await.ok();
    assert_eq!((&model["owned_by"], model.get("context_length")), (&json!("lyn"), None));
    assert!(get(&app, "/version").await.ok()["version"].is_string());
    assert!(get(&app, "/metrics").await.text.contains("lyn_requests_total"));
    // It cannot be loaded: now it is said to be at its end.
    drop(end);
    let mut stage = worker.stage();
    within("the failure", stage.wait_for(|stage| matches!(stage, Stage::Failed(_)))).await.unwrap();
    assert!(!worker.is_loading());
    assert_eq!(get(&app, "/health").await.json()["error"]["message"], "Stopping");
    assert_eq!(chat(&app, json!({})).await.refused(503), "the server is stopping");
}

#[tokio::test]
async fn an_engine_elsewhere_needs_no_model_here() {
    let routes = ["far=http://127.0.0.1:1".to_owned()];
    let routes = Routes::new(&RouteOptions { routes: &routes, ..RouteOptions::default() }).unwrap();
    let (server, _, _end) = loading(ServerSettings { routes, ..settings() }, rules(&[]));
    let app = app(&server);
    let list = get(&app, "/v1/models").await.ok();
    let far = list["data"].as_array().unwrap().iter().find(|model| model["id"] == "far").unwrap();
    expect(far, json!({ "object": "model", "owned_by": "upstream" }));
    server.drain();
    assert_eq!(chat(&app, json!({ "model": "far" })).await.refused(503), "the server is stopping");
}

#[tokio::test(start_paused = true)]
async fn a_model_that_cannot_be_loaded_ends_the_server_with_its_error() {
    let (server, _, end) = loading(settings(), rules(&[]));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // An answer under way is waited for only where the engine lives.
    let _held = server.passing.enter(None, 1).unwrap();
    let serving = serve(listener, &server, Duration::from_secs(1000), std::future::pending());
    let began = Instant::now();
    drop(end);
    let error = serving.await.unwrap_err();
    assert_eq!(began.elapsed().as_secs(), 5, "last words are");
    assert_eq!((error.code(), error.message()), (Code::ModelNotFound, "there is no model"));
    assert!(server.check_open().is_err());
}

#[tokio::test(start_paused = true)]
async fn at_the_end_answers_have_their_time_and_then_a_few_seconds_more() {
    // How long they go on, how long they are given, how long the end takes.
    for (goes_on, drain, took) in
        [(0, 60_000, 0), (2_000, 60_000, 2_000), (1_000_000, 4_000, 9_000), (1_000_000, 0, 5_000), (3_000, 0, 3_000)]
    {
        let (server, worker, _end) = loading(settings(), rules(&[]));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let held = [server.admission.enter(None, 1).unwrap(), server.passing.enter(None, 1).unwrap()];
        assert_eq!(server.answers(), 2);
        let mut stopping = server.stopping.subscribe();
        let began = Instant::now();
        let client = TcpStream::connect(address).await.unwrap();
        let serving = serve(listener, &server, Duration::from_millis(drain), std::future::ready(()));
        let answering = async {
            sleep(Duration::from_millis(goes_on)).await;
            drop(held);
            std::future::pending::<()>().await
        };
        let stopped = async {
            stopping.wait_for(|stopping| *stopping).await.unwrap();
            let told = began.elapsed().as_millis();
            let most = u128::from(goes_on.min(drain));
            assert!((most..most + 50).contains(&told), "answers were ended after {told} ms");
            std::future::pending::<()>().await
        };
        tokio::select! {
            ended = serving => assert!(ended.is_ok()),
            () = answering => {}
            () = stopped => {}
        }
        let ended = began.elapsed().as_millis();
        assert!((took..took + 50).contains(&ended), "it took {ended} ms, not {took}");
        assert!(server.check_open().is_err() && worker.is_loading());
        drop(client);
    }
}

#[tokio::test]
async fn an_idle_connection_does_not_keep_the_server() {
    let (server, _, _end) = loading(settings(), rules(&[]));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stops) = tokio::sync::oneshot::channel::<()>();
    let serving = serve(listener, &server, Duration::from_secs(60), async { drop(stops.await) });
    let asking = async {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET /version HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut bytes = vec![0; 4096];
        let read = within("an answer", client.read(&mut bytes)).await.unwrap();
        assert!(bytes[..read].starts_with(b"HTTP/1.1 200 OK\r\n"));
        let began = Instant::now();
        drop(stop);
        let mut left = vec![];
        within("the end of the connection", client.read_to_end(&mut left)).await.unwrap();
        began
    };
    let (ended, began) = tokio::join!(within("the end", serving), asking);
    ended.unwrap();
    // Five seconds are for connections that have something left to write.
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_answer_is_cut_when_the_server_stops_but_what_has_come_is_told() {
    let (mut writers, reader) = feed(1);
    let stopping = tokio::sync::watch::Sender::new(false);
    let ticket = Admission::new(1, None).enter(None, 1).unwrap();
    let mut making = Making::new(reader, ticket, stopping.subscribe());
    let text = || Event::Text { voice: Voice::Content, text: "x".to_owned() };
    assert!(writers[0].send(text()));
    stopping.send_replace(true);
    assert_eq!(within("an event", making.next()).await.unwrap(), Some((0, text())));
    assert!(matches!(within("the end", making.next()).await, Err(Cut::Stopping)));
    assert!(!writers[0].is_abandoned());
    drop(making);
    assert!(writers.remove(0).is_abandoned());
}
