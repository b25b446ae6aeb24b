//! Counts and times, as Prometheus reads them. Never: anything that a request said.

use std::sync::Arc;

use lyn::generate::{Event, Finish, Occupancy, Timings};
use metrics::{Counter, Gauge, Histogram, Unit, with_local_recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use tokio::time::Instant;

use crate::block_store::Figures;

/// Prometheus' text format.
pub(super) const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// From a token on a fast card to a request that waited for its turn.
const BUCKETS: [f64; 16] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
/// Tokens in a second.
const RATE_BUCKETS: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0];
const ROUTE_RATE: &str = "lyn_route_tokens_per_second";

/// All figures of a server. They belong to it, not to the process: tests have several.
pub(crate) struct Metrics {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
    pub(crate) generation_tokens: Counter,
    pub(crate) device_losses: Counter,
    pub(crate) queue_seconds: Histogram,
    pub(crate) first_token_seconds: Histogram,
    pub(crate) token_seconds: Histogram,
    pub(crate) answer_seconds: Histogram,
    prompt_tokens: Counter,
    cached_tokens: Counter,
    reasoning_tokens: Counter,
    running: Gauge,
    waiting: Gauge,
    kv_used: Gauge,
}

impl Metrics {
    /// All at zero.
    pub(crate) fn new() -> Metrics {
        // The list of buckets is ours and not empty.
        let builder = PrometheusBuilder::new().set_buckets(&BUCKETS).unwrap_or_default();
        let rate = Matcher::Full(ROUTE_RATE.to_owned());
        let builder = builder.set_buckets_for_metric(rate, &RATE_BUCKETS).unwrap_or_default();
        let recorder = Arc::new(builder.build_recorder());
        let counter = |name: &'static str, text: &'static str| {
            metrics::describe_counter!(name, text);
            metrics::counter!(name)
        };
        let gauge = |name: &'static str, text: &'static str| {
            metrics::describe_gauge!(name, text);
            metrics::gauge!(name)
        };
        let histogram = |name: &'static str, text: &'static str| {
            metrics::describe_histogram!(name, Unit::Seconds, text);
            metrics::histogram!(name)
        };
        // Those with labels are made when the labels are known.
        let labelled = [
            ("lyn_requests_total", "Requests, by route and status"),
            ("lyn_aborted_total", "Answers that ended early, by reason"),
            ("lyn_disk_blocks_total", "What happened to blocks of the prefix cache on disk"),
            ("lyn_route_requests_total", "Requests of a route"),
            ("lyn_route_errors_total", "Requests of a route without a complete answer"),
            ("lyn_route_prompt_tokens_total", "Prompt tokens of a route, as reported by the engine"),
            ("lyn_route_cached_tokens_total", "Prompt tokens of a route found in the engine's cache"),
            ("lyn_route_completion_tokens_total", "Answer tokens of a route, as reported by the engine"),
        ];
        with_local_recorder(&*Arc::clone(&recorder), || {
            for (name, text) in labelled {
                metrics::describe_counter!(name, text);
            }
            let text = "Time from a routed request to its first text";
            metrics::describe_histogram!("lyn_route_first_token_seconds", Unit::Seconds, text);
            metrics::describe_histogram!(ROUTE_RATE, "Tokens per second of an answer after its first token");
            metrics::describe_gauge!("lyn_disk_blocks", "Blocks of the prefix cache on disk");
            metrics::describe_gauge!("lyn_disk_bytes", "Bytes of their files");
            Metrics {
                handle: recorder.handle(),
                recorder,
                generation_tokens: counter("lyn_generation_tokens_total", "Tokens of answers"),
                device_losses: counter("lyn_device_losses_total", "Engine reloads after a loss"),
                queue_seconds: histogram("lyn_queue_seconds", "Time from request to start of prefill"),
                first_token_seconds: histogram("lyn_ttft_seconds", "Time from request to first token"),
                token_seconds: histogram("lyn_tpot_seconds", "Average time between two tokens of an answer"),
                answer_seconds: histogram("lyn_e2e_seconds", "Time from request to the end of its answer"),
                prompt_tokens: counter("lyn_prompt_tokens_total", "Prompt tokens of finished answers"),
                cached_tokens: counter(
                    "lyn_prompt_cached_tokens_total",
                    "Prompt tokens found in the cache, of finished answers",
                ),
                reasoning_tokens: counter("lyn_reasoning_tokens_total", "Reasoning tokens of finished answers"),
                running: gauge("lyn_requests_running", "Answers being generated"),
                waiting: gauge("lyn_requests_waiting", "Answers waiting in the queue"),
                kv_used: gauge("lyn_kv_used_ratio", "Share of the cache's pages in use"),
            }
        })
    }

