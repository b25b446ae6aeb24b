//! A thought between marks, told from the answer behind it while both are written.

use lyn::chat::control::{END_THINK, THINK};
use lyn::generate::Voice;

/// Text that begins with a thought: up to the first closing mark, then the answer. Marks may be split between pieces; the
/// result never depends on the split. An opening mark at the very beginning and further closing marks are dropped.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    held: String,
    begun: bool,
    closed: bool,
}

impl Splitter {
    /// The parts that more text releases, none of them empty.
    pub(super) fn push(&mut self, text: &str) -> Vec<(Voice, String)> {
        self.held.push_str(text);
        let mut parts = vec![];
        if !self.begun {
            if self.held.len() < THINK.len() && THINK.starts_with(self.held.as_str()) {
                return parts;
            }
            self.begun = true;
            if let Some(rest) = self.held.strip_prefix(THINK) {
                self.held = rest.to_owned();
            }
        }
        while let Some((before, rest)) = self.held.split_once(END_THINK) {
            let (before, rest) = (before.to_owned(), rest.to_owned());
            self.say(before, &mut parts);
            self.held = rest;
            self.closed = true;
        }
        let waiting = (1..END_THINK.len()).rev().find(|&length| self.held.ends_with(&END_THINK[..length])).unwrap_or(0);
        let shown: String = self.held.drain(..self.held.len() - waiting).collect();
        self.say(shown, &mut parts);
        parts
    }

    /// What still waits, when nothing follows.
    pub(super) fn finish(&mut self) -> Vec<(Voice, String)> {
        let mut parts = vec![];
        let held = std::mem::take(&mut self.held);
        self.say(held, &mut parts);
        parts
    }

    fn say(&self, text: String, parts: &mut Vec<(Voice, String)>) {
        if !text.is_empty() {
            parts.push((if self.closed { Voice::Content } else { Voice::Reasoning }, text));
        }
    }
}
