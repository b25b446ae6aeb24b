//! Memory that a model will need, from its headers or its config alone; no weights are read.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueHint};
use lyn::checkpoint::{Checkpoint, ModelConfig};
use lyn::error::{Code, Error, Result};
use lyn::memory::{CacheType, ContextSize, Fit, Plan, bytes, cache_rows};
use lyn::platform::block_on;
use lyn::quantize::{Conversion, Mix};
use lyn::{Engine, Options};
use serde_json::json;

use super::place::{adapter, place};
use super::plan_remote::{self, Planning};
use super::quantize::{mix, name_of};
use crate::flags::{CacheTypeArg, context};
use crate::terminal::table::{count, facts};
use crate::{App, Ended, model};

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// stories (built in), a folder, a .safetensors or .gguf file, org/name: see lyn pull, or a config.json without weights
    #[arg(value_name = "MODEL", default_value = "stories", value_hint = ValueHint::AnyPath)]
    pub(crate) model: PathBuf,
    /// Plan the GGUF file that lyn quantize --type TYPE would write of this model
    #[arg(short = 't', long = "type", value_name = "TYPE", value_parser = mix)]
    pub(crate) kind: Option<&'static Mix>,
    /// Context length in tokens, prompt plus answer: a number, auto (up to 8192) or max
    #[arg(short, long, value_name = "N", default_value = "auto", value_parser = context)]
    pub(crate) context: ContextSize,
    /// Prompt tokens per step; default: 128 on software adapters, otherwise 256
    ///
    /// Smaller steps need less scratch memory and read prompts more slowly.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) chunk: Option<u32>,
    /// Number format of the cache: f32, f16 or fp8; default: f32, or f16 if the context would not fit in f32
    ///
    /// Narrower caches take a half or less than a third of the memory and change answers slightly: see docs/performance.md.
    #[arg(long, value_name = "TYPE")]
    pub(crate) cache_type: Option<CacheTypeArg>,
}

/// Runs the verb. A plan that does not fit ends as a load would.
pub(crate) fn run(app: &App, options: &PlanArgs) -> Ended {
    let opened = Planning::read(app, &options.model)?;
    let adapter = adapter(app)?;
    let wanted = Options {
        context: options.context,
        cache_type: options.cache_type.map(CacheType::from),
        chunk: options.chunk,
        memory_bytes: model::available_memory(),
        ..Options::default()
    };
    let (checkpoint, file_bytes) = match (opened, options.kind) {
        (Planning::One(checkpoint), None) => (*checkpoint, None),
        (Planning::One(checkpoint), Some(mix)) => {
            let (checkpoint, file_bytes) = quantized(*checkpoint, mix, &name_of(&options.model))?;
            (checkpoint, Some(file_bytes))
        }
        (Planning::Several(on_hub), None) => return plan_remote::run(app, &on_hub, adapter.as_ref(), &wanted),
        (Planning::Several(on_hub), Some(mix)) => {
            let message = format!("{} has several files, and --type {} is made of one", on_hub.name, mix.name);
            return Err(Error::new(Code::BadRequest, message).with_help("leave --type out, or name a file"));
        }
    };
    let plan = Engine::plan_for(&checkpoint, adapter.as_ref(), &wanted)?;
    let place = place(adapter.as_ref());
    if app.terminal.json {
        app.terminal
            .document(&json!({ "schema": "lyn.plan/1", "model": options.model.to_string_lossy(), "device": place, "plan": plan, "file_bytes": file_bytes }));
    } else {
        let row = cache_row(&checkpoint.config, plan.cache_type);
        app.terminal.bytes(describe(&plan, &row, &place, file_bytes).as_bytes());
    }
    let fits = plan.check();
    match fits {
        Ok(()) => Ok(ExitCode::SUCCESS),
        // The table has said it already.
        Err(error) => Ok(ExitCode::from(error.code().exit_code())),
    }
}

/// The file that quantizing would write, and its length.
fn quantized(checkpoint: Checkpoint, mix: &Mix, name: &str) -> Result<(Checkpoint, u64)> {
    block_on(async {
        let conversion = Conversion::new(checkpoint, mix, name).await?;
        Ok((conversion.unwritten().await?, conversion.file_bytes()))
    })
}

