//! Every kernel × case × variant on every adapter, with all limits and with minimum limits. Oracle: the references.

use lyn::gpu::CaseRunner;
use lyn::inspect::conform;

#[test]
fn every_case_on_every_adapter() {
    let only = std::env::var("LYN_KERNEL").unwrap_or_default();
    let mut failures = Vec::new();
    for (name, device) in lyn_conformance::devices() {
        let mut runner = CaseRunner::new(device);
        let reports =
            pollster::block_on(conform::kernels(&mut runner, |kernel| kernel.contains(&only))).expect("device");
        assert!(!reports.is_empty(), "no kernel named {only}");
        for report in reports {
            println!("{name}: {}: {} cases, worst {:.2} of bound", report.kernel, report.cases, report.worst);
            for (case, what) in report.failures {
                failures.push(format!(
                    "{name}: {}: {case}: {what}\n  repeat: LYN_KERNEL={} cargo test -p lyn-conformance --test conformance kernels",
                    report.kernel, report.kernel
                ));
            }
        }
    }
    assert!(failures.is_empty(), "{} cases out of bounds:\n{}", failures.len(), failures.join("\n"));
}