    /// Counts a request.
    pub(crate) fn request(&self, route: &str, status: u16) {
        let labels = [("route", route.to_owned()), ("status", status.to_string())];
        with_local_recorder(&*self.recorder, || metrics::counter!("lyn_requests_total", &labels).increment(1));
    }

    /// Counts an answer that ended before its time.
    pub(crate) fn aborted(&self, reason: &'static str) {
        let labels = [("reason", reason)];
        with_local_recorder(&*self.recorder, || metrics::counter!("lyn_aborted_total", &labels).increment(1));
    }

    /// Counts a request of a route, and what will come of it. `upstream`: whose answer it is.
    pub(crate) fn route(self: &Arc<Metrics>, route: &str, upstream: &str) -> Meter {
        let labels = [("route", route.to_owned()), ("upstream", upstream.to_owned())];
        let counter = |name: &'static str| metrics::counter!(name, &labels);
        let meter = with_local_recorder(&*self.recorder, || Meter {
            metrics: Arc::clone(self),
            labels: labels.clone(),
            prompt_tokens: counter("lyn_route_prompt_tokens_total"),
            cached_tokens: counter("lyn_route_cached_tokens_total"),
            completion_tokens: counter("lyn_route_completion_tokens_total"),
            first_token: metrics::histogram!("lyn_route_first_token_seconds", &labels),
            rate: metrics::histogram!(ROUTE_RATE, &labels),
            began: Instant::now(),
            first: None,
        });
        meter.count("lyn_route_requests_total");
        meter
    }

    /// Counts the tokens of an answer that has ended. Those of the text are counted as they come.
    pub(crate) fn finished(&self, timings: &Timings) {
        self.prompt_tokens.increment(timings.prompt_tokens.into());
        self.cached_tokens.increment(timings.cached_tokens.into());
        self.reasoning_tokens.increment(timings.reasoning_tokens.into());
    }

    /// Answers in the making and waiting, and pages in use.
    pub(crate) fn occupancy(&self, now: &Occupancy) {
        self.running.set(now.running);
        self.waiting.set(now.waiting);
        self.kv_used.set(f64::from(now.pages_used) / f64::from(now.pages.max(1)));
    }

    /// What the store of blocks on disk has done, and holds.
    pub(crate) fn blocks(&self, now: &Figures) {
        let Figures { hits, misses, errors, dropped, written, evicted, entries, bytes } = *now;
        let events = [("hit", hits), ("miss", misses), ("error", errors), ("dropped", dropped)];
        let more = [("written", written), ("evicted", evicted)];
        with_local_recorder(&*self.recorder, || {
            for (event, count) in events.into_iter().chain(more) {
                metrics::counter!("lyn_disk_blocks_total", "event" => event).absolute(count);
            }
            #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
            for (name, value) in [("lyn_disk_blocks", entries as f64), ("lyn_disk_bytes", bytes as f64)] {
                metrics::gauge!(name).set(value);
            }
        });
    }

    /// Prometheus' text.
    pub(crate) fn render(&self) -> String {
        self.handle.render()
    }

    /// Samples of histograms wait in memory until somebody reads them: call this now and then.
    pub(crate) fn tidy(&self) {
        self.handle.run_upkeep();
    }
}

/// An answer's figures for its route, taken as its events pass.
pub(crate) struct Meter {
    metrics: Arc<Metrics>,
    labels: [(&'static str, String); 2],
    prompt_tokens: Counter,
    cached_tokens: Counter,
    completion_tokens: Counter,
    first_token: Histogram,
    rate: Histogram,
    began: Instant,
    first: Option<Instant>,
}

impl Meter {
    fn count(&self, name: &'static str) {
        with_local_recorder(&*self.metrics.recorder, || metrics::counter!(name, &self.labels).increment(1));
    }

    /// Takes an event.
    pub(crate) fn hear(&mut self, event: &Event) {
        if self.first.is_none() && matches!(event, Event::Token { .. } | Event::Text { .. } | Event::Call { .. }) {
            self.first = Some(Instant::now());
            self.first_token.record(self.began.elapsed().as_secs_f64());
        }
        let Event::End { finish, timings, .. } = event else { return };
        self.prompt_tokens.increment(timings.prompt_tokens.into());
        self.cached_tokens.increment(timings.cached_tokens.into());
        self.completion_tokens.increment(timings.completion_tokens.into());
        if let (Some(first), 2..) = (self.first, timings.completion_tokens) {
            let seconds = first.elapsed().as_secs_f64();
            if seconds > 0.0 {
                self.rate.record(f64::from(timings.completion_tokens - 1) / seconds);
            }
        }
        if *finish == Finish::Aborted {
            self.fail();
        }
    }

    /// Counts an error in place of an answer, or of the rest of one.
    pub(crate) fn fail(&self) {
        self.count("lyn_route_errors_total");
    }
}
