//! How far a long stage is: a bar where stderr is a terminal, else a line every 30 s, and none for what is over in 2 s. A line for each
//! 10 % is for who asks for it, with `--progress plain`.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Terminal;
use crate::cli;

/// Stages shorter than this are not worth a bar.
const SHORT: Duration = Duration::from_millis(300);
/// Nor stages shorter than this a line of a log.
const SHORT_FOR_LINES: Duration = Duration::from_secs(2);
/// Without a terminal, between two signs of life.
const SILENCE: Duration = Duration::from_secs(30);

/// Whether a line may be written now: one in a while, whatever the stage.
fn is_line_due() -> bool {
    static LAST: Mutex<Option<Instant>> = Mutex::new(None);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let is_due = last.is_none_or(|last| last.elapsed() >= SILENCE);
    if is_due {
        *last = Some(Instant::now());
    }
    is_due
}

/// The progress of one stage.
pub(crate) struct Progress {
    terminal: Terminal,
    what: &'static str,
    style: Style,
    unit: Unit,
    started: Instant,
    bar: Option<ProgressBar>,
    shown: Option<(u64, Instant)>,
}

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Bytes of weights.
    Bytes,
    /// Tokens of a prompt.
    Tokens,
    /// Kernels, pipelines, tests.
    Pieces,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Bar,
    /// A line for each tenth, and where one takes long.
    Tenths,
    /// A line now and then.
    Rare,
    None,
}

impl Progress {
    /// Progress of a stage that `what` names.
    pub(crate) fn new(terminal: &Terminal, what: &'static str, unit: Unit) -> Progress {
        let style = match terminal.progress {
            _ if terminal.quiet => Style::None,
            cli::Progress::None => Style::None,
            cli::Progress::Plain => Style::Tenths,
            cli::Progress::Auto | cli::Progress::Bar if terminal.stderr_is_terminal() => Style::Bar,
            cli::Progress::Auto | cli::Progress::Bar => Style::Rare,
        };
        let started = Instant::now();
        Progress { terminal: terminal.clone(), what, style, unit, started, bar: None, shown: None }
    }

    /// Goes on to another stage, if it is another.
    pub(crate) fn stage(&mut self, what: &'static str, unit: Unit) {
        if self.what != what {
            *self = Progress::new(&self.terminal, what, unit);
        }
    }

    /// Says how far the stage is.
    pub(crate) fn update(&mut self, done: u64, total: u64) {
        let elapsed = self.started.elapsed();
        match self.style {
            Style::None => {}
            _ if total == 0 => {}
            Style::Bar if elapsed >= SHORT => self.bar(total).set_position(done),
            Style::Tenths if elapsed >= SHORT => self.tenth(done, total),
            // What is done has been told by its end.
            Style::Rare if elapsed >= SHORT_FOR_LINES && done < total && is_line_due() => self.line(done, total),
            Style::Bar | Style::Tenths | Style::Rare => {}
        }
    }

    fn bar(&mut self, total: u64) -> &ProgressBar {
        let (what, unit) = (self.what, self.unit);
        self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            let amounts = match unit {
                Unit::Bytes => "{bytes}/{total_bytes}",
                Unit::Tokens | Unit::Pieces => "{pos}/{len}",
            };
            let template = format!("{what} {{bar:30}} {amounts} {{eta}}");
            bar.set_style(ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar()));
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
        self.terminal.note(&format!("{} {} %", self.what, done.saturating_mul(100) / total));
    }

    /// Takes the bar away.
    pub(crate) fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.style = Style::None;
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}
