//! A checkpoint as a GGUF file in fewer bits.
//!
//! Pieces are read, encoded and written by as many threads as the machine has, each at its own place of a file beside the one that was
//! asked for; only a whole file gets its name.

use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use clap::{Args, ValueHint};
use lyn::checkpoint::gguf_parts;
use lyn::error::{Code, Error, Result};
use lyn::memory::bytes;
use lyn::platform::block_on;
use lyn::quantize::{Conversion, Mix};
use serde_json::json;

use crate::terminal::StageProgress;
use crate::terminal::progress::Unit;
use crate::terminal::table::facts;
use crate::text::{io_error, quoted, shown};
use crate::{App, Ended, model};

/// Bytes of a disk that are left free.
const SPARE: u64 = 64 << 20;

#[derive(Debug, Args)]
pub(crate) struct QuantizeArgs {
    /// stories (built in), a folder, or a .safetensors or .gguf file
    #[arg(value_name = "MODEL", value_hint = ValueHint::AnyPath)]
    pub(crate) model: PathBuf,
    /// File to write, or a folder for MODEL-TYPE.gguf
    #[arg(value_name = "OUT", value_hint = ValueHint::AnyPath)]
    pub(crate) out: PathBuf,
    /// How weights are stored: f32, bf16, f16, q8_0, q6_k, q5_k_m, q5_k_s, q5_1, q5_0, q4_k_m, q4_k_s, q4_1, q4_0, iq4_nl, iq4_xs, mxfp4, q3_k_m or q2_k
    #[arg(short = 't', long = "type", value_name = "TYPE", default_value = "q4_k_m", value_parser = mix)]
    pub(crate) kind: &'static Mix,
    /// Threads; default: one per processor
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) threads: Option<u32>,
    /// Replace OUT, and what an earlier run left beside it, if they exist; only regular files are replaced
    #[arg(long)]
    pub(crate) force: bool,
}

/// The mix of a name, as an argument.
pub(super) fn mix(name: &str) -> Result<&'static Mix, String> {
    let names: Vec<&str> = Mix::ALL.iter().map(|mix| mix.name).collect();
    Mix::named(name).ok_or_else(|| format!("expected one of {}", names.join(", ")))
}

/// Runs the verb.
pub(crate) fn run(app: &App, options: &QuantizeArgs) -> Ended {
    let checkpoint = model::open(&options.model)?;
    let name = name_of(&options.model);
    let out = match options.out.is_dir() {
        true => options.out.join(format!("{name}-{}.gguf", options.kind.name.to_uppercase())),
        false => options.out.clone(),
    };
    if is_of_model(&options.model, checkpoint.source().gguf(), &out) {
        let message = format!("{} is one of the model's own files", quoted(&out));
        return Err(Error::new(Code::Io, message).with_help("give another name"));
    }
    check_free(&out, options.force, "give another name, or --force to replace it")?;
    let source_bytes = checkpoint.totals(true).stored_bytes;
    let conversion = block_on(Conversion::new(checkpoint, options.kind, &name))?;
    for note in conversion.notes() {
        app.terminal.warn("quantize", note);
    }
    if let Some(dtype) = conversion.source_types().first() {
        let text = format!("the checkpoint is quantised already ({dtype}): the original gives a better file");
        app.terminal.warn("quantize", &text);
    }
    let began = Instant::now();
    write(app, options, &conversion, &out)?;
    report(app, options, &conversion, &out, source_bytes, began.elapsed().as_secs_f64());
    Ok(ExitCode::SUCCESS)
}

/// What a model is called by the file or folder that it is.
pub(super) fn name_of(model: &Path) -> String {
    let whole = model.canonicalize().unwrap_or_else(|_| model.to_owned());
    let is_file = whole.is_file();
    let name = if is_file { whole.file_stem() } else { whole.file_name() };
    let name = name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    // A file of weights is named by its folder, a GGUF file by itself.
    let parent = || whole.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    let is_gguf = whole.extension().is_some_and(|extension| extension == "gguf");
    if is_file && !is_gguf { parent().unwrap_or(name) } else { name }
}

