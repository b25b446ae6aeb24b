//! The settings file: values for long options where neither a flag nor the environment gives one.
//!
//! In: config.toml, with an option's name as key (`temperature = 0.7`), for all verbs at the top, for one verb in its table
//! (`[generate]`). Out: defaults for the parser. A key that no option has is an error, not ignored.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::{Arg, Command};
use lyn::error::{Code, Error, Result, escape, escape_whole, quote};
use toml::{Table, Value};

use crate::text::{UTF8_HELP, decode, quoted};

/// Options that mean something else under the same name elsewhere, where the environment and the top of the settings file mean that:
/// `LYN_TYPE` is what `quantize` writes, `LYN_FORCE` loads a model that does not fit and replaces no file.
const OWN: [(&str, &str); 3] = [("plan", "type"), ("bench", "type"), ("quantize", "force")];

/// Whether an option of a verb is set by its flag, or in the verb's own part of the settings file, alone.
pub(crate) fn is_own(verb: &str, long: &str) -> bool {
    OWN.contains(&(verb, long))
}

/// The settings in force.
#[derive(Clone, Debug, Default)]
pub(crate) struct SettingsFile {
    /// Where they were looked for; none where the system names no home.
    pub(crate) path: Option<PathBuf>,
    /// Why the file that nobody named could not be read, for a warning.
    pub(crate) unread: Option<String>,
    values: Table,
}

/// The part of a path of this program below a base folder that an environment variable names.
fn below(variable: &str, fallback: &str) -> Option<PathBuf> {
    let absolute = |path: PathBuf| path.is_absolute().then(|| path.join("lyn"));
    let home = || std::env::var_os(if cfg!(windows) { "USERPROFILE" } else { "HOME" }).map(PathBuf::from);
    let given = std::env::var_os(variable).and_then(|path| absolute(path.into()));
    given.or_else(|| absolute(home()?.join(fallback)))
}

/// The folder of this program's settings.
pub(crate) fn config_folder() -> Option<PathBuf> {
    if cfg!(windows) { below("APPDATA", "AppData/Roaming") } else { below("XDG_CONFIG_HOME", ".config") }
}

impl SettingsFile {
    /// Reads the file that `--config`, `LYN_CONFIG` or the system's habit names; the last may be absent. Its keys are the options of
    /// `command`. Errors: `bad_config` with line and column, or with the unknown key.
    pub(crate) fn read(command: &Command) -> Result<SettingsFile> {
        let given = given_path();
        let Some(path) = given.clone().or_else(|| Some(config_folder()?.join("config.toml"))) else {
            return Ok(SettingsFile::default());
        };
        let bad = |message: String| Error::new(Code::BadConfig, format!("{}: {message}", quoted(&path)));
        let bytes = match (std::fs::read(&path), given.is_none()) {
            (Ok(bytes), _) => bytes,
            // A service has a home that is none, such as /dev/null, or that is another's.
            (Err(error), true) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(SettingsFile { path: Some(path), ..SettingsFile::default() });
            }
            (Err(error), true) if error.kind() == ErrorKind::PermissionDenied => {
                let unread = format!("{}: {error}; continuing without settings", quoted(&path));
                return Ok(SettingsFile { path: Some(path), unread: Some(unread), ..SettingsFile::default() });
            }
            (Err(error), _) => return Err(bad(error.to_string())),
        };
        let text = decode(bytes).map_err(|why| bad(why).with_help(UTF8_HELP))?;
        SettingsFile::parse(path, &text, command)
    }

    pub(crate) fn parse(path: PathBuf, text: &str, command: &Command) -> Result<SettingsFile> {
        let shown = quoted(&path);
        let bad = |message: String| Error::new(Code::BadConfig, format!("{shown}: {message}"));
        let values: Table = text.parse().map_err(|error: toml::de::Error| {
            let before = text.get(..error.span().map_or(0, |span| span.start)).unwrap_or(text);
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().map_or(0, |rest| rest.chars().count()) + 1;
            bad(format!("line {line}, column {column}: {}", escape_whole(error.message())))
        })?;
        for (key, value) in &values {
            let verb = command.find_subcommand(key).filter(|_| value.is_table());
            let (table, commands) = match (value, verb) {
                (Value::Table(table), Some(verb)) => (table.clone(), vec![verb, command]),
                (Value::Table(_), None) => return Err(bad(format!("[{}] is not a verb", escape(key)))),
                _ => {
                    let one = Table::from_iter([(key.clone(), value.clone())]);
                    (one, command.get_subcommands().chain([command]).collect())
                }
            };
            for (key, value) in &table {
                let known = |name: &str| commands.iter().any(|command| options(command).any(|o| option_key(o) == name));
                if !known(&key.replace('-', "_")) || strings(value).is_none() || key == "config" {
                    return Err(bad(unknown(key, &commands)));
                }
            }
        }
        Ok(SettingsFile { path: Some(path), values, unread: None })
    }

    /// Makes the settings the defaults of a command's options.
    pub(crate) fn apply(&self, command: Command) -> Command {
        fn set(command: Command, values: &Table, is_top: bool) -> Command {
            let verb = command.get_name().to_owned();
            command.mut_args(|argument| {
                let long = argument.get_long().filter(|long| !(is_top && is_own(&verb, long)));
                let found = long.and_then(|_| lookup(values, &option_key(&argument)));
                match found.and_then(strings) {
                    Some(values) => argument.default_values(values),
                    None => argument,
                }
            })
        }
        let command = set(command, &self.values, true);
        command.mut_subcommands(|verb| {
            let own = self.values.get(verb.get_name()).and_then(Value::as_table).cloned();
            let verb = set(verb, &self.values, true);
            own.iter().fold(verb, |verb, own| set(verb, own, false))
        })
    }

    /// Whether the file sets an option of a verb.
    pub(crate) fn sets(&self, verb: &str, key: &str) -> bool {
        let own = self.values.get(verb).and_then(Value::as_table);
        let top = Some(&self.values).filter(|_| !is_own(verb, key));
        own.into_iter().chain(top).any(|values| lookup(values, key).is_some())
    }
}

