//! The same recordings run by the kernels' references, in the calling thread: for tests and `--device cpu`.
//!
//! Every sum is in f64 and follows the formula, so that this executor can judge the other. Never chosen silently.

use lyn_shaders::{Access, Extent, Slot, kernel};

use crate::error::{Code, Error, Result};
use crate::limits::Limits;
use crate::record::{Recording, Tap, scratch_index};

/// What errors call the host.
pub(crate) const NAME: &str = "this machine";

/// Memory of slots on the host.
pub struct Executor {
    limits: Limits,
    slots: Vec<Vec<u32>>,
    scratch: Vec<Vec<u32>>,
}

impl Executor {
    /// An executor without memory yet; tensors stay within `limits`.
    pub(crate) fn new(limits: Limits) -> Executor {
        Executor { limits, slots: vec![], scratch: vec![] }
    }

    /// Memory for a tensor, zeroed.
    pub(crate) fn allocate(&mut self, name: &str, words: u64) -> Result<Slot> {
        self.limits.tensor(NAME, name, words)?;
        self.slots.push(zeroed(name, words)?);
        u32::try_from(self.slots.len() - 1).map(Slot).map_err(|_| Error::new(Code::Internal, "too many tensors"))
    }

    pub(crate) fn free(&mut self, slot: Slot) {
        if let Some(memory) = self.slots.get_mut(slot.0 as usize) {
            *memory = vec![];
        }
    }

    /// Bytes of all tensors, with the scratch of what was prepared so far.
    pub(crate) fn allocated_bytes(&self) -> u64 {
        self.slots.iter().chain(&self.scratch).map(|memory| memory.len() as u64 * 4).sum()
    }

    pub(crate) fn write(&mut self, slot: Slot, word: u64, words: &[u32]) {
        let target = self.slots.get_mut(slot.0 as usize).zip(usize::try_from(word).ok());
        if let Some(target) = target.and_then(|(all, first)| all.get_mut(first..)?.get_mut(..words.len())) {
            target.copy_from_slice(words);
        }
    }

    /// Makes room for a recording's scratch.
    pub(crate) fn prepare(&mut self, recording: &Recording) -> Result<()> {
        self.limits.scratch(NAME, recording)?;
        for (i, &words) in recording.scratch_words.iter().enumerate() {
            if self.scratch.len() <= i {
                self.scratch.push(Vec::new());
            }
            if (self.scratch[i].len() as u64) < words {
                self.scratch[i] = zeroed("scratch", words)?;
            }
        }
        Ok(())
    }

    /// Runs one step; returns the rows behind the recording's taps, as they were when tapped.
    pub fn run(&mut self, recording: &Recording, extent: &Extent) -> Result<Vec<(Tap, Vec<u32>)>> {
        let mut tapped = Vec::new();
        let mut taps = recording.taps.iter().peekable();
        for at in 0..=recording.passes.len() {
            while let Some(tap) = taps.next_if(|tap| tap.after == at) {
                let words = (tap.columns.stride * tap.rows(extent)) as usize;
                let memory = self.memory(tap.columns.slot)?;
                tapped.push((tap.clone(), memory[..words.min(memory.len())].to_vec()));
            }
            let Some(pass) = recording.passes.get(at) else { break };
            if pass.kernel.workgroups(extent).contains(&0) {
                continue;
            }
            let variant = pass.kernel.variant();
            let bindings = || kernel::bindings(pass.kernel.interface(), &variant);
            let mut taken = Vec::new();
            for (binding, &slot) in bindings().zip(&pass.slots) {
                if binding.access == Access::Write {
                    taken.push((slot, std::mem::take(self.memory_mut(slot)?)));
                }
            }
            let mut reads = Vec::new();
            for (binding, &slot) in bindings().zip(&pass.slots) {
                if binding.access == Access::Read {
                    reads.push(self.memory(slot)?.as_slice());
                }
            }
            let mut writes: Vec<&mut [u32]> = taken.iter_mut().map(|(_, words)| words.as_mut_slice()).collect();
            pass.kernel.reference(extent, &reads, &mut writes);
            for (slot, words) in taken {
                *self.memory_mut(slot)? = words;
            }
        }
        Ok(tapped)
    }

    /// Words of a slot.
    pub fn read(&self, slot: Slot, word: u64, words: u64) -> Result<Vec<u32>> {
        let range = usize::try_from(word).ok().zip(usize::try_from(words).ok());
        let found = range.and_then(|(first, count)| self.memory(slot).ok()?.get(first..)?.get(..count));
        found.map(<[u32]>::to_vec).ok_or_else(|| Error::new(Code::Internal, format!("slot {} is shorter", slot.0)))
    }

    fn memory(&self, slot: Slot) -> Result<&Vec<u32>> {
        let found = match scratch_index(slot) {
            Some(i) => self.scratch.get(i),
            None => self.slots.get(slot.0 as usize),
        };
        found.ok_or_else(|| Error::new(Code::Internal, format!("slot {} has no memory", slot.0)))
    }

    fn memory_mut(&mut self, slot: Slot) -> Result<&mut Vec<u32>> {
        let found = match scratch_index(slot) {
            Some(i) => self.scratch.get_mut(i),
            None => self.slots.get_mut(slot.0 as usize),
        };
        found.ok_or_else(|| Error::new(Code::Internal, format!("slot {} has no memory", slot.0)))
    }
}

fn zeroed(name: &str, words: u64) -> Result<Vec<u32>> {
    let mut memory = Vec::new();
    let count = usize::try_from(words).unwrap_or(usize::MAX);
    memory.try_reserve_exact(count).map_err(|_| {
        Error::new(Code::OutOfMemory, format!("{} bytes for {name} could not be allocated", words.saturating_mul(4)))
    })?;
    memory.resize(count, 0);
    Ok(memory)
}
