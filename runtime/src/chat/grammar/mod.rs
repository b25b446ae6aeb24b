//! What a request asks of the form of its answer, as a grammar over the text and the control tokens of a chat format.
//!
//! In: a [`AnswerShape`]. Out: a [`Form`] for `generate::constraint`. Never: a mask, or an id that is not from the tokenizer.
//!
//! Literals of one rule never begin with one another: llguidance's lexer takes the longest and does not go back.

pub(crate) mod json;
pub(crate) mod lark;
mod notation;
pub(crate) mod parameters;
pub(crate) mod rules;

use std::sync::{Arc, OnceLock};

use self::rules::Rules;
use super::control::END_THINK;
use super::formats::{CallSyntax, Detected};
use super::schema::Dialect;
use super::shape::{AnswerShape, ResponseShape, ToolChoice, ToolSpec};
use crate::error::{Code, Error, Result};
use crate::generate::{Constraint, Form, Free, Lexicon};
use crate::platform::{Apart, Undone};
use crate::text::Tokenizer;

/// Makes constraints for one model. Cheap to clone, for whoever compiles apart from the engine's thread.
#[derive(Clone)]
pub struct Grammars {
    tokenizer: Arc<Tokenizer>,
    format: Detected,
    sampleable: Arc<[bool]>,
    eos: Arc<[u32]>,
    /// Made when the first constraint is: it takes a second for a large vocabulary.
    lexicon: Arc<OnceLock<Result<Lexicon>>>,
    apart: Arc<Apart>,
}

/// What a form is made from, as refusals name it.
fn owner(shape: &AnswerShape) -> String {
    match shape.tools.as_slice() {
        _ if !matches!(shape.response, ResponseShape::None) => "response_format".to_owned(),
        [tool] => format!("function '{}'", tool.name),
        _ => "the functions together".to_owned(),
    }
}

impl Grammars {
    /// `sampleable` as [`Tokenizer::sampleable`] has it; `eos`: ids that end an answer.
    pub fn new(tokenizer: Arc<Tokenizer>, format: Detected, sampleable: Arc<[bool]>, eos: &[u32]) -> Grammars {
        Grammars { tokenizer, format, sampleable, eos: eos.into(), lexicon: Arc::default(), apart: Arc::default() }
    }

    /// Makes the lexicon, so that the first request does not wait for it.
    ///
    /// # Errors
    /// As [`Lexicon::new`].
    pub fn lexicon(&self) -> Result<&Lexicon> {
        let make = || Lexicon::new(&self.tokenizer, &self.sampleable, &self.eos);
        self.lexicon.get_or_init(make).as_ref().map_err(Clone::clone)
    }

    /// The constraint of an answer; none where it is free. `thinking`: the answer begins inside a thought.
    ///
    /// # Errors
    /// `invalid_schema`, `grammar_too_complex`; `bad_request` for tools where the model has no chat format.
    pub fn constraint(&self, shape: &AnswerShape, thinking: bool, dialect: Dialect) -> Result<Option<Constraint>> {
        if shape.is_free() {
            return Ok(None);
        }
        let owner = owner(shape);
        // Made before the clock runs.
        self.lexicon()?;
        let (grammars, shape) = (self.clone(), shape.clone());
        let made = self.apart.run(move || grammars.compiled(&shape, thinking, dialect));
        made.map_err(not_compiled)?
            .map_err(|error| match error.code() {
                // Over a limit is the whole, not one of its keywords.
                Code::GrammarTooComplex if !error.details().contains_key("path") => {
                    let message = format!("Invalid schema for {owner}: $: {}", error.message());
                    Error::new(Code::GrammarTooComplex, message).with_detail("path", "$")
                }
                _ => error,
            })
            .map(Some)
    }

