//! What the metrics say. Oracle: Prometheus' text, with sums by hand and a clock that the test moves.

use lyn::generate::{Event, Finish, Known, Occupancy, Timings, Voice};
use tokio::time::advance;

use super::*;
use crate::block_store::Figures;

fn line(metrics: &Metrics, wanted: &str) -> bool {
    metrics.render().lines().any(|line| line == wanted)
}

#[test]
fn a_store_s_figures_are_told_as_they_are() {
    let metrics = Metrics::new();
    let now = Figures { hits: 1, misses: 2, errors: 3, dropped: 4, written: 5, evicted: 6, entries: 7, bytes: 8 };
    metrics.blocks(&now);
    // Counted since the store was opened, and so not summed here.
    metrics.blocks(&now);
    for (event, count) in [("hit", 1), ("miss", 2), ("error", 3), ("dropped", 4), ("written", 5), ("evicted", 6)] {
        assert!(line(&metrics, &format!("lyn_disk_blocks_total{{event=\"{event}\"}} {count}")), "{event}");
    }
    assert!(line(&metrics, "lyn_disk_blocks 7") && line(&metrics, "lyn_disk_bytes 8"), "{}", metrics.render());
}

#[test]
fn occupancy_is_a_share_of_the_pages() {
    let metrics = Metrics::new();
    for (pages_used, pages, ratio) in [(0, 0, "0"), (1, 4, "0.25"), (4, 4, "1")] {
        metrics.occupancy(&Occupancy { running: 2, waiting: 3, pages_used, pages });
        for wanted in ["lyn_requests_running 2", "lyn_requests_waiting 3", &format!("lyn_kv_used_ratio {ratio}")] {
            assert!(line(&metrics, wanted), "{wanted}: {}", metrics.render());
        }
    }
}

#[test]
fn finished_answers_and_requests_are_counted() {
    let metrics = Metrics::new();
    let timings = Timings { prompt_tokens: 10, cached_tokens: 4, reasoning_tokens: 2, ..Timings::default() };
    metrics.finished(&timings);
    metrics.finished(&timings);
    metrics.request("/health", 200);
    metrics.request("/health", 503);
    metrics.request("/health", 200);
    metrics.aborted("slow_reader");
    for wanted in [
        "lyn_prompt_tokens_total 20",
        "lyn_prompt_cached_tokens_total 8",
        "lyn_reasoning_tokens_total 4",
        "lyn_requests_total{route=\"/health\",status=\"200\"} 2",
        "lyn_requests_total{route=\"/health\",status=\"503\"} 1",
        "lyn_aborted_total{reason=\"slow_reader\"} 1",
    ] {
        assert!(line(&metrics, wanted), "{wanted}: {}", metrics.render());
    }
}

fn text() -> Event {
    Event::Text { voice: Voice::Content, text: "x".to_owned() }
}

fn end(finish: Finish, tokens: u32) -> Event {
    let timings = Timings {
        prompt_tokens: 100,
        cached_tokens: 64,
        completion_tokens: tokens,
        known: Known::NOTHING,
        ..Timings::default()
    };
    Event::End { finish, stop: None, timings }
}

#[tokio::test(start_paused = true)]
async fn a_route_s_answer_is_timed_from_its_request_to_its_end() {
    let metrics = Arc::new(Metrics::new());
    let mut meter = metrics.route("far", "h:80");
    advance(Duration::from_secs(1)).await;
    // Reading the prompt is no text.
    meter.hear(&Event::Prompt { done: 1, total: 1, cached: 0, elapsed_ms: 1.0 });
    advance(Duration::from_secs(2)).await;
    meter.hear(&text());
    advance(Duration::from_secs(4)).await;
    meter.hear(&text());
    meter.hear(&end(Finish::Stop, 9));
    let labels = "{route=\"far\",upstream=\"h:80\"}";
    for wanted in [
        "lyn_route_requests_total! 1",
        "lyn_route_first_token_seconds_sum! 3",
        "lyn_route_first_token_seconds_count! 1",
        "lyn_route_tokens_per_second_sum! 2",
        "lyn_route_tokens_per_second_count! 1",
        "lyn_route_prompt_tokens_total! 100",
        "lyn_route_cached_tokens_total! 64",
        "lyn_route_completion_tokens_total! 9",
    ] {
        assert!(line(&metrics, &wanted.replace('!', labels)), "{wanted}: {}", metrics.render());
    }
    assert_eq!(figure(&metrics, "lyn_route_errors_total"), 0.0);
    meter.fail();
    assert!(line(&metrics, &format!("lyn_route_errors_total{labels} 1")));
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_a_pace_has_no_rate_and_one_that_is_given_up_is_an_error() {
    let rates = |metrics: &Metrics| figure(metrics, "lyn_route_tokens_per_second_count");
    for (tokens, seconds, begins, finish, rate, error) in [
        (2, 1, true, Finish::Length, 1.0, 0.0),
        (1, 1, true, Finish::Stop, 0.0, 0.0),
        (0, 1, true, Finish::Stop, 0.0, 0.0),
        (9, 0, true, Finish::ToolCalls, 0.0, 0.0),
        (9, 1, false, Finish::Stop, 0.0, 0.0),
        (9, 1, true, Finish::Aborted, 1.0, 1.0),
    ] {
        let metrics = Arc::new(Metrics::new());
        let mut meter = metrics.route("far", "h");
        if begins {
            meter.hear(&Event::Call { index: 0, name: "f".to_owned(), id: None });
        }
        advance(Duration::from_secs(seconds)).await;
        meter.hear(&end(finish, tokens));
        assert_eq!((rates(&metrics), figure(&metrics, "lyn_route_errors_total")), (rate, error), "{tokens} {finish:?}");
    }
}
