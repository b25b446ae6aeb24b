//! Which adapters have passed the self-check: with this version of lyn, this driver and backend, once is enough.
//!
//! In and out: `self-check` in the cache folder, a line for each. A cache that cannot be read or written only means that
//! the check runs again.

use std::io::Write;
use std::path::PathBuf;

use lyn::gpu::AdapterInfo;

use crate::flags::VERSION;
use crate::settings::cache_folder;

/// A longer file is begun anew.
const MAX_BYTES: u64 = 64 << 10;

fn path() -> Option<PathBuf> {
    Some(cache_folder()?.join("self-check"))
}

fn line(info: &AdapterInfo) -> String {
    let fields = [&info.name, &info.driver, &info.backend, VERSION];
    fields.map(|field| field.escape_debug().to_string()).join("\t")
}

/// Whether this adapter has passed.
pub(crate) fn is_known(info: &AdapterInfo) -> bool {
    let text = path().filter(|path| is_short(path)).and_then(|path| std::fs::read_to_string(path).ok());
    text.is_some_and(|text| text.lines().any(|known| known == line(info)))
}

fn is_short(path: &std::path::Path) -> bool {
    path.metadata().is_ok_and(|file| file.len() <= MAX_BYTES)
}

/// Remembers that this adapter has passed.
pub(crate) fn remember(info: &AdapterInfo) {
    let Some(path) = path() else { return };
    let file = path.parent().map(std::fs::create_dir_all).and_then(|_| {
        let short = is_short(&path);
        std::fs::OpenOptions::new().create(true).append(short).write(true).truncate(!short).open(&path).ok()
    });
    if let Some(mut file) = file {
        let _ = file.write_all(format!("{}\n", line(info)).as_bytes());
    }
}
