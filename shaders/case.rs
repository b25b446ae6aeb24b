//! A case: one kernel with its inputs, and how each output is judged. Tests, `lyn conform` and the self-check run the same.

use crate::bound::Bound;
pub use crate::bound::POISON;
use crate::kernel::{Access, Extent, Kernel, Slot, bindings};

/// A kernel over given buffers.
pub struct Case {
    /// Shape and data in a few words.
    pub name: String,
    /// The kernel; its slots number `buffers`.
    pub kernel: Box<dyn Kernel>,
    /// Words of each slot before the run. Outputs hold [`POISON`] unless the kernel works in place.
    pub buffers: Vec<Vec<u32>>,
    /// The step.
    pub extent: Extent,
    /// One for each slot that the kernel writes, in the order of its interface.
    pub bounds: Vec<Bound>,
}

impl Case {
    /// Slots that the kernel writes, in the order of its interface.
    #[must_use]
    pub fn written(&self) -> Vec<Slot> {
        let variant = self.kernel.variant();
        let bound = bindings(self.kernel.interface(), &variant).zip(self.kernel.slots());
        bound.filter(|(binding, _)| binding.access == Access::Write).map(|(_, slot)| slot).collect()
    }

    /// Contents of the written slots after the reference ran.
    #[must_use]
    pub fn expected(&self) -> Vec<Vec<u32>> {
        run_reference(self.kernel.as_ref(), &self.extent, &self.buffers)
    }
}

/// Runs a kernel's reference over `buffers` (by slot number); returns what it wrote, in the order of the interface.
pub(crate) fn run_reference(kernel: &dyn Kernel, extent: &Extent, buffers: &[Vec<u32>]) -> Vec<Vec<u32>> {
    let (mut reads, mut writes) = (Vec::new(), Vec::new());
    for (binding, slot) in bindings(kernel.interface(), &kernel.variant()).zip(kernel.slots()) {
        let words = &buffers[slot.0 as usize];
        match binding.access {
            Access::Read => reads.push(words.as_slice()),
            Access::Write => writes.push(words.clone()),
        }
    }
    let mut slices: Vec<&mut [u32]> = writes.iter_mut().map(Vec::as_mut_slice).collect();
    kernel.reference(extent, &reads, &mut slices);
    writes
}

/// `count` words of [`POISON`].
#[must_use]
pub fn poison(count: usize) -> Vec<u32> {
    vec![POISON; count]
}

/// The bits of floats.
#[must_use]
pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// A small deterministic generator (splitmix64): the same cases on every machine.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator for a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// The next 32 random bits.
    pub fn word(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u32::try_from((z ^ (z >> 31)) >> 32).unwrap_or(0)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u32) -> u32 {
        u32::try_from((u64::from(self.word()) * u64::from(limit)) >> 32).unwrap_or(0)
    }

    /// A float in [-1, 1).
    pub fn float(&mut self) -> f32 {
        (f64::from(self.word()) / f64::from(1u32 << 31) - 1.0) as f32
    }

    /// Floats in [-1, 1).
    pub fn floats(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.float()).collect()
    }

    /// A permutation of 0..count.
    pub(crate) fn shuffle(&mut self, count: u32) -> Vec<u32> {
        let mut order: Vec<u32> = (0..count).collect();
        for i in (1..count).rev() {
            order.swap(i as usize, self.below(i + 1) as usize);
        }
        order
    }
}

/// Data that has broken kernels before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// Uniform in [-1, 1).
    Random,
    /// All zero.
    Zeros,
    /// All equal.
    Equal,
    /// One element is not zero.
    OneHot,
    /// Large alternating signs that cancel in sums.
    Cancelling,
    /// Exponents spread over 40 powers of two.
    Wide,
    /// f32 subnormals; an adapter may keep or flush them.
    Subnormal,
}

impl Data {
    /// Every kind.
    pub const ALL: [Data; 7] =
        [Data::Random, Data::Zeros, Data::Equal, Data::OneHot, Data::Cancelling, Data::Wide, Data::Subnormal];

    /// `count` floats of this kind.
    #[must_use]
    pub fn floats(self, random: &mut Random, count: usize) -> Vec<f32> {
        let special = random.below(u32::try_from(count.max(1)).unwrap_or(1)) as usize;
        (0..count)
            .map(|i| match self {
                Data::Random => random.float(),
                Data::Zeros => 0.0,
                Data::Equal => 0.75,
                Data::OneHot if i == special => 1.5,
                Data::OneHot => 0.0,
                Data::Cancelling => (if i % 2 == 0 { 1000.0 } else { -1000.0 }) + random.float() * 1e-3,
                Data::Wide => random.float() * 2f32.powi(20 - i32::try_from(random.below(40)).unwrap_or(0)),
                Data::Subnormal => random.float() * 1e-39,
            })
            .collect()
    }

    /// The bound of the normalised mean square error: `random` for random data, none where sums cancel or underflow.
    pub(crate) fn nmse(self, random: f64) -> f64 {
        if self == Data::Random { random } else { f64::INFINITY }
    }
}
