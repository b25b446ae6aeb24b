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
pub(crate) const SHORT_HELP: &str = "  lyn generate \"Once upon a time\"     one answer, then exits
  lyn chat                            a conversation in the terminal
  lyn serve                           a server for OpenAI's clients

lyn runs DeepSeek-V3.2-family models on any GPU through WebGPU; the model `stories` is built in.
A MODEL is stories, a folder with config.json and *.safetensors, or a .safetensors file.

  answers     generate · chat · serve   models      show · plan · verify · tokenize
  adapters    devices · doctor          measuring   bench · conform
  settings    config · cache · completions · man

lyn VERB --help says more.  Docs: https://github.com/lyn-run/lyn/blob/main/docs/cli.md
";

/// `version (commit) · wgpu version · target`.
pub(crate) const VERSION: &str = env!("LYN_VERSION");

/// DeepSeek-V3.2-family models on any GPU, from the terminal
#[derive(Debug, Parser)]
#[command(name = "lyn", version = VERSION, max_term_width = 110)]
#[command(before_help = "Examples:\n  lyn generate \"Once upon a time\"\n  lyn chat\n  lyn plan path/to/model")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Option<Verb>,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Options of every verb.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Options of every verb")]
pub(crate) struct Common {
    /// auto, an index, part of a name, discrete, integrated, software, vulkan:1, or cpu (the references); see: lyn devices
    #[arg(long, global = true, value_name = "SEL", default_value = "auto")]
    pub(crate) device: String,
    /// One JSON document on stdout; verbs that stream write JSON Lines
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Errors only on stderr
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Log what happens (-vv: all of it); LYN_LOG takes tracing filters
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Colours; NO_COLOR, CLICOLOR_FORCE and TERM=dumb are obeyed
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: When,
    /// How progress is shown: a bar if stderr is a terminal, else a line every 30 s; plain: a line for each 10 %
    #[arg(long, global = true, value_name = "HOW", default_value = "auto")]
    pub(crate) progress: Progress,
    /// Another settings file
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
    /// One answer, then exits
    #[command(
        before_help = "Examples:\n  lyn generate \"Once upon a time\"\n  git diff | lyn generate \"Write a commit message\"\n  lyn generate -f notes.md --json\n  lyn generate --upstream https://api.deepseek.com --model deepseek-chat \"Hello!\""
    )]
    Generate(Box<Generate>),
    /// A conversation in the terminal; with piped stdin each line is a turn
    #[command(before_help = "Examples:\n  lyn chat\n  lyn chat --system \"Answer in one sentence\" --thinking on")]
    Chat(Box<Chat>),
    /// A server for OpenAI's and DeepSeek's clients, and the page at /
    #[command(
        before_help = "Examples:\n  lyn serve\n  lyn serve -m path/to/model --port 0\n  LYN_API_KEY=… lyn serve --host 0.0.0.0"
    )]
    Serve(Box<Serve>),
    /// Speeds: reading prompts and writing tokens, sparse against dense
    #[command(
        before_help = "Examples:\n  lyn bench\n  lyn bench -p 512,1024 -n 64 -d 0,1024 --attention sparse,dense -o md"
    )]
    Bench(Bench),
    /// Facts of a model, from its headers
    #[command(before_help = "Examples:\n  lyn show\n  lyn show path/to/model --json")]
    Show(Model),
    /// Memory that a model will need, from its headers; reads no weights
    #[command(before_help = "Examples:\n  lyn plan path/to/model\n  lyn plan path/to/model --context 131072")]
    Plan(Plan),
    /// Checks a model's files without a GPU: headers, names, shapes, small values, tokenizer
    #[command(before_help = "Examples:\n  lyn verify path/to/model")]
    Verify(Model),
    /// The GPU adapters of this machine; * marks the default
    #[command(before_help = "Examples:\n  lyn devices\n  lyn devices --json")]
    Devices,
    /// Diagnosis: adapters, limits, paths, a short self-check, a story
    #[command(before_help = "Examples:\n  lyn doctor\n  lyn doctor --device vulkan:1")]
    Doctor,
    /// Every kernel on the GPU against its reference
    #[command(
        before_help = "Examples:\n  lyn conform\n  lyn conform --kernel \"linear*\" --report report.json\n  lyn conform --golden path/to/checkpoint"
    )]
    Conform(Conform),
    /// Text to token ids, and back
    #[command(
        before_help = "Examples:\n  lyn tokenize \"Once upon a time\"\n  lyn tokenize --decode \"1 2 3\"\n  lyn tokenize -m path/to/model < text.txt"
    )]
    Tokenize(Tokenize),
    /// Completions for a shell, on stdout
    #[command(before_help = "Examples:\n  lyn completions bash > ~/.local/share/bash-completion/completions/lyn")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Man pages: that of lyn on stdout, or all of them into a folder
    #[command(before_help = "Examples:\n  lyn man | man -l -\n  lyn man ~/.local/share/man/man1")]
    Man {
        /// Folder for a page of each verb
        #[arg(value_hint = ValueHint::DirPath)]
        folder: Option<PathBuf>,
    },
    /// Settings: values with where each came from, or where the file is
    #[command(before_help = "Examples:\n  lyn config show\n  lyn config path")]
    Config {
        #[command(subcommand)]
        action: ConfigAction,
    },
    /// The prefix cache on disk: what it holds, or removing all of it
    #[command(
        before_help = "Examples:\n  lyn cache show\n  lyn cache clear\n  lyn cache clear --cache-dir path/to/blocks"
    )]
    Cache {
        #[command(subcommand)]
        action: CacheAction,
    },
    /// docs/cli.md, on stdout
    #[command(hide = true)]
    Docs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CacheAction {
    /// Its folder, how many blocks of 64 tokens it holds, their bytes and age
    Show(CacheFolder),
    /// Removes every block, and no other file; prompts could be read back from them
    Clear(CacheFolder),
}

