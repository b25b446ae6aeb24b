//! Two ways to run a model, by what they expect of a text: a quantisation against its original, sparse against dense attention, one
//! adapter against another. Exit code 8 where they are farther apart than allowed.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueHint};
use lyn::engine::{Attention, Engine, Options};
use lyn::error::{Code, Result, escape};
use lyn::inspect::compare::{self, Comparison, DenseShare, Pair};
use lyn::memory::ContextSize;
use lyn::platform::block_on;
use serde_json::{Value, json};

use crate::terminal::StageProgress;
use crate::terminal::progress::Unit;
use crate::terminal::table::{count, facts};
use crate::text::{quoted, shown};
use crate::{App, Ended, flags, load, model};

/// A text of several kinds, for those who bring none.
const TEXT: &str = include_str!("compare.txt");

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// The standard: stories (built in), a folder, or a .safetensors or .gguf file
    #[arg(value_name = "A", default_value = "stories", value_hint = ValueHint::AnyPath)]
    pub(crate) first: PathBuf,
    /// What is measured against it; default: A itself
    #[arg(value_name = "B", value_hint = ValueHint::AnyPath)]
    pub(crate) second: Option<PathBuf>,
    /// Run B with dense attention
    #[arg(long)]
    pub(crate) dense: bool,
    /// Run B on this adapter; default: that of --device
    #[arg(long, value_name = "SEL")]
    pub(crate) against_device: Option<String>,
    /// Text to read; default: a built-in one of about 900 words
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    /// Tokens of a window: how far back a token can look
    #[arg(short, long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(2..))]
    pub(crate) window: u32,
    /// Tokens to read at most
    #[arg(short = 'n', long, value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(2..=10_000_000))]
    pub(crate) tokens: u32,
    /// End with exit code 8 if the mean divergence is larger, in nats
    #[arg(long, value_name = "NATS", value_parser = nats)]
    pub(crate) max_kl: Option<f64>,
    /// Load even if the memory plan does not fit
    ///
    /// A device that then runs out of memory ends the load with out_of_memory; see: lyn plan
    #[arg(long)]
    pub(crate) force: bool,
}

fn nats(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|nats| *nats >= 0.0).ok_or_else(|| "expected a number from 0".to_owned())
}

/// What a side is, for people.
struct Side {
    model: PathBuf,
    device: String,
    attention: &'static str,
}

/// Runs the verb.
pub(crate) fn run(app: &App, options: &CompareArgs) -> Ended {
    let other_model = options.second.as_ref().filter(|second| **second != options.first);
    let other_device = options.against_device.as_ref().filter(|device| **device != app.device);
    if other_model.is_none() && other_device.is_none() && !options.dense {
        let message = "nothing to compare: A and B would be the same";
        return Err(super::refuse(message).with_help("give a second model, --dense or --against-device"));
    }
    let text = match &options.file {
        Some(path) => crate::text::of_file(path)?,
        None => TEXT.to_owned(),
    };
    let attention = if options.dense { Attention::Dense } else { Attention::Sparse };
    let mut first = load(app, options, &options.first, &app.device, Attention::Sparse)?;
    let ids = ids_of(&first, &text, options.tokens)?;
    let begin = first.begin();
    let mut share = None;
    let (comparison, sides) = if other_model.is_none() && other_device.is_none() {
        if first.index_topk().is_none() {
            let message = format!("{} has no indexer: its attention is dense anyway", quoted(&options.first));
            return Err(super::refuse(message));
        }
        let sides = [side(&options.first, &first), Side { attention: "dense", ..side(&options.first, &first) }];
        let comparison = measure(app, Pair::with_dense(&mut first), begin, &ids, options)?;
        share = share_of(&mut first, begin, &ids, options.window)?;
        (comparison, sides)
    } else {
        let model = other_model.unwrap_or(&options.first);
        let device = other_device.unwrap_or(&app.device);
        let mut second = load(app, options, model, device, attention)?;
        if ids_of(&second, &text, options.tokens)? != ids || second.begin() != begin {
            let message =
                format!("{} and {} cut the text into different tokens", quoted(&options.first), quoted(model));
            return Err(super::refuse(message).with_help("compare models with one tokenizer"));
        }
        let sides = [side(&options.first, &first), side(model, &second)];
        (measure(app, Pair::of(&mut first, &mut second), begin, &ids, options)?, sides)
    };
    let passed = options.max_kl.is_none_or(|most| comparison.kl.mean <= most);
    let piece = |id: u32| first.tokenizer().map(|tokenizer| tokenizer.decode(&[id])).unwrap_or_default();
    if app.terminal.json {
        let mut document = document(options, &comparison, &sides, passed, &piece);
        document["dense_share"] = json!(share);
        app.terminal.document(&document);
    } else {
        app.terminal.bytes(describe(options, &comparison, &sides, passed, &piece).as_bytes());
        if let Some(share) = &share {
            app.terminal.bytes(describe_share(share).as_bytes());
        }
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::from(Code::CheckFailed.exit_code()) })
}

