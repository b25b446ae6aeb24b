//! A tokenizer as the lists that it was made from, for those who write it in another form.

use super::file::{Added, Merging, Parsed, Parts, parse};
use super::refusal::Refusal;
use super::split::Split;
use super::tokenizer::split;
use crate::error::{Error, Result};

/// What a `tokenizer.json` lists.
pub(crate) struct Lists {
    /// Tokens in the letters of the byte alphabet, with their ids.
    pub(crate) vocab: Vec<(String, u32)>,
    /// By rank.
    pub(crate) merges: Vec<(String, String)>,
    pub(crate) ignore_merges: bool,
    /// Id, text, whether it is special.
    pub(crate) added: Vec<(u32, String, bool)>,
    splits: Vec<Split>,
}

impl Lists {
    /// Reads a `tokenizer.json` as strictly as [`super::Tokenizer::from_json`].
    ///
    /// # Errors
    /// `bad_checkpoint`.
    pub(crate) fn read(file: &str, bytes: &[u8], vocab_size: u32) -> Result<Lists> {
        let parsed = parse(bytes, Parts::JSON, vocab_size)
            .map_err(|Refusal(class, message)| Error::file(class, file, message))?;
        let Parsed { vocab, merging, added, splits } = parsed;
        let (merges, ignore_merges) = match merging {
            Merging::Pairs { pairs, takes_whole } => (pairs, takes_whole),
            Merging::ByRank => (vec![], true),
        };
        let added = added.into_iter().map(|Added { id, content, special, .. }| (id, content, special)).collect();
        Ok(Lists { vocab, merges, ignore_merges, added, splits })
    }

    /// Whether these patterns cut a text where the tokenizer's own do.
    pub(crate) fn cuts_as(&self, patterns: &[&str], text: &str) -> bool {
        let Ok(others) = patterns.iter().map(|pattern| Split::new(pattern)).collect::<Result<Vec<_>, _>>() else {
            return false;
        };
        let pieces = |splits: &[Split]| {
            let mut pieces = vec![];
            split(splits, text, &mut |piece| {
                pieces.push(piece);
                Ok(())
            })
            .map(|()| pieces)
        };
        matches!((pieces(&self.splits), pieces(&others)), (Ok(own), Ok(other)) if own == other)
    }
}
