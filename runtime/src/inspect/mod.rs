//! Looking at what the other rooms are and do: a model's facts, conformance, goldens, benchmarks, traces.

pub mod bench;
pub mod conform;
pub mod golden;
pub mod model_info;
pub mod self_check;
pub mod trace;
