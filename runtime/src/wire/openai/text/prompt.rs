//! The prompts of a request: texts or ids, one or several; and what the engine is asked for them.

use std::fmt;

use serde::de::{DeserializeSeed, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

use crate::error::Result;
use crate::generate::Request;
use crate::json::at_most;

/// Prompts of a request at most.
pub(super) const MAX_PROMPTS: usize = 64;

/// One prompt or several, as text or as ids. Ids are taken as they are; text gets the token that begins texts.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each is its own name")]
pub enum PromptField {
    Text(String),
    Texts(Vec<String>),
    Ids(Vec<u32>),
    ManyIds(Vec<Vec<u32>>),
}

impl<'de> Deserialize<'de> for PromptField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PromptField, D::Error> {
        deserializer.deserialize_any(Prompts { is_element: false })
    }
}

/// Reads a prompt, or what stands in a list of them. The first of a list says what the others are: ids take four bytes each, where
/// `serde(untagged)` would keep every element in all its possible forms.
#[derive(Clone, Copy)]
struct Prompts {
    is_element: bool,
}

impl<'de> DeserializeSeed<'de> for Prompts {
    type Value = PromptField;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<PromptField, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Prompts {
    type Value = PromptField;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.is_element {
            true => "a string, an id or an array of ids",
            false => "a string, an array of strings, of ids, or of arrays of ids",
        })
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<PromptField, E> {
        Ok(PromptField::Text(text.to_owned()))
    }

    fn visit_u64<E: serde::de::Error>(self, id: u64) -> Result<PromptField, E> {
        match u32::try_from(id) {
            Ok(id) if self.is_element => Ok(PromptField::Ids(vec![id])),
            _ => Err(E::invalid_type(Unexpected::Unsigned(id), &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<PromptField, A::Error> {
        if self.is_element {
            return at_most(usize::MAX, None, list).map(|ids| PromptField::ManyIds(vec![ids]));
        }
        Ok(match list.next_element_seed(Prompts { is_element: true })? {
            None => PromptField::Texts(vec![]),
            Some(PromptField::Text(first)) => PromptField::Texts(at_most(MAX_PROMPTS, Some(first), list)?),
            Some(PromptField::Ids(ids)) => PromptField::Ids(at_most(usize::MAX, ids.first().copied(), list)?),
            Some(PromptField::ManyIds(ids)) => {
                PromptField::ManyIds(at_most(MAX_PROMPTS, ids.into_iter().next(), list)?)
            }
            Some(PromptField::Texts(texts)) => PromptField::Texts(texts),
        })
    }
}

pub(super) enum Prompt<'r> {
    Text(&'r str),
    Ids(&'r [u32]),
}

impl Default for PromptField {
    fn default() -> Self {
        PromptField::Text(String::new())
    }
}

impl PromptField {
    pub(super) fn prompts(&self) -> Vec<Prompt<'_>> {
        match self {
            PromptField::Text(text) => vec![Prompt::Text(text)],
            PromptField::Texts(texts) => texts.iter().map(|text| Prompt::Text(text)).collect(),
            PromptField::Ids(ids) => vec![Prompt::Ids(ids)],
            PromptField::ManyIds(many) => many.iter().map(|ids| Prompt::Ids(ids)).collect(),
        }
    }
}

/// What a text completion asks of the engine.
#[derive(Clone, Debug)]
pub struct TextAsked {
    /// All answers, in the order of their `index`: those to the first prompt first.
    pub requests: Vec<Request>,
    /// Answers to each prompt.
    pub answers: u32,
    /// What each answer begins with: its prompt, where that was asked for.
    pub echoes: Vec<String>,
    /// Tokens before each prompt that are none of it: what begins every text, before prompts that are texts.
    pub added_tokens: usize,
}
