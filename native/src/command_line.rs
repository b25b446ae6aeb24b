//! The command line, as it is read: the verb with its options, or an error like any other.
//!
//! In: arguments, the environment, the settings file. Out: [`Cli`], or which of the three has which value that is wrong, what was
//! expected and what was found. Never: the parser's own words.

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use clap::builder::TypedValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, FromArgMatches};
use lyn::error::{Code, Error, Result, escape, escape_whole, quote};

use crate::cli::{self, Cli};
use crate::flags;
use crate::settings::SettingsFile;
use crate::text::quoted;

/// What the user wants.
pub(crate) enum Wish {
    /// A verb, or nothing, with its options.
    Run(Box<Cli>),
    /// Something that the parser has shown already: help, or the version.
    Shown(ExitCode),
}

/// Reads the command line. Errors: `bad_request` for what is wrong in arguments or environment, `bad_config` in the
/// settings file.
pub(crate) fn read(settings: &SettingsFile) -> Result<Wish> {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let refused = match settings.apply(cli::command()).try_get_matches_from(&arguments) {
        Ok(matches) => match Cli::from_arg_matches(&matches) {
            Ok(cli) => return Ok(Wish::Run(Box::new(cli))),
            Err(error) => error,
        },
        Err(error) => error,
    };
    match refused.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(shown(&refused, 0)),
        // A verb of verbs alone: people read which there are.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand if !wants_json() => Ok(shown(&refused, 2)),
        _ => Err(error(&refused, source(&refused, settings, &arguments), settings)),
    }
}

fn shown(error: &clap::Error, code: u8) -> Wish {
    // A reader that has left needs no help.
    let _ = error.print();
    Wish::Shown(ExitCode::from(code))
}

/// Whether errors go to stdout too, before it is known whether the arguments are right.
pub(crate) fn wants_json() -> bool {
    let before = std::env::args_os().take_while(|argument| argument != "--");
    let named = std::env::var(flags::twin("json")).is_ok_and(|value| is_true(&value));
    named || before.skip(1).any(|argument| argument == "--json")
}

/// As the parser reads a switch in the environment.
fn is_true(value: &str) -> bool {
    let parsed = clap::builder::FalseyValueParser::new().parse_ref(&Command::new("lyn"), None, OsStr::new(value));
    parsed.unwrap_or(false)
}

/// Where a value came from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Arguments,
    Settings,
    Environment,
}

/// The first of the three with which the mistake is there: arguments alone, with settings, with the environment too.
fn source(refused: &clap::Error, settings: &SettingsFile, arguments: &[OsString]) -> Origin {
    let same = |command: Command| {
        let other = command.try_get_matches_from(arguments).err();
        let facts = |error: &clap::Error| {
            let kinds = [ContextKind::InvalidArg, ContextKind::InvalidValue, ContextKind::PriorArg];
            (error.kind(), kinds.map(|kind| error.get(kind).cloned()))
        };
        other.is_some_and(|other| facts(&other) == facts(refused))
    };
    if same(cli::command_without_environment()) {
        Origin::Arguments
    } else if same(settings.apply(cli::command_without_environment())) {
        Origin::Settings
    } else {
        Origin::Environment
    }
}

/// The parser's facts in this program's words.
fn error(refused: &clap::Error, origin: Origin, settings: &SettingsFile) -> Error {
    let text = |kind| match refused.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) if !texts.is_empty() => Some(texts.join(" and ")),
        _ => None,
    };
    let name = text(ContextKind::InvalidArg).map(|name| named(&name, origin)).unwrap_or_default();
    let value = text(ContextKind::InvalidValue).filter(|value| !value.is_empty());
    let found = value.as_deref().map_or_else(|| "nothing".to_owned(), as_given);
    let message = match refused.kind() {
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            format!("{name}: expected {}, found {found}", expected(refused))
        }
        ErrorKind::UnknownArgument => {
            format!("unknown option or argument {}", as_given(&text(ContextKind::InvalidArg).unwrap_or_default()))
        }
        ErrorKind::InvalidSubcommand => {
            format!("unknown verb {}", as_given(&text(ContextKind::InvalidSubcommand).unwrap_or_default()))
        }
        ErrorKind::ArgumentConflict => match text(ContextKind::PriorArg) {
            Some(prior) if named(&prior, origin) != name => {
                format!("{name} cannot be used with {}", named(&prior, origin))
            }
            _ => format!("{name} was given more than once"),
        },
        ErrorKind::MissingRequiredArgument => format!("missing argument {name}"),
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            "expected a subcommand".to_owned()
        }
        ErrorKind::InvalidUtf8 => format!("expected UTF-8 text, found {}", not_utf8(origin)),
        // What no option of ours can bring about, in one line.
        _ => escape(refused.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ")),
    };
    match origin {
        Origin::Settings => {
            let path = settings.path.as_deref().map(quoted).unwrap_or_default();
            Error::new(Code::BadConfig, format!("{path}: {message}"))
        }
        Origin::Environment => {
            Error::new(Code::BadRequest, message).with_help("correct or unset this environment variable")
        }
        Origin::Arguments => Error::new(Code::BadRequest, message).with_help(help(refused)),
    }
}

