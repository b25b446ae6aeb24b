//! Verbs and flags, once: parser, help, man pages, completions and docs/cli.md are all made from here.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::FalseyValueParser;
use clap::{Arg, ArgAction, Args, Command, CommandFactory, Parser, Subcommand, ValueEnum, ValueHint};
use lyn::engine::{Attention, Options};
use lyn::memory::ContextSize;
use lyn::wire::openai::{Alias, Compat};

use crate::upstream::Profile;

/// Where the documents are.
pub(crate) const DOCS: &str = "https://github.com/lyn-run/lyn/blob/main/docs";

/// What `lyn` alone says.
pub(crate) const SHORT_HELP: &str = "  lyn generate \"Once upon a time\"     answer a prompt and exit
  lyn chat                            chat in the terminal
  lyn serve                           serve an OpenAI-compatible API

lyn runs DeepSeek-V3.2-family models through WebGPU; the model `stories` is built in.
A MODEL is stories, a folder with config.json and *.safetensors, or a .safetensors file.

  inference   generate · chat · serve   models      show · plan · verify · tokenize
  adapters    devices · doctor          testing     bench · conform
  setup       config · cache · completions · man

Options: lyn VERB --help  Docs: https://github.com/lyn-run/lyn/blob/main/docs/cli.md
";

/// `version (commit) · wgpu version · target`.
pub(crate) const VERSION: &str = env!("LYN_VERSION");

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

/// Global options.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Common {
    /// Adapter: auto, an index, part of a name, discrete, integrated, software, vulkan:1, or cpu (slow host references)
    #[arg(long, global = true, value_name = "SEL", default_value = "auto")]
    pub(crate) device: String,
    /// Print one JSON document to stdout, or JSON Lines when streaming
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print only errors to stderr
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Log details to stderr; -vv logs everything. LYN_LOG sets tracing filters
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// When to use colour; NO_COLOR, CLICOLOR_FORCE and TERM=dumb are honoured
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: When,
    /// Progress display. auto: a bar on a terminal, otherwise a line every 30 s; plain: a line per 10 %
    #[arg(long, global = true, value_name = "MODE", default_value = "auto")]
    pub(crate) progress: Progress,
    /// Read settings from FILE
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Progress {
    Auto,
    Bar,
    Plain,
    None,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Answer a prompt and exit
    #[command(
        before_help = "Examples:\n  lyn generate \"Once upon a time\"\n  git diff | lyn generate \"Write a commit message\"\n  lyn generate -f notes.md --json\n  lyn generate --upstream https://api.deepseek.com --model deepseek-chat \"Hello!\""
    )]
    Generate(Box<Generate>),
    /// Chat in the terminal; with piped stdin, each line is a turn
    #[command(before_help = "Examples:\n  lyn chat\n  lyn chat --system \"Answer in one sentence\" --thinking on")]
    Chat(Box<Chat>),
    /// Serve an OpenAI- and DeepSeek-compatible API, and the page at /
    #[command(
        before_help = "Examples:\n  lyn serve\n  lyn serve -m path/to/model --port 0\n  LYN_API_KEY=… lyn serve --host 0.0.0.0"
    )]
    Serve(Box<Serve>),
    /// Measure prompt and generation speed, sparse against dense attention
    #[command(
        before_help = "Examples:\n  lyn bench\n  lyn bench -p 512,1024 -n 64 -d 0,1024 --attention sparse,dense -o md"
    )]
    Bench(Bench),
    /// Show a model's architecture and size, from its headers
    #[command(before_help = "Examples:\n  lyn show\n  lyn show path/to/model --json")]
    Show(Model),
    /// Estimate the memory a model needs, without reading weights
    #[command(before_help = "Examples:\n  lyn plan path/to/model\n  lyn plan path/to/model --context 131072")]
    Plan(Plan),
    /// Check a model's files without a GPU: headers, names, shapes, finite norms and scales, tokenizer
    #[command(before_help = "Examples:\n  lyn verify path/to/model")]
    Verify(Model),
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
    Conform(Conform),
    /// Convert text to token ids, or ids to text
    #[command(
        before_help = "Examples:\n  lyn tokenize \"Once upon a time\"\n  lyn tokenize --decode \"1 2 3\"\n  lyn tokenize -m path/to/model < text.txt"
    )]
    Tokenize(Tokenize),
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