/// The path that the user names. The parser cannot say it: it needs the settings first.
fn given_path() -> Option<PathBuf> {
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--") => break,
            Some("--config") => return arguments.next().map(PathBuf::from),
            Some(text) if text.starts_with("--config=") => return text.strip_prefix("--config=").map(PathBuf::from),
            _ => {}
        }
    }
    std::env::var_os(crate::flags::twin("config")).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Options with a long name.
pub(crate) fn options(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|argument| !matches!(argument.get_long(), None | Some("help" | "version")))
}

/// An option's key in the file: `max_tokens`.
pub(crate) fn option_key(argument: &Arg) -> String {
    argument.get_long().unwrap_or_default().replace('-', "_")
}

fn lookup<'a>(values: &'a Table, key: &str) -> Option<&'a Value> {
    values.get(key).or_else(|| values.get(&key.replace('_', "-"))).filter(|value| !value.is_table())
}

/// A value as the command line would spell it; none for tables and dates.
fn strings(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Integer(number) => Some(vec![number.to_string()]),
        Value::Float(number) => Some(vec![number.to_string()]),
        Value::Boolean(flag) => Some(vec![flag.to_string()]),
        Value::Array(values) => values.iter().map(|value| strings(value)?.pop()).collect(),
        Value::Table(_) | Value::Datetime(_) => None,
    }
}

fn unknown(key: &str, commands: &[&Command]) -> String {
    let names = commands.iter().flat_map(|command| options(command).map(option_key));
    let likeness = |name: &String| strsim::jaro_winkler(name, key);
    let best = names.max_by(|a, b| likeness(a).total_cmp(&likeness(b))).filter(|best| likeness(best) > 0.8);
    let hint = best.map(|best| format!("; did you mean {best}?")).unwrap_or_default();
    format!("{} is not a setting{hint}", quote(key))
}

/// The folder of what this program could find out again.
pub(crate) fn cache_folder() -> Option<PathBuf> {
    if cfg!(windows) { below("LOCALAPPDATA", "AppData/Local") } else { below("XDG_CACHE_HOME", ".cache") }
}

/// The folder of blocks of the prefix cache, where no other is named.
pub(crate) fn blocks_folder() -> Option<PathBuf> {
    Some(cache_folder()?.join("blocks"))
}

/// The folder of this program's state, if it has any.
pub(crate) fn state_folder() -> Option<PathBuf> {
    if cfg!(windows) { below("LOCALAPPDATA", "AppData/Local") } else { below("XDG_STATE_HOME", ".local/state") }
}

/// A path for people.
pub(crate) fn shown(path: Option<&Path>) -> String {
    path.map_or_else(|| "none: no home folder is set".to_owned(), crate::text::shown)
}
