//! What the conformance tests share: the adapters at hand.

use lyn::gpu::{Adapter, Device, adapter};

/// How to get software adapters on Debian.
pub const INSTALL: &str = "no GPU adapter found; on Debian: apt-get install libvulkan1 mesa-vulkan-drivers";

/// Every adapter at hand.
///
/// # Panics
/// Where there is none: a missing adapter is a failure, never a skip.
#[must_use]
pub fn adapters() -> Vec<Adapter> {
    let found = pollster::block_on(adapter::list());
    assert!(!found.is_empty(), "{INSTALL}");
    found
}

/// Every adapter at hand with all that it offers, and again with WebGPU's minimum limits forced; each with a name.
///
/// # Panics
/// Where there is no adapter, or one gives no device.
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
