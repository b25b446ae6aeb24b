//! Answers on the engine's floor, without a thread or a socket. Oracle: the limits by moments that the test names, and counts
//! by hand.

use std::time::Instant;

use lyn::error::{Code, Error};
use lyn::generate::{Event, Request as Wanted};
use tracing_subscriber::fmt::MakeWriter;

use super::*;
use crate::server::cut::Cut;
use crate::server::feed::Reader;
use crate::server::floor::Floor;

/// An engine on the host, whose answers are short.
fn host_engine() -> lyn::Result<Engine> {
    let options =
        Options { device: "cpu".to_owned(), context: ContextSize::Tokens(512), sequences: 2, ..Options::default() };
    block_on(Engine::load(lyn::models::stories(), &options, &mut |_| true))
}

fn floor(queue: Option<u64>, total: Option<u64>) -> (Floor, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new());
    let limits = AnswerLimits { queue: queue.map(Duration::from_secs), total: total.map(Duration::from_secs) };
    let model = ServedModel { engine: host_engine().unwrap(), blocks: None };
    (Floor::new(model, limits, Arc::clone(&metrics)), metrics)
}

fn ago(seconds: u64) -> Instant {
    Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap()
}

fn wanted(tokens: u32) -> Wanted {
    Wanted { max_tokens: Some(tokens), ignore_eos: true, ..Wanted::new(vec![5, 6, 7]) }
}

/// What has come of an answer so far, and what cut it.
async fn so_far(reader: &mut Reader) -> (Vec<Event>, Option<Result<(), Cut>>) {
    let mut events = vec![];
    loop {
        match tokio::time::timeout(Duration::ZERO, reader.next()).await {
            Err(_) => return (events, None),
            Ok(Ok(Some((_, event)))) => events.push(event),
            Ok(Ok(None)) => return (events, Some(Ok(()))),
            Ok(Err(cut)) => return (events, Some(Err(cut))),
        }
    }
}

fn aborted(metrics: &Metrics, reason: &str) -> bool {
    let line = format!("lyn_aborted_total{{reason=\"{reason}\"}} 1");
    metrics.render().lines().any(|found| found == line)
}

#[tokio::test]
async fn an_answer_waits_and_lasts_as_long_as_it_may() {
    let (none, waited, late) = (None, Some("queue_timeout"), Some("request_timeout"));
    for (queue, total, accepted, started, reason) in [
        (None, None, 100_000, false, none),
        (Some(10), None, 9, false, none),
        (Some(10), None, 11, false, waited),
        (Some(10), None, 11, true, none),
        (None, Some(20), 19, false, none),
        (None, Some(20), 21, false, late),
        (None, Some(20), 21, true, late),
        (Some(10), Some(20), 21, false, late),
        (Some(10), Some(20), 19, true, none),
    ] {
        let (mut floor, metrics) = floor(queue, total);
        let mut reader = floor.accept(vec![wanted(100)], ago(accepted)).unwrap();
        if started {
            floor.step().unwrap();
        }
        let what = format!("queue {queue:?}, total {total:?}, {accepted} s ago, started: {started}");
        assert_eq!(floor.tidy(), reason.is_none(), "{what}");
        let (events, end) = so_far(&mut reader).await;
        assert_eq!(events.is_empty(), !started, "{what}");
        let cut = end.map(|end| end.unwrap_err().reason());
        assert_eq!((cut, floor.engine.is_idle()), (reason, reason.is_some()), "{what}");
        assert!(reason.is_none_or(|reason| aborted(&metrics, reason)), "{what}: {}", metrics.render());
        assert_eq!(
            figure(&metrics, "lyn_requests_waiting"),
            f64::from(u8::from(reason.is_none() && !started)),
            "{what}"
        );
        assert_eq!(
            figure(&metrics, "lyn_requests_running"),
            f64::from(u8::from(reason.is_none() && started)),
            "{what}"
        );
    }
}