#[derive(Debug, Subcommand)]
pub(crate) enum CacheAction {
    /// Show the folder, and the number, size and age of its 64-token blocks
    Show(CacheFolder),
    /// Remove every block, and no other file
    Clear(CacheFolder),
}

/// Which cache.
#[derive(Debug, Args)]
pub(crate) struct CacheFolder {
    /// Cache folder; default: lyn/blocks in the system's cache folder
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) cache_dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum ConfigAction {
    /// Show every value and its source: environment, settings file or default
    Show,
    /// Print the path of the settings file
    Path,
}

/// A model, as argument.
#[derive(Debug, Args)]
pub(crate) struct Model {
    /// stories (built in), a folder, or a .safetensors file
    #[arg(value_name = "MODEL", default_value = "stories", value_hint = ValueHint::AnyPath)]
    pub(crate) model: PathBuf,
}

/// How an engine is set up.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Model")]
pub(crate) struct EngineArgs {
    /// stories (built in), a folder, or a .safetensors file
    #[arg(short, long, default_value = "stories", value_hint = ValueHint::AnyPath)]
    pub(crate) model: PathBuf,
    /// Context length in tokens, prompt plus answer: a number, auto (up to 8192) or max
    #[arg(short, long, value_name = "N", default_value = "auto", value_parser = context)]
    pub(crate) context: ContextSize,
    /// Positions to attend to: those the indexer selects, or all
    ///
    /// A model with an indexer was trained with sparse attention; dense attention changes its answers.
    #[arg(long, value_name = "MODE", default_value = "sparse")]
    pub(crate) attention: AttentionArg,
    /// Positions the indexer selects per token (unrelated to --top-k); default: the model's
    ///
    /// The model was trained with its own number; another one changes its answers.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) index_topk: Option<u32>,
    /// Prompt tokens per step; default: 128 on software adapters, otherwise 256
    ///
    /// Smaller steps need less scratch memory and read prompts more slowly.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) chunk: Option<u32>,
    /// Load even if the memory plan does not fit
    ///
    /// A device that then runs out of memory ends the load with out_of_memory; see: lyn plan
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AttentionArg {
    Sparse,
    Dense,
}

impl From<AttentionArg> for Attention {
    fn from(argument: AttentionArg) -> Attention {
        match argument {
            AttentionArg::Sparse => Attention::Sparse,
            AttentionArg::Dense => Attention::Dense,
        }
    }
}

impl EngineArgs {
    /// The engine's options on a device.
    pub(crate) fn options(&self, device: &str) -> Options {
        Options {
            device: device.to_owned(),
            context: self.context,
            attention: self.attention.into(),
            index_topk: self.index_topk,
            chunk: self.chunk,
            memory_bytes: crate::model::available_memory(),
            force: self.force,
            ..Options::default()
        }
    }
}

fn context(text: &str) -> Result<ContextSize, String> {
    match text {
        "auto" => Ok(ContextSize::Auto),
        "max" => Ok(ContextSize::Max),
        number => match number.parse() {
            Ok(tokens) if tokens > 0 => Ok(ContextSize::Tokens(tokens)),
            _ => Err("expected a number above 0, auto or max".to_owned()),
        },
    }
}

/// Another engine.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Upstream")]
pub(crate) struct UpstreamArgs {
    /// Use another engine with OpenAI's API; generate and chat then load no model, and --model is a model id there
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) upstream: Option<String>,
    /// Kind of engine; default: detected
    #[arg(long, value_name = "KIND")]
    pub(crate) upstream_profile: Option<Profile>,
    /// File with its API key, or one host and key per line; default: LYN_UPSTREAM_KEY
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) upstream_key_file: Option<PathBuf>,
}

/// Which requests go to other engines.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Upstream")]
pub(crate) struct RouteArgs {
    // In a comment of documentation the brackets would be links.
    #[arg(
        long,
        value_name = "RULE",
        help = "Route requests for a model: MODEL_ID=URL[#ID][@N%]; #ID renames the model there, @N% takes a share of the \
                requests; MODEL_ID may end in *, URL may be local; shadow:MODEL_ID=… sends copies and only counts their \
                answers; repeatable",
        long_help = "Route requests for a model; repeatable, and the first rule that matches decides:\n  \
                     MODEL_ID=URL        all requests for this id, which may end in *\n  \
                     MODEL_ID=URL#ID     the same, asking that engine for the model ID\n  \
                     MODEL_ID=URL@10%    a tenth of the conversations; further rules for the id share the rest\n  \
                     MODEL_ID=local@90%  the share of the local engine\n  \
                     shadow:MODEL_ID=…   copies of the requests, whose answers are only counted\n\
                     See docs/scale-out.md."
    )]
    pub(crate) route: Vec<String>,
    /// Send requests to another engine while the queue is full
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) fallback: Option<String>,
}

