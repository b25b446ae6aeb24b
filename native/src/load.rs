//! Loading an engine where someone watches: progress, Ctrl-C, a warning on software adapters.

use std::path::Path;
use std::sync::Arc;

use lyn::checkpoint::{Checkpoint, Source};
use lyn::engine::{Engine, Options, Place, Progress as Loaded};
use lyn::error::{Code, Error, Result, quote};
use lyn::platform::block_on;

use crate::terminal::StageProgress;
use crate::terminal::progress::Unit;
use crate::{App, self_check};

/// Loads a model by its name: see [`crate::model::source`]. Errors: as [`engine_of`], and where there is no such model.
pub(crate) fn engine(app: &App, model: &Path, options: &Options) -> Result<Engine> {
    engine_of(app, crate::model::source(model)?, options)
}

/// Words of a verb without `--context` in place of advice that names it. `lengths`: what makes the context that the verb needs shorter.
pub(crate) fn without_context(error: Error, lengths: &str) -> Error {
    if !error.help().iter().any(|help| help.contains("--context")) {
        return error;
    }
    let instead = match error.code() {
        Code::OutOfMemory | Code::LimitTooSmall => "; or a narrower --cache-type, another --device or a smaller model",
        _ => "",
    };
    error.with_help(format!("use {lengths}{instead}"))
}

/// Loads a model. The first use of an adapter checks its arithmetic. Errors: as [`Engine::load_on`]; `cancelled` after
/// Ctrl-C.
pub(crate) fn engine_of(app: &App, source: Arc<dyn Source>, options: &Options) -> Result<Engine> {
    let _working = app.interrupt.work();
    let mut progress = StageProgress::new(&app.terminal, "loading", Unit::Bytes);
    let checkpoint = block_on(Checkpoint::open(source))?;
    let place = block_on(Place::open(&options.device))?;
    let unknown = place.adapter().filter(|info| !self_check::is_known(info)).cloned();
    let options = &Options { self_check: unknown.is_some(), ..options.clone() };
    let engine = block_on(Engine::load_on(checkpoint, place, options, &mut |loaded: Loaded| {
        match loaded {
            Loaded::Check => progress.stage("checking", Unit::Pieces),
            Loaded::Upload { done_bytes, total_bytes } => {
                progress.stage("loading", Unit::Bytes);
                progress.update(done_bytes, total_bytes);
            }
            Loaded::Compile { done, total } => {
                progress.stage("compiling", Unit::Pieces);
                progress.update(done.into(), total.into());
            }
        }
        !app.interrupt.asked()
    }))?;
    progress.finish();
    if let Some(info) = unknown {
        self_check::remember(&info);
    }
    if app.interrupt.asked() {
        return Err(Error::new(Code::Cancelled, "stopped while loading"));
    }
    if let Some(adapter) = engine.adapter().filter(|info| info.kind == "software" && options.device == "auto") {
        let text =
            format!("running on the software adapter {}: correct, but slow; see: lyn devices", quote(&adapter.name));
        app.terminal.warn("software_adapter", &text);
    }
    Ok(engine)
}
