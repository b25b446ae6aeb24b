//! What an adapter allows of one tensor and of one dispatch.
//!
//! In: names and sizes of tensors, recordings. Out: nothing, or `limit_too_small` with what is needed and what is allowed. The
//! same questions are asked by a plan, before anything is allocated, and by the executors, of each tensor that they make.
//! Never: memory as a whole, which is the plan's to judge.

use lyn_shaders::Extent;

use crate::error::{Code, Error, Result, quote};
use crate::record::Recording;

/// Limits of an adapter, as WebGPU counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a buffer.
    pub buffer_bytes: u64,
    /// Bytes of a storage buffer that a kernel can bind.
    pub binding_bytes: u64,
    /// Storage buffers of a kernel.
    pub storage_buffers: u32,
    /// Workgroups in one dimension of a grid.
    pub workgroups: u32,
}

impl Limits {
    /// Those of the host, whose only limit is its memory.
    pub(crate) const HOST: Limits =
        Limits { buffer_bytes: u64::MAX, binding_bytes: u64::MAX, storage_buffers: u32::MAX, workgroups: u32::MAX };

    /// Bytes of the largest tensor.
    pub fn tensor_bytes(&self) -> u64 {
        self.buffer_bytes.min(self.binding_bytes)
    }

    /// Bytes of the largest part of what can be split; on the host as on common adapters.
    pub(crate) fn shard_bytes(&self) -> u64 {
        match self.tensor_bytes() {
            u64::MAX => 1 << 31,
            bytes => bytes,
        }
    }

    /// Whether `place` holds a tensor of so many words.
    ///
    /// # Errors
    /// `limit_too_small` with the tensor, its bytes and those allowed.
    pub(crate) fn tensor(&self, place: &str, name: &str, words: u64) -> Result<()> {
        let (bytes, most) = (words.max(1).saturating_mul(4), self.tensor_bytes());
        if bytes > most {
            let message = format!("{name} needs one {bytes}-byte binding; {} allows {most}", quote(place));
            return Err(Error::new(Code::LimitTooSmall, message));
        }
        Ok(())
    }

    /// Whether `place` holds the scratch of a recording.
    ///
    /// # Errors
    /// As [`Limits::tensor`].
    pub(crate) fn scratch(&self, place: &str, recording: &Recording) -> Result<()> {
        let mut slots = recording.scratch_words.iter().enumerate();
        slots.try_for_each(|(i, &words)| self.tensor(place, &format!("scratch {i}"), words))
    }

    /// Whether `place` runs every pass of a recording for the largest step that it is made for.
    ///
    /// # Errors
    /// `limit_too_small` with the kernel.
    pub(crate) fn passes(&self, place: &str, recording: &Recording, extent: &Extent) -> Result<()> {
        for pass in &recording.passes {
            let kernel = pass.kernel.interface().name;
            let groups = pass.kernel.workgroups(extent).into_iter().max().unwrap_or(0);
            let buffers = u32::try_from(pass.slots.len()).unwrap_or(u32::MAX);
            for (needed, what, most) in
                [(buffers, "storage buffers", self.storage_buffers), (groups, "workgroups in a row", self.workgroups)]
            {
                if needed > most {
                    let message = format!("the kernel {kernel} needs {needed} {what}; {} allows {most}", quote(place));
                    return Err(Error::new(Code::LimitTooSmall, message));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