/// Which cache.
#[derive(Debug, Args)]
pub(crate) struct CacheFolder {
    /// The folder; default: lyn/blocks where the system keeps caches
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) cache_dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum ConfigAction {
    /// Each value, with where it came from: environment, settings file or default
    Show,
    /// The path of the settings file
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
    /// Tokens of prompt and answer together: a number, auto (up to 8192) or max
    #[arg(short, long, value_name = "N", default_value = "auto", value_parser = context)]
    pub(crate) context: ContextSize,
    /// Positions that attention reads: those the indexer keeps, or all
    #[arg(long, value_name = "HOW", default_value = "sparse")]
    pub(crate) attention: AttentionArg,
    /// Tokens the indexer keeps (not sampling's top-k); default: the model's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) index_topk: Option<u32>,
    /// Prompt tokens of one step; default: by adapter
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) chunk: Option<u32>,
    /// Load although the plan says that memory is short
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

/// An engine elsewhere.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Upstream")]
pub(crate) struct UpstreamArgs {
    /// Another engine with OpenAI's API in place of one here; --model of generate and chat is then an id there
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) upstream: Option<String>,
    /// What kind of engine it is; default: found out
    #[arg(long, value_name = "KIND")]
    pub(crate) upstream_profile: Option<Profile>,
    /// A file with its key, or with lines of hosts and keys; default: what LYN_UPSTREAM_KEY holds
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) upstream_key_file: Option<PathBuf>,
}

/// Which requests go to an engine elsewhere.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Upstream")]
pub(crate) struct RouteArgs {
    // In a comment of documentation the brackets would be links.
    #[arg(
        long,
        value_name = "RULE",
        help = "MODEL_ID=URL[#ID][@N%]: requests for this model go there, under another ID, or N percent of them; MODEL_ID \
                may end in *, URL may be local; shadow:MODEL_ID=… sends copies, whose answers are only counted; may be \
                given again"
    )]
    pub(crate) route: Vec<String>,
    /// Another engine for requests that find the queue here full
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) fallback: Option<String>,
}

