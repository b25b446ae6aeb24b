//! What crosses the rooms of chat: schemas, grammars and formats, up to the ids that a constraint takes.

mod answers;
mod calls;
mod json;
mod messages;
mod notation;
mod prompts;
mod templates;
mod texts;

use std::sync::{Arc, LazyLock};

use serde_json::Value;

use super::grammar::json::{Layout, nested};
use super::schema::Schema;
use super::{AnswerShape, ChatFormat, Detected, Dialect, Grammars, ResponseShape};
use crate::error::Result;
use crate::generate::{Constraint, Form};
use crate::text::Tokenizer;

const EOS: u32 = 1;

static TOKENIZER: LazyLock<Arc<Tokenizer>> = LazyLock::new(|| {
    let bytes = include_bytes!("../../../../models/stories/tokenizer.json");
    Arc::new(Tokenizer::from_json("tokenizer.json", bytes, 2048).unwrap())
});

static EXP: LazyLock<Grammars> = LazyLock::new(|| of_format(Detected::Format(ChatFormat::Exp)));
static DSML: LazyLock<Grammars> = LazyLock::new(|| of_format(Detected::Format(ChatFormat::Dsml)));

fn of_format(format: Detected) -> Grammars {
    Grammars::new(Arc::clone(&TOKENIZER), format, TOKENIZER.sampleable().into(), &[EOS])
}

/// What an answer is held to that has the form of a schema and nothing around it.
fn held(schema: &Value, dialect: Dialect, layout: Layout) -> Result<Constraint> {
    let schema = Schema::check("f", schema, dialect)?;
    let grammar = format!("start: json\njson: {}\n", nested(&schema, &schema.root, layout)?);
    let loosened = schema.loosened.clone();
    EXP.lexicon()?.constraint(&Form { grammar: Some(grammar), loosened, ..Form::default() })
}

/// The same for a whole answer.
fn of(grammars: &Grammars, shape: &AnswerShape) -> Result<Constraint> {
    grammars.constraint(shape, false, Dialect::Local).map(|made| made.expect("the shape is not free"))
}

fn grammar(text: &str) -> Result<Constraint> {
    of(&EXP, &AnswerShape { response: ResponseShape::Grammar(text.to_owned()), ..AnswerShape::default() })
}

/// Whether a text is one that may be written, to its end.
fn takes(constraint: &Constraint, text: &str) -> bool {
    let mut constraint = constraint.clone();
    let ids = TOKENIZER.encode(text, true).expect("stories have every byte");
    ids.into_iter().all(|id| constraint.advance(id).is_ok())
        && constraint.allowed().is_ok_and(|mask| mask.is_none_or(|mask| mask[EOS as usize]))
}
