//! Grammars that clients write, in llama.cpp's notation (GBNF) or in Lark's, as a grammar inside a grammar.
//!
//! Nothing is passed on as it stands: what is not known is refused by name, with its line. What a rule matches without
//! calling itself becomes one terminal, since the lexer takes the longest and does not go back.

mod read;
mod write;

use std::collections::HashMap;

use self::read::{Node, Reader, refused};
use self::write::Writer;
use super::lark::quote;
use crate::error::{Code, Error, Result};

/// Bytes of a grammar at most.
const MAX_BYTES: usize = 64 << 10;

/// A client's grammar as a grammar inside a grammar.
///
/// # Errors
/// `invalid_schema` with the line of what is not known, `grammar_too_complex` over a limit.
pub(super) fn nested(text: &str) -> Result<String> {
    if text.len() > MAX_BYTES {
        let message = format!("the grammar has {} bytes, at most {MAX_BYTES} are allowed", text.len());
        return Err(Error::new(Code::GrammarTooComplex, message));
    }
    let lark = !text.contains("::=");
    let mut reader = Reader::new(text, lark);
    reader.grammar()?;
    let root = if lark { "start" } else { "root" };
    let rules: HashMap<&str, &Node> = reader.rules.iter().map(|(name, node)| (name.as_str(), node)).collect();
    if !rules.contains_key(root) {
        return Err(refused(format!("the grammar has no rule '{root}'")));
    }
    let mut writer = Writer::new(&rules);
    writer.find_circles()?;
    let start = writer.symbol(&Node::Name(root.to_owned()))?;
    let mut skip = String::new();
    for node in &reader.ignored {
        let body = writer.terminal(node)?;
        skip.push_str(&format!("%ignore {body}\n"));
    }
    Ok(format!("%lark {{\nstart: {start}\n{}{skip}}}", writer.lark))
}

/// Texts of which one is written.
pub(super) fn choice(texts: &[String]) -> String {
    texts.iter().map(|text| quote(text)).collect::<Vec<_>>().join(" | ")
}
