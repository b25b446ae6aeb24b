//! Where turns come from: a line editor at a terminal, lines of stdin elsewhere.

use std::borrow::Cow;
use std::io::BufRead;
use std::process::Command;

use lyn::error::{Code, Error, Result};
use reedline::{
    Color, ColumnarMenu, Completer, Emacs, FileBackedHistory, Highlighter, KeyCode, KeyModifiers, MenuBuilder, Prompt,
    PromptEditMode, PromptHistorySearch, Reedline, ReedlineEvent, ReedlineMenu, Signal, Span, StyledText, Suggestion,
    ValidationResult, Validator, default_emacs_keybindings,
};

use super::commands::COMMANDS;
use crate::{App, text};

/// What the user gave.
pub(super) enum Line {
    /// A turn or a command, perhaps of several lines.
    Text(String),
    /// Ctrl-C at the prompt.
    Interrupted,
    /// The end of the input.
    End,
}

/// A source of turns.
pub(super) enum TurnSource {
    /// With history, in memory only, and completion.
    Editor(Box<Reedline>),
    /// Each line is a turn.
    Lines,
}

impl TurnSource {
    /// The editor where stdin and stdout are a terminal.
    pub(super) fn open(app: &App) -> TurnSource {
        if !app.terminal.stdin_is_terminal() || !app.terminal.stdout_is_terminal() {
            return TurnSource::Lines;
        }
        let mut keys = default_emacs_keybindings();
        let menu = ReedlineEvent::Menu("completions".to_owned());
        let tab = ReedlineEvent::UntilFound(vec![menu, ReedlineEvent::MenuNext]);
        keys.add_binding(KeyModifiers::NONE, KeyCode::Tab, tab);
        keys.add_binding(KeyModifiers::CONTROL, KeyCode::Char('g'), ReedlineEvent::OpenEditor);
        let menu = Box::new(ColumnarMenu::default().with_name("completions"));
        let mut editor = Reedline::create()
            .use_bracketed_paste(true)
            .with_ansi_colors(app.terminal.choice() != anstream::ColorChoice::Never)
            .with_edit_mode(Box::new(Emacs::new(keys)))
            .with_completer(Box::new(Completions))
            .with_menu(ReedlineMenu::EngineCompleter(menu))
            .with_quick_completions(true)
            .with_highlighter(Box::new(Plain))
            .with_validator(Box::new(Quotes));
        if let Ok(history) = FileBackedHistory::new(1000) {
            editor = editor.with_history(Box::new(history));
        }
        let programs = ["VISUAL", "EDITOR"].into_iter().filter_map(|name| std::env::var(name).ok());
        if let Some(program) = programs.into_iter().find(|program| !program.trim().is_empty()) {
            let mut words = program.split_whitespace();
            let file = std::env::temp_dir().join(format!("lyn-{}.md", std::process::id()));
            if let Some(name) = words.next() {
                let mut command = Command::new(name);
                command.args(words).arg(&file);
                editor = editor.with_buffer_editor(command, file);
            }
        }
        TurnSource::Editor(Box::new(editor))
    }

    /// Whether someone types.
    pub(super) fn is_editor(&self) -> bool {
        matches!(self, TurnSource::Editor(_))
    }

    /// The next turn. Errors: `io` where the terminal or stdin cannot be read, `bad_request` where a line is not UTF-8.
    pub(super) fn next(&mut self, prompt: &str) -> Result<Line> {
        let failed = |error: &dyn std::fmt::Display| Error::new(Code::Io, format!("stdin: {error}"));
        match self {
            TurnSource::Editor(editor) => match editor.read_line(&Before(prompt.to_owned())) {
                Ok(Signal::Success(text)) => Ok(Line::Text(unquoted(&text))),
                Ok(Signal::CtrlC) => Ok(Line::Interrupted),
                Ok(_) => Ok(Line::End),
                Err(error) => Err(failed(&error)),
            },
            TurnSource::Lines => {
                let mut line = Vec::new();
                match std::io::stdin().lock().read_until(b'\n', &mut line) {
                    Ok(0) => Ok(Line::End),
                    Ok(_) => {
                        let line = text::of_stdin_bytes(line)?;
                        Ok(Line::Text(line.trim_end_matches(['\r', '\n']).to_owned()))
                    }
                    Err(error) => Err(failed(&error)),
                }
            }
        }
    }
}