    fn compiled(&self, shape: &AnswerShape, thinking: bool, dialect: Dialect) -> Result<Constraint> {
        let made = self.form(shape, thinking, dialect, true).and_then(|form| self.lexicon()?.constraint(&form));
        // Arguments of functions that are not strict may be any object; their schema is a help to the model.
        if made.is_err() && !shape.tools.is_empty() && shape.tools.iter().any(|tool| !tool.strict) {
            return self.form(shape, thinking, dialect, false).and_then(|form| self.lexicon()?.constraint(&form));
        }
        made
    }

    fn form(&self, shape: &AnswerShape, thinking: bool, dialect: Dialect, schemas: bool) -> Result<Form> {
        let mut rules = Rules {
            tokenizer: &self.tokenizer,
            lark: String::new(),
            dialect,
            schemas,
            any_parameters: false,
            loosened: vec![],
        };
        let response = rules.response(&shape.response)?;
        let tools: Vec<&ToolSpec> = match &shape.choice {
            ToolChoice::None => vec![],
            ToolChoice::Named(name) => shape.tools.iter().filter(|tool| tool.name == *name).collect(),
            ToolChoice::Auto | ToolChoice::Required => shape.tools.iter().collect(),
        };
        let forced = matches!(shape.choice, ToolChoice::Required | ToolChoice::Named(_));
        // Beside strict functions others are as free as they are alone.
        rules.schemas &= forced || !shape.parallel;
        // A template of unknown syntax tells the model of tools; how it writes a call is its own affair.
        let free_calls = self.format == Detected::Template(None) && !forced;
        let calls_as = if shape.tools.is_empty() || free_calls { None } else { Some(written_in(self.format)?) };
        let mut free = vec![];
        if thinking {
            let may_end = response.is_none() && !forced;
            free.push(Free::Until { marker: END_THINK.to_owned(), may_end });
        }
        let start = match (response, calls_as) {
            (Some(response), None) => response,
            (Some(response), Some(_)) if tools.is_empty() => response,
            (None, None) => return Ok(Form { free, ..Form::default() }),
            (None, Some(syntax)) if tools.is_empty() => {
                free.push(Free::Without(syntax.calls_opener().to_owned()));
                return Ok(Form { free, ..Form::default() });
            }
            (response, Some(syntax)) => {
                let calls = syntax.calls(&mut rules, &tools, shape.parallel)?;
                let opened = format!("{} {calls}", syntax.calls_opening(&rules)?);
                match response {
                    _ if forced => opened,
                    Some(response) => format!("{response} | {opened}"),
                    None => {
                        free.push(Free::Until { marker: syntax.calls_opener().to_owned(), may_end: true });
                        calls
                    }
                }
            }
        };
        // By its own template a model may open its thought itself, also where its answer is held to a form from the start.
        let may_think = self.format.is_own_template() && free.is_empty();
        let thought = if may_think { rules.thought() } else { "" };
        let grammar = Some(format!("start: {thought} ({start})\n{}", rules.lark));
        Ok(Form { free, grammar, loosened: rules.loosened })
    }
}

/// What is said where compiling was not finished.
pub(super) fn not_compiled(undone: Undone) -> Error {
    let refuse = |message| Error::new(Code::GrammarTooComplex, message);
    match undone {
        Undone::Late => refuse("the schema or grammar took too long to compile"),
        Undone::Broken => refuse("the schema or grammar could not be compiled"),
        Undone::Full => refuse("too many schemas are compiled at once; try again later").with_detail("status", 503),
    }
}

/// How calls are spelled.
fn written_in(format: Detected) -> Result<CallSyntax> {
    match format {
        Detected::Format(format) => Ok(format.into()),
        Detected::Template(Some(calls)) => Ok(calls),
        Detected::Template(None) => {
            let why = "lyn does not know the tool-call syntax of this checkpoint's chat template";
            Err(Error::new(Code::BadRequest, why).with_detail("param", "tool_choice"))
        }
        Detected::Raw(why) => {
            Err(Error::new(Code::BadRequest, format!("tools need a chat format: {why}")).with_detail("param", "tools"))
        }
    }
}
