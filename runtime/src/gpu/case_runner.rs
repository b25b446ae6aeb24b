//! Runs one conformance case on a device: every buffer between guards, outputs filled with poison before.

use lyn_shaders::bound::Verdict;
use lyn_shaders::case::{Case, POISON};
use lyn_shaders::kernel;

use super::device::{Device, STAGING, TENSOR};
use super::pipelines::{self, Pipeline, Pipelines};
use super::readback::{Pool, Read};
use crate::error::{Code, Error, Result};

/// Words before and after each buffer's own that no kernel may touch: 1 KiB.
const GUARD: usize = 256;

/// A device for cases.
pub struct CaseRunner {
    device: Device,
    pipelines: Pipelines,
    staging: Pool,
}

impl CaseRunner {
    /// A runner on a device.
    pub fn new(device: Device) -> CaseRunner {
        CaseRunner { device, pipelines: Pipelines::default(), staging: Pool::default() }
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Runs a case and judges what it wrote. The error of the result is of the device, not of the arithmetic.
    ///
    /// # Errors
    /// `device_lost`, `internal` where the driver refuses the kernel.
    pub(crate) async fn judge(&mut self, case: &Case) -> Result<Verdict> {
        let pipeline = self.pipelines.get(&self.device, case.kernel.as_ref()).await?;
        self.judge_with(case, &pipeline).await
    }

    /// As `CaseRunner::judge`, with the kernel's text changed by `edit`: planted faults.
    ///
    /// # Errors
    /// As `CaseRunner::judge`; a text that no longer compiles is `internal`.
    pub async fn judge_edited(&mut self, case: &Case, edit: impl Fn(&str) -> String) -> Result<Verdict> {
        let (interface, variant) = (case.kernel.interface(), case.kernel.variant());
        let source = edit(&kernel::source(interface, &variant));
        let pipeline = pipelines::build(&self.device, interface, &variant, &source).await?;
        self.judge_with(case, &pipeline).await
    }

    async fn judge_with(&mut self, case: &Case, pipeline: &Pipeline) -> Result<Verdict> {
        let results = self.run(case, pipeline).await?;
        let expected = case.expected();
        let mut worst = 0f64;
        for (((guarded, reference), bound), slot) in results.iter().zip(&expected).zip(&case.bounds).zip(case.written())
        {
            let (before, rest) = guarded.split_at(GUARD);
            let (got, after) = rest.split_at(reference.len());
            if before.iter().chain(after).any(|&word| word != POISON) {
                return Ok(Verdict::Fail { at: 0, what: format!("wrote outside slot {}", slot.0) });
            }
            match bound.judge(got, reference) {
                Verdict::Pass { worst: this } => worst = worst.max(this),
                Verdict::Fail { at, what } => {
                    return Ok(Verdict::Fail { at, what: format!("slot {}, element {at}: {what}", slot.0) });
                }
            }
        }
        Ok(Verdict::Pass { worst })
    }

    /// Words of the written slots after a run, guards included.
    async fn run(&mut self, case: &Case, pipeline: &Pipeline) -> Result<Vec<Vec<u32>>> {
        self.device.health.check()?;
        let buffers: Vec<_> = case.buffers.iter().map(|words| self.guarded(words)).collect();
        let params_bytes = case.kernel.params();
        let params = self.device.params(&params_bytes, params_bytes.len() as u64);
        let mut entries = vec![wgpu::BindGroupEntry { binding: 0, resource: params.as_entire_binding() }];
        for (binding, slot) in (1..).zip(case.kernel.slots()) {
            let size = wgpu::BufferSize::new(case.buffers[slot.0 as usize].len() as u64 * 4);
            let resource = wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: &buffers[slot.0 as usize],
                offset: GUARD as u64 * 4,
                size,
            });
            entries.push(wgpu::BindGroupEntry { binding, resource });
        }
        let group = pipeline.group(&self.device, case.kernel.interface().name, &entries);
        let mut encoder = self.device.inner.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(&pipeline.inner);
        pass.set_bind_group(0, &group, &[]);
        let [x, y, z] = case.kernel.workgroups(&case.extent);
        pass.dispatch_workgroups(x, y, z);
        drop(pass);
        let mut staging = Vec::new();
        for slot in case.written() {
            let source = &buffers[slot.0 as usize];
            let target = self.device.buffer("staging", source.size(), STAGING);
            encoder.copy_buffer_to_buffer(source, 0, &target, 0, source.size());
            staging.push(target);
        }
        let index = self.device.queue.submit([encoder.finish()]);
        let mut results = Vec::new();
        for target in staging {
            let bytes = target.size();
            results.push(Read::start(target, bytes, index.clone(), &self.device, &self.staging).await?);
        }
        if let Ok(mut pool) = self.staging.lock() {
            pool.clear();
        }
        if results.len() != case.bounds.len() {
            let message = format!("case {} writes {} slots and bounds {}", case.name, results.len(), case.bounds.len());
            return Err(Error::new(Code::Internal, message));
        }
        Ok(results)
    }

    fn guarded(&self, words: &[u32]) -> wgpu::Buffer {
        let mut all = vec![POISON; GUARD];
        all.extend_from_slice(words);
        all.resize(all.len() + GUARD, POISON);
        let buffer = self.device.buffer("case", all.len() as u64 * 4, TENSOR);
        self.device.queue.write_buffer(&buffer, 0, bytemuck::cast_slice(&all));
        buffer
    }
}
