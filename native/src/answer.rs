//! One answer, shown as it comes: text to stdout, thoughts and statistics to stderr, selections to a trace file.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use lyn::engine::Engine;
use lyn::error::Result;
use lyn::generate::{Event, Finish, Request, Selection, Timings, Voice};
use lyn::inspect::trace as lines;
use lyn::platform::block_on;
use lyn::text::Tokenizer;
use lyn::wire::openai;
use serde_json::{Value, json};

use crate::App;
use crate::flags::ReasoningTo;
use crate::terminal::StageProgress;
use crate::terminal::progress::Unit;
use crate::terminal::table::count;

/// An answer, whole or stopped.
#[derive(Clone, Debug, Default)]
pub(crate) struct LocalAnswer {
    /// What the model said.
    pub(crate) text: String,
    /// What it thought before.
    pub(crate) reasoning: String,
    /// Why it ended; none where the user stopped it.
    pub(crate) finish: Option<Finish>,
    /// Counts and times.
    pub(crate) timings: Timings,
    pub(crate) seed: u64,
}

/// Makes an answer and shows it. Errors: as [`Engine::generate`] and [`lyn::generate::Generation::next`]; `io` where the
/// trace cannot be written.
pub(crate) fn answer(
    app: &App,
    engine: &mut Engine,
    request: Request,
    reasoning: ReasoningTo,
    mut trace: Option<&mut TraceFile>,
) -> Result<LocalAnswer> {
    let _working = app.interrupt.work();
    let mut screen = Screen::new(app, reasoning);
    let mut progress = StageProgress::new(&app.terminal, "reading", Unit::Tokens);
    let mut generation = engine.generate(request)?;
    let mut answer = LocalAnswer { seed: generation.seed(), ..LocalAnswer::default() };
    let result = loop {
        if app.interrupt.asked() {
            answer.timings = generation.timings();
            break Ok(());
        }
        match block_on(generation.next()) {
            Ok(None) => break Ok(()),
            Ok(Some(Event::Prompt { done, total, cached, .. })) => {
                progress.update(u64::from(done - cached.min(done)), u64::from(total - cached));
            }
            Ok(Some(Event::Text { voice, text })) => {
                progress.finish();
                screen.show(voice, &text);
                match voice {
                    Voice::Content => answer.text += &text,
                    Voice::Reasoning => answer.reasoning += &text,
                }
            }
            Ok(Some(Event::Trace(selections))) => {
                if let Some(Err(error)) = trace.as_mut().map(|trace| trace.selections(&selections)) {
                    break Err(error);
                }
            }
            Ok(Some(Event::End { finish, timings, .. })) => {
                answer.finish = Some(finish);
                answer.timings = timings;
            }
            Ok(Some(Event::Token { id, .. })) => {
                if let Some(Err(error)) = trace.as_mut().map(|trace| trace.token(id, generation.tokenizer())) {
                    break Err(error);
                }
            }
            // No tools are offered here: calls are text.
            Ok(Some(Event::Spelled(_) | Event::Call { .. } | Event::Arguments { .. } | Event::CallEnd { .. })) => {}
            Ok(Some(Event::PromptLogprobs { .. } | Event::EndToken { .. })) => {}
            Err(error) => break Err(error),
        }
    };
    progress.finish();
    screen.end();
    result.and_then(|()| trace.map_or(Ok(()), TraceFile::finish)).map(|()| answer)
}

/// Text on its way to the streams.
pub(crate) struct Screen<'a> {
    app: &'a App,
    reasoning: ReasoningTo,
    /// The last text was a thought.
    thinking: bool,
    /// The last text ended its line.
    ended: bool,
}

