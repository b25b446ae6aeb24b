//! A loaded model, and what is known of it without asking the engine.

use std::sync::Arc;

use lyn::error::{Code, Error, Result};
use lyn::gpu::AdapterInfo;
use lyn::inspect::model_info::ModelInfo;
use lyn::memory::Plan;
use lyn::{Engine, Language};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::block_store::BlockStore;
use crate::flags::VERSION;

pub(crate) struct ServedModel {
    pub(crate) engine: Engine,
    /// Where blocks of its prefix cache are kept beside the device, for this model on this device.
    pub(crate) blocks: Option<Arc<BlockStore>>,
}

/// What is known of a loaded model without asking the engine.
pub(crate) struct Loaded {
    pub(super) language: Option<Arc<Language>>,
    /// [`ModelInfo`], as fields.
    pub(crate) model: Map<String, Value>,
    /// Memory in use.
    pub(crate) plan: Plan,
    /// Where it runs; none: on the host.
    pub(crate) adapter: Option<AdapterInfo>,
    /// What makes answers: model, version, adapter and the choices that change numbers.
    pub(crate) fingerprint: String,
    /// Where blocks of the prefix cache are kept beside the device.
    pub(crate) blocks: Option<Arc<BlockStore>>,
}

impl Loaded {
    pub(super) fn new(ServedModel { engine, blocks }: &ServedModel) -> Loaded {
        let adapter = engine.adapter().map(|adapter| (&adapter.name, &adapter.driver, &adapter.backend));
        let facts = json!([engine.plan().model_type, engine.plan().formats, engine.index_topk(), VERSION, adapter]);
        let digest = Sha256::digest(facts.to_string());
        let hex: String = digest.iter().take(5).map(|byte| format!("{byte:02x}")).collect();
        let backend = engine.adapter().map_or("host".to_owned(), |adapter| adapter.backend.to_lowercase());
        let model = match json!(ModelInfo::of(engine)) {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        Loaded {
            language: engine.language().ok().cloned(),
            model,
            plan: engine.plan().clone(),
            adapter: engine.adapter().cloned(),
            fingerprint: format!("fp_{hex}_{backend}"),
            blocks: blocks.clone(),
        }
    }

    /// The chat format's name; empty where there is none.
    pub(crate) fn chat_format(&self) -> String {
        self.language.as_ref().and_then(|language| language.chat_format().name()).unwrap_or_default()
    }

    /// What the model knows of text. Errors: `bad_checkpoint` where it has no tokenizer.
    pub(crate) fn language(&self) -> Result<Arc<Language>> {
        let missing = || {
            let message = "the checkpoint has no tokenizer.json: text cannot be tokenized";
            Error::new(Code::BadRequest, message)
        };
        self.language.clone().ok_or_else(missing)
    }
}
