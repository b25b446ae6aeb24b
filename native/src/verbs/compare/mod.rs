//! Two ways to run a model, by what they expect of a text: a quantisation against its original, sparse against dense attention, a
//! narrow cache against a wide one, one adapter against another, this engine against another one. Exit code 8 where they are farther
//! apart than allowed.

mod args;
mod elsewhere;
mod measure;
mod show;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use lyn::engine::{Attention, Engine, Options};
use lyn::error::{Code, Result, escape};
use lyn::inspect::compare::{PROMPT, Pair};
use lyn::memory::{CacheType, ContextSize};

pub(crate) use args::CompareArgs;
use args::Lengths;
use elsewhere::OtherEngine;
use measure::{Findings, Measuring, Text};
use show::{Shown, Side};

use crate::flags::CacheTypeArg;
use crate::text::quoted;
use crate::{App, Ended, load, model};

/// A text of several kinds, for those who bring none.
const TEXT: &str = include_str!("text.txt");

/// Runs the verb.
pub(crate) fn run(app: &App, options: &CompareArgs) -> Ended {
    let text = match &options.file {
        Some(path) => crate::text::of_file(path)?,
        None => TEXT.to_owned(),
    };
    let (found, sides, engine) = match &options.upstream {
        Some(address) => there(app, options, address, &text)?,
        None => here(app, options, &text)?,
    };
    let passed = options.max_kl.is_none_or(|most| found.comparison.kl.mean <= most);
    let piece = |id: u32| engine.tokenizer().map(|tokenizer| tokenizer.decode(&[id])).unwrap_or_default();
    let report = Shown { options, found: &found, sides: &sides, passed, piece: &piece };
    if app.terminal.json {
        app.terminal.document(&report.document());
    } else {
        app.terminal.bytes(report.text().as_bytes());
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::from(Code::CheckFailed.exit_code()) })
}

/// How a side is set up where it runs here.
struct Setup<'a> {
    model: &'a Path,
    device: &'a str,
    attention: Attention,
    cache_type: Option<CacheTypeArg>,
}

impl<'a> Setup<'a> {
    /// That of the standard.
    fn first(app: &'a App, options: &'a CompareArgs) -> Setup<'a> {
        let CompareArgs { first: model, cache_type, .. } = options;
        Setup { model, device: &app.device, attention: Attention::Sparse, cache_type: *cache_type }
    }
}

/// Both sides here.
fn here(app: &App, options: &CompareArgs, text: &str) -> Result<(Findings, [Side; 2], Engine)> {
    let setup = Setup::first(app, options);
    let other = Setup {
        model: options.second.as_deref().unwrap_or(setup.model),
        device: options.against_device.as_deref().unwrap_or(setup.device),
        attention: if options.dense { Attention::Dense } else { Attention::Sparse },
        cache_type: options.against_cache_type.or(options.cache_type),
    };
    let twice = other.model != setup.model || other.device != setup.device || other.cache_type != setup.cache_type;
    if !twice && !options.dense {
        let message = "nothing to compare: A and B would be the same";
        let help = "give a second model, --dense, --against-device, --against-cache-type or --upstream";
        return Err(super::refuse(message).with_help(help));
    }
    let mut first = load(app, options, &setup)?;
    let tokenizer = Arc::clone(first.language()?.tokenizer());
    let ids = ids_of(&first, text, options.tokens)?;
    let text_of_both = Text { tokenizer: &tokenizer, begin: first.begin(), ids: &ids };
    let measuring = Measuring { app, options, elsewhere: None, text: text_of_both };
    if !twice {
        if first.index_topk().is_none() {
            let message = format!("{} has no indexer: its attention is dense anyway", quoted(setup.model));
            return Err(super::refuse(message));
        }
        let sides = [side(&setup, &mut first), Side { attention: "dense", ..side(&setup, &mut first) }];
        let mut found = measuring.all(&mut Pair::with_dense(&mut first), Some(1))?;
        found.dense_share = measuring.dense_share(&mut first)?;
        return Ok((found, sides, first));
    }
    let mut second = load(app, options, &other)?;
    if ids_of(&second, text, options.tokens)? != ids || second.begin() != first.begin() {
        let names = (quoted(setup.model), quoted(other.model));
        let message = format!("{} and {} cut the text into different tokens", names.0, names.1);
        return Err(super::refuse(message).with_help("compare models with one tokenizer"));
    }
    let sides = [side(&setup, &mut first), side(&other, &mut second)];
    let dense =
        [0, 1].into_iter().find(|&dense| sides[dense].attention == "dense" && sides[1 - dense].attention == "sparse");
    let found = measuring.all(&mut Pair::of(&mut first, &mut second)?, dense)?;
    Ok((found, sides, first))
}

