//! Runs recordings on a device. Pipelines and bind groups are made when a recording is prepared, never per step.

use std::sync::{Arc, Mutex};

use lyn_shaders::{Extent, Slot};

use super::device::{Device, STAGING, TENSOR};
use super::pipelines::{self, Pipelines};
use super::readback::{Pool, Read};
use crate::error::{Code, Error, Result};
use crate::platform::Instant;
use crate::record::{Recording, Tap, scratch_index};

/// Bytes between the parameters of two passes: the largest offset alignment WebGPU allows.
const PARAMS_STRIDE: usize = 256;

/// Things made on the device so far; a decode loop must not move these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Buffers, staging included.
    pub buffers: usize,
    /// Bind groups.
    pub bind_groups: usize,
    /// Pipelines.
    pub pipelines: usize,
    /// Dispatches encoded.
    pub dispatches: u64,
    /// Submissions.
    pub submissions: u64,
    /// Time that encoding and submitting steps took in this thread.
    pub encode_ns: u64,
}

/// A device with the memory of slots.
pub struct Executor {
    device: Device,
    pipelines: Pipelines,
    /// None once freed.
    slots: Vec<Option<wgpu::Buffer>>,
    /// Scratch shared by all recordings, which run one after the other.
    scratch: Vec<wgpu::Buffer>,
    staging: Pool,
    counts: Counts,
}

/// A recording with its pipelines and bind groups.
pub struct Prepared {
    recording: Arc<Recording>,
    passes: Vec<(pipelines::Pipeline, wgpu::BindGroup)>,
    /// Slots of scratch that the bind groups point into; they stay alive here if the shared ones grow.
    _params: wgpu::Buffer,
    scratch: Vec<wgpu::Buffer>,
}

impl Prepared {
    pub(crate) fn recording(&self) -> &Recording {
        &self.recording
    }
}

