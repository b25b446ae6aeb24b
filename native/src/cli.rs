//! The command line, once: parser, help, man pages, completions and docs/cli.md are all made from here.
//!
//! Here are the verbs. Flags that several of them have are in `flags/`; those of one verb are beside it, in `verbs/`.

use std::path::{Path, PathBuf};

use clap::builder::FalseyValueParser;
use clap::{Arg, ArgAction, Command, CommandFactory, Parser, Subcommand, ValueHint};

use crate::flags::{AskArgs, Common, ModelArg, VERSION, twin};
use crate::settings::is_own;
use crate::verbs::bench::BenchArgs;
use crate::verbs::cache::CacheAction;
use crate::verbs::compare::CompareArgs;
use crate::verbs::config::ConfigAction;
use crate::verbs::conform::ConformArgs;
use crate::verbs::generate::GenerateArgs;
use crate::verbs::plan::PlanArgs;
use crate::verbs::pull::PullArgs;
use crate::verbs::quantize::QuantizeArgs;
use crate::verbs::rm::RmArgs;
use crate::verbs::serve::ServeArgs;
use crate::verbs::tokenize::TokenizeArgs;

/// Where the documents are.
pub(crate) const DOCS: &str = "https://github.com/lyn-run/lyn/blob/main/docs";

/// What `lyn` alone says.
pub(crate) const SHORT_HELP: &str = "  lyn generate \"Once upon a time\"     answer a prompt and exit
  lyn chat                            chat in the terminal
  lyn serve                           serve an OpenAI-compatible API

lyn runs DeepSeek-V3.2-family models through WebGPU; the model `stories` is built in.
A MODEL is stories, a folder with config.json and *.safetensors, a .safetensors or .gguf file, or org/name.

  inference   generate · chat · serve   models      pull · list · rm · show · plan · verify · quantize
  adapters    devices · doctor          testing     bench · compare · conform · tokenize
  setup       config · cache · completions · man

Options: lyn VERB --help  Docs: https://github.com/lyn-run/lyn/blob/main/docs/cli.md
";

/// Run DeepSeek-V3.2-family models through WebGPU
#[derive(Debug, Parser)]
#[command(name = "lyn", version = VERSION, max_term_width = 110)]
#[command(before_help = "Examples:\n  lyn generate \"Once upon a time\"\n  lyn chat\n  lyn plan path/to/model")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Option<Verb>,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Answer a prompt and exit
    #[command(
        before_help = "Examples:\n  lyn generate \"Once upon a time\"\n  git diff | lyn generate \"Write a commit message\"\n  lyn generate -f notes.md --json\n  lyn generate --upstream https://api.deepseek.com --model deepseek-chat \"Hello!\""
    )]
    Generate(Box<GenerateArgs>),
    /// Chat in the terminal; with piped stdin, each line is a turn
    #[command(before_help = "Examples:\n  lyn chat\n  lyn chat --system \"Answer in one sentence\" --thinking on")]
    Chat(Box<AskArgs>),
    /// Serve an OpenAI- and DeepSeek-compatible API, and the page at /
    #[command(
        before_help = "Examples:\n  lyn serve\n  lyn serve -m path/to/model --port 0\n  LYN_API_KEY=… lyn serve --host 0.0.0.0"
    )]
    Serve(Box<ServeArgs>),
    /// Measure prompt and generation speed, sparse against dense attention
    #[command(
        before_help = "Examples:\n  lyn bench\n  lyn bench -p 512,1024 -n 64 -d 0,1024 --attention sparse,dense -o md"
    )]
    Bench(BenchArgs),
    /// Download a model from the Hugging Face Hub to the cache that its own tools use
    #[command(
        before_help = "Examples:\n  lyn pull org/name\n  lyn pull org/name-GGUF:Q8_0\n  lyn pull org/name@revision"
    )]
    Pull(PullArgs),
    /// List the downloaded models: name, quantisation, size, last use
    #[command(alias = "ls", before_help = "Examples:\n  lyn list\n  lyn list --json")]
    List,
    /// Remove a downloaded model
    #[command(before_help = "Examples:\n  lyn rm org/name\n  lyn rm org/name-GGUF:Q8_0 --yes")]
    Rm(RmArgs),
    /// Compare what two models, engines, adapters or kinds of attention expect of a text
    #[command(
        before_help = "Examples:\n  lyn compare path/to/model model-Q4_K_M.gguf\n  lyn compare path/to/model --dense\n  lyn compare --device vulkan:0 --against-device cpu --max-kl 1e-6\n  lyn compare path/to/model --upstream http://127.0.0.1:8000/v1\n  lyn compare path/to/model --dense --needles auto --speed auto"
    )]
    Compare(CompareArgs),
    /// Show a model's architecture and size, from its headers
    #[command(before_help = "Examples:\n  lyn show\n  lyn show path/to/model --json")]
    Show(ModelArg),
    /// Estimate the memory a model needs, without reading weights
    #[command(
        before_help = "Examples:\n  lyn plan path/to/model\n  lyn plan path/to/model --context 131072\n  lyn plan org/name-GGUF"
    )]
    Plan(PlanArgs),
    /// Check a model's files without a GPU: headers, names, shapes, every value, tokenizer and chat template
    #[command(before_help = "Examples:\n  lyn verify path/to/model")]
    Verify(ModelArg),
    /// Write a model as a GGUF file in fewer bits, for lyn and llama.cpp
    #[command(
        before_help = "Examples:\n  lyn quantize path/to/model model-Q4_K_M.gguf\n  lyn quantize path/to/model path/to/folder --type q8_0"
    )]
    Quantize(QuantizeArgs),
    /// List GPU adapters; * marks the default
    #[command(before_help = "Examples:\n  lyn devices\n  lyn devices --json")]
    Devices,
    /// Diagnose adapters, limits and paths; run a self-check and a short story
    #[command(before_help = "Examples:\n  lyn doctor\n  lyn doctor --device vulkan:1")]
    Doctor,
    /// Test every kernel on the GPU against its reference
    #[command(
        before_help = "Examples:\n  lyn conform\n  lyn conform --kernel \"linear*\" --report report.json\n  lyn conform --golden path/to/checkpoint"
    )]
    Conform(ConformArgs),
    /// Convert text to token ids, or ids to text
    #[command(
        before_help = "Examples:\n  lyn tokenize \"Once upon a time\"\n  lyn tokenize --decode \"1 2 3\"\n  lyn tokenize -m path/to/model < text.txt"
    )]
    Tokenize(TokenizeArgs),
    /// Print a shell completion script
    #[command(before_help = "Examples:\n  lyn completions bash > ~/.local/share/bash-completion/completions/lyn")]
    Completions {
        /// Shell to print the script for
        shell: clap_complete::Shell,
    },
    /// Print the man page of lyn, or write the pages of all verbs to a folder
    #[command(before_help = "Examples:\n  lyn man | man -l -\n  lyn man ~/.local/share/man/man1")]
    Man {
        /// Folder for the man pages
        #[arg(value_hint = ValueHint::DirPath)]
        folder: Option<PathBuf>,
    },
    /// Show the settings and their sources, or the path of the settings file
    #[command(before_help = "Examples:\n  lyn config show\n  lyn config path")]
    Config {
        #[command(subcommand)]
        action: ConfigAction,
    },
    /// Show or clear the prefix cache on disk
    #[command(
        before_help = "Examples:\n  lyn cache show\n  lyn cache clear\n  lyn cache clear --cache-dir path/to/blocks"
    )]
    Cache {
        #[command(subcommand)]
        action: CacheAction,
    },
    /// Print docs/cli.md
    #[command(hide = true)]
    Docs,
}

