//! One answer, then the end. It never becomes interactive.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum, ValueHint};
use lyn::chat::{Detected, Message, Role};
use lyn::engine::Engine;
use lyn::error::{Result, quote};
use lyn::generate::{Finish, Request, TraceRequest};
use lyn::wire::openai::{self, JsonSchema};

use super::{fenced, refuse};
use crate::answer::{LocalAnswer, TraceFile, answer};
use crate::ask::{Ask, message};
use crate::flags::{AnswerArgs, AskArgs, Switch};
use crate::remote::Remote;
use crate::{App, Ended, load, text};

#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// Prompt; files and piped stdin are appended
    pub(crate) prompt: Option<String>,
    /// Append a file to the prompt; repeatable
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: Vec<PathBuf>,
    /// Send the prompt verbatim, without a chat format; default for models without one
    #[arg(long)]
    pub(crate) raw: bool,
    /// Format of the answer: free text, or one JSON object
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) response_format: ResponseFormatArg,
    /// Constrain the answer to a JSON schema: a file, or the schema itself
    #[arg(long, value_name = "SCHEMA", value_hint = ValueHint::FilePath, conflicts_with = "response_format")]
    pub(crate) json_schema: Option<OsString>,
    /// Write the positions that attention reads for each token, as JSON Lines
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) trace: Option<PathBuf>,
    /// Layers to trace: comma-separated numbers, or all
    #[arg(long, value_name = "LIST", default_value = "all", requires = "trace")]
    pub(crate) trace_layers: String,
    /// Also trace the weights of dense attention
    #[arg(long, requires = "trace")]
    pub(crate) trace_dense: bool,
    #[command(flatten)]
    pub(crate) asking: AskArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ResponseFormatArg {
    Text,
    Json,
}

pub(crate) fn run(app: &App, options: &GenerateArgs) -> Ended {
    if let Some(remote) = Remote::open(app, &options.asking.upstream, &options.asking.engine)? {
        return run_there(app, options, &remote);
    }
    let form = form(options)?;
    let ask = options.asking.ask(form.as_ref());
    let prompt = prompt(app, options)?;
    let mut engine = load::engine(app, &options.asking.engine.model, &options.asking.engine.options(&app.device))?;
    let request = request(app, options, &engine, &prompt, ask)?;
    let mut trace = match (&options.trace, &request.trace) {
        (Some(path), Some(wanted)) => Some(TraceFile::create(path, &engine, &wanted.layers, &request.prompt)?),
        _ => None,
    };
    let made = answer(app, &mut engine, request, options.asking.answer.reasoning, trace.as_mut())?;
    if app.terminal.json {
        app.terminal.json_line(&made.to_json(&engine, "lyn.generate/1"));
    }
    report(app, &made, &mut engine, &options.asking.answer);
    Ok(if made.finish.is_none() { app.interrupt.exit_code() } else { ExitCode::SUCCESS })
}

