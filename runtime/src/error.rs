//! The one error type of every surface: made where the facts are known, never re-worded on the way.
//!
//! In: a code, a sentence with what was found and expected, remedies. Out: the same facts on the terminal, over HTTP and
//! in JavaScript. Never: a bare string, or a panic for wrong *input*.

use std::fmt;

use serde_json::{Map, Value};

/// A result whose error is lyn's own.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Declares the table of codes once: variant, stable name, exit code, default remedy.
macro_rules! codes {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal, exit $exit:literal, $help:literal;)*) => {
        /// Stable code of an error, the same on every surface; `docs/errors.md` has an entry for each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code { $($(#[doc = $doc])* $variant,)* }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &'static [Code] = &[$(Code::$variant),*];

            /// The code as it is printed: `out_of_memory`.
            #[must_use]
            pub const fn name(self) -> &'static str { match self { $(Code::$variant => $name),* } }

            /// The exit code of a command that ends with this error.
            #[must_use]
            pub const fn exit_code(self) -> u8 { match self { $(Code::$variant => $exit),* } }

            /// What to do first, where the place of the error knows nothing better.
            pub(crate) const fn default_help(self) -> &'static str { match self { $(Code::$variant => $help),* } }
        }
    };
}

codes! {
    /// No GPU adapter at all.
    NoAdapter = "no_adapter", exit 4, "install or update the GPU driver; on Linux also libvulkan1; or run on the host with --device cpu";
    /// Adapters exist, but none matches the selection.
    AdapterNotFound = "adapter_not_found", exit 4, "use an index or part of a name from: lyn devices";
    /// The adapter computes wrong values.
    SelfCheckFailed = "self_check_failed", exit 4, "try another backend or driver; see: lyn conform";
    /// A limit of the adapter is below what the model needs.
    LimitTooSmall = "limit_too_small", exit 4, "use another adapter: lyn devices, or a smaller --context";
    /// The plan does not fit, or an allocation failed.
    OutOfMemory = "out_of_memory", exit 5, "use a smaller --context or a smaller model";
    /// The GPU was reset or removed.
    DeviceLost = "device_lost", exit 7, "run again; if it happens again, update the driver or use another --device";
    /// The GPU did not answer in time.
    GpuTimeout = "gpu_timeout", exit 7, "run again; if it happens again, update the driver or use another --device";
    /// Neither a folder nor a known model.
    ModelNotFound = "model_not_found", exit 3, "give a folder with config.json and *.safetensors, or stories";
    /// A model of another family.
    UnsupportedModel = "unsupported_model", exit 3, "lyn runs deepseek_v32, deepseek_v3, kimi_k2, deepseek_v2, glm_moe_dsa, glm4_moe_lite and youtu";
    /// A file of the checkpoint is broken, or does not fit its config.
    BadCheckpoint = "bad_checkpoint", exit 3, "download the file again and compare its checksum";
    /// A tensor that the config asks for is absent.
    MissingTensor = "missing_tensor", exit 3, "use config.json and all weight shards from the same source";
    /// Prompt and answer do not fit the context.
    ContextOverflow = "context_overflow", exit 2, "shorten the prompt, or raise --context";
    /// A request or an argument that cannot be honoured.
    BadRequest = "bad_request", exit 2, "see: lyn help";
    /// A schema that no answer can be held to.
    InvalidSchema = "invalid_schema", exit 2, "use only the keywords listed in docs/structured-output.md";
    /// A grammar or schema that takes more than its limits of time and memory.
    GrammarTooComplex = "grammar_too_complex", exit 2, "use a smaller schema: fewer alternatives, shorter patterns";
    /// A setting that cannot be read.
    BadConfig = "bad_config", exit 2, "correct the value";
    /// Logits are NaN or infinite.
    NonFinite = "non_finite", exit 1, "check the checkpoint with: lyn verify; try another device and report the difference";
    /// A check ran and found differences.
    CheckFailed = "check_failed", exit 8, "see the report above";
    /// Reading or writing a file that is not part of a checkpoint failed.
    Io = "io", exit 6, "check the path and its permissions";
    /// Another engine that cannot be reached, refuses, or breaks off.
    Upstream = "upstream", exit 6, "check the address, and that the engine is running";
    /// A server of models that cannot be reached, refuses, or sends something else.
    Network = "network", exit 6, "check the connection and run the command again: what has come is kept";
    /// A server of models wants a token, or the acceptance of a licence.
    Unauthorized = "unauthorized", exit 6, "accept the model's licence on its page, and set HF_TOKEN";
    /// Stopped by the user.
    Cancelled = "cancelled", exit 130, "";
    /// A promise inside lyn broke.
    Internal = "internal", exit 1, "please report this, with the output of: lyn doctor";
}