const QUOTES: &str = "\"\"\"";

/// Text without the quotes that let it have several lines.
fn unquoted(text: &str) -> String {
    let inner = text.trim().strip_prefix(QUOTES).and_then(|text| text.strip_suffix(QUOTES));
    inner.map_or_else(|| text.to_owned(), |inner| inner.trim_matches('\n').to_owned())
}

/// Enter goes on to another line while quotes are open.
struct Quotes;

impl Validator for Quotes {
    fn validate(&self, line: &str) -> ValidationResult {
        if line.matches(QUOTES).count().is_multiple_of(2) {
            ValidationResult::Complete
        } else {
            ValidationResult::Incomplete
        }
    }
}

/// The terminal's own colour: the editor's default is white, which some backgrounds are too.
struct Plain;

impl Highlighter for Plain {
    fn highlight(&self, line: &str, _: usize) -> StyledText {
        let mut text = StyledText::new();
        text.push((Default::default(), line.to_owned()));
        text
    }
}

/// Commands at the beginning of a line, paths after those that take one.
struct Completions;

impl Completer for Completions {
    fn complete(&mut self, line: &str, position: usize) -> reedline::CompletionResult {
        let found = candidates(line.get(..position).unwrap_or(line));
        let suggestions = found
            .into_iter()
            .map(|(start, value, whole)| Suggestion {
                value,
                span: Span::new(start, position),
                append_whitespace: whole,
                ..Suggestion::default()
            })
            .collect::<Vec<_>>();
        reedline::CompletionResult::fresh(suggestions)
    }
}

/// Where a completion begins, its text, and whether a blank may follow.
fn candidates(line: &str) -> Vec<(usize, String, bool)> {
    let Some((command, path)) = line.split_once(' ') else {
        let names = COMMANDS.iter().map(|(name, _)| *name);
        return names
            .filter(|name| !line.is_empty() && name.starts_with(line))
            .map(|name| (0, name.into(), true))
            .collect();
    };
    if !matches!(command, "/file" | "/save" | "/load") {
        return vec![];
    }
    let (folder, begin) = path.rsplit_once('/').map_or(("", path), |(folder, begin)| (folder, begin));
    let looked = match folder {
        "" if path.starts_with('/') => "/",
        "" => ".",
        folder => folder,
    };
    let start = line.len() - begin.len();
    let entries = std::fs::read_dir(looked).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok().filter(|name| name.starts_with(begin))?;
            let is_folder = entry.path().is_dir();
            Some((start, if is_folder { name + "/" } else { name }, !is_folder))
        })
        .collect();
    found.sort();
    found
}

/// `[62 %] › `
struct Before(String);

impl Prompt for Before {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.0)
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_indicator(&self, _: PromptEditMode) -> Cow<'_, str> {
        Cow::Borrowed("› ")
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        Cow::Borrowed("· ")
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        Cow::Owned(format!("search {}: ", search.term))
    }

    fn get_prompt_color(&self) -> Color {
        Color::DarkGray
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_hold_lines_together() {
        assert!(matches!(Quotes.validate("\"\"\"a"), ValidationResult::Incomplete));
        assert!(matches!(Quotes.validate("\"\"\"a\nb\"\"\""), ValidationResult::Complete));
        assert_eq!(unquoted("\"\"\"\na\nb\n\"\"\""), "a\nb");
        assert_eq!(unquoted("say \"x\""), "say \"x\"");
    }

    #[test]
    fn commands_and_paths_are_completed() {
        let names = |line: &str| candidates(line).into_iter().map(|found| found.1).collect::<Vec<_>>();
        assert_eq!(names("/th"), ["/thinking"]);
        assert_eq!(names("/s"), ["/system", "/set", "/save", "/stats"]);
        assert!(names("").is_empty() && names("hello").is_empty() && names("say /th").is_empty());
        assert_eq!(candidates("/file src/verbs/chat/inp"), [(21, "input.rs".to_owned(), true)]);
        assert_eq!(candidates("/load src/verb"), [(10, "verbs/".to_owned(), false)]);
    }
}
