//! What is wrong with a tokenizer file.

use crate::error::Class;

/// Why a tokenizer file is refused; the file's name is added where it is known.
#[derive(Debug)]
pub(super) struct Refusal(pub(super) Class, pub(super) String);
