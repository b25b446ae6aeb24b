//! Kernel conformance: every kernel and case on a device against the reference, as tests and `lyn conform` run it.

use lyn_shaders::KERNELS;
use lyn_shaders::bound::Verdict;
use serde::Serialize;

use crate::error::Result;
use crate::gpu::CaseRunner;

/// Outcome of one kernel's cases on one device.
#[derive(Clone, Debug, Serialize)]
pub struct KernelReport {
    /// The kernel's name.
    pub kernel: &'static str,
    /// Cases run.
    pub cases: usize,
    /// Worst error as a share of its bound.
    pub worst: f64,
    /// Cases out of bounds: name, and what was found and expected.
    pub failures: Vec<(String, String)>,
}

/// Runs all cases of the kernels whose name `wanted` accepts.
///
/// # Errors
/// Faults of the device; arithmetic out of bounds is in the report.
pub async fn kernels(runner: &mut CaseRunner, wanted: impl Fn(&str) -> bool) -> Result<Vec<KernelReport>> {
    let mut reports = Vec::new();
    for entry in KERNELS.iter().filter(|entry| wanted(entry.interface.name)) {
        let cases = (entry.cases)();
        let mut report =
            KernelReport { kernel: entry.interface.name, cases: cases.len(), worst: 0.0, failures: Vec::new() };
        for case in &cases {
            match runner.judge(case).await? {
                Verdict::Pass { worst } => report.worst = report.worst.max(worst),
                Verdict::Fail { what, .. } => report.failures.push((case.name.clone(), what)),
            }
        }
        reports.push(report);
    }
    Ok(reports)
}
