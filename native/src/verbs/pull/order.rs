//! What a name means on the Hub: which files of which repository, and why these.

use std::sync::Arc;

use lyn::checkpoint::{Checkpoint, INDEX_FILE, Source, small_file};
use lyn::engine::{Engine, Options};
use lyn::error::{Class, Code, Error, Result, escape};
use lyn::gpu::AdapterInfo;
use lyn::memory::{ContextSize, Fit, Plan, bytes};
use lyn::platform::block_on;

use crate::hub::choice::{Judgement, choose};
use crate::hub::listing::{Listing, RemoteFile};
use crate::hub::selection::{Models, Quantisation, WeightFiles, is_small_file, shards};
use crate::hub::session::Watch;
use crate::hub::{HubName, Session, Surroundings};
use crate::terminal::StageProgress;
use crate::terminal::progress::Unit;
use crate::verbs::place::adapter;
use crate::{App, model};

/// Tokens that a quantisation is to leave room for, where the model allows as many.
const CONTEXT: u32 = 8192;
/// Largest index of shards, in bytes.
const INDEX_BYTES: u64 = 64 << 20;
/// Less than this is downloaded sooner than its headers are read.
const SMALL_BYTES: u64 = 50 << 20;

/// A repository on the Hub, listed.
pub(in crate::verbs) struct OnHub {
    pub(in crate::verbs) session: Session,
    pub(in crate::verbs) name: HubName,
    pub(in crate::verbs) listing: Listing,
    pub(in crate::verbs) models: Models,
}

/// Files that are one model.
pub(in crate::verbs) struct Order {
    /// As `-m` takes it.
    pub(in crate::verbs) name: HubName,
    pub(in crate::verbs) files: Vec<RemoteFile>,
    /// The GGUF file that stands for it.
    pub(in crate::verbs) gguf: Option<String>,
    /// Why it is this one.
    pub(in crate::verbs) reason: Option<String>,
}

impl Order {
    /// Bytes of all files.
    pub(in crate::verbs) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).fold(0, u64::saturating_add)
    }
}

impl OnHub {
    /// Asks what a repository has. Errors: `network`, `unauthorized`, `model_not_found`, `cancelled`.
    pub(in crate::verbs) fn look(app: &App, name: &HubName) -> Result<OnHub> {
        let session = Session::new(&Surroundings::read()?)?;
        let listing = session.list(name, Watch { terminal: &app.terminal, interrupt: &app.interrupt })?;
        let models = Models::of(listing.files.iter().map(|file| (file.path.as_str(), file.size)));
        Ok(OnHub { session, name: name.clone(), listing, models })
    }

    /// A model's headers: of the GGUF file at a path, or of safetensors.
    pub(in crate::verbs) fn checkpoint(&self, gguf: Option<&str>) -> Result<Checkpoint> {
        block_on(Checkpoint::open(self.source(gguf)))
    }

    fn source(&self, gguf: Option<&str>) -> Arc<dyn Source> {
        self.session.source(&self.name, &self.listing, gguf)
    }

    /// Decides which files are meant. Errors: `model_not_found` where there are none, or the name stands for several; `out_of_memory`
    /// where none is named and none fits.
    pub(in crate::verbs) fn order(&self, app: &App) -> Result<Order> {
        let (quantisation, reason) =
            match (self.name.wanted(), self.models.weights, self.models.quantisations.as_slice()) {
                (None, Some(weights), _) => return self.folder(weights),
                (Some(wanted), _, _) => (self.named(wanted)?, None),
                (None, None, []) => {
                    let message = format!("{}: the repository has no model that lyn reads", self.name);
                    let help = "lyn reads config.json with *.safetensors, and *.gguf";
                    return Err(Error::new(Code::ModelNotFound, message).with_help(help));
                }
                (None, None, [only]) => (only, None),
                (None, None, _) => self.chosen(app)?,
            };
        let files = quantisation.parts.iter().map(|part| self.file(part)).collect::<Result<_>>()?;
        let gguf = quantisation.parts.first().cloned();
        let same = self.models.quantisations.iter().filter(|other| other.label == quantisation.label).count();
        // A label that two models share names neither.
        let wanted = if same == 1 { Some(&quantisation.label) } else { gguf.as_ref() };
        Ok(Order { name: self.name.with_wanted(wanted.map(String::as_str)), files, gguf, reason })
    }

