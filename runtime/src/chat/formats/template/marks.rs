//! Control tokens in a template's source, as characters that stand for them.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};

use crate::text::Tokenizer;

/// Private-use planes: characters that stand for others while a template runs.
pub(super) const COVERS: std::ops::RangeInclusive<char> = '\u{f0000}'..='\u{10fffd}';

/// The characters that stand for control tokens.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// The token of each mark, and of each character that stands for the same as text.
    pub(super) tokens: HashMap<char, String>,
    pub(super) texts: HashMap<char, String>,
    /// The mark of each token, and the text of each mark.
    pub(super) by_token: HashMap<String, char>,
    unmarked: HashMap<char, char>,
    /// Characters that tokens consist of, in small letters.
    alphabet: HashSet<char>,
    /// Covers any character that a template puts into a text.
    pub(super) put: Option<char>,
    pub(super) unused: Unused,
}

/// Private-use characters without a meaning.
#[derive(Clone, Debug, Default)]
pub(super) struct Unused {
    /// Those that mean themselves: the source holds them.
    taken: HashSet<char>,
    /// The first of all others that may be without one.
    next: u32,
}

impl Unused {
    /// A private-use character that nothing else has.
    pub(super) fn fresh(&mut self) -> Option<char> {
        // Between the planes lie two that are no characters.
        let mut rest = (self.next..=u32::from(*COVERS.end())).filter_map(char::from_u32);
        let found = rest.find(|character| COVERS.contains(character) && !self.taken.contains(character))?;
        self.next = u32::from(found).saturating_add(1);
        Some(found)
    }
}

impl Marks {
    pub(super) fn new(source: &str, tokenizer: &Tokenizer) -> Option<Marks> {
        let taken = source.chars().filter(|character| COVERS.contains(character)).collect();
        let unused = Unused { taken, next: u32::from(*COVERS.start()) };
        let mut marks = Marks { unused, ..Marks::default() };
        for (token, _) in tokenizer.added_tokens() {
            let (mark, text) = (marks.unused.fresh()?, marks.unused.fresh()?);
            marks.tokens.insert(mark, token.to_owned());
            marks.texts.insert(text, token.to_owned());
            marks.by_token.insert(token.to_owned(), mark);
            marks.unmarked.insert(mark, text);
            marks.alphabet.extend(token.chars().flat_map(char::to_lowercase));
        }
        marks.put = Some(marks.unused.fresh()?);
        Some(marks)
    }

    /// A source with marks in its text and in its strings. What is neither cannot write a token.
    pub(super) fn mark(&self, source: &str, tokenizer: &Tokenizer) -> String {
        let mut marked = String::with_capacity(source.len());
        let mut rest = source;
        while let Some(at) = rest.find('{') {
            let (data, code) = rest.split_at(at);
            self.mark_text(data, tokenizer, &mut marked);
            let close = match code.as_bytes() {
                [_, b'{', ..] => "}}",
                [_, b'%', ..] => "%}",
                [_, b'#', ..] => "#}",
                _ => {
                    marked.push('{');
                    rest = code.get(1..).unwrap_or_default();
                    continue;
                }
            };
            rest = match close {
                "#}" => code.split_once(close).map_or("", |(_, rest)| rest),
                _ => self.mark_code(code, close, tokenizer, &mut marked),
            };
        }
        self.mark_text(rest, tokenizer, &mut marked);
        marked
    }

    /// Marks the strings of code, up to its end; the result is what follows.
    fn mark_code<'s>(&self, code: &'s str, close: &str, tokenizer: &Tokenizer, marked: &mut String) -> &'s str {
        let mut rest = code;
        loop {
            let Some(at) = rest.find(['\'', '"', '}', '%']) else {
                marked.push_str(rest);
                return "";
            };
            let (before, found) = rest.split_at(at);
            marked.push_str(before);
            if let Some(behind) = found.strip_prefix(close) {
                marked.push_str(close);
                return behind;
            }
            let Some(quote) = found.chars().next() else { return "" };
            marked.push(quote);
            rest = found.get(quote.len_utf8()..).unwrap_or_default();
            if matches!(quote, '\'' | '"') {
                let mut escaped = false;
                let end = rest.find(|character| match character {
                    _ if escaped => {
                        escaped = false;
                        false
                    }
                    '\\' => {
                        escaped = true;
                        false
                    }
                    character => character == quote,
                });
                let (string, behind) = rest.split_at(end.unwrap_or(rest.len()));
                self.mark_text(string, tokenizer, marked);
                if behind.starts_with(quote) {
                    marked.push(quote);
                }
                rest = behind.get(quote.len_utf8()..).unwrap_or_default();
            }
        }
    }

    fn mark_text(&self, text: &str, tokenizer: &Tokenizer, marked: &mut String) {
        let mut rest = 0;
        for (range, _) in tokenizer.added_in(text) {
            marked.push_str(text.get(rest..range.start).unwrap_or_default());
            marked.extend(text.get(range.clone()).and_then(|token| self.by_token.get(token)));
            rest = range.end;
        }
        marked.push_str(text.get(rest..).unwrap_or_default());
    }

    /// What `replace` puts into a text: its marks are no control tokens any more, and it counts as part of the conversation.
    pub(super) fn unmark(&self, text: &str) -> String {
        let covers = COVERING.get();
        let unmark = |character: char| match self.unmarked.get(&character) {
            Some(&text) => text,
            None if covers && self.is_of_tokens(character) => self.put.unwrap_or(character),
            None => character,
        };
        text.chars().map(unmark).collect()
    }

    /// Whether a token could hold a character, as it is or after a change of its case.
    pub(super) fn is_of_tokens(&self, character: char) -> bool {
        character.to_lowercase().any(|small| self.alphabet.contains(&small))
    }
}

thread_local! {
    /// Whether the template of this thread runs with the conversation under cover.
    pub(super) static COVERING: Cell<bool> = const { Cell::new(false) };
}