impl Executor {
    /// An executor without memory yet.
    pub fn new(device: Device) -> Executor {
        let staging = Arc::new(Mutex::new(Vec::new()));
        Executor {
            device,
            pipelines: Pipelines::default(),
            slots: vec![],
            scratch: vec![],
            staging,
            counts: Counts::default(),
        }
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Things made so far.
    pub fn counts(&self) -> Counts {
        Counts { pipelines: self.pipelines.len(), ..self.counts }
    }

    /// Memory for a tensor, zeroed.
    pub async fn allocate(&mut self, name: &str, words: u64) -> Result<Slot> {
        let buffer = self.buffer(name, words).await?;
        self.slots.push(Some(buffer));
        let number = u32::try_from(self.slots.len() - 1).map_err(|_| Error::new(Code::Internal, "too many tensors"))?;
        Ok(Slot(number))
    }

    /// Frees a tensor. Its memory is given back once no step and no prepared recording uses it.
    pub(crate) fn free(&mut self, slot: Slot) {
        if let Some(buffer) = self.slots.get_mut(slot.0 as usize) {
            *buffer = None;
        }
    }

    /// Bytes of all tensors, with the scratch of what was prepared so far.
    pub(crate) fn allocated_bytes(&self) -> u64 {
        self.slots.iter().flatten().chain(&self.scratch).map(wgpu::Buffer::size).sum()
    }

    fn slot(&self, slot: Slot) -> Option<&wgpu::Buffer> {
        self.slots.get(slot.0 as usize)?.as_ref()
    }

    async fn buffer(&mut self, name: &str, words: u64) -> Result<wgpu::Buffer> {
        self.device.health.check()?;
        let bytes = words.max(1).saturating_mul(4);
        let info = self.device.info();
        info.limits.tensor(&info.name, name, words)?;
        let scope = self.device.inner.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let buffer = self.device.buffer(name, bytes, TENSOR);
        if let Some(error) = scope.pop().await {
            self.device.health.check()?;
            let message = format!("{bytes} bytes for {name} could not be allocated: {error}");
            return Err(Error::new(Code::OutOfMemory, message));
        }
        self.counts.buffers += 1;
        Ok(buffer)
    }

    /// Writes words into a slot, in order with the steps before and after.
    pub(crate) fn write(&mut self, slot: Slot, word: u64, words: &[u32]) {
        if let Some(buffer) = self.slot(slot) {
            self.device.queue.write_buffer(buffer, word * 4, bytemuck::cast_slice(words));
        }
    }

    /// Makes the pipelines of recordings that are not there yet, one after another. In a browser each is awaited, so that
    /// the page gets its turn between them.
    pub async fn compile(&mut self, recordings: &[Recording], report: &mut dyn FnMut(u32, u32) -> bool) -> Result<()> {
        let passes = recordings.iter().flat_map(|recording| &recording.passes);
        let missing = self.pipelines.missing(passes.map(|pass| pass.kernel.as_ref()));
        let total = u32::try_from(missing.len()).unwrap_or(u32::MAX);
        let mut go_on = |done| match report(done, total) {
            true => Ok(()),
            false => Err(Error::new(Code::Cancelled, "loading was stopped")),
        };
        for (done, kernel) in (0..).zip(missing) {
            go_on(done)?;
            self.device.health.check()?;
            self.pipelines.get(&self.device, kernel).await?;
        }
        go_on(total)
    }

    /// Makes pipelines, bind groups and scratch for a recording.
    pub(crate) async fn prepare(&mut self, recording: Recording) -> Result<Prepared> {
        for (i, &words) in recording.scratch_words.iter().enumerate() {
            if self.scratch.get(i).is_none_or(|buffer| buffer.size() < words * 4) {
                let buffer = self.buffer(&format!("scratch {i}"), words).await?;
                if i < self.scratch.len() { self.scratch[i] = buffer } else { self.scratch.push(buffer) }
            }
        }
        let mut bytes = vec![0u8; recording.passes.len() * PARAMS_STRIDE];
        for (pass, place) in recording.passes.iter().zip(bytes.chunks_mut(PARAMS_STRIDE)) {
            let params = pass.kernel.params();
            place[..params.len()].copy_from_slice(&params);
        }
        let params = self.device.params(&bytes, bytes.len().max(PARAMS_STRIDE) as u64);
        self.counts.buffers += 1;
        let mut passes = Vec::with_capacity(recording.passes.len());
        for (i, pass) in recording.passes.iter().enumerate() {
            let pipeline = self.pipelines.get(&self.device, pass.kernel.as_ref()).await?;
            let size = wgpu::BufferSize::new(pass.kernel.params().len() as u64);
            let mut entries = vec![wgpu::BindGroupEntry {
                binding: 0,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer: &params,
                    offset: (i * PARAMS_STRIDE) as u64,
                    size,
                }),
            }];
            for (binding, &slot) in (1..).zip(&pass.slots) {
                entries.push(wgpu::BindGroupEntry { binding, resource: self.memory(slot)?.as_entire_binding() });
            }
            let group = pipeline.group(&self.device, pass.kernel.interface().name, &entries);
            self.counts.bind_groups += 1;
            passes.push((pipeline, group));
        }
        self.device.health.check()?;
        Ok(Prepared { recording: Arc::new(recording), passes, _params: params, scratch: self.scratch.clone() })
    }

    fn memory(&self, slot: Slot) -> Result<&wgpu::Buffer> {
        let buffer = match scratch_index(slot) {
            Some(i) => self.scratch.get(i),
            None => self.slot(slot),
        };
        buffer.ok_or_else(|| Error::new(Code::Internal, format!("slot {} has no memory", slot.0)))
    }

    /// Encodes and submits one step. Steps run in the order of their submission. Returns the rows behind the recording's
    /// taps, as they were when tapped, on their way.
    pub fn run(&mut self, prepared: &Prepared, extent: &Extent) -> Result<Vec<(Tap, Read)>> {
        self.device.health.check()?;
        let started = Instant::now();
        let (passes, mut taps) = (&prepared.recording.passes, prepared.recording.taps.iter().peekable());
        let mut encoder = self.encoder();
        let mut copies = Vec::new();
        let (mut start, mut layer) = (0, None);
        for at in 0..passes.len() + 1 {
            while let Some(tap) = taps.next_if(|tap| tap.after == at) {
                self.encode(&mut encoder, prepared, extent, start..at);
                start = at;
                let source = match scratch_index(tap.columns.slot) {
                    Some(i) => prepared.scratch.get(i),
                    None => self.slot(tap.columns.slot),
                };
                let source = source.cloned().ok_or_else(|| Error::new(Code::Internal, "a tap without memory"))?;
                let words = (u64::from(tap.columns.stride) * u64::from(tap.rows(extent))).min(source.size() / 4);
                copies.push((tap, self.copy(&mut encoder, &source, 0, words), words));
            }
            let Some(pass) = passes.get(at) else { break };
            // Long steps go to the queue layer by layer, so that no single submission holds the GPU for long.
            if extent.tokens > SPLIT_TOKENS && pass.layer != layer && at > 0 {
                self.encode(&mut encoder, prepared, extent, start..at);
                start = at;
                let next = self.encoder();
                self.submit(std::mem::replace(&mut encoder, next));
            }
            layer = pass.layer;
        }
        self.encode(&mut encoder, prepared, extent, start..passes.len());
        let index = self.submit(encoder);
        self.counts.encode_ns += u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let read = |(tap, staging, words): (&Tap, _, u64)| {
            (tap.clone(), Read::start(staging, words * 4, index.clone(), &self.device, &self.staging))
        };
        Ok(copies.into_iter().map(read).collect())
    }

    /// One step in one pass, and the nanoseconds that the pass took on the device; none where it has no clock.
    pub(crate) async fn run_timed(&mut self, prepared: &Prepared, extent: &Extent) -> Result<Option<f64>> {
        if !self.device.inner.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            return self.run(prepared, extent).map(|_| None);
        }
        let queries = self.device.inner.create_query_set(&wgpu::QuerySetDescriptor {
            label: Some("timing"),
            ty: wgpu::QueryType::Timestamp,
            count: 2,
        });
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        let resolved = self.device.buffer("timing", 16, usage);
        let mut encoder = self.encoder();
        let writes = wgpu::ComputePassTimestampWrites {
            query_set: &queries,
            beginning_of_pass_write_index: Some(0),
            end_of_pass_write_index: Some(1),
        };
        self.encode_timed(&mut encoder, prepared, extent, 0..prepared.passes.len(), Some(writes));
        encoder.resolve_query_set(&queries, 0..2, &resolved, 0);
        self.submit(encoder);
        let words = self.read_buffer(&resolved, 0, 4).await?;
        let ticks: Vec<u64> =
            words.chunks_exact(2).map(|pair| u64::from(pair[0]) | (u64::from(pair[1]) << 32)).collect();
        #[expect(clippy::cast_precision_loss, reason = "a time for display")]
        let elapsed = ticks[1].wrapping_sub(ticks[0]) as f64;
        Ok(Some(elapsed * f64::from(self.device.queue.get_timestamp_period())))
    }

    fn encoder(&self) -> wgpu::CommandEncoder {
        self.device.inner.create_command_encoder(&wgpu::CommandEncoderDescriptor::default())
    }

    fn submit(&mut self, encoder: wgpu::CommandEncoder) -> wgpu::SubmissionIndex {
        self.counts.submissions += 1;
        self.device.queue.submit([encoder.finish()])
    }

    fn encode(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        prepared: &Prepared,
        extent: &Extent,
        range: std::ops::Range<usize>,
    ) {
        if !range.is_empty() {
            self.encode_timed(encoder, prepared, extent, range, None);
        }
    }

    fn encode_timed(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        prepared: &Prepared,
        extent: &Extent,
        range: std::ops::Range<usize>,
        timestamp_writes: Option<wgpu::ComputePassTimestampWrites<'_>>,
    ) {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor { label: None, timestamp_writes });
        for ((pipeline, group), recorded) in
            prepared.passes[range.clone()].iter().zip(&prepared.recording.passes[range])
        {
            let [x, y, z] = recorded.kernel.workgroups(extent);
            if x == 0 || y == 0 || z == 0 {
                continue;
            }
            pass.set_pipeline(&pipeline.inner);
            pass.set_bind_group(0, group, &[]);
            pass.dispatch_workgroups(x, y, z);
            self.counts.dispatches += 1;
        }
    }

    /// Words of a slot, as they are after the steps submitted so far. The copy is in line at once; awaiting is for later.
    pub fn read(&mut self, slot: Slot, word: u64, words: u64) -> Result<Read> {
        let buffer = self.memory(slot)?.clone();
        Ok(self.read_buffer(&buffer, word, words))
    }

    fn read_buffer(&mut self, source: &wgpu::Buffer, word: u64, words: u64) -> Read {
        let mut encoder = self.encoder();
        let staging = self.copy(&mut encoder, source, word, words);
        let index = self.submit(encoder);
        Read::start(staging, words * 4, index, &self.device, &self.staging)
    }

    /// Copies words into a staging buffer: one that is free, or a new one.
    fn copy(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        source: &wgpu::Buffer,
        word: u64,
        words: u64,
    ) -> wgpu::Buffer {
        let bytes = words * 4;
        let free = self.staging.lock().ok().and_then(|mut pool| {
            let found = pool.iter().position(|buffer| buffer.size() == bytes.next_multiple_of(256))?;
            Some(pool.swap_remove(found))
        });
        let staging = free.unwrap_or_else(|| {
            self.counts.buffers += 1;
            self.device.buffer("staging", bytes.next_multiple_of(256), STAGING)
        });
        encoder.copy_buffer_to_buffer(source, word * 4, &staging, 0, bytes);
        staging
    }
}

/// Steps of more tokens than this are submitted layer by layer.
const SPLIT_TOKENS: u32 = 8;