#[tokio::test]
async fn an_answer_that_nobody_reads_ends() {
    let (mut floor, metrics) = floor(None, None);
    let (gone, mut here) =
        (floor.accept(vec![wanted(100)], ago(0)).unwrap(), floor.accept(vec![wanted(4)], ago(0)).unwrap());
    drop(gone);
    assert!(floor.tidy(), "the other one goes on");
    assert!(aborted(&metrics, "client_gone"));
    while floor.tidy() {
        floor.step().unwrap();
    }
    let (events, end) = so_far(&mut here).await;
    assert!(matches!((events.last(), end), (Some(Event::End { .. }), Some(Ok(())))), "{events:?}");
    assert_eq!(figure(&metrics, "lyn_generation_tokens_total"), 4.0);
    // One who leaves in the middle is found out by what is sent to him.
    let gone = floor.accept(vec![wanted(100)], ago(0)).unwrap();
    floor.step().unwrap();
    drop(gone);
    floor.step().unwrap();
    assert!(!floor.tidy() && floor.engine.is_idle());
    assert_eq!(figure(&metrics, "lyn_aborted_total"), 2.0);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_far_too_slow_loses_its_answer() {
    let (mut floor, metrics) = floor(None, None);
    let mut reader = floor.accept(vec![wanted(400)], ago(0)).unwrap();
    let others = floor.accept(vec![wanted(1)], ago(0)).unwrap();
    for _ in 0..300 {
        assert!(floor.tidy());
        floor.step().unwrap();
    }
    drop(others);
    tokio::time::advance(Duration::from_secs(31)).await;
    floor.step().unwrap();
    assert!(!floor.tidy() && floor.engine.is_idle() && aborted(&metrics, "slow_reader"), "{}", metrics.render());
    let (events, end) = so_far(&mut reader).await;
    assert!(events.len() >= 256 && matches!(end, Some(Err(Cut::Unread))), "{} events", events.len());
}

#[tokio::test]
async fn answers_of_one_request_are_accepted_together_or_not_at_all() {
    let (mut floor, metrics) = floor(None, None);
    let refused = floor.accept(vec![wanted(1), Wanted::new(vec![5; 600])], ago(0));
    assert_eq!(refused.err().map(|error| error.code()), Some(Code::ContextOverflow));
    assert!(floor.engine.is_idle() && !floor.tidy(), "the first of them is not made either");
    let mut reader = floor.accept(vec![wanted(1), wanted(2)], ago(0)).unwrap();
    while floor.tidy() {
        floor.step().unwrap();
    }
    let mut tokens = [0, 0];
    while let Some((choice, event)) = reader.next().await.unwrap() {
        tokens[choice as usize] += u32::from(matches!(event, Event::Token { .. }));
    }
    assert_eq!((tokens, figure(&metrics, "lyn_generation_tokens_total")), ([1, 2], 3.0));
}

#[tokio::test]
async fn an_answer_that_the_engine_has_lost_is_ended_and_so_are_all_when_it_breaks() {
    let (mut floor, metrics) = floor(None, None);
    let mut reader = floor.accept(vec![wanted(9)], ago(0)).unwrap();
    floor.step().unwrap();
    // Another engine knows nothing of it.
    floor.engine = host_engine().unwrap();
    floor.step().unwrap();
    let cut = so_far(&mut reader).await.1.unwrap().unwrap_err();
    assert!(matches!(&cut, Cut::Failed(error) if error.message() == "an answer was lost"), "{cut:?}");
    assert!(!floor.tidy() && aborted(&metrics, "internal"));
    let mut readers: Vec<Reader> = (0..3).map(|_| floor.accept(vec![wanted(9)], ago(0)).unwrap()).collect();
    floor.step().unwrap();
    assert!(floor.tidy() && figure(&metrics, "lyn_requests_running") > 0.0);
    floor.end_all(&Cut::Failed(Error::new(Code::DeviceLost, "gone")));
    for reader in &mut readers {
        assert_eq!(so_far(reader).await.1.unwrap().unwrap_err().reason(), "device_lost");
    }
    assert_eq!(figure(&metrics, "lyn_requests_running") + figure(&metrics, "lyn_requests_waiting"), 0.0);
    assert!(metrics.render().contains("lyn_aborted_total{reason=\"device_lost\"} 3"));
}

#[tokio::test]
async fn times_add_up() {
    // The request came a hundred seconds ago.
    for tokens in [0, 1, 3] {
        let (mut floor, metrics) = floor(None, None);
        let mut reader = floor.accept(vec![wanted(tokens)], ago(100)).unwrap();
        while floor.tidy() {
            floor.step().unwrap();
        }
        assert!(matches!(so_far(&mut reader).await.1, Some(Ok(()))));
        let sum = |name: &str| figure(&metrics, &format!("lyn_{name}_seconds_sum"));
        let count = |name: &str| figure(&metrics, &format!("lyn_{name}_seconds_count"));
        assert_eq!([count("e2e"), count("queue")], [1.0, 1.0]);
        assert_eq!([count("ttft"), count("tpot")], [f64::from(tokens.min(1)), f64::from(u8::from(tokens > 1))]);
        let whole = sum("e2e");
        assert!((100.0..160.0).contains(&whole) && sum("queue") < 60.0, "{}", metrics.render());
        assert_eq!(figure(&metrics, "lyn_generation_tokens_total"), f64::from(tokens));
        assert_eq!(figure(&metrics, "lyn_prompt_tokens_total"), 3.0);
        if tokens > 1 {
            // From the first token to the end there are so many times between two tokens.
            let between = (whole - sum("ttft")) / sum("tpot");
            assert!((1.5..3.5).contains(&between), "{between} times between {tokens} tokens");
        }
    }
}

#[tokio::test]
async fn tokens_without_a_text_are_counted_too() {
    let (mut floor, metrics) = floor(None, None);
    let all = (0..floor.engine.tokenizer().unwrap().vocab_size()).collect();
    let request = Wanted { stop_ids: all, ..Wanted::new(vec![5, 6, 7]) };
    let mut reader = floor.accept(vec![request], ago(0)).unwrap();
    while floor.tidy() {
        floor.step().unwrap();
    }
    let (events, _) = so_far(&mut reader).await;
    let Some(Event::End { timings, .. }) = events.last() else { panic!("{events:?}") };
    assert!(events.iter().all(|event| !matches!(event, Event::Token { .. })), "{events:?}");
    assert_eq!(figure(&metrics, "lyn_generation_tokens_total"), f64::from(timings.completion_tokens));
}

/// A load that gives so many engines, and how often it was asked.
fn counted(engines: usize, otherwise: fn() -> lyn::Result<ServedModel>) -> (Load, Arc<std::sync::atomic::AtomicUsize>) {
    let loads = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let asked = Arc::clone(&loads);
    let load: Load = Box::new(move || {
        if asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < engines {
            host_engine().map(|engine| ServedModel { engine, blocks: None })
        } else {
            otherwise()
        }
    });
    (load, loads)
}

async fn ended(worker: &Worker) -> Stage {
    let mut stage = worker.stage();
    let end = stage.wait_for(|stage| matches!(stage, Stage::Failed(_) | Stage::Stopped));
    within("the end of the thread", end).await.unwrap().clone()
}

#[tokio::test]
async fn an_engine_that_is_lost_three_times_in_ten_minutes_is_hopeless() {
    let (load, loads) = counted(9, || panic!("it is never asked for so often"));
    let metrics = Arc::new(Metrics::new());
    let (worker, thread) = Worker::start(load, AnswerLimits::default(), Arc::clone(&metrics)).unwrap();
    for loss in 1..=3 {
        ready(&worker).await;
        within("a crash", worker.crash()).await;
        assert!(loss < 3 || matches!(ended(&worker).await, Stage::Failed(_)));
    }
    let Stage::Failed(error) = ended(&worker).await else { panic!("it goes on") };
    assert_eq!((error.code(), error.message()), (Code::Internal, "the engine panicked"));
    assert_eq!(loads.load(std::sync::atomic::Ordering::Relaxed), 3);
    assert_eq!(figure(&metrics, "lyn_device_losses_total"), 3.0);
    let refused = worker.answer(vec![wanted(1)]).await.err().unwrap();
    assert_eq!((refused.status(), refused.message()), (StatusCode::SERVICE_UNAVAILABLE, "the server is stopping"));
    thread.join().unwrap();
}

#[tokio::test]
async fn a_model_that_cannot_be_loaded_again_is_the_end() {
    let start = |load| Worker::start(load, AnswerLimits::default(), Arc::new(Metrics::new())).unwrap().0;
    let (load, _) = counted(1, || Err(Error::new(Code::NoAdapter, "the card is gone")));
    let worker = start(load);
    ready(&worker).await;
    within("a crash", worker.crash()).await;
    let Stage::Failed(error) = ended(&worker).await else { panic!("it goes on") };
    assert_eq!(error.message(), "the card is gone");
    // A load that panics is one that fails.
    let (load, _) = counted(0, || panic!("a test's own"));
    let Stage::Failed(error) = ended(&start(load)).await else { panic!("it goes on") };
    assert_eq!(error.message(), "the engine panicked");
}

#[tokio::test]
async fn a_thread_that_is_stopped_ends_its_answers() {
    let (load, _) = counted(1, || panic!("it is loaded once"));
    let (worker, thread) = Worker::start(load, AnswerLimits::default(), Arc::new(Metrics::new())).unwrap();
    ready(&worker).await;
    let mut reader = worker.answer(vec![wanted(400)]).await.unwrap();
    within("an event", reader.next()).await.unwrap();
    worker.stop();
    assert!(matches!(ended(&worker).await, Stage::Stopped));
    let cut = loop {
        match within("the end", reader.next()).await {
            Ok(Some(_)) => {}
            end => break end.unwrap_err(),
        }
    };
    assert_eq!(cut.reason(), "server_shutdown");
    thread.join().unwrap();
}

/// What was answered is in the log where the server was started so, and else nowhere.
#[tokio::test]
async fn answers_are_logged_only_on_request() {
    #[derive(Clone, Default)]
    struct Log(Arc<std::sync::Mutex<Vec<u8>>>);
    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    impl MakeWriter<'_> for Log {
        type Writer = Log;

        fn make_writer(&self) -> Log {
            self.clone()
        }
    }
    for log_prompts in [true, false] {
        let server = server(ServerSettings { log_prompts, ..settings() }, rules(&[]), None).await;
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).finish();
        let _logging = tracing::subscriber::set_default(subscriber);
        let text = chat(&app(&server), json!({})).await.ok()["choices"][0]["message"]["content"].clone();
        let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let whole = format!("lyn::prompts: answered text={text}");
        assert_eq!(logged.lines().any(|line| line.ends_with(&whole)), log_prompts, "{whole} in {logged}");
        assert_eq!(logged.contains(text.as_str().unwrap().trim()), log_prompts, "{logged}");
    }
}
