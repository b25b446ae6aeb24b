//! What the environment says of the Hub: the variables of `huggingface_hub`, with its rules.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};

use lyn::error::{Code, Error, Result};

use super::endpoint::Endpoint;

/// A token's file is a line; nothing longer is read.
const TOKEN_BYTES: u64 = 4096;
/// The Hub.
const HUB: &str = "https://huggingface.co";

/// Where models are got from and kept.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    /// The folder with a folder for each repository.
    pub(crate) cache: PathBuf,
    pub(super) endpoint: Endpoint,
    pub(super) token: Option<Token>,
    /// The user wants no connection at all.
    pub(crate) is_offline: bool,
}

/// An access token; `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(****)")
    }
}

impl Token {
    pub(super) fn new(text: &str) -> Option<Token> {
        let text = text.trim();
        (!text.is_empty()).then(|| Token(text.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Surroundings {
    /// What the environment says. Errors: `bad_config` where there is no home for the cache, or `HF_ENDPOINT` is no address.
    pub(crate) fn read() -> Result<Surroundings> {
        let home = hub_home();
        let token = if is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN") { None } else { token(home.as_deref()) };
        Ok(Surroundings {
            cache: cache().ok_or_else(no_cache)?,
            endpoint: Endpoint::parse(text("HF_ENDPOINT").as_deref().unwrap_or(HUB))?,
            token,
            is_offline: is_true("HF_HUB_OFFLINE") || is_true("TRANSFORMERS_OFFLINE"),
        })
    }
}

/// The error of a system that names no home.
pub(crate) fn no_cache() -> Error {
    Error::new(Code::BadConfig, "there is no home folder for the cache of the Hub")
        .with_help("set HF_HOME or HF_HUB_CACHE")
}

/// The folder with a folder for each repository; none where the system names no home.
pub(crate) fn cache() -> Option<PathBuf> {
    let named = path("HF_HUB_CACHE").or_else(|| path("HUGGINGFACE_HUB_CACHE"));
    named.or_else(|| hub_home().map(|home| home.join("hub")))
}

fn hub_home() -> Option<PathBuf> {
    path("HF_HOME").or_else(|| {
        let cache = path("XDG_CACHE_HOME").or_else(|| Some(user_home()?.join(".cache")))?;
        Some(cache.join("huggingface"))
    })
}

fn user_home() -> Option<PathBuf> {
    let home = PathBuf::from(env::var_os(if cfg!(windows) { "USERPROFILE" } else { "HOME" })?);
    home.is_absolute().then_some(home)
}

/// The token, which a variable gives, or the file that `hf auth login` writes.
fn token(home: Option<&Path>) -> Option<Token> {
    let given = text("HF_TOKEN").or_else(|| text("HUGGING_FACE_HUB_TOKEN"));
    if let Some(token) = given.and_then(|text| Token::new(&text)) {
        return Some(token);
    }
    let file = path("HF_TOKEN_PATH").or_else(|| Some(home?.join("token")))?;
    let is_small = file.metadata().is_ok_and(|file| file.is_file() && file.len() <= TOKEN_BYTES);
    let text = is_small.then(|| std::fs::read_to_string(file).ok()).flatten()?;
    Token::new(&text)
}

/// A variable's text; an empty one is as good as none.
fn text(variable: &str) -> Option<String> {
    env::var(variable).ok().filter(|text| !text.trim().is_empty())
}

fn path(variable: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env::var_os(variable).filter(|path| !path.is_empty())?);
    match path.strip_prefix("~") {
        Ok(rest) => Some(user_home()?.join(rest)),
        Err(_) => Some(path),
    }
}

fn is_true(variable: &str) -> bool {
    text(variable).is_some_and(|text| matches!(text.to_ascii_uppercase().as_str(), "1" | "ON" | "YES" | "TRUE"))
}
