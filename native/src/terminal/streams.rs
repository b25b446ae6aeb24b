//! stdout is data, stderr is chatter; each knows for itself whether it is a terminal.

use std::io::{ErrorKind, IsTerminal, Write, stderr, stdin, stdout};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use serde_json::Value;

use crate::flags::{Common, ProgressArg, When};

/// The streams of this process, as the common options want them.
#[derive(Clone, Debug)]
pub(crate) struct Terminal {
    /// Machine-readable answers.
    pub(crate) json: bool,
    /// Errors only on stderr.
    pub(crate) quiet: bool,
    pub(crate) progress: ProgressArg,
    color: When,
}

/// Thoughts, statistics, notes.
pub(crate) const DIM: Style = Style::new().dimmed();
/// What went wrong.
pub(crate) const ERROR: Style = AnsiColor::Red.on_default().bold();
/// What may be wrong.
pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default().bold();
/// What to do.
pub(crate) const HELP: Style = AnsiColor::Cyan.on_default();

impl Terminal {
    /// Streams after the common options.
    pub(crate) fn new(common: &Common) -> Terminal {
        Terminal { json: common.json, quiet: common.quiet, progress: common.progress, color: common.color }
    }

    /// Streams before any other option is known.
    pub(crate) fn plain(json: bool) -> Terminal {
        Terminal { json, quiet: false, progress: ProgressArg::Auto, color: When::Auto }
    }

    /// Sends log lines to stderr: warnings of lyn, more with `-v`, whatever `LYN_LOG` says.
    pub(crate) fn start_log(&self, verbose: u8) {
        let level = match verbose {
            _ if self.quiet => "lyn=error",
            0 => "lyn=warn",
            1 => "lyn=debug",
            _ => "lyn=trace",
        };
        let filter = std::env::var("LYN_LOG").ok().and_then(|filters| filters.parse().ok());
        let filter: tracing_subscriber::EnvFilter = filter.unwrap_or_else(|| level.into());
        let ansi = self.choice() != ColorChoice::Never;
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(ansi).without_time().with_writer(stderr).init();
    }

    /// Whether someone may be reading stdout as it comes.
    pub(crate) fn stdout_is_terminal(&self) -> bool {
        stdout().is_terminal()
    }

    /// Whether someone may be reading stderr as it comes.
    pub(crate) fn stderr_is_terminal(&self) -> bool {
        stderr().is_terminal()
    }

    /// Whether something that is shown `when` the user says is shown on stderr.
    pub(crate) fn wants(&self, when: When) -> bool {
        when == When::Always || when == When::Auto && self.stderr_is_terminal()
    }

    /// Whether stdin is a keyboard.
    pub(crate) fn stdin_is_terminal(&self) -> bool {
        stdin().is_terminal()
    }

    /// Asks a question on stderr that a line of the keyboard answers; anything but yes is no.
    pub(crate) fn confirms(&self, question: &str) -> bool {
        self.chatter(&format!("{question} [y/N] "));
        let mut answer = String::new();
        let is_read = stdin().read_line(&mut answer).is_ok();
        is_read && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
    }

    /// Writes an answer to stdout and flushes. On a terminal control characters are left out: a model may not move the cursor.
    pub(crate) fn data(&self, text: &str) {
        let mut out = stdout().lock();
        let written =
            if out.is_terminal() { out.write_all(printable(text).as_bytes()) } else { out.write_all(text.as_bytes()) };
        quiet_pipe(written.and_then(|()| out.flush()));
    }

    /// Writes bytes of ours, such as man pages, to stdout.
    pub(crate) fn bytes(&self, bytes: &[u8]) {
        let mut out = stdout().lock();
        quiet_pipe(out.write_all(bytes).and_then(|()| out.flush()));
    }

    /// Writes one JSON document, in a line of its own, to stdout.
    pub(crate) fn json_line(&self, value: &Value) {
        self.bytes(format!("{}\n", plain_json(&value.to_string())).as_bytes());
    }

    /// Writes one indented JSON document to stdout.
    pub(crate) fn document(&self, value: &Value) {
        self.bytes(format!("{}\n", plain_json(&format!("{value:#}"))).as_bytes());
    }

    /// A remark on stderr, for people; not with `--quiet`.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            self.chatter(&format!("{DIM}{text}{DIM:#}\n"));
        }
    }

    /// A warning with its code on stderr; not with `--quiet`.
    pub(crate) fn warn(&self, code: &str, text: &str) {
        if !self.quiet {
            self.chatter(&format!("{WARNING}warning[{code}]{WARNING:#}: {text}\n"));
        }
    }

    /// Text with styles to stderr: they go only where they can be seen.
    pub(crate) fn chatter(&self, text: &str) {
        let mut err = AutoStream::new(stderr().lock(), self.choice());
        // Nobody is left to be told that stderr is closed.
        let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
    }

    /// A thought on stderr, dim.
    pub(crate) fn thought(&self, text: &str) {
        let text = if stderr().is_terminal() { printable(text) } else { text.to_owned() };
        self.chatter(&format!("{DIM}{text}{DIM:#}"));
    }

    /// Whether stderr takes styles.
    pub(crate) fn choice(&self) -> ColorChoice {
        match self.color {
            When::Auto => AutoStream::choice(&stderr()),
            When::Always => ColorChoice::Always,
            When::Never => ColorChoice::Never,
        }
    }
}

/// A reader that has seen enough ends the program: quietly, as `head` expects it.
fn quiet_pipe(written: std::io::Result<()>) {
    match written {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => crate::interrupt::leave(0),
        Err(error) => {
            let _ = writeln!(stderr(), "error[io]: stdout: {error}");
            crate::interrupt::leave(6);
        }
    }
}

/// The same JSON without characters that move a cursor or hide others: names and texts may hold them.
pub(crate) fn plain_json(json: &str) -> String {
    let mut plain = String::with_capacity(json.len());
    for character in json.chars() {
        if character != '\n' && lyn::error::is_hidden(character) {
            let mut units = [0; 2];
            plain.extend(character.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            plain.push(character);
        }
    }
    plain
}

/// Text without control characters other than line breaks and tabs.
fn printable(text: &str) -> String {
    text.chars().filter(|&c| matches!(c, '\n' | '\t') || !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn json_moves_no_cursor_and_means_the_same() {
        let value = serde_json::json!({ "a\u{9b}\u{2028}": "\u{1b}[2J\n\u{e0041}é" });
        let written = super::plain_json(&format!("{value:#}"));
        assert!(written.chars().all(|c| c == '\n' || !lyn::error::is_hidden(c)), "{written:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&written).unwrap(), value);
    }

    #[test]
    fn text_of_a_model_cannot_move_the_cursor() {
        assert_eq!(super::printable("a\u{1b}[2Jb\n\tc\u{9b}1m\r"), "a[2Jb\n\tc1m");
    }
}
