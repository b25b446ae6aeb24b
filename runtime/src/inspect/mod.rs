//! Measuring what the other rooms do: conformance, goldens, benchmarks, traces.

pub mod bench;
pub mod conform;
pub mod golden;
pub mod self_check;
pub mod trace;
