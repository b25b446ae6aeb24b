//! What tests of several dialects share: the embedded model's language, with tokens that it lacks.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use crate::chat::control::{EOT, FIM_BEGIN, FIM_END, FIM_HOLE};
use crate::checkpoint::{Checkpoint, MemorySource};
use crate::language::Language;
use crate::platform::block_on;

/// Control tokens of the embedded model that no text without tools has, and what takes their places.
const RENAMED: [(&str, &str); 4] = [
    ("<｜tool▁outputs▁end｜>", EOT),
    ("<｜tool▁output▁begin｜>", FIM_BEGIN),
    ("<｜tool▁output▁end｜>", FIM_HOLE),
    ("<｜tool▁sep｜>", FIM_END),
];

/// The embedded model's language, of so many tokens. `has_holes`: its vocabulary has the tokens that fill holes.
pub(super) fn language(context: u32, has_holes: bool) -> Language {
    let stories = crate::models::stories();
    let mut source = MemorySource::new();
    for file in
        ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    {
        let size = block_on(stories.size(file)).unwrap().unwrap();
        let mut bytes = block_on(stories.read(file, 0, usize::try_from(size).unwrap())).unwrap();
        if file == "tokenizer.json" && has_holes {
            let mut text = String::from_utf8(bytes).unwrap();
            for (token, name) in RENAMED {
                text = text.replace(token, name);
            }
            bytes = text.into_bytes();
        }
        source = source.with(file, bytes);
    }
    let checkpoint = block_on(Checkpoint::open(std::sync::Arc::new(source))).unwrap();
    block_on(Language::open(&checkpoint)).unwrap().unwrap().with_context(context)
}
