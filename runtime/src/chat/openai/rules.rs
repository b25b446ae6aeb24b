//! How requests are judged, and the reading of their JSON.

use serde::de::DeserializeOwned;

use super::ModelIds;
use crate::error::{Code, Error, Result, escape, escape_whole};

/// Nesting of objects and lists in a request.
const MAX_DEPTH: u32 = 64;
/// Names of ignored fields that are kept.
const MAX_IGNORED: usize = 32;

/// Whose refusals are repeated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compat {
    /// Everything that can be served is.
    #[default]
    Local,
    /// As DeepSeek: caps, the beta path, combinations that it refuses.
    DeepSeek,
    /// As DeepSeek before November 2025: a request of the wrong form has status 422.
    DeepSeek422,
}

impl Compat {
    /// Whether what DeepSeek refuses is refused.
    #[must_use]
    pub fn is_strict(self) -> bool {
        self != Compat::Local
    }
}

/// How a server judges requests.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Whose refusals are repeated.
    pub compat: Compat,
    /// Whether the request came by the beta path, where DeepSeek continues prefixes and keeps to schemas.
    pub beta: bool,
    /// Whether `json_object` asks for the word "json" in a message.
    pub json_word: bool,
    /// Whether the checkpoint's own sampling is taken where a request has none; else temperature and `top_p` are 1.
    pub checkpoint_sampling: bool,
    /// The models that are served.
    pub models: ModelIds,
}

impl Default for Rules {
    /// For a model of one's own: any name, the checkpoint's sampling.
    fn default() -> Self {
        Rules {
            compat: Compat::Local,
            beta: false,
            json_word: true,
            checkpoint_sampling: true,
            models: ModelIds::default(),
        }
    }
}

impl Rules {
    /// Whether DeepSeek's beta features are to be had.
    pub(super) fn has_beta(&self) -> bool {
        self.beta || !self.compat.is_strict()
    }
}

/// A refusal of a field.
pub(super) fn refuse(field: &str, message: impl Into<String>) -> Error {
    Error::new(Code::BadRequest, message).with_detail("param", field)
}

/// A refusal of a value outside its range.
pub(super) fn invalid(field: &str, range: &str, found: impl std::fmt::Display) -> Error {
    refuse(field, format!("Invalid {field} value, the valid range of {field} is {range}"))
        .with_detail("found", escape(&found.to_string()))
}

/// A refusal of a body that is JSON of another form.
pub(super) fn misshapen(path: &str, what: &str, compat: Compat) -> Error {
    let place = if path == "." { String::new() } else { format!("{}: ", escape(path)) };
    let what = escape_whole(what);
    let error =
        refuse(&escape(path), format!("Failed to deserialize the JSON body into the target type: {place}{what}"));
    if compat == Compat::DeepSeek422 { error.with_detail("status", 422) } else { error }
}

/// The body of a request, and the names of its fields that were ignored.
///
/// # Errors
/// `bad_request` where it is no JSON, or JSON of another form, with the field's name.
pub fn parse<T: DeserializeOwned>(body: &[u8], compat: Compat) -> Result<(T, Vec<String>)> {
    if depth(body) > MAX_DEPTH {
        return Err(syntax(format_args!("nested deeper than {MAX_DEPTH}")));
    }
    let mut ignored = vec![];
    let mut note = |path: serde_ignored::Path<'_>| {
        if ignored.len() < MAX_IGNORED {
            ignored.extend(dotted(&path));
        }
    };
    let mut json = serde_json::Deserializer::from_slice(body);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    let parsed: Result<T, serde_json::Error> = serde_ignored::deserialize(tracked, &mut note);
    let request = parsed.map_err(|error| match error.is_data() {
        true => misshapen(&track.path().to_string(), &error.to_string(), compat),
        false => syntax(error),
    })?;
    json.end().map_err(syntax)?;
    Ok((request, ignored))
}

fn syntax(error: impl std::fmt::Display) -> Error {
    let what = escape_whole(&error.to_string());
    Error::new(Code::BadRequest, format!("Failed to parse the request body as JSON: {what}"))
}

/// A field by the names that lead to it. None within lists: messages and tools have many fields, and clients repeat whole
/// answers in them.
fn dotted(path: &serde_ignored::Path<'_>) -> Option<String> {
    use serde_ignored::Path;
    match path {
        Path::Root => Some(String::new()),
        Path::Seq { .. } => None,
        Path::Map { parent, key } => Some(match dotted(parent)? {
            parent if parent.is_empty() => escape(key),
            parent => format!("{parent}.{}", escape(key)),
        }),
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => dotted(parent),
    }
}

/// How deep objects and lists are nested, if this is JSON.
fn depth(body: &[u8]) -> u32 {
    let (mut depth, mut deepest) = (0_u32, 0);
    let mut bytes = body.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' | b'[' => {
                depth = depth.saturating_add(1);
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                while bytes.next().is_some_and(|byte| match byte {
                    b'\\' => bytes.next().is_some(),
                    byte => *byte != b'"',
                }) {}
            }
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::depth;

    #[test]
    fn depth_is_that_of_brackets_outside_strings() {
        for (json, expected) in
            [("1", 0), ("[]", 1), (r#"{"a": [[1], {"[[[[": "\"[[[\\"}], "b": []}"#, 3), ("\"[", 0), ("]]]][", 1)]
        {
            assert_eq!(depth(json.as_bytes()), expected, "{json}");
        }
    }
}
