//! A whole answer, put together from its events.

use super::formats::CallSyntax;
use super::parse::OutputParser;
use crate::generate::{Event, Parser, Voice};

/// A whole answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// The thought.
    pub reasoning: String,
    /// The answer.
    pub content: String,
    calls: Vec<ParsedCall>,
}

/// A call in an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParsedCall {
    /// The function, as the model wrote it.
    pub name: String,
    /// The arguments, as JSON where the model kept to it.
    pub arguments: String,
    index: u32,
    complete: bool,
}

impl Parsed {
    /// Parses a whole text, as [`OutputParser`] does.
    pub fn of(calls: Option<CallSyntax>, thinking: bool, text: &str) -> Parsed {
        let mut parser = OutputParser::new(calls, thinking);
        let mut parsed = Parsed::default();
        parser.push(text).iter().for_each(|event| parsed.take(event));
        parser.finish().iter().for_each(|event| parsed.take(event));
        parsed
    }

    /// Appends what an event tells.
    pub fn take(&mut self, event: &Event) {
        match event {
            Event::Text { voice: Voice::Reasoning, text } => self.reasoning.push_str(text),
            Event::Text { voice: Voice::Content, text } => self.content.push_str(text),
            Event::Call { index, name, .. } => {
                self.calls.push(ParsedCall { name: name.clone(), index: *index, ..ParsedCall::default() });
            }
            Event::Arguments { index, text } => {
                if let Some(call) = self.call(*index) {
                    call.arguments.push_str(text);
                }
            }
            Event::CallEnd { index } => {
                if let Some(call) = self.call(*index) {
                    call.complete = true;
                }
            }
            _ => {}
        }
    }

    fn call(&mut self, index: u32) -> Option<&mut ParsedCall> {
        self.calls.iter_mut().rfind(|call| call.index == index)
    }

    /// The calls; the last one may be cut.
    pub fn calls(&self) -> &[ParsedCall] {
        &self.calls
    }

    /// Whether a call has begun and is not complete.
    pub(crate) fn is_in_call(&self) -> bool {
        self.calls.last().is_some_and(|call| !call.complete)
    }
}
