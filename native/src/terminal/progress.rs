//! How far a long stage is: a bar where stderr is a terminal, else a line for each 10 % or 30 s; nothing for short stages.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Terminal;
use crate::cli;

/// Stages shorter than this are not worth a sign.
const SHORT: Duration = Duration::from_millis(300);
/// Without a terminal, a sign of life at least this often.
const SILENCE: Duration = Duration::from_secs(30);

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
    Plain,
    None,
}

impl Progress {
    /// Progress of a stage that `what` names.
    pub(crate) fn new(terminal: &Terminal, what: &'static str, unit: Unit) -> Progress {
        let style = match terminal.progress {
            _ if terminal.quiet => Style::None,
            cli::Progress::None => Style::None,
            cli::Progress::Plain => Style::Plain,
            cli::Progress::Auto | cli::Progress::Bar if terminal.stderr_is_terminal() => Style::Bar,
            cli::Progress::Auto | cli::Progress::Bar => Style::Plain,
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
        if self.style == Style::None || self.started.elapsed() < SHORT || total == 0 {
            return;
        }
        match self.style {
            Style::Bar => self.bar(total).set_position(done),
            _ => self.plain(done, total),
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

    fn plain(&mut self, done: u64, total: u64) {
        let percent = done.saturating_mul(100) / total;
        let due = self.shown.is_none_or(|(tenth, when)| percent / 10 > tenth || when.elapsed() > SILENCE);
        if due {
            self.shown = Some((percent / 10, Instant::now()));
            self.terminal.note(&format!("{} {percent} %", self.what));
        }
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
