//! Flags that several verbs have. Verbs read them; none of them reads a verb.

mod answer;
mod common;
mod engine;
mod upstream;

pub(crate) use self::answer::{AnswerArgs, Bounded, OrDefault, ReasoningTo, SamplingArgs, Switch, number_or_default};
pub(crate) use self::common::{AskArgs, Common, ProgressArg, When};
pub(crate) use self::engine::{AttentionArg, CacheTypeArg, EngineArgs, ModelArg, context};
pub(crate) use self::upstream::{RouteArgs, UpstreamAccess, UpstreamArgs};

/// `version (commit) · wgpu version · target`.
pub(crate) const VERSION: &str = env!("LYN_VERSION");

/// The environment twin of a long option: `LYN_MAX_TOKENS`.
pub(crate) fn twin(long: &str) -> String {
    format!("LYN_{}", long.to_uppercase().replace('-', "_"))
}
