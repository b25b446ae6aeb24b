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
        progress.update(loaded.done_bytes, loaded.total_bytes);
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