/// Parameters as people say them: `671.0 B`.
pub(crate) fn parameters(number: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a few digits are shown")]
    let number = number as f64;
    match number {
        number if number >= 1e9 => format!("{:.1} B", number / 1e9),
        number if number >= 1e6 => format!("{:.2} M", number / 1e6),
        number => format!("{number}"),
    }
}

/// What the cache keeps of a token in a layer with an indexer of its own: `(512 + 64 + 128) × 4 bytes (f32)`.
fn cache_row(config: &ModelConfig, cache_type: CacheType) -> String {
    let rows = cache_rows(config, cache_type);
    let sum = |parts: Vec<String>| parts.join(" + ");
    match cache_type {
        CacheType::F32 | CacheType::F16 => {
            let elements = rows.iter().flat_map(|row| [row.scaled, row.rest]).filter(|&elements| elements > 0);
            let bytes = if cache_type == CacheType::F32 { 4 } else { 2 };
            format!("({}) × {bytes} bytes ({cache_type})", sum(elements.map(|it| it.to_string()).collect()))
        }
        CacheType::Fp8 => {
            format!("({}) bytes (fp8)", sum(rows.iter().map(|row| (row.words() * 4).to_string()).collect()))
        }
    }
}

fn describe(plan: &Plan, cache_row: &str, place: &str, file_bytes: Option<u64>) -> String {
    let formats: Vec<_> = plan.formats.iter().map(|(dtype, size)| format!("{} {dtype}", bytes(*size))).collect();
    let verdict = match plan.fit {
        Fit::Fits => "FITS",
        Fit::Tight => "TIGHT",
        Fit::DoesNotFit => "DOES NOT FIT",
        Fit::Unknown => "UNKNOWN: the adapter does not report free memory",
    };
    let free = plan.available_bytes.map_or(String::new(), |free| format!(" of {} free", bytes(free)));
    let why = if plan.cache_narrowed { ", since f32 does not fit" } else { "" };
    let parts = if plan.cache_parts > 1 { format!(" in {} bindings", plan.cache_parts) } else { String::new() };
    let mut rows = vec![
        ("model", format!("{} · {} layers · {} parameters", plan.model_type, plan.layers, parameters(plan.parameters))),
        ("weights", format!("{:>10}, stored as {}", bytes(plan.weights_bytes), formats.join(", "))),
        (
            "cache",
            format!(
                "{:>10} = {} tokens × {} layers × {cache_row}{parts}{why}",
                bytes(plan.cache_bytes),
                count(plan.context.into()),
                plan.layers
            ),
        ),
        ("scratch", format!("{:>10} for steps of {} tokens", bytes(plan.scratch_bytes), plan.chunk)),
        ("total", format!("{:>10}{free} on {place}     {verdict}", bytes(plan.total_bytes))),
    ];
    if let Some(file_bytes) = file_bytes {
        rows.insert(1, ("file", format!("{:>10}, to be written by lyn quantize", bytes(file_bytes))));
    }
    rows.extend(plan.limit.iter().map(|limit| ("limit", limit.clone())));
    if let Err(error) = plan.check() {
        rows.push(("remedies", error.help().join(" · ")));
    }
    facts(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_short() {
        assert_eq!([671_026_419_200, 4_450_000, 512].map(parameters), ["671.0 B", "4.45 M", "512"]);
    }

    #[test]
    fn a_cache_in_several_bindings_says_so() {
        let checkpoint = lyn::platform::block_on(lyn::Checkpoint::open(lyn::models::stories())).expect("the model");
        let plan = Engine::plan_for(&checkpoint, None, &Options::default()).expect("a plan");
        let cache = |cache_parts| {
            let shown = describe(&Plan { cache_parts, ..plan.clone() }, "4 bytes (f32)", "a device", None);
            shown.lines().find(|line| line.starts_with("cache")).expect("a line").to_owned()
        };
        assert!(cache(1).ends_with("4 bytes (f32)"), "{}", cache(1));
        assert!(cache(3).ends_with("4 bytes (f32) in 3 bindings"), "{}", cache(3));
    }
}
