//! Finding adapters, ranking them, choosing one by the user's words.

use serde::Serialize;

use crate::error::{Code, Error, Result, quote};
use crate::limits::Limits;

use super::memory::{self, DeviceMemory};

/// An adapter at hand.
#[derive(Clone, Debug)]
pub struct Adapter {
    /// Place in the list of this machine, best first.
    pub index: usize,
    pub(super) inner: wgpu::Adapter,
}

/// What an adapter says of itself.
#[derive(Clone, Debug, Serialize)]
pub struct AdapterInfo {
    /// Place in the list, best first.
    pub index: usize,
    /// The device's name.
    pub name: String,
    /// `discrete`, `integrated`, `virtual`, `software` or `other`.
    pub kind: &'static str,
    /// `vulkan`, `metal`, `dx12`, `gl` or `webgpu`.
    pub backend: String,
    /// The driver and its version.
    pub driver: String,
    /// Whether f16 arithmetic is offered; lyn does not need it.
    pub shader_f16: bool,
    /// Smallest and largest subgroup; lyn does not need them.
    pub subgroups: (u32, u32),
    /// Whether passes can be timed.
    pub timestamps: bool,
    /// Largest buffer, in bytes.
    pub max_buffer_bytes: u64,
    /// Largest storage binding, in bytes.
    pub max_binding_bytes: u64,
    /// What tensors and kernels have to stay within.
    #[serde(skip)]
    pub limits: Limits,
    /// Its memory, as it was when it was asked; none: unknown, or the machine's.
    #[serde(skip)]
    pub memory: Option<DeviceMemory>,
}

/// All adapters of this machine, best first: discrete, integrated, virtual, other, software; GL only where nothing else is.
pub async fn list() -> Vec<Adapter> {
    let wanted = wgpu::Backends::from_env().unwrap_or(wgpu::Backends::all());
    // GL is asked last and alone: its drivers complain on stderr where there is no display.
    let mut found = enumerate(wanted & !wgpu::Backends::GL).await;
    if found.is_empty() && wanted.contains(wgpu::Backends::GL) {
        found = enumerate(wgpu::Backends::GL).await;
    }
    found.sort_by_key(|adapter| kind(adapter.get_info().device_type).0);
    found.into_iter().enumerate().map(|(index, inner)| Adapter { index, inner }).collect()
}

async fn enumerate(backends: wgpu::Backends) -> Vec<wgpu::Adapter> {
    instance(backends).enumerate_adapters(backends).await
}

fn instance(backends: wgpu::Backends) -> wgpu::Instance {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends;
    // Validation layers are for work on lyn itself; the bounds checks of shaders stay on without them.
    descriptor.flags = wgpu::InstanceFlags::empty();
    wgpu::Instance::new(descriptor)
}

/// The adapter that the system prefers for `low-power` or `high-performance`; a browser knows no other words.
async fn preferred(selection: &str) -> Option<Adapter> {
    let power_preference = match selection {
        "low-power" => wgpu::PowerPreference::LowPower,
        "high-performance" => wgpu::PowerPreference::HighPerformance,
        _ => return None,
    };
    let backends = wgpu::Backends::from_env().unwrap_or(wgpu::Backends::all());
    let options = wgpu::RequestAdapterOptions { power_preference, ..Default::default() };
    let inner = instance(backends).request_adapter(&options).await.ok()?;
    Some(Adapter { index: 0, inner })
}

/// The rank of a kind of device, the best first, and its name.
fn kind(kind: wgpu::DeviceType) -> (u32, &'static str) {
    match kind {
        wgpu::DeviceType::DiscreteGpu => (0, "discrete"),
        wgpu::DeviceType::IntegratedGpu => (1, "integrated"),
        wgpu::DeviceType::VirtualGpu => (2, "virtual"),
        wgpu::DeviceType::Other => (3, "other"),
        wgpu::DeviceType::Cpu => (4, "software"),
    }
}

/// What lyn asks of WebGPU's limits.
pub(super) fn limits(limits: &wgpu::Limits) -> Limits {
    Limits {
        buffer_bytes: limits.max_buffer_size,
        binding_bytes: limits.max_storage_buffer_binding_size,
        storage_buffers: limits.max_storage_buffers_per_shader_stage,
        workgroups: limits.max_compute_workgroups_per_dimension,
    }
}

impl Adapter {
    /// What the backend says of the adapter's memory; on a software adapter of the machine's, in its own way.
    pub fn backend_memory(&self) -> Option<DeviceMemory> {
        memory::of(&self.inner)
    }

    /// What the adapter says of itself.
    pub fn info(&self) -> AdapterInfo {
        let (info, limits, features) = (self.inner.get_info(), self.inner.limits(), self.inner.features());
        AdapterInfo {
            index: self.index,
            name: info.name,
            kind: kind(info.device_type).1,
            backend: info.backend.to_string(),
            driver: [info.driver, info.driver_info].join(" ").trim().to_owned(),
            shader_f16: features.contains(wgpu::Features::SHADER_F16),
            subgroups: (info.subgroup_min_size, info.subgroup_max_size),
            timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
            max_buffer_bytes: limits.max_buffer_size,
            max_binding_bytes: limits.max_storage_buffer_binding_size,
            limits: self::limits(&limits),
            memory: self.backend_memory().filter(|_| info.device_type != wgpu::DeviceType::Cpu),
        }
    }
}

/// The adapter that `selection` means: `auto`, an index, part of a name, `discrete`, `integrated`, `software`,
/// `vulkan:1` (the second of a backend), or WebGPU's own words `low-power` and `high-performance`.
///
/// # Errors
/// `no_adapter` where there is none, `adapter_not_found` where none matches.
pub async fn choose(selection: &str) -> Result<Adapter> {
    if let Some(adapter) = preferred(selection).await {
        return Ok(adapter);
    }
    let adapters = list().await;
    if adapters.is_empty() {
        return Err(Error::new(Code::NoAdapter, "no GPU adapter found (looked at Vulkan, Metal, DX12, GL)"));
    }
    // The environment's choice stands where the command line made none.
    let from_environment = std::env::var("WGPU_ADAPTER_NAME").ok();
    let selection = match (selection, from_environment) {
        ("auto" | "", Some(name)) => name,
        (given, _) => given.to_owned(),
    };
    let found = adapters.iter().find(|adapter| matches(adapter, &selection, &adapters)).cloned();
    found.ok_or_else(|| {
        let names: Vec<_> = adapters.iter().map(|a| format!("#{} {}", a.index, quote(&a.info().name))).collect();
        let message = format!("no adapter matches {}; available: {}", quote(&selection), names.join(", "));
        Error::new(Code::AdapterNotFound, message)
    })
}

fn matches(adapter: &Adapter, selection: &str, all: &[Adapter]) -> bool {
    let (info, selection) = (adapter.info(), selection.to_lowercase());
    if matches!(selection.as_str(), "auto" | "" | "gpu") {
        return true;
    }
    if let Ok(index) = selection.parse::<usize>() {
        return adapter.index == index;
    }
    if let Some((backend, index)) = selection.split_once(':')
        && let Ok(index) = index.parse::<usize>()
    {
        let same: Vec<_> = all.iter().filter(|a| a.info().backend == backend).collect();
        return same.get(index).is_some_and(|a| a.index == adapter.index);
    }
    info.kind == selection || info.backend == selection || info.name.to_lowercase().contains(&selection)
}