/// How tokens are chosen.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Sampling")]
pub(crate) struct SamplingArgs {
    /// Sampling temperature, 0 (greedy) to 2; default: the model's
    #[arg(short, long, alias = "temp", value_name = "F")]
    pub(crate) temperature: Option<f32>,
    /// Sample from the N most probable tokens; 0: no limit
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) top_k: u32,
    /// Sample from the most probable tokens that together reach probability F; default: the model's
    #[arg(long, value_name = "F")]
    pub(crate) top_p: Option<f32>,
    /// Exclude tokens less probable than F times the most probable one
    #[arg(long, value_name = "F", default_value_t = 0.0)]
    pub(crate) min_p: f32,
    /// Penalise tokens that occur in prompt or answer; 1: off
    #[arg(long, value_name = "F", default_value_t = 1.0)]
    pub(crate) repetition_penalty: f32,
    /// Subtract F from the logits of tokens that occur in the answer
    #[arg(long, value_name = "F", default_value_t = 0.0)]
    pub(crate) presence_penalty: f32,
    /// Subtract F from the logits of tokens per occurrence in the answer
    #[arg(long, value_name = "F", default_value_t = 0.0)]
    pub(crate) frequency_penalty: f32,
    /// Random seed; same seed, model, adapter and flags: same text; default and -1: random, shown by --stats
    #[arg(short, long, value_name = "N", value_parser = number_or_default::<u64>)]
    seed: Option<OrDefault<u64>>,
}

/// What an answer is and how it is shown.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Answer")]
pub(crate) struct AnswerArgs {
    /// Maximum tokens of the answer; default and -1: as many as the context allows
    #[arg(short = 'n', long, value_name = "N", value_parser = number_or_default::<u32>)]
    max_tokens: Option<OrDefault<u32>>,
    /// Stop before this text; repeatable
    #[arg(long, value_name = "S")]
    pub(crate) stop: Vec<String>,
    /// System message
    #[arg(long, value_name = "S")]
    pub(crate) system: Option<String>,
    /// Let the model reason before it answers
    #[arg(long, value_name = "SWITCH", default_value = "off")]
    pub(crate) thinking: Switch,
    /// Where to print the reasoning
    #[arg(long, value_name = "WHERE", default_value = "stderr")]
    pub(crate) reasoning: ReasoningTo,
    /// Continue past the end-of-text token
    #[arg(long)]
    pub(crate) ignore_eos: bool,
    /// Print token counts and speeds to stderr after the answer; auto: on a terminal only
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub(crate) stats: When,
}

impl SamplingArgs {
    /// The seed; none where it is to be drawn.
    pub(crate) fn seed(&self) -> Option<u64> {
        self.seed.and_then(|given| given.0)
    }

    /// Sets the seed.
    pub(crate) fn set_seed(&mut self, seed: Option<OrDefault<u64>>) {
        self.seed = seed;
    }
}

impl AnswerArgs {
    /// Tokens of the answer at most; none where only the context limits it.
    pub(crate) fn max_tokens(&self) -> Option<u32> {
        self.max_tokens.and_then(|given| given.0)
    }

    /// Sets how many tokens an answer may have.
    pub(crate) fn set_max_tokens(&mut self, most: Option<OrDefault<u32>>) {
        self.max_tokens = most;
    }
}

/// A number, or none for -1, which stands for the default as it does in llama.cpp.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OrDefault<T>(pub(crate) Option<T>);

/// A whole number that fits its type, or -1.
pub(crate) fn number_or_default<T: FromStr + Bounded>(text: &str) -> Result<OrDefault<T>, String> {
    match text {
        "-1" => Ok(OrDefault(None)),
        number => number
            .parse()
            .map(|number| OrDefault(Some(number)))
            .map_err(|_| format!("expected a whole number from 0 to {}, or -1 for the default", T::LARGEST)),
    }
}

