//! lyn in a browser: the runtime's functions with JavaScript's types, and a `lyn::checkpoint::Source` over
//! JavaScript's files. No logic of the model, of chat or of memory lives here.
#![cfg(target_arch = "wasm32")]

mod engine;
mod source;
mod trial;
mod value;

use js_sys::Function;
use lyn::Place;
use lyn::checkpoint::Checkpoint;
use lyn::gpu::{CaseRunner, conform};
use lyn::inspect::golden;
use serde_json::json;
use sha2::Digest;
use wasm_bindgen::prelude::*;

pub use engine::{Engine, Tokenizer, plan};
use source::{JsSource, Shared};
pub use source::{gguf_models, gguf_parts};
pub use trial::{Trial, has_form};
use value::{Outcome, object, thrown};

#[wasm_bindgen]
extern "C" {
    /// Raises the global `error` event.
    #[wasm_bindgen(js_name = reportError)]
    fn report_error(error: &js_sys::Error);
}

/// A panic leaves its promise pending for ever; the host hears of it as an error that nobody caught.
#[wasm_bindgen(start)]
fn start() {
    std::panic::set_hook(Box::new(|info| report_error(&js_sys::Error::new(&info.to_string()))));
}

/// lyn's version.
#[wasm_bindgen]
#[must_use]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

/// Runs every kernel's cases against their references on this browser's GPU; `done` gets each kernel's report and
/// returns false to stop.
#[wasm_bindgen(unchecked_return_type = "unknown")]
pub async fn conform_kernels(device: Option<String>, done: Function) -> Outcome {
    let place = Place::open(device.as_deref().unwrap_or("auto")).await.map_err(thrown)?;
    let Place::Gpu(device) = place else { return Ok(JsValue::NULL) };
    let mut runner = CaseRunner::new((*device).clone());
    let mut tell = |report: &conform::KernelReport| {
        let told = object(report).and_then(|report| done.call1(&JsValue::NULL, &report));
        told.is_ok_and(|answer| answer.as_bool() != Some(false))
    };
    let reports = conform::kernels(&mut runner, |_| true, &mut tell).await.map_err(thrown)?;
    device.destroy();
    object(&reports)
}

/// Checks the files of a model without a GPU: headers, names, shapes, and every value. Gives sums over its tensors.
#[wasm_bindgen(unchecked_return_type = "unknown")]
pub async fn verify(source: JsSource) -> Outcome {
    let checkpoint = Checkpoint::open(Shared::source(source)).await.map_err(thrown)?;
    checkpoint.check_values(&mut |_, _| Ok(())).await.map_err(thrown)?;
    let totals = checkpoint.totals(false);
    object(&json!({"parameters": totals.parameters, "stored_bytes": totals.stored_bytes}))
}

/// Runs a golden checkpoint's stages against the values in its folder.
#[wasm_bindgen(unchecked_return_type = "unknown")]
pub async fn conform_golden(source: JsSource) -> Outcome {
    let place = Place::open("auto").await.map_err(thrown)?;
    object(&golden::run(Shared::source(source), place).await.map_err(thrown)?)
}

/// An incremental SHA-256: the browser's own wants all bytes at once.
#[wasm_bindgen]
#[derive(Default)]
pub struct Sha256(sha2::Sha256);

#[wasm_bindgen]
impl Sha256 {
    /// Of no bytes yet.
    #[wasm_bindgen(constructor)]
    #[must_use]
    pub fn new() -> Sha256 {
        Sha256::default()
    }

    /// Appends bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash in hexadecimal digits.
    #[must_use]
    pub fn finish(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
