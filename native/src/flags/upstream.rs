//! Other engines, and which requests go to them.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use crate::upstream::Profile;

/// Another engine.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Upstream")]
pub(crate) struct UpstreamArgs {
    /// Use another engine with OpenAI's API; generate and chat then load no model, and --model is a model id there
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) upstream: Option<String>,
    #[command(flatten)]
    pub(crate) access: UpstreamAccess,
}

/// What it takes to ask another engine.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Upstream")]
pub(crate) struct UpstreamAccess {
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