impl<'a> Screen<'a> {
    pub(crate) fn new(app: &'a App, reasoning: ReasoningTo) -> Screen<'a> {
        Screen { app, reasoning, thinking: false, ended: true }
    }

    /// Shows text as it comes.
    pub(crate) fn show(&mut self, voice: Voice, text: &str) {
        let terminal = &self.app.terminal;
        let field = if voice == Voice::Content { "content" } else { "reasoning_content" };
        if terminal.json {
            return terminal.json_line(&json!({ "delta": { field: text } }));
        }
        if self.thinking && voice == Voice::Content {
            match self.reasoning {
                ReasoningTo::Stderr if !terminal.quiet => terminal.thought("\n"),
                ReasoningTo::Stdout => terminal.data("\n\n"),
                _ => {}
            }
        }
        self.thinking = voice == Voice::Reasoning;
        match (voice, self.reasoning) {
            (Voice::Content, _) | (_, ReasoningTo::Stdout) => {
                terminal.data(text);
                self.ended = text.ends_with('\n');
            }
            (_, ReasoningTo::Stderr) if !terminal.quiet => terminal.thought(text),
            _ => {}
        }
    }

    /// On a terminal what follows begins a line; in a file nothing is added to the text.
    pub(crate) fn end(&mut self) {
        let terminal = &self.app.terminal;
        if terminal.json {
            return;
        }
        if !self.ended && terminal.stdout_is_terminal() {
            terminal.data("\n");
        }
        if self.thinking && self.reasoning == ReasoningTo::Stderr && !terminal.quiet {
            terminal.thought("\n");
        }
    }
}

/// A trace file, as `docs/sparse-attention.md` has it.
pub(crate) struct TraceFile {
    path: PathBuf,
    file: BufWriter<File>,
    /// Position of the next token.
    next: u32,
}

impl TraceFile {
    /// Creates the file and writes what is known before the answer: model, layers, tokens of the prompt. Errors: `io`;
    /// `bad_checkpoint` without a tokenizer.
    pub(crate) fn create(path: &Path, engine: &Engine, layers: &[u32], prompt: &[u32]) -> Result<TraceFile> {
        let file = File::create(path).map_err(|error| crate::text::io_error(path, &error))?;
        let mut trace = TraceFile { path: path.to_owned(), file: BufWriter::new(file), next: 0 };
        trace.line(&lines::header(engine, layers))?;
        let tokenizer = engine.tokenizer()?;
        prompt.iter().try_for_each(|&id| trace.token(id, tokenizer))?;
        Ok(trace)
    }

    fn token(&mut self, id: u32, tokenizer: &Tokenizer) -> Result<()> {
        self.line(&lines::token(self.next, id, tokenizer))?;
        self.next += 1;
        Ok(())
    }

    fn selections(&mut self, selections: &[Selection]) -> Result<()> {
        selections.iter().try_for_each(|selection| self.line(&lines::selection(selection)))
    }

    fn line(&mut self, line: &str) -> Result<()> {
        writeln!(self.file, "{line}").map_err(|error| crate::text::io_error(&self.path, &error))
    }

    fn finish(&mut self) -> Result<()> {
        self.file.flush().map_err(|error| crate::text::io_error(&self.path, &error))
    }
}

impl LocalAnswer {
    /// `212 tokens · 38.1 tok/s · …`
    pub(crate) fn statistics(&self, engine: &mut Engine) -> String {
        let (t, speeds) = (&self.timings, openai::SpeedReport::from(&self.timings));
        let settings = *engine.runner().settings();
        let used = t.prompt_tokens + t.completion_tokens;
        let cached =
            if t.cached_tokens > 0 { format!(" ({} cached)", count(t.cached_tokens.into())) } else { String::new() };
        let mut parts = vec![
            format!("{} tokens", count(t.completion_tokens.into())),
            format!("{:.1} tok/s", speeds.predicted_per_second),
            format!("prompt {}{cached} at {:.0} tok/s", count(t.prompt_tokens.into()), speeds.prompt_per_second),
            format!("first token {:.1} s", t.first_token_ms / 1e3),
            format!("context {}/{}", count(used.into()), count(settings.context.into())),
        ];
        if let Some(topk) = settings.index_topk {
            parts.push(format!("read {} of {} tokens/layer", count(topk.min(used).into()), count(used.into())));
        }
        parts.push(format!("seed {}", self.seed));
        if self.finish.is_none() {
            parts.push("stopped".to_owned());
        }
        parts.join(" · ")
    }

    /// The last line of `--json`.
    pub(crate) fn to_json(&self, engine: &Engine, schema: &str) -> Value {
        json!({
            "schema": schema,
            "text": self.text,
            "reasoning_content": if self.reasoning.is_empty() { Value::Null } else { json!(self.reasoning) },
            "finish_reason": self.finish.map_or("stopped", Finish::name),
            "usage": openai::Usage::from(&self.timings).to_json(),
            "timings": openai::SpeedReport::from(&self.timings),
            "seed": self.seed,
            "adapter": engine.adapter().map_or("host", |adapter| adapter.name.as_str()),
        })
    }
}
