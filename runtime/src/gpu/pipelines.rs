//! One pipeline for each kernel and variant, made once. wgpu does not deduplicate equal pipelines.

use std::collections::{HashMap, HashSet};

use lyn_shaders::{Access, Interface, Kernel, Variant, kernel};

use super::device::Device;
use crate::error::{Code, Error, Result};

#[derive(Default)]
pub(crate) struct Pipelines {
    made: HashMap<(&'static str, Variant), Pipeline>,
}

#[derive(Clone)]
pub(super) struct Pipeline {
    pub(super) inner: wgpu::ComputePipeline,
    pub(super) layout: wgpu::BindGroupLayout,
}

impl Pipeline {
    /// The memory of one pass, binding by binding.
    pub(super) fn group(&self, device: &Device, label: &str, entries: &[wgpu::BindGroupEntry<'_>]) -> wgpu::BindGroup {
        let descriptor = wgpu::BindGroupDescriptor { label: Some(label), layout: &self.layout, entries };
        device.inner.create_bind_group(&descriptor)
    }
}

impl Pipelines {
    pub(crate) fn len(&self) -> usize {
        self.made.len()
    }

    /// One kernel for each pipeline that is not made yet, in the order of their first use.
    pub(super) fn missing<'k>(&self, kernels: impl Iterator<Item = &'k dyn Kernel>) -> Vec<&'k dyn Kernel> {
        let mut seen = HashSet::new();
        let key = |kernel: &dyn Kernel| (kernel.interface().name, kernel.variant());
        kernels.filter(|&kernel| !self.made.contains_key(&key(kernel)) && seen.insert(key(kernel))).collect()
    }

    pub(super) async fn get(&mut self, device: &Device, kernel: &dyn Kernel) -> Result<Pipeline> {
        let (interface, variant) = (kernel.interface(), kernel.variant());
        let key = (interface.name, variant);
        if let Some(pipeline) = self.made.get(&key) {
            return Ok(pipeline.clone());
        }
        let source = kernel::source(interface, &key.1);
        let pipeline = build(device, interface, &key.1, &source).await?;
        self.made.insert(key, pipeline.clone());
        Ok(pipeline)
    }
}

/// Compiles WGSL text for an interface. The text is an argument so that tests can plant faults in it.
pub(super) async fn build(device: &Device, interface: &Interface, variant: &Variant, source: &str) -> Result<Pipeline> {
    let scope = device.inner.push_error_scope(wgpu::ErrorFilter::Validation);
    let module = device.inner.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some(interface.name),
        source: wgpu::ShaderSource::Wgsl(source.into()),
    });
    let mut entries = vec![entry(0, wgpu::BufferBindingType::Uniform)];
    for (binding, declared) in (1..).zip(kernel::bindings(interface, variant)) {
        let read_only = declared.access == Access::Read;
        entries.push(entry(binding, wgpu::BufferBindingType::Storage { read_only }));
    }
    let layout = device
        .inner
        .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(interface.name), entries: &entries });
    let pipeline_layout = device.inner.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some(interface.name),
        bind_group_layouts: &[Some(&layout)],
        immediate_size: 0,
    });
    let constants: Vec<_> = variant.constants.iter().map(|&(name, value)| (name, f64::from(value))).collect();
    let inner = device.inner.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(interface.name),
        layout: Some(&pipeline_layout),
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions { constants: &constants, ..Default::default() },
        cache: None,
    });
    match scope.pop().await {
        None => Ok(Pipeline { inner, layout }),
        Some(error) => {
            Err(Error::new(Code::Internal, format!("the driver refuses the kernel {}: {error}", interface.name)))
        }
    }
}

fn entry(binding: u32, kind: wgpu::BufferBindingType) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty: kind, has_dynamic_offset: false, min_binding_size: None },
        count: None,
    }
}
