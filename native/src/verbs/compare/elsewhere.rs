//! The second side, where it is an engine behind an address.

use std::time::Instant;

use lyn::error::{Code, Error, Result, escape};
use lyn::inspect::compare::{Needle, Probe, Told};
use lyn::text::Tokenizer;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::args::CompareArgs;
use crate::App;
use crate::remote;
use crate::text::quoted;
use crate::upstream::scores::Scores;
use crate::upstream::{Patience, Upstream};

/// An engine elsewhere, one of its models, and what connects to it.
pub(super) struct OtherEngine {
    /// Taken when dropped, because a look-up of a name may still run and is not worth waiting for.
    runtime: Option<Runtime>,
    upstream: Upstream,
    pub(super) model: String,
    top: u32,
}

impl OtherEngine {
    /// Connects, and finds the model. Errors: `bad_request` for a bad address, `io` for a bad file of keys, `upstream` where the model
    /// cannot be found out.
    pub(super) fn open(app: &App, options: &CompareArgs, address: &str) -> Result<OtherEngine> {
        let upstream = remote::connect(app, address, &options.access, Patience::scoring())?;
        let wanted = match &options.second {
            None => None,
            Some(id) => Some(id.to_str().ok_or_else(|| {
                Error::new(Code::BadRequest, format!("B, {}: expected a model id in UTF-8", quoted(id)))
            })?),
        };
        let runtime = remote::runtime()?;
        let model = wait(app, &runtime, upstream.choose_model(wanted)).map_err(|error| match error.code() {
            Code::Upstream if wanted.is_none() => error.with_help("check the address, and name the model there as B"),
            _ => error,
        })?;
        Ok(OtherEngine { runtime: Some(runtime), upstream, model, top: options.upstream_top })
    }

    /// Where it is.
    pub(super) fn host(&self) -> String {
        escape(self.upstream.address().shown())
    }

    /// Tokens that the model's context holds there, where the engine says so.
    pub(super) fn context(&self, app: &App) -> Result<Option<u32>> {
        let list = self.wait(app, async { Ok(self.upstream.models().await.unwrap_or_default()) })?;
        let mut models = list.get("data").and_then(Value::as_array).into_iter().flatten();
        let model = models.find(|model| model.get("id").and_then(Value::as_str) == Some(&self.model));
        Ok(model.and_then(|model| model.get("max_model_len")?.as_u64()).and_then(|most| u32::try_from(most).ok()))
    }

    /// Refuses an engine that cuts the text into other tokens.
    pub(super) fn check_tokens(&self, app: &App, tokenizer: &Tokenizer, text: &str) -> Result<()> {
        self.wait(app, self.scores(tokenizer, self.top).check_tokens(text))
    }

    /// What it tells of a text.
    pub(super) fn told(&self, app: &App, tokenizer: &Tokenizer, text: &[u32]) -> Result<Told> {
        let started = Instant::now();
        let places = self.wait(app, self.scores(tokenizer, self.top).score(text, 1))?;
        Ok(Told { places, seconds: started.elapsed().as_secs_f64() })
    }

    /// What it makes of a fact.
    pub(super) fn probe(&self, app: &App, tokenizer: &Tokenizer, needle: &Needle) -> Result<Probe> {
        // The likeliest and its own token at each place: fewer than many engines would tell of a long text.
        let places = self.wait(app, self.scores(tokenizer, 1).score(&needle.text, needle.answer()))?;
        Ok(needle.told(&places))
    }

    fn scores<'a>(&'a self, tokenizer: &'a Tokenizer, top: u32) -> Scores<'a> {
        Scores::new(&self.upstream, &self.model, tokenizer, top)
    }

    fn wait<T>(&self, app: &App, asking: impl Future<Output = Result<T>>) -> Result<T> {
        let runtime = self.runtime.as_ref().ok_or_else(|| Error::new(Code::Internal, "the connection has ended"))?;
        wait(app, runtime, asking)
    }
}

impl Drop for OtherEngine {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What comes of a question, unless the user stops it.
fn wait<T>(app: &App, runtime: &Runtime, asking: impl Future<Output = Result<T>>) -> Result<T> {
    let _working = app.interrupt.work();
    runtime.block_on(async {
        tokio::select! {
            told = asking => told,
            () = remote::asked(&app.interrupt) => Err(Error::new(Code::Cancelled, "stopped")),
        }
    })
}