/// How tokens are chosen.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Sampling")]
pub(crate) struct SamplingArgs {
    /// 0 to 2; 0 always takes the most probable token; default: the model's
    #[arg(short, long, alias = "temp", value_name = "F")]
    pub(crate) temperature: Option<f32>,
    /// Only the N most probable tokens; 0: all
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) top_k: u32,
    /// The most probable tokens with this share together; default: the model's
    #[arg(long, value_name = "F")]
    pub(crate) top_p: Option<f32>,
    /// Only tokens at least this probable, relative to the most probable
    #[arg(long, value_name = "F", default_value_t = 0.0)]
    pub(crate) min_p: f32,
    /// Above 1: tokens of prompt and answer become less probable
    #[arg(long, value_name = "F", default_value_t = 1.0)]
    pub(crate) repetition_penalty: f32,
    /// Taken off tokens that the answer has
    #[arg(long, value_name = "F", default_value_t = 0.0)]
    pub(crate) presence_penalty: f32,
    /// Taken off tokens for each time that the answer has them
    #[arg(long, value_name = "F", default_value_t = 0.0)]
    pub(crate) frequency_penalty: f32,
    /// Same seed, model, adapter and flags: same text; default, and -1: drawn, and shown in the statistics
    #[arg(short, long, value_name = "N", value_parser = number_or_default::<u64>)]
    seed: Option<OrDefault<u64>>,
}

/// What an answer is and how it is shown.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Answer")]
pub(crate) struct AnswerArgs {
    /// Tokens of the answer at most; default, and -1: as many as the context holds
    #[arg(short = 'n', long, value_name = "N", value_parser = number_or_default::<u32>)]
    max_tokens: Option<OrDefault<u32>>,
    /// Text that ends the answer; may be given again
    #[arg(long, value_name = "S")]
    pub(crate) stop: Vec<String>,
    /// A system message
    #[arg(long, value_name = "S")]
    pub(crate) system: Option<String>,
    /// Whether the model thinks before it answers
    #[arg(long, value_name = "WHETHER", default_value = "off")]
    pub(crate) thinking: Switch,
    /// Where the thought goes
    #[arg(long, value_name = "WHERE", default_value = "stderr")]
    pub(crate) reasoning: ReasoningTo,
    /// Go on where the model would end
    #[arg(long)]
    pub(crate) ignore_eos: bool,
    /// Counts and speeds after the answer, on stderr; auto: if it is a terminal
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

/// A type whose largest number can be told.
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
    /// The prompt; files and piped stdin come after it
    pub(crate) prompt: Option<String>,
    /// A file to read into the prompt; may be given again
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: Vec<PathBuf>,
    /// The prompt as it is, without a chat format; the default for models that have none
    #[arg(long)]
    pub(crate) raw: bool,
    /// Shape of the answer: any text, or one JSON object
    #[arg(long, value_name = "SHAPE", default_value = "text")]
    pub(crate) response_format: ResponseFormat,
    /// JSON schema that the answer fits: a file, or the schema itself
    #[arg(long, value_name = "SCHEMA", value_hint = ValueHint::FilePath, conflicts_with = "response_format")]
    pub(crate) json_schema: Option<OsString>,
    /// Write what attention reads for each token, as JSON Lines
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) trace: Option<PathBuf>,
    /// Layers of the trace: numbers with commas between, or all
    #[arg(long, value_name = "LIST", default_value = "all", requires = "trace")]
    pub(crate) trace_layers: String,
    /// Also write what dense attention would weigh
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
    /// The address to listen on; others than this machine's own need a key
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", value_parser = host)]
    pub(crate) host: IpAddr,
    /// The port; 0: any that is free
    #[arg(long, value_name = "N", default_value_t = 8080)]
    pub(crate) port: u16,
    /// Another name for the model; :thinking behind it lets it think first; may be given again
    #[arg(long, value_name = "NAME[:thinking]", value_parser = alias)]
    pub(crate) alias: Vec<Alias>,
    /// Serve a request whatever model it names
    #[arg(long)]
    pub(crate) accept_any_model: bool,
    /// local serves all that can be served; deepseek refuses what the hosted API refuses
    #[arg(long, value_name = "WHOSE", default_value = "local")]
    pub(crate) compat: CompatArg,
    /// A folder with the built page, shown at /; default: the one of the repository that lyn was built in
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with = "no_page")]
    pub(crate) page: Option<PathBuf>,
    /// Show no page
    #[arg(long)]
    pub(crate) no_page: bool,
    /// Log prompts and answers; else they are in no log
    #[arg(long)]
    pub(crate) log_prompts: bool,
    /// Keep what prompts have in common in this folder too, for the next start; it holds prompts in effect
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
    /// With status 422 for requests of the wrong form, as before November 2025
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
        "" => Err("expected a name, with :thinking or :nothinking behind it or not".to_owned()),
        name => Ok(Alias { name: name.to_owned(), thinking }),
    }
}

