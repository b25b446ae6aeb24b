//! The flags of `lyn serve`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};
use lyn::wire::openai::{Alias, Compat};

use crate::flags::{EngineArgs, RouteArgs, UpstreamArgs};

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
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
    pub(crate) access: AccessArgs,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
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
pub(crate) struct AccessArgs {
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
pub(crate) struct LoadArgs {
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
