//! Loading an engine where someone watches: progress, Ctrl-C, a warning on software adapters.

use lyn::engine::{Engine, Options, Progress as Loaded};
use lyn::error::{Code, Error, Result, quote};
use lyn::platform::block_on;

use crate::App;
use crate::terminal::Progress;
use crate::terminal::progress::Unit;

/// Loads a model.
///
/// # Errors
/// As [`Engine::load`]; `cancelled` after Ctrl-C.
pub(crate) fn engine(app: &App, model: &str, options: &Options) -> Result<Engine> {
    let source = crate::model::source(model)?;
    let _working = app.interrupt.work();
    let mut progress = Progress::new(&app.terminal, "loading", Unit::Bytes);
    let engine = block_on(Engine::load(source, options, &mut |loaded: Loaded| {
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
    if app.interrupt.asked() {
        return Err(Error::new(Code::Cancelled, "stopped while loading"));
    }
    if let Some(adapter) = engine.adapter().filter(|info| info.kind == "software" && options.device == "auto") {
        let text = format!("running on {}: correct but slow; see: lyn devices", quote(&adapter.name));
        app.terminal.warn("software_adapter", &text);
    }
    Ok(engine)
}