/// Declares the table of classes once: variant, name as it is printed, what to do first.
macro_rules! classes {
    ($($variant:ident = $name:literal, $help:expr;)*) => {
        /// Class of a refused checkpoint file, finer than its [`Code`]; the table of docs/errors.md says what each means.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "each is its own name")]
        pub enum Class { $($variant,)* }

        impl Class {
            /// The class as it is printed: `E-SHAPE`.
            #[must_use]
            pub const fn name(self) -> &'static str { match self { $(Class::$variant => $name),* } }

            /// What to do first. To download again helps only where a file is damaged.
            const fn help(self) -> &'static str { match self { $(Class::$variant => $help),* } }
        }
    };
}

/// What to do about a file that is damaged.
pub(crate) const DAMAGED: &str = "the file is damaged or was written incorrectly: download it again or re-export it";
const TOKENIZER: &str = "get the tokenizer files from the same source as the weights";
const INDEX: &str = "get the index and its shards from the same source";

classes! {
    Io = "E-IO", "check that the file exists, is a regular file, and is readable";
    Kind = "E-KIND", "the file is not what its name says: download it again from the model's publisher";
    Len = "E-LEN", Code::BadCheckpoint.default_help();
    Limit = "E-LIMIT", "the file exceeds a limit; limits are listed in docs/errors.md";
    Json = "E-JSON", "the file was truncated or edited: correct it, or use the published one";
    Entry = "E-ENTRY", DAMAGED;
    Dtype = "E-DTYPE", DAMAGED;
    Shape = "E-SHAPE", DAMAGED;
    Offset = "E-OFFSET", DAMAGED;
    Cover = "E-COVER", DAMAGED;
    Dup = "E-DUP", DAMAGED;
    Missing = "E-MISSING", Code::MissingTensor.default_help();
    Config = "E-CONFIG", "correct the field, or use the published file";
    Arch = "E-ARCH", Code::UnsupportedModel.default_help();
    Quant = "E-QUANT", "use the checkpoint in bf16, f16, f32 or FP8 with blocks of 128 × 128, or a GGUF or MLX quantisation of it";
    Value = "E-VALUE", Code::BadCheckpoint.default_help();
    Tok = "E-TOK", TOKENIZER;
    Vocab = "E-VOCAB", TOKENIZER;
    Regex = "E-REGEX", TOKENIZER;
    Index = "E-INDEX", INDEX;
    Path = "E-PATH", INDEX;
    Hash = "E-HASH", "run the command again: the file is downloaded anew";
    Template = "E-TEMPLATE", "correct the template, or use: lyn generate --raw";
}

impl Class {
    const fn code(self) -> Code {
        match self {
            Class::Arch => Code::UnsupportedModel,
            Class::Missing => Code::MissingTensor,
            _ => Code::BadCheckpoint,
        }
    }
}

/// What went wrong, with what was found, what was expected and what to do.
#[derive(Clone)]
pub struct Error(Box<Facts>);

#[derive(Clone)]
struct Facts {
    code: Code,
    message: String,
    help: Vec<String>,
    details: Map<String, Value>,
}

