//! Gets a model from the Hub into the cache: what is meant, which quantisation, and whether it fits, before its weights come.

pub(super) mod order;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use lyn::checkpoint::Checkpoint;
use lyn::error::{Code, Result};
use lyn::memory::bytes;
use lyn::platform::block_on;
use serde_json::{Value, json};

use self::order::{OnHub, Order};
use crate::hub::session::Watch;
use crate::hub::{HubName, Surroundings, cache};
use crate::text::shown;
use crate::{App, Ended, model};

#[derive(Debug, Args)]
pub(crate) struct PullArgs {
    #[arg(
        value_name = "NAME",
        help = "org/name on the Hugging Face Hub; of GGUF files, org/name:Q8_0 or org/name:FILE"
    )]
    pub(crate) name: String,
}

/// Runs the verb: the path of the model on stdout, how it was chosen on stderr.
pub(crate) fn run(app: &App, options: &PullArgs) -> Ended {
    let name = HubName::parse(&options.name)?;
    let surroundings = Surroundings::read()?;
    if surroundings.is_offline
        && let Some(path) = cache::find(&surroundings.cache, &name)?
    {
        app.terminal.note("offline: what is in the cache was not compared with the Hub");
        told(app, &json!({ "name": name.to_string() }), &path);
        return Ok(ExitCode::SUCCESS);
    }
    let on_hub = OnHub::look(app, &name)?;
    let order = on_hub.order(app)?;
    announce(app, &on_hub, &order)?;
    let (path, fetched) = fetch(app, &on_hub, &order)?;
    let what = if fetched == 0 { "already there" } else { "downloaded" };
    // Headers tell what a plan from afar has not: a small model is not planned before it comes.
    match block_on(async { Checkpoint::open(model::source(&path)?).await }) {
        Ok(_) => app.terminal.note(&format!("{what}: lyn generate -m {}", order.name)),
        Err(error) => {
            app.terminal.note(&format!("{what}, as the Hub has it: {}", order.name));
            app.terminal.warn("does_not_load", &format!("lyn cannot run it: {}", error.message()));
        }
    }
    let facts = json!({
        "name": order.name.to_string(), "revision": on_hub.listing.commit, "bytes": order.bytes(), "downloaded_bytes": fetched,
        "reason": order.reason,
    });
    told(app, &facts, &path);
    Ok(ExitCode::SUCCESS)
}

/// Where the model is, and with `--json` what else is known of it.
fn told(app: &App, facts: &Value, path: &Path) {
    if app.terminal.json {
        let mut document = json!({ "schema": "lyn.pull/1", "path": path.to_string_lossy() });
        if let (Some(document), Some(facts)) = (document.as_object_mut(), facts.as_object()) {
            document.extend(facts.clone());
        }
        app.terminal.document(&document);
    } else {
        app.terminal.bytes(format!("{}\n", shown(path)).as_bytes());
    }
}

/// Says before anything is downloaded what it will be, why, and that it will not run here, if so. Errors: `io` where the disk has not
/// enough room.
fn announce(app: &App, on_hub: &OnHub, order: &Order) -> Result<()> {
    if let Some(reason) = &order.reason {
        app.terminal.note(&format!("{} ({}): {reason}", order.name, bytes(order.bytes())));
    }
    on_hub.session.check_room(&on_hub.name, &order.files)?;
    if let Some(warning) = on_hub.unfit(app, order) {
        app.terminal.warn("does_not_fit", &warning);
    }
    Ok(())
}

/// Brings the files. Returns where the model is, and the bytes that came over the network.
fn fetch(app: &App, on_hub: &OnHub, order: &Order) -> Result<(PathBuf, u64)> {
    let watch = Watch { terminal: &app.terminal, interrupt: &app.interrupt };
    let fetched = on_hub.session.fetch(&on_hub.name, &on_hub.listing, &order.files, watch);
    let fetched = fetched.inspect_err(|error| {
        if error.code() == Code::Cancelled {
            app.terminal.note(&format!("stopped; what has come is kept. Go on with: lyn pull {}", order.name));
        }
    })?;
    let folder = on_hub.session.settle(&on_hub.name, &on_hub.listing)?;
    Ok((order.gguf.as_ref().map_or_else(|| folder.clone(), |gguf| folder.join(gguf)), fetched))
}

/// What a model is called on the Hub that is not on this machine; none where it is, or where the Hub is not to be asked.
pub(super) fn absent(model: &Path) -> Result<Option<HubName>> {
    // A mistake in a path is nobody's business.
    let is_path = model.exists() || model.parent().is_some_and(|folder| folder != Path::new("") && folder.is_dir());
    let name = HubName::of_model(&model.to_string_lossy()).filter(|_| !is_path);
    let Some(name) = name else { return Ok(None) };
    let surroundings = Surroundings::read()?;
    let is_here = surroundings.is_offline || cache::find(&surroundings.cache, &name)?.is_some();
    Ok((!is_here).then_some(name))
}

/// Asks whether to get a model that is not there, where someone can answer. Errors: as [`run`]. Where nobody can, or the answer is
/// no, whoever needs the model says that it is not there.
pub(crate) fn offer(app: &App, model: &Path) -> Result<()> {
    let is_watched = app.terminal.stdin_is_terminal() && app.terminal.stderr_is_terminal() && !app.terminal.quiet;
    let name = if is_watched { absent(model)? } else { None };
    let Some(name) = name else { return Ok(()) };
    let on_hub = OnHub::look(app, &name)?;
    let order = on_hub.order(app)?;
    announce(app, &on_hub, &order)?;
    let question = format!(
        "{} is not on this machine. Download {} from {}?",
        order.name,
        bytes(order.bytes()),
        on_hub.session.host()
    );
    if app.terminal.confirms(&question) { fetch(app, &on_hub, &order).map(|_| ()) } else { Ok(()) }
}
