//! How requests are judged, and the reading of their JSON.

use serde::de::DeserializeOwned;

use super::model_ids::{ModelId, ModelIds};
use crate::error::{Code, Error, Result, escape, quote};
use crate::json::{self, Misread};

/// Whose refusals are repeated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compat {
    /// Everything that can be served is.
    #[default]
    Local,
    /// As DeepSeek: caps, the beta path, combinations that it refuses.
    DeepSeek,
    /// As DeepSeek before November 2025: a request of the wrong form has status 422.
    DeepSeek422,
}

impl Compat {
    /// Whether what DeepSeek refuses is refused.
    #[must_use]
    pub fn is_strict(self) -> bool {
        self != Compat::Local
    }
}

/// How a server judges requests.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Whose refusals are repeated.
    pub compat: Compat,
    /// Whether the request came by the beta path, where DeepSeek continues prefixes and keeps to schemas.
    pub beta: bool,
    /// Whether `json_object` asks for the word "json" in a message.
    pub json_word: bool,
    /// Whether the checkpoint's own sampling is taken where a request has none; else temperature and `top_p` are 1.
    pub checkpoint_sampling: bool,
    /// The models that are served.
    pub models: ModelIds,
}

impl Default for Rules {
    /// For a model of one's own: any name, the checkpoint's sampling.
    fn default() -> Self {
        Rules {
            compat: Compat::Local,
            beta: false,
            json_word: true,
            checkpoint_sampling: true,
            models: ModelIds::default(),
        }
    }
}

impl Rules {
    /// Whether DeepSeek's beta features are to be had.
    pub(super) fn has_beta(&self) -> bool {
        self.beta || !self.compat.is_strict()
    }
}

pub(super) fn refuse(field: &str, message: impl Into<String>) -> Error {
    Error::new(Code::BadRequest, message).with_detail("param", field)
}

/// Refuses a field where what is asked of it does not hold.
pub(super) fn ensure(holds: bool, field: &str, message: impl std::fmt::Display) -> Result<()> {
    if holds { Ok(()) } else { Err(refuse(field, message.to_string())) }
}

/// A refusal of a value outside its range.
pub(super) fn invalid(field: &str, range: &str, found: impl std::fmt::Display) -> Error {
    refuse(field, format!("Invalid {field} value, the valid range of {field} is {range}"))
        .with_detail("found", escape(&found.to_string()))
}

/// A refusal of a body that is JSON of another form.
pub(super) fn misshapen(path: &str, what: &str, compat: Compat) -> Error {
    let error = json::misshapen(path, what);
    if compat == Compat::DeepSeek422 { error.with_detail("status", 422) } else { error }
}

/// A request, and the names of its fields that were ignored.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8], compat: Compat) -> Result<(T, Vec<String>)> {
    json::read_typed(body).map_err(|misread| match misread {
        Misread::Syntax(error) => error,
        Misread::Form { path, what } => misshapen(&path, &what, compat),
    })
}

/// What is known of a request beside its body: their `checked` fills it in.
#[derive(Clone, Debug, Default)]
pub struct Given {
    pub(super) model: ModelId,
    pub(super) rules: Rules,
    pub(super) ignored: Vec<String>,
}

/// What a request's model stands for.
pub(super) fn resolve(rules: &Rules, model: Option<&str>) -> Result<ModelId> {
    match model {
        Some(id) => rules.models.resolve(id).ok_or_else(|| {
            let message = match rules.compat.is_strict() {
                true => "Model Not Exist".to_owned(),
                false => format!("Model Not Exist: {} is not served here; {}", quote(id), rules.models.sentence()),
            };
            refuse("model", message)
        }),
        None => rules.models.unnamed().ok_or_else(|| misshapen("model", "missing field `model`", rules.compat)),
    }
}
