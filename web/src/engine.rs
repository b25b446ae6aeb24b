//! The engine as JavaScript sees it. One call at a time: its host queues them.

use std::sync::Arc;

use js_sys::{Array, Float32Array, Function, Object, Reflect, Uint32Array};
use lyn::checkpoint::Checkpoint;
use lyn::engine::Progress;
use lyn::generate::{Event, Finish, Request, Selection, TraceRequest, Voice};
use lyn::inspect::model_info::ModelInfo;
use lyn::memory::{CacheType, ContextSize};
use lyn::wire::openai::{ChatRequest, Chunked, Completion, PromptField, Rules, SpeedReport, Stop, TextRequest, Usage};
use lyn::{Attention, Options, Place};
use serde::Deserialize;
use serde_json::{Value, json};
use wasm_bindgen::prelude::*;

use crate::source::{JsSource, Shared};
use crate::value::{Outcome, object, options, thrown};

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
export interface EngineOptions {
  context: number | null;
  maxContext: boolean;
  cacheType: "f32" | "f16" | "fp8";
  dense: boolean;
  indexTopk: number | null;
  force: boolean;
  powerPreference: string | null;
  selfCheck: boolean;
}

export interface EngineTrace {
  /** null: all of them. */
  layers: number[] | null;
  dense: boolean;
}

export interface EngineRequest {
  prompt: string | Uint32Array;
  maxTokens: number | null;
  temperature: number | null;
  topP: number | null;
  seed: number;
  stop: string[];
  trace: EngineTrace | null;
  /** First position whose selection is wanted. */
  from: number;
}

export interface EngineSelection {
  layer: number;
  position: number;
  indices: Uint32Array;
  scores: Float32Array;
  dense?: Float32Array;
  contextLength: number;
}

export type EngineEvent =
  | { type: "prompt"; done: number; total: number; cached: number }
  | { type: "token"; id: number }
  | { type: "text"; text: string; reasoning: boolean }
  | { type: "trace"; selections: EngineSelection[] }
  | { type: "chunk"; chunk: string };

export interface EngineResult {
  promptIds: Uint32Array;
  ids: Uint32Array;
  finish_reason: "stop" | "length" | "tool_calls" | "insufficient_system_resource" | "cancelled";
  usage: any;
  timings: any;
  seed: number;
  /** The whole answer of a chat request, as JSON. */
  response?: string;
}
"#;

#[wasm_bindgen]
extern "C" {
    /// `EngineOptions` of the TypeScript above.
    #[wasm_bindgen(typescript_type = "EngineOptions")]
    pub type JsOptions;
    /// `EngineRequest` of the TypeScript above.
    #[wasm_bindgen(typescript_type = "EngineRequest")]
    pub type JsRequest;
    /// `EngineTrace` of the TypeScript above.
    #[wasm_bindgen(typescript_type = "EngineTrace | null")]
    pub type JsTrace;
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LoadOptions {
    context: Option<u32>,
    max_context: bool,
    cache_type: CacheFormat,
    dense: bool,
    index_topk: Option<u32>,
    force: bool,
    power_preference: Option<String>,
    self_check: bool,
}

/// How the cache is packed.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum CacheFormat {
    F32,
    F16,
    Fp8,
}

impl From<CacheFormat> for CacheType {
    fn from(format: CacheFormat) -> CacheType {
        match format {
            CacheFormat::F32 => CacheType::F32,
            CacheFormat::F16 => CacheType::F16,
            CacheFormat::Fp8 => CacheType::Fp8,
        }
    }
}

impl LoadOptions {
    fn options(&self) -> Options {
        Options {
            device: self.device().to_owned(),
            context: match self.context {
                _ if self.max_context => ContextSize::Max,
                Some(tokens) => ContextSize::Tokens(tokens),
                None => ContextSize::Auto,
            },
            cache_type: Some(self.cache_type.into()),
            attention: attention(self.dense),
            index_topk: self.index_topk,
            force: self.force,
            self_check: self.self_check,
            ..Options::default()
        }
    }

    fn device(&self) -> &str {
        self.power_preference.as_deref().unwrap_or("auto")
    }
}

fn attention(dense: bool) -> Attention {
    if dense { Attention::Dense } else { Attention::Sparse }
}

/// The memory that a model will use: its headers are read, no weight is.
#[wasm_bindgen(unchecked_return_type = "unknown")]
pub async fn plan(source: JsSource, settings: JsOptions) -> Outcome {
    let given: LoadOptions = options(settings.into())?;
    let checkpoint = Checkpoint::open(Shared::source(source)).await.map_err(thrown)?;
    let place = Place::open(given.device()).await.map_err(thrown)?;
    object(&lyn::Engine::plan_for(&checkpoint, place.adapter(), &given.options()).map_err(thrown)?)
}