    /// The only model of a name behind the colon.
    pub(in crate::verbs) fn named(&self, wanted: &str) -> Result<&Quantisation> {
        let refuse = |what: &str, help: String| {
            Err(Error::new(Code::ModelNotFound, format!("{}: {what}", self.name)).with_help(help))
        };
        match self.models.named(wanted).as_slice() {
            [only] => Ok(only),
            [] if self.models.quantisations.is_empty() => refuse(
                "the repository has no GGUF files",
                format!("give the name alone: {}", self.name.with_wanted(None)),
            ),
            [] => refuse("there is no such quantisation or file", format!("there are {}", self.models.shown())),
            several => {
                let files: Vec<String> =
                    several.iter().filter_map(|it| it.parts.first()).map(|file| escape(file)).collect();
                refuse("that stands for several models", format!("name a file: {}", files.join(", ")))
            }
        }
    }

    /// The one that suits the device.
    fn chosen(&self, app: &App) -> Result<(&Quantisation, Option<String>)> {
        let device = adapter(app)?;
        let mut progress = StageProgress::new(&app.terminal, "reading headers", Unit::Pieces);
        let mut done = 0;
        let choice = choose(&self.models, free_bytes(device.as_ref())?, |quantisation| {
            done += 1;
            progress.update(done, self.models.quantisations.len() as u64);
            let checkpoint = self.checkpoint(quantisation.parts.first().map(String::as_str))?;
            planned(&checkpoint, device.as_ref()).map(|plan| Judgement::of(&plan))
        })?;
        let passed: String = choice.passed.iter().map(|line| format!("; passed over {line}")).collect();
        Ok((choice.quantisation, Some(format!("{}{passed}", choice.reason))))
    }

    /// Weights in safetensors, and what lyn reads beside them.
    fn folder(&self, weights: WeightFiles) -> Result<Order> {
        let small = self.listing.files.iter().filter(|file| is_small_file(&file.path)).cloned();
        let mut files: Vec<RemoteFile> = small.collect();
        match weights {
            WeightFiles::Single(name) => files.push(self.file(name)?),
            WeightFiles::Indexed => {
                files.push(self.file(INDEX_FILE)?);
                let index = block_on(small_file(&*self.source(None), INDEX_FILE, INDEX_BYTES))?;
                let shards = shards(&index).map_err(|what| Error::file(Class::Index, INDEX_FILE, what))?;
                for shard in shards {
                    files.push(self.file(&shard)?);
                }
            }
        }
        Ok(Order { name: self.name.clone(), files, gguf: None, reason: None })
    }

    fn file(&self, path: &str) -> Result<RemoteFile> {
        let found = self.listing.files.iter().find(|file| file.path == path).cloned();
        found.ok_or_else(|| {
            let message = format!("{}: the repository has no {}", self.name, lyn::error::quote(path));
            Error::new(Code::ModelNotFound, message)
                .with_help("the repository is not complete; use another one of this model")
        })
    }

    /// Why a large model will not run here; none where it will, or where that cannot be said.
    pub(in crate::verbs) fn unfit(&self, app: &App, order: &Order) -> Option<String> {
        if order.bytes() < SMALL_BYTES {
            return None;
        }
        let planned = adapter(app)
            .and_then(|device| planned(&self.checkpoint(order.gguf.as_deref())?, device.as_ref()))
            .map_err(|error| format!("lyn cannot run it: {}", error.message()));
        match planned {
            Err(why) => Some(why),
            Ok(Plan { fit: Fit::DoesNotFit, total_bytes, available_bytes, .. }) => {
                let free = available_bytes.map_or(String::new(), |free| format!(" of {} free", bytes(free)));
                Some(format!("it needs {}{free}; see: lyn plan {}", bytes(total_bytes), order.name))
            }
            Ok(_) => None,
        }
    }
}

/// A model's memory on a device, with a context that answers need.
fn planned(checkpoint: &Checkpoint, device: Option<&AdapterInfo>) -> Result<Plan> {
    let context = CONTEXT.min(checkpoint.config.max_position_embeddings);
    Engine::plan_for(checkpoint, device, &options(ContextSize::Tokens(context)))
}

fn options(context: ContextSize) -> Options {
    Options { context, memory_bytes: model::available_memory(), ..Options::default() }
}

/// Memory of a device, as every plan there has it; none where the device does not tell.
pub(in crate::verbs) fn free_bytes(device: Option<&AdapterInfo>) -> Result<Option<u64>> {
    let stories = block_on(Checkpoint::open(lyn::models::stories()))?;
    Ok(Engine::plan_for(&stories, device, &options(ContextSize::Auto))?.available_bytes)
}
