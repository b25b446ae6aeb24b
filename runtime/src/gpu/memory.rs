//! How much memory an adapter has and how much of it is free: WebGPU has no way to ask, the backends under it do.
//!
//! In: an adapter. Out: bytes, or nothing where nobody knows: in a browser, and on GL. Never: a handle that outlives a call.
//! Every use of `unsafe` in the runtime is here: wgpu calls access to its backends unsafe, since handles could be misused, and
//! Vulkan's own functions are foreign ones.
#![cfg_attr(
    not(target_arch = "wasm32"),
    expect(
        unsafe_code,
        reason = "the memory of a device is asked of Vulkan, Metal or DXGI, through handles of wgpu's"
    )
)]

use serde::Serialize;

/// Memory of an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceMemory {
    /// All of it, or as much of it as this process may use.
    pub total_bytes: u64,
    /// What this process can still use, others considered; none: unknown.
    pub free_bytes: Option<u64>,
}

impl DeviceMemory {
    /// What a plan may count on.
    pub(crate) fn available_bytes(&self) -> u64 {
        self.free_bytes.unwrap_or(self.total_bytes)
    }
}

/// What an adapter's backend says; none where it says nothing.
pub(super) fn of(adapter: &wgpu::Adapter) -> Option<DeviceMemory> {
    backend(adapter, adapter.get_info().backend).filter(|memory| memory.total_bytes > 0)
}

#[cfg(target_arch = "wasm32")]
fn backend(_: &wgpu::Adapter, _: wgpu::Backend) -> Option<DeviceMemory> {
    None
}

#[cfg(not(target_arch = "wasm32"))]
fn backend(adapter: &wgpu::Adapter, backend: wgpu::Backend) -> Option<DeviceMemory> {
    match backend {
        wgpu::Backend::Vulkan => vulkan(adapter),
        #[cfg(target_vendor = "apple")]
        wgpu::Backend::Metal => metal(adapter),
        #[cfg(windows)]
        wgpu::Backend::Dx12 => dx12(adapter),
        _ => None,
    }
}

/// The largest heap of the device's own; what is free of it by `VK_EXT_memory_budget`.
#[cfg(not(target_arch = "wasm32"))]
fn vulkan(adapter: &wgpu::Adapter) -> Option<DeviceMemory> {
    use ash::vk;

    // SAFETY: the handles below are only read, and not kept beyond this guard.
    let adapter = unsafe { adapter.as_hal::<wgpu::hal::api::Vulkan>() }?;
    let (instance, device) = (adapter.shared_instance(), adapter.raw_physical_device());
    let capabilities = adapter.physical_device_capabilities();
    let versions = [instance.instance_api_version(), capabilities.properties().api_version];
    let tells = capabilities.supports_extension(ash::ext::memory_budget::NAME)
        && versions.into_iter().all(|version| version >= vk::API_VERSION_1_1);
    let mut budget = vk::PhysicalDeviceMemoryBudgetPropertiesEXT::default();
    let heaps = if tells {
        let mut all = vk::PhysicalDeviceMemoryProperties2::default().push_next(&mut budget);
        // SAFETY: instance and device are alive, both are of Vulkan 1.1, and the device knows the structure behind `all`.
        unsafe { instance.raw_instance().get_physical_device_memory_properties2(device, &mut all) };
        all.memory_properties
    } else {
        // SAFETY: instance and device are alive.
        unsafe { instance.raw_instance().get_physical_device_memory_properties(device) }
    };
    let own = (0..heaps.memory_heap_count as usize)
        .filter(|&i| heaps.memory_heaps[i].flags.contains(vk::MemoryHeapFlags::DEVICE_LOCAL))
        .max_by_key(|&i| heaps.memory_heaps[i].size)?;
    let free_bytes = tells.then(|| budget.heap_budget[own].saturating_sub(budget.heap_usage[own]));
    Some(DeviceMemory { total_bytes: heaps.memory_heaps[own].size, free_bytes })
}

/// What Metal recommends as a working set, less what is allocated already.
#[cfg(target_vendor = "apple")]
fn metal(adapter: &wgpu::Adapter) -> Option<DeviceMemory> {
    use objc2_metal::MTLDevice;

    // SAFETY: the device is only asked for two numbers, and not kept beyond this guard.
    let adapter = unsafe { adapter.as_hal::<wgpu::hal::api::Metal>() }?;
    let device = adapter.raw_device();
    let (total_bytes, used) = (device.recommendedMaxWorkingSetSize(), device.currentAllocatedSize() as u64);
    Some(DeviceMemory { total_bytes, free_bytes: Some(total_bytes.saturating_sub(used)) })
}

/// What the system lets this process use of the device's own memory, less what it uses already.
#[cfg(windows)]
fn dx12(adapter: &wgpu::Adapter) -> Option<DeviceMemory> {
    use windows::Win32::Graphics::Dxgi::DXGI_MEMORY_SEGMENT_GROUP_LOCAL;

    // SAFETY: the adapter is only asked for its memory, and not kept beyond this guard.
    let adapter = unsafe { adapter.as_hal::<wgpu::hal::api::Dx12>() }?;
    let info = adapter.raw_adapter().query_video_memory_info(DXGI_MEMORY_SEGMENT_GROUP_LOCAL).ok()?;
    let free_bytes = Some(info.Budget.saturating_sub(info.CurrentUsage));
    Some(DeviceMemory { total_bytes: info.Budget, free_bytes })
}
