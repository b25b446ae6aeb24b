//! Forms of answers and templates of checkpoints, tried where a trap costs nothing: the engine's host runs this in an instance
//! of its own.

use std::hint::black_box;
use std::time::Duration;

use lyn::Language;
use lyn::chat::Dialect;
use lyn::checkpoint::Checkpoint;
use lyn::language::no_tokenizer;
use lyn::wire::openai::ChatRequest;
use wasm_bindgen::prelude::*;

use crate::source::{JsSource, Shared};
use crate::value::thrown;

/// Tokens that a trial follows a form for.
const TOKENS: usize = 50;
/// And how long: on a slow machine fewer tokens are not a reason to refuse.
const TIME: Duration = Duration::from_secs(1);

/// Whether the answer to a chat request is held to a form, which a [`Trial`] can try.
#[wasm_bindgen]
pub fn has_form(request: &str) -> Result<bool, JsValue> {
    ChatRequest::parse(request).map(|chat| !chat.shape().is_free()).map_err(thrown)
}

/// A model's language without the model.
#[wasm_bindgen]
pub struct Trial(Language);

#[wasm_bindgen]
impl Trial {
    /// Reads the headers and the tokenizer of the model whose requests will be tried.
    pub async fn open(source: JsSource) -> Result<Trial, JsValue> {
        let checkpoint = Checkpoint::open(Shared::source(source)).await.map_err(thrown)?;
        let language =
            Language::open(&checkpoint).await.and_then(|found| found.ok_or_else(no_tokenizer)).map_err(thrown)?;
        Ok(Trial(language))
    }

    /// Makes the vocabulary ready for forms: seconds, where it is large.
    pub fn prepare(&self) -> Result<(), JsValue> {
        self.0.grammars().lexicon().map(|_| ()).map_err(thrown)
    }

    /// Renders a chat request where the checkpoint's own template does that, compiles the form that the answer is held to, and
    /// makes some of its masks.
    pub fn check(&self, request: &str) -> Result<(), JsValue> {
        deeper(64, &mut || self.rehearse(request)).map_err(thrown)
    }
}

impl Trial {
    fn rehearse(&self, request: &str) -> lyn::Result<()> {
        let chat = ChatRequest::parse(request)?;
        let made = match self.0.chat_format().is_own_template() {
            true => chat.to_request(&self.0)?.request.constraint,
            // A thought before the form takes nothing away from it: where this prompt has none, more is tried than will be used.
            false => self.0.grammars().constraint(&chat.shape(), chat.mode(), Dialect::Local)?,
        };
        if let Some(made) = made {
            made.rehearse(TOKENS, TIME);
        }
        Ok(())
    }
}

/// Does work with less of the stack, by so many kilobytes, than there is: what passes here has room in an engine's step too.
#[inline(never)]
fn deeper<T>(kilobytes: u32, work: &mut dyn FnMut() -> T) -> T {
    let ballast = black_box([0_u8; 1024]);
    let done = if kilobytes == 0 { work() } else { deeper(kilobytes - 1, work) };
    black_box(ballast);
    done
}
