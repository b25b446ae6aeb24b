//! Facts of a model, from its headers.

use std::path::Path;
use std::process::ExitCode;

use lyn::Language;
use lyn::chat::Detected;
use lyn::checkpoint::Checkpoint;
use lyn::memory::bytes;
use lyn::platform::block_on;
use serde_json::{Value, json};

use super::plan::parameters;
use crate::terminal::table::{count, facts};
use crate::text::shown;
use crate::{App, Ended, model};

pub(crate) fn run(app: &App, model: &Path) -> Ended {
    let checkpoint = model::open(model)?;
    let text = block_on(Language::open(&checkpoint))?;
    if app.terminal.json {
        app.terminal.document(&document(model, &checkpoint, text.as_ref()));
    } else {
        app.terminal.bytes(describe(model, &checkpoint, text.as_ref()).as_bytes());
    }
    Ok(ExitCode::SUCCESS)
}

/// The chat format's name, or why there is none.
pub(crate) fn format(text: Option<&Language>) -> String {
    match text.map(Language::chat_format) {
        None => "none: the folder has no tokenizer.json".to_owned(),
        Some(Detected::Raw(why)) => format!("none: {why}"),
        Some(Detected::Template(None)) => "its own Jinja template".to_owned(),
        Some(Detected::Template(Some(calls))) => {
            format!("its own Jinja template, calls as {}", format!("{calls:?}").to_lowercase())
        }
        Some(detected) => detected.name().unwrap_or_default(),
    }
}

fn describe(model: &Path, checkpoint: &Checkpoint, text: Option<&Language>) -> String {
    let (config, totals) = (&checkpoint.config, checkpoint.totals(false));
    let moe = config.layers.iter().take(config.num_hidden_layers as usize).filter(|layer| layer.moe).count();
    let query = config.q_lora_rank.map_or("no q latent".to_owned(), |rank| format!("q_lora_rank {rank}"));
    let mut rows = vec![
        ("model", shown(model)),
        ("architecture", format!("{} · {} parameters", config.model_type, parameters(totals.parameters))),
        ("layers", format!("{}, {moe} with experts · hidden_size {}", config.num_hidden_layers, config.hidden_size)),
        (
            "attention",
            format!(
                "{} heads · {query} · kv_lora_rank {} · head {} + {} rope, value {}",
                config.num_attention_heads,
                config.kv_lora_rank,
                config.qk_nope_head_dim,
                config.qk_rope_head_dim,
                config.v_head_dim
            ),
        ),
        (
            "indexer",
            config.indexer.map_or("none: attention is dense".to_owned(), |indexer| {
                format!(
                    "{} heads × {} · keeps {} tokens",
                    indexer.n_heads,
                    indexer.head_dim,
                    count(indexer.topk.into())
                )
            }),
        ),
        (
            "experts",
            config.router.map_or("none".to_owned(), |router| {
                format!(
                    "{} in {} groups · {} per token · {} shared · width {}",
                    router.n_routed_experts,
                    router.n_group,
                    router.num_experts_per_tok,
                    router.n_shared_experts,
                    router.moe_intermediate_size
                )
            }),
        ),
        ("vocabulary", count(config.vocab_size.into())),
        ("context", format!("{} tokens", count(config.max_position_embeddings.into()))),
    ];
    for (dtype, size) in &totals.bytes_by_dtype {
        rows.push(("stored", format!("{} {dtype}", bytes(*size))));
    }
    let unused = checkpoint.unused_count;
    let unused = if unused > 0 { format!(" · {unused} unused") } else { String::new() };
    rows.push(("tensors", format!("{}{unused}", count(checkpoint.tensors().count() as u64))));
    if checkpoint.prediction_layers > 0 {
        rows.push(("prediction", format!("{} multi-token prediction modules", checkpoint.prediction_layers)));
    }
    rows.push(("chat format", format(text)));
    facts(&rows)
}

fn document(model: &Path, checkpoint: &Checkpoint, text: Option<&Language>) -> Value {
    let (config, totals) = (&checkpoint.config, checkpoint.totals(false));
    let stored: serde_json::Map<String, Value> =
        totals.bytes_by_dtype.iter().map(|(dtype, size)| (dtype.name().to_owned(), json!(size))).collect();
    let format = text.and_then(|language| language.chat_format().name());
    json!({
        "schema": "lyn.show/1",
        "model": model.to_string_lossy(),
        "model_type": config.model_type,
        "parameters": totals.parameters,
        "num_hidden_layers": config.num_hidden_layers,
        "hidden_size": config.hidden_size,
        "num_attention_heads": config.num_attention_heads,
        "q_lora_rank": config.q_lora_rank,
        "kv_lora_rank": config.kv_lora_rank,
        "index_topk": config.indexer.map(|indexer| indexer.topk),
        "n_routed_experts": config.router.map(|router| router.n_routed_experts),
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.max_position_embeddings,
        "stored_bytes": totals.stored_bytes,
        "stored_bytes_by_dtype": stored,
        "tensors": checkpoint.tensors().count(),
        "unused_tensors": checkpoint.unused_count,
        "prediction_layers": checkpoint.prediction_layers,
        "chat_format": format,
    })
}
