//! The only room that knows wgpu: adapters, a device, pipelines, buffers, and the executor of recordings.
//!
//! In: recordings, words for slots. Out: words read back. Never: model knowledge, or a blocking wait.

pub mod adapter;
mod case_runner;
pub mod conform;
mod device;
mod executor;
mod health;
mod memory;
mod pipelines;
mod poller;
mod readback;
pub mod self_check;

pub use adapter::{Adapter, AdapterInfo};
pub use case_runner::CaseRunner;
pub use device::Device;
pub use executor::{Counts, Executor, Prepared};
pub use memory::DeviceMemory;
pub use readback::Read;
