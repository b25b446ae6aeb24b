//! A device with its handlers set before any work.

use std::sync::Arc;

use super::adapter::{self, Adapter, AdapterInfo};
use super::health::Health;
use super::poller::Poller;
use crate::error::{Code, Error, Result};

/// What memory of tensors is used for.
pub(super) const TENSOR: wgpu::BufferUsages =
    wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_DST).union(wgpu::BufferUsages::COPY_SRC);
/// What memory is used for that the host reads.
pub(super) const STAGING: wgpu::BufferUsages = wgpu::BufferUsages::MAP_READ.union(wgpu::BufferUsages::COPY_DST);

/// A device and its queue.
#[derive(Clone)]
pub struct Device {
    pub(super) inner: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) health: Arc<Health>,
    pub(super) poller: Arc<Poller>,
    info: AdapterInfo,
}

/// The least that lyn's kernels need; every WebGPU adapter has more. Forced in tests.
pub(super) fn minimum_limits() -> wgpu::Limits {
    wgpu::Limits {
        max_storage_buffers_per_shader_stage: 8,
        max_storage_buffer_binding_size: 128 << 20,
        max_buffer_size: 256 << 20,
        max_compute_workgroup_storage_size: 16 << 10,
        max_compute_invocations_per_workgroup: 128,
        max_compute_workgroup_size_x: 128,
        max_compute_workgroup_size_y: 128,
        ..wgpu::Limits::defaults()
    }
}

impl Device {
    /// Opens an adapter with all that it offers, or with WebGPU's minimum limits and no feature.
    ///
    /// # Errors
    /// `limit_too_small` where the adapter lacks a minimum limit, `no_adapter` where it gives no device.
    pub async fn open(adapter: &Adapter, minimum: bool) -> Result<Device> {
        let mut info = adapter.info();
        let offered = adapter.inner.limits();
        let (mut limits, mut features) = (minimum_limits(), wgpu::Features::empty());
        let mut lacking = Vec::new();
        limits.check_limits_with_fail_fn(&offered, false, |name, wanted, allowed| {
            // Texture and vertex limits are no concern of compute shaders.
            if name.contains("compute") || name.contains("storage_buffer") || name.contains("buffer_size") {
                lacking.push(format!("{name}: needed {wanted}, found {allowed}"));
            }
        });
        if !lacking.is_empty() {
            let message = format!("#{} {}: {}", info.index, crate::error::quote(&info.name), lacking.join("; "));
            return Err(Error::new(Code::LimitTooSmall, message));
        }
        if !minimum {
            limits = offered;
            features = adapter.inner.features() & wgpu::Features::TIMESTAMP_QUERY;
        }
        info.limits = adapter::limits(&limits);
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("lyn"),
            required_features: features,
            required_limits: limits,
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            ..Default::default()
        };
        let (inner, queue) = adapter.inner.request_device(&descriptor).await.map_err(|error| {
            let name = crate::error::quote(&info.name);
            Error::new(Code::NoAdapter, format!("#{} {name}: cannot create a device: {error}", info.index))
        })?;
        let health = Arc::new(Health::default());
        let lost = Arc::clone(&health);
        inner.set_device_lost_callback(move |reason, text| lost.lose(Code::DeviceLost, format!("{reason:?} {text}")));
        let refused = Arc::clone(&health);
        inner.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            if let Ok(mut slot) = refused.error.lock() {
                slot.get_or_insert_with(|| error.to_string());
            }
        }));
        let poller = Arc::new(Poller::start(&inner, &health));
        Ok(Device { inner, queue, health, poller, info })
    }

    /// What the adapter says of itself, with the limits of the device.
    pub fn info(&self) -> &AdapterInfo {
        &self.info
    }

    /// Memory that is not shared with the host.
    pub(super) fn buffer(&self, label: &str, size: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
        let label = Some(label);
        self.inner.create_buffer(&wgpu::BufferDescriptor { label, size, usage, mapped_at_creation: false })
    }

    /// Memory of a kernel's parameters.
    pub(super) fn params(&self, bytes: &[u8], size: u64) -> wgpu::Buffer {
        let params = self.buffer("params", size, wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST);
        self.queue.write_buffer(&params, 0, bytes);
        params
    }

    /// Resolves with the reason once the device is lost, destroyed included. It does not borrow the device.
    pub fn lost(&self) -> impl Future<Output = Error> + Send + use<> {
        let health = Arc::clone(&self.health);
        std::future::poll_fn(move |context| health.poll_lost(context.waker()))
    }

    /// Destroys the device and frees all of its memory at once; to those who use it, it is lost.
    pub fn destroy(&self) {
        // wgpu tells of a reset at once, but of this only when it is polled next; until then calls fail as if they were wrong.
        self.health.lose(Code::DeviceLost, "it was destroyed".to_owned());
        self.inner.destroy();
    }
}
