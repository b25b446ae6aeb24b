//! Every model stage of every golden folder, on the host and on every adapter. Oracle: `tests/data/golden`.

use std::path::Path;
use std::sync::Arc;

use lyn::checkpoint::FolderSource;
use lyn::inspect::golden;
use lyn::{Place, platform};

#[test]
fn every_golden_folder_on_the_host() {
    check("host", || Place::Host);
}

#[test]
fn every_golden_folder_on_every_adapter() {
    for (name, device) in lyn_conformance::devices() {
        check(&name, || Place::Gpu(Box::new(device.clone())));
    }
}

fn check(device: &str, place: impl Fn() -> Place) {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/golden");
    let mut folders: Vec<_> =
        std::fs::read_dir(&data).expect("test data").filter_map(|entry| Some(entry.ok()?.path())).collect();
    folders.retain(|path| path.join(golden::FILE).exists());
    folders.sort();
    assert_eq!(folders.len(), 18, "golden folders");
    let only = std::env::var("LYN_GOLDEN").unwrap_or_default();
    let mut failures = Vec::new();
    for folder in folders.iter().filter(|folder| folder.to_string_lossy().contains(&only)) {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let source = Arc::new(FolderSource::new(folder).expect("a folder"));
        match platform::block_on(golden::run(source, place())) {
            Ok(report) => {
                let worst = report.stages.iter().fold(0f64, |most, stage| most.max(stage.worst));
                println!("{device}: {name}: {} stages, worst {worst:.3} of tolerance", report.stages.len());
                for stage in report.stages.iter().filter(|stage| !stage.passed) {
                    failures.push(format!(
                        "{device}: {name}: {}: {:.2} of tolerance: {}",
                        stage.stage, stage.worst, stage.note
                    ));
                }
            }
            Err(error) => failures.push(format!("{device}: {name}: {error}")),
        }
    }
    assert!(
        failures.is_empty(),
        "{} stages out of tolerance:\n{}\n  repeat: LYN_GOLDEN=<folder> cargo test -p lyn-conformance --test conformance stages",
        failures.len(),
        failures.join("\n")
    );
}

/// The built-in model's own expectations: prompts with their continuations, each to its last id.
#[test]
fn every_greedy_id_of_a_folder_is_compared() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/stories");
    let source = Arc::new(FolderSource::new(folder).expect("models/stories"));
    let report = platform::block_on(golden::run(source, Place::Gpu(Box::new(lyn_conformance::one_device()))));
    let report = report.expect("a report");
    assert!(report.passed(), "{report:?}");
    let compared = |suffix: &str| -> usize {
        report.stages.iter().filter(|stage| stage.stage.ends_with(suffix)).map(|stage| stage.compared).sum()
    };
    // 9 prompts: 64, 12, 22, 12, 64, 64, 64, 46 and 64 ids.
    assert_eq!((compared(".greedy"), compared(".logits")), (412, 9 * 2048));
}