/// Whether a file is read as a part of the model: its weights, or what lies beside them. Other GGUF files there are other models.
fn is_of_model(model: &Path, gguf: Option<&str>, out: &Path) -> bool {
    let (Ok(whole), Ok(out)) = (model.canonicalize(), out.canonicalize()) else { return false };
    if whole == out {
        return true;
    }
    // A link to a file stands in another folder than the file.
    let beside = |path: &Path| path.parent().map(|folder| folder.join(out.file_name().unwrap_or_default()));
    let places = if whole.is_dir() {
        [Some(whole.join(out.file_name().unwrap_or_default())), None]
    } else {
        [beside(&whole), beside(model)]
    };
    let is_beside = places.into_iter().flatten().any(|place| place.canonicalize().is_ok_and(|place| place == out));
    let is_part = |file: &str| gguf_parts(file).any(|part| out.ends_with(part));
    let is_other = out.extension().is_some_and(|extension| extension == "gguf") && !gguf.is_some_and(is_part);
    is_beside && !is_other
}

/// Refuses a name that is taken: by a file, unless it may be replaced; by anything else in any case. A link is not followed: the file
/// would take its place, or be written where nobody expects it.
fn check_free(path: &Path, may_replace: bool, help: &str) -> Result<()> {
    let found = match path.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        found => found.map_err(|error| io_error(path, &error))?.file_type(),
    };
    let refused =
        |what: &str, help: &str| Err(Error::new(Code::Io, format!("{} {what}", quoted(path))).with_help(help));
    match (found.is_file(), found.is_symlink()) {
        (true, _) if may_replace => Ok(()),
        (true, _) => refused("exists already", help),
        (_, true) => refused("is a symbolic link, which is not replaced", "remove it, or give another name"),
        _ if found.is_dir() => refused("is a folder, expected a file", "give another name"),
        _ => refused("is a device, a pipe or a socket, expected a file", "give another name"),
    }
}

/// Opens the file in the making, alone. Only a file that this makes, or that may be replaced, is written over.
fn open_part(part: &Path, may_replace: bool) -> Result<File> {
    let failed = |error: &std::io::Error| io_error(part, error);
    let alone = |file: &File| match file.try_lock() {
        Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            let message = format!("{} is being written by another lyn", quoted(part));
            Err(Error::new(Code::Io, message).with_help("wait for it, or give another name"))
        }
    };
    let make = || File::options().create_new(true).write(true).open(part);
    let made = match make() {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            check_free(part, true, "")?;
            let found = File::options().write(true).open(part).map_err(|error| failed(&error))?;
            alone(&found)?;
            let help = "if a run that was cut short left it, remove it or give --force; otherwise give another name";
            check_free(part, may_replace, help)?;
            // The name is taken from it, not its bytes: they may have another name.
            std::fs::remove_file(part).map_err(|error| failed(&error))?;
            make()
        }
        made => made,
    };
    let file = made.map_err(|error| failed(&error))?;
    alone(&file)?;
    Ok(file)
}

/// Writes the whole file beside `out`, then gives it its name.
fn write(app: &App, options: &QuantizeArgs, conversion: &Conversion, out: &Path) -> Result<()> {
    let _working = app.interrupt.work();
    let failed = |error: &std::io::Error| io_error(out, error);
    let folder = out.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        let message = format!("{}: there is no folder {}", quoted(out), quoted(folder));
        return Err(Error::new(Code::Io, message).with_help("make the folder first, or give another name"));
    }
    has_room(folder, conversion.file_bytes())?;
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = out.with_file_name(name);
    let file = open_part(&part, options.force)?;
    let written = (|| {
        file.set_len(0).map_err(|error| failed(&error))?;
        file.set_len(conversion.file_bytes()).map_err(|error| failed(&error))?;
        pieces(app, conversion, &file, out, options.threads)?;
        file.sync_all().map_err(|error| failed(&error))?;
        std::fs::rename(&part, out).map_err(|error| failed(&error))
    })();
    if written.is_err() {
        // The error says what matters.
        let _ = std::fs::remove_file(&part);
    }
    written
}