#[derive(Deserialize)]
struct TraceOptions {
    layers: Option<Vec<u32>>,
    dense: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GenerateRequest {
    max_tokens: Option<u32>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    seed: u64,
    stop: Vec<String>,
    trace: Option<TraceOptions>,
    from: u32,
}

/// A loaded model.
#[wasm_bindgen]
pub struct Engine(lyn::Engine);

#[wasm_bindgen]
impl Engine {
    /// Loads a model. `progress` gets what is done so far and returns false to stop.
    pub async fn load(source: JsSource, settings: JsOptions, progress: Function) -> Result<Engine, JsValue> {
        let given: LoadOptions = options(settings.into())?;
        let mut report = |progress_now: Progress| {
            let told = object(&match progress_now {
                Progress::Upload { done_bytes, total_bytes } => {
                    json!({"stage": "upload", "loaded": done_bytes, "total": total_bytes})
                }
                Progress::Compile { done, total } => json!({"stage": "compile", "done": done, "total": total}),
                Progress::Check => json!({"stage": "check"}),
            });
            told.and_then(|told| progress.call1(&JsValue::NULL, &told)).is_ok_and(|answer| !is_false(&answer))
        };
        lyn::Engine::load(Shared::source(source), &given.options(), &mut report).await.map(Engine).map_err(thrown)
    }

    /// Sizes and abilities of the model.
    #[wasm_bindgen(unchecked_return_type = "unknown")]
    pub fn info(&self) -> Outcome {
        object(&ModelInfo::of(&self.0))
    }

    /// Memory in use.
    #[wasm_bindgen(unchecked_return_type = "unknown")]
    pub fn plan(&self) -> Outcome {
        object(self.0.plan())
    }

    /// Resolves with the error when the device is lost, by destruction too.
    #[wasm_bindgen(unchecked_return_type = "Promise<unknown>")]
    pub fn lost(&self) -> js_sys::Promise {
        let lost = self.0.device_lost();
        wasm_bindgen_futures::future_to_promise(async move { Ok(thrown(lost.await)) })
    }

    /// Completes a text. `event` gets each `EngineEvent` and returns false to stop.
    #[wasm_bindgen(unchecked_return_type = "EngineResult")]
    pub async fn generate(&mut self, request: JsRequest, event: Function) -> Outcome {
        let prompt = Reflect::get(&request, &"prompt".into())?;
        let prompt = match prompt.as_string() {
            Some(text) => PromptField::Text(text),
            None => PromptField::Ids(prompt.dyn_into::<Uint32Array>()?.to_vec()),
        };
        let given: GenerateRequest = options(request.into())?;
        let text = TextRequest {
            prompt,
            max_tokens: given.max_tokens.map(i64::from),
            temperature: given.temperature,
            top_p: given.top_p,
            seed: Some(given.seed.into()),
            stop: Some(Stop::Several(given.stop)),
            ..TextRequest::default()
        };
        let language = self.0.language().map_err(thrown)?;
        let text = text.checked(&Rules::default(), vec![]).and_then(|text| text.to_requests(language));
        let Some(request) = text.map_err(thrown)?.requests.into_iter().next() else { return Ok(JsValue::NULL) };
        // Without a number of tokens the context limits it.
        let request = Request { max_tokens: given.max_tokens, trace: self.trace(given.trace, given.from), ..request };
        self.run(request, None, &event).await
    }

    /// Answers a chat request of OpenAI's form; `created` is the time in seconds. Events are those of `generate` and the
    /// chunks of a stream.
    #[wasm_bindgen(unchecked_return_type = "EngineResult")]
    pub async fn chat(&mut self, request: String, trace: JsTrace, created: f64, event: Function) -> Outcome {
        let chat = ChatRequest::parse(request.as_bytes()).map_err(thrown)?;
        let trace: Option<TraceOptions> = options(trace.into())?;
        let asked = chat.to_request(self.0.language().map_err(thrown)?).map_err(thrown)?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds since 1970")]
        let created = created as u64;
        let language = self.0.language().map_err(thrown)?;
        let completion = chat.completion(language, &asked, format!("chatcmpl-{created:x}"), created);
        let request = Request { trace: self.trace(trace, 0), ..asked.single().map_err(thrown)? };
        self.run(request, Some(completion), &event).await
    }

    /// The tokenizer, which works while the engine is busy.
    pub fn tokenizer(&self) -> Result<Tokenizer, JsValue> {
        self.0.language().map(|language| Tokenizer(Arc::clone(language.tokenizer()))).map_err(thrown)
    }

    /// Whether a template of the checkpoint renders its conversations, which a `Trial` can try.
    #[must_use]
    pub fn has_own_template(&self) -> bool {
        self.0.chat_format().is_own_template()
    }

    /// Ids of a conversation in the checkpoint's own format.
    pub fn render(&self, request: &str) -> Result<Uint32Array, JsValue> {
        let language = self.0.language().map_err(thrown)?;
        let request = ChatRequest::parse(request.as_bytes()).and_then(|chat| chat.to_request(language));
        request.map(|asked| Uint32Array::from(asked.request.prompt.as_slice())).map_err(thrown)
    }

    /// Switches attention; what is cached is forgotten.
    pub fn set_attention(&mut self, dense: bool, index_topk: Option<u32>) {
        self.0.set_attention(attention(dense), index_topk);
    }

    /// Forgets what is cached of the last conversation.
    pub fn reset(&mut self) {
        self.0.reset();
    }

