//! One face of the two executors: the GPU's, and the host's for tests and `--device cpu`.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use lyn_shaders::{Extent, Slot};

use crate::error::{Code, Error, Result};
use crate::gpu;
use crate::host;
use crate::record::{Recording, Tap};

/// Runs recordings over the memory of slots.
pub enum Executor {
    /// On a GPU, through wgpu.
    Gpu(Box<gpu::Executor>),
    /// On the host, by the kernels' references.
    Host(host::Executor),
}

/// A recording made ready for its executor.
pub enum Prepared {
    /// With pipelines and bind groups.
    Gpu(gpu::Prepared),
    /// As it is.
    Host(Recording),
}

impl Prepared {
    pub(crate) fn recording(&self) -> &Recording {
        match self {
            Prepared::Gpu(prepared) => prepared.recording(),
            Prepared::Host(recording) => recording,
        }
    }
}

impl Executor {
    /// The device; none on the host.
    pub fn device(&self) -> Option<&gpu::Device> {
        match self {
            Executor::Gpu(gpu) => Some(gpu.device()),
            Executor::Host(_) => None,
        }
    }

    /// Memory for a tensor, zeroed.
    ///
    /// # Errors
    /// `out_of_memory`, `limit_too_small`, `device_lost`.
    pub(crate) async fn allocate(&mut self, name: &str, words: u64) -> Result<Slot> {
        match self {
            Executor::Gpu(gpu) => gpu.allocate(name, words).await,
            Executor::Host(host) => host.allocate(name, words),
        }
    }

    /// Frees a tensor; recordings that use it are of no use any more.
    pub(crate) fn free(&mut self, slot: Slot) {
        match self {
            Executor::Gpu(gpu) => gpu.free(slot),
            Executor::Host(host) => host.free(slot),
        }
    }

    /// Writes words into a slot, in order with the steps before and after.
    pub(crate) fn write(&mut self, slot: Slot, word: u64, words: &[u32]) {
        match self {
            Executor::Gpu(gpu) => gpu.write(slot, word, words),
            Executor::Host(host) => host.write(slot, word, words),
        }
    }

    /// Makes the pipelines of recordings, one after another; preparing them is quick then. `report` hears how many are done
    /// and how many there are in all, and returns false to stop. The host needs none.
    ///
    /// # Errors
    /// `internal` where the driver refuses a kernel, `device_lost`, `cancelled`.
    pub async fn compile(&mut self, recordings: &[Recording], report: &mut dyn FnMut(u32, u32) -> bool) -> Result<()> {
        match self {
            Executor::Gpu(gpu) => gpu.compile(recordings, report).await,
            Executor::Host(_) => Ok(()),
        }
    }

    /// Makes a recording ready.
    pub(crate) async fn prepare(&mut self, recording: Recording) -> Result<Prepared> {
        match self {
            Executor::Gpu(gpu) => gpu.prepare(recording).await.map(Prepared::Gpu),
            Executor::Host(host) => host.prepare(&recording).map(|()| Prepared::Host(recording)),
        }
    }

    /// Runs one step; on a GPU it is in line when this returns, and not yet done. What the recording's taps saw is on its
    /// way.
    ///
    /// # Errors
    /// `device_lost`; `internal` where a recording belongs to another executor.
    pub fn run(&mut self, prepared: &Prepared, extent: &Extent) -> Result<Tapped> {
        match (self, prepared) {
            (Executor::Gpu(gpu), Prepared::Gpu(prepared)) => {
                let tapped = gpu.run(prepared, extent)?;
                Ok(Tapped(tapped.into_iter().map(|(tap, read)| (tap, Read::Gpu(read))).collect()))
            }
            (Executor::Host(host), Prepared::Host(recording)) => {
                let tapped = host.run(recording, extent)?;
                Ok(Tapped(tapped.into_iter().map(|(tap, words)| (tap, Read::Host(Some(words)))).collect()))
            }
            _ => Err(foreign()),
        }
    }

    /// Runs one step and times it on the device, in nanoseconds; none where it has no clock.
    pub(crate) async fn run_timed(&mut self, prepared: &Prepared, extent: &Extent) -> Result<Option<f64>> {
        match (self, prepared) {
            (Executor::Gpu(gpu), Prepared::Gpu(prepared)) => gpu.run_timed(prepared, extent).await,
            (executor, prepared) => executor.run(prepared, extent).map(|_| None),
        }
    }

    /// What was made and encoded so far; nothing on the host.
    pub fn counts(&self) -> gpu::Counts {
        match self {
            Executor::Gpu(gpu) => gpu.counts(),
            Executor::Host(_) => gpu::Counts::default(),
        }
    }

    /// Bytes of all tensors, with the scratch of what was prepared so far.
    pub fn allocated_bytes(&self) -> u64 {
        match self {
            Executor::Gpu(gpu) => gpu.allocated_bytes(),
            Executor::Host(host) => host.allocated_bytes(),
        }
    }

    /// Words of a slot after the steps so far: copied in order with them, awaited whenever the caller likes.
    ///
    /// # Errors
    /// `device_lost`, `internal`.
    pub fn read(&mut self, slot: Slot, word: u64, words: u64) -> Result<Read> {
        match self {
            Executor::Gpu(gpu) => gpu.read(slot, word, words).map(Read::Gpu),
            Executor::Host(host) => host.read(slot, word, words).map(|words| Read::Host(Some(words))),
        }
    }
}

fn foreign() -> Error {
    Error::new(Code::Internal, "a recording was run by an executor that did not prepare it")
}

/// Rows behind the taps of a step, on their way. Dropping it forgets them.
#[derive(Default)]
pub struct Tapped(Vec<(Tap, Read)>);

impl Tapped {
    /// The tapped columns of all rows, in the order of the recording.
    ///
    /// # Errors
    /// `device_lost`.
    pub async fn read(self) -> Result<Vec<(Tap, Vec<u32>)>> {
        let mut tapped = Vec::with_capacity(self.0.len());
        for (tap, read) in self.0 {
            let words = tap.select(&read.await?);
            tapped.push((tap, words));
        }
        Ok(tapped)
    }
}

/// Words on their way.
pub enum Read {
    /// From the GPU.
    Gpu(gpu::Read),
    /// At hand; none once taken.
    Host(Option<Vec<u32>>),
}

impl Future for Read {
    type Output = Result<Vec<u32>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Read::Gpu(read) => Pin::new(read).poll(context),
            Read::Host(words) => Poll::Ready(words.take().ok_or_else(foreign)),
        }
    }
}
