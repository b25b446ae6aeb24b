//! The environment of this process, as the rest of it is to find it.
//!
//! In: what the system, a container or a service gives. Out: the same without variables of ours that are empty, and with the one that
//! keeps a driver quiet. The only home of `unsafe`.

/// Variables that this program reads.
const OURS: [&str; 2] = ["LYN_", "WGPU_"];
/// Tells Mesa's layer for the choice of devices to stay away.
const NO_DEVICE_SELECTION: &str = "NODEVICE_SELECT";

/// Unsets what is empty: `docker compose` and others pass `LYN_SEED=` for what nobody has set. Where there is no desktop, keeps
/// Mesa from complaining of it on stderr.
///
/// Call it first: other threads may not read the environment at the same time.
#[expect(unsafe_code, reason = "no other way changes the environment of the own process, and at its start it is safe")]
pub(crate) fn prepare() {
    let is_ours = |name: &std::ffi::OsStr| OURS.iter().any(|ours| name.to_string_lossy().starts_with(ours));
    let empty: Vec<_> = std::env::vars_os().filter(|(name, value)| value.is_empty() && is_ours(name)).collect();
    let quiet = !has_desktop() && std::env::var_os(NO_DEVICE_SELECTION).is_none();
    // SAFETY: `main` has just begun, so that this thread is the only one.
    unsafe {
        empty.iter().for_each(|(name, _)| std::env::remove_var(name));
        if quiet {
            std::env::set_var(NO_DEVICE_SELECTION, "1");
        }
    }
}

/// Whether Mesa's layer, which asks the desktop which device it uses, would find where to ask.
fn has_desktop() -> bool {
    std::env::var_os("XDG_RUNTIME_DIR").is_some_and(|folder| std::path::Path::new(&folder).is_absolute())
}
