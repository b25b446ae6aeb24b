//! How far a long stage is: a bar where stderr is a terminal, else a line every 30 s, and none for what is over in 2 s. A line for each
//! 10 % is for who asks for it, with `--progress plain`.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Terminal;
use crate::flags::ProgressArg;

/// Stages shorter than this are not worth a bar.
const SHORT: Duration = Duration::from_millis(300);
/// Nor stages shorter than this a line of a log.
const SHORT_FOR_LINES: Duration = Duration::from_secs(2);
/// Without a terminal, between two signs of life.
const SILENCE: Duration = Duration::from_secs(30);

/// When a stage last wrote a line now and then.
static LAST_LINE: Mutex<Option<Instant>> = Mutex::new(None);

/// Whether a stage that has not ended may write a line now: one in a while, whatever the stage.
fn is_line_due(elapsed: Duration, last: &mut Option<Instant>, now: Instant) -> bool {
    let rests = last.is_some_and(|last| now.duration_since(last) < SILENCE);
    let is_due = elapsed >= SHORT_FOR_LINES && !rests;
    if is_due {
        *last = Some(now);
    }
    is_due
}

pub(crate) struct StageProgress {
    terminal: Terminal,
    what: &'static str,
    style: Style,
    unit: Unit,
    started: Instant,
    bar: Option<ProgressBar>,
    shown: Option<(u64, Instant)>,
    /// What was done before the first look, and when that was: a rate begins there.
    first: Option<(u64, Instant)>,
}

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Bytes of weights.
    Bytes,
    /// Bytes that come over the network: at which rate, and for how long.
    Download,
    /// Tokens of a prompt.
    Tokens,
    /// Kernels, pipelines, tests.
    Pieces,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Bar,
    /// A line for each tenth, and where one takes long.
    Tenths,
    /// A line now and then.
    Rare,
    None,
}

impl Style {
    fn of(wanted: ProgressArg, is_terminal: bool) -> Style {
        match wanted {
            ProgressArg::None => Style::None,
            ProgressArg::Plain => Style::Tenths,
            ProgressArg::Auto | ProgressArg::Bar if is_terminal => Style::Bar,
            ProgressArg::Auto | ProgressArg::Bar => Style::Rare,
        }
    }
}

impl StageProgress {
    /// Progress of a stage that `what` names.
    pub(crate) fn new(terminal: &Terminal, what: &'static str, unit: Unit) -> StageProgress {
        let wanted = if terminal.quiet { ProgressArg::None } else { terminal.progress };
        let style = Style::of(wanted, terminal.stderr_is_terminal());
        let started = Instant::now();
        StageProgress { terminal: terminal.clone(), what, style, unit, started, bar: None, shown: None, first: None }
    }

    /// Goes on to another stage, if it is another.
    pub(crate) fn stage(&mut self, what: &'static str, unit: Unit) {
        if self.what != what {
            *self = StageProgress::new(&self.terminal, what, unit);
        }
    }

    /// Says how far the stage is.
    pub(crate) fn update(&mut self, done: u64, total: u64) {
        let elapsed = self.started.elapsed();
        self.first.get_or_insert_with(|| (done, Instant::now()));
        match self.style {
            Style::None => {}
            _ if total == 0 => {}
            Style::Bar if elapsed >= SHORT => self.bar(total).set_position(done),
            Style::Tenths if elapsed >= SHORT => self.tenth(done, total),
            // What is done has been told by its end.
            Style::Rare if done < total => {
                let mut last = LAST_LINE.lock().unwrap_or_else(PoisonError::into_inner);
                if is_line_due(elapsed, &mut last, Instant::now()) {
                    self.line(done, total);
                }
            }
            Style::Bar | Style::Tenths | Style::Rare => {}
        }
    }

    fn bar(&mut self, total: u64) -> &ProgressBar {
        let (what, unit, begun) = (self.what, self.unit, self.first.map_or(0, |(done, _)| done));
        self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            let amounts = match unit {
                Unit::Bytes => "{bytes}/{total_bytes}",
                Unit::Download => "{bytes}/{total_bytes} {bytes_per_sec}",
                Unit::Tokens | Unit::Pieces => "{pos}/{len}",
            };
            let template = format!("{what} {{bar:30}} {amounts} {{eta}}");
            bar.set_style(ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar()));
            // What was there before is not fast, it is old.
            bar.set_position(begun);
            bar.reset_eta();
            bar
        })
    }

    fn tenth(&mut self, done: u64, total: u64) {
        let tenth = done.saturating_mul(10) / total;
        if self.shown.is_none_or(|(shown, when)| tenth > shown || when.elapsed() >= SILENCE) {
            self.shown = Some((tenth, Instant::now()));
            self.line(done, total);
        }
    }

    fn line(&self, done: u64, total: u64) {
        let rate = match (self.unit, self.first) {
            (Unit::Download, Some((first, when))) => {
                rate(done.saturating_sub(first), total - done.min(total), when.elapsed())
            }
            _ => String::new(),
        };
        self.terminal.note(&format!("{} {} %{rate}", self.what, done.saturating_mul(100) / total));
    }

    /// Takes the bar away.
    pub(crate) fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.style = Style::None;
    }
}

/// How fast bytes come, and how long the rest takes: ` · 12.0 MiB/s · 90 s left`.
fn rate(done: u64, left: u64, elapsed: Duration) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a few digits are shown")]
    let (done, left) = (done as f64, left as f64);
    let rate = done / elapsed.as_secs_f64().max(1e-3);
    if rate < 1.0 {
        return String::new();
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is above zero, and ends at the largest number"
    )]
    let (rate, seconds) = (rate as u64, (left / rate) as u64);
    let left = if seconds < 120 { format!("{seconds} s") } else { format!("{} min", seconds / 60) };
    format!(" · {}/s · {left} left", lyn::memory::bytes(rate))
}

impl Drop for StageProgress {
    fn drop(&mut self) {
        self.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_says_how_long_the_rest_takes() {
        let seconds = Duration::from_secs;
        assert_eq!(rate(120 << 20, 900 << 20, seconds(10)), " · 12.0 MiB/s · 75 s left");
        assert_eq!(rate(1 << 30, 600 << 30, seconds(10)), " · 102.4 MiB/s · 100 min left");
        assert_eq!(rate(0, 600, seconds(10)), "");
    }

    /// A log shall not fill with what nobody watches.
    #[test]
    fn without_a_terminal_a_line_comes_now_and_then() {
        assert!(Style::of(ProgressArg::Auto, false) == Style::Rare && Style::of(ProgressArg::Auto, true) == Style::Bar);
        assert_eq!(Style::of(ProgressArg::Plain, false), Style::Tenths);
        let began = Instant::now();
        let mut last = None;
        let mut lines = vec![];
        for tenth in 0..900_u64 {
            let elapsed = Duration::from_millis(tenth * 100);
            if is_line_due(elapsed, &mut last, began + elapsed) {
                lines.push(elapsed.as_secs());
            }
        }
        assert_eq!(lines, [2, 32, 62], "seconds of a stage of 90");
        // The next stage waits for its turn, and a short one says nothing.
        assert!(!is_line_due(Duration::from_secs(3), &mut last, began + Duration::from_secs(80)));
        assert!(!is_line_due(Duration::from_millis(1900), &mut None, began));
    }
}