/// The second side behind an address.
fn there(app: &App, options: &CompareArgs, address: &str, text: &str) -> Result<(Findings, [Side; 2], Engine)> {
    let own = [
        ("--dense", options.dense),
        ("--against-device", options.against_device.is_some()),
        ("--against-cache-type", options.against_cache_type.is_some()),
        ("--speed", options.speed.is_some()),
    ];
    if let Some((flag, _)) = own.into_iter().find(|(_, given)| *given) {
        let message = format!("{flag}: with --upstream, B runs elsewhere");
        return Err(super::refuse(message).with_help("set the other engine up where it runs"));
    }
    let elsewhere = OtherEngine::open(app, options, address)?;
    let setup = Setup::first(app, options);
    let mut first = load(app, options, &setup)?;
    let tokenizer = Arc::clone(first.language()?.tokenizer());
    elsewhere.check_tokens(app, &tokenizer, text)?;
    let ids = ids_of(&first, text, options.tokens)?;
    let text = Text { tokenizer: &tokenizer, begin: first.begin(), ids: &ids };
    let sides = [side(&setup, &mut first), Side::elsewhere(&elsewhere)];
    let measuring = Measuring { app, options, elsewhere: Some(&elsewhere), text };
    let found = measuring.all(&mut Pair::alone(&mut first), None)?;
    Ok((found, sides, first))
}

fn load(app: &App, options: &CompareArgs, setup: &Setup<'_>) -> Result<Engine> {
    let wanted = Options {
        device: setup.device.to_owned(),
        context: context(options),
        cache_type: setup.cache_type.map(CacheType::from),
        attention: setup.attention,
        // One for each side where there is one engine, and one that the engine keeps.
        sequences: 3,
        scores_prompts: true,
        memory_bytes: model::available_memory(),
        force: options.force,
        ..Options::default()
    };
    load::engine(app, setup.model, &wanted)
        .map_err(|error| load::without_context(error, "smaller --window, --needles and --speed"))
}

/// Room for every text that is asked for.
fn context(options: &CompareArgs) -> ContextSize {
    if options.needles == Some(Lengths::Auto) || options.speed == Some(Lengths::Auto) {
        return ContextSize::Auto;
    }
    let needles = options.needles.as_ref().and_then(Lengths::longest);
    let speed = options.speed.as_ref().and_then(Lengths::longest).map(|depth| depth.saturating_add(PROMPT + 1));
    ContextSize::Tokens([needles, speed].into_iter().flatten().fold(options.window, u32::max))
}

fn ids_of(engine: &Engine, text: &str, most: u32) -> Result<Vec<u32>> {
    let mut ids = engine.tokenizer()?.encode(text, false)?;
    ids.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    Ok(ids)
}

fn side(setup: &Setup<'_>, engine: &mut Engine) -> Side {
    Side {
        model: setup.model.to_string_lossy().into_owned(),
        place: engine.adapter().map_or_else(|| "host".to_owned(), |info| escape(&info.name)),
        attention: if engine.index_topk().is_some() { "sparse" } else { "dense" },
        cache_type: Some(engine.plan().cache_type.name()),
    }
}
