//! The engine as JavaScript sees it. One call at a time: the worker queues.

use js_sys::Function;
use lyn::checkpoint::Checkpoint;
use lyn::memory::ContextSize;
use lyn::{Attention, Options, Place};
use serde::Deserialize;
use wasm_bindgen::prelude::*;

use crate::source::{JsSource, Shared};
use crate::value::{Outcome, object, options, thrown};
use lyn::generate::{Event, Finish, Request, SamplingParams, Voice};
use serde_json::json;

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct LoadOptions {
    context: Option<u32>,
    dense: bool,
    index_topk: Option<u32>,
    force: bool,
}

/// A loaded model.
#[wasm_bindgen]
pub struct Engine(lyn::Engine);

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct GenerateOptions {
    max_tokens: Option<u32>,
    temperature: Option<f32>,
}

#[wasm_bindgen]
impl Engine {
    /// Loads.
    pub async fn load(source: JsSource, settings: JsValue, progress: Function) -> Result<Engine, JsValue> {
        let given: LoadOptions = options(settings)?;
        let checkpoint = Checkpoint::open(Shared::new(source)).await.map_err(thrown)?;
        let place = Place::open("auto", false).await.map_err(thrown)?;
        let wanted = Options {
            context: given.context.map_or(ContextSize::Auto, ContextSize::Tokens),
            attention: if given.dense { Attention::Dense } else { Attention::Sparse },
            index_topk: given.index_topk,
            force: given.force,
            ..Options::default()
        };
        let mut report = |step: lyn::engine::Progress| {
            progress.call1(&JsValue::NULL, &JsValue::from_f64(step.done_bytes as f64)).is_ok()
        };
        let engine = lyn::Engine::load_on(checkpoint, place, &wanted, &mut report).await.map_err(thrown)?;
        Ok(Engine(engine))
    }

    /// Adapter.
    pub fn adapter(&self) -> Outcome {
        object(&self.0.adapter())
    }

    /// Generates.
    pub async fn generate(&mut self, prompt: String, settings: JsValue, event: Function) -> Outcome {
        let given: GenerateOptions = options(settings)?;
        let ids = self.0.raw_prompt(&prompt).map_err(thrown)?;
        let request = Request {
            max_tokens: given.max_tokens,
            sampling: SamplingParams { temperature: given.temperature.unwrap_or(0.0), ..SamplingParams::default() },
            ..Request::new(ids)
        };
        let mut generation = self.0.generate(request).map_err(thrown)?;
        let mut end = json!(null);
        while let Some(next) = generation.next().await.map_err(thrown)? {
            match next {
                Event::Text { voice, text } => {
                    let _ = event.call2(&JsValue::NULL, &text.into(), &(voice == Voice::Reasoning).into());
                }
                Event::End { finish, timings } => {
                    end = json!({"finish": if finish == Finish::Stop {"stop"} else {"length"}, "n": timings.completion_tokens, "ms": timings.decode_ms, "first": timings.first_token_ms});
                }
                _ => {}
            }
        }
        object(&end)
    }
}
