//! A quick check of a device's arithmetic: a case or two of every kernel, before anyone believes what it computes.
//!
//! Drivers that compile a kernel wrongly give fluent nonsense instead of an error. The whole list is `lyn conform`.

use lyn_shaders::KERNELS;
use lyn_shaders::bound::Verdict;
use serde::Serialize;

use super::conform::KernelReport;
use super::{CaseRunner, Device};
use crate::error::{Code, Error, Result, quote};
use crate::platform::Instant;

/// A device whose arithmetic was found right.
#[derive(Clone, Debug, Serialize)]
pub struct SelfCheck {
    /// What was run, by kernel; no report has a failure.
    pub kernels: Vec<KernelReport>,
}

impl SelfCheck {
    /// Cases of all kernels.
    pub fn cases(&self) -> usize {
        self.kernels.iter().map(|report| report.cases).sum()
    }
}

/// Runs one or two small cases of every kernel; one where the adapter is software, which is slow to compile.
///
/// # Errors
/// `self_check_failed` with kernel, case, the value found and the one expected; faults of the device.
pub async fn run(device: &Device) -> Result<SelfCheck> {
    check(device, None).await
}

/// As [`run`], with the kernels' texts changed by `edit`: planted faults.
///
/// # Errors
/// As [`run`].
pub async fn run_edited(device: &Device, edit: impl Fn(&str) -> String) -> Result<SelfCheck> {
    check(device, Some(&edit)).await
}

async fn check(device: &Device, edit: Option<&dyn Fn(&str) -> String>) -> Result<SelfCheck> {
    let mut runner = CaseRunner::new(device.clone());
    let most = if device.info().kind == "software" { 1 } else { usize::MAX };
    let mut kernels = Vec::new();
    for entry in KERNELS {
        let (kernel, started, mut cases) = (entry.interface.name, Instant::now(), entry.few());
        cases.truncate(most);
        let mut worst = 0f64;
        for case in &cases {
            let verdict = match edit {
                Some(edit) => runner.judge_edited(case, edit).await?,
                None => runner.judge(case).await?,
            };
            match verdict {
                Verdict::Pass { worst: this } => worst = worst.max(this),
                Verdict::Fail { what, .. } => return Err(failed(device, kernel, &case.name, &what)),
            }
        }
        let ms = started.elapsed().as_secs_f64() * 1e3;
        kernels.push(KernelReport { kernel, cases: cases.len(), worst, ms, failures: vec![] });
    }
    Ok(SelfCheck { kernels })
}

fn failed(device: &Device, kernel: &str, case: &str, what: &str) -> Error {
    let info = device.info();
    let adapter = format!("#{} {}", info.index, quote(&info.name));
    let message = format!("{adapter} computes wrong values in {kernel}, case {case}: {what}");
    let help =
        format!("update the GPU driver, or choose another adapter: lyn devices; more: lyn conform --kernel {kernel}");
    Error::new(Code::SelfCheckFailed, message)
        .with_help(help)
        .with_detail("kernel", kernel)
        .with_detail("case", case)
        .with_detail("found", what)
}