/// Reads, encodes and writes every piece.
fn pieces(app: &App, conversion: &Conversion, file: &File, out: &Path, threads: Option<u32>) -> Result<()> {
    let place = |at: u64, bytes: &[u8]| -> Result<()> {
        let mut file = file;
        let written = file.seek(SeekFrom::Start(at)).and_then(|_| file.write_all(bytes));
        written.map_err(|error| io_error(out, &error))
    };
    place(0, conversion.header())?;
    let total = conversion.file_bytes();
    let queue = Mutex::new(conversion.pieces());
    // One writes at a time: the file has one position.
    let done =
        Mutex::new((conversion.header().len() as u64, StageProgress::new(&app.terminal, "quantizing", Unit::Bytes)));
    let stop = AtomicBool::new(false);
    let work = || -> Result<()> {
        while !stop.load(Ordering::Relaxed) {
            if app.interrupt.asked() {
                return Err(Error::new(Code::Cancelled, "stopped"));
            }
            let Some(piece) = queue.lock().unwrap_or_else(PoisonError::into_inner).next() else { break };
            let bytes = block_on(conversion.encode(&piece))?;
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            place(piece.offset, &bytes)?;
            done.0 += piece.bytes;
            let so_far = done.0;
            done.1.update(so_far, total);
        }
        Ok(())
    };
    let threads = threads.and_then(|threads| usize::try_from(threads).ok());
    let threads = threads.or_else(|| std::thread::available_parallelism().ok().map(Into::into)).unwrap_or(1);
    let ended: Vec<Result<()>> = std::thread::scope(|scope| {
        let guarded = || {
            let ended = work();
            // The others need not go on.
            stop.fetch_or(ended.is_err(), Ordering::Relaxed);
            ended
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(guarded)).collect();
        let broken = || Error::new(Code::Internal, "a thread that encodes weights panicked");
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| Err(broken()))).collect()
    });
    ended.into_iter().collect()
}

/// Refuses a file that the disk has no room for.
fn has_room(folder: &Path, needed: u64) -> Result<()> {
    #[cfg(unix)]
    if let Ok(disk) = rustix::fs::statvfs(folder) {
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        // A file system without blocks tells no room.
        if disk.f_blocks > 0 && needed.saturating_add(SPARE) > free {
            return Err(no_room(folder, needed, free));
        }
    }
    let _ = (folder, needed);
    Ok(())
}

/// The disk has less than the file and what is left free.
#[cfg_attr(not(unix), expect(dead_code, reason = "asked where the system tells"))]
fn no_room(folder: &Path, needed: u64, free: u64) -> Error {
    let (needed, spare, free) = (bytes(needed), bytes(SPARE), bytes(free));
    let message = format!("the file needs {needed}, and {spare} are left free; {} has {free} free", quoted(folder));
    Error::new(Code::Io, message).with_help("free some space, or use a smaller --type")
}

fn report(app: &App, options: &QuantizeArgs, conversion: &Conversion, out: &Path, source_bytes: u64, seconds: f64) {
    let (sizes, total) = (conversion.bytes_by_type(), conversion.file_bytes());
    let tensors: u64 = sizes.values().sum();
    #[expect(clippy::cast_precision_loss, reason = "a few digits are shown")]
    let bits = tensors as f64 * 8.0 / conversion.parameters().max(1) as f64;
    if app.terminal.json {
        let by_type: serde_json::Map<String, _> =
            sizes.iter().map(|(kind, size)| (kind.name().to_owned(), json!(size))).collect();
        app.terminal.document(&json!({
            "schema": "lyn.quantize/1",
            "model": options.model.to_string_lossy(),
            "file": out.to_string_lossy(),
            "type": options.kind.name,
            "bytes": total,
            "source_bytes": source_bytes,
            "bytes_by_type": by_type,
            "bits_per_weight": bits,
            "seconds": seconds,
        }));
        return;
    }
    let stored: Vec<String> = sizes.iter().map(|(kind, size)| format!("{} {}", bytes(*size), kind.name())).collect();
    let rows = [
        ("file", shown(out)),
        ("size", format!("{}, from {} · {bits:.2} bits per weight", bytes(total), bytes(source_bytes))),
        ("stored", stored.join(", ")),
        ("took", format!("{seconds:.1} s")),
    ];
    app.terminal.bytes(facts(&rows).as_bytes());
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_left_free_is_said() {
        let error = super::no_room(std::path::Path::new("d"), 2 << 20, 5 << 20);
        assert_eq!(error.message(), "the file needs 2.0 MiB, and 64.0 MiB are left free; \"d\" has 5.0 MiB free");
    }
}
