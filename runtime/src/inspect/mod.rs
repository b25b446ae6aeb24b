//! Measuring what the other rooms do: conformance, goldens, benchmarks, traces.

pub mod conform;
pub mod golden;
