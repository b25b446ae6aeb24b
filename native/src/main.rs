//! `lyn`: parse, run, exit code.

mod answer;
mod ask;
mod block_store;
mod cli;
mod command_line;
mod environment;
mod flags;
mod http;
mod hub;
mod interrupt;
mod load;
mod model;
mod remote;
mod self_check;
mod server;
mod settings;
mod terminal;
mod text;
mod upstream;
mod verbs;

use std::process::ExitCode;
use std::sync::Arc;

use lyn::error::Code;

use crate::cli::Verb;
use crate::command_line::Wish;
use crate::interrupt::Interrupt;
use crate::settings::SettingsFile;
use crate::terminal::Terminal;

/// What every verb works with.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) terminal: Terminal,
    pub(crate) interrupt: Arc<Interrupt>,
    pub(crate) settings: SettingsFile,
    /// The adapter that the user wants.
    pub(crate) device: String,
}

impl App {
    /// The whole command, for verbs that tell about it.
    pub(crate) fn command(&self) -> clap::Command {
        cli::command()
    }
}

/// How a verb ended that did not fail: done, or with an exit code of its own.
pub(crate) type Ended = lyn::Result<ExitCode>;

fn main() -> ExitCode {
    environment::prepare();
    let wish = SettingsFile::read(&cli::command()).and_then(|settings| Ok((command_line::read(&settings)?, settings)));
    let (cli, settings) = match wish {
        Ok((Wish::Run(cli), settings)) => (*cli, settings),
        Ok((Wish::Shown(code), _)) => return code,
        Err(error) => {
            terminal::error::show(&Terminal::plain(command_line::wants_json()), &error);
            return ExitCode::from(error.code().exit_code());
        }
    };
    let terminal = Terminal::new(&cli.common);
    let Some(verb) = cli.verb else {
        terminal.bytes(cli::SHORT_HELP.as_bytes());
        return ExitCode::SUCCESS;
    };
    terminal.start_log(cli.common.verbose);
    if let Some(unread) = &settings.unread {
        terminal.warn("bad_config", unread);
    }
    let ended = Interrupt::install().and_then(|interrupt| {
        let app = App { terminal: terminal.clone(), interrupt, settings, device: cli.common.device };
        let offered = verb.model().map_or(Ok(()), |model| verbs::pull::offer(&app, model));
        offered.and_then(|()| run(&app, verb)).or_else(|error| match error.code() {
            // Stopped while loading: nothing to say that the user does not know.
            Code::Cancelled => Ok(app.interrupt.exit_code()),
            _ => Err(error),
        })
    });
    ended.unwrap_or_else(|error| {
        terminal::error::show(&terminal, &error);
        ExitCode::from(error.code().exit_code())
    })
}

fn run(app: &App, verb: Verb) -> Ended {
    match verb {
        Verb::Generate(options) => verbs::generate::run(app, &options),
        Verb::Chat(options) => verbs::chat::run(app, *options),
        Verb::Serve(options) => verbs::serve::run(app, &options),
        Verb::Bench(options) => verbs::bench::run(app, &options),
        Verb::Pull(options) => verbs::pull::run(app, &options),
        Verb::List => verbs::list::run(app),
        Verb::Rm(options) => verbs::rm::run(app, &options),
        Verb::Compare(options) => verbs::compare::run(app, &options),
        Verb::Show(model) => verbs::show::run(app, &model.model),
        Verb::Plan(options) => verbs::plan::run(app, &options),
        Verb::Verify(model) => verbs::verify::run(app, &model.model),
        Verb::Quantize(options) => verbs::quantize::run(app, &options),
        Verb::Devices => verbs::devices::run(app),
        Verb::Doctor => verbs::doctor::run(app),
        Verb::Conform(options) => verbs::conform::run(app, &options),
        Verb::Tokenize(options) => verbs::tokenize::run(app, &options),
        Verb::Completions { shell } => verbs::completions::run(app, shell),
        Verb::Man { folder } => verbs::man::run(app, folder.as_deref()),
        Verb::Config { action } => verbs::config::run(app, action),
        Verb::Cache { action } => verbs::cache::run(app, action),
        Verb::Docs => verbs::docs::run(app),
    }
}