/// An option as its origin spells it: `--seed`, `seed`, `LYN_SEED`.
fn named(argument: &str, origin: Origin) -> String {
    let long = |argument: &str| Some(argument.strip_prefix("--")?.split([' ', '=', '[']).next()?.to_owned());
    let each = argument.split(" and ").map(|argument| match (origin, long(argument)) {
        (Origin::Environment, Some(long)) => {
            let twin = flags::twin(&long);
            // Two that exclude each other may come from both.
            if std::env::var_os(&twin).is_some() { twin } else { format!("--{long}") }
        }
        (Origin::Settings, Some(long)) => long.replace('-', "_"),
        (Origin::Arguments, Some(long)) => format!("--{long}"),
        (_, None) => escape(argument),
    });
    each.collect::<Vec<_>>().join(" and ")
}

/// A word of the user's in quotes, with the bytes that the parser took for no characters.
fn as_given(word: &str) -> String {
    let given = std::env::args_os().find(|argument| argument.to_str().is_none() && argument.to_string_lossy() == word);
    given.map_or_else(|| quote(word), quoted)
}

/// What a value should have been.
fn expected(refused: &clap::Error) -> String {
    if let Some(ContextValue::Strings(words)) = refused.get(ContextKind::ValidValue)
        && let Some((last, others)) = words.split_last()
    {
        return if others.is_empty() { last.clone() } else { format!("{} or {last}", others.join(", ")) };
    }
    let Some(why) = std::error::Error::source(refused).map(|source| escape_whole(&source.to_string())) else {
        return "a value".to_owned();
    };
    let range = why.split_once(" is not in ").and_then(|(_, range)| range.split_once(".."));
    match (range, why.strip_prefix("expected ")) {
        (Some((from, "")), _) => format!("a whole number of at least {from}"),
        (Some((from, to)), _) => format!("a whole number from {from} to {}", to.trim_start_matches('=')),
        (None, Some(expected)) => expected.to_owned(),
        // Rust's own words for numbers.
        _ if why.contains("float") => "a number".to_owned(),
        _ if why.contains("digit") || why.contains("integer") || why.contains("number") => "a whole number".to_owned(),
        _ => why,
    }
}

/// The first value that is not UTF-8, with its variable's name where it is one.
fn not_utf8(origin: Origin) -> String {
    if origin == Origin::Environment {
        let ours = |name: &OsStr| name.to_string_lossy().starts_with("LYN_");
        let found = std::env::vars_os().find(|(name, value)| ours(name) && value.to_str().is_none());
        return found.map(|(name, value)| format!("{} in {}", quoted(value), quoted(name))).unwrap_or_default();
    }
    std::env::args_os().find(|argument| argument.to_str().is_none()).map(quoted).unwrap_or_default()
}

/// The nearest word that there is, or where all of them stand.
fn help(refused: &clap::Error) -> String {
    let nearest = [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue];
    let nearest = nearest.into_iter().find_map(|kind| match refused.get(kind) {
        Some(ContextValue::String(word)) => Some(word.clone()),
        Some(ContextValue::Strings(words)) => words.first().cloned(),
        _ => None,
    });
    if let Some(nearest) = nearest {
        return format!("did you mean {nearest}?");
    }
    if let Some(ContextValue::StyledStrs(hints)) = refused.get(ContextKind::Suggested)
        && hints.iter().any(|hint| hint.to_string().contains("'-- "))
    {
        return "put -- before arguments that begin with a hyphen and are not options".to_owned();
    }
    let command = cli::command_without_environment();
    let verb = std::env::args_os().nth(1).and_then(|verb| verb.into_string().ok());
    let verb = verb.filter(|verb| command.find_subcommand(verb).is_some());
    verb.map_or_else(|| "see: lyn --help".to_owned(), |verb| format!("see: lyn {verb} --help"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Verb;

    fn parse(text: &str) -> Result<SettingsFile> {
        SettingsFile::parse("/x/config.toml".into(), text, &cli::command())
    }

    #[test]
    fn flags_beat_settings_and_settings_beat_defaults() {
        let settings =
            parse("temperature = 0.25\njson = true\n[generate]\nmax-tokens = 9\nstop = [\"a\", \"b\"]\n").unwrap();
        let read = |arguments: &[&str]| {
            let matches = settings.apply(cli::command()).try_get_matches_from(arguments).unwrap();
            Cli::from_arg_matches(&matches).unwrap()
        };
        let cli = read(&["lyn", "generate", "x"]);
        assert!(cli.common.json);
        let Some(Verb::Generate(generate)) = cli.verb else { panic!() };
        assert_eq!((generate.asking.sampling.temperature, generate.asking.answer.max_tokens()), (Some(0.25), Some(9)));
        assert_eq!(generate.asking.answer.stop, ["a", "b"]);
        let Some(Verb::Generate(generate)) = read(&["lyn", "generate", "-t", "0.5"]).verb else { panic!() };
        assert_eq!(generate.asking.sampling.temperature, Some(0.5));
        let Some(Verb::Chat(chat)) = read(&["lyn", "chat"]).verb else { panic!() };
        assert_eq!((chat.sampling.temperature, chat.answer.max_tokens()), (Some(0.25), None));
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (text, expected) in [
            ("a = 1\nb = = 2\n", "line 2, column 5"),
            ("temprature = 1\n", "did you mean temperature?"),
            ("[generated]\n", "[generated] is not a verb"),
            ("[generate]\ndepth = 1\n", "\"depth\" is not a setting"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.code(), Code::BadConfig);
            assert!(error.message().contains(expected), "{error}");
        }
    }
}
