//! Kernel conformance: every kernel and case on a device against the reference, as tests and `lyn conform` run it.

use lyn_shaders::KERNELS;
use lyn_shaders::bound::Verdict;
use serde::Serialize;

use super::{AdapterInfo, CaseRunner, Device};
use crate::error::{Code, Error, Result};
use crate::platform::Instant;

/// All kernels on one device; its JSON is the report file of `lyn conform`.
#[derive(Clone, Debug, Serialize)]
pub struct ConformReport {
    /// `lyn.conform/1`.
    pub schema: &'static str,
    /// The device.
    pub adapter: AdapterInfo,
    /// Whether every case is within its bounds.
    pub passed: bool,
    /// Cases run.
    pub cases: usize,
    /// Wall time.
    pub elapsed_ms: f64,
    /// In the order of the list of kernels.
    pub kernels: Vec<KernelReport>,
}

/// Outcome of one kernel's cases on one device.
#[derive(Clone, Debug, Serialize)]
pub struct KernelReport {
    /// The kernel's name.
    pub kernel: &'static str,
    /// Cases run.
    pub cases: usize,
    /// Worst error as a share of its bound.
    pub worst: f64,
    /// Wall time, compiling included.
    pub ms: f64,
    /// Cases out of bounds.
    pub failures: Vec<Failure>,
}

/// A case out of bounds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The case's name.
    pub case: String,
    /// What was found there, and what was expected.
    pub found: String,
}

/// Names of all kernels.
pub fn names() -> impl Iterator<Item = &'static str> {
    KERNELS.iter().map(|entry| entry.interface.name)
}

/// Runs the kernels whose name `wanted` accepts on a device. `report` hears of each kernel that is done, and returns false
/// to stop.
///
/// # Errors
/// As [`kernels`].
pub async fn run(
    device: Device,
    wanted: impl Fn(&str) -> bool,
    report: &mut dyn FnMut(&KernelReport) -> bool,
) -> Result<ConformReport> {
    let (adapter, started) = (device.info().clone(), Instant::now());
    let kernels = kernels(&mut CaseRunner::new(device), wanted, report).await?;
    Ok(ConformReport {
        schema: "lyn.conform/1",
        adapter,
        passed: kernels.iter().all(|kernel| kernel.failures.is_empty()),
        cases: kernels.iter().map(|kernel| kernel.cases).sum(),
        elapsed_ms: started.elapsed().as_secs_f64() * 1e3,
        kernels,
    })
}

/// Runs all cases of the kernels whose name `wanted` accepts. `report` hears of each kernel that is done, and returns false
/// to stop.
///
/// # Errors
/// Faults of the device; arithmetic out of bounds is in the report. `cancelled`.
pub async fn kernels(
    runner: &mut CaseRunner,
    wanted: impl Fn(&str) -> bool,
    report: &mut dyn FnMut(&KernelReport) -> bool,
) -> Result<Vec<KernelReport>> {
    let mut reports = Vec::new();
    for entry in KERNELS.iter().filter(|entry| wanted(entry.interface.name)) {
        let (started, cases) = (Instant::now(), (entry.cases)());
        let (mut worst, mut failures) = (0f64, Vec::new());
        for case in &cases {
            match runner.judge(case).await? {
                Verdict::Pass { worst: this } => worst = worst.max(this),
                Verdict::Fail { what, .. } => failures.push(Failure { case: case.name.clone(), found: what }),
            }
        }
        let ms = started.elapsed().as_secs_f64() * 1e3;
        let done = KernelReport { kernel: entry.interface.name, cases: cases.len(), worst, ms, failures };
        let go_on = report(&done);
        reports.push(done);
        if !go_on {
            return Err(Error::new(Code::Cancelled, "stopped between kernels"));
        }
    }
    Ok(reports)
}
