//! Calls in the making. Clients run what they are told of: some dialects tell a call when it is complete, and only then.

use serde_json::{Map, Value};

use crate::generate::Event;

/// Calls that have begun; an engine elsewhere may write several at once.
#[derive(Default)]
pub(super) struct Pending(Vec<(u32, Call)>);

/// A call that is complete.
#[derive(Default)]
pub(super) struct Call {
    /// As an engine elsewhere names it.
    pub(super) id: Option<String>,
    pub(super) name: String,
    /// The arguments as the model wrote them, and what they are.
    pub(super) written: String,
    pub(super) arguments: Map<String, Value>,
}

impl Pending {
    /// Whether no call has begun that is not complete.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes an event; the call that it completes. One whose arguments are no object is left out: nobody could run it, and there
    /// is no place for its text.
    pub(super) fn take(&mut self, event: &Event) -> Option<Call> {
        match event {
            Event::Call { index, name, id } => {
                self.0.push((*index, Call { id: id.clone(), name: name.clone(), ..Call::default() }));
                None
            }
            Event::Arguments { index, text } => {
                self.0.iter_mut().find(|(place, _)| place == index)?.1.written.push_str(text);
                None
            }
            Event::CallEnd { index } => {
                let place = self.0.iter().position(|(place, _)| place == index)?;
                let (_, mut call) = self.0.remove(place);
                if call.written.trim().is_empty() {
                    call.written = "{}".to_owned();
                }
                let arguments = serde_json::from_str(&call.written);
                if arguments.is_err() {
                    let bytes = call.written.len();
                    tracing::warn!(bytes, "a call was left out: its arguments are not a JSON object");
                }
                Some(Call { arguments: arguments.ok()?, ..call })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
