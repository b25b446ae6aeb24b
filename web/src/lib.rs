//! lyn in a browser: the runtime's functions with JavaScript's types, and a [`Source`](lyn::checkpoint::Source) over
//! JavaScript's files. No logic of the model, of chat or of memory lives here.
#![cfg(target_arch = "wasm32")]

mod engine;
mod source;
mod value;

use js_sys::Function;
use lyn::Place;
use lyn::gpu::CaseRunner;
use lyn::inspect::{conform, golden};
use sha2::Digest;
use wasm_bindgen::prelude::*;

pub use engine::Engine;
use source::{JsSource, Shared};
use value::{Outcome, object, thrown};

#[wasm_bindgen(start)]
fn start() {
    console_error_panic_hook::set_once();
}

/// Runs every kernel's cases against their references on this browser's GPU; `done` gets each kernel's report.
#[wasm_bindgen(unchecked_return_type = "unknown")]
pub async fn conform_kernels(done: Function) -> Outcome {
    let Place::Gpu(device) = Place::open("auto", false).await.map_err(thrown)? else {
        return Ok(JsValue::NULL);
    };
    let mut runner = CaseRunner::new(*device);
    let reports = conform::kernels(&mut runner, |_| true).await.map_err(thrown)?;
    let _ = done;
    object(&reports)
}

/// Runs a golden checkpoint's stages against the values in its folder.
#[wasm_bindgen(unchecked_return_type = "unknown")]
pub async fn conform_golden(source: JsSource) -> Outcome {
    let place = Place::open("auto", false).await.map_err(thrown)?;
    object(&golden::run(Shared::new(source), place).await.map_err(thrown)?)
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