impl Verb {
    /// The model that has to be on this machine; none where there is none, or where the verb reads it elsewhere.
    pub(crate) fn model(&self) -> Option<&Path> {
        match self {
            Verb::Generate(options) => options.asking.model(),
            Verb::Chat(options) => options.model(),
            Verb::Serve(options) => Some(&options.engine.model),
            Verb::Bench(options) => Some(&options.model),
            Verb::Show(options) | Verb::Verify(options) => Some(&options.model),
            Verb::Tokenize(options) => Some(&options.model),
            _ => None,
        }
    }
}

/// The whole command, with an environment twin for every long option that means one thing, and a link at the end of every help.
pub(crate) fn command() -> Command {
    each_argument(command_without_environment(), &|verb, argument| match (argument.get_long(), argument.get_action()) {
        (None | Some("help" | "version"), _) => argument,
        (Some(long), _) if is_own(verb, long) => argument,
        (Some(long), action) => {
            let twin = twin(long);
            // `LYN_JSON=1` is as good as `LYN_JSON=true`.
            let flag = matches!(action, ArgAction::SetTrue);
            let argument = if flag { argument.value_parser(FalseyValueParser::new()) } else { argument };
            argument.env(twin).hide_env_values(true)
        }
    })
}

/// The same, without environment variables.
pub(crate) fn command_without_environment() -> Command {
    fn linked(command: Command) -> Command {
        let link = match command.get_name() {
            "lyn" => format!("Docs: {DOCS}/cli.md"),
            verb => format!("Docs: {DOCS}/cli.md#lyn-{verb}"),
        };
        command.after_help(link).mut_subcommands(linked)
    }
    // What follows an option is its value, whatever it begins with: `--stop ---`, `-s -1`. A prompt may be a number.
    each_argument(linked(Cli::command()), &|_, argument| match argument.get_action().takes_values() {
        true if argument.is_positional() => argument.allow_negative_numbers(true),
        true => argument.allow_hyphen_values(true),
        false => argument,
    })
}

/// Changes every argument of a command and of those below it, with the name of the command that has it.
fn each_argument(command: Command, change: &dyn Fn(&str, Arg) -> Arg) -> Command {
    let name = command.get_name().to_owned();
    command.mut_args(|argument| change(&name, argument)).mut_subcommands(|verb| each_argument(verb, change))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_definition_is_sound() {
        super::command().debug_assert();
    }

    #[test]
    fn lyn_alone_says_twelve_lines() {
        assert_eq!(super::SHORT_HELP.lines().count(), 12);
    }
}