/// A type with a largest number.
pub(crate) trait Bounded {
    /// The largest number.
    const LARGEST: u64;
}

impl Bounded for u32 {
    const LARGEST: u64 = u32::MAX as u64;
}

impl Bounded for u64 {
    const LARGEST: u64 = u64::MAX;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReasoningTo {
    Stderr,
    Stdout,
    Hide,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ResponseFormat {
    Text,
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct Generate {
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
    pub(crate) response_format: ResponseFormat,
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
    pub(crate) answer: AnswerArgs,
    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    #[command(flatten)]
    pub(crate) upstream: UpstreamArgs,
}

#[derive(Debug, Args)]
pub(crate) struct Chat {
    #[command(flatten)]
    pub(crate) answer: AnswerArgs,
    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    #[command(flatten)]
    pub(crate) upstream: UpstreamArgs,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Address to listen on; non-loopback addresses need a key
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", value_parser = host)]
    pub(crate) host: IpAddr,
    /// Port to listen on; 0: any free port
    #[arg(long, value_name = "N", default_value_t = 8080)]
    pub(crate) port: u16,
    /// Additional name for the model; the suffix :thinking turns reasoning on; repeatable
    #[arg(long, value_name = "NAME[:thinking]", value_parser = alias)]
    pub(crate) alias: Vec<Alias>,
    /// Accept any model name in requests
    #[arg(long)]
    pub(crate) accept_any_model: bool,
    /// local: accept everything supported; deepseek: refuse what the hosted API refuses
    #[arg(long, value_name = "MODE", default_value = "local")]
    pub(crate) compat: CompatArg,
    /// Folder of the built page, served at /; default: web/dist of the repository that lyn was built in
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with = "no_page")]
    pub(crate) page: Option<PathBuf>,
    /// Do not serve the page
    #[arg(long)]
    pub(crate) no_page: bool,
    /// Log prompts and answers, which are otherwise never logged
    #[arg(long)]
    pub(crate) log_prompts: bool,
    /// Also keep the prefix cache in this folder, across restarts; prompts can be read from it
    ///
    /// Its files hold token ids of prompts and answers, unencrypted. The folder is created for its owner alone; one that
    /// others can write to is refused.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) cache_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) access: Access,
    #[command(flatten)]
    pub(crate) load: LoadLimits,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    #[command(flatten)]
    pub(crate) upstream: UpstreamArgs,
    #[command(flatten)]
    pub(crate) routes: RouteArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompatArg {
    Local,
    #[value(name = "deepseek")]
    DeepSeek,
    /// With status 422 for malformed requests, as before November 2025
    #[value(name = "deepseek-422")]
    DeepSeek422,
}

impl From<CompatArg> for Compat {
    fn from(argument: CompatArg) -> Compat {
        match argument {
            CompatArg::Local => Compat::Local,
            CompatArg::DeepSeek => Compat::DeepSeek,
            CompatArg::DeepSeek422 => Compat::DeepSeek422,
        }
    }
}

fn host(text: &str) -> Result<IpAddr, String> {
    if text == "localhost" {
        return Ok(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));
    }
    text.parse().map_err(|_| "expected an address of this machine, such as 127.0.0.1, ::1 or 0.0.0.0".to_owned())
}

fn alias(text: &str) -> Result<Alias, String> {
    let (name, thinking) = match text.rsplit_once(':') {
        Some((name, "thinking")) => (name, true),
        Some((name, "nothinking")) => (name, false),
        _ => (text, false),
    };
    match name.trim() {
        "" => Err("expected a name, optionally followed by :thinking or :nothinking".to_owned()),
        name => Ok(Alias { name: name.to_owned(), thinking }),
    }
}

/// Who may use a server.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Access")]
pub(crate) struct Access {
    /// File of API keys, one per line, # for comments; also read: LYN_API_KEY, DEEPSEEK_API_KEY
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) api_key_file: Option<PathBuf>,
    /// Listen on a non-loopback address without a key: anyone who can reach the port can use the model
    ///
    /// Traffic is not encrypted either; a proxy in front can add TLS.
    #[arg(long)]
    pub(crate) no_auth: bool,
    /// Allow web pages of this origin, scheme://host:port; *: all; repeatable
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) cors_origin: Vec<String>,
    /// Accept requests addressed to this host name; *: any; repeatable
    #[arg(long, value_name = "NAME")]
    pub(crate) allowed_host: Vec<String>,
}

