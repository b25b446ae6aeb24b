//! Splits what a model writes into its thought and its answer, while it is being written.

use crate::chat::control::{END_THINK, THINK};
use crate::text::held::held_bytes;

/// Text that may be shown now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delta {
    /// Part of the thought.
    Reasoning(String),
    /// Part of the answer.
    Content(String),
}

/// In thinking mode text is reasoning until `</think>`, then content; otherwise all is content. Markers may be split
/// between pieces of text: the end of the text waits while it may begin one. The result never depends on the split.
///
/// A thought that is never closed is all reasoning; one repeated `<think>` at its very start is dropped, and so is every
/// further `</think>`: no marker is ever shown.
///
/// ```
/// # use lyn::chat::{Delta, ReasoningSplitter};
/// let mut splitter = ReasoningSplitter::new(true);
/// assert_eq!(splitter.push("hm</thi"), [Delta::Reasoning("hm".to_owned())]);
/// assert_eq!(splitter.push("nk>Yes"), [Delta::Content("Yes".to_owned())]);
/// assert_eq!(splitter.finish(), []);
/// ```
#[derive(Clone, Debug)]
pub struct ReasoningSplitter {
    state: State,
    held: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    ThoughtStart,
    Thought,
    Content,
}

impl ReasoningSplitter {
    /// `thinking`: whether the prompt ended in `<think>`.
    #[must_use]
    pub fn new(thinking: bool) -> Self {
        ReasoningSplitter { state: if thinking { State::ThoughtStart } else { State::Content }, held: String::new() }
    }

    /// The parts that `text` releases, none of them empty.
    pub fn push(&mut self, text: &str) -> Vec<Delta> {
        self.held.push_str(text);
        let mut out = vec![];
        if self.state == State::ThoughtStart {
            if THINK.starts_with(self.held.as_str()) && self.held != THINK {
                return out;
            }
            if self.held.starts_with(THINK) {
                self.held.drain(..THINK.len());
            }
            self.state = State::Thought;
        }
        while let Some((before, rest)) = self.held.split_once(END_THINK) {
            let (before, rest) = (before.to_owned(), rest.to_owned());
            self.held = rest;
            self.emit(before, &mut out);
            self.state = State::Content;
        }
        let shown = self.held.len().saturating_sub(held_bytes(&self.held, [END_THINK]));
        let text: String = self.held.drain(..shown).collect();
        self.emit(text, &mut out);
        out
    }

    /// What still waits, at the end of generation.
    #[must_use]
    pub fn finish(self) -> Vec<Delta> {
        let mut out = vec![];
        self.emit(self.held.clone(), &mut out);
        out
    }

    fn emit(&self, text: String, out: &mut Vec<Delta>) {
        if !text.is_empty() {
            out.push(if self.state == State::Content { Delta::Content(text) } else { Delta::Reasoning(text) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(thinking: bool, parts: &[&str]) -> (String, String) {
        let mut splitter = ReasoningSplitter::new(thinking);
        let mut deltas: Vec<Delta> = parts.iter().flat_map(|part| splitter.push(part)).collect();
        deltas.extend(splitter.finish());
        let (mut reasoning, mut content) = (String::new(), String::new());
        for delta in deltas {
            match delta {
                Delta::Reasoning(text) => {
                    assert!(content.is_empty(), "a thought after the answer began");
                    reasoning.push_str(&text);
                }
                Delta::Content(text) => content.push_str(&text),
            }
        }
        (reasoning, content)
    }

    #[test]
    fn any_split_gives_the_same_parts() {
        let cases = [
            (true, "hm</think>Yes", "hm", "Yes"),
            (true, "never closed </thin", "never closed </thin", ""),
            (true, "<think>a<think>b</think></think>c", "a<think>b", "c"),
            (true, "<thi", "<thi", ""),
            (true, "</think>", "", ""),
            (true, "<<think></think>ø</", "<<think>", "ø</"),
            (false, "a</think>b<think>", "", "ab<think>"),
        ];
        for (thinking, text, reasoning, content) in cases {
            let ends: Vec<usize> = (0..=text.len()).filter(|end| text.is_char_boundary(*end)).collect();
            for &first in &ends {
                for &second in ends.iter().filter(|end| **end >= first) {
                    let parts = [&text[..first], &text[first..second], &text[second..]];
                    assert_eq!(split(thinking, &parts), (reasoning.to_owned(), content.to_owned()), "{parts:?}");
                }
            }
        }
    }

    #[test]
    fn text_that_begins_no_marker_is_shown_at_once() {
        let mut splitter = ReasoningSplitter::new(true);
        assert_eq!(splitter.push("a < b"), [Delta::Reasoning("a < b".to_owned())]);
        assert_eq!(splitter.push("</"), []);
        assert_eq!(splitter.push("p>"), [Delta::Reasoning("</p>".to_owned())]);
    }
}
