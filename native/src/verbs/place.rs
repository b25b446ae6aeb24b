//! Where a model would be: an adapter, or this machine.

use lyn::error::{Code, Result, escape};
use lyn::gpu::{AdapterInfo, adapter};
use lyn::platform::block_on;

use crate::App;

/// Where the model would be.
pub(super) fn place(adapter: Option<&AdapterInfo>) -> String {
    adapter.map_or_else(|| "this machine".to_owned(), |info| format!("#{} {}", info.index, escape(&info.name)))
}

/// The adapter that would be used; none for the host, and where there is none.
pub(super) fn adapter(app: &App) -> Result<Option<AdapterInfo>> {
    if app.device == "cpu" {
        return Ok(None);
    }
    match block_on(adapter::choose(&app.device)) {
        Ok(adapter) => Ok(Some(adapter.info())),
        Err(error) if error.code() == Code::NoAdapter => {
            app.terminal.note("note: no GPU adapter found; planning for this machine's memory");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
