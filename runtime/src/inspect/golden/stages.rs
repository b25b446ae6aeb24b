//! Stages, compared value by value.

use serde::Serialize;

use super::expected::Golden;
use super::{LOGITS_TOLERANCE, TOLERANCE};
use crate::error::Result;

/// One stage, over all layers that have it.
#[derive(Clone, Debug, Serialize)]
pub struct StageReport {
    /// `attn_out`, `logits`, …
    pub stage: String,
    /// Largest absolute error; for selections the number of rows that differ.
    pub error: f64,
    /// The error as a share of what is allowed.
    pub worst: f64,
    /// Values compared.
    pub compared: usize,
    /// Whether all are within tolerance.
    pub passed: bool,
    /// Where the worst value is.
    pub note: String,
}

/// The comparisons so far.
pub(super) struct Stages<'g> {
    pub(super) golden: &'g Golden,
    pub(super) reports: Vec<StageReport>,
}

impl Stages<'_> {
    pub(super) fn stage(&mut self, name: &str) -> &mut StageReport {
        let found = self.reports.iter().position(|stage| stage.stage == name);
        let place = found.unwrap_or_else(|| {
            let stage = name.to_owned();
            let empty = StageReport { stage, error: 0.0, worst: 0.0, compared: 0, passed: true, note: String::new() };
            self.reports.push(empty);
            self.reports.len() - 1
        });
        &mut self.reports[place]
    }

    /// A stage with expected values that the model did not produce.
    pub(super) fn missing(&mut self, stage: &str) {
        self.fail(stage, "the model has no such stage, the expected values do".to_owned());
    }

    pub(super) fn fail(&mut self, stage: &str, note: String) {
        let report = self.stage(stage);
        (report.passed, report.note) = (false, note);
    }

    /// Compares a tapped tensor with an expected one, if that is there.
    pub(super) async fn floats(&mut self, stage: &str, name: &str, got: Option<&[f32]>) -> Result<()> {
        if !self.golden.has(name) {
            return Ok(());
        }
        let expected = self.golden.floats(name).await?;
        match got {
            Some(got) if got.len() == expected.len() => {
                let pairs: Vec<_> = got.iter().copied().zip(expected).collect();
                match stage {
                    "logits" | "mtp.logits" => self.absolute(stage, name, &pairs, LOGITS_TOLERANCE),
                    _ => self.pairs(stage, name, &pairs, TOLERANCE),
                }
            }
            Some(got) => {
                self.fail(stage, format!("{name}: expected {} values, found {}", expected.len(), got.len()));
            }
            None => self.missing(stage),
        }
        Ok(())
    }

    /// Values (found, expected) within `tolerance · max(1, max|expected|)`.
    pub(super) fn pairs(&mut self, stage: &str, name: &str, pairs: &[(f32, f32)], tolerance: f64) {
        let largest = pairs.iter().fold(1f64, |most, pair| most.max(f64::from(pair.1.abs())));
        self.absolute(stage, name, pairs, tolerance * largest);
    }

    /// Values (found, expected) within `allowed`.
    pub(super) fn absolute(&mut self, stage: &str, name: &str, pairs: &[(f32, f32)], allowed: f64) {
        let report = self.stage(stage);
        report.compared += pairs.len();
        for (at, &(got, expected)) in pairs.iter().enumerate() {
            let error = (f64::from(got) - f64::from(expected)).abs();
            let share = if error.is_finite() { error / allowed } else { f64::MAX };
            if share > report.worst {
                report.worst = share;
                report.error = error;
                report.note = format!("{name}, element {at}: found {got:e}, expected {expected:e}");
            }
            report.passed &= share <= 1.0;
        }
    }

    /// Rows that must be equal.
    pub(super) fn exact(&mut self, stage: &str, differ: usize, compared: usize, note: String) {
        let report = self.stage(stage);
        report.compared += compared;
        #[expect(clippy::cast_precision_loss, reason = "a count of rows")]
        let rows = differ as f64;
        report.error += rows;
        report.worst = report.worst.max(rows);
        report.passed &= differ == 0;
        if !note.is_empty() {
            report.note = note;
        }
    }
}
