//! Every kernel × case × variant on every adapter, with all limits and with minimum limits. Oracle: the references.

use lyn::gpu::CaseRunner;
use lyn::gpu::conform::{self, Failure};
use lyn::gpu::self_check;
use lyn::{Code, Result};

#[test]
fn every_case_on_every_adapter() {
    let only = std::env::var("LYN_KERNEL").unwrap_or_default();
    let mut failures = Vec::new();
    for (name, device) in lyn_conformance::devices() {
        let mut runner = CaseRunner::new(device);
        let reports = pollster::block_on(conform::kernels(&mut runner, |kernel| kernel.contains(&only), &mut |_| true))
            .expect("device");
        assert!(!reports.is_empty(), "no kernel named {only}");
        for report in reports {
            println!("{name}: {}: {} cases, worst {:.2} of bound", report.kernel, report.cases, report.worst);
            for Failure { case, found } in report.failures {
                failures.push(format!(
                    "{name}: {}: {case}: {found}\n  repeat: LYN_KERNEL={} cargo test -p lyn-conformance --test conformance kernels",
                    report.kernel, report.kernel
                ));
            }
        }
    }
    assert!(failures.is_empty(), "{} cases out of bounds:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn the_self_check_passes_quickly_and_finds_planted_faults() {
    for (name, device) in lyn_conformance::devices() {
        let started = std::time::Instant::now();
        let passed = pollster::block_on(self_check::run(&device)).unwrap_or_else(|error| panic!("{name}: {error}"));
        println!("{name}: {} cases in {:?}", passed.cases(), started.elapsed());
        assert_eq!(passed.kernels.len(), conform::names().count());
        assert!(passed.kernels.iter().all(|kernel| kernel.cases > 0));
    }
    let (kernel, right, wrong) = ("rms_norm", "inverseSqrt(", "1.001 * inverseSqrt(");
    let device = lyn_conformance::one_device();
    let error = pollster::block_on(self_check::run_edited(&device, |source| source.replace(right, wrong))).unwrap_err();
    assert_eq!(error.code(), Code::SelfCheckFailed);
    for part in [kernel, "case ", "got ", "expected "] {
        assert!(error.message().contains(part), "{part} is not in {error}");
    }
    assert_eq!(error.details()["kernel"], kernel);
}

#[test]
fn conformance_stops_between_kernels() {
    let mut seen = Vec::new();
    let stopped: Result<_> = pollster::block_on(conform::run(lyn_conformance::one_device(), |_| true, &mut |report| {
        seen.push(report.kernel);
        seen.len() < 2
    }));
    assert_eq!(stopped.map(|_| ()).map_err(|error| error.code()), Err(Code::Cancelled));
    assert_eq!(seen, conform::names().take(2).collect::<Vec<_>>());
}