/// Who may ask a server.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Access")]
pub(crate) struct Access {
    /// A file with a key in each line; # begins a comment. Keys also come from LYN_API_KEY and DEEPSEEK_API_KEY
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) api_key_file: Option<PathBuf>,
    /// Listen beyond this machine without a key: whoever reaches the port may ask
    #[arg(long)]
    pub(crate) no_auth: bool,
    /// An origin whose pages may ask, as scheme://host:port; * is all of them; may be given again
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) cors_origin: Vec<String>,
    /// A name under which this server is reached; * is all of them; may be given again
    #[arg(long, value_name = "NAME")]
    pub(crate) allowed_host: Vec<String>,
}

/// How much a server takes on.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Load")]
pub(crate) struct LoadLimits {
    /// Answers at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) parallel: u16,
    /// Answers that wait for their turn; more are refused
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(crate) max_queue: u16,
    /// Of these, with one key, where there are several
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub(crate) max_queue_per_key: u16,
    /// Seconds that an answer may wait for its turn; 0: as long as it takes
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) queue_timeout: u32,
    /// Seconds that an answer may take in all; 0: as long as it takes
    #[arg(long, value_name = "SECONDS", default_value_t = 1800)]
    pub(crate) request_timeout: u32,
    /// Bytes of a request's body
    #[arg(long, value_name = "BYTES", default_value_t = 8 << 20)]
    pub(crate) max_body: u32,
    /// Seconds that answers get to end when the server is stopped
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub(crate) drain_seconds: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// Prompt lengths to read
    #[arg(short, long, value_name = "N,…", value_delimiter = ',', default_value = "512")]
    pub(crate) prompt: Vec<u32>,
    /// Answer lengths to write
    #[arg(short = 'n', long, value_name = "N,…", value_delimiter = ',', default_value = "64")]
    pub(crate) generate: Vec<u32>,
    /// Tokens in the cache before each test
    #[arg(short, long, value_name = "N,…", value_delimiter = ',', default_value = "0")]
    pub(crate) depth: Vec<u32>,
    /// Ways of attention to compare
    #[arg(long, value_name = "HOW,…", value_delimiter = ',', default_value = "sparse,dense")]
    pub(crate) attention: Vec<AttentionArg>,
    /// Runs of each test
    #[arg(short, long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) repetitions: u32,
    /// Form of the table
    #[arg(short, long, value_name = "FORM", default_value = "table")]
    pub(crate) output: TableForm,
    /// stories (built in), a folder, or a .safetensors file
    #[arg(short, long, default_value = "stories", value_hint = ValueHint::AnyPath)]
    pub(crate) model: PathBuf,
    /// Load although the plan says that memory is short
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
    /// Tokens of prompt and answer together: a number, auto (up to 8192) or max
    #[arg(short, long, value_name = "N", default_value = "auto", value_parser = context)]
    pub(crate) context: ContextSize,
    /// Prompt tokens of one step; default: by adapter
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) chunk: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct Conform {
    /// Only kernels of this name; * and ? stand for any text and any character
    #[arg(long, value_name = "GLOB")]
    pub(crate) kernel: Option<String>,
    /// Write the report as JSON
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) report: Option<PathBuf>,
    /// A checkpoint with golden values of its stages, in place of the kernels; may be given again
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) golden: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Tokenize {
    /// Text, or ids with --decode; default: stdin
    pub(crate) text: Option<String>,
    /// Ids to text
    #[arg(long)]
    pub(crate) decode: bool,
    /// Let control tokens that the text spells out count as such
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

/// The same, deaf to the environment.
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