/// The same by another engine.
fn run_there(app: &App, options: &GenerateArgs, remote: &Remote) -> Ended {
    if options.raw || options.trace.is_some() {
        return Err(refuse("--raw and --trace need a local engine and cannot be used with --upstream"));
    }
    let form = form(options)?;
    let ask = options.asking.ask(form.as_ref());
    let told = remote.answer(app, ask, messages(options, &prompt(app, options)?))?;
    if app.terminal.json {
        app.terminal.json_line(&told.to_json("lyn.generate/1"));
    }
    told.report(app, &options.asking.answer);
    match told.failure {
        Some(error) => Err(error),
        None if told.is_stopped() => Ok(app.interrupt.exit_code()),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// The system message, where there is one, and the prompt.
fn messages(options: &GenerateArgs, prompt: &str) -> Vec<Message> {
    let system = options.asking.answer.system.iter().map(|text| message(Role::System, text));
    system.chain([message(Role::User, prompt)]).collect()
}

/// Argument, files, piped stdin, with blank lines between.
fn prompt(app: &App, options: &GenerateArgs) -> Result<String> {
    let mut parts: Vec<String> = options.prompt.clone().into_iter().collect();
    for path in &options.file {
        parts.push(fenced(path, &text::of_file(path)?));
    }
    if !app.terminal.stdin_is_terminal() {
        parts.push(text::of_stdin()?);
    }
    parts.retain(|part| !part.trim().is_empty());
    if parts.is_empty() {
        return Err(refuse("give a prompt, or start a conversation with: lyn chat")
            .with_help("lyn generate \"Once upon a time\""));
    }
    // One part stays as it is, line breaks at its end included: what follows it depends on them.
    let last = parts.pop().unwrap_or_default();
    let before: String = parts.iter().map(|part| format!("{}\n\n", part.trim_end_matches('\n'))).collect();
    Ok(before + &last)
}

/// What the answer has to be.
fn form(options: &GenerateArgs) -> Result<Option<openai::ResponseFormat>> {
    let format =
        |kind: &str, json_schema| openai::ResponseFormat { r#type: kind.to_owned(), json_schema, schema: None };
    let Some(given) = &options.json_schema else {
        return Ok(match options.response_format {
            ResponseFormatArg::Text => None,
            ResponseFormatArg::Json => Some(format("json_object", None)),
        });
    };
    let inline = given.to_str().filter(|given| given.trim_start().starts_with('{'));
    let text = inline.map_or_else(|| text::of_file(Path::new(given)), |given| Ok(given.to_owned()))?;
    let (schema, _) = lyn::json::read(text.as_bytes()).map_err(|error| {
        let file = if inline.is_some() { String::new() } else { format!(" {}", text::quoted(given)) };
        refuse(format!("--json-schema{file}: expected a JSON schema: {}", error.message()))
    })?;
    Ok(Some(format("json_schema", Some(JsonSchema { schema: Some(schema) }))))
}

fn request(app: &App, options: &GenerateArgs, engine: &Engine, prompt: &str, ask: Ask<'_>) -> Result<Request> {
    let raw = match engine.chat_format() {
        _ if options.raw => true,
        Detected::Raw(why) => {
            app.terminal.note(&format!("note: sending the prompt without a chat format: {why}"));
            true
        }
        _ => false,
    };
    if raw && (ask.answer.system.is_some() || ask.answer.thinking == Switch::On) {
        return Err(refuse("--system and --thinking need a chat format, and this prompt is sent without one"));
    }
    let request = match raw {
        true => ask.text_here(app, engine.language()?, prompt)?,
        false => ask.chat_here(app, engine.language()?, messages(options, prompt))?,
    };
    let dense = options.trace_dense;
    let layers = options.trace.is_some().then(|| trace_layers(&options.trace_layers, dense, engine)).transpose()?;
    Ok(Request { trace: layers.map(|layers| TraceRequest { layers, dense, from: 0 }), ..request })
}

fn trace_layers(list: &str, dense: bool, engine: &Engine) -> Result<Vec<u32>> {
    let layers = engine.plan().layers;
    if engine.index_topk().is_none() && !dense {
        return Err(refuse("--trace records the indexer's selection, and dense attention has none")
            .with_help("add --trace-dense to record the weights of dense attention"));
    }
    if list == "all" {
        return Ok((0..layers).collect());
    }
    let parsed = list.split(',').map(|number| number.trim().parse().ok().filter(|&layer| layer < layers));
    let mut chosen: Vec<u32> = parsed.collect::<Option<_>>().ok_or_else(|| {
        refuse(format!("--trace-layers {}: expected all, or comma-separated numbers below {layers}", quote(list)))
    })?;
    chosen.sort_unstable();
    chosen.dedup();
    Ok(chosen)
}

/// Says why an answer was cut, and how fast it was, where that is wanted.
pub(crate) fn report(app: &App, made: &LocalAnswer, engine: &mut Engine, options: &AnswerArgs) {
    if made.finish == Some(Finish::Length) {
        let context = engine.plan().context;
        let why = match options.max_tokens() {
            Some(most) if made.timings.completion_tokens >= most => format!("--max-tokens {most} was reached"),
            _ => format!("the context of {context} tokens is full; raise --context if the model allows it"),
        };
        app.terminal.note(&format!("note: the answer was cut off: {why}"));
    }
    if app.terminal.wants(options.stats) {
        app.terminal.note(&made.statistics(engine));
    }
}
