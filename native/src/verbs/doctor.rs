//! Diagnosis: what there is, what is wrong with it, and a block fit for an issue report.

use std::process::ExitCode;

use lyn::error::{Result, escape};
use lyn::generate::{Event, Request, SamplingParams};
use lyn::gpu::self_check;
use lyn::gpu::{AdapterInfo, Device, adapter};
use lyn::memory::bytes;
use lyn::platform::block_on;
use lyn::{Engine, Options};
use serde_json::json;

use super::devices;
use crate::hub::surroundings;
use crate::settings::{cache_folder, config_folder, shown, state_folder};
use crate::terminal::table::facts;
use crate::{App, Ended, flags, model};

pub(crate) fn run(app: &App) -> Ended {
    let _working = app.interrupt.work();
    let found = devices::found();
    let chosen = choose(app);
    let limits = chosen.as_ref().map_or_else(|error| Err(error.clone()), limits);
    let check = chosen.as_ref().map_or_else(|error| Err(error.clone()), self_check);
    let story = story(app);
    let said = |result: &Result<String>| match result {
        Ok(found) => found.clone(),
        Err(error) => format!("FAILED {error}; {}", error.help().join(" · ")),
    };
    let memory = model::available_memory().map_or("unknown".to_owned(), |free| format!("{} free", bytes(free)));
    let place = |folder: Option<std::path::PathBuf>| shown(folder.as_deref());
    let rows = [
        ("lyn", flags::VERSION.to_owned()),
        ("system", format!("{} {}, {memory}", std::env::consts::OS, std::env::consts::ARCH)),
        ("settings", place(config_folder().map(|folder| folder.join("config.toml")))),
        ("state", place(state_folder())),
        ("cache", place(cache_folder())),
        ("models", place(surroundings::cache())),
        (
            "device",
            match &chosen {
                Ok(Some(info)) => {
                    let memory = devices::memory(info);
                    let driver = escape(&info.driver);
                    format!("#{} {} ({}, {driver}; memory {memory})", info.index, escape(&info.name), info.backend)
                }
                Ok(None) => "the host references".to_owned(),
                Err(error) => format!("FAILED {error}"),
            },
        ),
        ("limits", said(&limits)),
        ("self-check", said(&check)),
        ("story", said(&story)),
    ];
    let passed = chosen.is_ok() && limits.is_ok() && check.is_ok() && story.is_ok();
    if app.terminal.json {
        let facts: serde_json::Map<_, _> = rows.iter().map(|(name, fact)| ((*name).to_owned(), json!(fact))).collect();
        let adapters = found.map(|found| found.0).unwrap_or_default();
        let adapters: Vec<_> = adapters.iter().map(devices::with_memory).collect();
        app.terminal.document(&json!({
            "schema": "lyn.doctor/1", "passed": passed, "facts": facts, "adapters": adapters,
        }));
    } else {
        let adapters =
            found.map_or_else(|error| format!("{error}\n"), |(all, default)| devices::describe(&all, default));
        let report = format!("{adapters}\nFor an issue report:\n```text\n{}```\n", facts(&rows));
        app.terminal.bytes(report.as_bytes());
    }
    let worst = [chosen.err(), limits.err(), check.err(), story.err()].into_iter().flatten().next();
    Ok(worst.map_or(ExitCode::SUCCESS, |error| ExitCode::from(error.code().exit_code())))
}

/// The adapter that the user's words mean; none for the host.
fn choose(app: &App) -> Result<Option<AdapterInfo>> {
    if app.device == "cpu" {
        return Ok(None);
    }
    block_on(adapter::choose(&app.device)).map(|adapter| Some(adapter.info()))
}

fn open(info: &AdapterInfo, minimum: bool) -> Result<Device> {
    block_on(async { Device::open(&adapter::choose(&info.index.to_string()).await?, minimum).await })
}

fn limits(chosen: &Option<AdapterInfo>) -> Result<String> {
    let Some(info) = chosen else { return Ok("none on the host".to_owned()) };
    open(info, true)?;
    let needs =
        "8 storage buffers, bindings of 128 MiB, buffers of 256 MiB, 128 invocations, 16 KiB of workgroup memory";
    Ok(format!("sufficient for every kernel ({needs})"))
}

/// Every kernel against its reference, in small cases.
fn self_check(chosen: &Option<AdapterInfo>) -> Result<String> {
    let Some(info) = chosen else {
        return Ok("not needed: the host references are the standard of comparison".to_owned());
    };
    let passed = block_on(self_check::run(&open(info, false)?))?;
    Ok(format!("{} cases of {} kernels passed", passed.cases(), passed.kernels.len()))
}

/// The first words of a story.
fn story(app: &App) -> Result<String> {
    let options =
        Options { device: app.device.clone(), context: lyn::memory::ContextSize::Tokens(128), ..Options::default() };
    block_on(async {
        let mut engine = Engine::load(lyn::models::stories(), &options, &mut |_| !app.interrupt.asked()).await?;
        let request = Request {
            sampling: SamplingParams { temperature: 0.0, ..SamplingParams::default() },
            max_tokens: Some(8),
            ..Request::new(engine.raw_prompt("Once upon a time")?)
        };
        let mut generation = engine.generate(request)?;
        let mut text = String::new();
        while let Some(event) = generation.next().await? {
            if let Event::Text { text: more, .. } = event {
                text += &more;
            }
        }
        Ok(format!("Once upon a time{}", escape(&text)))
    })
}
