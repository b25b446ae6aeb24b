//! Looking at what the other rooms are and do: a model's facts, goldens, benchmarks and models for them, comparisons, traces.

pub mod bench;
pub mod compare;
pub mod golden;
pub mod model_info;
pub mod synthetic;
pub mod trace;