    /// Frees the GPU's memory.
    pub fn close(self) {
        self.0.close();
    }
}

/// Text to ids and back.
#[wasm_bindgen]
pub struct Tokenizer(Arc<lyn::text::Tokenizer>);

#[wasm_bindgen]
impl Tokenizer {
    /// Ids of a text, without the token that begins texts.
    pub fn encode(&self, text: &str) -> Result<Uint32Array, JsValue> {
        let ids = self.0.encode(text, false).map_err(thrown)?;
        Ok(Uint32Array::from(ids.as_slice()))
    }

    /// The text of ids.
    #[must_use]
    pub fn decode(&self, ids: &[u32]) -> String {
        self.0.decode(ids)
    }
}

impl Engine {
    fn trace(&self, wanted: Option<TraceOptions>, from: u32) -> Option<TraceRequest> {
        let TraceOptions { layers, dense } = wanted?;
        Some(TraceRequest { layers: layers.unwrap_or_else(|| (0..self.0.plan().layers).collect()), dense, from })
    }

    async fn run(&mut self, request: Request, mut completion: Option<Completion>, event: &Function) -> Outcome {
        let prompt = Uint32Array::from(request.prompt.as_slice());
        let mut generation = self.0.generate(request).map_err(thrown)?;
        let seed = generation.seed();
        let tell = |value: &JsValue| event.call1(&JsValue::NULL, value).map(|answer| !is_false(&answer));
        let mut finish = None;
        if let Some(first) = completion.as_ref().and_then(|completion| completion.first_chunk(0)) {
            tell(&chunk(&first)?)?;
        }
        while let Some(next) = generation.next().await.map_err(thrown)? {
            if let Event::End { finish: reason, .. } = &next {
                finish = Some(*reason);
            }
            let mut goes_on = true;
            if let Some(value) = event_object(&next)? {
                goes_on &= tell(&value)?;
            }
            if let Some(made) = completion.as_mut().and_then(|completion| completion.chunk(0, &next)) {
                goes_on &= tell(&chunk(&made)?)?;
            }
            if !goes_on && finish.is_none() {
                break;
            }
        }
        let timings = generation.timings();
        let ids = Uint32Array::from(generation.ids());
        drop(generation);
        let (usage, times) = (Usage::from(&timings), SpeedReport::from(&timings));
        let end = object(&json!({
            "finish_reason": finish.map_or("cancelled", Finish::name),
            "usage": usage,
            "timings": times,
            "seed": seed,
        }))?;
        if let Some(completion) = completion {
            if let Some(counts) = completion.usage_chunk() {
                tell(&chunk(&counts)?)?;
            }
            Reflect::set(&end, &"response".into(), &completion.response().to_string().into())?;
        }
        Reflect::set(&end, &"promptIds".into(), &prompt)?;
        Reflect::set(&end, &"ids".into(), &ids)?;
        Ok(end)
    }
}

fn is_false(value: &JsValue) -> bool {
    value.as_bool() == Some(false)
}

fn chunk(value: &Value) -> Outcome {
    record(&[("type", "chunk".into()), ("chunk", value.to_string().into())])
}

/// An event; none for the end, which is the call's result.
fn event_object(event: &Event) -> Result<Option<JsValue>, JsValue> {
    let fields: &[(&str, JsValue)] = match event {
        Event::Prompt { done, total, cached, .. } => &[
            ("type", "prompt".into()),
            ("done", (*done).into()),
            ("total", (*total).into()),
            ("cached", (*cached).into()),
        ],
        Event::Token { id, .. } => &[("type", "token".into()), ("id", (*id).into())],
        Event::Text { voice, text } => {
            &[("type", "text".into()), ("text", text.into()), ("reasoning", (*voice == Voice::Reasoning).into())]
        }
        Event::Trace(selections) => {
            let list = selections.iter().map(selection).collect::<Result<Array, _>>()?;
            &[("type", "trace".into()), ("selections", list.into())]
        }
        // Calls are in the chunks, and log probabilities of prompts are nobody's wish here.
        Event::Spelled(_)
        | Event::Call { .. }
        | Event::Arguments { .. }
        | Event::CallEnd { .. }
        | Event::PromptLogprobs { .. }
        | Event::EndToken { .. }
        | Event::End { .. } => return Ok(None),
    };
    record(fields).map(Some)
}

fn selection(selection: &Selection) -> Outcome {
    let object = record(&[
        ("layer", selection.layer.into()),
        ("position", selection.position.into()),
        ("indices", Uint32Array::from(selection.indices.as_slice()).into()),
        ("scores", Float32Array::from(selection.scores.as_slice()).into()),
        ("contextLength", (selection.position + 1).into()),
    ])?;
    if let Some(dense) = &selection.dense {
        Reflect::set(&object, &"dense".into(), &Float32Array::from(dense.as_slice()))?;
    }
    Ok(object)
}

fn record(fields: &[(&str, JsValue)]) -> Outcome {
    let object = Object::new();
    for (name, value) in fields {
        Reflect::set(&object, &(*name).into(), value)?;
    }
    Ok(object.into())
}
