//! lyn's kernels: WGSL text, host interface, reference and conformance cases. Plain data; no device.
//!
//! A kernel is a folder and a line in [`KERNELS`]; executors, tests, `lyn conform` and the self-check all read that list.

#![expect(
    clippy::cast_possible_truncation,
    reason = "references compute in f64 and store f32; sizes were bounded by the recorder"
)]

pub mod bound;
pub mod cache_parts;
pub mod cache_row;
pub mod case;
pub mod common;
pub mod encodings;
pub mod kernel;

pub mod absorb;
pub mod advance;
pub mod argmax;
pub mod attention_weights;
pub mod cache_write;
pub mod embed;
pub mod expert_bin;
pub mod expert_combine;
pub mod expert_down;
pub mod expert_gate_up;
pub mod experts;
pub mod gather_rows;
pub mod index_key_write;
pub mod index_score;
pub mod linear;
pub mod mla_combine;
pub mod mla_sparse;
pub mod rms_norm;
pub mod rope;
pub mod route;
pub mod swiglu;
pub mod topk;

pub use encodings::{Encoding, Panels};
use experts::data::Setup;
pub use kernel::{Access, Binding, Extent, Field, Interface, Kernel, Slot, Variant};

/// One line of [`KERNELS`].
pub struct Entry {
    /// Name, text and bindings.
    pub interface: &'static Interface,
    /// What proves it.
    pub cases: fn() -> Vec<case::Case>,
}

/// Every kernel there is.
pub static KERNELS: &[Entry] = &[
    Entry { interface: &rms_norm::INTERFACE, cases: rms_norm::cases::cases },
    Entry { interface: &linear::VEC, cases: || linear::cases::cases(false) },
    Entry { interface: &linear::TILE, cases: || linear::cases::cases(true) },
    Entry { interface: &rope::INTERFACE, cases: rope::cases::cases },
    Entry { interface: &index_score::INTERFACE, cases: index_score::cases::cases },
    Entry { interface: &topk::INTERFACE, cases: topk::cases::cases },
    Entry { interface: &cache_write::INTERFACE, cases: cache_write::cases::cases },
    Entry { interface: &index_key_write::INTERFACE, cases: index_key_write::cases::cases },
    Entry { interface: &embed::INTERFACE, cases: embed::cases::cases },
    Entry { interface: &gather_rows::INTERFACE, cases: gather_rows::cases::cases },
    Entry { interface: &argmax::INTERFACE, cases: argmax::cases::cases },
    Entry { interface: &advance::INTERFACE, cases: advance::cases::cases },
    Entry { interface: &absorb::INTERFACE, cases: absorb::cases::cases },
    Entry { interface: &swiglu::INTERFACE, cases: swiglu::cases::cases },
    Entry { interface: &route::INTERFACE, cases: route::cases::cases },
    Entry { interface: &mla_sparse::INTERFACE, cases: mla_sparse::cases::cases },
    Entry { interface: &mla_combine::INTERFACE, cases: mla_combine::cases::cases },
    Entry { interface: &attention_weights::INTERFACE, cases: attention_weights::cases::cases },
    Entry { interface: &expert_bin::INTERFACE, cases: expert_bin::cases::cases },
    Entry { interface: &expert_gate_up::VEC, cases: || expert_gate_up::cases::cases(Setup::all(false)) },
    Entry { interface: &expert_gate_up::TILE, cases: || expert_gate_up::cases::cases(Setup::all(true)) },
    Entry { interface: &expert_down::VEC, cases: || expert_down::cases::cases(Setup::all(false)) },
    Entry { interface: &expert_down::TILE, cases: || expert_down::cases::cases(Setup::all(true)) },
    Entry { interface: &expert_combine::INTERFACE, cases: expert_combine::cases::cases },
];

/// Cases for a quick check, of the kernels whose whole list takes long to build: in the encodings that checkpoints store.
static FEW: &[Entry] = &[
    Entry { interface: &linear::VEC, cases: || linear::cases::few(false) },
    Entry { interface: &linear::TILE, cases: || linear::cases::few(true) },
    Entry { interface: &absorb::INTERFACE, cases: absorb::cases::few },
    Entry { interface: &expert_gate_up::VEC, cases: || expert_gate_up::cases::cases(Setup::few(false)) },
    Entry { interface: &expert_gate_up::TILE, cases: || expert_gate_up::cases::cases(Setup::few(true)) },
    Entry { interface: &expert_down::VEC, cases: || expert_down::cases::cases(Setup::few(false)) },
    Entry { interface: &expert_down::TILE, cases: || expert_down::cases::cases(Setup::few(true)) },
];

impl Entry {
    /// One or two small cases of this kernel, for a check that may take milliseconds.
    #[must_use]
    pub fn few(&self) -> Vec<case::Case> {
        if let Some(few) = FEW.iter().find(|entry| entry.interface.name == self.interface.name) {
            return (few.cases)();
        }
        let mut cases = (self.cases)();
        cases.sort_by_key(|case| case.buffers.iter().map(Vec::len).sum::<usize>());
        cases.truncate(2);
        cases
    }
}
