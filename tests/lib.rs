//! What the conformance tests share: the adapters at hand, and models loaded on them.

use std::path::Path;
use std::sync::Arc;

use lyn::checkpoint::{Checkpoint, FolderSource, Source};
use lyn::engine::Trial;
use lyn::gpu::{Adapter, Device, adapter};
use lyn::{Engine, Options, Place, platform};

/// How to get software adapters on Debian.
pub const INSTALL: &str = "no GPU adapter found; on Debian: apt-get install libvulkan1 mesa-vulkan-drivers";

/// Every adapter at hand. Panics where there is none: a missing adapter is a failure, never a skip.
#[must_use]
pub fn adapters() -> Vec<Adapter> {
    let found = pollster::block_on(adapter::list());
    assert!(!found.is_empty(), "{INSTALL}");
    found
}

/// Every adapter at hand with all that it offers, and again with WebGPU's minimum limits forced; each with a name.
/// Panics where there is no adapter, or one gives no device.
#[must_use]
pub fn devices() -> Vec<(String, Device)> {
    let mut devices = Vec::new();
    for adapter in adapters() {
        for minimum in [false, true] {
            let device =
                pollster::block_on(Device::open(&adapter, minimum)).expect("an adapter at hand gives a device");
            let limits = if minimum { ", minimum limits" } else { "" };
            devices.push((format!("{}{limits}", device.info().name), device));
        }
    }
    devices
}

/// Every adapter at hand with all that it offers: where limits do not matter. Panics as [`devices`].
#[must_use]
pub fn full_devices() -> Vec<(String, Device)> {
    devices().into_iter().filter(|(name, _)| !name.ends_with(", minimum limits")).collect()
}

/// A new device where one adapter suffices: of llvmpipe, the quickest of software adapters and one whose lanes do not run
/// in lockstep over a whole workgroup; else of the best adapter. Panics as [`devices`].
#[must_use]
pub fn one_device() -> Device {
    let adapters = adapters();
    let found = adapters.iter().find(|adapter| adapter.info().name.contains("llvmpipe")).unwrap_or(&adapters[0]);
    pollster::block_on(Device::open(found, false)).expect("an adapter at hand gives a device")
}

/// A golden checkpoint's folder. Panics where there is none of that name.
#[must_use]
pub fn golden(name: &str) -> Arc<dyn Source> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/golden").join(name);
    Arc::new(FolderSource::new(folder).expect("a golden folder"))
}

/// A loaded model. Panics where it does not load.
#[must_use]
pub fn load(source: Arc<dyn Source>, place: Place, options: &Options) -> Engine {
    load_trial(source, place, options, Trial::default())
}

/// As [`load`], with what only tests ask for.
pub fn load_trial(source: Arc<dyn Source>, place: Place, options: &Options, trial: Trial) -> Engine {
    let loaded = platform::block_on(async {
        let checkpoint = Checkpoint::open(source).await?;
        Engine::load_trial(checkpoint, place, options, trial, &mut |_| true).await
    });
    loaded.expect("the model loads")
}