/// How much a server takes on.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Load")]
pub(crate) struct LoadLimits {
    /// Answers generated at the same time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) parallel: u16,
    /// Requests that may wait; further ones are refused
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(crate) max_queue: u16,
    /// Requests that may wait per key, if there are several keys
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub(crate) max_queue_per_key: u16,
    /// Maximum wait in the queue, in seconds; 0: no limit
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) queue_timeout: u32,
    /// Maximum time per answer, queue included, in seconds; 0: no limit
    #[arg(long, value_name = "SECONDS", default_value_t = 1800)]
    pub(crate) request_timeout: u32,
    /// Maximum size of a request body
    #[arg(long, value_name = "BYTES", default_value_t = 8 << 20)]
    pub(crate) max_body: u32,
    /// Grace period at shutdown
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub(crate) drain_seconds: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// Prompt lengths to measure
    #[arg(short, long, value_name = "N,…", value_delimiter = ',', default_value = "512")]
    pub(crate) prompt: Vec<u32>,
    /// Answer lengths to measure
    #[arg(short = 'n', long, value_name = "N,…", value_delimiter = ',', default_value = "64")]
    pub(crate) generate: Vec<u32>,
    /// Cached tokens before each test
    #[arg(short, long, value_name = "N,…", value_delimiter = ',', default_value = "0")]
    pub(crate) depth: Vec<u32>,
    /// Attention modes to compare
    #[arg(long, value_name = "MODE,…", value_delimiter = ',', default_value = "sparse,dense")]
    pub(crate) attention: Vec<AttentionArg>,
    /// Runs per test
    #[arg(short, long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) repetitions: u32,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: TableForm,
    /// stories (built in), a folder, or a .safetensors file
    #[arg(short, long, default_value = "stories", value_hint = ValueHint::AnyPath)]
    pub(crate) model: PathBuf,
    /// Load even if the memory plan does not fit
    ///
    /// A device that then runs out of memory ends the load with out_of_memory; see: lyn plan
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TableForm {
    Table,
    Md,
    Json,
    Jsonl,
    Csv,
}

#[derive(Debug, Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) model: Model,
    /// Context length in tokens, prompt plus answer: a number, auto (up to 8192) or max
    #[arg(short, long, value_name = "N", default_value = "auto", value_parser = context)]
    pub(crate) context: ContextSize,
    /// Prompt tokens per step; default: 128 on software adapters, otherwise 256
    ///
    /// Smaller steps need less scratch memory and read prompts more slowly.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) chunk: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct Conform {
    /// Test only kernels with matching names; * and ? are wildcards
    #[arg(long, value_name = "GLOB")]
    pub(crate) kernel: Option<String>,
    /// Also write the report to FILE, as JSON
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) report: Option<PathBuf>,
    /// Test the stages of a checkpoint against its golden values instead of the kernels; repeatable
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) golden: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Tokenize {
    /// Text, or ids with --decode; default: stdin
    pub(crate) text: Option<String>,
    /// Convert ids to text
    #[arg(long)]
    pub(crate) decode: bool,
    /// Encode control tokens spelled out in the text as such
    #[arg(long)]
    pub(crate) special: bool,
    /// stories (built in), a folder, or a .safetensors file
    #[arg(short, long, default_value = "stories", value_hint = ValueHint::AnyPath)]
    pub(crate) model: PathBuf,
}

/// The whole command, with an environment twin for every long option and a link at the end of every help.
pub(crate) fn command() -> Command {
    each_argument(command_without_environment(), &|argument| match (argument.get_long(), argument.get_action()) {
        (None | Some("help" | "version"), _) => argument,
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
    each_argument(linked(Cli::command()), &|argument| match argument.get_action().takes_values() {
        true if argument.is_positional() => argument.allow_negative_numbers(true),
        true => argument.allow_hyphen_values(true),
        false => argument,
    })
}

/// Changes every argument of a command and of those below it.
fn each_argument(command: Command, change: &dyn Fn(Arg) -> Arg) -> Command {
    command.mut_args(change).mut_subcommands(|verb| each_argument(verb, change))
}

/// The environment twin of a long option: `LYN_MAX_TOKENS`.
pub(crate) fn twin(long: &str) -> String {
    format!("LYN_{}", long.to_uppercase().replace('-', "_"))
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