fn load(
    app: &App,
    options: &CompareArgs,
    model: &std::path::Path,
    device: &str,
    attention: Attention,
) -> Result<Engine> {
    let wanted = Options {
        device: device.to_owned(),
        context: ContextSize::Tokens(options.window),
        attention,
        // One for each side where there is one engine, and one that the engine keeps.
        sequences: 3,
        scores_prompts: true,
        memory_bytes: model::available_memory(),
        force: options.force,
        ..Options::default()
    };
    load::engine(app, model, &wanted)
}

fn ids_of(engine: &Engine, text: &str, most: u32) -> Result<Vec<u32>> {
    let mut ids = engine.tokenizer()?.encode(text, false)?;
    ids.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    Ok(ids)
}

fn side(model: &std::path::Path, engine: &Engine) -> Side {
    Side {
        model: model.to_owned(),
        device: engine.adapter().map_or_else(|| "host".to_owned(), |info| escape(&info.name)),
        attention: if engine.index_topk().is_some() { "sparse" } else { "dense" },
    }
}

fn measure(app: &App, pair: Pair<'_>, begin: Option<u32>, ids: &[u32], options: &CompareArgs) -> Result<Comparison> {
    let _working = app.interrupt.work();
    let mut progress = StageProgress::new(&app.terminal, "comparing", Unit::Tokens);
    block_on(compare::run(pair, begin, ids, options.window, &mut |done| {
        progress.update(done.into(), ids.len() as u64);
        !app.interrupt.asked()
    }))
}

/// Of the first window: what dense attention would weigh is computed token by token.
fn share_of(engine: &mut Engine, begin: Option<u32>, ids: &[u32], window: u32) -> Result<Option<DenseShare>> {
    let text: Vec<u32> = begin.into_iter().chain(ids.iter().copied()).take(window as usize).collect();
    block_on(compare::dense_share(engine, &text))
}

fn describe_share(share: &DenseShare) -> String {
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let layers: Vec<String> = share.layers.iter().copied().map(percent).collect();
    let tokens = count(share.tokens.into());
    facts(&[
        (
            "selected",
            format!(
                "{} of dense attention, {} at worst, over {tokens} tokens",
                percent(share.mean),
                percent(share.worst)
            ),
        ),
        ("by layer", layers.join(" · ")),
    ])
}

fn describe(
    options: &CompareArgs,
    found: &Comparison,
    sides: &[Side; 2],
    passed: bool,
    piece: &dyn Fn(u32) -> String,
) -> String {
    let names = ["A", "B"].into_iter().zip(sides);
    let mut rows: Vec<(&str, String)> = names
        .zip(found.perplexity.iter().zip(found.tokens_per_second))
        .map(|((name, side), (perplexity, speed))| {
            let about = format!("{} · {} · {}", shown(&side.model), side.device, side.attention);
            (name, format!("{about} · perplexity {perplexity:.4} · {speed:.0} tok/s"))
        })
        .collect();
    let kl = &found.kl;
    rows.push(("tokens", format!("{} in windows of {}", count(found.tokens.into()), options.window)));
    rows.push(("KL(A‖B)", format!("mean {:.3e} · median {:.3e} · 99 % {:.3e} nats", kl.mean, kl.median, kl.p99)));
    rows.push(("worst KL", format!("{:.3e}, after {} tokens", kl.worst, count(kl.worst_at.into()))));
    rows.push(("top-1", format!("{:.2} % the same", found.top1_agreement * 100.0)));
    rows.push((
        "diverges",
        match &found.first_divergence {
            None => "nowhere: both would choose every token alike".to_owned(),
            Some(first) => {
                let [a, b] = first.ids.map(|id| quoted(piece(id)));
                let at = count(first.at.into());
                format!("after {at} tokens: A prefers {a} to {b} by {:.3e} nats", first.margin)
            }
        },
    ));
    if let Some(most) = options.max_kl {
        let verdict = if passed { "PASSED" } else { "FAILED" };
        rows.push(("verdict", format!("{verdict}: mean KL {:.3e}, at most {most:.3e}", kl.mean)));
    }
    facts(&rows)
}

fn document(
    options: &CompareArgs,
    found: &Comparison,
    sides: &[Side; 2],
    passed: bool,
    piece: &dyn Fn(u32) -> String,
) -> Value {
    let side = |place: usize| {
        let Side { model, device, attention } = &sides[place];
        json!({
            "model": model.to_string_lossy(), "device": device, "attention": attention,
            "perplexity": found.perplexity[place], "tokens_per_second": found.tokens_per_second[place],
        })
    };
    let first = found.first_divergence.as_ref().map(
        |first| json!({ "at": first.at, "ids": first.ids, "pieces": first.ids.map(piece), "margin": first.margin }),
    );
    json!({
        "schema": "lyn.compare/1",
        "version": flags::VERSION,
        "text": options.file.as_ref().map(|file| file.to_string_lossy()),
        "window": options.window,
        "tokens": found.tokens,
        "a": side(0),
        "b": side(1),
        "kl": found.kl,
        "top1_agreement": found.top1_agreement,
        "first_divergence": first,
        "max_kl": options.max_kl,
        "passed": passed,
    })
}