impl Error {
    /// An error with the default remedy of its code. `message` holds facts: names through [`quote`].
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let help = if code.default_help().is_empty() { vec![] } else { vec![code.default_help().to_owned()] };
        Error(Box::new(Facts { code, message: cut(message.into(), MESSAGE_BYTES), help, details: Map::new() }))
    }

    /// A refused checkpoint file: class, file name, and what was found and expected there.
    pub fn file(class: Class, file: &str, message: impl fmt::Display) -> Self {
        Error::new(class.code(), format!("{}: {}: {message}", class.name(), escape(file)))
            .with_help(class.help())
            .with_detail("class", class.name())
            .with_detail("file", escape(file))
    }

    /// Replaces the remedy.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.0.help = vec![help.into()];
        self
    }

    /// Adds a named fact for programs.
    #[must_use]
    pub fn with_detail(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.details.insert(name.to_owned(), value.into());
        self
    }

    /// The stable code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The finer class of a refused file (`E-SHAPE`), where there is one.
    pub fn class(&self) -> Option<&str> {
        self.0.details.get("class").and_then(Value::as_str)
    }

    /// One sentence, at most 2 KiB, safe to print.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What to do, most likely remedy first.
    pub fn help(&self) -> &[String] {
        &self.0.help
    }

    /// Facts for programs.
    pub fn details(&self) -> &Map<String, Value> {
        &self.0.details
    }

    /// The JSON form shared by all surfaces: `{code, message, help, details}`.
    pub fn to_json(&self) -> Value {
        serde_json::json!({
            "code": self.code().name(), "message": self.message(), "help": self.help(), "details": self.details(),
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: {}", self.0.code.name(), self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}

const MESSAGE_BYTES: usize = 2000;
const NAME_CHARS: usize = 120;

/// A name or value from input, in quotes, escaped and cut to 120 characters: safe on a terminal and in a log.
pub fn quote(text: &str) -> String {
    format!("\"{}\"", escape(text))
}

/// As [`quote`], without the quotes.
pub fn escape(text: &str) -> String {
    escape_to(text, NAME_CHARS)
}

/// As [`escape`], without the cut: for sentences that others wrote about input.
pub fn escape_whole(text: &str) -> String {
    escape_to(text, MESSAGE_BYTES)
}

fn escape_to(text: &str, most: usize) -> String {
    let mut out = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == most {
            out.push('…');
            break;
        }
        if is_hidden(character) || character == '"' || character == '\\' {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

/// Whether a character is seen only by what it does: ends a line, moves the cursor, turns the direction of writing, or nothing.
/// A terminal could show another name than the one meant. These are Unicode's categories Cc, Cf, Zl and Zp, and what is not
/// assigned yet between them.
pub fn is_hidden(character: char) -> bool {
    match character {
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' => true,
        '\0'..='\u{ac}' => false,
        '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}' => {
            true
        }
        '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => true,
        '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' => true,
        '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}' => true,
        _ => false,
    }
}

fn cut(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        let end = (0..=limit).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_input_are_escaped_and_cut() {
        assert_eq!(escape("a\u{1b}[31m\n"), "a\\u{1b}[31m\\n");
        assert_eq!(escape(&"x".repeat(500)).chars().count(), NAME_CHARS + 1);
        let error = Error::file(Class::Shape, "m.safetensors", "y".repeat(9000));
        assert!(error.message().len() < 2048);
        assert_eq!(error.class(), Some("E-SHAPE"));
    }

    /// Oracle: the tables of `regex`.
    #[test]
    fn all_that_is_not_seen_is_escaped() {
        let hidden = regex::Regex::new(r"\p{Cc}|\p{Cf}|\p{Zl}|\p{Zp}").unwrap();
        let shown = regex::Regex::new(r"\p{L}|\p{N}|\p{P}|\p{S}|\p{Zs}").unwrap();
        for character in '\0'..=char::MAX {
            let text = character.to_string();
            if hidden.is_match(&text) {
                assert!(!escape(&text).contains(character), "{:x}", u32::from(character));
            } else if shown.is_match(&text) && character != '"' && character != '\\' {
                assert_eq!(escape(&text), text);
            }
        }
    }

    #[test]
    fn codes_are_unique() {
        let mut names: Vec<_> = Code::ALL.iter().map(|code| code.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
    }
}
